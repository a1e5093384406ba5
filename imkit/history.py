"""Roaming history (消息漫游): pages, one after another, to the end, as messages or as a DataFrame.

Source: fact sheet section 8.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from imkit.account import Account, user_id
from imkit.errors import InvalidMessage, ProtocolError
from imkit.messages import Message, to_milliseconds
from imkit.portal import Worker
from imkit.wire.downlink import decode_roamed
from imkit.wire.envelope import GROUP_DOMAIN

if TYPE_CHECKING:
    import pandas as pd

PAGE = 50  # the most a page holds
Moment = datetime | date | str
Order = Literal["oldest", "newest"]
Progress = Callable[[int, int | None], Awaitable[None] | None]

_TYPES = ("txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "combine")


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


def query(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    types: Sequence[str] | None = None,
    sender: str | None = None,
    limit: int | None = None,
    order: Order = "oldest",
) -> Query:
    """Return the checked query for the arguments of `history()`.

    Raises:
        InvalidMessage: one of them is out of bounds; it says which and what would do.
    """
    if isinstance(types, str):
        raise InvalidMessage(f'types must be a list, such as ["{types}"]')
    for kind in types or ():
        if kind not in _TYPES:
            raise InvalidMessage(f"{kind!r:.40} is no message type", hint=f"The types are {', '.join(_TYPES)}.")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InvalidMessage(f"limit must be a whole number from 1, not {limit!r:.40}")
    if order not in ("oldest", "newest"):
        raise InvalidMessage(f'order must be "oldest" or "newest", not {order!r:.40}')
    wanted = Query(
        since=_moment(since, "since"),
        until=_moment(until, "until"),
        types=frozenset(types or ()),
        sender=None if sender is None else user_id(sender),
        limit=limit,
        order=order,
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InvalidMessage(f"since ({since}) is not before until ({until}): no message can be in between")
    return wanted


def _moment(moment: Moment | None, name: str) -> int | None:
    """Return a moment in ms since the epoch: what has no zone is local time, a date is its local midnight."""
    if moment is None:
        return None
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            hint = 'Give an ISO time, such as "2026-11-23" or "2026-11-23T10:00:00+08:00".'
            raise InvalidMessage(f"{name}: {moment!r:.60} is no time", hint=hint) from error
    elif isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if not isinstance(moment, datetime):
        raise InvalidMessage(f"{name} must be a datetime, a date or an ISO string, not {type(moment).__name__}")
    # Rounded up: no millisecond before a moment belongs to what is since it.
    aware = moment.astimezone(UTC)
    return to_milliseconds(aware) + (1 if aware.microsecond % 1000 else 0)


@dataclass(slots=True)
class Page:
    """One page of roaming history: its messages, and where the next one begins (empty at the end)."""

    messages: list[Message]
    cursor: str | int | None
    is_last: bool


async def fetch_page(account: Account, target_id: str, wanted: Query, cursor: str | int, newest_first: bool) -> Page:
    """Fetch one page.

    Args:
        account: who asks.
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
    answer = await account.rest.request("POST", "users", account.user, "messageroaming", body=body, repeatable=True)
    data = answer.get("data")
    if not isinstance(data, dict):
        raise ProtocolError(f"the history of {target_id}: the answer holds no data")
    return Page(_messages(data.get("msgs")), _cursor(data.get("next_key")), data.get("is_last") is True)


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


