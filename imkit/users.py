"""`User`: the attributes of a user (用户属性), such as the nickname (昵称) and the avatar (头像).

Source: docs/protocol.md#user-attributes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imkit.cards import card, known
from imkit.escape import for_terminal


@dataclass(frozen=True, slots=True, repr=False)
class User:
    """A user with the attributes (用户属性) that it has given itself. `Session.users` returns them.

    Every attribute is a text that the user chose freely, so check an avatar's URL before you load it. imkit never does.

    Args:
        id: the user id.
        nickname: the nickname (昵称), or `None`.
        avatar_url: the URL of the avatar (头像), or `None`.
        mail: the e-mail address, or `None`.
        phone: the telephone number, or `None`.
        gender: the gender, or `None`; Easemob's clients write ``"1"`` for male and ``"2"`` for female.
        sign: the signature (签名), or `None`.
        birth: the birthday, or `None`.
        ext: further data of the application, or `None`.

    Example:
        >>> alice.update_profile(nickname="Alice 爱丽丝")
        >>> bob.users(["alice"])["alice"]
        <User alice 'Alice 爱丽丝'>

    Source: docs/protocol.md#user-attributes.
    """

    id: str
    nickname: str | None = None
    avatar_url: str | None = None
    mail: str | None = field(default=None, kw_only=True)
    phone: str | None = field(default=None, kw_only=True)
    gender: str | None = field(default=None, kw_only=True)
    sign: str | None = field(default=None, kw_only=True)
    birth: str | None = field(default=None, kw_only=True)
    ext: str | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        named = f" '{for_terminal(self.nickname, 64)}'" if self.nickname else ""
        return f"<User {for_terminal(self.id, 64)}{named}>"

    def _repr_html_(self) -> str:
        return card(
            "User", self.nickname or self.id, [f"id {self.id}", *known("avatar at", self.avatar_url)], text=self.sign
        )
