"""Finds out what became of lost sends: sends whose answer was lost with the connection.

The service handles the frames of one socket in order. So if some of the lost sends reached it, they are the first ones.
Roaming history shows from which device a message came (`from.clientResource`). For each target imkit reads the newest
messages, back to the last one whose answer came. Then it compares this device's messages with the lost sends, both in
order: a message with an equal body is the message of that send, and the send gets its id and time. The result of all
other sends stays unknown, and imkit sends none of them again.

Example: "a", "b", "a" were in flight, and the history has "a" and "a" from this device. The first send gets the first
id. "b" gets none. The third send gets the second id.

Source: docs/protocol.md#answer-to-a-send, docs/protocol.md#thread-marks, docs/protocol.md#roaming-history.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imkit.client.outbox import PendingSend
from imkit.client.rest import Rest
from imkit.client.roaming import PageChain, Query, fetch_page
from imkit.errors import ConnectionLost, IMError, RateLimited, ServiceBusy, TimedOut
from imkit.messages import Body, Command, Message
from imkit.times import to_milliseconds
from imkit.wire import schema
from imkit.wire.codec import decode_content
from imkit.wire.enums import BodyType, RouteType, StatusCode
from imkit.wire.envelope import Identity
from imkit.wire.protocol import SendAnswered

logger = logging.getLogger("imkit.client.lost_sends")

MAX_PAGES = 40  # to read for one target


async def look_up_lost_sends(
    rest: Rest, identity: Identity, lost: Sequence[PendingSend], acknowledged: Mapping[str, int]
) -> list[PendingSend]:
    """Set the answer of each lost send whose message is in the history; return the sends that were not looked up.

    Args:
        rest: asks for the histories.
        identity: this device.
        lost: the sends that were in flight, in the order in which they were sent.
        acknowledged: by target, the id of the last message whose answer came.

    Source: docs/protocol.md#answer-to-a-send, docs/protocol.md#roaming-history.
    """
    by_target: dict[str, list[_LostSend]] = {}
    for pending in lost:
        body, target = _body_in_history(pending.meta), pending.meta.to.name
        earliest = _earliest_time(pending, is_bounded_by_id=target in acknowledged)
        if body is not None and earliest is not None:
            by_target.setdefault(target, []).append(_LostSend(pending, body, earliest))
    not_looked_up: list[PendingSend] = []
    for target, sends in by_target.items():
        since = min(send.earliest for send in sends)
        try:
            own = await _own_messages(rest, identity, target, acknowledged.get(target), since)
        except IMError as error:  # this user left the thread, or it was destroyed; the other targets matter still
            logger.info("%d lost sends to %s could not be looked up: %s", len(sends), target, error)
            if isinstance(error, ConnectionLost | TimedOut | ServiceBusy | RateLimited):
                not_looked_up += [send.pending for send in sends]
        else:
            _answer_matching(sends, own)
    return not_looked_up


@dataclass(frozen=True, slots=True)
class _LostSend:
    """A lost send that roaming history can show.

    Attributes:
        pending: the send.
        body: the body that its message has.
        earliest: the earliest time that its message can have, in ms.
    """

    pending: PendingSend
    body: Body
    earliest: int


def _answer_matching(sends: Sequence[_LostSend], own: Sequence[Message]) -> None:
    """Answer each send with the next message of an equal body; both lists are in order."""
    next_index = 0
    for send in sends:
        for index in range(next_index, len(own)):
            message = own[index]
            if message.body == send.body and to_milliseconds(message.time) >= send.earliest:
                next_index = index + 1
                at = to_milliseconds(message.time)
                send.pending.answered(SendAnswered(send.pending.client_id, StatusCode.OK, "", message.id, at))
                break


def _earliest_time(send: PendingSend, *, is_bounded_by_id: bool) -> int | None:
    """Return the earliest time that this send's message can have, in ms by the service's clock.

    The time that the service told at the login of the socket is earlier than all sends on that socket. Without it, the
    last message whose answer came is the bound. Without both it is `None`: an older message with an equal body could be
    taken for this send's, and this machine's own clock may be wrong.
    """
    return 0 if send.login_time is None and is_bounded_by_id else send.login_time


def _body_in_history(meta: Any) -> Body | None:
    """Return the body that roaming history shows of a send; it shows no commands and no directed messages (`None`)."""
    message_body = schema.MessageBody.FromString(meta.payload)
    if message_body.type not in (BodyType.CHAT, BodyType.GROUPCHAT) or meta.routetype != RouteType.ROUTE_ALL:
        return None
    body = decode_content(message_body)
    return None if isinstance(body, Command) else body


async def _own_messages(
    rest: Rest, identity: Identity, target: str, last_known_id: int | None, since: int
) -> list[Message]:
    """Return this device's newest messages in a target, the oldest first.

    Args:
        rest: asks for the history.
        identity: this device.
        target: the thread or group.
        last_known_id: read back to the message with this id, exclusive.
        since: read back to this time in ms, inclusive.
    """
    found: list[Message] = []
    chain = PageChain(Query(), newest_first=True)
    for _ in range(MAX_PAGES):
        page = await fetch_page(rest, identity.user, target, chain.wanted, chain.cursor, chain.newest_first)
        for message in page.messages:
            if int(message.id or 0) <= (last_known_id or 0) or to_milliseconds(message.time) < since:
                return found[::-1]
            if message.resource == identity.resource and message.sender.lower() == identity.user:
                found.append(message)
        chain.follow(page)
        if chain.is_over:
            break
    return found[::-1]
