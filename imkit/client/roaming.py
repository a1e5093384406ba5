"""Roaming history (消息漫游): fetches one page, and follows each page's cursor to the next one (`PageChain.follow`).

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from imkit.client.rest import Rest
from imkit.errors import ProtocolError
from imkit.hints import operation
from imkit.messages import Message
from imkit.repeated_warnings import logger_of_untrusted
from imkit.times import to_milliseconds
from imkit.wire.downlink import decode_roamed
from imkit.wire.envelope import GROUP_DOMAIN
from imkit.wire.roaming_page import RawPage, parse_page

logger = logger_of_untrusted("imkit.client.roaming")

PAGE_SIZE = 50  # messages; the service allows no larger page
MAX_PAGES = 1_000_000  # of one chain: 10 million messages, the largest history that imkit is made for, are 200,000
_ASKED_FOR_A_PAGE = 3  # times, while the answer is not a page
_FAR_FUTURE = 4_102_444_800_000  # ms: the year 2100, later than any message also if this machine's clock is wrong
Order = Literal["oldest", "newest"]
# Called with the number of messages fetched, and with the number expected, or `None` if that is not known.
Progress = Callable[[int, int | None], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Query:
    """Which part of a history to fetch; the values are checked already.

    Args:
        since: inclusive, in ms since the epoch; `None`: from the beginning.
        until: exclusive, in ms since the epoch; `None`: to the end.
        types: the message types; empty: all.
        sender: the user id in lower case; `None`: all.
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
        """Whether a message matches the query. imkit checks each message, because a service may ignore a filter."""
        if self.types and message.type not in self.types:
            return False
        if self.sender is not None and message.sender.lower() != self.sender:
            return False
        return self.holds(to_milliseconds(message.time))

    def holds(self, moment: int) -> bool:
        """Whether a moment, in ms since the epoch, is in the time range."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


class RoamingPage(RawPage):
    """One page of roaming history: the entries as bytes, and the messages in them."""

    @property
    def messages(self) -> list[Message]:
        """The messages on the page, decoded. An entry that cannot be read becomes a message of type unknown."""
        return [message for entry in self.entries if (message := decode_roamed(entry)) is not None]


class PageChain:
    """A sequence of pages: one query, and the cursor for its next page.

    The service accepts a cursor only with the query and direction that it came with, so these never change.

    Args:
        wanted: the query.
        newest_first: the direction.

    Attributes:
        cursor: asks for the next page; -1 asks for the first one.
        is_over: there is no next page.
        is_stuck: the chain is over because the service ignores the cursor and sends the same page or cursor again, or
            because its pages do not end (`MAX_PAGES`). It is not known which messages are missing.

    Example:
        >>> chain = PageChain(Query(), newest_first=False)
        >>> chain.cursor
        -1
        >>> chain.follow(RoamingPage([b"first", b"second"], "cursor 1", is_last=False, is_empty=False))
        >>> chain.cursor, chain.is_over
        ('cursor 1', False)
        >>> chain.follow(RoamingPage([b"third"], None, is_last=True, is_empty=False))
        >>> chain.is_over, chain.is_stuck
        (True, False)
    """

    def __init__(self, wanted: Query, newest_first: bool) -> None:
        self.wanted = wanted
        self.newest_first = newest_first
        self.cursor: str | int = -1
        self.is_over = self.is_stuck = False
        self._used_cursors = {hash(repr(self.cursor))}  # not the cursors: a service chooses how long they are
        self._last_entries: list[bytes] = []

    def follow(self, page: RoamingPage) -> None:
        """Take the cursor of a page for the next one, or end the chain.

        The chain ends with a page that is marked as the last, is empty, or has no cursor. It also ends with a cursor
        that was used before, and with a page that is equal to the one before it. If a full page does that, the service
        ignores the cursor, and the chain is stuck. If a short page does it, the history has ended; such a page may
        repeat the one message that the cursor names.
        """
        if page.is_last or page.is_empty or page.cursor is None:
            self.is_over = True
            return
        is_repeated = bool(page.entries) and page.entries == self._last_entries
        cursor = hash(repr(page.cursor))
        if is_repeated or cursor in self._used_cursors:
            self.is_over = True
            self.is_stuck = len(page.entries) >= (2 if is_repeated else PAGE_SIZE)
            return
        if len(self._used_cursors) >= MAX_PAGES:
            logger.warning("a history has more than %d pages: the service's pages do not end", MAX_PAGES)
            self.is_over = self.is_stuck = True
            return
        self._used_cursors.add(cursor)
        self._last_entries = page.entries
        self.cursor = page.cursor


async def find_newest(rest: Rest, user: str, target_id: str, message_id: str, limit: int) -> Message | None:
    """Return one of the newest messages of a thread or a group by its id; `None` if it is not among them.

    Args:
        rest: the REST client.
        user: the user id of the login.
        target_id: the thread or group.
        message_id: the id.
        limit: how many of the newest messages are looked at.

    Raises:
        IMError: the service's refusal, or the failure of the connection.
    """
    chain = PageChain(Query(), newest_first=True)
    for _ in range(-(-limit // PAGE_SIZE)):
        page = await fetch_page(rest, user, target_id, chain.wanted, chain.cursor, chain.newest_first)
        found = next((message for message in page.messages if message.id == message_id), None)
        chain.follow(page)
        if found is not None or chain.is_over:
            return found
    return None


async def fetch_page(
    rest: Rest,
    user: str,
    target_id: str,
    wanted: Query,
    cursor: str | int,
    newest_first: bool,
    outage_seconds: float = 0.0,
) -> RoamingPage:
    """Fetch one page.

    Args:
        rest: the REST client.
        user: the user id of the login.
        target_id: the thread or group.
        wanted: the request carries its filters. Its times are widened by 1 ms on both sides, because it is not
            documented whether the service's bounds are inclusive; `Query.accepts` then leaves out what is too much.
        cursor: -1 for the first page, then the cursor of the page before.
        newest_first: the direction.
        outage_seconds: for at least so long, keep trying while the service answers no request at all.

    Raises:
        ProtocolError: the answer is not a page, three times.

    Source: docs/protocol.md#roaming-history.
    """
    has_bounds = wanted.since is not None or wanted.until is not None
    wire_types = {"txt" if kind == "combine" else kind for kind in wanted.types}
    body = {
        "queue": f"{target_id}@{GROUP_DOMAIN}",
        "start": cursor,
        "end": -1,
        "pull_number": PAGE_SIZE,
        "is_positive": not newest_first,
        "msgType": ",".join(sorted(wire_types)),
        "startTime": max((wanted.since or 1) - 1, 0) if has_bounds else None,
        "endTime": (_FAR_FUTURE if wanted.until is None else wanted.until + 1) if has_bounds else None,
        "userId": wanted.sender,
    }
    what = operation("read_history", conversation=target_id, user=user)
    path = ("users", user, "messageroaming")
    asked = 0
    while True:
        content = await rest.content(
            "POST", *path, what=what, body=body, repeatable=True, outage_seconds=outage_seconds
        )
        asked += 1
        try:
            found = parse_page(content)
        except ProtocolError as error:
            if asked >= _ASKED_FOR_A_PAGE:
                raise ProtocolError(f"{what}: {error.args[0]}", status=200) from None
        else:
            return RoamingPage(found.entries, found.cursor, found.is_last, found.is_empty)
