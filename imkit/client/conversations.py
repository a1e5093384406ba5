"""REST calls about a user's own view: the list of conversations (会话) and the one-way delete (单向删除).

Source: docs/protocol.md#conversations, docs/protocol.md#one-way-delete.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from imkit.client.account import Account
from imkit.client.list_pages import LIST_PAGE_SIZE, cursor_pages
from imkit.client.user_ids import is_user_id
from imkit.errors import InvalidMessage
from imkit.hints import operation
from imkit.messages import Message
from imkit.repeated_warnings import logger_of_untrusted
from imkit.times import from_milliseconds
from imkit.wire.rest_message import message_from_json
from imkit.wire.untrusted_json import identifier, mapping, number, objects_in, text
from imkit.wire.uplink import wire_id

logger = logger_of_untrusted("imkit.client.lists")

FORGOTTEN_AT_ONCE = 20  # the most messages in one call
_LAST_DELETE_TIME = 10**18 - 1  # ms; the official SDK sends up to 18 digits


@dataclass(frozen=True, slots=True)
class ConversationEntry:
    """One entry of the list of conversations.

    Attributes:
        id: the group, or the other user.
        is_group: whether it is a group.
        unread: how many messages are unread.
        last_message: the newest message; `None` if there is none.
        pinned_at: when the user pinned it; `None` if it is not pinned.
    """

    id: str
    is_group: bool
    unread: int
    last_message: Message | None
    pinned_at: datetime | None


async def conversation_pages(account: Account) -> AsyncGenerator[list[ConversationEntry], None]:
    """Yield the conversations of the account's user, page by page. Entries of other kinds are left out."""
    path = ("sdk", "user", account.user, "user_channels", "list")
    what = operation("list_conversations", user=account.user)
    async for entries in cursor_pages(account, what, *path, params=_params, page=_page):
        yield [entry for entry in map(_entry, objects_in(entries)) if entry is not None]


def _params(cursor: str) -> dict[str, Any]:
    return {"limit": LIST_PAGE_SIZE, "cursor": cursor, "need_mark": "true", "needEmptySession": "false"}


def _page(answer: dict[str, Any]) -> tuple[object, str]:
    data = mapping(answer, "data")
    return data.get("channel_infos"), text(data, "cursor")


def _entry(found: dict[str, Any]) -> ConversationEntry | None:
    kind = text(found, "session_type").lower()
    name = text(found, "session_to")
    if kind == "chat":
        conversation = name.lower() if is_user_id(name) else ""
    else:
        conversation = identifier(found, "session_to") if kind.startswith("group") else ""
    if not conversation:
        logger.warning("an entry in the list of conversations is neither a group nor a user: it is left out")
        return None
    last = message_from_json(found.get("meta"))
    if last is not None and kind == "chat":
        last = replace(last, chat="user")
    pinned_at = number(found, "update_top_status_time") if found.get("is_top") is True else 0
    return ConversationEntry(
        id=conversation,
        is_group=kind != "chat",
        unread=max(0, number(found, "unread_num")),
        last_message=last,
        pinned_at=from_milliseconds(pinned_at) if pinned_at else None,
    )


async def forget_messages(account: Account, conversation: str, messages: Iterable[str]) -> None:
    """Delete messages of a group or thread for this user alone.

    Raises:
        InvalidMessage: there are no messages or too many, or one of them is not an id.
        IMError: the service's refusal, or the failure of the connection.
    """
    ids = [str(wire_id(message)) for message in dict.fromkeys(messages)]
    if not ids:
        raise InvalidMessage("no messages are named", hint="Give one message at least, or all before a time: before=.")
    if len(ids) > FORGOTTEN_AT_ONCE:
        hint = "Several calls can forget more; before= forgets all that are older."
        raise InvalidMessage(f"{FORGOTTEN_AT_ONCE} messages can be forgotten at once, not {len(ids)}", hint=hint)
    await _forget(account, conversation, (), {"msgIdList": ",".join(ids)})


async def forget_before(account: Account, conversation: str, before: int) -> None:
    """Delete the messages of a group or thread before a time (ms) for this user alone.

    Raises:
        InvalidMessage: the time is not after 1970, or too late.
        IMError: the service's refusal, or the failure of the connection.
    """
    if not 0 < before <= _LAST_DELETE_TIME:
        raise InvalidMessage("before must be later than 1970-01-01 UTC")
    await _forget(account, conversation, ("time",), {"delTime": before})


async def _forget(account: Account, conversation: str, path: tuple[str, ...], forgotten: dict[str, Any]) -> None:
    params = {"groupId": conversation, **forgotten, "resource": account.identity.resource}
    path = ("sdk", "message", "roaming", "group", "user", account.user, *path)
    what = operation("forget", conversation=conversation, user=account.user)
    await account.rest.request("DELETE", *path, what=what, params=params, repeatable=True)
