"""Frames, SQL and Dask give the same rows, of what is asked for; and nobody writes by reading."""

import hashlib
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit.archive import Archive, catalogue, merge, parquet
from imkit.archive.catalogue import Commit, Conversation, Ledger
from imkit.archive.storage import storage_at
from imkit.errors import ArchiveError
from imkit.history.columns import batch_of
from imkit.history.frames import COLUMNS
from imkit.messages import Message, Text, ThreadRef
from imkit.times import from_milliseconds

MIDNIGHT = 1_795_392_000_000
HOUR = 3_600_000
GONE = 5
HOSTILE = "<script>alert(1)</script>\x1b[2J"


def message(number: int) -> Message:
    thread = ThreadRef("42", HOSTILE, "7", "1") if number % 2 else None
    time = from_milliseconds(MIDNIGHT + number * HOUR)
    body = Text(f"text {number}", ext={"n": number})
    return Message(str(10**18 + number), f"user{number % 3}", "7", time, body, thread=thread)


def fill(path: str | Path, count: int = 72) -> Archive:
    """Three days of a thread and its group, one message gone."""
    storage = storage_at(path)
    with storage.writing(0):
        ledger = Ledger(storage)
        covered = ((0, MIDNIGHT + count * HOUR),)
        some = [message(number) for number in range(count)]
        tables = [parquet.stored(batch_of([m for m in some if m.thread]), "42", 1)]
        tables.append(parquet.stored(batch_of([m for m in some if not m.thread]), "7", 1))
        known = [
            Conversation("42", "thread", HOSTILE, "7", covered=covered, synced_at=1),
            Conversation("7", "group", "tea", covered=covered, synced_at=1),
        ]
        merge.fold(storage, ledger, tables, [], {}, known, 1, app_key="org#app")
        at = MIDNIGHT + GONE * HOUR
        merge.fold(storage, ledger, [], [], {"42": merge.Reread(((at, at),), frozenset())}, [], 2)
    return Archive(path)


@pytest.fixture
def filled(tmp_path: Path) -> Archive:
    return fill(tmp_path / "archive")


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


def test_an_empty_archive_gives_an_empty_frame(archive: Archive, tmp_path: Path) -> None:
    frame = archive.frame()
    assert frame.empty
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {k: str(v) for k, v in COLUMNS.items()}
    assert frame.im.source["reason"] == "nothing has been synced"
    assert not frame.im.source["complete"]
    assert archive.sql("select count(*) as n from messages").n.tolist() == [0]
    assert archive.dask().compute().empty
    assert archive.threads().empty
    assert archive.live().empty
    assert archive.verify().ok
    assert "empty" in repr(archive)
    assert not (tmp_path / "archive").exists()


def test_parts_of_it(filled: Archive) -> None:
    day = filled.frame(since="2026-11-24T00:00Z", until="2026-11-25T00:00Z")
    assert day.message_id.tolist() == [str(10**18 + n) for n in range(24, 48)]
    assert day.im.source["since"] == "2026-11-24T00:00:00.000+00:00"
    assert set(filled.frame(thread="7").thread_id.astype(object)) == {pd.NA}
    assert filled.frame(thread=["42", "7"]).shape == (71, 22)
    assert filled.frame(columns=["sender", "time"]).columns.tolist() == ["sender", "time"]
    whole = filled.frame(gone=True)
    assert whole.index[whole.gone_at.notna()].tolist() == [GONE]
    assert filled.frame(thread="99").im.source["reason"] == "99: nothing has been read"


