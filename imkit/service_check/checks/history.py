"""Checks of what is in the roaming history (消息漫游) of the sample: each message, its time, its content, its marks.

Source: docs/protocol.md#roaming-history, docs/protocol.md#thread-marks, docs/protocol.md#thread-overview.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from imkit.errors import ConnectionLost, IMError, RateLimited, ServiceBusy, TimedOut
from imkit.messages import Attachment, Combine, Message
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.history_pages import Asked, ids, milliseconds, page_of, reading, whole_history

_APPEARS_SECONDS = 10.0
_PAUSE_SECONDS = 0.25
_PASSING = (ConnectionLost, RateLimited, ServiceBusy, TimedOut)


async def _types(examination: Examination) -> Seen:
    sample = examination.made
    taken = {message.type for message in sample.sent}
    refused = {kind: error for kind, error in sample.refused.items() if kind not in taken}
    words = [f"{kind}: {_refusal(error)}" for kind, error in refused.items()]
    # An error that says nothing about the type leaves it open.
    is_open = all(isinstance(error, _PASSING) for error in refused.values())
    return Seen(
        "; ".join([f"{len(taken)} of {len(sample.tried)} types were taken", *words]),
        not refused or (None if is_open else False),
    )


def _refusal(error: IMError) -> str:
    words = f"{error.status}: {error.reason}" if error.status is not None else error.args[0]
    return f"{type(error).__name__} ({words})"


async def _ids(examination: Examination) -> Seen:
    sent = examination.made.sent
    by_id = sorted(sent, key=lambda message: int(message.id))
    if [message.time for message in by_id] != sorted(message.time for message in sent):
        return Seen("an older message has a larger id", False)
    if by_id != sent:
        return Seen("ids grow with time, but they are not in the order of the sends", False)
    return Seen(f"the ids of {len(sent)} messages grow with time, in the order of the sends", True)


async def _delay(examination: Examination) -> Seen:
    """Wait for the newest message that the history keeps; this must be the first reading after the sends."""
    newest = next((message for message in reversed(examination.made.sent) if message.type != "cmd"), None)
    if newest is None:
        return Seen("no message was taken that the history keeps", None)
    began, asked = time.monotonic(), 0
    while True:
        page = await page_of(examination, Asked(size=10, newest_first=True))
        asked += 1
        waited = time.monotonic() - began
        if newest.id in ids(page.messages):
            late = "" if asked == 1 else f", after {waited:.1f} s"
            return Seen(f"the newest message was in answer {asked}{late}", asked == 1)
        if waited > _APPEARS_SECONDS:
            return Seen(f"after {waited:.0f} s the newest message was not there", False)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _complete(examination: Examination) -> Seen:
    there = Counter(ids((await whole_history(examination)).messages))
    sent = [message for message in examination.made.sent if message.type != "cmd"]
    missing = [message for message in sent if message.id not in there]
    twice = [message_id for message_id, count in there.items() if count > 1]
    seen = f"{len(sent) - len(missing)} of {len(sent)} messages are there"
    if missing:
        seen += f"; missing: {', '.join(sorted({message.type for message in missing}))}"
    if twice:
        seen += f"; {len(twice)} come twice"
    return Seen(seen, not missing and not twice)


async def _commands(examination: Examination) -> Seen:
    sent = {message.id for message in examination.made.sent if message.type == "cmd"}
    if not sent:
        return Seen("no command was taken", None)
    kept = sent & set(ids((await reading(examination)).messages))
    return Seen(f"{len(kept)} of {len(sent)} commands are in the history", not kept)


async def _contents(examination: Examination) -> Seen:
    there = {message.id: message for message in (await reading(examination)).messages}
    pairs = [(message, there[message.id]) for message in examination.made.sent if message.id in there]
    if not pairs:
        return Seen("no message that was sent is in the history", None)
    changed = {f"{name} of {sent.type}": None for sent, found in pairs for name in _changed_fields(sent, found)}
    if changed:
        return Seen(f"changed: {', '.join(changed)}", False)
    return Seen(f"{len(pairs)} messages came back as they were sent", True)


def _changed_fields(sent: Message, found: Message) -> list[str]:
    before, now = _content(sent), _content(found)
    return [name for name, value in before.items() if now.get(name) != value]


def _content(message: Message) -> Mapping[str, Any]:
    """Return what the sender has written, by the name of a column of a history."""
    body = message.body
    found: dict[str, Any] = {"type": message.type, "sender": message.sender.lower(), "text": message.text}
    found |= {"ext": message.ext, "quote": message.quote, "mentions": message.mentions}
    for name in ("lat", "lng", "params", "width", "duration"):
        found[name] = getattr(body, name, None)
    if isinstance(body, Attachment | Combine):
        found |= {"file_name": body.file_name, "file_size": body.file_size, "secret": body.secret}
    return found


async def _times(examination: Examination) -> Seen:
    there = {message.id: message for message in (await reading(examination)).messages}
    apart = [
        milliseconds(there[message.id]) - milliseconds(message)
        for message in examination.made.sent
        if message.id in there
    ]
    if not apart:
        return Seen("no message that was sent is in the history", None)
    if any(apart):
        return Seen(f"{sum(map(bool, apart))} of {len(apart)} times differ, by up to {max(map(abs, apart))} ms", False)
    return Seen(f"{len(apart)} times are the same", True)


async def _order(examination: Examination) -> Seen:
    oldest_first = (await reading(examination)).messages
    newest_first = (await reading(examination, newest_first=True)).messages
    keys = [(milliseconds(message), int(message.id)) for message in oldest_first]
    times = [key[0] for key in keys]
    tied = sum(count for count in Counter(times).values() if count > 1)
    ties = f"{tied} messages share a millisecond" if tied else "no two messages share a millisecond"
    if times != sorted(times):
        return Seen(f"oldest first, the times do not grow; {ties}", False)
    if keys != sorted(keys):
        return Seen(f"{ties}, and these are not in the order of their ids", False)
    if ids(newest_first) != ids(oldest_first)[::-1]:
        return Seen(f"newest first is not the reverse of oldest first; {ties}", False)
    return Seen(f"by time, then by id, in both directions; {ties}", True)


async def _thread_marks(examination: Examination) -> Seen:
    thread, messages = examination.made.thread, (await reading(examination)).messages
    marks = [message.thread for message in messages if message.thread is not None]
    wrong = [mark for mark in marks if mark != thread.target().thread]
    seen = f"{len(marks)} of {len(messages)} messages have it"
    if wrong:
        seen += f"; {len(wrong)} name another thread, group or parent message"
    return Seen(seen, not wrong and len(marks) == len(messages))


async def _group_history(examination: Examination) -> Seen:
    sample = examination.made
    page = await page_of(examination, Asked(newest_first=True), sample.group)
    found = ids(page.messages)
    of_thread = {message.id for message in sample.sent} & set(found)
    seen = f"{len(found)} messages on the first page, {len(of_thread)} of them of the thread"
    if sample.parent.id not in found:
        return Seen(f"{seen}; the parent message is not there", False if of_thread else None)
    return Seen(seen, not of_thread)


async def _overview(examination: Examination) -> Seen:
    sample = examination.made
    page = await page_of(examination, Asked(newest_first=True), sample.group)
    parent = next((message for message in page.messages if message.id == sample.parent.id), None)
    if parent is None:
        return Seen("the parent message is not there", None)
    if parent.overview is None:
        return Seen("it has none", False)
    overview, messages = parent.overview, (await reading(examination)).messages
    newest = messages[-1].id if messages else None
    last = overview.last_message
    wrong = [
        name
        for name, is_so in {
            "id": overview.thread_id == sample.thread.id,
            "name": overview.name == sample.thread.name,
            "group": overview.group_id == sample.group.id,
            "last message": (last.id if last else None) == newest,
        }.items()
        if not is_so
    ]
    seen = f"{overview.message_count} messages, and the history has {len(messages)}"
    if wrong:
        seen += f"; not as expected: {', '.join(wrong)}"
    return Seen(seen, not wrong and overview.message_count == len(messages))


HISTORY_CHECKS = (
    Check(
        name="types of messages",
        assumed="A thread takes messages of all nine types.",
        ask=_types,
        follows="Each of the nine bodies can be sent.",
        otherwise="Do not send what was refused; the words of the service say why.",
        source="content-types",
        needs="write",
    ),
    Check(
        name="ids",
        assumed="Ids of messages grow with time, in the order of the sends.",
        ask=_ids,
        follows="message_id orders messages as time does.",
        otherwise="Sort by time; messages() and thread.parent() may end too early.",
        source="answer-to-a-send",
        needs="write",
    ),
    Check(
        name="delay of the history",
        assumed="A message that was answered is in the history at once.",
        ask=_delay,
        follows="history() after send() has the message.",
        otherwise="Wait before history(). After a lost answer imkit may not find a message that has arrived.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="all messages",
        assumed="The history has each message that was sent, once.",
        ask=_complete,
        follows="history() is complete.",
        otherwise="history() leaves out messages that come twice, but it cannot have those that are missing.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="commands in the history",
        assumed="The history keeps no commands (透传).",
        ask=_commands,
        follows="history() has no rows of the type cmd.",
        otherwise='history() has rows of the type cmd: leave them out with frame[frame["type"] != "cmd"].',
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="contents",
        assumed="The history has each message as it was sent, with its attributes, quote and mentions.",
        ask=_contents,
        follows="Text, ext and payload of history() are what the sender wrote.",
        otherwise="The fields that are named differ from what the sender wrote.",
        source="content-types",
        needs="write",
    ),
    Check(
        name="time of a message",
        assumed="The answer to a send has the same time as the history.",
        ask=_times,
        follows="message.time of a sent message can be compared with the history.",
        otherwise="Take the time from the history, not from the message that send() returned.",
        source="answer-to-a-send",
        needs="write",
    ),
    Check(
        name="order",
        assumed="Pages are in the order of time, then of id. Newest first is the exact reverse.",
        ask=_order,
        follows="messages() and history() have the same order.",
        otherwise="history() sorts by time and id; messages() gives the order of the service.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="thread mark",
        assumed="Each message of a thread names its thread, its group and its parent message.",
        ask=_thread_marks,
        follows="thread_id, thread_name and group_id of history() are filled.",
        otherwise="Rows without the mark have their thread in group_id, and no thread_id.",
        source="thread-marks",
        needs="write",
    ),
    Check(
        name="history of the group",
        assumed="The history of a group has no messages of its threads.",
        ask=_group_history,
        follows="Loading a group and its threads gives each message once.",
        otherwise="Loading a group and its threads gives messages twice.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="thread overview",
        assumed="The parent message has an overview: the number of messages in the history, and the newest one.",
        ask=_overview,
        follows="Message.overview can be shown.",
        otherwise="Ask thread.last_message() and thread.history(), not Message.overview.",
        source="thread-overview",
        needs="write",
    ),
)
