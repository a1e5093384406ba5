"""Histories as one frame: what it holds, stopping and resuming a load, and services that answer in unusual ways."""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

import imkit
from benchmarks.fetch_server import times as bursty_month
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from imkit.wire import schema
from tests.history.recorded_thread import RecordedThread
from tests.history.roaming_service import MINUTE, START, RoamingService, bursty, text_entries
from tests.stand_ins import Answer, Asked, HttpStandIn, odd_session, roamed, text_meta

MS = timedelta(milliseconds=1)


def test_every_message_is_there_once_in_order(recorded: RecordedThread) -> None:
    frame = recorded.thread.history()
    assert frame["message_id"].tolist() == recorded.ids
    assert frame["time"].tolist() == [pd.Timestamp(message.time) for message in recorded.sent]
    assert frame["thread_name"].unique().tolist() == ["Oolong"]
    assert frame["parent_message_id"].unique().tolist() == [recorded.parent.id]
    source = frame.attrs["imkit"]
    assert source["complete"] is True
    assert source["reason"] == ""
    assert source["rows"] == len(recorded.ids)
    assert source["thread_ids"] == [recorded.thread.id]
    assert source["app_key"] == recorded.alice.app.app_key
    assert datetime.fromisoformat(source["fetched_at"]).tzinfo is not None


def test_newest_first(recorded: RecordedThread) -> None:
    assert recorded.thread.history(order="newest")["message_id"].tolist() == recorded.ids[::-1]


@pytest.mark.parametrize("limit", [1, 49, 50, 51, 100, 130, 1000])
def test_a_limit_counts_from_the_end_that_order_names(recorded: RecordedThread, limit: int) -> None:
    oldest, newest = (recorded.thread.history(limit=limit, order=order) for order in ("oldest", "newest"))
    assert oldest["message_id"].tolist() == recorded.ids[:limit]
    assert newest["message_id"].tolist() == recorded.ids[::-1][:limit]
    if limit <= len(recorded.ids):
        assert oldest.attrs["imkit"]["complete"] is False
        assert f"limit of {limit}" in oldest.attrs["imkit"]["reason"]
    else:
        assert oldest.attrs["imkit"]["complete"] is True


def test_since_is_inclusive_and_until_exclusive(recorded: RecordedThread) -> None:
    third, sixth = recorded.sent[3].time, recorded.sent[6].time
    for order in ("oldest", "newest"):
        between = recorded.thread.history(third, sixth, order=order)
        assert sorted(between["message_id"]) == recorded.ids[3:6]
    assert recorded.thread.history(since=third + MS, until=sixth + MS)["message_id"].tolist() == recorded.ids[4:7]
    assert recorded.thread.history(until=third)["message_id"].tolist() == recorded.ids[:3]
    assert recorded.thread.history(since=recorded.sent[-1].time)["message_id"].tolist() == recorded.ids[-1:]
    assert recorded.thread.history(since=recorded.sent[-1].time + MS).empty
    source = recorded.thread.history(third, sixth).attrs["imkit"]
    assert source["since"] == third.isoformat(timespec="milliseconds")
    assert source["until"] == sixth.isoformat(timespec="milliseconds")


def test_types_and_sender(recorded: RecordedThread) -> None:
    assert recorded.thread.history(types=["loc", "custom"])["type"].tolist() == ["loc", "custom"]
    any_iterables: list[Any] = [(kind for kind in ["txt"]), {"txt"}]
    for types in any_iterables:
        assert len(recorded.thread.history(types=types)) == 128
    assert recorded.thread.history(types=["cmd"]).empty
    bobs = recorded.thread.history(sender=recorded.bob.user.upper(), limit=5)
    assert bobs["message_id"].tolist() == recorded.ids[0:15:3]
    assert recorded.thread.history(sender="nobody").empty


def test_several_threads(recorded: RecordedThread) -> None:
    both = recorded.alice.history([recorded.thread, recorded.other, recorded.thread])
    assert both["message_id"].tolist() == [*recorded.ids, *(message.id for message in recorded.others)]
    assert both.attrs["imkit"]["thread_ids"] == [recorded.thread.id, recorded.other.id]
    newest = recorded.alice.history([recorded.other, recorded.thread], order="newest", limit=5)
    assert newest["message_id"].tolist() == [*(message.id for message in recorded.others[::-1]), *recorded.ids[:-3:-1]]
    assert recorded.alice.history([]).empty
    assert len(recorded.alice.history(recorded.group.threads())) == len(both)
    assert len(recorded.alice.history(recorded.other)) == 3


