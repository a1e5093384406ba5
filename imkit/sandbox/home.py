"""The folder where imkit keeps its files: IMKIT_HOME, else the system's folder for user data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from imkit.errors import FileError
from imkit.hints import FOLDER_OF_IMKIT


@dataclass(frozen=True)
class SharedFiles:
    """The files of the shared sandbox.

    Attributes:
        data: what the sandbox keeps.
        data_lock: locked by the server that uses the data.
        state: where that server runs.
        start_lock: locked by the process that starts a server.
        log: what a server in the background says.
    """

    data: Path
    data_lock: Path
    state: Path
    start_lock: Path
    log: Path


def home() -> Path:
    """Return the folder; create it, readable for its owner only, if there is none.

    IMKIT_HOME moves every file that imkit keeps, also those of the shared sandbox.

    Raises:
        FileError: the folder does not exist and cannot be created.
    """
    named = os.environ.get("IMKIT_HOME")
    if named:
        folder = Path(named).expanduser().absolute()
    else:
        from platformdirs import user_data_path  # imported only where it is needed

        folder = user_data_path("imkit", appauthor=False)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(folder, error) from error
    return folder


def shared_files() -> SharedFiles:
    """Return the paths of the shared sandbox's files.

    Raises:
        FileError: as `home`.
    """
    folder = home()
    data = folder / "sandbox.db"
    return SharedFiles(
        data, lock_of(data), folder / "sandbox.json", folder / "sandbox.start.lock", folder / "sandbox.log"
    )


def lock_of(data: Path) -> Path:
    """Return the path of the lock that belongs to a data file."""
    return data.with_name(f"{data.name}.lock")


def unusable(folder: Path, error: OSError) -> FileError:
    """Return the error to raise if imkit's folder cannot be used; `error` is that of the disk."""
    message = f"the files of imkit in {folder} cannot be used: {error.strerror or error}"
    failure = FileError(message, hint=FOLDER_OF_IMKIT)
    failure.errno = error.errno
    return failure
