"""Files that appear whole under their names, or not at all, whatever interrupts the writer."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PART = ".part"  # ends the names of files that are not whole yet
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def partial_file(target: Path, *, private: bool = False) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a new file beside a path, under a name that nobody takes for the whole file.

    At the end it is removed, unless it was moved away.

    Args:
        target: the path that the content is meant for; its folder must exist.
        private: only the owner may read the file, as far as the system has a say in that.

    Raises:
        OSError: the file cannot be made.
    """
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}{PART}")
    try:
        with os.fdopen(os.open(partial, _NEW_FILE, 0o600 if private else 0o666), "wb") as file:
            yield file, partial
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_file(path: Path, *, private: bool = False, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name when the block ends without an error.

    A file that has the name already is replaced then, and stays untouched otherwise.

    Args:
        path: where the file is to be; its folder must exist.
        private: only the owner may read it, as far as the system has a say in that.
        durable: the content is on the disk before the file has its name: it survives a power cut.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "tea.txt") as file:
        ...         _ = file.write(b"oolong")
        ...     (Path(folder) / "tea.txt").read_text()
        'oolong'
    """
    with partial_file(path, private=private) as (file, partial):
        yield file
        file.flush()
        if durable:
            os.fsync(file.fileno())
        file.close()  # Windows moves no open file
        os.replace(partial, path)
