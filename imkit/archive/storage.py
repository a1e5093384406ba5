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

An archive may come from a stranger. So a storage also refuses every name that leads out of its place, and in a folder
every link and special file below it.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import stat
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import pyarrow as pa
from filelock import FileLock, Timeout
from pyarrow import fs as arrow

from imkit.errors import ArchiveError, ArchiveLocked, IMError, InvalidMessage
from imkit.file_errors import advice
from imkit.whole_files import whole_file

LOCK, HOLDER = "writer.lock", "writer.json"
REPLACED = "replaced"  # the folder of files that a writer has replaced, and that readers may still use
_LOCK_RETRY_SECONDS = 0.2
_FILE_SCHEMES = ("file://", "local://")


class Storage(ABC):
    """A place for files. File names are relative to it and use ``/`` between their parts.

    Every method raises an ArchiveError for a name that leads out of the place.
    """

    place: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: the file does not exist.
        """

    @abstractmethod
    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading; if a writer has replaced it meanwhile, open it below `REPLACED`.

        Raises:
            FileNotFoundError: the file exists in neither place.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a new file, whole or not at all.

        Raises:
            FileExistsError: a file of this name exists, and the storage can tell.
        """

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Write a file in the place of the one that has the name. A reader finds the old one or the new one, whole."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; do nothing if it does not exist."""

    @abstractmethod
    def move(self, name: str, new_name: str) -> None:
        """Give a file another name, so that it always has one of both; do nothing if it does not exist."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted."""

    @abstractmethod
    def locations(self, names: Iterable[str]) -> list[str]:
        """Return the full paths or URLs of files, for other libraries.

        Raises:
            ArchiveError: a name leads out of the archive.
        """

    @property
    def filesystem(self) -> arrow.FileSystem:
        """The files as a pyarrow filesystem that only reads, with the same file names."""
        return arrow.PyFileSystem(ArrowFiles(self))

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


class ArrowFiles(arrow.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """Lets pyarrow open the files of a storage, and do nothing else.

    Args:
        storage: the storage.
        failures: if given, errors are appended here, and pyarrow finds an empty file. An error that is raised to
            pyarrow in a thread of DuckDB 2.0 can stop both for ever.
    """

    def __init__(self, storage: Storage, failures: list[Exception] | None = None) -> None:
        self._storage = storage
        self._failures = failures

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrowFiles) and self._storage.place == other._storage.place

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._storage.place)

    def get_type_name(self) -> str:
        """Return the name that pyarrow shows."""
        return "archive"

    def normalize_path(self, path: str) -> str:
        """Return the name as it is."""
        return path

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file."""
        try:
            return self._storage.open(path)
        except Exception as error:
            if self._failures is None:
                raise
            self._failures.append(error)
            return pa.BufferReader(b"")

    open_input_stream = open_input_file

    def _refuse(self, *arguments: object) -> NoReturn:
        raise NotImplementedError("an archive's files can only be opened")

    get_file_info = get_file_info_selector = _refuse
    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    copy_file = move = open_output_stream = open_append_stream = _refuse


def storage_at(path: str | os.PathLike[str]) -> Storage:
    """Return the storage at a path or URL.

    Raises:
        InvalidMessage: the path is empty.
        ArchiveError: fsspec cannot open the URL; it may need a package that is not installed.
    """
    if not isinstance(path, str | os.PathLike) or (isinstance(path, str) and not path.strip()):
        hint = 'Give a folder, which need not exist: imkit.Archive("community").'
        raise InvalidMessage(f"an archive needs a path, and {path!r:.60} is none", hint=hint)
    text = os.fspath(path)
    for scheme in _FILE_SCHEMES:
        text = text.removeprefix(scheme)
    return _FsspecStorage(text) if "://" in text else _FolderStorage(Path(text).expanduser().absolute())


@contextlib.contextmanager
def archive_errors(storage: Storage, verb: Literal["read", "written"]) -> Iterator[None]:
    """Raise an ArchiveError instead of an error of the disk, of the store or of Parquet."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, IMError):  # some of them are timeouts, and so they are OSErrors too
            raise
        raise ArchiveError(f"the archive {storage.place} cannot be {verb}: {error}", hint=_hint(error, verb)) from error


def _hint(error: OSError | pa.ArrowException, verb: Literal["read", "written"]) -> str | None:
    """Return what to do about an error; `None`: what `ArchiveError` says, because it is not an error of the disk."""
    if not isinstance(error, OSError) or error.errno is None:
        return None
    goes_on = ": it goes on from what was committed" if verb == "written" else ""
    return f"{advice(error)}, then run the same call again{goes_on}."


def _parts(place: str, name: str) -> list[str]:
    """Return the parts of a file's name.

    Raises:
        ArchiveError: the name leads out of the archive.
    """
    parts = name.split("/")
    foreign = "\\:\0" if os.name == "nt" else "\0"
    if any(part in ("", ".", "..") for part in parts) or any(character in name for character in foreign):
        raise ArchiveError(f"{name!r:.200} is not a file of the archive {place}", hint=_STRANGER)
    return parts


_STRANGER = "imkit never writes that. If you did not make this change yourself, do not trust the archive."


def _is_link(status: os.stat_result) -> bool:
    """Whether a path leads elsewhere: a symbolic link, or a junction of Windows."""
    if sys.platform == "win32":
        return stat.S_ISLNK(status.st_mode) or status.st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT
    return stat.S_ISLNK(status.st_mode)


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
    except (ValueError, KeyError, TypeError, RecursionError):
        writer = "another process"
    return ArchiveLocked(f"the archive {place} is being written to by {writer}", hint=hint)


