"""Users, their passwords and their tokens."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from dataclasses import dataclass

from imkit.sandbox.server.store import Store

_USER_ID = re.compile(r"[a-z0-9_.\-]{1,64}")  # fact sheet section 12, after lower-casing


@dataclass(frozen=True, slots=True)
class User:
    """A registered user."""

    name: str
    uuid: str
    nickname: str
    created: int


@dataclass(frozen=True, slots=True)
class Token:
    """Whose token it is and until when (ms). The app's own token has no user."""

    user: str | None
    expires: int


def user_id(name: object) -> str | None:
    """Return a user id as the service keeps it, lower-cased; None if it is not one (fact sheet sections 1 and 12).

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
    # A modest cost: this guards made-up passwords on a learning server, and a test registers hundreds of users.
    key = hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=1024, r=8, p=1, dklen=32)
    return f"{salt.hex()}${key.hex()}"


class People:
    """Users and tokens in the store.

    Example:
        >>> store = Store(None)
        >>> people = People(store)
        >>> with store.transaction():
        ...     user = people.register("alice", "secret")
        >>> people.password_fits("alice", "secret"), people.password_fits("alice", "guess")
        (True, False)
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: set[str] = set()
        store.on_commit(before=lambda: None, after_rollback=self._known.clear)

    def register(self, name: str, password: str | None, nickname: str = "") -> User:
        """Add a user. Without a password nobody can log in with one; the app server still issues tokens."""
        hashed = "" if password is None else _hash_password(password, secrets.token_bytes(16))
        user = User(name, str(uuid.uuid4()), nickname, self._store.clock())
        self._store.execute(
            "INSERT INTO users VALUES (?, ?, ?, ?, ?)", (name, user.uuid, hashed, nickname, user.created)
        )
        return user

    def find(self, name: str) -> User | None:
        """Return a user, or None."""
        found = self._store.row("SELECT name, uuid, nickname, created FROM users WHERE name = ?", (name,))
        return User(*found) if found else None

    def exists(self, name: str) -> bool:
        """Say whether there is such a user."""
        if name not in self._known and self._store.row("SELECT 1 FROM users WHERE name = ?", (name,)):
            self._known.add(name)
        return name in self._known

    def password_fits(self, name: str, password: str) -> bool:
        """Check a password."""
        found = self._store.row("SELECT password FROM users WHERE name = ?", (name,))
        if not found or not found[0]:
            return False
        salt = bytes.fromhex(found[0].partition("$")[0])
        return hmac.compare_digest(found[0], _hash_password(password, salt))

    def change_password(self, name: str, password: str) -> None:
        """Set a new password; the tokens made with the old one end."""
        hashed = _hash_password(password, secrets.token_bytes(16))
        self._store.execute("UPDATE users SET password = ? WHERE name = ?", (hashed, name))
        self._store.execute("DELETE FROM tokens WHERE user = ?", (name,))

    def remove(self, name: str) -> None:
        """Forget a user: no login, no token, no membership. What the user wrote stays."""
        for statement in (
            "DELETE FROM users WHERE name = ?",
            "DELETE FROM tokens WHERE user = ?",
            "DELETE FROM pending WHERE user = ?",
            "DELETE FROM devices WHERE user = ?",
        ):
            self._store.execute(statement, (name,))
        self._known.discard(name)

    def new_token(self, user: str | None, seconds: float) -> tuple[str, int]:
        """Issue a token; return it and when it ends (ms). Only its digest is kept."""
        token = "YWMt" + secrets.token_urlsafe(32)  # the service's tokens start so
        now = self._store.clock()
        expires = now + int(seconds * 1000)
        self._store.execute("INSERT INTO tokens VALUES (?, ?, ?)", (_digest(token), user or "", expires))
        # A day's grace, so that an old token is answered with "expired" and not with "never seen".
        self._store.execute("DELETE FROM tokens WHERE expires < ?", (now - 24 * 3600 * 1000,))
        return token, expires

    def token(self, token: str) -> Token | None:
        """Look a token up, expired or not."""
        found = self._store.row("SELECT user, expires FROM tokens WHERE digest = ?", (_digest(token),))
        return Token(found[0] or None, found[1]) if found else None
