"""Batching: which rows are committed when, as new or as perhaps changed, and where a message counts as gone."""

from collections.abc import Sequence
from typing import Any

import pytest

from imkit.archive import batching, parquet
from imkit.archive.batching import SHORTEST_RETENTION_MS, Batcher, ReadPlan, unreadable_state
from imkit.archive.catalogue import ConversationState
from imkit.archive.merge import CommitBatch
from imkit.errors import Forbidden, IMError, NotFound, ThreadNotFound, TimedOut
from imkit.history.columns import batch_of
from imkit.history.fetch import HistoryPart
from imkit.history.time_ranges import FAR, Bounds, Range
from imkit.messages import Message, Text, Unknown
from imkit.portal import portal
from imkit.times import from_milliseconds
from tests.archive.conftest import Tea

DAY = 86_400_000
NOW = 100 * DAY


def at(time: int, message_id: int | None = None) -> Message:
    """Make a message; its id is its time unless it is given."""
    return Message(str(message_id or time), "ann", "42", from_milliseconds(time), Text(f"at {time}"))


def unreadable(data: bytes) -> Message:
    return Message("", "", "42", from_milliseconds(0), Unknown(data))


def part(messages: Sequence[Message], *covered: Range, finished: bool = False, target: str = "42") -> HistoryPart:
    return HistoryPart(target, batch_of(messages), covered, finished)


class Reading:
    """A batcher with one conversation, and what it has committed."""

    def __init__(
        self,
        bounds: Sequence[Bounds] = ((None, None),),
        newest: Message | None = None,
        now: int = NOW,
        **known: Any,
    ) -> None:
        self.commits: list[CommitBatch] = []
        self.known = ConversationState("42", **known)
        found = ("", 0) if newest is None else (newest.id, int(newest.time.timestamp() * 1000))
        self.batcher = Batcher({"42": ReadPlan(self.known, tuple(bounds), *found)}, self._commit, now)

    async def _commit(self, batch: CommitBatch) -> None:
        self.commits.append(batch)

    def take(self, *parts: HistoryPart, flush: bool = True) -> CommitBatch:
        """Hand parts over, and return the last commit."""

        async def run() -> None:
            for each in parts:
                await self.batcher.receive(each)
            if flush:
                await self.batcher.flush()

        portal().call(run())
        return self.commits[-1] if self.commits else CommitBatch()

    @property
    def state(self) -> ConversationState:
        return self.commits[-1].conversations["42"]


def texts(tables: Sequence[Any]) -> list[str]:
    return [text for table in tables for text in table["text"].to_pylist()]


def test_nothing_to_commit_is_not_committed() -> None:
    reading = Reading()
    reading.take()
    assert reading.commits == []


def test_an_empty_conversation_is_covered_when_it_was_read() -> None:
    reading = Reading([(5, 50)])
    batch = reading.take(part([], finished=True))
    assert (batch.new_rows, batch.maybe_changed, batch.reread) == ([], [], {})
    assert (reading.state.covered, reading.state.status, reading.state.synced_at) == (((5, 49),), "ok", NOW)


def test_rows_wait_until_their_range_has_been_read() -> None:
    reading = Reading()
    first = reading.take(part([at(10), at(30), at(50)], (0, 10), (50, 50)))
    assert texts(first.new_rows) == ["at 10", "at 50"]
    assert reading.state.covered == ((0, 10), (50, 50))
    second = reading.take(part([at(20)], (0, 30), (50, 50)))
    assert texts(second.new_rows) == ["at 30", "at 20"]
    third = reading.take(part([], (0, 50), finished=True))
    assert texts(third.new_rows) == []
    assert third.conversations["42"].covered == ((0, 50),)


def test_an_interrupted_reading_commits_no_row_outside_of_its_covered_ranges() -> None:
    """The next sync reads the other ranges, and takes their rows for new without a look at the files."""
    reading = Reading()
    batch = reading.take(part([at(10), at(30)], (0, 10)))
    assert texts(batch.new_rows) == ["at 10"]
    rest = Reading([(10, None)], covered=batch.conversations["42"].covered)
    batch = rest.take(part([at(10), at(30)], (10, 30), finished=True))
    assert (texts(batch.new_rows), texts(batch.maybe_changed)) == (["at 30"], ["at 10"])
    assert rest.state.covered == ((0, 30),)


