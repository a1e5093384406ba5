"""Write files so that a file appears complete under its name or not at all, even if the writer is interrupted."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PART = ".part"  # the names of incomplete files end like this
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    """Let an error of the disk name the file: the error of a failed write does not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def partial_file(target: Path, *, private: bool = False) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a new file in the folder of `target`, under a temporary name that ends with `PART`.

    When the block ends, the file is removed unless the block has moved it.

    Args:
        target: the path that the content is meant for; its folder must exist.
        private: whether only the owner may read the file, on systems with file modes.

    Yields:
        The open file and its path.

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
    """Open a file for writing that gets its name only when the block ends without an error.

    At that moment it replaces a file that already has the name. After an error such a file is unchanged.

    Args:
        path: the path of the complete file; its folder must exist.
        private: whether only the owner may read it, on systems with file modes.
        durable: whether the content must be on the disk before the file gets its name, to survive a power cut.

    Yields:
        The open file.

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
    with _named_in_errors(path), partial_file(path, private=private) as (file, partial):
        yield file
        file.flush()
        if durable:
            os.fsync(file.fileno())
        file.close()  # Windows cannot move an open file
        os.replace(partial, path)