def test_only_what_is_needed_is_read(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    dataset = parquet.dataset

    def watched(storage: Any, files: Any, schema: Any, categories: bool = False) -> Any:
        opened.extend(file.day for file in files)
        return dataset(storage, files, schema, categories)

    monkeypatch.setattr(parquet, "dataset", watched)
    filled.frame(since="2026-11-24T00:00Z", until="2026-11-25T00:00Z")
    assert opened == ["2026-11-24"]


def test_what_is_no_part_is_refused(filled: Archive) -> None:
    for wrong in ({"columns": ["tea"]}, {"columns": "time"}, {"thread": 42}, {"thread": [42]}, {"since": "tea"}):
        with pytest.raises(imkit.InvalidMessage):
            filled.frame(**wrong)


def test_sql_has_the_views_that_are_documented(filled: Archive) -> None:
    for view in ("messages", "all_messages", "versions", "threads", "attachments", "live"):
        assert view in (Archive.sql.__doc__ or "")
        assert not filled.sql(f"describe {view}").empty
    counted = filled.sql("select sender, day, count(*) as n from messages group by all order by all")
    frame = filled.frame()
    expected = frame.groupby([frame.sender.astype(str), frame.time.dt.date]).size()
    assert counted.n.tolist() == expected.tolist()
    assert filled.sql("select count(*) as n from all_messages where gone_at is not null").n.tolist() == [1]
    assert filled.sql("select name from threads where kind = ?", ["thread"]).name.tolist() == [HOSTILE]
    assert filled.sql("select count(*) as n from messages where text = $said", {"said": "text 3"}).n.tolist() == [1]
    assert filled.sql("select max(time) as last from messages")["last"][0] == frame.time.max()


def test_sql_only_reads(filled: Archive, tmp_path: Path) -> None:
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.rglob("*") if path.is_file()}
    for wrong in (
        f"copy messages to '{tmp_path / 'out.csv'}'",
        "create table tea as select 1",
        "drop view messages",
        "select 1; select 2",
        "attach 'tea.db'",
        "selekt 1",
        "select tea from messages",
        "",
    ):
        with pytest.raises(imkit.InvalidMessage):
            filled.sql(wrong)
    frame = filled.frame()  # noqa: F841  # a name that DuckDB would look for in Python
    with pytest.raises(imkit.InvalidMessage, match="DESCRIBE messages"):
        filled.sql("select * from frame")
    after = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.parametrize("name", ["it's", "a[1]*?", "茶 🍵", "per%20cent"])
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    archive = fill(tmp_path / name)
    assert len(archive.frame()) == 71
    assert archive.sql("select count(*) as n from messages").n.tolist() == [71]
    assert archive.sql("select count(*) as n from all_messages where day = '2026-11-24'").n.tolist() == [24]
    assert len(archive.dask().compute()) == 71
    assert archive.verify().ok


def test_dask_gives_the_same_rows(filled: Archive) -> None:
    frame = filled.frame()
    lazy = filled.dask()
    assert lazy.npartitions == 3
    computed = lazy.compute().sort_values("time", ignore_index=True)
    assert computed.columns.tolist() == [*COLUMNS, "target_id"]
    texts = {name: "string" for name, dtype in COLUMNS.items() if dtype == "category"}
    pd.testing.assert_frame_equal(computed[[*COLUMNS]], frame.astype(texts))
    counted = lazy.groupby("sender").size().compute().sort_index()
    assert counted.tolist() == frame.groupby("sender", observed=True).size().tolist()
    some = filled.dask(since="2026-11-24T00:00Z", until="2026-11-25T00:00Z", columns=["time"], gone=True)
    assert some.columns.tolist() == ["time", "gone_at"]
    assert len(some) == 24


def test_other_readers_of_parquet_see_each_message_once(filled: Archive, tmp_path: Path) -> None:
    plain = pd.read_parquet(filled.files())
    assert len(plain) == 72
    assert plain.message_id.is_unique
    assert len(pd.read_parquet(tmp_path / "archive" / "messages", filters=[("day", "=", "2026-11-23")])) == 24


def test_what_is_not_installed_is_named(filled: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ArchiveError, match=r"DuckDB.*imkit\[archive\]"):
        filled.sql("select 1")
    monkeypatch.setitem(sys.modules, "dask.dataframe", None)
    with pytest.raises(ArchiveError, match=r"Dask.*imkit\[archive\]"):
        filled.dask()
    assert len(filled.frame()) == 71


