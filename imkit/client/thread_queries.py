"""What the service hands out of threads: details, lists page by page, last messages.

Source: fact sheet section 9.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from imkit.client.account import Account
from imkit.messages import Message
from imkit.times import from_milliseconds
from imkit.wire.rest_message import message_from_json
from imkit.wire.untrusted_json import mapping, number, objects, text

LIST_PAGE = 50
LAST_MESSAGES_BATCH = 20  # the most that one call takes


def learn_thread(account: Account, detail: dict[str, Any]) -> str:
    """Keep what the service told of a thread, and return its id (empty where it has none)."""
    thread_id = text(detail, "id")
    if thread_id:
        facts = account.known.threads[thread_id]
        facts.name = text(detail, "name") or facts.name
        facts.group_id = text(detail, "groupId") or facts.group_id
        facts.parent_id = text(detail, "msgId") or facts.parent_id
        facts.owner = text(detail, "owner") or facts.owner
        if number(detail, "created"):
            facts.created = from_milliseconds(number(detail, "created"))
        if "affiliations_count" in detail:
            facts.member_count = number(detail, "affiliations_count")
    return thread_id


async def last_messages(account: Account, thread_ids: Sequence[str]) -> dict[str, Message | None]:
    """Return the newest message of each thread, in the order given; `None` where there is none."""
    found: dict[str, Message | None] = dict.fromkeys(thread_ids)
    ids = list(found)
    for start in range(0, len(ids), LAST_MESSAGES_BATCH):
        body = {"threadIds": ids[start : start + LAST_MESSAGES_BATCH]}
        what = "asking for last messages"
        answer = await account.rest.request("POST", "thread", "message", what=what, body=body, repeatable=True)
        for entry in objects(answer, "entities"):
            thread_id = text(entry, "thread_id")
            if thread_id in found:
                found[thread_id] = message_from_json(entry.get("last_message"))
    return found


async def cursor_pages(account: Account, what: str, *path: str) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answers of a paged list, to its end.

    Some lists give a cursor with their last page too: an empty page ends them as well, and one that repeats.
    """
    cursor = ""
    seen: set[str] = set()
    while True:
        params = {"limit": LIST_PAGE, **({"cursor": cursor} if cursor else {})}
        answer = await account.rest.get(*path, what=f"asking for {what}", params=params)
        yield answer
        cursor = text(mapping(answer, "properties"), "cursor") or text(answer, "cursor")
        data = answer.get("data")
        entries = answer.get("entities") or (data.get("affiliations") if isinstance(data, dict) else data)
        if not cursor or cursor in seen or not entries:
            return
        seen.add(cursor)
