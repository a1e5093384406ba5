"""What REST calls tell about threads: a thread's details, and the last messages of threads.

Source: docs/protocol.md#thread-calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from imkit.client.account import Account
from imkit.errors import Forbidden, NotFound, ProtocolError
from imkit.hints import operation
from imkit.messages import Message
from imkit.portal import FirstErrorTaskGroup
from imkit.repeated_warnings import logger_of_untrusted
from imkit.times import from_milliseconds
from imkit.wire.rest_message import message_from_json
from imkit.wire.untrusted_json import identifier, number, objects, text

logger = logger_of_untrusted("imkit.client.lists")

LAST_MESSAGES_BATCH = 20  # the service takes at most so many thread ids in one call
_REQUESTS_AT_ONCE = 8


def learn_thread(account: Account, detail: dict[str, Any]) -> str:
    """Remember the details of a thread, and return its id, or `""` if the details have no id that can be used."""
    thread_id = identifier(detail, "id")
    if not thread_id:
        logger.warning("the details of a thread have no id: they are left out")
    else:
        created = number(detail, "created")
        counted = [name for name in ("affiliations_count", "affiliationsCount") if name in detail]
        account.known.threads[thread_id].update(
            name=text(detail, "name"),
            group_id=text(detail, "groupId") or text(detail, "parentId"),
            parent_id=text(detail, "msgId"),
            owner=text(detail, "owner"),
            created=from_milliseconds(created) if created else None,
            member_count=number(detail, counted[0]) if counted else None,
        )
    return thread_id


async def last_messages(account: Account, thread_ids: Sequence[str]) -> dict[str, Message | None]:
    """Return by thread id, in the order given, the newest message of each thread; `None`: it has no message."""
    found: dict[str, Message | None] = dict.fromkeys(thread_ids)
    ids = list(found)
    for start in range(0, len(ids), LAST_MESSAGES_BATCH):
        body = {"threadIds": ids[start : start + LAST_MESSAGES_BATCH]}
        what = operation("last_messages", user=account.user, thread=ids[0] if len(ids) == 1 else None)
        answer = await account.rest.request("POST", "thread", "message", what=what, body=body, repeatable=True)
        for entry in objects(answer, "entities"):
            thread_id = text(entry, "thread_id")
            if thread_id in found:
                found[thread_id] = message_from_json(entry.get("last_message"))
    return found


async def readable_last_messages(
    account: Account, thread_ids: Sequence[str]
) -> tuple[dict[str, Message | None], dict[str, NotFound | Forbidden]]:
    """Return by thread id the newest messages of the threads that this user can read, and the refusals of the others.

    The service answers for 20 threads at once, and refuses the whole call if one of them was destroyed or is closed to
    this user. Such a call is repeated in halves, and so is one whose answer cannot be read: then the newest message of
    one thread stays unknown (`None`), and the others are found.

    Raises:
        IMError: the service could not be reached, or did not answer.
    """
    newest: dict[str, Message | None] = {}
    refusals: dict[str, NotFound | Forbidden] = {}
    slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def ask(ids: Sequence[str]) -> None:
        try:
            async with slots:
                newest.update(await last_messages(account, ids))
        except (NotFound, Forbidden, ProtocolError) as error:
            if len(ids) == 1:
                if isinstance(error, ProtocolError):
                    logger.warning("the newest message of thread %s is not known: %s", ids[0], error)
                    newest[ids[0]] = None
                else:
                    refusals[ids[0]] = error
                return
            middle = len(ids) // 2
            await ask(ids[:middle])
            await ask(ids[middle:])

    async with FirstErrorTaskGroup() as group:
        for start in range(0, len(thread_ids), LAST_MESSAGES_BATCH):
            group.create_task(ask(thread_ids[start : start + LAST_MESSAGES_BATCH]))
    return newest, refusals
