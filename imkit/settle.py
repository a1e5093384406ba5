"""What became of sends whose answer was lost with the connection.

One socket is answered in order, so what reached the service is the first part of what was in flight; and roaming
history shows from which device a message came. So the newest messages of the target, back to the last one whose
answer came, are matched with the lost sends, in order, by what they say. A match was sent, and has the server's id; of
the others nobody knows, and none is sent again.

Source: fact sheet sections 4 (`from.clientResource` on the downlink) and 8 (roaming).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from imkit.messages import Body, Command, Message, to_milliseconds
from imkit.rest import Rest
from imkit.roaming import Query, fetch_page
from imkit.wire import schema
from imkit.wire.codec import decode_content
from imkit.wire.envelope import Identity
from imkit.wire.protocol import SendAnswered
from imkit.wire.refusals import OK
from imkit.wire.uplink import ROUTE_ALL, TYPE_CHAT, TYPE_GROUPCHAT

CLOCK_DIFFERENCE_SECONDS = 600  # by how much this machine's clock may be wrong, where no answer gives a floor
MAX_PAGES = 40


class Lost(Protocol):
    """A send in flight when the connection broke."""

    meta: Any
    written_at: float
    client_id: int

    def answered(self, answer: SendAnswered) -> None:
        """Take the answer."""


async def settle(rest: Rest, identity: Identity, lost: Sequence[Lost], acknowledged: Mapping[str, int]) -> None:
    """Answer those of the lost sends that did arrive; leave the others as they are.

    Args:
        rest: asks for the histories.
        identity: the own device.
        lost: what was in flight, in the order it was sent.
        acknowledged: by target, the id of the last message whose answer came.
    """
    targets: dict[str, list[tuple[Lost, Body]]] = {}
    for send in lost:
        body = _shown_by_roaming(send.meta)
        if body is not None:
            targets.setdefault(send.meta.to.name, []).append((send, body))
    for target, sends in targets.items():
        since = int(min(send.written_at for send, _ in sends) - CLOCK_DIFFERENCE_SECONDS) * 1000
        own = await _own_messages(rest, identity, target, acknowledged.get(target), since)
        place = 0
        for send, body in sends:
            found = next((at for at in range(place, len(own)) if own[at].body == body), None)
            if found is not None:
                message, place = own[found], found + 1
                send.answered(SendAnswered(send.client_id, OK, "", message.id, to_milliseconds(message.time)))


def _shown_by_roaming(meta: Any) -> Body | None:
    """Return what a send says, or `None` where roaming history would not show it: commands, directed, online only."""
    body = schema.MessageBody.FromString(meta.payload)
    if body.type not in (TYPE_CHAT, TYPE_GROUPCHAT) or meta.routetype != ROUTE_ALL:
        return None
    said = decode_content(body)
    return None if isinstance(said, Command) else said


async def _own_messages(rest: Rest, identity: Identity, target: str, floor: int | None, since: int) -> list[Message]:
    """Return this device's messages in the target, the oldest first, back to the floor (an id, else a time)."""
    found: list[Message] = []
    cursor: str | int | None = -1
    for _ in range(MAX_PAGES):
        if cursor is None:
            break
        page = await fetch_page(rest, identity.user, target, Query(), cursor, newest_first=True)
        for message in page.messages:
            number = int(message.id or 0)
            if number <= floor if floor is not None else to_milliseconds(message.time) < since:
                return found[::-1]
            if message.resource == identity.resource and message.sender.lower() == identity.user:
                found.append(message)
        cursor = None if page.is_last or page.is_empty else page.cursor
    return found[::-1]