@dataclass(slots=True)
class Walk:
    """A walk over the history of one thread or group.

    Attributes:
        reason: why it ended, once it has: ``""`` for the end of the history.
        complete: whether all that was wanted has been seen.
    """

    account: Account
    target_id: str
    wanted: Query
    complete: bool = False
    reason: str = "not finished"
    _seen: set[str] = field(default_factory=set)

    async def pages(self) -> AsyncGenerator[list[Message], None]:
        """Yield the wanted messages, page by page, in the order asked for."""
        newest_first = self.wanted.order == "newest"
        ceiling: int | None = None
        if not newest_first and self.wanted.until is None:
            # The range is fixed when the walk begins: what arrives meanwhile is after the newest message of now.
            newest = await fetch_page(self.account, self.target_id, Query(), -1, newest_first=True)
            ceiling = max((int(message.id) for message in newest.messages if message.id), default=0)
        taken = 0
        async for messages in self._raw_pages(newest_first):
            wanted = [message for message in messages if self._is_new(message, ceiling)]
            if self.wanted.limit is not None and taken + len(wanted) >= self.wanted.limit:
                yield wanted[: self.wanted.limit - taken]
                self.reason = f"the limit of {self.wanted.limit} was reached"
                return
            taken += len(wanted)
            yield wanted
        self.complete, self.reason = True, ""

    def _is_new(self, message: Message, ceiling: int | None) -> bool:
        if not self.wanted.accepts(message) or (ceiling is not None and message.id and int(message.id) > ceiling):
            return False
        if message.id in self._seen:
            return False
        if message.id:
            self._seen.add(message.id)
        return True

    async def _raw_pages(self, newest_first: bool) -> AsyncGenerator[list[Message], None]:
        cursor: str | int = -1
        while True:
            page = await fetch_page(self.account, self.target_id, self.wanted, cursor, newest_first)
            yield page.messages
            # An empty page or no key ends the chain whatever is_last says; so does a key that leads nowhere new.
            if page.is_last or not page.messages or page.cursor is None or page.cursor == cursor:
                return
            if _is_past(page.messages[-1], self.wanted, newest_first):
                return  # the service overlooks time bounds
            cursor = page.cursor


def _is_past(message: Message, wanted: Query, newest_first: bool) -> bool:
    moment = to_milliseconds(message.time)
    if newest_first:
        return wanted.since is not None and moment < wanted.since - 1
    return wanted.until is not None and moment > wanted.until + 1


async def history_frame(
    account: Account, target_ids: Sequence[str], wanted: Query, progress: Progress | None = None
) -> pd.DataFrame:
    """Load the histories of threads and groups into one frame, in the order asked for.

    Args:
        account: who asks.
        target_ids: threads and groups.
        wanted: which part of each; `limit` counts over all of them.
        progress: told how many messages have come, and how many there will be, if that is known.
    """
    started = datetime.now(UTC)
    found: list[Message] = []
    reasons = []
    worker = Worker("imkit-progress")
    try:
        for target_id in dict.fromkeys(target_ids):
            # Newest first, whatever order is wanted: what arrives meanwhile then changes nothing behind the cursor.
            order: Order = "newest" if wanted.limit is None else wanted.order
            walk = Walk(account, target_id, _reordered(wanted, order))
            async for messages in walk.pages():
                found += messages
                if progress is not None:
                    await worker.run(progress, len(found), wanted.limit)
            if not walk.complete:
                reasons.append(f"{target_id}: {walk.reason}")
    finally:
        worker.close()
    found.sort(key=_position, reverse=wanted.order == "newest")
    if wanted.limit is not None and len(found) > wanted.limit:
        del found[wanted.limit :]
    from imkit.frames import frame_of  # pandas is loaded when the first frame is asked for

    source = {
        "app_key": account.app.app_key,
        "thread_ids": list(dict.fromkeys(target_ids)),
        "since": _iso(wanted.since),
        "until": _iso(wanted.until),
        "fetched_at": started.isoformat(timespec="milliseconds"),
        "complete": not reasons,
        "reason": "; ".join(reasons),
        "rows": len(found),
        "server_count": None,
    }
    return frame_of(found, source)


def _reordered(wanted: Query, order: Order) -> Query:
    return Query(wanted.since, wanted.until, wanted.types, wanted.sender, wanted.limit, order)


def _position(message: Message) -> tuple[int, int]:
    return to_milliseconds(message.time), int(message.id or 0)


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds")
