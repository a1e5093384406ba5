"""Readers while a writer merges and compacts all the time: they find their files, or raise an ArchiveError."""

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from imkit.archive import Archive, catalogue, parquet, sql
from imkit.archive.catalogue import CatalogueWriter, Commit
from imkit.archive.compact import compact
from imkit.archive.merge import CommitBatch, merge_batch
from imkit.archive.storage import Storage, storage_at
from imkit.errors import ArchiveError
from imkit.history.columns import batch_of
from imkit.messages import Message, Text
from imkit.times import from_milliseconds
from tests.archive.conftest import HOUR, MIDNIGHT, fill

ROUNDS = 20


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "archive") if request.param == "folder" else f"memory://readers-{uuid.uuid4()}"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def write(storage: Storage, writer: CatalogueWriter, number: int) -> None:
    """Add a message, edit the first one, and compact: every file of the first day is replaced."""
    new = Message(str(2 * 10**18 + number), "ann", "7", from_milliseconds(MIDNIGHT + HOUR), Text("new"))
    edited = Message(str(10**18), "ann", "7", from_milliseconds(MIDNIGHT), Text(f"edited {number}"))
    tables = [parquet.archive_rows(batch_of([each]), "7", number) for each in (new, edited)]
    merge_batch(storage, writer, CommitBatch(tables[:1], tables[1:]), number)
    compact(storage, writer, at_least=2)


READERS: list[Callable[[Archive], int]] = [
    lambda archive: len(archive.frame(gone=True)),
    lambda archive: int(archive.threads()["messages"].sum()),
    lambda archive: int(archive.sql("select count(distinct text || message_id) as n from all_messages").n[0]),
    lambda archive: len(archive.dask(gone=True, columns=["text"]).compute(scheduler="synchronous")),
]


def test_a_reader_beside_a_writer_never_fails(place: str) -> None:
    archive = fill(place, 24)
    storage = storage_at(place)
    failures: list[BaseException] = []

    def write_all() -> None:
        try:
            with storage.writing(0):
                writer = CatalogueWriter(storage)
                for number in range(ROUNDS):
                    write(storage, writer, number)
        except BaseException as error:
            failures.append(error)

    writing = threading.Thread(target=write_all)
    writing.start()
    counts = []
    try:
        while writing.is_alive():
            counts += [read(archive) for read in READERS]
    finally:
        writing.join()
    assert not failures
    assert counts == sorted(counts)
    assert [read(archive) for read in READERS] == [24 + ROUNDS] * 4
    assert archive.verify().ok


def test_a_reading_that_began_long_before_still_finds_its_files(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = fill(place, 24)
    storage = storage_at(place)
    before = catalogue.load(storage)
    lazy = archive.dask(gone=True)
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        for number in range(20):
            write(storage, writer, number)
    assert len(lazy.compute(scheduler="synchronous")) == 24
    load = catalogue.load
    for read in (lambda: archive.frame(gone=True), lambda: archive.sql("from all_messages")):
        with monkeypatch.context() as patch:
            patch.setattr(catalogue, "load", lambda storage: before)
            assert len(read()) == 24
    assert len(archive.frame(gone=True)) == 44
    # Folder readers see each message once all the time.
    visible = [name for name in storage.names("messages") if name.endswith(".parquet")]
    assert set(visible) == {file.name for file in load(storage).files_of("messages")}


def test_a_query_finds_files_that_a_writer_sets_aside_just_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = fill(tmp_path / "archive", 24)
    lock = sql._lock

    def lock_and_write(*arguments: Any) -> None:
        lock(*arguments)
        monkeypatch.undo()
        storage = storage_at(archive.path)
        with storage.writing(0):
            write(storage, CatalogueWriter(storage), 0)

    monkeypatch.setattr(sql, "_lock", lock_and_write)
    assert archive.sql("select count(*) as n from all_messages").n.tolist() == [24]
    assert archive.sql("select count(*) as n from all_messages").n.tolist() == [25]


def test_a_reading_that_takes_too_long_is_an_archive_error(place: str) -> None:
    archive = fill(place, 24)
    storage = storage_at(place)
    lazy = archive.dask()
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        write(storage, writer, 0)
        writer.commit(Commit(at_once=True))
    with pytest.raises(ArchiveError, match="was merged since") as caught:
        lazy.compute(scheduler="synchronous")
    assert "dask() again" in str(caught.value)
    for file in load_names(storage):
        storage.remove(file)
    for read in (archive.frame, archive.threads, lambda: archive.sql("from messages")):
        with pytest.raises(ArchiveError):
            read()


def load_names(storage: Storage) -> list[str]:
    return list(catalogue.load(storage).files)


def test_a_writer_that_was_killed_before_it_set_a_file_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = fill(tmp_path / "archive", 24)
    storage = storage_at(tmp_path / "archive")
    with storage.writing(0), monkeypatch.context() as patch:
        patch.setattr(type(storage), "move", lambda *arguments: None)
        writer = CatalogueWriter(storage)
        writer.commit(Commit(removed=tuple(writer.state.files)))
    assert len(storage.names("messages")) == 1
    assert archive.verify().notes == []
    with storage.writing(0):
        CatalogueWriter(storage)
    assert storage.names("messages") == []
    assert len(storage.names("replaced/messages")) == 2  # one from before