def test_a_groups_history_holds_no_thread_messages(recorded: RecordedThread) -> None:
    frame = recorded.group.history()
    assert frame["text"].tolist() == ["Which oolong?", "Or puer?"]
    assert frame["thread_id"].isna().all()
    assert frame["group_id"].tolist() == [recorded.group.id] * 2


def test_progress_is_called_on_another_thread(recorded: RecordedThread) -> None:
    calls: list[tuple[int, int | None, str]] = []
    recorded.thread.history(progress=lambda done, total: calls.append((done, total, threading.current_thread().name)))
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][0] == len(recorded.ids)
    assert "imkit-loop" not in {name for _, _, name in calls}
    assert threading.current_thread().name not in {name for _, _, name in calls}
    awaited: list[int] = []

    async def progress(done: int, total: int | None) -> None:
        awaited.append(done)

    assert len(recorded.thread.history(progress=progress, limit=60)) == 60
    assert awaited[-1] == 60


def test_an_error_in_the_progress_function_does_not_end_the_load(
    recorded: RecordedThread, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(done: int, total: int | None) -> None:
        raise ValueError("no bar to draw on")

    assert len(recorded.thread.history(progress=fail)) == len(recorded.ids)
    assert "no bar to draw on" in caplog.text


def test_wrong_numbers_of_workers_are_refused() -> None:
    with odd_session(RoamingService([])) as (session, server):
        wrong: list[Any] = [0, -1, 1.5, "8", 10_000, None]
        for parallel in wrong:
            with pytest.raises(imkit.InvalidMessage, match="parallel"):
                session.thread("42").history(parallel=parallel)
        assert server.asked == []


def test_a_user_outside_the_thread_cannot_read_it(recorded: RecordedThread) -> None:
    with pytest.raises(imkit.IMError) as caught:
        recorded.bob.thread(recorded.other.id).history()
    assert caught.value.hint


# ------------------------------------------------------------- services that answer in unusual ways


class ScriptedPages:
    """A service that answers with these pages, then with the last one again and again.

    A page is `(entries, is_last, next_key)`; `...` leaves the field out.
    """

    def __init__(self, *pages: tuple[Any, Any, Any]) -> None:
        self._pages = list(pages)

    def __call__(self, asked: Asked) -> Answer:
        assert asked.path == "/org/app/users/alice/messageroaming"
        entries, is_last, key = self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        data = {"msgs": entries, "is_last": is_last, "next_key": key}
        return Answer(200, {"data": {name: value for name, value in data.items() if value is not ...}})


def load(*pages: tuple[Any, Any, Any], **arguments: Any) -> tuple[list[str], dict[str, Any], HttpStandIn]:
    """Load a history of these pages and return its texts, its source and the server."""
    arguments.setdefault("parallel", False)  # the pages come in the order of one walk
    with odd_session(ScriptedPages(*pages)) as (session, server):
        frame = session.thread("42").history(**arguments)
        return frame["text"].fillna("?").tolist(), frame.attrs["imkit"], server


TWO, ONE = text_entries(3, 2), text_entries(1)
EMPTY: tuple[Any, Any, Any] = ([], False, "more")
NOTICE = roamed(text_meta(9, "notice", ns=5))


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([(TWO, False, "a"), (ONE, False, "b"), EMPTY], id="is_last is never true, but a page is empty"),
        pytest.param([(TWO, False, "a"), (ONE, True, "b")], id="is_last, with a key"),
        pytest.param([(TWO, False, "a"), (ONE, False, "")], id="an empty key"),
        pytest.param([(TWO, False, "a"), (ONE, False, None)], id="null as a key"),
        pytest.param([(TWO, False, "a"), (ONE, False, ...)], id="no key"),
        pytest.param([(TWO, False, 17), (ONE, ..., 0), (ONE, ..., 0)], id="numbers as keys"),
        pytest.param([(TWO, False, "a"), (ONE, False, "a")], id="the same key again"),
        pytest.param([(TWO, False, "a"), (text_entries(2, 1), False, "b"), (ONE, False, "a")], id="keys in a circle"),
        pytest.param([(TWO, False, "a"), (ONE, False, "b"), (..., False, "c")], id="no msgs"),
        pytest.param([(TWO, False, "a"), (NOTICE, False, "b"), (ONE, True, "")], id="a page without messages"),
    ],
)
def test_every_way_to_end_the_pages_loses_nothing(pages: list[tuple[Any, Any, Any]]) -> None:
    found, source, _ = load(*pages)
    assert found == ["m1", "m2", "m3"]
    assert source["complete"] is True


