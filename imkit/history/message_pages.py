"""One history (消息漫游) read page by page, for `messages()`.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from imkit.client.account import Account
from imkit.client.roaming import PageChain, Query, RoamingPage, fetch_page
from imkit.errors import ProtocolError
from imkit.history.time_shards import is_reversed
from imkit.messages import Message
from imkit.times import to_milliseconds


@dataclass(slots=True)
class PageWalk:
    """A walk through the history of one thread or group.

    Args:
        account: the login that asks.
        target_id: the thread or group.
        wanted: which part of it, and in which order.
    """

    account: Account
    target_id: str
    wanted: Query
    _seen: set[str] = field(init=False, default_factory=set)

    async def pages(self) -> AsyncGenerator[list[Message], None]:
        """Yield the wanted messages, page by page, in the wanted order.

        Raises:
            ProtocolError: the service ignores the direction or the cursor.
        """
        newest_first = self.wanted.order == "newest"
        ceiling: int | None = None
        if not newest_first and self.wanted.until is None:
            # Messages that arrive during the walk are left out: their ids are above the newest one of now.
            newest = (await self._page(PageChain(Query(), newest_first=True))).messages
            if not is_reversed(_times(newest), newest_first=True):  # otherwise these are the oldest
                ceiling = max((int(message.id) for message in newest if message.id), default=0)
        yielded = 0
        async for messages in self._raw_pages(newest_first):
            wanted = [message for message in messages if self._accepts(message, ceiling)]
            if self.wanted.limit is not None and yielded + len(wanted) >= self.wanted.limit:
                yield wanted[: self.wanted.limit - yielded]
                return
            yielded += len(wanted)
            yield wanted

    def _accepts(self, message: Message, ceiling: int | None) -> bool:
        """Return whether a message is wanted and has not come before, and note that it has come."""
        if not self.wanted.accepts(message) or (ceiling is not None and message.id and int(message.id) > ceiling):
            return False
        if message.id in self._seen:
            return False
        if message.id:
            self._seen.add(message.id)
        return True

    async def _page(self, chain: PageChain) -> RoamingPage:
        account = self.account
        return await fetch_page(
            account.rest, account.user, self.target_id, chain.wanted, chain.cursor, chain.newest_first
        )

    async def _raw_pages(self, newest_first: bool) -> AsyncGenerator[list[Message], None]:
        chain = PageChain(self.wanted, newest_first)
        while not chain.is_over:
            page = await self._page(chain)
            chain.follow(page)
            if chain.is_stuck:
                raise ProtocolError(f"the history of {self.target_id}: the service gives the same page again and again")
            messages = page.messages
            if is_reversed(_times(messages), newest_first):
                hint = "Use history(): it loads everything and sorts it."
                raise ProtocolError(f"the history of {self.target_id} comes from its other end", hint=hint)
            yield messages
            if _is_past(messages, self.wanted, newest_first):
                return  # the service ignores time bounds: the rest is out of the range too


def _times(messages: Sequence[Message]) -> list[int]:
    """Return the times of the messages that can be read, in ms since the epoch; the others have no id and no time."""
    return [to_milliseconds(message.time) for message in messages if message.id]


def _is_past(messages: Sequence[Message], wanted: Query, newest_first: bool) -> bool:
    """Return whether the last message of a page lies beyond the range."""
    times = _times(messages)
    if not times:
        return False
    last = times[-1]
    if newest_first:
        return wanted.since is not None and last < wanted.since - 1
    return wanted.until is not None and last > wanted.until + 1
