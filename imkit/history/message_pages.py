"""A walk over a roaming history (消息漫游), one page after another, as `messages()` gives them.

Source: fact sheet section 8.
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
            newest = (await self._page(PageChain(Query(), newest_first=True))).messages
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
