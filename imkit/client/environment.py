"""The settings that a user makes outside of the code: the environment and a `.env` file."""

from __future__ import annotations

import os


def settings() -> dict[str, str | None]:
    """Return the variables of a `.env` file and of the environment; the environment wins.

    The file is looked for in the working directory and above.
    """
    from dotenv import dotenv_values, find_dotenv  # takes time to load, and not every program asks

    path = find_dotenv(usecwd=True)
    return {**(dotenv_values(path) if path else {}), **os.environ}
