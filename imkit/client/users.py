"""REST calls about users: their attributes (用户属性), such as the nickname and the avatar.

Source: docs/protocol.md#user-attributes.
"""

from __future__ import annotations

from collections.abc import Iterable

from imkit.client.account import Account
from imkit.client.user_ids import is_user_id
from imkit.errors import InvalidMessage
from imkit.hints import operation
from imkit.users import User
from imkit.wire.untrusted_json import mapping
from imkit.wire.user_attributes import FIELDS, user_from_json

USERS_BATCH = 100  # the service takes at most so many user ids in one call
_WIRE_NAMES = {field: name for name, field in FIELDS.items()}


async def fetch_users(account: Account, ids: Iterable[str]) -> dict[str, User]:
    """Return users by the ids as they were given. Those that the session knows are not asked for again.

    A text that cannot be a user id gets a user without attributes, as an unknown user does.

    Raises:
        InvalidMessage: one of `ids` is not a text.
        IMError: the subclass that fits the service's refusal or the failure of the connection.

    Source: docs/protocol.md#user-attributes.
    """
    known = account.known.users
    wanted, found = {}, {}
    for given in ids:
        if not isinstance(given, str):
            raise InvalidMessage(f"{given!r:.100} is not a user id", hint="Give user ids, such as group.members().")
        name = wanted[given] = given.lower()
        if name in known or not is_user_id(name):
            found[name] = known.get(name) or User(name)
    missing = [name for name in dict.fromkeys(wanted.values()) if name not in found]
    for start in range(0, len(missing), USERS_BATCH):
        batch = missing[start : start + USERS_BATCH]
        body = {"targets": batch, "properties": list(FIELDS)}
        what = operation("read_users", count=len(batch))
        answer = await account.rest.request("POST", "metadata", "user", "get", what=what, body=body, repeatable=True)
        data = mapping(answer, "data")
        for name in batch:
            found[name] = user_from_json(name, mapping(data, name))
            account.known.learn_user(found[name])
    return {given: found[name] for given, name in wanted.items()}


async def update_attributes(account: Account, **changes: str | None) -> None:
    """Change attributes of this session's user, by the fields of `User`. `None` leaves one as it is, `""` removes it.

    Raises:
        InvalidMessage: nothing is to be changed, or a value is not a text.
        TooLarge: a value is too long.
        IMError: another refusal, or the failure of the connection.

    Source: docs/protocol.md#user-attributes.
    """
    given = {field: value for field, value in changes.items() if value is not None}
    if not given:
        raise InvalidMessage("nothing is to be changed", hint=f"Give at least one of {', '.join(changes)}.")
    for field, value in given.items():
        if not isinstance(value, str):
            raise InvalidMessage(f"{field} must be a text, not {value!r:.80}")
    form = {_WIRE_NAMES[field]: value for field, value in given.items()}
    what = operation("update_profile", changed=" and ".join(given), user=account.user)
    await account.rest.request("PUT", "metadata", "user", account.user, what=what, form=form, repeatable=True)
    account.known.users.pop(account.user, None)
