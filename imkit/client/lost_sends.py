"""Lost sends: what became of sends whose answer was lost with the connection.

The service answers one socket in order. So the sends that reached it are the first ones of those in flight. The roaming
history shows from which device a message came (`from.clientResource`). imkit reads the newest messages of the target,
back to the last one whose answer came, and matches this device's messages with the lost sends, in order, by equal
bodies. A send with a match was sent, and has the server's id. Of the other sends nobody knows, and none is sent again.

Source: docs/protocol.md#answer-to-a-send, docs/protocol.md#thread-marks, docs/protocol.md#roaming-history.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from imkit.client.outbox import PendingSend
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


async def look_up_lost_sends(
    rest: Rest, identity: Identity, lost: Sequence[PendingSend], acknowledged: Mapping[str, int]
) -> list[PendingSend]:
    """Answer those of the lost sends that did arrive; return those that could not be looked up just now.

    Args:
        rest: asks for the histories.
        identity: the own device.
        lost: the sends that were in flight, in the order they were sent.
        acknowledged: by target, the id of the last message whose answer came.
    """
    targets: dict[str, list[tuple[PendingSend, Body]]] = {}
    unknown: list[PendingSend] = []
    for send in lost:
        body = _shown_by_roaming(send.meta)
        if body is not None:
            targets.setdefault(send.meta.to.name, []).append((send, body))
    for target, sends in targets.items():
        floors = [_earliest(send) for send, _ in sends]
        try:
            own = await _own_messages(rest, identity, target, acknowledged.get(target), min(floors))
        except IMError as error:  # a thread that is gone, or was left, must not stop the others
            logger.info("what became of %d sends to %s could not be looked up: %s", len(sends), target, error)
            if isinstance(error, ConnectionLost | TimedOut | ServiceBusy | RateLimited):
                unknown += [send for send, _ in sends]
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
    return unknown


def _earliest(send: PendingSend) -> int:
    """Return the earliest time that the service can have given this send's message, in ms.

    The service answers one socket in order, so the time that it told at the login lies before all sends on it.
    """
    if send.login_time is not None:
        return send.login_time
    return int(send.written_wall - CLOCK_DIFFERENCE_SECONDS) * 1000


def _shown_by_roaming(meta: Any) -> Body | None:
    """Return the body of a send, or `None` where roaming history does not show it: commands, directed, online only."""
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
