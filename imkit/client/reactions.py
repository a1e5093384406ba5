"""Reactions (表情回复) to messages: add one, remove one, list all with all of their users.

Source: docs/protocol.md#reactions.
"""

from __future__ import annotations

from typing import Any

from imkit.client.account import Account
from imkit.client.list_pages import LIST_PAGE_SIZE, ListPages, cursor_pages, listed_users
from imkit.client.user_ids import MAX_USER_CHARACTERS
from imkit.errors import InvalidMessage, ProtocolError
from imkit.hints import operation
from imkit.messages import Reaction
from imkit.wire.keyvalues import check_text
from imkit.wire.untrusted_json import mapping, number, objects, text, texts
from imkit.wire.uplink import wire_id

MAX_CHARACTERS = 128
MAX_REACTIONS = 1000  # different ones to one message; by default the service allows 20
MAX_USERS = 200_000  # of all reactions to one message; a group of the service has up to 8,000 members


async def react(account: Account, message_id: str, reaction: str) -> None:
    """Add a reaction of this user to a message.

    Raises:
        InvalidMessage: it is not a reaction.
        IMError: the service's refusal, or the failure of the connection.
    """
    body = {"msgId": str(wire_id(message_id)), "message": checked_reaction(reaction)}
    what = operation("react", message=message_id, reaction=reaction, user=account.user)
    await account.rest.request("POST", "reaction", "user", account.user, what=what, body=body)


async def unreact(account: Account, message_id: str, reaction: str) -> None:
    """Remove a reaction of this user; the errors are those of `react`."""
    params = {"msgId": str(wire_id(message_id)), "message": checked_reaction(reaction)}
    what = operation("unreact", message=message_id, reaction=reaction, user=account.user)
    await account.rest.request("DELETE", "reaction", "user", account.user, what=what, params=params)


async def reactions(account: Account, conversation_id: str, message_id: str) -> list[Reaction]:
    """Return all reactions to a message of a group or a thread.

    The service's list names the earliest users of each reaction; the others come in pages.

    Raises:
        IMError: the service's refusal, or the failure of the connection.
    """
    params = {"msgIdList": str(wire_id(message_id)), "msgType": "groupchat", "groupId": conversation_id}
    what = operation("list_reactions", message=message_id, conversation=conversation_id, user=account.user)
    answer = await account.rest.get("reaction", "user", account.user, what=what, params=params)
    entries = [entry for entry in objects(answer, "data") if text(entry, "msgId") == message_id]
    listed = [reaction for entry in entries for reaction in _listed(entry)]
    if len(listed) > MAX_REACTIONS:
        raise ProtocolError(f"{what}: {len(listed):,} different reactions came; at most {MAX_REACTIONS:,} are read")
    pages = ListPages(what, MAX_USERS)
    return [await _complete(account, message_id, reaction, pages) for reaction in listed]


def checked_reaction(reaction: object) -> str:
    """Return a reaction, or raise `InvalidMessage` if it cannot be one.

    Example:
        >>> checked_reaction("👍")
        '👍'
    """
    if not isinstance(reaction, str) or not reaction.strip() or len(reaction) > MAX_CHARACTERS:
        hint = f"Give an emoji such as '👍', or another text of 1 to {MAX_CHARACTERS} characters."
        raise InvalidMessage(f"{reaction!r:.160} is not a reaction", hint=hint)
    check_text("a reaction", reaction)
    return reaction


def _listed(entry: dict[str, Any]) -> list[Reaction]:
    return [
        Reaction(
            text(each, "reaction"), number(each, "count"), tuple(texts(each, "userList")), each.get("state") is True
        )
        for each in objects(entry, "reactionList")
    ]


async def _complete(account: Account, message_id: str, listed: Reaction, pages: ListPages) -> Reaction:
    """Return a reaction with all of its users."""
    if len(listed.users) >= listed.count:
        return listed
    what = operation("list_users_of_reaction", message=message_id, reaction=f"{listed.reaction:.40}")
    path = ("reaction", "user", account.user, "detail")

    def params(cursor: str) -> dict[str, Any]:
        # SDK 4 says `pageSize` and `currentPage`, SDK 5 and the documentation say `limit` and `cursor`.
        asked = {"msgId": message_id, "message": listed.reaction, "pageSize": LIST_PAGE_SIZE, "limit": LIST_PAGE_SIZE}
        return {**asked, **({"currentPage": cursor, "cursor": cursor} if cursor else {})}

    def page(answer: dict[str, Any]) -> tuple[object, str]:
        data = mapping(answer, "data")
        return data.get("reactionUserList") or data.get("userList"), text(data, "cursor")

    users: dict[str, None] = {}
    async for entries in cursor_pages(account, what, *path, params=params, page=page, pages=pages):
        users.update(dict.fromkeys(user for user in listed_users(entries) if len(user) <= MAX_USER_CHARACTERS))
    return Reaction(listed.reaction, max(listed.count, len(users)), tuple(users), listed.mine)
