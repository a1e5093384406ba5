"""`Sample`: the group, the thread and the messages that a doctor's run makes, and removes again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imkit.client.rate_limit import RateBucket
from imkit.errors import IMError
from imkit.messages import Body, Command, Custom, Location, Message, Text
from imkit.session import Session
from imkit.threads import Group, Thread

GROUP_NAME = "imkit doctor"  # an owner of the app who finds a leftover can tell what it is
MESSAGES = 120


@dataclass(slots=True)
class Sample:
    """What a run has made.

    Attributes:
        group, parent, thread: the group, a message in it, and the thread on that message; the session's user owns them.
        sent: the messages of the thread, in the order in which they were sent.
        left_over: what could not be removed at the end, in words for a reader.
    """

    group: Group
    parent: Message
    thread: Thread
    sent: list[Message] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)


@asynccontextmanager
async def sample_of(session: Session, pace: RateBucket) -> AsyncIterator[Sample]:
    """Make a group with a thread and its messages; at the end of the block remove them.

    Args:
        session: the login that makes and owns them.
        pace: each send waits for it.

    Raises:
        IMError: the service refused a part; what was made before is removed.
    """
    group = await session.create_group.aio(GROUP_NAME)
    left_over: list[str] = []
    try:
        parent = await group.send.aio("imkit doctor: a message with a thread")
        thread = await group.create_thread.aio(GROUP_NAME, parent)
        sample = Sample(group, parent, thread, left_over=left_over)
        for number in range(MESSAGES):
            await pace.take()
            sample.sent.append(await thread.send.aio(_body(number)))
        yield sample
    finally:
        try:
            await group.destroy.aio()  # its threads and their messages go with it
        except IMError as error:
            left_over.append(f"group {group.id} ({GROUP_NAME!r}): {error}")


def _body(number: int) -> Body:
    kinds = (
        Text(f"text {number}"),
        Location(30.25, 120.15, f"place {number}"),
        Custom("imkit_doctor", {"number": str(number)}),
        Command(f"imkit_doctor_{number}"),
    )
    return kinds[number % len(kinds)]