def test_a_service_that_ignores_the_cursor() -> None:
    keys = (f"key {number}" for number in itertools.count())
    page = Answer(200, {"data": {"msgs": text_entries(2, 1), "is_last": False}})

    def answer(asked: Asked) -> Answer:
        page.body["data"]["next_key"] = next(keys)
        return page

    with odd_session(answer) as (session, server):
        frame = session.thread("42").history(parallel=False)
        assert frame["text"].tolist() == ["m1", "m2"]
        assert len(server.asked) == 2
        assert frame.im.source["complete"] is False  # there may be more messages
        assert "same page again" in frame.im.source["reason"]
        assert session.thread("42").history()["text"].tolist() == ["m1", "m2"]


def test_an_empty_first_page() -> None:
    pages: list[Any] = [EMPTY, ([], True, ""), (None, True, None), (..., False, ...)]
    for page in pages:
        found, source, _ = load(page)
        assert found == []
        assert source["complete"] is True


def test_a_service_that_ignores_time_bounds_is_not_read_to_its_beginning() -> None:
    base = datetime.fromtimestamp(1_700_000_000, UTC)
    pages = [(text_entries(*range(top, top - 50, -1)), False, f"key {top}") for top in range(1000, 0, -50)]
    found, source, server = load(*pages, since=base + 921 * MS, until=base + 970 * MS)
    assert found == [f"m{number}" for number in range(921, 970)]
    assert source["complete"] is True
    assert len(server.asked) < 5
    asked = server.asked[0].json
    assert (asked["startTime"], asked["endTime"]) == (1_700_000_000_920, 1_700_000_000_971)


def test_a_bad_entry_does_not_affect_other_entries() -> None:
    bad: list[Any] = [*roamed("not base64!"), *roamed(b"\xff\xff"), {"msg": None}, {"msg": 7}, {}, None, 7, "x", []]
    page = [*text_entries(4, 3), *bad, *text_entries(2, 1)]
    found, source, _ = load((page, True, ""))
    assert [text for text in found if text != "?"] == ["m1", "m2", "m3", "m4"]
    assert source["complete"] is True


def test_a_bad_entry_at_the_end_of_a_page_does_not_end_the_load() -> None:
    pages = [([*text_entries(4, 3), *roamed(b"\xff")], False, "a"), (text_entries(2, 1), True, "")]
    found, _, _ = load(*pages, since=datetime.fromtimestamp(1_600_000_000, UTC))
    assert [text for text in found if text != "?"] == ["m1", "m2", "m3", "m4"]


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": [1]}, {"data": "x"}])
def test_an_answer_without_data(body: dict[str, Any]) -> None:
    with odd_session(lambda _: Answer(200, body)) as (session, _), pytest.raises(imkit.ProtocolError, match="42"):
        session.thread("42").history()


def test_a_busy_service_is_asked_again() -> None:
    page = Answer(200, {"data": {"msgs": ONE, "is_last": True}})
    answers = [Answer(503, {}), Answer(502, b"<html>"), page]
    with odd_session(lambda _: answers.pop(0)) as (session, _):
        assert session.thread("42").history()["text"].tolist() == ["m1"]


def test_cancelling_stops_the_requests() -> None:
    began, over = threading.Event(), threading.Event()

    def slow(asked: Asked) -> Answer:
        began.set()
        over.wait(10)
        return Answer(200, {"data": {"msgs": text_entries(1), "is_last": False, "next_key": f"{len(server.asked)}"}})

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


def test_the_count_of_the_service_is_there_if_notices_have_told_it(sandbox: Sandbox) -> None:
    with imkit.login("count-alice", app=sandbox.app) as alice:
        group = alice.create_group("counted")
        thread = group.create_thread("counted", group.send("begin"))
        changes = alice.events(imkit.ThreadChanged, replay=False)
        for number in range(3):
            thread.send(f"message {number}")
        changes.next(timeout=10, where=lambda event: event.message_count == 3)
        assert thread.history().im.source["server_count"] == 3
        assert thread.history(limit=2).im.source["server_count"] is None  # the count is of the whole thread
        assert group.history().im.source["server_count"] is None  # notices tell the counts of threads only


# ------------------------------------------------------------------ stopping and resuming


class Stopping:
    """A service that calls `stop` when it gets a certain request, and answers as another one.

    Args:
        answer: the other service.
        at: the number of the request.
    """

    def __init__(self, answer: Callable[[Asked], Answer], at: int) -> None:
        self.answer, self.at = answer, at
        self.requests = 0
        self.stop: Callable[[], Any] = lambda: None

    def __call__(self, asked: Asked) -> Answer:
        self.requests += 1
        if self.requests == self.at:
            self.stop()
        return self.answer(asked)


