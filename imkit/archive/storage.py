"""Storage of an archive's files: a local folder, or any place that fsspec has a URL for.

A storage guarantees two things, and all other modules rely on them: a file is written whole or not at all, and only
one process writes at a time.

| guarantee | local folder | fsspec URL |
|---|---|---|
| a file is whole or absent | temporary name, fsync, rename | one upload: an object store shows a complete file only |
| one writer | a file lock, which ends with its process | a lock object, which the store refuses to create twice |
| after kill -9 | the lock is free | the lock object stays until `Archive.unlock()` is called |

S3, GCS and Azure refuse to create an object twice (`mode="create"` of fsspec). A store that cannot do so does not keep
two writers apart if they start at the same moment. fsspec's sftp and smb show a file while it is being written, so a
kill can leave half a file there. Such a file is not part of the archive, but a plain glob finds it.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pyarrow import fs as arrow

from imkit.errors import ArchiveError, ArchiveLocked, InvalidMessage
from imkit.whole_files import whole_file

INSTALL = 'pip install "imkit[archive]"'
LOCK, HOLDER = "writer.lock", "writer.json"
_LOCK_RETRY_SECONDS = 0.2
_FILE_SCHEME = "file://"


class Storage(ABC):
    """A place for files. File names are relative to it and use ``/`` between their parts."""

    place: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: the file does not exist.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a new file, whole or not at all.

        Raises:
            FileExistsError: a file of this name exists, and the storage can tell.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; do nothing if it does not exist."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted."""

    @abstractmethod
    def locations(self, names: Iterable[str]) -> list[str]:
        """Return the full paths or URLs of files, for other libraries."""

    @property
    @abstractmethod
    def filesystem(self) -> arrow.FileSystem:
        """The same place as a pyarrow filesystem, with the same file names."""

    @abstractmethod
    def writing(self, timeout: float) -> contextlib.AbstractContextManager[None]:
        """Hold the writer's lock for the length of the context.

        Args:
            timeout: how long to wait for another writer, in seconds.

        Raises:
            ArchiveLocked: another process holds the lock; the text names that process.
        """

    @abstractmethod
    def unlock(self) -> None:
        """Remove the lock of a writer that is dead."""


def storage_at(path: str | os.PathLike[str]) -> Storage:
    """Return the storage at a path or URL.

    Raises:
        InvalidMessage: the path is empty.
        ArchiveError: the URL needs fsspec, or a package of it, which is not installed.
    """
    if isinstance(path, str) and not path.strip():
        raise InvalidMessage("an archive needs a path")
    text = os.fspath(path)
    text = text.removeprefix(_FILE_SCHEME)
    return _FsspecStorage(text) if "://" in text else _FolderStorage(Path(text).expanduser().absolute())


def _this_process() -> dict[str, Any]:
    """Describe this process for others that find the lock taken."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # in a container a user may have no name
        user = "?"
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": socket.gethostname(), "user": user, "since": since}


def _locked_error(place: str, description: bytes | None, hint: str) -> ArchiveLocked:
    """Return the error for a lock that is taken; `description` is what `_this_process` wrote there."""
    try:
        holder = json.loads(description or b"{}")
        writer = f"process {holder['process']} of {holder['user']} on {holder['host']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        writer = "another process"
    return ArchiveLocked(f"the archive {place} is being written to by {writer}", hint=hint)


class _FolderStorage(Storage):
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = str(path)

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self._path / name
        if path.exists():
            raise FileExistsError(str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, durable=True) as file:
            file.write(data)
        _sync_folder(path.parent)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        names = []
        for directory, _, files in os.walk(self._path / folder):
            relative = Path(directory).relative_to(self._path).as_posix()
            names += [f"{relative}/{name}" for name in files]
        return sorted(names)

    def locations(self, names: Iterable[str]) -> list[str]:
        return [str(self._path / name) for name in names]

    @property
    def filesystem(self) -> arrow.FileSystem:
        return arrow.SubTreeFileSystem(str(self._path), arrow.LocalFileSystem())

    @contextlib.contextmanager
    def writing(self, timeout: float) -> Iterator[None]:
        self._path.mkdir(parents=True, exist_ok=True)
        # thread_local=False: one thread acquires the lock and another one may release it. A new FileLock for each
        # writer: two writers in one process that shared the object would both hold the lock.
        lock = FileLock(self._path / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=timeout, poll_interval=min(_LOCK_RETRY_SECONDS, max(timeout, 0.01)))
        except Timeout:
            hint = "Reading needs no lock. To let a writer wait longer: Archive(path, timeout=seconds)."
            raise _locked_error(self.place, self._read_holder(), hint) from None
        try:
            (self._path / HOLDER).write_text(json.dumps(_this_process()))
            yield
        finally:
            lock.release()

    def _read_holder(self) -> bytes | None:
        with contextlib.suppress(OSError):
            return (self._path / HOLDER).read_bytes()
        return None

    def unlock(self) -> None:
        """Do nothing: a file lock ends with its process."""


def _sync_folder(path: Path) -> None:
    """Make the new file name durable too. Windows cannot open a folder for that."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _FsspecStorage(Storage):
    """A place that fsspec opens, such as an object store."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            hint = f"{INSTALL}, or give a path on this machine."
            raise ArchiveError(f"the archive {_without_password(url)} needs fsspec", hint=hint) from error
        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:  # unknown protocol; a missing package
            raise ArchiveError(f"{_without_password(url)} cannot be opened: {error}", hint="") from error
        self._root = self._root.rstrip("/")
        self.place = _without_password(url)

    def _full(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes:
        return bytes(self._files.cat_file(self._full(name)))

    def write(self, name: str, data: bytes) -> None:
        full = self._full(name)
        self._files.makedirs(full.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(full, data, mode="create")

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._full(name))

    def names(self, folder: str) -> list[str]:
        self._files.invalidate_cache()
        paths = self._files.find(self._full(folder))
        return sorted(path.removeprefix(self._root + "/") for path in paths)

    def locations(self, names: Iterable[str]) -> list[str]:
        return [self._files.unstrip_protocol(self._full(name)) for name in names]

    @property
    def filesystem(self) -> arrow.FileSystem:
        return arrow.SubTreeFileSystem(self._root, arrow.PyFileSystem(arrow.FSSpecHandler(self._files)))

    @contextlib.contextmanager
    def writing(self, timeout: float) -> Iterator[None]:
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.write(LOCK, json.dumps(_this_process()).encode())
                break
            except FileExistsError:
                if time.monotonic() >= deadline:
                    hint = "If that process is dead, archive.unlock() removes its lock."
                    raise _locked_error(self.place, self._read_holder(), hint) from None
            time.sleep(_LOCK_RETRY_SECONDS)  # noqa: TID251  # a store has no event to wait for
        try:
            yield
        finally:
            self.remove(LOCK)

    def _read_holder(self) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return self.read(LOCK)
        return None

    def unlock(self) -> None:
        self.remove(LOCK)


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    user, at, host = rest.partition("@")
    return f"{scheme}{mark}{host}" if at and "/" not in user else url
