"""Checks of threads and messages: who may do what, and what a refusal really says.

Source: docs/protocol.md#thread-rights, docs/protocol.md#errors.
"""

from __future__ import annotations

from imkit.errors import NotFound
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination


async def _unknown_thread(examination: Examination) -> Seen:
    try:
        await examination.session.thread("1").refresh.aio()
    except NotFound as error:
        return Seen(f"{type(error).__name__}, {error.status}: {error.reason}", True)
    return Seen("thread 1 exists", None)


CONVERSATION_CHECKS = (
    Check(
        name="unknown thread",
        assumed="A thread that does not exist is refused as such.",
        ask=_unknown_thread,
        follows="ThreadNotFound means what it says.",
        otherwise="An error of another class may mean that a thread is gone.",
        source="errors",
        needs="write",
    ),
)
