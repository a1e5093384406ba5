"""What a check sees: refusals in the service's own words, events, and the frames and answers themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from imkit.client.event_store import EventStream
from imkit.client.roaming import Query, fetch_page
from imkit.client.wire_log import WireEntry
from imkit.errors import IMError, ProtocolError, RateLimited, ServiceBusy, TimedOut
from imkit.events import Event
from imkit.messages import Message
from imkit.service_check.check import Seen
from imkit.session import Session
from imkit.wire.untrusted_json import json_object, mapping, objects, text

E = TypeVar("E", bound=Event)
R = TypeVar("R")

# How long a check waits for an event. An event that has not come by then is an answer.
EVENT_SECONDS = 5.0


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


def seen_refused(refusal: Refusal | None, kind: type[IMError]) -> Seen:
    """Return what was seen of a call that the service should refuse with an error of a class."""
    return Seen(outcome(refusal), refusal is not None and isinstance(refusal.error, kind))


def seen_allowed(refusal: Refusal | None) -> Seen:
    """Return what was seen of a call that the service should allow."""
    return Seen(outcome(refusal), refusal is None)


def seen_each(found: Mapping[str, bool], yes: str = "told of", no: str = "not told of") -> Seen:
    """Return what was seen of several things that should all be so."""
    groups = [(yes, [name for name, so in found.items() if so]), (no, [name for name, so in found.items() if not so])]
    return Seen("; ".join(f"{word}: {', '.join(names)}" for word, names in groups if names), all(found.values()))


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


async def event_of(stream: EventStream[E], where: Callable[[E], object], seconds: float = EVENT_SECONDS) -> E | None:
    """Wait for an event, and return it as soon as it comes; `None`: it has not come."""
    try:
        return cast(E, await stream.next.aio(seconds, where=where))
    except TimedOut:
        return None


async def in_history(session: Session, conversation_id: str, message_id: str) -> Message | None:
    """Return one of the newest messages of a conversation from the history of a session's user.

    A service may need a moment until a message is in the history; the function asks once a second.
    """
    end = time.monotonic() + EVENT_SECONDS
    while True:
        page = await fetch_page(session.account.rest, session.user, conversation_id, Query(), -1, newest_first=True)
        found = next((message for message in page.messages if message.id == message_id), None)
        if found is not None or time.monotonic() >= end:
            return found
        await asyncio.sleep(1)
