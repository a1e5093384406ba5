"""The password of the people of the demo community. It is drawn when the community is made.

With a password that everybody knows, any web page could log in to a sandbox on this machine. The password stays in the
data, which only their owner can read, so that it is the same after a restart.
"""

from __future__ import annotations

import base64
import secrets

from imkit.sandbox.server.demo.cast import PEOPLE, READER
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.users import Users

# Counters, because every store has that table. The first is in data that hold a community; its value is the seed.
COMMUNITY, _PASSWORD = "demo", "demo_password"
_EARLIER_PASSWORD = "demo"  # of every community that imkit 0.1 made


def draw_password(store: Store) -> str:
    """Draw a password, and keep it in the store."""
    number = secrets.randbits(62)
    store.insert("INSERT OR REPLACE INTO counters VALUES (?, ?)", (_PASSWORD, number))
    return _text(number)


def password_of_community(store: Store) -> str | None:
    """Return the password of the people of the community; None if the store holds none."""
    found = store.row("SELECT value FROM counters WHERE name = ?", (_PASSWORD,))
    return _text(found[0]) if found else None


def replace_fixed_password(store: Store, users: Users) -> None:
    """Draw a password for a community of an earlier version, whose people had one that everybody knows."""
    community = store.row("SELECT 1 FROM counters WHERE name = ?", (COMMUNITY,))
    if not community or password_of_community(store) is not None:
        return
    with store.transaction():
        password = draw_password(store)
        for user in (READER, *(person.user for person in PEOPLE)):
            if users.is_password(user, _EARLIER_PASSWORD):
                users.change_password(user, password)


def _text(number: int) -> str:
    return base64.b32encode(number.to_bytes(8)).decode().rstrip("=").lower()
