"""Merging into the files: no message twice, old versions kept, gone messages marked, and nothing written in vain."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkit.archive import parquet
from imkit.archive.catalogue import CatalogueWriter, ConversationState
from imkit.archive.merge import CommitBatch, MergeResult, Reread, merge_batch
from imkit.archive.storage import Storage, storage_at
from imkit.history.columns import batch_of
from imkit.messages import Message, Text, Unknown
from imkit.times import from_milliseconds, to_milliseconds
from tests.archive.conftest import HOUR, MIDNIGHT

WHOLE = (0, MIDNIGHT + 1000 * HOUR)


def written(number: int, text: str = "", hour: int | None = None) -> Message:
    """Make a message, one an hour from midnight, or in another hour."""
    time = from_milliseconds(MIDNIGHT + (number if hour is None else hour) * HOUR)
    return Message(str(10**18 + number), "ann", "42", time, Text(text or f"text {number}"))


def unreadable(data: bytes) -> Message:
    """Make a message without an id: imkit could not read it."""
    return Message("", "", "42", from_milliseconds(0), Unknown(data))


def table(*messages: Message, target: str = "42", fetched_at: int = 1) -> pa.Table:
    return parquet.archive_rows(batch_of(messages), target, fetched_at)


def again(*messages: Message, found: Iterable[Message] = (), ranges: tuple[tuple[int, int], ...] = ()) -> CommitBatch:
    """Return a batch of messages that were read again; `ranges` have been read completely and hold `found` too."""
    rows = table(*messages)
    keys = parquet.row_keys(table(*messages, *found)).to_pylist()
    return CommitBatch(maybe_changed=[rows], reread={"42": Reread(ranges, frozenset(keys))} if ranges else {})


@dataclass
class Files:
    """The files of an archive without a service."""

    storage: Storage
    merges: int = 0

    def merge(self, batch: CommitBatch) -> tuple[int, int, int]:
        """Merge a batch at the time `merges`; return how many rows were added, changed and gone."""
        self.merges += 1
        with self.storage.writing(0):
            result = merge_batch(self.storage, CatalogueWriter(self.storage), batch, self.merges)
        return result.added, result.changed, result.gone

    def names(self) -> set[str]:
        with self.storage.writing(0):
            return {file.name for file in CatalogueWriter(self.storage).state.files_of("messages")}

    def rows(self, kind: str = "messages") -> pa.Table:
        with self.storage.writing(0):
            files = CatalogueWriter(self.storage).state.files_of(kind)
        return parquet.read(self.storage, files, parquet.SCHEMAS[kind]).sort_by("message_id")

    def texts(self, kind: str = "messages") -> list[str]:
        return self.rows(kind)["text"].to_pylist()

    def gone(self) -> list[str]:
        """Return the texts of the messages that are marked as gone."""
        rows = self.rows()
        return rows.filter(rows["gone_at"].is_valid())["text"].to_pylist()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(storage_at(tmp_path / "archive"))


def test_an_empty_batch_commits_nothing(files: Files) -> None:
    assert files.merge(CommitBatch()) == (0, 0, 0)
    assert files.merge(again(ranges=(WHOLE,))) == (0, 0, 0)  # nothing is stored that could be gone
    assert files.rows().num_rows == 0
    with files.storage.writing(0):
        assert CatalogueWriter(files.storage).state.number == 0


def test_a_batch_of_states_alone_is_committed(files: Files) -> None:
    state = ConversationState("42", covered=((0, 9),))
    assert files.merge(CommitBatch(conversations={"42": state})) == (0, 0, 0)
    with files.storage.writing(0):
        assert CatalogueWriter(files.storage).state.conversations["42"] == state


def test_new_rows_are_divided_by_day(files: Files) -> None:
    assert files.merge(CommitBatch([table(written(0), written(30)), table(written(1))])) == (3, 0, 0)
    assert files.texts() == ["text 0", "text 1", "text 30"]
    assert sorted(name.split("/")[1] for name in files.names()) == ["day=2026-11-23", "day=2026-11-24"]


def test_an_edited_message_replaces_its_version_and_the_old_one_is_kept(files: Files) -> None:
    files.merge(CommitBatch([table(written(0), written(1))]))
    assert files.merge(again(written(0, "edited"), written(1))) == (0, 1, 0)
    assert files.texts() == ["edited", "text 1"]
    versions = files.rows("versions")
    assert versions["text"].to_pylist() == ["text 0"]
    assert [to_milliseconds(moment) for moment in versions["superseded_at"].to_pylist()] == [2]


def test_versions_are_kept_in_the_order_in_which_they_were_read(files: Files) -> None:
    """The service decides which version is the newest; a version that was read before may come back."""
    files.merge(CommitBatch([table(written(0, "first"))]))
    for text in ("second", "first"):
        assert files.merge(again(written(0, text))) == (0, 1, 0)
    assert files.texts() == ["first"]
    versions = files.rows("versions").sort_by("superseded_at")
    assert versions["text"].to_pylist() == ["first", "second"]


def test_unchanged_messages_rewrite_no_file(files: Files) -> None:
    files.merge(CommitBatch([table(written(0), written(1))]))
    before = files.names()
    batch = CommitBatch(maybe_changed=[table(written(0), written(1), fetched_at=9)])  # only read later
    assert files.merge(batch) == (0, 0, 0)
    assert files.names() == before
    assert files.texts("versions") == []


def test_only_the_file_of_the_changed_message_is_rewritten(files: Files) -> None:
    files.merge(CommitBatch([table(written(0), written(30))]))
    before = files.names()
    files.merge(again(written(30, "edited")))
    (kept,) = files.names() & before
    assert "day=2026-11-23" in kept


def test_messages_that_may_be_stored_are_added_once(files: Files) -> None:
    files.merge(CommitBatch([table(written(0))]))
    batch = CommitBatch(maybe_changed=[table(written(0), written(1)), table(written(1), written(2))])
    assert files.merge(batch) == (2, 0, 0)
    assert files.texts() == ["text 0", "text 1", "text 2"]
    assert files.merge(batch) == (0, 0, 0)


def test_messages_without_an_id_are_told_apart_by_their_content(files: Files) -> None:
    one, two = unreadable(b"one"), unreadable(b"two")
    assert files.merge(again(one, two, one)) == (2, 0, 0)
    assert files.merge(again(two, one)) == (0, 0, 0)
    assert files.rows().num_rows == 2


def test_the_same_id_in_another_conversation_is_another_message(files: Files) -> None:
    files.merge(CommitBatch([table(written(0)), table(written(0, "in 7"), target="7")]))
    assert files.merge(CommitBatch(maybe_changed=[table(written(0, "edited"), target="7")])) == (0, 1, 0)
    assert sorted(files.texts()) == ["edited", "text 0"]


def test_a_message_that_was_not_found_again_is_marked_once(files: Files) -> None:
    files.merge(CommitBatch([table(*map(written, range(4)))]))
    recalled = again(written(1), ranges=((MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR),))
    assert files.merge(recalled) == (0, 0, 1)
    assert files.gone() == ["text 2"]  # 0 and 3 lie outside
    assert files.texts("versions") == []  # the row itself has not changed
    before = files.names()
    assert files.merge(recalled) == (0, 0, 0)
    assert files.names() == before


def test_both_ends_of_a_range_belong_to_it(files: Files) -> None:
    files.merge(CommitBatch([table(*map(written, range(4)))]))
    at = [MIDNIGHT + number * HOUR for number in range(4)]
    assert files.merge(again(ranges=((at[0] + 1, at[1] - 1), (at[2] + 1, at[3] - 1)))) == (0, 0, 0)
    assert files.merge(again(ranges=((at[0], at[0]), (at[3], at[3])))) == (0, 0, 2)
    assert files.gone() == ["text 0", "text 3"]


def test_only_the_conversation_that_was_read_again_loses_messages(files: Files) -> None:
    files.merge(CommitBatch([table(written(0)), table(written(1, "in 7"), target="7")]))
    assert files.merge(again(ranges=(WHOLE,))) == (0, 0, 1)
    assert files.gone() == ["text 0"]


def test_a_message_found_in_an_earlier_batch_is_not_gone(files: Files) -> None:
    """The rows of a range may come in several batches; the last one has the keys of all."""
    files.merge(CommitBatch([table(*map(written, range(3)))]))
    assert files.merge(again(written(0))) == (0, 0, 0)
    assert files.merge(again(written(1), found=[written(0)], ranges=(WHOLE,))) == (0, 0, 1)
    assert files.gone() == ["text 2"]


def test_a_message_that_comes_back_is_no_longer_gone(files: Files) -> None:
    files.merge(CommitBatch([table(written(0))]))
    files.merge(again(ranges=(WHOLE,)))
    assert files.merge(again(written(0), ranges=(WHOLE,))) == (0, 1, 0)
    assert files.gone() == []
    assert files.rows("versions")["gone_at"].null_count == 0  # that it was gone is known from its version


def test_a_version_of_another_day_moves_to_the_file_of_that_day(files: Files) -> None:
    files.merge(CommitBatch([table(written(0), written(1))]))
    assert files.merge(again(written(0, hour=30), written(1), ranges=(WHOLE,))) == (0, 1, 0)
    days = {name.split("/")[1] for name in files.names()}
    assert days == {"day=2026-11-23", "day=2026-11-24"}
    assert files.texts() == ["text 0", "text 1"]


def test_a_message_that_was_moved_is_stored_once_though_its_old_time_is_not_read(files: Files) -> None:
    files.merge(CommitBatch([table(written(0), written(1))]))
    files.merge(CommitBatch([table(written(60))]))
    assert files.merge(CommitBatch(maybe_changed=[table(written(0, hour=61))])) == (0, 1, 0)
    assert files.merge(again(written(1), found=[written(0, hour=61)], ranges=((0, MIDNIGHT + HOUR),))) == (0, 0, 0)
    assert files.texts() == ["text 0", "text 1", "text 60"]
    assert files.gone() == []
    assert len(files.rows("versions")) == 1


def test_files_of_workers_count_as_added(files: Files) -> None:
    with files.storage.writing(0):
        writer = CatalogueWriter(files.storage)  # a new writer removes files that no commit names
        stored = parquet.write(files.storage, "messages", table(written(0), written(1)))
        result = merge_batch(files.storage, writer, CommitBatch([table(written(2))], written=stored), 1)
    assert result == MergeResult(added=3)
    assert files.texts() == ["text 0", "text 1", "text 2"]


@dataclass
class Service:
    """What the service has of one conversation, and what an archive of it must hold after each merge."""

    live: dict[int, str] = field(default_factory=dict)
    stored: dict[int, str] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    versions: list[tuple[int, str]] = field(default_factory=list)

    def read_again(self, first: int, last: int) -> tuple[CommitBatch, MergeResult]:
        """Return what a reading of the hours `first` to `last` gives to a merge, and the result that must come."""
        found = {number: text for number, text in self.live.items() if first <= number <= last}
        expected = MergeResult()
        for number, text in found.items():
            expected.added += number not in self.stored
            if number in self.stored and (self.stored[number] != text or number in self.gone):
                expected.changed += 1
                self.versions.append((number, self.stored[number]))
        lost = {number for number in self.stored if first <= number <= last} - found.keys() - self.gone
        expected.gone = len(lost)
        self.gone = (self.gone | lost) - found.keys()
        self.stored |= found
        ranges = ((MIDNIGHT + first * HOUR, MIDNIGHT + last * HOUR),)
        return again(*(written(number, text) for number, text in found.items()), ranges=ranges), expected


NUMBERS = st.integers(0, 60)  # of the messages, one an hour: three days
STEPS = st.lists(
    st.tuples(st.dictionaries(NUMBERS, st.sampled_from(["", "A", "B"]), max_size=12), NUMBERS, NUMBERS), max_size=6
)


@settings(max_examples=40)
@given(STEPS)
def test_the_files_hold_what_was_read_whatever_changes_between(steps: list[tuple[dict[int, str], int, int]]) -> None:
    """Each step changes messages ("": recalled), and reads some hours again."""
    service = Service()
    with tempfile.TemporaryDirectory() as folder:
        files = Files(storage_at(folder))
        for changes, one_end, other_end in steps:
            service.live |= changes
            service.live = {number: text for number, text in service.live.items() if text}
            batch, expected = service.read_again(*sorted((one_end, other_end)))
            assert files.merge(batch) == (expected.added, expected.changed, expected.gone)
            rows = files.rows()
            numbers = [int(message_id) - 10**18 for message_id in rows["message_id"].to_pylist()]
            assert numbers == sorted(service.stored)  # each once
            assert dict(zip(numbers, rows["text"].to_pylist(), strict=True)) == service.stored
            marks = rows["gone_at"].is_valid().to_pylist()
            assert {number for number, is_gone in zip(numbers, marks, strict=True) if is_gone} == service.gone
        kept = files.rows("versions")
        versions = zip(kept["message_id"].to_pylist(), kept["text"].to_pylist(), strict=True)
        assert sorted((int(message_id) - 10**18, text) for message_id, text in versions) == sorted(service.versions)
