"""The REST call for the pinned messages (置顶消息) of a group.

Source: docs/protocol.md#pinned-messages.
"""

from __future__ import annotations

from imkit.client.account import Account
from imkit.client.thread_queries import LIST_PAGE_SIZE
from imkit.errors import ProtocolError
from imkit.hints import operation
from imkit.messages import Message
from imkit.wire.rest_message import message_from_json
from imkit.wire.untrusted_json import mapping, objects, text

MAX_PINNED_PAGES = 10  # 500 messages; the service pins at most 100 in a group


async def pinned_messages(account: Account, group_id: str) -> list[Message]:
    """Return the pinned messages of a group, in the order of the service: the one that was pinned last comes first.

    Raises:
        ProtocolError: the list does not end.
        IMError: the subclass that fits the service's refusal or the failure of the connection.

    Source: docs/protocol.md#pinned-messages.
    """
    what = operation("list_pinned", group=group_id, user=account.user)
    path = ("sdk", "user", account.user, "user_channel", "pin")
    found: dict[str, Message] = {}
    cursor = ""
    for _ in range(MAX_PINNED_PAGES):
        params = {"to": group_id, "type": "groupchat", "limit": LIST_PAGE_SIZE, "cursor": cursor}
        data = mapping(await account.rest.get(*path, what=what, params=params), "data")
        entries = objects(data, "msg_infos")
        for entry in entries:
            message = message_from_json(entry.get("message"))
            if message is not None and message.id:
                found.setdefault(message.id, message)
        cursor = text(data, "cursor")
        if not cursor or not entries:
            return list(found.values())
    raise ProtocolError(f"{what}: the list does not end; at most {MAX_PINNED_PAGES} pages are read")
