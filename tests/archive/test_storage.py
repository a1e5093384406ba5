"""A folder and an fsspec store: a file is whole or absent, and one process writes at a time."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from imkit import InvalidMessage
from imkit.archive import Archive
from imkit.archive.storage import HOLDER, LOCK, Storage, storage_at
from imkit.errors import ArchiveError, ArchiveLocked
from tests.archive.conftest import Tea

HOLD_THE_LOCK = """
import sys
from imkit.archive.storage import storage_at
with storage_at(sys.argv[1]).writing(0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "archive") if request.param == "folder" else f"memory://archive-{uuid.uuid4()}"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def storage(place: str) -> Storage:
    return storage_at(place)


def test_a_file_reads_back_and_cannot_be_written_twice(storage: Storage) -> None:
    storage.write("messages/day=2026-11-24/a.parquet", b"tea")
    assert storage.read("messages/day=2026-11-24/a.parquet") == b"tea"
    assert storage.names("messages") == ["messages/day=2026-11-24/a.parquet"]
    assert storage.names("nothing") == []
    with storage.filesystem.open_input_file("messages/day=2026-11-24/a.parquet") as file:
        assert file.read() == b"tea"
    with pytest.raises(FileExistsError):
        storage.write("messages/day=2026-11-24/a.parquet", b"coffee")
    storage.remove("messages/day=2026-11-24/a.parquet")
    storage.remove("messages/day=2026-11-24/a.parquet")
    with pytest.raises(FileNotFoundError):
        storage.read("messages/day=2026-11-24/a.parquet")


def test_a_second_writer_is_refused_or_waits(storage: Storage, place: str) -> None:
    other = storage_at(place)
    with storage.writing(0):
        with pytest.raises(ArchiveLocked, match=r"written to by process \d+ of .+ on .+, since 20"), other.writing(0):
            pytest.fail("two writers")
        storage.replace(LOCK if "://" in place else HOLDER, b"[" * 100_000)  # from a stranger
        with pytest.raises(ArchiveLocked, match="another process"), other.writing(0):
            pytest.fail("two writers")
        entered = threading.Event()

        def wait() -> None:
            with other.writing(30):
                entered.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.is_set()
    waiting.join(30)
    assert entered.is_set()


def test_unlock_removes_the_lock_that_a_dead_writer_left_on_a_store(place: str) -> None:
    archive = Archive(place, timeout=0)
    held = storage_at(place).writing(0)
    held.__enter__()
    if place.startswith("memory"):
        archive.unlock()
        assert archive.compact() == 0
    else:
        archive.unlock()  # does nothing: the lock of a folder ends with its process
        with pytest.raises(ArchiveLocked):
            archive.compact()
    held.__exit__(None, None, None)


def test_a_killed_process_frees_the_lock_of_a_folder(tmp_path: Path, tea: Tea) -> None:
    path = tmp_path / "archive"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ArchiveLocked, match=f"process {holder.pid}"):
            Archive(path, timeout=0).sync(tea.alice, tea.group)
        assert Archive(path).frame().empty  # reading needs no lock
        holder.kill()
        holder.wait()
        assert Archive(path, timeout=10).sync(tea.alice, tea.group).rows_added == 0


def test_an_archive_in_a_store_works_as_in_a_folder(tea: Tea) -> None:
    place = f"memory://archive-{uuid.uuid4()}"
    archive = Archive(place)
    thread = tea.thread("Oolong", *"abc")
    archive.sync(tea.alice, thread)
    archive.sync(tea.alice, tea.group)
    assert archive.frame(thread=thread).text.tolist() == list("abc")
    assert archive.sql("select count(*) as n, min(day) from messages").n.tolist() == [4]
    assert len(archive.dask().compute()) == 4
    assert archive.verify().ok
    assert archive.compact() == 1
    assert archive.verify().notes == []
    assert archive.path == place
    MemoryFileSystem.store.clear()


def test_paths_that_cannot_be_opened() -> None:
    with pytest.raises(InvalidMessage):
        Archive("")
    with pytest.raises(ArchiveError, match="cannot be opened"):
        Archive("nosuchstore://bucket/archive")
    with pytest.raises(ArchiveError) as caught:
        Archive("nosuchstore://me:secret@host/x")
    assert "secret" not in str(caught.value)
