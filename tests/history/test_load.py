"""A history that is stopped keeps what came, and goes on to the whole; the line in a notebook."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import strategies as st

import imkit
from benchmarks.fetch_server import times as bursty_month
from imkit.history import progress as progress_module
from imkit.history.progress import NotebookLine, notebook_line
from imkit.times import from_milliseconds
from imkit.wire import schema
from tests.history.test_time_shards import MINUTE, START, Roaming, bursty
from tests.stand_ins import Answer, Asked, odd_session, roamed, text_meta


class Stopping:
    """A service that has the load stopped at a certain request, and lets it go on when that is done."""

    def __init__(self, roaming: Callable[[Asked], Answer], at: int) -> None:
        self.roaming, self.at = roaming, at
        self.asked = 0
        self.stop: Callable[[], Any] = lambda: None

    def __call__(self, asked: Asked) -> Answer:
        self.asked += 1
        if self.asked == self.at:
            self.stop()
        return self.roaming(asked)


@contextmanager
def stopped(service: Stopping, *ids: str, **arguments: Any) -> Iterator[imkit.Session]:
    """A session whose load of these threads was stopped half-way."""
    with odd_session(service) as (session, _):

        async def main() -> None:
            loop = asyncio.get_running_loop()
            rooms = [session.thread(each) for each in ids or ["42"]]
            task = asyncio.create_task(session.history.aio(rooms, parallel=3, **arguments))
            service.stop = lambda: loop.call_soon_threadsafe(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        yield session


@pytest.mark.parametrize("habits", [{}, {"overlooks_bounds": True}, {"opaque": True, "page": 33}], ids=str)
def test_a_stop_keeps_what_came_and_resume_returns_the_whole(habits: dict[str, Any]) -> None:
    roaming = Roaming(bursty_month(1_500), **habits)
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
        before = service.asked
        whole = session.thread("42").history(resume=part, parallel=False)
        assert whole["message_id"].tolist() == [str(number) for number, _ in roaming.messages]
        assert whole.dtypes.equals(part.dtypes)
        assert whole.im.source["complete"] is True
        if not habits:
            assert service.asked - before < 1_500 // 50  # only what was missing
        assert session.stopped is None
        anew = session.thread("42").history()
        pd.testing.assert_frame_equal(whole, anew)


def test_several_threads_with_filters_and_bounds() -> None:
    seven, eight = Roaming(bursty(1_200)), Roaming(bursty(1_300))
    eight.messages = [(number + 5_000, at) for number, at in eight.messages]

    def roaming(asked: Asked) -> Answer:
        return (seven if asked.json["queue"].startswith("7@") else eight)(asked)

    low, high = (from_milliseconds(START + day * 24 * 60 * MINUTE) for day in (3, 17))
    asked = {"since": low, "until": high, "types": ["txt"], "sender": "Alice"}
    with stopped(Stopping(roaming, 20), "7", "8", **asked) as session:
        part = session.stopped
        assert part is not None
        rooms = [session.thread("8"), session.thread("7")]
        whole = session.history(rooms, resume=part)
        pd.testing.assert_frame_equal(whole, session.history(rooms, **asked))
        source = whole.im.source
        assert (source["since"], source["types"], source["sender"]) == (
            low.isoformat("T", "milliseconds"),
            ["txt"],
            "alice",
        )
        same = session.history(rooms, resume=part, since=low, types=["txt"], order="newest")
        assert same["message_id"].tolist() == whole["message_id"].tolist()[::-1]
        for other in ({"since": high}, {"until": low}, {"types": ["img"]}, {"sender": "bob"}, {"limit": 5}):
            with pytest.raises(imkit.InvalidMessage, match=r"another|limit"):
                session.history(rooms, resume=part, **other)
        with pytest.raises(imkit.InvalidMessage, match="another history"):
            session.history(rooms[0], resume=part)


def test_what_cannot_be_gone_on_with() -> None:
    with odd_session(Roaming(bursty(60))) as (session, server):
        thread = session.thread("42")
        whole = thread.history()
        limited = thread.history(limit=5)
        asked = len(server.asked)
        bare = whole.copy()
        bare.attrs = {}
        odd = whole.copy()
        odd.attrs = {"imkit": {**whole.attrs["imkit"], "covered": {"42": [[1], "x"]}}}
        for wrong in ("frame", pd.DataFrame(), bare, limited, odd, whole.drop(columns="ext")):
            with pytest.raises(imkit.InvalidMessage):
                thread.history(resume=wrong)
        assert len(server.asked) == asked


def test_a_frame_that_is_complete_gets_what_is_newer() -> None:
    roaming = Roaming(bursty(300))
    with odd_session(roaming) as (session, server):
        thread = session.thread("42")
        frame = thread.history()
        last = roaming.messages[-1][1]
        roaming.messages += [(9_001, last), (9_002, last + 5)]  # one in the very millisecond that was the last
        asked = len(server.asked)
        longer = thread.history(resume=frame)
        assert longer["message_id"].tolist() == [str(number) for number, _ in roaming.messages]
        assert len(server.asked) - asked <= 3
        ended = thread.history(until=from_milliseconds(last))
        asked = len(server.asked)
        pd.testing.assert_frame_equal(thread.history(resume=ended), ended)
        assert len(server.asked) == asked  # there is nothing to ask for


def test_what_cannot_be_read_is_there_once_too() -> None:
    page = [*roamed(text_meta(1_001, "m", at=START)), *roamed(b"\xff\xff"), *roamed(b"\xff\xfe")]
    with odd_session(lambda _: Answer(200, {"data": {"msgs": page, "is_last": True}})) as (session, _):
        frame = session.thread("42").history()
        assert len(frame) == 3
        assert len(session.thread("42").history(resume=frame)) == 3


def test_an_interrupt_is_waited_for_and_an_error_keeps_what_came_too() -> None:
    import _thread

    roaming = Roaming(bursty(1_500))
    service = Stopping(roaming, 12)
    service.stop = _thread.interrupt_main
    with odd_session(service) as (session, _):
        assert session.stopped is None
        with pytest.raises(KeyboardInterrupt):
            session.thread("42").history(parallel=2)
        part = session.stopped
        assert part is not None
        assert 0 < len(part) < 1_500
        service.at, service.asked = 12, 0
        gone: list[Any] = []
        service.stop = lambda: gone.append(1)
        answer = roaming.__class__.__call__
        service.roaming = lambda asked: Answer(404, {}) if gone else answer(roaming, asked)
        with pytest.raises(imkit.NotFound):
            session.thread("42").history(parallel=2)
        assert session.stopped is not None
        assert "NotFound" not in session.stopped.im.source["reason"]
        assert "42" in session.stopped.im.source["reason"]


ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6)


def test_a_part_of_a_frame_is_not_gone_on_with() -> None:
    with odd_session(Roaming(bursty(60))) as (session, server):
        frame = session.thread("42").history()
        asked = len(server.asked)
        with pytest.raises(imkit.InvalidMessage, match="59 of the 60 rows"):
            session.thread("42").history(resume=frame.iloc[1:])
        assert len(server.asked) == asked


def test_a_limit_that_cuts_what_several_threads_hold_is_not_all() -> None:
    with odd_session(Roaming([START, START + 1, START + 2])) as (session, _):
        rooms = [session.thread("7"), session.thread("8")]
        source = session.history(rooms, limit=4).im.source
        assert (source["rows"], source["complete"], source["reason"]) == (4, False, "the limit of 4 was reached")
        assert session.history(rooms, limit=7).im.source["complete"] is True


def test_two_threads_that_count_alike_and_messages_without_an_id() -> None:
    marks = {
        key: json.dumps({"thread": {"msg_parent_id": "1", "muc_parent_id": "5", "thread_name": "n"}}) for key in "78"
    }

    def told(number: int, text: str, room: str) -> bytes:
        meta = schema.Meta.FromString(text_meta(number, text, to=room, at=START))
        body = schema.MessageBody.FromString(meta.payload)
        body.meta = marks[room].encode()
        meta.payload = body.SerializeToString()
        return bytes(meta.SerializeToString())

    def answer(asked: Asked) -> Answer:
        room = asked.json["queue"].partition("@")[0]
        page = roamed(*(told(n, f"{n} of {room}", room) for n in (0, 1_001)), told(0, "another", room))
        return Answer(
            200, {"data": {"msgs": [*page, *roamed(f"{room} is no base64", f"nor is {room}!")], "is_last": True}}
        )

    with odd_session(answer) as (session, _):
        rooms = [session.thread("7"), session.thread("8")]
        frame = session.history(rooms)
        assert len(frame) == 2 * 5
        again = session.history(rooms, resume=frame)
        assert len(again) == 2 * 5


def test_nothing_to_load_is_no_reason_to_complain(caplog: pytest.LogCaptureFixture) -> None:
    with odd_session(Roaming([])) as (session, _):
        assert session.history([], progress=lambda done, total: None).empty
    assert caplog.text == ""


# ---------------------------------------------------------------------- the line


class Display:
    """What a notebook was told to show."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, said: dict[str, str], *, raw: bool, display_id: bool) -> "Display":
        assert raw
        assert display_id
        self.update(said, raw=raw)
        return self

    def update(self, said: dict[str, str], *, raw: bool) -> None:
        assert said["text/plain"] in said["text/html"]
        self.shown.append(said["text/plain"])


def test_the_line_comes_after_a_second_and_stays_with_the_last_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    display = Display()
    line = NotebookLine(display)

    async def main() -> None:
        for step in range(30):
            now[0] = step / 10
            await line.update(step * 100, 3_000)

    asyncio.run(main())
    line.end()
    assert display.shown[0] == "1,000 of about 3,000 messages · 1,000/s"
    assert display.shown[-1] == "2,900 messages · 1,000/s · 2.9 s"
    assert 5 < len(display.shown) <= 11  # five a second, from the first on
    count = len(display.shown)
    quick = NotebookLine(display)
    asyncio.run(quick.update(5, None))
    quick.end()
    assert len(display.shown) == count


def test_outside_a_notebook_there_is_no_line() -> None:
    assert notebook_line() is None


def test_progress_adds_what_was_there_and_false_says_nothing() -> None:
    roaming = Roaming(bursty(1_000))
    told: list[tuple[int, int | None]] = []
    with stopped(Stopping(roaming, 10)) as session:
        part = session.stopped
        assert part is not None
        session.thread("42").history(resume=part, progress=lambda done, total: told.append((done, total)))
        assert told[0][0] >= len(part)
        assert told[-1][0] == 1_000
        assert len(session.thread("42").history(progress=False)) == 1_000
