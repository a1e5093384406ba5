"""`Sample`: the group, the thread and the messages that a doctor's run makes, and removes again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from imkit.client.rate_limit import RateBucket
from imkit.errors import IMError
from imkit.messages import Body, Command, Custom, Location, Message, Text
from imkit.service_check.own_groups import GROUP_NAME, OwnGroups
from imkit.threads import Group, Thread

MESSAGES = 120


@dataclass(slots=True)
class Sample:
    """What a run has made.

    Attributes:
        group, parent, thread: the group, a message in it, and the thread on that message; the session's user owns them.
        sent: the messages of the thread, in the order in which they were sent.
    """

    group: Group
    parent: Message
    thread: Thread
    sent: list[Message] = field(default_factory=list)


async def make_sample(own_groups: OwnGroups, pace: RateBucket, progress: Callable[[str], None]) -> Sample:
    """Make a group with a thread and its messages. They are removed with the other groups of the run.

    Args:
        own_groups: makes the group.
        pace: each send waits for it.
        progress: called with a few words on what is under way.

    Raises:
        IMError: the service refused a part.
    """
    group = await own_groups.create()
    await pace.take()
    parent = await group.send.aio("imkit doctor: a message with a thread")
    thread = await group.create_thread.aio(GROUP_NAME, parent)
    with contextlib.suppress(IMError):  # whether its creator is in it at once is for a check to find out
        await thread.join.aio()
    sample = Sample(group, parent, thread)
    for number in range(MESSAGES):
        await pace.take()
        sample.sent.append(await thread.send.aio(_body(number)))
        progress(f"{number + 1} of {MESSAGES} messages sent")
    return sample


def _body(number: int) -> Body:
    kinds = (
        Text(f"text {number}"),
        Location(30.25, 120.15, f"place {number}"),
        Custom("imkit_doctor", {"number": str(number)}),
        Command(f"imkit_doctor_{number}"),
    )
    return kinds[number % len(kinds)]
