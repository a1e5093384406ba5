"""Reading rows from the disk: a history frame of what is asked for, from only the files that are needed."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from imkit.archive import Archive, catalogue, parquet
from imkit.archive.catalogue import CatalogueWriter, Commit, State
from imkit.archive.merge import CommitBatch, Reread, merge_batch
from imkit.archive.storage import Storage, storage_at
from imkit.history.columns import batch_of
from imkit.history.frames import COLUMNS
from tests.archive.conftest import GONE, MIDNIGHT, message


def test_a_frame_is_a_history_frame(filled: Archive) -> None:
    frame = filled.frame()
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {k: str(v) for k, v in COLUMNS.items()}
    assert frame.time.is_monotonic_increasing
    assert frame.message_id.tolist() == [str(10**18 + n) for n in range(72) if n != GONE]
    assert frame.im.ext("n")["n"].tolist() == [n for n in range(72) if n != GONE]
    assert frame.im.source == {
        "app_key": "org#app",
        "thread_ids": ["42", "7"],
        "since": None,
        "until": None,
        "fetched_at": "1970-01-01T00:00:00.001+00:00",
        "complete": True,
        "reason": "",
        "rows": 71,
        "server_count": None,
    }


def test_a_frame_of_some_days_threads_or_columns(filled: Archive) -> None:
    day = filled.frame(since="2026-11-24T00:00Z", until="2026-11-25T00:00Z")
    assert day.message_id.tolist() == [str(10**18 + n) for n in range(24, 48)]
    assert day.im.source["since"] == "2026-11-24T00:00:00.000+00:00"
    assert set(filled.frame(thread="7").thread_id.astype(object)) == {pd.NA}
    assert filled.frame(thread=["42", "7"]).shape == (71, 22)
    assert filled.frame(columns=["sender", "time"]).columns.tolist() == ["sender", "time"]
    whole = filled.frame(gone=True)
    assert whole.index[whole.gone_at.notna()].tolist() == [GONE]
    assert filled.frame(thread="99").im.source["reason"] == "99: nothing has been read"


def test_only_files_of_the_wanted_days_are_opened(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    dataset = parquet.dataset

    def dataset_noting_days(storage: Any, files: Any, schema: Any, categories: bool = False) -> Any:
        opened.extend(file.day for file in files)
        return dataset(storage, files, schema, categories)

    monkeypatch.setattr(parquet, "dataset", dataset_noting_days)
    filled.frame(since="2026-11-24T00:00Z", until="2026-11-25T00:00Z")
    assert opened == ["2026-11-24"]


@pytest.mark.parametrize(
    "read",
    [lambda archive: archive.frame(gone=True), lambda archive: archive.sql("select * from all_messages")],
    ids=["frame", "sql"],
)
@pytest.mark.parametrize("deleted", [False, True], ids=["replaced", "deleted"])
def test_a_reader_finds_files_that_a_writer_replaces_and_tries_again_when_they_are_deleted(
    filled: Archive, monkeypatch: pytest.MonkeyPatch, read: Callable[[Archive], pd.DataFrame], deleted: bool
) -> None:
    storage = storage_at(filled.path)
    load = catalogue.load

    def load_then_rewrite_a_file(storage_of_reader: Storage) -> State:
        state = load(storage_of_reader)
        monkeypatch.setattr(catalogue, "load", load)
        with storage.writing(0):
            table = parquet.archive_rows(batch_of([message(100)]), "7", 3)
            first_is_gone = Reread(((0, MIDNIGHT),), frozenset())
            writer = CatalogueWriter(storage)
            merge_batch(storage, writer, CommitBatch([table], reread={"7": first_is_gone}), 3)
            if deleted:
                writer.commit(Commit(at_once=True))
        return state

    monkeypatch.setattr(catalogue, "load", load_then_rewrite_a_file)
    assert len(read(filled)) == (73 if deleted else 72)
