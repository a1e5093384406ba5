"""JIDs and queue names: who is meant on the wire (fact sheet sections 2 to 4)."""

from __future__ import annotations

from typing import Any

from imkit.wire import schema

PEOPLE = "easemob.com"  # users and the system
ROOMS = "conference.easemob.com"  # groups and threads

SYSTEM_QUEUE = f"sys@{PEOPLE}"  # notices; the SDK takes any name and compares names only (section 3)


def room_queue(room: str) -> str:
    """Return the name of the queue that carries a group's or thread's messages."""
    return f"{room}@{ROOMS}"


def user_queue(user: str) -> str:
    """Return the name of the queue that carries one-to-one messages with a user."""
    return f"{user}@{PEOPLE}"


def queue_jid(app_key: str, queue: str) -> Any:
    """Return a queue's JID.

    Example:
        >>> queue_jid("org#app", room_queue("21")).domain
        'conference.easemob.com'
    """
    name, _, domain = queue.rpartition("@")
    return schema.JID(appKey=app_key, name=name, domain=domain)


def queue_name(jid: Any) -> str:
    """Return the queue a JID names; names compare without case, as user ids do."""
    return f"{jid.name.lower()}@{jid.domain or ROOMS}"
