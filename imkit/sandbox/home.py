"""The folder where imkit keeps its files: IMKIT_HOME, else the system's folder for user data."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder; create it, readable for its owner only, if there is none.

    IMKIT_HOME moves every file that imkit keeps, also those of the shared sandbox.
    """
    named = os.environ.get("IMKIT_HOME")
    if named:
        folder = Path(named).expanduser().absolute()
    else:
        from platformdirs import user_data_path  # imported only where it is needed

        folder = user_data_path("imkit", appauthor=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
