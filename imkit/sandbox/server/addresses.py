"""JIDs and names of device queues: how the wire names a user, a conversation and a queue.

Source: docs/protocol.md#queues-and-synchronisation.
"""

from __future__ import annotations

from typing import Any

from imkit.wire import schema
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN

SYSTEM_QUEUE = f"sys@{USER_DOMAIN}"  # notices; the SDK accepts any queue name and only compares names


def conversation_queue(conversation: str) -> str:
    """Return the name of the queue that carries the messages of a group or thread."""
    return f"{conversation}@{GROUP_DOMAIN}"


def user_queue(user: str) -> str:
    """Return the name of the queue that carries one-to-one messages with a user."""
    return f"{user}@{USER_DOMAIN}"


def queue_jid(app_key: str, queue: str) -> Any:
    """Return the JID of a queue.

    Example:
        >>> queue_jid("org#app", conversation_queue("21")).domain
        'conference.easemob.com'
    """
    name, _, domain = queue.rpartition("@")
    return schema.JID(appKey=app_key, name=name, domain=domain)


def queue_name(jid: Any) -> str:
    """Return the name of the queue that a JID names. Names are lower-cased, as user ids are."""
    return f"{jid.name.lower()}@{jid.domain or GROUP_DOMAIN}"
