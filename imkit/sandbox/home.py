"""Where imkit keeps its files: IMKIT_HOME, else the place the system gives user data."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder, made if need be and for its owner only.

    IMKIT_HOME moves every file imkit keeps, the default sandbox included.
    """
    named = os.environ.get("IMKIT_HOME")
    if named:
        folder = Path(named).expanduser().absolute()
    else:
        from platformdirs import user_data_path  # not needed by a server told where to be

        folder = user_data_path("imkit", appauthor=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
