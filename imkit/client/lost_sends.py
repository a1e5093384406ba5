"""What became of sends whose answer was lost with the connection.

One socket is answered in order, so what reached the service is the first part of what was in flight; and roaming
history shows from which device a message came. So the newest messages of the target, back to the last one whose
answer came, are matched with the lost sends, in order, by what they say. A match was sent, and has the server's id; of
the others nobody knows, and none is sent again.

Source: fact sheet sections 4 (`from.clientResource` on the downlink) and 8 (roaming).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from imkit.client.rest import Rest
from imkit.client.roaming import Query, fetch_page
from imkit.errors import ConnectionLost, IMError, RateLimited, ServiceBusy, TimedOut
from imkit.messages import Body, Command, Message
from imkit.times import to_milliseconds
from imkit.wire import schema
from imkit.wire.codec import decode_content
from imkit.wire.enums import BodyType, RouteType, StatusCode
from imkit.wire.envelope import Identity
from imkit.wire.protocol import SendAnswered

logger = logging.getLogger("imkit.client.lost_sends")

CLOCK_DIFFERENCE_SECONDS = 600  # by how much this machine's clock may be wrong, where the service never told the time
MAX_PAGES = 40


class Lost(Protocol):
    """A send in flight when the connection broke."""

    meta: Any
    written_at: float
    login_time: int | None
    client_id: int

    def answered(self, answer: SendAnswered) -> None:
        """Take the answer."""


L = TypeVar("L", bound=Lost)


async def settle(rest: Rest, identity: Identity, lost: Sequence[L], acknowledged: Mapping[str, int]) -> list[L]:
    """Answer those of the lost sends that did arrive; return those that could not be looked up just now.

    Args:
        rest: asks for the histories.
        identity: the own device.
        lost: what was in flight, in the order it was sent.
        acknowledged: by target, the id of the last message whose answer came.
    """
    targets: dict[str, list[tuple[L, Body]]] = {}
    unseen: list[L] = []
    for send in lost:
        body = _shown_by_roaming(send.meta)
        if body is not None:
            targets.setdefault(send.meta.to.name, []).append((send, body))
    for target, sends in targets.items():
        floors = [_earliest(send) for send, _ in sends]
        try:
            own = await _own_messages(rest, identity, target, acknowledged.get(target), min(floors))
        except IMError as error:  # a thread that is gone, or left, must not keep the others from being settled
            logger.info("what became of %d sends to %s could not be looked up: %s", len(sends), target, error)
            if isinstance(error, ConnectionLost | TimedOut | ServiceBusy | RateLimited):
                unseen += [send for send, _ in sends]
            continue
        place = 0
        for (send, body), floor in zip(sends, floors, strict=True):
            for at in range(place, len(own)):
                message = own[at]
                if message.body == body and to_milliseconds(message.time) >= floor:
                    place = at + 1
                    send.answered(
                        SendAnswered(send.client_id, StatusCode.OK, "", message.id, to_milliseconds(message.time))
                    )
                    break
    return unseen


def _earliest(send: Lost) -> int:
    """Return the earliest time that the service can have given this send's message, in ms.

    One socket is answered in order, so the time told at its login lies before all that was sent on it.
    """
    if send.login_time is not None:
        return send.login_time
    return int(send.written_at - CLOCK_DIFFERENCE_SECONDS) * 1000


def _shown_by_roaming(meta: Any) -> Body | None:
    """Return what a send says, or `None` where roaming history would not show it: commands, directed, online only."""
    body = schema.MessageBody.FromString(meta.payload)
    if body.type not in (BodyType.CHAT, BodyType.GROUPCHAT) or meta.routetype != RouteType.ROUTE_ALL:
        return None
    said = decode_content(body)
    return None if isinstance(said, Command) else said


async def _own_messages(rest: Rest, identity: Identity, target: str, floor: int | None, since: int) -> list[Message]:
    """Return this device's messages in the target, the oldest first, back to the floor (an id) or the time `since`."""
    found: list[Message] = []
    cursor: str | int | None = -1
    for _ in range(MAX_PAGES):
        if cursor is None:
            break
        page = await fetch_page(rest, identity.user, target, Query(), cursor, newest_first=True)
        for message in page.messages:
            number = int(message.id or 0)
            if number <= (floor or 0) or to_milliseconds(message.time) < since:
                return found[::-1]
            if message.resource == identity.resource and message.sender.lower() == identity.user:
                found.append(message)
        cursor = None if page.is_last or page.is_empty else page.cursor
    return found[::-1]
