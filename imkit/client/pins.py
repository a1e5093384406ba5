"""Pinned messages (置顶消息) of a group: pin one, unpin one, list all.

Source: docs/protocol.md#pinned-messages.
"""

from __future__ import annotations

from typing import Any

from imkit.client.account import Account
from imkit.client.list_pages import LIST_PAGE_SIZE, ListPages, cursor_pages
from imkit.hints import Operation, operation
from imkit.messages import Message
from imkit.wire.rest_message import message_from_json
from imkit.wire.untrusted_json import mapping, objects_in, text

MAX_PINNED = 500  # the service pins at most 100 messages in a group


async def pin(account: Account, group_id: str, message_id: str) -> None:
    """Pin a message of a group.

    Raises:
        IMError: the service's refusal, or the failure of the connection.
    """
    what = operation("pin", message=message_id, group=group_id, user=account.user)
    await _change(account, what, "POST", group_id, message_id)


async def unpin(account: Account, group_id: str, message_id: str) -> None:
    """Unpin a message of a group; the errors are those of `pin`."""
    what = operation("unpin", message=message_id, group=group_id, user=account.user)
    await _change(account, what, "DELETE", group_id, message_id)


async def _change(account: Account, what: Operation, method: str, group_id: str, message_id: str) -> None:
    body = {"to": group_id, "type": "groupchat", "pin_msg_id": message_id}
    params = {"resource": account.identity.resource}
    await account.rest.request(method, *_path(account), what=what, params=params, body=body)


def _path(account: Account) -> tuple[str, ...]:
    return ("sdk", "user", account.user, "user_channel", "pin")


async def pinned_messages(account: Account, group_id: str) -> list[Message]:
    """Return the pinned messages of a group, in the order of the service: the one that was pinned last comes first.

    Raises:
        ProtocolError: the list does not end.
        IMError: the subclass that fits the service's refusal or the failure of the connection.

    Source: docs/protocol.md#pinned-messages.
    """
    what = operation("list_pinned", group=group_id, user=account.user)

    def params(cursor: str) -> dict[str, Any]:
        return {"to": group_id, "type": "groupchat", "limit": LIST_PAGE_SIZE, "cursor": cursor}

    found: dict[str, Message] = {}
    pages = ListPages(what, MAX_PINNED)
    async for entries in cursor_pages(account, what, *_path(account), params=params, page=_page, pages=pages):
        for entry in objects_in(entries):
            message = message_from_json(entry.get("message"))
            if message is not None and message.id:
                found.setdefault(message.id, message)
    return list(found.values())


def _page(answer: dict[str, Any]) -> tuple[object, str]:
    data = mapping(answer, "data")
    return data.get("msg_infos"), text(data, "cursor")
