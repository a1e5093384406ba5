"""Pages of the roaming history (消息漫游) exactly as a check asks for them, and the whole history of the sample.

`imkit.client.roaming.fetch_page` asks for 50 messages and for 1 ms more at each end of a range. So it hides what these
checks want to know.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from dataclasses import dataclass

from imkit.client.roaming import PAGE_SIZE, RoamingPage
from imkit.conversation import Conversation
from imkit.errors import MessageNotFound
from imkit.hints import operation
from imkit.messages import Message
from imkit.service_check.examination import Examination
from imkit.service_check.observation import Refusal, answer_of
from imkit.service_check.sample import Reading
from imkit.times import to_milliseconds
from imkit.wire.envelope import GROUP_DOMAIN
from imkit.wire.roaming_page import parse_page

_MOST_PAGES = 15  # of one reading: pages of 10 messages still hold the sample


@dataclass(frozen=True, slots=True)
class Asked:
    """What a check asks for; the times are in ms since the epoch, and `None` is sent as null.

    Args:
        start: -1, or a cursor.
        size: how many messages.
        newest_first: the direction.
        since: the field ``startTime``.
        until: the field ``endTime``.
        types: the field ``msgType``, such as ``"txt,img"``.
        sender: the field ``userId``.
    """

    start: str | int = -1
    size: int = PAGE_SIZE
    newest_first: bool = False
    since: int | None = None
    until: int | None = None
    types: str = ""
    sender: str | None = None


async def page_of(examination: Examination, asked: Asked, conversation: Conversation | None = None) -> RoamingPage:
    """Return one page of the sample's thread, or of another conversation.

    Raises:
        IMError: the service's refusal, or an answer that is not a page.
    """
    account = examination.session.account
    conversation = conversation or examination.made.thread
    body = {
        "queue": f"{conversation.id}@{GROUP_DOMAIN}",
        "start": asked.start,
        "end": -1,
        "pull_number": asked.size,
        "is_positive": not asked.newest_first,
        "msgType": asked.types,
        "startTime": asked.since,
        "endTime": asked.until,
        "userId": asked.sender,
    }
    what = operation("read_history", conversation=conversation.id, user=account.user)
    path = ("users", account.user, "messageroaming")
    found = parse_page(await account.rest.content("POST", *path, what=what, body=body, repeatable=True))
    return RoamingPage(found.entries, found.cursor, found.is_last, found.is_empty)


async def reading(examination: Examination, *, newest_first: bool = False) -> Reading:
    """Return the whole history of the sample's thread as `whole_history` does, for a check that judges by messages.

    Raises:
        MessageNotFound: the history has no messages, which tells nothing of its order, its pages or its filters.
        IMError: the service's refusal, or an answer that is not a page.
    """
    read = await whole_history(examination, newest_first=newest_first)
    if not read.messages:
        raise MessageNotFound("the history has no messages", hint="")
    return read


async def whole_history(examination: Examination, *, newest_first: bool = False) -> Reading:
    """Return the whole history of the sample's thread; it is read once, so it stays as it was after the last send.

    Raises:
        IMError: the service's refusal, or an answer that is not a page.
    """
    readings = examination.made.readings
    if newest_first not in readings:
        readings[newest_first] = await _read(examination, newest_first)
    return readings[newest_first]


async def _read(examination: Examination, newest_first: bool) -> Reading:
    """Read pages until one is empty or is repeated, whatever the service says of the last page."""
    pages = [await page_of(examination, Asked(newest_first=newest_first))]
    while (cursor := pages[-1].cursor) is not None and not pages[-1].is_empty:
        asked = page_of(examination, Asked(start=cursor, newest_first=newest_first))
        page = await answer_of(examination.session, asked)
        if isinstance(page, Refusal):
            if not pages[-1].is_last:
                raise page.error
            return Reading(pages, str(page))
        if page.is_empty or page.entries == pages[-1].entries or len(pages) == _MOST_PAGES:
            return Reading(pages, page)
        pages.append(page)
    return Reading(pages, None)


def milliseconds(message: Message) -> int:
    """Return the time of a message in ms since the epoch."""
    return to_milliseconds(message.time)


def ids(messages: list[Message]) -> list[str]:
    """Return the ids of messages, in their order."""
    return [message.id for message in messages]
