"""Read receipts (已读回执): asks which users have read a message.

Source: docs/protocol.md#read-receipts.
"""

from __future__ import annotations

from typing import Any

from imkit.client.account import Account
from imkit.client.list_pages import LIST_PAGE_SIZE, ListPages, cursor_pages
from imkit.client.user_ids import MAX_USER_CHARACTERS
from imkit.hints import operation
from imkit.messages import Reader
from imkit.times import from_milliseconds
from imkit.wire.untrusted_json import mapping, number, objects_in, text
from imkit.wire.uplink import wire_id

MAX_READERS = 50_000  # of one message; a group of the service has up to 8,000 members
_WORDS_CHARACTERS = 5 * 1024  # of one receipt, which is no larger than a message


async def readers(account: Account, conversation_id: str, message_id: str) -> list[Reader]:
    """Return the users who have acknowledged a message of a group or a thread.

    Raises:
        IMError: the service's refusal, or the failure of the connection.
    """
    wire_id(message_id)  # raises for what is not the id of a message
    what = operation("list_readers", message=message_id, conversation=conversation_id, user=account.user)
    path = ("chatgroups", conversation_id, "acks", message_id)
    found: dict[str, Reader] = {}
    pages = ListPages(what, MAX_READERS)
    async for entries in cursor_pages(account, what, *path, params=_params, page=_page, pages=pages):
        for entry in objects_in(entries):
            at = from_milliseconds(number(entry, "timestamp"))
            if 0 < len(user := text(entry, "username")) <= MAX_USER_CHARACTERS:
                found[user] = Reader(user, at, text(entry, "ack_content")[:_WORDS_CHARACTERS])
    return list(found.values())


def _params(key: str) -> dict[str, Any]:
    return {"limit": LIST_PAGE_SIZE, **({"key": key} if key else {})}


def _page(answer: dict[str, Any]) -> tuple[object, str]:
    data = mapping(answer, "data")
    acks = mapping(data, "group_ack") or data  # SDK 5 reads both forms
    return acks.get("userlist"), "" if acks.get("is_last") is True else text(acks, "next_key")
