"""Roaming history (消息漫游): what is asked for, checked, and a walk over it, one page after another.

Source: fact sheet section 8.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from imkit.client.account import Account
from imkit.client.app import user_id
from imkit.client.roaming import Chain, Order, Page, Query, fetch_page
from imkit.errors import InvalidMessage, ProtocolError
from imkit.messages import Message, to_milliseconds
from imkit.shards import is_reversed

Moment = datetime | date | str
_TYPES = ("txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "combine")


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
    kinds = _kinds(types)
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InvalidMessage(f"limit must be a whole number from 1, not {limit!r:.40}")
    if order not in ("oldest", "newest"):
        raise InvalidMessage(f'order must be "oldest" or "newest", not {order!r:.40}')
    wanted = Query(
        since=moment_of(since, "since"),
        until=moment_of(until, "until"),
        types=kinds,
        sender=None if sender is None else user_id(sender),
        limit=limit,
        order=order,
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InvalidMessage(f"since ({since}) is not before until ({until}): no message can be in between")
    return wanted


def _kinds(types: Iterable[str] | None) -> frozenset[str]:
    if types is None:
        return frozenset()
    if isinstance(types, str) or not isinstance(types, Iterable):
        raise InvalidMessage(f'types must be a list, such as ["{types!s:.40}"]')
    kinds = list(types)
    for kind in kinds:
        if kind not in _TYPES:
            raise InvalidMessage(f"{kind!r:.40} is no message type", hint=f"The types are {', '.join(_TYPES)}.")
    return frozenset(kinds)


def moment_of(moment: Moment | None, name: str) -> int | None:
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
    try:
        aware = moment.astimezone(UTC)
        return to_milliseconds(aware) + (1 if aware.microsecond % 1000 else 0)
    except (ValueError, OverflowError, TypeError) as error:  # the edge of the calendar in another zone; pandas' NaT
        raise InvalidMessage(f"{name}: {moment} is no time that can be asked for") from error


@dataclass(slots=True)
class Walk:
    """A walk over the history of one thread or group."""

    account: Account
    target_id: str
    wanted: Query
    _seen: set[str] = field(default_factory=set)

    async def pages(self) -> AsyncGenerator[list[Message], None]:
        """Yield the wanted messages, page by page, in the order asked for.

        Raises:
            ProtocolError: the service overlooks which end is asked for, or which page.
        """
        newest_first = self.wanted.order == "newest"
        ceiling: int | None = None
        if not newest_first and self.wanted.until is None:
            # The range is fixed when the walk begins: what arrives meanwhile is after the newest message of now.
            newest = (await self._page(Chain(Query(), newest_first=True))).messages
            if not is_reversed(_times(newest), newest_first=True):  # else these are not the newest
                ceiling = max((int(message.id) for message in newest if message.id), default=0)
        taken = 0
        async for messages in self._raw_pages(newest_first):
            wanted = [message for message in messages if self._is_new(message, ceiling)]
            if self.wanted.limit is not None and taken + len(wanted) >= self.wanted.limit:
                yield wanted[: self.wanted.limit - taken]
                return
            taken += len(wanted)
            yield wanted

    def _is_new(self, message: Message, ceiling: int | None) -> bool:
        if not self.wanted.accepts(message) or (ceiling is not None and message.id and int(message.id) > ceiling):
            return False
        if message.id in self._seen:
            return False
        if message.id:
            self._seen.add(message.id)
        return True

    async def _page(self, chain: Chain) -> Page:
        account = self.account
        return await fetch_page(
            account.rest, account.user, self.target_id, chain.wanted, chain.cursor, chain.newest_first
        )

    async def _raw_pages(self, newest_first: bool) -> AsyncGenerator[list[Message], None]:
        chain = Chain(self.wanted, newest_first)
        while not chain.is_over:
            page = await self._page(chain)
            chain.follow(page)
            if chain.is_stuck:
                raise ProtocolError(f"the history of {self.target_id}: the service gives the same page again and again")
            messages = page.messages
            if is_reversed(_times(messages), newest_first):
                hint = "history() copes with it: it loads everything, and sorts."
                raise ProtocolError(f"the history of {self.target_id} comes from its other end", hint=hint)
            yield messages
            if _is_past(messages, self.wanted, newest_first):
                return  # the service overlooks time bounds


def _times(messages: Sequence[Message]) -> list[int]:
    return [to_milliseconds(message.time) for message in messages if message.id]


def _is_past(messages: Sequence[Message], wanted: Query, newest_first: bool) -> bool:
    readable = [message for message in messages if message.id]  # what cannot be read has no time either
    if not readable:
        return False
    moment = to_milliseconds(readable[-1].time)
    if newest_first:
        return wanted.since is not None and moment < wanted.since - 1
    return wanted.until is not None and moment > wanted.until + 1
