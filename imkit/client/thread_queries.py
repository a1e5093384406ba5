"""REST calls that ask about threads: a thread's details, paged lists, last messages.

Source: docs/protocol.md#thread-calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from imkit.client.account import Account
from imkit.errors import Forbidden, NotFound, ProtocolError
from imkit.hints import Operation, operation
from imkit.messages import Message
from imkit.repeated_warnings import logger_of_untrusted
from imkit.times import from_milliseconds
from imkit.wire.rest_message import message_from_json
from imkit.wire.roaming_page import MAX_CURSOR_CHARACTERS
from imkit.wire.untrusted_json import identifier, mapping, number, objects, text

logger = logger_of_untrusted("imkit.client.lists")

LIST_PAGE_SIZE = 50
MAX_LIST_ENTRIES = 5_000_000  # of one list: fifty times the 100,000 threads that imkit is made for
MAX_LIST_PAGES = MAX_LIST_ENTRIES // LIST_PAGE_SIZE
LAST_MESSAGES_BATCH = 20  # the service takes at most so many thread ids in one call
_REQUESTS_AT_ONCE = 8


def learn_thread(account: Account, detail: dict[str, Any]) -> str:
    """Remember the details of a thread, and return its id, or `""` if the details have no id that can be used."""
    thread_id = identifier(detail, "id")
    if not thread_id:
        logger.warning("the details of a thread have no id: they are left out")
    else:
        created = number(detail, "created")
        account.known.threads[thread_id].update(
            name=text(detail, "name"),
            group_id=text(detail, "groupId"),
            parent_id=text(detail, "msgId"),
            owner=text(detail, "owner"),
            created=from_milliseconds(created) if created else None,
            member_count=number(detail, "affiliations_count") if "affiliations_count" in detail else None,
        )
    return thread_id


async def last_messages(account: Account, thread_ids: Sequence[str]) -> dict[str, Message | None]:
    """Return by thread id, in the order given, the newest message of each thread; `None`: it has no message."""
    found: dict[str, Message | None] = dict.fromkeys(thread_ids)
    ids = list(found)
    for start in range(0, len(ids), LAST_MESSAGES_BATCH):
        body = {"threadIds": ids[start : start + LAST_MESSAGES_BATCH]}
        what = operation("last_messages", user=account.user, thread=ids[0] if len(ids) == 1 else None)
        answer = await account.rest.request("POST", "thread", "message", what=what, body=body, repeatable=True)
        for entry in objects(answer, "entities"):
            thread_id = text(entry, "thread_id")
            if thread_id in found:
                found[thread_id] = message_from_json(entry.get("last_message"))
    return found


async def readable_last_messages(
    account: Account, thread_ids: Sequence[str]
) -> tuple[dict[str, Message | None], dict[str, NotFound | Forbidden]]:
    """Return by thread id the newest messages of the threads that this user can read, and the refusals of the others.

    The service answers for 20 threads at once, and refuses the whole call if one of them was destroyed or is closed to
    this user. Such a call is repeated in halves, and so is one whose answer cannot be read: then the newest message of
    one thread stays unknown (`None`), and the others are found.

    Raises:
        IMError: the service could not be reached, or did not answer.
    """
    newest: dict[str, Message | None] = {}
    refusals: dict[str, NotFound | Forbidden] = {}
    slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def ask(ids: Sequence[str]) -> None:
        try:
            async with slots:
                newest.update(await last_messages(account, ids))
        except (NotFound, Forbidden, ProtocolError) as error:
            if len(ids) == 1:
                if isinstance(error, ProtocolError):
                    logger.warning("the newest message of thread %s is not known: %s", ids[0], error)
                    newest[ids[0]] = None
                else:
                    refusals[ids[0]] = error
                return
            middle = len(ids) // 2
            await ask(ids[:middle])
            await ask(ids[middle:])

    try:
        async with asyncio.TaskGroup() as group:
            for start in range(0, len(thread_ids), LAST_MESSAGES_BATCH):
                group.create_task(ask(thread_ids[start : start + LAST_MESSAGES_BATCH]))
    except BaseExceptionGroup as errors:  # a caller expects the error itself
        raise errors.exceptions[0] from None
    return newest, refusals


def _cursor_params(cursor: str) -> dict[str, Any]:
    return {"limit": LIST_PAGE_SIZE, **({"cursor": cursor} if cursor else {})}


def _list_page(answer: dict[str, Any]) -> tuple[object, str]:
    data = answer.get("data")
    listed = data.get("affiliations") if isinstance(data, dict) else data
    # An answer whose entries are in "data" has an empty list of "entities" as well.
    entries = answer.get("entities") or listed
    return entries, text(mapping(answer, "properties"), "cursor") or text(answer, "cursor")


async def cursor_pages(
    account: Account,
    what: Operation,
    *path: str,
    params: Callable[[str], dict[str, Any]] = _cursor_params,
    page: Callable[[dict[str, Any]], tuple[object, str]] = _list_page,
    pages: ListPages | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield each answer of a paged list.

    Some lists give a cursor with their last page too. So an empty page also ends a list, and so does a cursor that was
    followed already.

    Args:
        account: the login that asks.
        what: begins an error's message, and decides its hint.
        *path: the parts of the REST path.
        params: returns the query that asks for the page of a cursor; `""` stands for the first page.
        page: returns the entries of an answer, and the cursor of the next page, or `""`.
        pages: counts the pages of this list together with those of others.

    Raises:
        ProtocolError: an answer is not a page of a list, or the list does not end.
    """
    cursor = ""
    followed: set[int] = set()  # hashes: a service chooses how long its cursors are
    counted = ListPages(what) if pages is None else pages
    while True:
        answer = await account.rest.get(*path, what=what, params=params(cursor))
        entries, cursor = page(answer)
        count = counted.count(entries)
        yield answer
        if not cursor or hash(cursor) in followed or not count:
            return
        if len(cursor) > MAX_CURSOR_CHARACTERS:
            raise ProtocolError(f"{what}: the cursor has {len(cursor):,} characters")
        followed.add(hash(cursor))


class ListPages:
    """Counts the pages of one list, which a service must not let grow without end.

    Args:
        what: begins an error's message, and decides its hint.
        most: the most entries; `None`: `MAX_LIST_ENTRIES`.
    """

    def __init__(self, what: Operation, most: int | None = None) -> None:
        self._what = what
        self._most_entries = MAX_LIST_ENTRIES if most is None else most
        self._most_pages = MAX_LIST_PAGES if most is None else most // LIST_PAGE_SIZE
        self._pages = self._entries = 0

    def count(self, listed: object) -> int:
        """Return how many entries a page has; a missing list has none.

        Raises:
            ProtocolError: it is not a list, so this is not the end of one; or there are too many entries or pages.
        """
        if not isinstance(listed, list | None):
            raise ProtocolError(f"{self._what}: a {type(listed).__name__} came, not a list")
        self._pages += 1
        self._entries += len(listed or ())
        if self._pages > self._most_pages or self._entries > self._most_entries:
            limits = f"at most {self._most_entries:,} entries on {self._most_pages:,} pages are read"
            raise ProtocolError(f"{self._what}: the list does not end; {limits}")
        return len(listed or ())
