"""One page of roaming history (消息漫游): how it is asked for, and what comes.

Source: fact sheet section 8.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from imkit.errors import ProtocolError
from imkit.messages import Message, to_milliseconds
from imkit.rest import Rest
from imkit.wire.downlink import decode_roamed
from imkit.wire.envelope import GROUP_DOMAIN

PAGE = 50  # the most a page holds
Order = Literal["oldest", "newest"]


@dataclass(frozen=True, slots=True)
class Query:
    """What part of a history is wanted; checked, times in ms since the epoch.

    Args:
        since: inclusive, or `None`.
        until: exclusive, or `None`.
        types: which message types, or none for all.
        sender: a user id, or `None` for all.
        limit: at most so many messages, counted from the end that `order` names.
        order: which end comes first.
    """

    since: int | None = None
    until: int | None = None
    types: frozenset[str] = frozenset()
    sender: str | None = None
    limit: int | None = None
    order: Order = "oldest"

    def accepts(self, message: Message) -> bool:
        """Whether a message is wanted; asked of each, because a service may overlook a filter."""
        if self.types and message.type not in self.types:
            return False
        if self.sender is not None and message.sender.lower() != self.sender:
            return False
        moment = to_milliseconds(message.time)
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


@dataclass(slots=True)
class Page:
    """One page of roaming history.

    Attributes:
        messages: those on it.
        cursor: where the next one begins, or `None` at the end.
        is_last: the service says that there is no other.
        is_empty: there is nothing on it; not even notices, which are no messages.
    """

    messages: list[Message]
    cursor: str | int | None
    is_last: bool
    is_empty: bool


async def fetch_page(
    rest: Rest, user: str, target_id: str, wanted: Query, cursor: str | int, newest_first: bool
) -> Page:
    """Fetch one page.

    Args:
        rest: the app's REST interface.
        user: who asks.
        target_id: the thread or group.
        wanted: its filters go with the request; times are widened by 1 ms, because nobody says whether the
            service's bounds are inclusive.
        cursor: -1 to begin, then what the last page gave.
        newest_first: the direction.

    Raises:
        ProtocolError: the answer is no page.
    """
    bounded = wanted.since is not None or wanted.until is not None
    far = to_milliseconds(datetime.now(UTC) + timedelta(days=366))
    wire_types = {"txt" if kind == "combine" else kind for kind in wanted.types}
    body = {
        "queue": f"{target_id}@{GROUP_DOMAIN}",
        "start": cursor,
        "end": -1,
        "pull_number": PAGE,
        "is_positive": not newest_first,
        "msgType": ",".join(sorted(wire_types)),
        "startTime": max((wanted.since or 1) - 1, 0) if bounded else None,
        "endTime": (far if wanted.until is None else wanted.until + 1) if bounded else None,
        "userId": wanted.sender,
    }
    what = f"asking for the history of {target_id}"
    answer = await rest.request("POST", "users", user, "messageroaming", what=what, body=body, repeatable=True)
    data = answer.get("data")
    if not isinstance(data, dict):
        raise ProtocolError(f"the history of {target_id}: the answer holds no data")
    entries = data.get("msgs")
    return Page(_messages(entries), _cursor(data.get("next_key")), data.get("is_last") is True, is_empty=not entries)


def _messages(entries: object) -> list[Message]:
    found = []
    for entry in entries if isinstance(entries, list) else ():
        encoded = entry.get("msg") if isinstance(entry, dict) else None
        try:
            data = base64.b64decode(encoded) if isinstance(encoded, str) else b""
        except (binascii.Error, ValueError):
            data = b"\xff"  # arrives as Unknown: one bad entry loses none of its neighbours
        message = decode_roamed(data) if data else None
        if message is not None:
            found.append(message)
    return found


def _cursor(key: object) -> str | int | None:
    return key if isinstance(key, str | int) and not isinstance(key, bool) and key != "" else None
