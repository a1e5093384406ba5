"""Reads the paged lists of the service: asks for one page after the other, and ends a list that does not end by itself.

The lists of the service agree in that an answer names the cursor of the next page; they differ in the names of fields.
`Listing` in `paging` is what a program gets of them.

Source: docs/protocol.md#thread-calls, docs/protocol.md#group-and-user-calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from imkit.client.account import Account
from imkit.errors import ProtocolError
from imkit.hints import Operation
from imkit.wire.roaming_page import MAX_CURSOR_CHARACTERS
from imkit.wire.untrusted_json import mapping, text

LIST_PAGE_SIZE = 50
MAX_LIST_ENTRIES = 5_000_000  # of one list: fifty times the 100,000 threads that imkit is made for
MAX_LIST_PAGES = MAX_LIST_ENTRIES // LIST_PAGE_SIZE
_NAMES_OF_USERS = ("user", "userId", "memberId", "username")


def _cursor_params(cursor: str) -> dict[str, Any]:
    return {"limit": LIST_PAGE_SIZE, **({"cursor": cursor} if cursor else {})}


def _list_page(answer: dict[str, Any]) -> tuple[object, str]:
    """Return the entries of a page, and the cursor of the next page or `""`, from where the official SDKs look."""
    data = answer.get("data")
    listed = data.get("affiliations") if isinstance(data, dict) else data
    # An answer whose entries are in "data" has an empty list of "entities" as well.
    entries = answer.get("entities") or listed
    cursors = (text(mapping(answer, name), "cursor") for name in ("data", "properties"))
    return entries, next(filter(None, cursors), "") or text(answer, "cursor")


def listed_users(entries: object) -> list[str]:
    """Return the user ids in a list of a service: its strings, and what its objects name.

    Example:
        >>> listed_users(["alice", {"memberId": "bob"}, 7])
        ['alice', 'bob']
    """
    found = []
    for entry in entries if isinstance(entries, list) else ():
        named = entry if isinstance(entry, dict) else {"user": entry if isinstance(entry, str) else ""}
        found.append(next(filter(None, (text(named, name) for name in _NAMES_OF_USERS)), ""))
    return [user for user in found if user]


async def cursor_pages(
    account: Account,
    what: Operation,
    *path: str,
    params: Callable[[str], dict[str, Any]] = _cursor_params,
    page: Callable[[dict[str, Any]], tuple[object, str]] = _list_page,
    pages: ListPages | None = None,
) -> AsyncGenerator[object, None]:
    """Yield the entries of each page of a list: a list of any JSON values, or `None` for an empty page.

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
        yield entries
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
