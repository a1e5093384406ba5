"""The sends of a connection: those that wait for it, those in flight, and those whose answer it lost.

A send is written to a socket once, in the order of the calls, or never. When the connection breaks, it is not known
what became of the sends in flight. After the next login imkit reads the roaming history to find out
(`imkit.client.lost_sends`), and only then new sends leave.

Source: docs/protocol.md#sending, docs/protocol.md#answer-to-a-send.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imkit.client.timing import Timing
from imkit.errors import ConnectionLost, IMError, Outcome, SessionClosed
from imkit.hints import SESSION_ENDED
from imkit.wire.enums import StatusCode
from imkit.wire.protocol import SendAnswered

logger = logging.getLogger("imkit.client.outbox")


@dataclass(slots=True, eq=False)
class PendingSend:
    """One send: waiting to leave, in flight, or lost.

    Attributes:
        client_id: names it on this connection.
        meta: the Meta to send.
        answer: the service's answer, or the error that took its place.
        written_at: when it was written to the socket, by the clock that only grows; `None`: it waits.
        is_lost: the socket that it was written to is gone.
        login_time: when that socket logged in, in ms by the service's clock: older messages are not this send.
    """

    client_id: int
    meta: Any
    answer: asyncio.Future[SendAnswered]
    written_at: float | None = None
    is_lost: bool = False
    login_time: int | None = None

    @property
    def is_in_flight(self) -> bool:
        """Whether it was written to the present socket and has no answer yet."""
        return self.written_at is not None and not self.is_lost and not self.answer.done()

    def answered(self, answer: SendAnswered) -> None:
        """Take the service's answer, unless there is one already."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def failed(self, error: IMError) -> None:
        """Take an error in place of an answer, unless there is an answer already."""
        if not self.answer.done():
            self.answer.set_exception(error)


# Takes the lost sends, and by target the id of the last message whose answer came. It answers the sends that arrived,
# and returns those that it could not look up now.
LookUp = Callable[[Sequence[PendingSend], Mapping[str, int]], Awaitable[Sequence[PendingSend]]]