class _FolderStorage(Storage):
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = str(path)

    def _folder_of(self, name: str) -> str:
        """Return the folder of a file, after a check that no part of it is a link."""
        path = str(self._path)
        for part in _parts(self.place, name)[:-1]:
            path = os.path.join(path, part)
            with contextlib.suppress(FileNotFoundError):
                if _is_link(os.lstat(path)):
                    raise ArchiveError(f"{path} is a link, and may lead out of the archive", hint=_STRANGER)
        return path

    def _path_of(self, name: str) -> Path:
        """Return the path of a file, after a check that neither it nor a folder above it is a link."""
        path = os.path.join(self._folder_of(name), name.rpartition("/")[2])
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise ArchiveError(f"{path} is not a file: a link, a folder or a device", hint=_STRANGER)
        return Path(path)

    def read(self, name: str) -> bytes:
        return self._path_of(name).read_bytes()

    def open(self, name: str) -> pa.NativeFile:
        try:
            return pa.OSFile(str(self._path_of(name)))
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                return pa.OSFile(str(self._path_of(f"{REPLACED}/{name}")))
            raise

    def write(self, name: str, data: bytes) -> None:
        path = self._path_of(name)
        if path.exists():
            raise FileExistsError(str(path))
        self.replace(name, data)

    def replace(self, name: str, data: bytes) -> None:
        path = self._path_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, durable=True) as file:
            file.write(data)
        _sync_folder(path.parent)

    def remove(self, name: str) -> None:
        # Of a link, this removes the link.
        Path(self._folder_of(name), name.rpartition("/")[2]).unlink(missing_ok=True)

    def move(self, name: str, new_name: str) -> None:
        path, new_path = self._path_of(name), self._path_of(new_name)
        if path.exists():
            new_path.parent.mkdir(parents=True, exist_ok=True)
            path.replace(new_path)

    def names(self, folder: str) -> list[str]:
        names = []
        for directory, _, files in os.walk(self._folder_of(f"{folder}/_")):
            relative = Path(directory).relative_to(self._path).as_posix()
            names += [f"{relative}/{name}" for name in files]
        return sorted(names)

    def locations(self, names: Iterable[str]) -> list[str]:
        return [str(self._path_of(name)) for name in names]

    @contextlib.contextmanager
    def writing(self, timeout: float) -> Iterator[None]:
        self._path.mkdir(parents=True, exist_ok=True)
        path, holder = self._path_of(LOCK), self._path_of(HOLDER)
        # thread_local=False: one thread acquires the lock and another one may release it. A new FileLock for each
        # writer: two writers in one process that shared the object would both hold the lock.
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=timeout, poll_interval=min(_LOCK_RETRY_SECONDS, max(timeout, 0.01)))
        except Timeout:
            hint = "Reading needs no lock. To let a writer wait longer: Archive(path, timeout=seconds)."
            raise _locked_error(self.place, self._read_holder(), hint) from None
        try:
            with whole_file(holder) as file:
                file.write(json.dumps(_this_process()).encode())
            yield
        finally:
            lock.release()

    def _read_holder(self) -> bytes | None:
        with contextlib.suppress(OSError):
            return self.read(HOLDER)
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


class _WithOSErrors:
    """A filesystem or an open file of fsspec that raises OSErrors only: each of its packages has errors of its own."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return value(*arguments, **options)
            except OSError:
                raise
            except Exception as error:
                raise OSError(f"{type(error).__name__}: {error}") from error

        return call


class _FsspecStorage(Storage):
    """A place that fsspec opens, such as an object store."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        try:
            files, root = url_to_fs(url)
        except Exception as error:  # unknown protocol; a missing package; wrong options in the URL
            raise ArchiveError(f"{_without_password(url)} cannot be opened: {error}", hint="") from error
        self._files, self._root = _WithOSErrors(files), root.rstrip("/")
        self.place = _without_password(url)

    def _full(self, name: str) -> str:
        return "/".join([self._root, *_parts(self.place, name)])

    def read(self, name: str) -> bytes:
        return bytes(self._files.cat_file(self._full(name)))

    def open(self, name: str) -> pa.NativeFile:
        try:
            return self._open(self._full(name))
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                return self._open(self._full(f"{REPLACED}/{name}"))
            raise

    def _open(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_WithOSErrors(self._files.open(path, "rb")), mode="r")

    def write(self, name: str, data: bytes) -> None:
        full = self._full(name)
        self._files.makedirs(full.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(full, data, mode="create")

    def replace(self, name: str, data: bytes) -> None:
        self._files.pipe_file(self._full(name), data)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._full(name))

    def move(self, name: str, new_name: str) -> None:
        path, new_path = self._full(name), self._full(new_name)
        self._files.makedirs(new_path.rpartition("/")[0], exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._files.cp_file(path, new_path)  # only then is the first one removed: a store has no rename
            self._files.rm_file(path)

    def names(self, folder: str) -> list[str]:
        self._files.invalidate_cache()
        paths = self._files.find(self._full(folder))
        return sorted(path.removeprefix(self._root + "/") for path in paths)

    def locations(self, names: Iterable[str]) -> list[str]:
        return [self._files.unstrip_protocol(self._full(name)) for name in names]

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