def test_a_full_batch_is_committed_before_more_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ROWS_A_COMMIT", 2)
    reading = Reading()
    reading.take(part([at(10), at(90)], (0, 10)), flush=False)  # the row at 90 waits, and does not count
    assert reading.commits == []
    reading.take(part([at(20)], (0, 20)), flush=False)
    assert [texts(batch.new_rows) for batch in reading.commits] == [["at 10", "at 20"]]
    reading.take(part([], (0, 90), finished=True))
    assert texts(reading.commits[-1].new_rows) == ["at 90"]
    assert len(reading.commits) == 2


def test_rows_of_ranges_that_were_covered_before_may_be_changed() -> None:
    reading = Reading([(10, None)], covered=((0, 20), (40, 50)))
    batch = reading.take(part([at(time) for time in (20, 21, 39, 40, 50, 51)], (10, 51), finished=True))
    assert texts(batch.new_rows) == ["at 21", "at 39", "at 51"]
    assert texts(batch.maybe_changed) == ["at 20", "at 40", "at 50"]


def test_a_row_without_an_id_may_always_be_stored_already() -> None:
    reading = Reading(kind="group")
    batch = reading.take(part([unreadable(b"x"), at(10)], (0, 10), finished=True))
    assert texts(batch.new_rows) == ["at 10"]
    assert [table.num_rows for table in batch.maybe_changed] == [1]
    assert (reading.state.newest_id, reading.state.newest_at) == ("10", 10)


def test_a_new_row_with_an_old_id_may_be_a_message_that_was_moved() -> None:
    reading = Reading([(30, None)], covered=((0, 30),), newest_id="30", newest_at=30)
    batch = reading.take(part([at(40, message_id=7), at(50)], (30, 50), finished=True))
    assert (texts(batch.new_rows), texts(batch.maybe_changed)) == (["at 50"], ["at 40"])


def test_the_newest_message_of_a_group_is_found_in_its_rows() -> None:
    """Ids of one millisecond are compared as numbers; a message that is older than the known one does not count."""
    reading = Reading(kind="group", covered=((0, 15),), newest_id="7", newest_at=15)
    reading.take(part([at(20, 9), at(20, 10), at(18, 99)], (15, 20), finished=True))
    assert (reading.state.newest_id, reading.state.newest_at) == ("10", 20)
    older = Reading([(0, 10)], kind="group", covered=((15, 20),), newest_id="10", newest_at=20)
    older.take(part([at(5)], (0, 9), finished=True))
    assert (older.state.newest_id, older.state.newest_at) == ("10", 20)


def test_the_newest_message_of_a_thread_is_the_one_that_the_service_named() -> None:
    reading = Reading(newest=at(20), kind="thread")
    reading.take(part([at(10), at(20), at(30)], (0, 30), finished=True))  # 30 came while it was read
    assert (reading.state.newest_id, reading.state.newest_at) == ("20", 20)
    empty = Reading(kind="thread", newest_id="10", newest_at=10)  # all its messages were recalled
    empty.take(part([], finished=True))
    assert (empty.state.newest_id, empty.state.newest_at) == ("", 0)


def test_a_conversation_that_is_not_finished_has_no_newest_message_yet() -> None:
    reading = Reading(newest=at(20), kind="thread")
    batch = reading.take(part([at(10)], (0, 10)))
    assert (reading.state.newest_id, batch.reread) == ("", {})


def test_a_recalled_message_is_looked_for_only_where_both_readings_were() -> None:
    now = 10 * DAY
    known = ((8 * DAY, 9 * DAY),)
    reading = Reading([(8 * DAY + 5, 9 * DAY + 1)], now=now, covered=known)
    batch = reading.take(part([at(8 * DAY + 7)], (8 * DAY + 5, 9 * DAY), finished=True))
    assert batch.reread["42"].ranges == ((8 * DAY + 5, 9 * DAY),)
    assert batch.reread["42"].keys == set(parquet.row_keys(batch.maybe_changed[0]).to_pylist())
    apart = Reading([(0, 5)], now=now, covered=known)
    assert apart.take(part([], (0, 4), finished=True)).reread == {}