class Outbox:
    """The sends of one connection. It runs on imkit's loop (`imkit.portal`).

    Args:
        write: writes a send to the socket, if there is one, and sets its `written_at`.
        look_up: finds out what became of lost sends; `None`: they stay unknown.
        timing: how long sends wait.
    """

    def __init__(self, write: Callable[[PendingSend], Awaitable[None]], look_up: LookUp | None, timing: Timing) -> None:
        self._write = write
        self._look_up = look_up
        self._timing = timing
        self._sends: dict[int, PendingSend] = {}  # by client id, in the order given
        self._lost: list[PendingSend] = []  # in flight when a connection broke, in the order sent
        self._acknowledged: dict[str, int] = {}  # by target, the id of the last message whose answer came
        self._order = asyncio.Lock()  # of writing: sends that waited go before new ones

    async def send(self, client_id: int, meta: Any) -> SendAnswered:
        """Send one Meta and return the service's answer, which may be a refusal.

        Raises:
            ConnectionLost: `outcome` is "not sent"; or "unknown" if the connection broke before the answer came and
                the roaming history does not show what became of the send.
            SessionClosed: the session ended first.
        """
        loop = asyncio.get_running_loop()
        pending = PendingSend(client_id, meta, loop.create_future())
        self._sends[client_id] = pending
        try:
            async with self._order:
                await self._write(pending)
            if pending.written_at is None:
                loop.call_later(self._timing.queued, self._withdraw, pending)
            return await asyncio.shield(pending.answer)
        finally:
            # A send in flight stays in the list, even if its caller no longer waits (the stop button). If the
            # connection breaks, its message must not be taken for the message of a later send with an equal body.
            if pending.written_at is None or pending.answer.done():
                self._sends.pop(client_id, None)

    def may_leave(self, pending: PendingSend) -> bool:
        """Whether a send still waits to be written."""
        return pending.written_at is None and pending.client_id in self._sends

    def _withdraw(self, pending: PendingSend) -> None:
        if self.may_leave(pending):
            del self._sends[pending.client_id]
            waited = f"nothing was sent: no connection for {self._timing.queued:.0f} s"
            pending.failed(ConnectionLost(waited, outcome="not sent"))

    def is_answer_overdue(self) -> bool:
        """Whether the oldest send in flight has waited for its answer too long."""
        oldest = next((pending for pending in self._sends.values() if pending.is_in_flight), None)
        if oldest is None or oldest.written_at is None:
            return False
        return self._timing.clock() - oldest.written_at >= self._timing.answer

    def take_answer(self, answer: SendAnswered) -> None:
        """Give an answer of the service to its send."""
        pending = self._sends.pop(answer.client_id, None)
        if pending is not None:
            self._note_id(pending, answer)
            pending.answered(answer)

    def _note_id(self, pending: PendingSend, answer: SendAnswered) -> None:
        if answer.status == StatusCode.OK:
            target, number = pending.meta.to.name, int(answer.server_id)
            self._acknowledged[target] = max(number, self._acknowledged.get(target, 0))

    def connection_lost(self, login_time: int | None) -> None:
        """Note that the socket is closed: the sends in flight on it are lost, the others keep waiting.

        Args:
            login_time: when the socket logged in, in ms by the service's clock.
        """
        lost = [pending for pending in self._sends.values() if pending.is_in_flight]
        for pending in lost:
            pending.is_lost, pending.login_time = True, login_time
        if lost:
            self._lost += lost
            asyncio.get_running_loop().call_later(self._timing.queued, self._give_up, lost)

    async def resume(self) -> None:
        """After a login: find out what became of the lost sends, then write those that wait.

        New sends queue until this finishes: their messages might be taken for those of lost sends.
        """
        async with self._order:
            if self._lost:
                await self._look_up_lost()
            for pending in list(self._sends.values()):
                await self._write(pending)

    async def _look_up_lost(self) -> None:
        lost = list(self._lost)
        not_looked_up: Sequence[PendingSend] = lost
        try:
            async with asyncio.timeout(self._timing.lookup):
                if self._look_up is not None:
                    not_looked_up = await self._look_up(lost, self._acknowledged)
        except TimeoutError:
            logger.info("%d lost sends could not be looked up in %.0f s", len(lost), self._timing.lookup)
        except Exception:  # a bug in imkit: callers must get an error and not wait for ever
            logger.exception("%d lost sends could not be looked up", len(lost))
        # If the connection breaks again, this method is cancelled above, and the next login looks the sends up again.
        # Sends that could not be looked up stay in the list: if one of them has a message, that message must not be
        # taken for the message of a later send.
        self._lost = list(not_looked_up)
        for pending in lost:
            if pending.answer.done() and pending.answer.exception() is None:
                self._sends.pop(pending.client_id, None)
                self._note_id(pending, pending.answer.result())
        self._give_up(lost)

    def _give_up(self, lost: Sequence[PendingSend]) -> None:
        for pending in lost:
            self._sends.pop(pending.client_id, None)
            pending.failed(ConnectionLost("the connection broke before the answer to a send came"))

    def give_up(self, error: Callable[[Outcome], IMError | None]) -> None:
        """Fail all sends that have no answer, because the service does not come back.

        Args:
            error: returns the error for a send with this outcome; `None` leaves the send as it is.
        """
        for pending in self._sends.values():
            if failure := error("not sent" if pending.written_at is None else "unknown"):
                pending.failed(failure)

    def close(self, reason: str) -> None:
        """Fail all sends that have no answer: the session has ended."""
        for pending in self._sends.values():
            what = "nothing was sent" if pending.written_at is None else "it is not known whether it was sent"
            pending.failed(SessionClosed(f"the session ended ({reason}); {what}", hint=SESSION_ENDED.get(reason)))
