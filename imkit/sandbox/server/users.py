"""Users, their passwords, their tokens and their attributes (用户属性)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imkit.sandbox.limits import Limits
from imkit.sandbox.server.store import Store

_USER_ID = re.compile(r"[a-z0-9_.\-]{1,64}")  # lower-cased; source: docs/protocol.md#limits
_EXPIRED_TOKEN_MS = 24 * 3600 * 1000  # an expired token is remembered so long: the answer is "expired", not "unknown"


_LONGEST_TOKEN_SECONDS = 100 * 365 * 24 * 3600  # "for ever"
_END_EARLIEST_TOKENS = (
    "DELETE FROM tokens WHERE digest IN "
    "(SELECT digest FROM tokens WHERE user = ? AND digest != ? ORDER BY expires DESC LIMIT -1 OFFSET ?)"
)


@dataclass(frozen=True, slots=True)
class User:
    """A registered user."""

    name: str
    uuid: str
    nickname: str
    created: int


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    Attributes:
        user: its user; None for the app's own token.
        expires: when it expires, in ms.
    """

    user: str | None
    expires: int


def user_id(name: object) -> str | None:
    """Return a user id as the service stores it, lower-cased; None if it is not a legal one.

    Source: docs/protocol.md#limits.

    Example:
        >>> user_id("Alice"), user_id("no spaces please")
        ('alice', None)
    """
    if not isinstance(name, str) or not _USER_ID.fullmatch(name.lower()):
        return None
    return name.lower()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _hash_password(password: str, salt: bytes) -> str:
    # A low cost is enough: the passwords of a learning server are made up, and tests register hundreds of users.
    key = hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=1024, r=8, p=1, dklen=32)
    return f"{salt.hex()}${key.hex()}"


class Users:
    """Stores users, tokens and attributes.

    Example:
        >>> store = Store(None)
        >>> users = Users(store)
        >>> with store.transaction():
        ...     user = users.register("alice", "secret")
        >>> users.is_password("alice", "secret"), users.is_password("alice", "guess")
        (True, False)
    """

    def __init__(self, store: Store, limits: Limits | None = None) -> None:
        self._store = store
        self._limits = limits or Limits()
        self._known: set[str] = set()
        store.on_commit(before=lambda: None, after_rollback=self._known.clear)

    def register(self, name: str, password: str | None, nickname: str = "") -> User:
        """Add a user. A user without a password can log in only with a token from the app server."""
        hashed = "" if password is None else _hash_password(password, secrets.token_bytes(16))
        user = User(name, str(uuid.uuid4()), nickname, self._store.clock())
        self._store.execute(
            "INSERT INTO users VALUES (?, ?, ?, ?, ?)", (name, user.uuid, hashed, nickname, user.created)
        )
        return user

    def find(self, name: str) -> User | None:
        """Return a user; None if there is none with this id."""
        found = self._store.row("SELECT name, uuid, nickname, created FROM users WHERE name = ?", (name,))
        return User(*found) if found else None

    def exists(self, name: str) -> bool:
        """Return whether there is a user with this id."""
        if name not in self._known and self._store.row("SELECT 1 FROM users WHERE name = ?", (name,)):
            self._known.add(name)
        return name in self._known

    def is_password(self, name: str, password: str) -> bool:
        """Return whether this is the user's password."""
        found = self._store.row("SELECT password FROM users WHERE name = ?", (name,))
        if not found or not found[0]:
            return False
        salt = bytes.fromhex(found[0].partition("$")[0])
        return hmac.compare_digest(found[0], _hash_password(password, salt))

    def change_password(self, name: str, password: str) -> None:
        """Set a new password and delete the user's tokens."""
        hashed = _hash_password(password, secrets.token_bytes(16))
        self._store.execute("UPDATE users SET password = ? WHERE name = ?", (hashed, name))
        self._store.execute("DELETE FROM tokens WHERE user = ?", (name,))

    def remove(self, name: str) -> None:
        """Delete a user with its tokens and queues. The user's messages stay."""
        for statement in (
            "DELETE FROM users WHERE name = ?",
            "DELETE FROM tokens WHERE user = ?",
            "DELETE FROM pending WHERE user = ?",
            "DELETE FROM devices WHERE user = ?",
            "DELETE FROM conversation_views WHERE user = ?",
            "DELETE FROM forgotten_messages WHERE user = ?",
            "DELETE FROM user_attributes WHERE user = ?",
            "DELETE FROM reports WHERE user = ?",
        ):
            self._store.execute(statement, (name,))
        self._known.discard(name)

    def attributes(self, names: Iterable[str]) -> dict[str, tuple[dict[str, str], int]]:
        """Return the attributes (用户属性) of users and when each user's were changed (ms), for users that have any."""
        found = self._store.rows(
            "SELECT user, attributes, modified FROM user_attributes WHERE user IN (SELECT value FROM json_each(?))",
            (json.dumps(list(names)),),
        )
        return {user: (json.loads(attributes), modified) for user, attributes, modified in found}

    def set_attributes(self, name: str, attributes: Mapping[str, str]) -> int:
        """Replace the attributes of a user; return the time of the change (ms)."""
        now = self._store.clock()
        self._store.execute(
            "INSERT OR REPLACE INTO user_attributes VALUES (?, ?, ?)",
            (name, json.dumps(dict(attributes), ensure_ascii=False), now),
        )
        return now

    def new_token(self, user: str | None, seconds: float) -> tuple[str, int]:
        """Issue a token for a user, or for the app (None); return it and when it expires (ms).

        The store keeps only the token's digest. A user who has too many tokens loses the one that expires first.
        """
        token = "YWMt" + secrets.token_urlsafe(32)  # the service's tokens begin with these letters
        now = self._store.clock()
        expires = now + int(min(seconds, _LONGEST_TOKEN_SECONDS) * 1000)
        digest = _digest(token)
        self._store.execute("INSERT INTO tokens VALUES (?, ?, ?)", (digest, user or "", expires))
        self._store.execute("DELETE FROM tokens WHERE expires < ?", (now - _EXPIRED_TOKEN_MS,))
        if user is not None:
            self._store.execute(_END_EARLIEST_TOKENS, (user, digest, self._limits.tokens_per_user - 1))
        return token, expires

    def find_token(self, token: str) -> Token | None:
        """Return a token, also an expired one; None if it is unknown."""
        found = self._store.row("SELECT user, expires FROM tokens WHERE digest = ?", (_digest(token),))
        return Token(found[0] or None, found[1]) if found else None