@contextmanager
def stopped(service: Stopping, *ids: str, **arguments: Any) -> Iterator[imkit.Session]:
    """Give a session whose load of these threads has been stopped by `service`."""
    with odd_session(service) as (session, _):

        async def main() -> None:
            loop = asyncio.get_running_loop()
            threads = [session.thread(thread_id) for thread_id in ids or ["42"]]
            task = asyncio.create_task(session.history.aio(threads, parallel=3, **arguments))
            service.stop = lambda: loop.call_soon_threadsafe(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        yield session


@pytest.mark.parametrize("habits", [{}, {"ignores_bounds": True}, {"opaque_cursors": True, "page": 33}], ids=str)
def test_a_stop_keeps_what_came_and_resume_returns_the_whole(habits: dict[str, Any]) -> None:
    roaming = RoamingService(bursty_month(1_500), **habits)
    service = Stopping(roaming, 16)
    with stopped(service) as session:
        part = session.stopped
        assert part is not None
        source = part.attrs["imkit"]
        assert 0 < len(part) < 1_500
        assert (source["complete"], source["reason"], source["rows"]) == (False, "stopped", len(part))
        json.dumps(source, allow_nan=False)
        for low, high in source["covered"]["42"]:
            inside = {str(number) for number, at in roaming.messages if low <= at <= high}
            assert inside <= set(part["message_id"])
        before = service.requests
        whole = session.thread("42").history(resume=part, parallel=False)
        assert whole["message_id"].tolist() == [str(number) for number, _ in roaming.messages]
        assert whole.dtypes.equals(part.dtypes)
        assert whole.im.source["complete"] is True
        if not habits:
            assert service.requests - before < 1_500 // 50  # only the missing pages
        assert session.stopped is None
        anew = session.thread("42").history()
        pd.testing.assert_frame_equal(whole, anew)


def test_several_threads_with_filters_and_bounds() -> None:
    seven, eight = RoamingService(bursty(1_200)), RoamingService(bursty(1_300))
    eight.messages = [(number + 5_000, at) for number, at in eight.messages]

    def roaming(asked: Asked) -> Answer:
        return (seven if asked.json["queue"].startswith("7@") else eight)(asked)

    low, high = (from_milliseconds(START + day * 24 * 60 * MINUTE) for day in (3, 17))
    filters: dict[str, Any] = {"since": low, "until": high, "types": ["txt"], "sender": "Alice"}
    with stopped(Stopping(roaming, 20), "7", "8", **filters) as session:
        part = session.stopped
        assert part is not None
        threads = [session.thread("8"), session.thread("7")]
        whole = session.history(threads, resume=part)
        pd.testing.assert_frame_equal(whole, session.history(threads, **filters))
        source = whole.im.source
        assert (source["since"], source["types"], source["sender"]) == (
            low.isoformat("T", "milliseconds"),
            ["txt"],
            "alice",
        )
        same = session.history(threads, resume=part, since=low, types=["txt"], order="newest")
        assert same["message_id"].tolist() == whole["message_id"].tolist()[::-1]
        others: list[dict[str, Any]] = [
            {"since": high},
            {"until": low},
            {"types": ["img"]},
            {"sender": "bob"},
            {"limit": 5},
        ]
        for other in others:
            with pytest.raises(imkit.InvalidMessage, match=r"another|limit"):
                session.history(threads, resume=part, **other)
        with pytest.raises(imkit.InvalidMessage, match="another history"):
            session.history(threads[0], resume=part)


def test_frames_that_cannot_be_resumed_are_refused() -> None:
    with odd_session(RoamingService(bursty(60))) as (session, server):
        thread = session.thread("42")
        whole = thread.history()
        limited = thread.history(limit=5)
        asked = len(server.asked)
        bare = whole.copy()
        bare.attrs = {}
        odd = whole.copy()
        odd.attrs = {"imkit": {**whole.attrs["imkit"], "covered": {"42": [[1], "x"]}}}
        refused: list[Any] = ["frame", pd.DataFrame(), bare, limited, odd, whole.drop(columns="ext")]
        for wrong in refused:
            with pytest.raises(imkit.InvalidMessage):
                thread.history(resume=wrong)
        assert len(server.asked) == asked


def test_resuming_a_complete_frame_adds_newer_messages() -> None:
    roaming = RoamingService(bursty(300))
    with odd_session(roaming) as (session, server):
        thread = session.thread("42")
        frame = thread.history()
        last = roaming.messages[-1][1]
        roaming.messages += [(9_001, last), (9_002, last + 5)]  # the first one in the last millisecond that was read
        asked = len(server.asked)
        longer = thread.history(resume=frame)
        assert longer["message_id"].tolist() == [str(number) for number, _ in roaming.messages]
        assert len(server.asked) - asked <= 3
        ended = thread.history(until=from_milliseconds(last))
        asked = len(server.asked)
        pd.testing.assert_frame_equal(thread.history(resume=ended), ended)
        assert len(server.asked) == asked  # nothing was missing


def test_unreadable_messages_come_once_too() -> None:
    page = [*roamed(text_meta(1_001, "m", at=START)), *roamed(b"\xff\xff"), *roamed(b"\xff\xfe")]
    with odd_session(lambda _: Answer(200, {"data": {"msgs": page, "is_last": True}})) as (session, _):
        frame = session.thread("42").history()
        assert len(frame) == 3
        assert len(session.thread("42").history(resume=frame)) == 3


def test_stopped_waits_for_an_interrupted_load_and_an_error_keeps_what_came() -> None:
    import _thread

    roaming = RoamingService(bursty(1_500))
    service = Stopping(roaming, 12)
    service.stop = _thread.interrupt_main
    with odd_session(service) as (session, _):
        assert session.stopped is None
        with pytest.raises(KeyboardInterrupt):
            session.thread("42").history(parallel=2)
        part = session.stopped
        assert part is not None
        assert 0 < len(part) < 1_500
        is_gone = threading.Event()
        service.requests = 0
        service.stop = is_gone.set
        service.answer = lambda asked: Answer(404, {"error": "not_found"}) if is_gone.is_set() else roaming(asked)
        with pytest.raises(imkit.NotFound):
            session.thread("42").history(parallel=2)
        assert session.stopped is not None
        assert "NotFound" not in session.stopped.im.source["reason"]
        assert "42" in session.stopped.im.source["reason"]


def test_a_frame_that_lost_rows_cannot_be_resumed() -> None:
    with odd_session(RoamingService(bursty(60))) as (session, server):
        frame = session.thread("42").history()
        asked = len(server.asked)
        with pytest.raises(imkit.InvalidMessage, match="59 of the 60 rows"):
            session.thread("42").history(resume=frame.iloc[1:])
        assert len(server.asked) == asked


def test_a_limit_over_several_threads_makes_the_history_incomplete() -> None:
    with odd_session(RoamingService([START, START + 1, START + 2])) as (session, _):
        threads = [session.thread("7"), session.thread("8")]
        source = session.history(threads, limit=4).im.source
        assert (source["rows"], source["complete"], source["reason"]) == (4, False, "the limit of 4 was reached")
        assert session.history(threads, limit=7).im.source["complete"] is True


def test_equal_ids_in_two_threads_and_messages_without_an_id() -> None:
    mark = json.dumps({"thread": {"msg_parent_id": "1", "muc_parent_id": "5", "thread_name": "n"}})

    def marked_meta(number: int, text: str, thread_id: str) -> bytes:
        meta = schema.Meta.FromString(text_meta(number, text, to=thread_id, at=START))
        body = schema.MessageBody.FromString(meta.payload)
        body.meta = mark.encode()
        meta.payload = body.SerializeToString()
        return bytes(meta.SerializeToString())

    def answer(asked: Asked) -> Answer:
        thread_id = asked.json["queue"].partition("@")[0]
        texts = [(0, f"0 of {thread_id}"), (1_001, f"1001 of {thread_id}"), (0, "another")]
        page = roamed(*(marked_meta(number, text, thread_id) for number, text in texts))
        page += roamed(f"{thread_id} is no base64", f"nor is {thread_id}!")
        return Answer(200, {"data": {"msgs": page, "is_last": True}})

    with odd_session(answer) as (session, _):
        threads = [session.thread("7"), session.thread("8")]
        frame = session.history(threads)
        assert len(frame) == 2 * 5
        assert len(session.history(threads, resume=frame)) == 2 * 5


def test_loading_nothing_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with odd_session(RoamingService([])) as (session, _):
        assert session.history([], progress=lambda done, total: None).empty
    assert caplog.text == ""


def test_progress_of_a_resumed_load_includes_the_earlier_rows() -> None:
    roaming = RoamingService(bursty(1_000))
    calls: list[tuple[int, int | None]] = []
    with stopped(Stopping(roaming, 10)) as session:
        part = session.stopped
        assert part is not None
        session.thread("42").history(resume=part, progress=lambda done, total: calls.append((done, total)))
        assert calls[0][0] >= len(part)
        assert calls[-1][0] == 1_000
        assert len(session.thread("42").history(progress=False)) == 1_000
