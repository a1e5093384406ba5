"""Errors of the disk, told with the file and with what to do about them."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from imkit.errors import FileError, IMError

# Systems differ in which errors they have.
_ADVICE = {
    getattr(errno, name, None): advice
    for names, advice in (
        ("ENOSPC", "Free some space on that disk"),
        ("EDQUOT", "Your quota of that disk is used up: free some space"),
        ("EFBIG", "A file may not grow as large there: choose another disk, or raise the limit (ulimit -f)"),
        ("EROFS", "The disk can only be read: mount it for writing, or choose another place"),
        ("EACCES EPERM", "This user has no permission there: change it, or choose another place"),
        ("ENOENT", "A folder of that path does not exist, or its disk is not mounted: make it, or mount it"),
        ("ENOTDIR", "A part of that path is a file and no folder: choose another place"),
        ("EEXIST", "A file is in the way: remove it, or choose another place"),
        ("EIO ESTALE ENOTCONN ENODEV ENXIO EHOSTDOWN ETIMEDOUT", "The disk or network drive is gone: mount it again"),
        ("EMFILE ENFILE", "Too many files are open: close sessions and files, or raise the limit (ulimit -n)"),
        ("ENAMETOOLONG", "Choose a shorter name"),
    )
    for name in names.split()
}


def advice(error: OSError) -> str:
    """Return what a user can do about an error of the disk, without a full stop.

    Example:
        >>> import errno
        >>> advice(OSError(errno.ENOSPC, "No space left on device"))
        'Free some space on that disk'
    """
    return _ADVICE.get(error.errno, "Repair that, or choose another place")


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Raise a FileError instead of an error of the disk.

    Args:
        path: what the block writes: the error names it.

    Raises:
        FileError: the disk did not take the file.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, IMError):  # some of them are timeouts, and so they are OSErrors too
            raise
        hint = f"{advice(error)}, then run the same call again."
        failure = FileError(f"{path} cannot be written: {error.strerror or error}", hint=hint)
        failure.errno = error.errno
        raise failure from error
