"""Where an archive's files are: a folder of this machine, or whatever fsspec has a name for.

A file is written whole or not at all, and one process writes at a time. Everything else is built on these two.

| | a folder | an fsspec URL |
|---|---|---|
| whole or not at all | temporary name, fsync, rename | one upload: object stores show it when it is complete |
| one writer | a file lock, which ends with its process | a lock object, which a store refuses to create twice |
| after kill -9 | the lock is free | the lock object stays: `Archive.unlock()` once nobody writes any more |

A store that cannot refuse a second creation (`mode="create"` of fsspec; S3, GCS and Azure can) keeps two writers apart
only while they do not begin within the same moment. fsspec's sftp and smb show files while they are written, so a kill
can leave half a file there: it is no part of the archive, but a plain glob sees it.
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
LOCK, WRITER = "writer.lock", "writer.json"
_ASK_AGAIN_SECONDS = 0.2
_FILE = "file://"


class Storage(ABC):
    """A place with files; names are relative, parted by ``/``."""

    place: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: there is none.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file of a name that is not taken: whole, or not at all.

        Raises:
            FileExistsError: the name is taken, where that can be told.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; no change where there is none."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted."""

    @abstractmethod
    def locations(self, names: Iterable[str]) -> list[str]:
        """Return the full paths or URLs of files, for other libraries."""

    @property
    @abstractmethod
    def filesystem(self) -> arrow.FileSystem:
        """The place as pyarrow sees it: names there are those of here."""

    @abstractmethod
    def writing(self, timeout: float) -> contextlib.AbstractContextManager[None]:
        """Be the one who writes, for as long as the context lasts.

        Args:
            timeout: seconds to wait for another writer.

        Raises:
            ArchiveLocked: another one writes; it says who.
        """

    @abstractmethod
    def unlock(self) -> None:
        """Take away the lock of a writer that is dead."""


def storage_at(path: str | os.PathLike[str]) -> Storage:
    """Return the storage of a path or URL.

    Raises:
        ArchiveError: the URL needs fsspec, or a package of it, which is not installed.
    """
    if isinstance(path, str) and not path.strip():
        raise InvalidMessage("an archive needs a path")
    text = os.fspath(path)
    if text.startswith(_FILE):
        text = text.removeprefix(_FILE)
    return _Store(text) if "://" in text else _Folder(Path(text).expanduser().absolute())


def _who() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = "?"
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": socket.gethostname(), "user": user, "since": since}


def _locked(place: str, said: bytes | None, hint: str) -> ArchiveLocked:
    try:
        holder = json.loads(said or b"{}")
        who = f"process {holder['process']} of {holder['user']} on {holder['host']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return ArchiveLocked(f"the archive {place} is being written to by {who}", hint=hint)


class _Folder(Storage):
    """A folder of this machine."""

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
        found = []
        for directory, _, files in os.walk(self._path / folder):
            below = Path(directory).relative_to(self._path).as_posix()
            found += [f"{below}/{name}" for name in files]
        return sorted(found)

    def locations(self, names: Iterable[str]) -> list[str]:
        return [str(self._path / name) for name in names]

    @property
    def filesystem(self) -> arrow.FileSystem:
        return arrow.SubTreeFileSystem(str(self._path), arrow.LocalFileSystem())

    @contextlib.contextmanager
    def writing(self, timeout: float) -> Iterator[None]:
        self._path.mkdir(parents=True, exist_ok=True)
        # Taken in one thread and given back in another; a lock of its own for each writer, or two writers of one
        # process would both have it.
        lock = FileLock(self._path / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=timeout, poll_interval=min(_ASK_AGAIN_SECONDS, max(timeout, 0.01)))
        except Timeout:
            hint = "Readers need not wait. A writer can: Archive(path, timeout=seconds)."
            raise _locked(self.place, self._said(), hint) from None
        try:
            (self._path / WRITER).write_text(json.dumps(_who()))
            yield
        finally:
            lock.release()

    def _said(self) -> bytes | None:
        with contextlib.suppress(OSError):
            return (self._path / WRITER).read_bytes()
        return None

    def unlock(self) -> None:
        """Do nothing: a file lock ends with its process."""


def _sync_folder(path: Path) -> None:
    """Have the new name on the disk, too, where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Store(Storage):
    """What fsspec opens."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            hint = f"{INSTALL}, or give a path of this machine."
            raise ArchiveError(f"the archive {_without_password(url)} needs fsspec", hint=hint) from error
        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:  # no such protocol; a package that it needs
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
        found = self._files.find(self._full(folder))
        return sorted(path.removeprefix(self._root + "/") for path in found)

    def locations(self, names: Iterable[str]) -> list[str]:
        return [self._files.unstrip_protocol(self._full(name)) for name in names]

    @property
    def filesystem(self) -> arrow.FileSystem:
        return arrow.SubTreeFileSystem(self._root, arrow.PyFileSystem(arrow.FSSpecHandler(self._files)))

    @contextlib.contextmanager
    def writing(self, timeout: float) -> Iterator[None]:
        until = time.monotonic() + timeout
        while True:
            try:
                self.write(LOCK, json.dumps(_who()).encode())
                break
            except FileExistsError:
                if time.monotonic() >= until:
                    hint = "If that process is dead, archive.unlock() takes its lock away."
                    raise _locked(self.place, self._said(), hint) from None
            time.sleep(_ASK_AGAIN_SECONDS)  # noqa: TID251  # a store has no event to wait for
        try:
            yield
        finally:
            self.remove(LOCK)

    def _said(self) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return self.read(LOCK)
        return None

    def unlock(self) -> None:
        self.remove(LOCK)


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    user, at, host = rest.partition("@")
    return f"{scheme}{mark}{host}" if at and "/" not in user else url
