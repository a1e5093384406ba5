"""`Sample`: the group, the thread and the messages that a doctor's run makes, and removes again."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from imkit.client.rate_limit import RateBucket
from imkit.client.roaming import RoamingPage
from imkit.errors import AuthError, IMError, RateLimited, SessionClosed
from imkit.messages import Audio, Body, Combine, Command, Custom, File, Image, Location, Message, Text, Video
from imkit.portal import FirstErrorTaskGroup
from imkit.service_check.own_groups import GROUP_NAME, OwnGroups
from imkit.threads import Group, Thread

MESSAGES = 120
FILE = b"imkit doctor: a file\n"
_AT_ONCE = 4  # messages that leave together, so that several get the same millisecond
_TIMES_AT_ONCE = 3
_PICTURE_PIXELS = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole history, read page after page, and one page further than its end.

    Attributes:
        pages: the pages with messages, in the order in which they came.
        beyond: the answer to one more request after the last of them, if that gave a cursor: a page that is empty or
            repeats the last one, or the refusal in words.
        messages: all messages that have an id, in the order in which they came.
    """

    pages: list[RoamingPage]
    beyond: RoamingPage | str | None
    messages: list[Message] = field(init=False)

    def __post_init__(self) -> None:
        found = [message for page in self.pages for message in page.messages if message.id]
        object.__setattr__(self, "messages", found)


@dataclass(slots=True)
class Sample:
    """What a run has made.

    Attributes:
        group, parent, thread: the group, a message in it, and the thread on that message; the session's user owns them.
        sent: the messages of the thread that the service took, in the order in which they were sent.
        tried: the types of all messages that were sent.
        refused: by type of message, the first refusal of one.
        too_fast: how many messages the service refused as too many.
        readings: by whether the newest came first, the history of the thread as it was after the last send.
    """

    group: Group
    parent: Message
    thread: Thread
    sent: list[Message] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    refused: dict[str, IMError] = field(default_factory=dict)
    too_fast: int = 0
    readings: dict[bool, Reading] = field(default_factory=dict)

    def first(self, kind: str) -> Message | None:
        """Return the first message of a type, if the service took one."""
        return next((message for message in self.sent if message.type == kind), None)


async def make_sample(own_groups: OwnGroups, pace: RateBucket, progress: Callable[[str], None]) -> Sample:
    """Make a group with a thread and its messages. They are removed with the other groups of the run.

    Args:
        own_groups: makes the group.
        pace: each send waits for it.
        progress: called with a few words on what is under way.

    Raises:
        IMError: the service refused a part, or all messages of the thread.
    """
    group = await own_groups.create()
    await pace.take()
    parent = await group.send.aio("imkit doctor: a message with a thread")
    thread = await group.create_thread.aio(GROUP_NAME, parent)
    with contextlib.suppress(IMError):  # whether its creator is in it at once is for a check to find out
        await thread.join.aio()
    sample = Sample(group, parent, thread)
    await _Sends(sample, pace, progress).all()
    if not sample.sent:
        raise next(iter(sample.refused.values()))
    return sample


class _Sends:
    """Sends the messages of a sample. A refusal is noted there, and does not end the run."""

    def __init__(self, sample: Sample, pace: RateBucket, progress: Callable[[str], None]) -> None:
        self._sample = sample
        self._pace = pace
        self._progress = progress
        self._count = 0

    async def all(self) -> None:
        """Send first one message of each type, then some that leave together, then the others.

        The others do not wait for each other's answers, so that a slow service does not make the run slow.
        """
        sample, user = self._sample, self._sample.thread.account.user
        await self._send(Text("text with attributes", ext={"imkit_doctor": {"number": 1, "words": "工夫茶"}}))
        await self._send(Text("a reply"), reply_to=sample.sent[0] if sample.sent else None)
        await self._send(Text(f"@{user} a mention"), mention=[user])
        for body in _one_of_each_type(sample.sent):
            await self._send(body)
        for _ in range(_TIMES_AT_ONCE):
            for _ in range(_AT_ONCE):
                await self._pace.take()
            await self._send_all((Text(f"together {number}") for number in range(_AT_ONCE)), are_paced=True)
        await self._send_all(_plain_body(number) for number in range(self._count, MESSAGES))

    async def _send(self, body: Body, **more: Any) -> None:
        await self._pace.take()
        self._note(body, await self._answer(body, **more))

    async def _send_all(self, bodies: Iterable[Body], *, are_paced: bool = False) -> None:
        """Send messages without waiting for the answers in between.

        Args:
            bodies: what to send.
            are_paced: the pace has waited for all of them already.
        """
        sends = []
        async with FirstErrorTaskGroup() as group:
            for body in bodies:
                if not are_paced:
                    await self._pace.take()
                sends.append((body, group.create_task(self._answer(body))))
        for body, task in sends:
            self._note(body, task.result())

    async def _answer(self, body: Body, **more: Any) -> Message | IMError:
        self._count += 1
        self._progress(f"sending message {self._count} of {MESSAGES}")
        try:
            return await self._sample.thread.send.aio(body, **more)
        except (AuthError, SessionClosed):
            raise
        except IMError as error:
            return error

    def _note(self, body: Body, answer: Message | IMError) -> None:
        self._sample.tried.add(body.type)
        if isinstance(answer, Message):
            self._sample.sent.append(answer)
        else:
            self._sample.refused.setdefault(body.type, answer)
            self._sample.too_fast += isinstance(answer, RateLimited)


def _one_of_each_type(quotable: Sequence[Message]) -> list[Body]:
    from PIL import Image as Picture  # takes time to load

    picture = io.BytesIO()
    Picture.new("RGB", (_PICTURE_PIXELS, _PICTURE_PIXELS)).save(picture, "PNG")
    return [
        Location(30.25, 120.15, "Longjing Village"),
        Custom("imkit_doctor", {"number": "1"}),
        Command("imkit_doctor"),
        Image(picture.getvalue(), file_name="picture.png"),
        Audio(FILE, file_name="audio.mp3", duration=1),
        Video(FILE, file_name="video.mp4", duration=1),
        File(FILE, file_name="file.txt"),
        *([Combine("a bundle", list(quotable))] if quotable else []),
    ]


def _plain_body(number: int) -> Body:
    match number % 20:
        case 0:
            return Custom("imkit_doctor", {"number": str(number)})
        case 10:
            return Location(30.25, 120.15, f"place {number}")
        case 15:
            return Command(f"imkit_doctor_{number}")
        case _:
            return Text(f"text {number}")
