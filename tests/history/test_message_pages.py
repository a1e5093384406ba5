"""Roaming history: what is asked for, all of it, once; from the sandbox, and from servers that answer oddly."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit.history.arguments import query
from imkit.sandbox.process import Sandbox
from imkit.times import to_milliseconds
from tests.stand_ins import Answer, Asked, HttpStandIn, odd_session, roamed, text_meta

_numbers = itertools.count(1)
MS = timedelta(milliseconds=1)


class Told:
    """A thread of 130 messages by two people (three pages), each a millisecond or more after the one before."""

    def __init__(self, sandbox: Sandbox) -> None:
        number = next(_numbers)
        self.alice = imkit.login(f"alice-{number}-h", app=sandbox.app)
        self.bob = imkit.login(f"bob-{number}-h", app=sandbox.app)
        self.group = self.alice.create_group("tea", members=[self.bob.user])
        self.parent = self.group.send("Which oolong?")
        self.thread = self.group.create_thread("Oolong", self.parent)
        self.other = self.group.create_thread("Puer", self.group.send("Or puer?"))
        bobs = self.bob.thread(self.thread.id).join()
        bodies = [imkit.Location(1, 2, "here"), imkit.Custom("order", {"n": "1"}), imkit.Command("never kept")]
        self.sent = [self._send(self.thread if n % 3 else bobs, f"message {n}") for n in range(127)]
        self.sent += [self._send(self.thread, body) for body in bodies[:2]]
        self.thread.send(bodies[2])
        recalled = self.thread.send("recalled")
        self.thread.recall(recalled)
        self.sent.append(self._send(self.thread, "the last"))
        self.others = [self.other.send(f"other {n}") for n in range(3)]
        self.ids = [message.id for message in self.sent]

    def _send(self, room: imkit.Thread, body: Any) -> imkit.Message:
        # The server's clock has milliseconds: let one pass, so that each message has a time of its own.
        sent = room.send(body)
        while (datetime.now(UTC) - sent.time) < 2 * MS:
            pass
        return sent


@pytest.fixture(scope="module")
def told(sandbox: Sandbox) -> Iterator[Told]:
    told = Told(sandbox)
    yield told
    told.alice.close()
    told.bob.close()


# ------------------------------------------------------------------ what comes


def test_all_of_it_in_order_and_once(told: Told) -> None:
    frame = told.thread.history()
    assert frame["message_id"].tolist() == told.ids
    assert frame["time"].tolist() == [pd.Timestamp(message.time) for message in told.sent]
    assert frame["thread_name"].unique().tolist() == ["Oolong"]
    assert frame["parent_message_id"].unique().tolist() == [told.parent.id]
    source = frame.attrs["imkit"]
    assert source["complete"] is True
    assert source["reason"] == ""
    assert source["rows"] == len(told.ids)
    assert source["thread_ids"] == [told.thread.id]
    assert source["app_key"] == told.alice.app.app_key
    assert datetime.fromisoformat(source["fetched_at"]).tzinfo is not None


def test_newest_first(told: Told) -> None:
    assert told.thread.history(order="newest")["message_id"].tolist() == told.ids[::-1]


@pytest.mark.parametrize("limit", [1, 49, 50, 51, 100, 130, 1000])
def test_a_limit_counts_from_the_end_that_order_names(told: Told, limit: int) -> None:
    oldest, newest = (told.thread.history(limit=limit, order=order) for order in ("oldest", "newest"))
    assert oldest["message_id"].tolist() == told.ids[:limit]
    assert newest["message_id"].tolist() == told.ids[::-1][:limit]
    if limit <= len(told.ids):
        assert oldest.attrs["imkit"]["complete"] is False
        assert f"limit of {limit}" in oldest.attrs["imkit"]["reason"]
    else:
        assert oldest.attrs["imkit"]["complete"] is True


def test_since_is_inclusive_and_until_exclusive(told: Told) -> None:
    third, sixth = told.sent[3].time, told.sent[6].time
    for order in ("oldest", "newest"):
        between = told.thread.history(third, sixth, order=order)
        assert sorted(between["message_id"]) == told.ids[3:6]
    assert told.thread.history(since=third + MS, until=sixth + MS)["message_id"].tolist() == told.ids[4:7]
    assert told.thread.history(until=third)["message_id"].tolist() == told.ids[:3]
    assert told.thread.history(since=told.sent[-1].time)["message_id"].tolist() == told.ids[-1:]
    assert told.thread.history(since=told.sent[-1].time + MS).empty
    source = told.thread.history(third, sixth).attrs["imkit"]
    assert source["since"] == third.isoformat(timespec="milliseconds")
    assert source["until"] == sixth.isoformat(timespec="milliseconds")


def test_ways_to_say_when(told: Told) -> None:
    moment = told.sent[100].time
    taipei = timezone(timedelta(hours=8))
    ways: list[Any] = [
        moment,
        moment.astimezone(taipei),
        moment.isoformat(),
        moment.astimezone(taipei).isoformat(),
        moment.astimezone().replace(tzinfo=None),  # naive: local
        moment.astimezone().replace(tzinfo=None).isoformat(),
        pd.Timestamp(moment),
    ]
    for way in ways:
        assert told.thread.history(since=way)["message_id"].tolist() == told.ids[100:]
    today = moment.astimezone().date()
    for day in (today, today.isoformat()):
        assert len(told.thread.history(since=day, until=date.today() + timedelta(days=1))) == len(told.ids)
    assert told.thread.history(until=today).empty


def test_a_date_is_its_local_midnight() -> None:
    midnight = datetime(2026, 11, 23).astimezone()
    wanted = query(since=date(2026, 11, 23), until="2026-11-24")
    assert wanted.since == to_milliseconds(midnight)
    assert wanted.until == to_milliseconds(datetime(2026, 11, 24).astimezone())


def test_moments_between_milliseconds_are_rounded_up() -> None:
    moment = datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC)
    assert query(since=moment).since == to_milliseconds(moment) + 1
    assert query(since=moment.replace(microsecond=0)).since == to_milliseconds(moment)


def test_types_and_sender(told: Told) -> None:
    assert told.thread.history(types=["loc", "custom"])["type"].tolist() == ["loc", "custom"]
    assert len(told.thread.history(types=(kind for kind in ["txt"]))) == 128
    assert told.thread.history(types={"cmd"}).empty
    bobs = told.thread.history(sender=told.bob.user.upper(), limit=5)
    assert bobs["message_id"].tolist() == told.ids[0:15:3]
    assert told.thread.history(sender="nobody").empty


def test_several_threads(told: Told) -> None:
    both = told.alice.history([told.thread, told.other, told.thread])
    assert both["message_id"].tolist() == [*told.ids, *(message.id for message in told.others)]
    assert both.attrs["imkit"]["thread_ids"] == [told.thread.id, told.other.id]
    newest = told.alice.history([told.other, told.thread], order="newest", limit=5)
    assert newest["message_id"].tolist() == [*(message.id for message in told.others[::-1]), *told.ids[:-3:-1]]
    assert told.alice.history([]).empty
    assert len(told.alice.history(told.group.threads())) == len(both)
    assert len(told.alice.history(told.other)) == 3


def test_a_groups_history_holds_no_thread_messages(told: Told) -> None:
    frame = told.group.history()
    assert frame["text"].tolist() == ["Which oolong?", "Or puer?"]
    assert frame["thread_id"].isna().all()
    assert frame["group_id"].tolist() == [told.group.id] * 2


def test_messages_lazily(told: Told) -> None:
    messages = told.thread.messages(order="newest")
    assert [message.id for message in itertools.islice(messages, 60)] == told.ids[::-1][:60]
    assert [message.id for message in messages] == told.ids[::-1]  # again, from the beginning
    assert [message.id for message in told.thread.messages(limit=2)] == told.ids[:2]
    assert "messages of thread" in repr(messages)

    async def main() -> list[str]:
        first = []
        async for message in told.thread.messages(since=told.sent[70].time):
            first.append(message.id)
            if len(first) == 55:
                break
        return first

    assert asyncio.run(main()) == told.ids[70:125]


def test_what_arrives_meanwhile_is_not_in_the_range(told: Told) -> None:
    found = []
    for message in told.other.messages():
        found.append(message.id)
        told.other.send("meanwhile")
        assert len(found) < 20
    assert found[:3] == [message.id for message in told.others]
    assert len(found) == 3
    recall_all(told.other, told.others)


def recall_all(thread: imkit.Thread, but: list[imkit.Message]) -> None:
    keep = {message.id for message in but}
    for message in list(thread.messages()):
        if message.id not in keep:
            thread.recall(message)


def test_progress_is_told_on_a_thread_of_its_own(told: Told) -> None:
    calls: list[tuple[int, int | None, str]] = []
    told.thread.history(progress=lambda done, total: calls.append((done, total, threading.current_thread().name)))
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][0] == len(told.ids)
    assert "imkit-loop" not in {name for _, _, name in calls}
    assert threading.current_thread().name not in {name for _, _, name in calls}
    awaited: list[int] = []

    async def of_async(done: int, total: int | None) -> None:
        awaited.append(done)

    assert len(told.thread.history(progress=of_async, limit=60)) == 60
    assert awaited[-1] == 60


def test_a_progress_function_that_fails_fails_no_history(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    def fail(done: int, total: int | None) -> None:
        raise ValueError("no bar to draw on")

    assert len(told.thread.history(progress=fail)) == len(told.ids)
    assert "no bar to draw on" in caplog.text


def test_who_is_not_in_the_thread_reads_nothing(told: Told) -> None:
    with pytest.raises(imkit.IMError) as caught:
        told.bob.thread(told.other.id).history()
    assert caught.value.hint


# ------------------------------------------------------ refused before the network


@pytest.mark.parametrize(
    "arguments",
    [
        {"since": "yesterday"},
        {"since": 1_700_000_000},
        {"since": 1.5},
        {"until": "2026-13-01"},
        {"since": datetime.min},
        {"until": datetime.max.replace(tzinfo=timezone(-timedelta(hours=12)))},
        {"since": date.min},
        {"since": pd.NaT},
        {"since": "2026-11-24", "until": "2026-11-23"},
        {"since": "2026-11-23", "until": "2026-11-23"},
        {"types": "txt"},
        {"types": ["text"]},
        {"types": [None]},
        {"types": 7},
        {"sender": "no user"},
        {"sender": 7},
        {"limit": 0},
        {"limit": -1},
        {"limit": 2.5},
        {"limit": "10"},
        {"order": "random"},
        {"order": None},
    ],
    ids=str,
)
def test_arguments_out_of_bounds(arguments: dict[str, Any]) -> None:
    with odd_session(lambda _: Answer(500, {})) as (session, server):
        calls: list[Callable[..., Any]] = [session.thread("42").history, session.group("42").messages]
        for call in (*calls, lambda **given: session.history(session.thread("42"), **given)):
            with pytest.raises(imkit.InvalidMessage):
                call(**arguments)
        assert server.asked == []


@pytest.mark.parametrize("of", [7, None, "42", ["42"], [None]])
def test_what_is_no_room(told: Told, of: Any) -> None:
    with pytest.raises(imkit.InvalidMessage):
        told.alice.history(of)


# ------------------------------------------------------------- servers that answer oddly


class Scripted:
    """Pages one after another, the last one again and again; a page is `(entries, is_last, next_key)`."""

    def __init__(self, *pages: tuple[Any, Any, Any]) -> None:
        self._pages = list(pages)

    def __call__(self, asked: Asked) -> Answer:
        assert asked.path == "/org/app/users/alice/messageroaming"
        if asked.json["is_positive"] is False and asked.json["pull_number"] and len(self._pages) == 0:
            return Answer(200, {})
        entries, is_last, key = self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        data = {"msgs": entries, "is_last": is_last, "next_key": key}
        return Answer(200, {"data": {name: value for name, value in data.items() if value is not ...}})


def texts(*numbers: int) -> list[dict[str, str]]:
    return roamed(*(text_meta(1000 + number, f"m{number}", at=1_700_000_000_000 + number) for number in numbers))


def load(*pages: tuple[Any, Any, Any], **arguments: Any) -> tuple[list[str], dict[str, Any], HttpStandIn]:
    arguments.setdefault("parallel", False)  # the pages come in the order of one walk
    with odd_session(Scripted(*pages)) as (session, server):
        frame = session.thread("42").history(**arguments)
        return frame["text"].fillna("?").tolist(), frame.attrs["imkit"], server


END: tuple[Any, Any, Any] = ([], False, "more")


@pytest.mark.parametrize(
    "pages",
    [
        [(texts(3, 2), False, "a"), (texts(1), False, "b"), END],  # is_last false for ever: an empty page ends it
        [(texts(3, 2), False, "a"), (texts(1), True, "b")],  # is_last with a key
        [(texts(3, 2), False, "a"), (texts(1), False, "")],  # no key
        [(texts(3, 2), False, "a"), (texts(1), False, None)],
        [(texts(3, 2), False, "a"), (texts(1), False, ...)],
        [(texts(3, 2), False, 17), (texts(1), ..., 0), (texts(1), ..., 0)],  # keys as numbers
        [(texts(3, 2), False, "a"), (texts(1), False, "a")],  # the same key again
        [
            (texts(3, 2), False, "a"),
            (texts(2, 1), False, "b"),
            (texts(1), False, "a"),
        ],  # in a circle
        [(texts(3, 2), False, "a"), (texts(1), "true", "b"), (..., False, "c")],  # no msgs at all
        [(texts(3, 2), False, "a"), (roamed(text_meta(9, "notice", ns=5)), False, "b"), (texts(1), True, "")],
    ],
)
def test_every_chain_ends_and_loses_nothing(pages: list[tuple[Any, Any, Any]]) -> None:
    found, source, _ = load(*pages)
    assert found == ["m1", "m2", "m3"]
    assert source["complete"] is True


def test_a_server_that_overlooks_the_key() -> None:
    keys = (f"key {number}" for number in itertools.count())
    page = Answer(200, {"data": {"msgs": texts(2, 1), "is_last": False}})

    def answer(asked: Asked) -> Answer:
        page.body["data"]["next_key"] = next(keys)
        return page

    with odd_session(answer) as (session, server):
        frame = session.thread("42").history(parallel=False)
        assert frame["text"].tolist() == ["m1", "m2"]
        assert len(server.asked) == 2
        assert frame.im.source["complete"] is False  # nobody knows what else there is
        assert "same page again" in frame.im.source["reason"]
        assert session.thread("42").history()["text"].tolist() == ["m1", "m2"]


def test_an_empty_first_page() -> None:
    for page in (END, ([], True, ""), (None, True, None), ("odd", True, 7), (..., ..., ...)):
        found, source, _ = load(page)
        assert found == []
        assert source["complete"] is True


def test_a_server_that_overlooks_time_bounds_is_not_read_to_its_beginning() -> None:
    base = datetime.fromtimestamp(1_700_000_000, UTC)
    pages = [(texts(*range(top, top - 50, -1)), False, f"key {top}") for top in range(1000, 0, -50)]
    found, source, server = load(*pages, since=base + 921 * MS, until=base + 970 * MS)
    assert found == [f"m{number}" for number in range(921, 970)]
    assert source["complete"] is True
    assert len(server.asked) < 5
    asked = server.asked[0].json
    assert (asked["startTime"], asked["endTime"]) == (1_700_000_000_920, 1_700_000_000_971)


def test_one_bad_entry_costs_no_neighbour() -> None:
    bad: list[Any] = [*roamed("not base64!"), *roamed(b"\xff\xff"), {"msg": None}, {"msg": 7}, {}, None, 7, "x", []]
    page = [*texts(4, 3), *bad, *texts(2, 1)]
    found, source, _ = load((page, True, ""))
    assert [text for text in found if text != "?"] == ["m1", "m2", "m3", "m4"]
    assert source["complete"] is True


def test_a_bad_entry_at_the_end_of_a_page_ends_no_chain() -> None:
    pages = [([*texts(4, 3), *roamed(b"\xff")], False, "a"), (texts(2, 1), True, "")]
    found, _, _ = load(*pages, since=datetime.fromtimestamp(1_600_000_000, UTC))
    assert [text for text in found if text != "?"] == ["m1", "m2", "m3", "m4"]


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": [1]}, {"data": "x"}])
def test_an_answer_without_data(body: dict[str, Any]) -> None:
    with odd_session(lambda _: Answer(200, body)) as (session, _), pytest.raises(imkit.ProtocolError, match="42"):
        session.thread("42").history()


def test_a_busy_service_is_asked_again() -> None:
    answers = [Answer(503, {}), Answer(502, b"<html>"), Answer(200, {"data": {"msgs": texts(1), "is_last": True}})]
    with odd_session(lambda _: answers.pop(0)) as (session, _):
        assert session.thread("42").history()["text"].tolist() == ["m1"]


def test_a_stopped_cell_stops_the_walk() -> None:
    began, over = threading.Event(), threading.Event()

    def slow(asked: Asked) -> Answer:
        began.set()
        over.wait(10)
        return Answer(200, {"data": {"msgs": texts(1), "is_last": False, "next_key": f"{len(server.asked)}"}})

    with odd_session(slow) as (session, server):

        async def main() -> None:
            task = asyncio.create_task(session.thread("42").history.aio())
            await asyncio.to_thread(began.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        over.set()
        assert len(server.asked) <= 2  # both ends at once
        assert session.connected


def test_an_interrupt_in_a_lazy_walk_comes_through() -> None:
    import _thread

    began, over = threading.Event(), threading.Event()

    def slow(asked: Asked) -> Answer:
        if asked.json["start"] == "more":
            began.set()
            over.wait(10)
        return Answer(200, {"data": {"msgs": texts(1), "is_last": False, "next_key": "more"}})

    def stop() -> None:
        began.wait(10)
        _thread.interrupt_main()

    threading.Thread(target=stop, daemon=True).start()
    with odd_session(slow) as (session, _):
        with pytest.raises(KeyboardInterrupt):
            list(session.thread("42").messages(order="newest"))
        over.set()
        assert session.connected


def test_the_services_own_count_where_notices_have_told_it(sandbox: Sandbox) -> None:
    with imkit.login("count-alice", app=sandbox.app) as alice:
        group = alice.create_group("counted")
        thread = group.create_thread("counted", group.send("begin"))
        told = alice.events(imkit.ThreadChanged, replay=False)
        for number in range(3):
            thread.send(f"message {number}")
        told.next(timeout=10, where=lambda event: event.message_count == 3)
        assert thread.history().im.source["server_count"] == 3
        assert thread.history(limit=2).im.source["server_count"] is None  # of a part nobody knows
        assert group.history().im.source["server_count"] is None  # and of a group nobody tells