def test_keys_found_in_earlier_commits_of_the_same_reading_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ROWS_A_COMMIT", 1)
    times = [9 * DAY, 9 * DAY + 1]
    reading = Reading(now=10 * DAY, covered=((0, times[1]),))
    reading.take(part([at(times[0])], (0, times[0])), part([at(times[1])], (0, times[1]), finished=True))
    first, last = reading.commits
    assert first.reread == {}
    assert len(last.reread["42"].keys) == 2


def test_an_open_end_reaches_beyond_the_newest_message() -> None:
    """The newest stored message may have been recalled: then the service's history ends before it."""
    now = 10 * DAY
    reading = Reading([(9 * DAY, None)], now=now, covered=((0, 9 * DAY + 50),))
    batch = reading.take(part([at(9 * DAY)], (9 * DAY, 9 * DAY), finished=True))
    assert batch.reread["42"].ranges == ((9 * DAY, 9 * DAY + 50),)
    assert batch.reread["42"].ranges[0][1] < FAR


def test_messages_that_may_have_expired_are_not_called_gone() -> None:
    covered = ((0, NOW - DAY),)
    empty = Reading(covered=covered).take(part([], finished=True))
    assert empty.reread["42"].ranges == ((NOW - SHORTEST_RETENTION_MS, NOW - DAY),)
    oldest = NOW - 50 * DAY  # the service still has it, so no younger one has expired
    batch = Reading(covered=covered).take(part([at(oldest), at(NOW - DAY)], (0, NOW - DAY), finished=True))
    assert batch.reread["42"].ranges == ((oldest, NOW - DAY),)
    named = Reading([(NOW - DAY, None)], newest=at(NOW - 20 * DAY), covered=covered, kind="thread")
    assert named.take(part([], finished=True)).reread["42"].ranges == ((NOW - DAY, NOW - DAY),)


@pytest.mark.parametrize(
    ("error", "status"),
    [(ThreadNotFound("no"), "vanished"), (NotFound("no"), "vanished"), (Forbidden("no"), "forbidden")],
)
def test_a_conversation_that_cannot_be_read_keeps_what_it_has(error: IMError, status: str) -> None:
    reading = Reading(covered=((0, 9),), newest_id="9")
    reading.take(part([at(20)], (20, 20)), flush=False)
    portal().call(reading.batcher.mark_unreadable("42", error))
    batch = reading.take()
    assert texts(batch.new_rows) == ["at 20"]
    assert (reading.state.status, reading.state.status_since, reading.state.newest_id) == (status, NOW, "9")
    assert reading.state.covered == ((0, 9), (20, 20))
    assert reading.batcher.unreadable == {"42": str(error)}


def test_an_error_that_is_not_about_the_conversation_is_raised() -> None:
    reading = Reading()
    with pytest.raises(TimedOut):
        portal().call(reading.batcher.mark_unreadable("42", TimedOut("late")))
    assert reading.batcher.unreadable == {}


def test_the_time_of_a_status_is_that_of_its_first_sync() -> None:
    vanished = unreadable_state(ConversationState("42"), NotFound("no"), 5)
    assert unreadable_state(vanished, NotFound("no"), 9).status_since == 5
    assert unreadable_state(vanished, NotFound("no"), 9).synced_at == 9
    assert unreadable_state(vanished, Forbidden("no"), 9).status_since == 9
    readable_again = Reading(status="vanished", status_since=5)
    readable_again.take(part([], finished=True))
    assert (readable_again.state.status, readable_again.state.status_since) == ("ok", 0)


def test_conversations_share_a_commit(tea: Tea) -> None:
    threads = [tea.thread(f"Tea {number}", *"abc") for number in range(4)]
    gone = tea.thread("Gone")
    gone.destroy()
    commits: list[CommitBatch] = []

    async def commit(batch: CommitBatch) -> None:
        commits.append(batch)

    async def read() -> list[str]:
        plans = {
            thread.id: ReadPlan(ConversationState(thread.id, "thread"), ((None, None),)) for thread in (*threads, gone)
        }
        batcher = Batcher(plans, commit, NOW)
        reasons = await batcher.read(tea.alice.account, workers=2)
        await batcher.flush()
        assert set(batcher.unreadable) == {gone.id}
        return reasons

    assert portal().call(read()) == []
    (batch,) = commits
    assert sorted(texts(batch.new_rows)) == sorted("abc" * 4)
    assert batch.conversations.keys() == {gone.id, *(thread.id for thread in threads)}
    assert batch.conversations[gone.id].status == "vanished"
