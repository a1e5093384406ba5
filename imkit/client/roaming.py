"""One page of roaming history (消息漫游): how it is asked for, what comes, and how one leads to the next.

Source: fact sheet section 8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from imkit.client.rest import Rest
from imkit.errors import ProtocolError
from imkit.messages import Message
from imkit.times import to_milliseconds
from imkit.wire.downlink import decode_roamed
from imkit.wire.envelope import GROUP_DOMAIN
from imkit.wire.roaming_page import RawPage, parse_page

PAGE_SIZE = 50  # the most a page holds
Order = Literal["oldest", "newest"]
# Told how many messages have come, and how many there will be, as far as that is known.
Progress = Callable[[int, int | None], Awaitable[None] | None]


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
        return self.holds(to_milliseconds(message.time))

    def holds(self, moment: int) -> bool:
        """Whether a moment, in ms since the epoch, lies in the range."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


class RoamingPage(RawPage):
    """One page of roaming history: the entries as they came, and the messages that they are."""

    @property
    def messages(self) -> list[Message]:
        """The messages on it, decoded; what cannot be read is one of type unknown."""
        return [message for entry in self.entries if (message := decode_roamed(entry)) is not None]


class PageChain:
    """Pages one after another: one question, asked again and again from where the last page ended.

    A cursor is only good for the question that it came with, so neither ever changes.

    Args:
        wanted: what is asked for.
        newest_first: the direction.

    Attributes:
        is_over: there is nothing more to come.
        is_stuck: it is over because the service overlooks the key: nobody knows what would have come.
    """

    def __init__(self, wanted: Query, newest_first: bool) -> None:
        self.wanted = wanted
        self.newest_first = newest_first
        self.cursor: str | int = -1
        self.is_over = self.is_stuck = False
        self._been: set[str | int] = {self.cursor}
        self._before: list[bytes] = []

    def follow(self, page: RoamingPage) -> None:
        """Go on behind a page, if it leads anywhere.

        An empty page or no key ends the chain whatever `is_last` says; so do a key that leads nowhere new, and a page
        that comes twice. Where that can be no end, it is stuck: an end is a short page, and what comes twice there is
        the one message that the key named.
        """
        if page.is_last or page.is_empty or page.cursor is None:
            self.is_over = True
            return
        comes_twice = bool(page.entries) and page.entries == self._before
        if comes_twice or page.cursor in self._been:
            self.is_over = True
            self.is_stuck = len(page.entries) >= (2 if comes_twice else PAGE_SIZE)
            return
        self._been.add(page.cursor)
        self._before = page.entries
        self.cursor = page.cursor


async def fetch_page(
    rest: Rest,
    user: str,
    target_id: str,
    wanted: Query,
    cursor: str | int,
    newest_first: bool,
    patience: float = 0.0,
) -> RoamingPage:
    """Fetch one page.

    Args:
        rest: the app's REST interface.
        user: who asks.
        target_id: the thread or group.
        wanted: its filters go with the request; times are widened by 1 ms, because nobody says whether the
            service's bounds are inclusive.
        cursor: -1 to begin, then what the last page gave.
        newest_first: the direction.
        patience: how many seconds a service that answers nobody is waited for at the least.

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
        "pull_number": PAGE_SIZE,
        "is_positive": not newest_first,
        "msgType": ",".join(sorted(wire_types)),
        "startTime": max((wanted.since or 1) - 1, 0) if bounded else None,
        "endTime": (far if wanted.until is None else wanted.until + 1) if bounded else None,
        "userId": wanted.sender,
    }
    what = f"asking for the history of {target_id}"
    path = ("users", user, "messageroaming")
    content = await rest.content("POST", *path, what=what, body=body, repeatable=True, patience=patience)
    try:
        found = parse_page(content)
    except ProtocolError as error:
        raise ProtocolError(f"{what}: {error}", status=200) from None
    return RoamingPage(found.entries, found.cursor, found.is_last, found.is_empty)