def test_names_of_strangers_stay_inert(tmp_path: Path) -> None:
    archive = fill(tmp_path / "<b>archive</b>")
    assert "<b>archive</b>" not in archive._repr_html_()
    assert "&lt;b&gt;archive&lt;/b&gt;" in archive._repr_html_()
    assert "72 messages of 2 conversations · 2026-11-23 to 2026-11-25" in archive._repr_html_()
    assert "\x1b" not in repr(Archive(tmp_path / "\x1b[2J"))
    assert "72 messages of 2 conversations, 2026-11-23 to 2026-11-25" in repr(archive)
    assert "<script>" not in archive.verify()._repr_html_()


@pytest.mark.parametrize(
    "read",
    [lambda archive: archive.frame(gone=True), lambda archive: archive.sql("select * from all_messages")],
    ids=["frame", "sql"],
)
def test_a_reader_goes_on_while_files_are_merged(
    filled: Archive, monkeypatch: pytest.MonkeyPatch, read: Callable[[Archive], pd.DataFrame]
) -> None:
    again = fill(filled.path + "-2")
    merge_before_reading = catalogue.load

    def load(storage: Any) -> Any:
        state = merge_before_reading(storage)
        monkeypatch.setattr(catalogue, "load", merge_before_reading)
        with again._storage.writing(0):
            ledger = Ledger(again._storage)
            table = parquet.stored(batch_of([message(100)]), "7", 3)
            late = merge.Reread(((0, MIDNIGHT),), frozenset())
            merge.fold(again._storage, ledger, [table], [], {"7": late}, [], 3)
        return state

    monkeypatch.setattr(catalogue, "load", load)
    assert len(read(again)) == 73


def test_sql_says_of_a_file_that_is_missing_or_damaged_that_the_archive_is(filled: Archive) -> None:
    first = Path(sorted(filled.files())[0])
    first.write_bytes(b"tea")
    with pytest.raises(ArchiveError, match=first.name):
        filled.sql("select * from messages")
    first.unlink()
    with pytest.raises(ArchiveError, match=first.name):
        filled.sql("select * from messages")


def test_verify_says_what_is_wrong_and_where(filled: Archive) -> None:
    assert repr(filled.verify()).endswith("sound; 72 messages of 2 conversations in 3 files")
    first, second, third = map(Path, sorted(filled.files()))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    second.unlink()
    (third.parent / "stray.parquet").write_bytes(b"tea")
    found = filled.verify()
    assert not found.ok
    assert [problem.what for problem in found.problems] == [
        "its bytes are not those that were written",
        "the file is missing",
    ]
    assert [note.what for note in found.notes] == ["no part of the archive"]
    assert filled.compact() == 0  # a writer removes what nobody names
    assert filled.verify().notes == []


def test_verify_notes_what_has_not_been_read(filled: Archive) -> None:
    with filled._storage.writing(0):
        ledger = Ledger(filled._storage)
        hole = ((0, MIDNIGHT), (MIDNIGHT + 2 * HOUR, MIDNIGHT + 72 * HOUR))
        ledger.commit(Commit(conversations=(Conversation("42", covered=hole, synced_at=1),)))
    found = filled.verify()
    assert found.ok
    assert "not read from 2026-11-23T00:00:00.000+00:00 to 2026-11-23T02:00:00.000+00:00" in repr(found)
    assert not filled.frame().im.source["complete"]
    assert filled.frame(since="2026-11-24T00:00Z").im.source["complete"]


def test_compacting_merges_days_and_changes_no_row(filled: Archive) -> None:
    with filled._storage.writing(0):
        ledger = Ledger(filled._storage)
        for number in range(72, 80):
            table = parquet.stored(batch_of([message(number)]), "7", 1)
            merge.fold(filled._storage, ledger, [table], [], {}, [], 1)
    before = filled.frame()
    assert len(filled.files()) == 11
    assert filled.compact() == 7
    assert len(filled.files()) == 4
    pd.testing.assert_frame_equal(filled.frame(), before)
    assert filled.verify().ok


def test_days_are_those_of_utc(tmp_path: Path) -> None:
    archive = fill(tmp_path / "archive")
    days = archive.sql("select day, min(time) as first, max(time) as last from all_messages group by day order by day")
    assert (days["last"] - days["first"] == timedelta(hours=23)).all()
