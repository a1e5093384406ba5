"""An archive on a store with exceptions of its own, or where a file is in the way: all errors are those of imkit."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from imkit.archive import Archive
from imkit.archive.storage import _WithOSErrors, storage_at
from imkit.archive.sync import locked_catalogue
from imkit.errors import ArchiveError
from tests.archive.conftest import fill


class ServerError(Exception):
    """An exception that only this store knows, like those of gcsfs and adlfs."""


def fail(*arguments: Any, **options: Any) -> Any:
    raise ServerError("503 slow down")


class FailingStore(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store whose every method fails while `fails` is true."""

    protocol = "failing"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    fails = False

    def __getattribute__(self, name: str) -> Any:
        methods = ("cat_file", "find", "open", "rm_file", "pipe_file", "makedirs", "cp_file")
        if name in methods and FailingStore.fails:
            return fail
        return super().__getattribute__(name)


@pytest.fixture(params=["store", "a file", "below a file"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param != "store":
        (tmp_path / "file").touch()
        yield str(tmp_path / ("file" if request.param == "a file" else "file/archive"))
        return
    fsspec.register_implementation("failing", FailingStore, clobber=True)
    fill("failing://archive")
    monkeypatch.setattr(FailingStore, "fails", True)
    yield "failing://archive"
    FailingStore.store.clear()


async def lock(archive: Archive) -> None:
    """Begin as a sync does."""
    async with locked_catalogue(storage_at(archive._path), 0):
        pass


CALLS: list[Callable[[Archive], object]] = [
    lambda archive: archive.frame(),
    lambda archive: archive.threads(),
    lambda archive: archive.files(),
    lambda archive: archive.live(),
    lambda archive: archive.sql("from messages"),
    lambda archive: archive.dask(),
    lambda archive: archive.compact(),
    lambda archive: archive.erase("ann"),
    lambda archive: asyncio.run(lock(archive)),
]


def test_every_call_on_a_place_that_fails_raises_an_archive_error(place: str) -> None:
    archive = Archive(place, timeout=0)
    for call in CALLS:
        with pytest.raises(ArchiveError):
            call(archive)
    for quiet in (archive.unlock, archive.verify):
        with contextlib.suppress(ArchiveError):
            quiet()


def test_an_archive_that_cannot_be_read_can_be_shown(place: str) -> None:
    assert "cannot be read" in repr(Archive(place))
    assert "cannot be read" in Archive(place)._repr_html_()


def test_an_open_file_of_a_store_raises_errors_of_the_disk_only() -> None:
    class File:
        closed = False

        def read(self, size: int) -> bytes:
            raise ServerError("connection reset")

    with pytest.raises(OSError, match="ServerError: connection reset"):
        _WithOSErrors(File()).read(1)
    assert _WithOSErrors(File()).closed is False
