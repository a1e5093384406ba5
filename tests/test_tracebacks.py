"""Tracebacks: an error that leaves imkit shows the user's own frames, and keeps what was taken from it."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

import imkit
from imkit.errors import IMError, NotFound
from imkit.portal import FirstErrorTaskGroup, blocking_function, portal
from imkit.sandbox.process import Sandbox
from tests.test_errors import ERRORS, HOSTILE
from tests.waits import eventually

# Functions whose frames are imkit's, as they are in a module of imkit.
INSIDE: dict[str, Any] = {"__name__": "imkit.inside", "asyncio": asyncio}
exec(
    """
async def refused(error):
    try:
        raise OSError("no route to the host")
    except OSError as cause:
        raise error from cause

async def faulty():
    return None.no_such_name

async def run(function):
    return await asyncio.to_thread(function)  # as a function runs that a user gives to imkit
""",
    INSIDE,
)
inside = SimpleNamespace(**INSIDE)


def functions(error: BaseException) -> list[str]:
    """Return the functions in an error's traceback, the outermost first, without the test's own."""
    return [entry.name for entry in traceback.extract_tb(error.__traceback__)][1:]


def beneath(error: BaseException) -> list[BaseException]:
    """Return all exceptions beneath an error, whether Python shows them or not."""
    found = [each for each in (error.__cause__, error.__context__) if each is not None]
    return found + [deeper for each in dict.fromkeys(found) for deeper in beneath(each)]


async def _messages(thread: imkit.Thread) -> AsyncIterator[object]:
    async for message in thread.messages():
        yield message


CALLS: list[Callable[[imkit.Thread], object]] = [
    lambda thread: thread.history(),
    lambda thread: thread.send("Dong Ding"),
    lambda thread: thread.refresh(),
    lambda thread: asyncio.run(thread.history.aio()),
    lambda thread: list(thread.messages()),
    lambda thread: asyncio.run(anext(_messages(thread))),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_call_shows_the_users_frames(call: Callable[[imkit.Thread], object], alice: imkit.Session) -> None:
    with pytest.raises(NotFound) as caught:
        call(alice.thread("999"))
    shown = functions(caught.value)
    assert shown[0] == "<lambda>"
    libraries_and_loops = {"run", "run_until_complete", "_messages", "__iter__", "__aiter__"}  # between user and imkit
    assert set(shown[1:]) <= libraries_and_loops
    assert beneath(caught.value) == []


def test_what_a_users_function_raised_is_shown_with_its_own_frames(sandbox: Sandbox) -> None:
    def token() -> str:
        raise LookupError("the app server is away")

    with pytest.raises(imkit.AuthError) as caught:
        imkit.login("carol", token=token, app=sandbox.app)
    cause = caught.value.__cause__
    assert isinstance(cause, LookupError)
    assert functions(caught.value) == []
    assert [entry.name for entry in traceback.extract_tb(cause.__traceback__)] == ["token"]


def test_an_error_in_a_handler_of_the_users_keeps_what_was_handled(alice: imkit.Session) -> None:
    def handle() -> None:
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            alice.thread("999").refresh()

    with pytest.raises(NotFound) as caught:
        handle()
    assert [type(error) for error in beneath(caught.value)] == [ZeroDivisionError]


def test_a_users_function_in_the_middle_stays_and_so_does_its_own_error() -> None:
    def users() -> None:
        blocking_function(inside.refused)(NotFound("gone"))

    def broken() -> None:
        json.loads("tea")

    with pytest.raises(NotFound) as caught:
        blocking_function(inside.run)(users)
    assert functions(caught.value) == ["users"]
    with pytest.raises(ValueError, match="Expecting value") as failed:
        blocking_function(inside.run)(broken)
    assert functions(failed.value)[:2] == ["broken", "loads"]
    assert isinstance(failed.value.__context__, StopIteration)  # the library's own words about it stay too


def test_the_log_of_a_failed_callback_has_the_users_frames(
    alice: imkit.Session, caplog: pytest.LogCaptureFixture
) -> None:
    def plain(event: imkit.Connected) -> None:
        alice.thread("999").refresh()

    async def with_await(event: imkit.Connected) -> None:
        await alice.thread("999").refresh.aio()

    for callback in (plain, with_await):
        caplog.clear()
        subscription = alice.on(imkit.Connected, callback)  # the event of the login is still there
        assert eventually(lambda: bool(caplog.records))
        subscription.off()
        (record,) = caplog.records
        assert record.exc_info is not None
        assert [entry.name for entry in traceback.extract_tb(record.exc_info[2])] == [callback.__name__]


def test_a_cancelled_wait_and_wrong_arguments_point_at_the_users_line(alice: imkit.Session) -> None:
    async def wait() -> None:
        async with asyncio.timeout(0):
            await alice.events(imkit.MessageRecalled).next.aio()

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(wait())
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert traceback.extract_tb(caught.value.__cause__.__traceback__)[-1].name == "wait"
    with pytest.raises(TypeError) as wrong:
        imkit.login("dora", pasword="s3cret")  # type: ignore[call-arg]  # wrong on purpose
    assert functions(wrong.value) == []


def test_a_fault_of_imkit_keeps_all_its_frames() -> None:
    with pytest.raises(AttributeError) as caught:
        blocking_function(inside.faulty)()
    assert functions(caught.value)[-1] == "faulty"


def test_the_log_and_the_mode_verbose_tell_the_whole_without_values(caplog: pytest.LogCaptureFixture) -> None:
    def remind(password: str) -> None:
        blocking_function(inside.refused)(NotFound("gone \x1b[2J"), *password[:0])

    with caplog.at_level(logging.DEBUG, logger="imkit.errors"), pytest.raises(NotFound) as caught:
        blocking_function(inside.run)(lambda: remind("s3cret"))
    caught.value.add_note("a note")
    whole = "\n".join(caught.value._render_traceback_())  # outside IPython: the whole
    order = [
        "OSError: no route",
        "It caused this error:",
        "in run\n",
        "in remind",
        "6, in refused",
        "NotFound: gone",
        "a note",
    ]
    places = [whole.index(words) for words in order]
    assert places == sorted(places)
    (logged,) = [record.getMessage() for record in caplog.records if record.name == "imkit.errors"]
    assert "in refused" in logged
    assert "no route" not in logged  # the words of an error that is not imkit's may hold a secret
    assert "OSError" in logged
    for text in (whole, logged):
        assert "\x1b" not in text
        assert text.count("s3cret") == text.count('remind("s3cret")')  # the line of code, and no value
    twin = pickle.loads(pickle.dumps(caught.value))
    assert "in refused" not in "".join(twin._render_traceback_())
    assert str(twin) == str(caught.value)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_hostile_text_is_escaped_in_the_whole_traceback(kind: type[IMError]) -> None:
    with pytest.raises(kind) as caught:
        blocking_function(inside.refused)(kind(HOSTILE, reason=HOSTILE))
    lines = caught.value._render_traceback_()
    assert lines[-1].startswith(f"imkit.errors.{kind.__name__}: ")
    assert all(line.isprintable() for line in lines)
    assert functions(caught.value) == []


def test_a_task_group_raises_the_first_error_itself() -> None:
    async def work() -> None:
        async with FirstErrorTaskGroup() as group:
            group.create_task(inside.refused(NotFound("first")))
            group.create_task(asyncio.Event().wait())

    with pytest.raises(NotFound, match="first") as caught:
        portal().call(work())
    assert not any(isinstance(each, BaseExceptionGroup) for each in beneath(caught.value))
