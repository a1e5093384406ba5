"""What a check sees: refusals in the service's own words, events, and the frames and answers themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from imkit.client.event_store import EventStream
from imkit.client.roaming import Query, fetch_page
from imkit.client.wire_log import WireEntry
from imkit.errors import IMError, ProtocolError, RateLimited, ServiceBusy, ServiceNotEnabled, TimedOut
from imkit.events import Event
from imkit.messages import Message
from imkit.service_check.check import Seen
from imkit.session import Session
from imkit.wire.untrusted_json import json_object, mapping, objects, text

E = TypeVar("E", bound=Event)
R = TypeVar("R")

# How long a check waits for an event, and for a change to show. What has not come by then is an answer.
EVENT_SECONDS = 5.0
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal of the service.

    Args:
        error: what imkit makes of it.
        words: what the service said.
    """

    error: IMError
    words: str

    def __str__(self) -> str:
        return f"{type(self.error).__name__} ({self.words})"


def outcome(refusal: Refusal | None) -> str:
    """Return in words whether the service allowed something."""
    return "allowed" if refusal is None else str(refusal)


def is_refused(refusal: Refusal | None, kind: type[IMError]) -> bool | None:
    """Return whether the service refused something with an error of a class.

    `None`: the whole feature is off here, so this call tells nothing.
    """
    if refusal is not None and isinstance(refusal.error, ServiceNotEnabled):
        return None
    return refusal is not None and isinstance(refusal.error, kind)


def all_so(judgements: Iterable[bool | None]) -> bool | None:
    """Return whether all is so: `False` if one is not, `None` if all others are so and one is not known."""
    found = set(judgements)
    return False if False in found else None if None in found else True


def seen_refused(refusal: Refusal | None, kind: type[IMError]) -> Seen:
    """Return what was seen of a call that the service should refuse with an error of a class."""
    return Seen(outcome(refusal), is_refused(refusal, kind))


def seen_all_refused(refusals: Mapping[str, tuple[Refusal | None, type[IMError]]]) -> Seen:
    """Return what was seen of several calls that the service should refuse, each with an error of its class."""
    told = "; ".join(f"{name}: {outcome(refusal)}" for name, (refusal, _) in refusals.items())
    return Seen(told, all_so(is_refused(refusal, kind) for refusal, kind in refusals.values()))


def seen_allowed(refusal: Refusal | None) -> Seen:
    """Return what was seen of a call that the service should allow."""
    return Seen(outcome(refusal), refusal is None)


def seen_told(told: Mapping[str, bool]) -> Seen:
    """Return what was seen of several things that a user should be told of."""
    came = ", ".join(name for name, is_told in told.items() if is_told)
    missing = ", ".join(name for name, is_told in told.items() if not is_told)
    return Seen(f"told of: {came or 'nothing'}" + (f"; not told of: {missing}" if missing else ""), not missing)


async def answer_of(session: Session, work: Awaitable[R]) -> R | Refusal:
    """Await a call of a session, and return its result, or the service's refusal.

    Raises:
        IMError: there is no answer of the service to judge by, such as after a lost connection.
    """
    with recorded(session) as entries:
        try:
            return await work
        except (ServiceBusy, RateLimited, ProtocolError):
            raise
        except IMError as error:
            if error.status is None:
                raise
            return Refusal(error, _words(error, entries()))


async def refusal_of(session: Session, work: Awaitable[object]) -> Refusal | None:
    """Await a call of a session, and return the service's refusal, or `None` if the service carried it out.

    Raises:
        IMError: as `answer_of` does.
    """
    answer = await answer_of(session, work)
    return answer if isinstance(answer, Refusal) else None


def _words(error: IMError, entries: Sequence[WireEntry]) -> str:
    """Return a refusal in the service's words: those on the socket, or all that a REST answer says of the error."""
    if error.status is not None and error.status < 100:
        return f"status {error.status}: {error.reason}"
    answers = [entry.decoded for entry in entries if entry.command.startswith(f"{error.status} ")]
    answer = json_object(answers[-1]) if answers else {}
    code = answer.get("error_code")
    parts = [f"HTTP {error.status}", text(answer, "error"), f"error_code {code}" if isinstance(code, int) else ""]
    return f"{', '.join(part for part in parts if part)}: {error.reason}"


@contextmanager
def recorded(session: Session) -> Iterator[Callable[[], list[WireEntry]]]:
    """Record the frames and REST calls of a session in a block; the function returns those so far."""
    log = session.account.wire_log
    was_on, before = log.is_on, log.total
    log.is_on = True
    try:
        yield lambda: log.entries_after(before)
    finally:
        log.is_on = was_on


def received_metas(entries: Sequence[WireEntry]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each Meta that came in a queue, with the JID of the queue; both are decoded to JSON."""
    for entry in entries:
        if entry.direction == "down" and entry.command == "SYNC":
            payload = mapping(json_object(entry.decoded), "payload")
            for meta in objects(payload, "metas"):
                yield mapping(payload, "queue"), meta


async def event_of(stream: EventStream[E], where: Callable[[E], object], seconds: float | None = None) -> E | None:
    """Wait for an event, and return it as soon as it comes; `None`: it has not come in `EVENT_SECONDS` or `seconds`."""
    try:
        return cast(E, await stream.next.aio(EVENT_SECONDS if seconds is None else seconds, where=where))
    except TimedOut:
        return None


async def settled(ask: Callable[[], Awaitable[R]], wanted: Callable[[R], object]) -> R:
    """Ask until an answer is as wanted, and return it; after `EVENT_SECONDS` return the last answer.

    A service may need a moment until its lists and histories show what has happened.
    """
    end = time.monotonic() + EVENT_SECONDS
    while True:
        answer = await ask()
        if wanted(answer) or time.monotonic() >= end:
            return answer
        await asyncio.sleep(_PAUSE_SECONDS)


async def in_history(session: Session, conversation_id: str, message_id: str) -> Message | None:
    """Return one of the newest messages of a conversation from the history of a session's user."""

    async def find() -> Message | None:
        page = await fetch_page(session.account.rest, session.user, conversation_id, Query(), -1, newest_first=True)
        return next((message for message in page.messages if message.id == message_id), None)

    return await settled(find, lambda message: message is not None)
