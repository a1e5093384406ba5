"""Checks that need a second user: history without joining, recalls by the owner, delivery, receipts.

Source: docs/protocol.md#thread-rights, docs/protocol.md#recall, docs/protocol.md#read-receipts.
"""

from __future__ import annotations

from imkit.errors import Forbidden
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination


async def _history_without_joining(examination: Examination) -> Seen:
    sample, second = examination.made, examination.second
    assert second is not None
    await sample.group.invite.aio(second.user)
    try:
        frame = await second.history.aio(second.thread(sample.thread.id), limit=1)
    except Forbidden as error:
        return Seen(f"{type(error).__name__}, {error.status}: {error.reason}", True)
    return Seen(f"{len(frame)} message was read", False)


SECOND_USER_CHECKS = (
    Check(
        name="history without joining",
        assumed="Only members of a thread can read its history.",
        ask=_history_without_joining,
        follows="A member of the group joins the thread first.",
        otherwise="history() needs no join() here; an error NotAMember is about the group.",
        source="thread-rights",
        needs="second user",
    ),
)
