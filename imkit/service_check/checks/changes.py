"""Checks of what changes leave in the roaming history (消息漫游): recalls, edits, reactions, another name, deletions.

Source: docs/protocol.md#recall, docs/protocol.md#editing, docs/protocol.md#reactions, docs/protocol.md#thread-marks,
docs/protocol.md#one-way-delete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imkit.client.conversations import FORGOTTEN_AT_ONCE
from imkit.events import ThreadChanged
from imkit.messages import Command, Message, Text
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.history_pages import Asked, ids, milliseconds, page_of, reading
from imkit.service_check.observation import Refusal, answer_of, event_of, settled
from imkit.service_check.own_groups import GROUP_NAME
from imkit.service_check.sends import kept_message, new_message, new_thread
from imkit.threads import Thread

_REACTION = "🍵"
_READ_OF_A_REACTION = ("reaction", "count", "userList")
_SOME_MESSAGES = 6
_SHOWN_FIELDS = 10


async def _newest(
    examination: Examination, is_so: Callable[[Mapping[str, Message]], bool], thread: Thread | None = None
) -> Mapping[str, Message]:
    """Return the newest messages of a thread by id, once they are so; or after a while as they are."""

    async def ask() -> Mapping[str, Message]:
        page = await page_of(examination, Asked(newest_first=True), thread)
        return {message.id: message for message in page.messages}

    return await settled(ask, is_so)


# ---------------------------------------------------------------- recalls


async def _recalled(examination: Examination) -> Seen:
    sent = await kept_message(examination)
    await examination.paced(examination.made.thread.recall.aio, sent)
    left = (await _newest(examination, lambda found: sent.id not in found)).get(sent.id)
    if left is None:
        return Seen("gone", True)
    return Seen(f"still there: type {left.type}, {'with' if left.text else 'without'} its text", False)


async def _counts(examination: Examination) -> Seen:
    thread = examination.made.thread
    before = await _count(examination)
    if before is None:
        return Seen("the parent message has no overview", None)
    sent = await new_message(examination)
    counts = {"a text": (await _count(examination, before + 1), before + 1)}
    await examination.paced(thread.send.aio, Command("imkit_doctor"))
    counts["a command"] = await _count(examination, before + 1), before + 1
    changes = examination.session.events(ThreadChanged, replay=False)
    await examination.paced(thread.recall.aio, sent)
    counts["the recall of the text"] = await _count(examination, before), before
    told_counts: list[int | None] = []  # also those of notices of the messages before, which may come late

    def is_of_recall(event: ThreadChanged) -> bool:
        if event.thread_id != thread.id or event.message_count is None:
            return False
        told_counts.append(event.message_count)
        return event.message_count == before

    await event_of(changes, is_of_recall)
    told = f"{told_counts[-1]} in the notice" if told_counts else "no notice"
    seen = ", ".join(f"{count} after {what}" for what, (count, _) in counts.items())
    agrees = all(count == expected for count, expected in counts.values())
    return Seen(f"{before}, then {seen} ({told})", agrees and (not told_counts or told_counts[-1] == before))


async def _count(examination: Examination, expected: int | None = None) -> int | None:
    """Return the number of messages in the overview, once it is as expected; or after a while as it is."""

    async def ask() -> int | None:
        sample = examination.made
        page = await page_of(examination, Asked(newest_first=True), sample.group)
        overviews = [message.overview for message in page.messages if message.id == sample.parent.id]
        return overviews[0].message_count if overviews and overviews[0] is not None else None

    return await settled(ask, lambda count: expected is None or count == expected)


async def _last_message(examination: Examination) -> Seen:
    thread = examination.made.thread
    kept = await new_message(examination, "the last message but one")
    recalled = await new_message(examination, "the last message")
    before = await settled(thread.last_message.aio, lambda last: last is not None and last.id == recalled.id)
    await examination.paced(thread.recall.aio, recalled)
    after = await settled(thread.last_message.aio, lambda last: last is None or last.id != recalled.id)
    if before is None or before.id != recalled.id:
        return Seen("before the recall it was not the newest one", False)
    if after is None or after.id != kept.id:
        words = "none" if after is None else "the recalled one" if after.id == recalled.id else "an older one"
        return Seen(f"after the recall it is {words}", False)
    return Seen("after the recall it is the one before", True)


# ---------------------------------------------------------------- edits, reactions, another name


async def _edited(examination: Examination) -> Seen:
    sent = await kept_message(examination, "before the edit")
    await examination.paced(examination.made.thread.edit.aio, sent, "after the edit")
    found = await _newest(examination, lambda found: sent.id in found and found[sent.id].edit_count > 0)
    now = found.get(sent.id)
    if now is None:
        return Seen("the message is not there under its id", False)
    facts = {
        "the new text": now.body == Text("after the edit"),
        "edit_count 1": now.edit_count == 1,
        "edited_at": now.edited_at is not None,
        "the time of sending": milliseconds(now) == milliseconds(sent),
        "the sender": now.sender == sent.sender,
        "one message": sum(message.text in ("before the edit", "after the edit") for message in found.values()) == 1,
    }
    there = ", ".join(name for name, is_so in facts.items() if is_so)
    lacking = ", ".join(name for name, is_so in facts.items() if not is_so)
    return Seen(f"it has: {there}" + (f"; not: {lacking}" if lacking else ""), not lacking)


async def _reacted(examination: Examination) -> Seen:
    sent = await kept_message(examination)
    await examination.made.thread.react.aio(sent, _REACTION)
    found = await _newest(examination, lambda found: sent.id in found and bool(found[sent.id].reactions))
    reactions = found[sent.id].reactions if sent.id in found else ()
    if not reactions:
        return Seen("the message has no reactions there", False)
    fields = sorted(reactions[0])[:_SHOWN_FIELDS]
    expected = {"reaction": _REACTION, "count": 1, "userList": [examination.session.user]}
    wrong = [name for name in _READ_OF_A_REACTION if reactions[0].get(name) != expected[name]]
    seen = f"fields: {', '.join(fields)}"
    return Seen(seen + (f"; not as expected: {', '.join(wrong)}" if wrong else ""), not wrong)


async def _renamed(examination: Examination) -> Seen:
    thread = examination.made.thread
    old_name, new_name = thread.name, f"{GROUP_NAME} 2"
    older = await kept_message(examination)
    await thread.rename.aio(new_name)
    newer = await new_message(examination)
    found = await _newest(examination, lambda found: newer.id in found)
    await thread.rename.aio(old_name or GROUP_NAME)
    names = [_name_in(found.get(message.id)) for message in (older, newer)]
    words = {old_name: "the old name", new_name: "the new name", None: "no name"}
    seen = [words.get(name, "another name") for name in names]
    return Seen(f"{seen[0]} in an older message, {seen[1]} in a newer one", names == [old_name, new_name])


def _name_in(message: Message | None) -> str | None:
    return message.thread.name if message is not None and message.thread is not None else None


# ---------------------------------------------------------------- deletions for oneself


async def _forgotten(examination: Examination) -> Seen:
    thread = await new_thread(examination, examination.session)
    sent = [await kept_message(examination, f"text {number}", thread) for number in range(3)]
    await thread.forget.aio(sent[1])
    left = await _newest(examination, lambda found: sent[1].id not in found, thread)
    others = sum(message.id in left for message in (sent[0], sent[2]))
    gone = "is still there" if sent[1].id in left else "is gone"
    return Seen(f"the message {gone}, {others} of 2 others are there", sent[1].id not in left and others == 2)


async def _forgotten_before(examination: Examination) -> Seen:
    thread = await new_thread(examination, examination.session)
    sent: list[Message] = []
    while len(sent) < _SOME_MESSAGES and (len(sent) < 2 or sent[0].time == sent[-1].time):
        sent.append(await kept_message(examination, f"text {len(sent)}", thread))
    edge = sent[-1].time
    older = {message.id for message in sent if message.time < edge}
    if not older:
        return Seen("all messages had the same millisecond", None)
    await thread.forget.aio(before=edge)
    left = await _newest(examination, lambda found: not older & found.keys(), thread)
    seen = f"{len(older - left.keys())} of {len(older)} older messages are gone"
    is_exclusive = sent[-1].id in left
    seen += f", and the one of that millisecond {'stays' if is_exclusive else 'is gone, too'}"
    return Seen(seen, is_exclusive and not older & left.keys())


async def _foreign_ids(examination: Examination) -> Seen:
    """Delete messages of the sample in the name of another thread, one more than imkit asks for at once."""
    account, foreign = examination.session.account, examination.made.sent[: FORGOTTEN_AT_ONCE + 1]
    before = ids((await reading(examination)).pages[0].messages)
    thread = await new_thread(examination, examination.session)
    path = ("sdk", "message", "roaming", "group", "user", account.user)
    params = {"groupId": thread.id, "msgIdList": ",".join(message.id for message in foreign)}
    params["resource"] = account.identity.resource
    answer = await answer_of(examination.session, account.rest.request("DELETE", *path, params=params))
    if isinstance(answer, Refusal):
        return Seen(f"{len(foreign)} ids: {answer}", False)
    page = await page_of(examination, Asked())
    gone = len({message.id for message in foreign} & set(before) - {message.id for message in page.messages})
    return Seen(f"{len(foreign)} ids: allowed; {gone} of the messages are gone", not gone)


CHANGE_CHECKS = (
    Check(
        name="recalled message",
        assumed="A recalled message is gone from the history.",
        ask=_recalled,
        follows="history() has no row for it.",
        otherwise="history() has a row for it: a recalled text can still be read there.",
        source="recall",
        needs="write",
    ),
    Check(
        name="number of messages",
        assumed="A thread's number of messages is that of its history: no commands, and a recall lowers it.",
        ask=_counts,
        follows='The note in frame.attrs["imkit"] says how many messages may be missing.',
        otherwise='Do not trust message_count and the note in frame.attrs["imkit"]: count the rows.',
        source="thread-notices",
        needs="write",
    ),
    Check(
        name="last message after a recall",
        assumed="When the newest message is recalled, the one before is the last message of the thread.",
        ask=_last_message,
        follows="thread.last_message() is the newest message of the history.",
        otherwise="Do not trust thread.last_message(): ask for messages(order='newest', limit=1).",
        source="thread-calls",
        needs="write",
    ),
    Check(
        name="edited message",
        assumed="The history has an edited message once, with its new text, its own time, and a mark of the edit.",
        ask=_edited,
        follows="edit_count and edited_at of history() are filled.",
        otherwise="Do not trust edit_count and edited_at of history(); live events tell of edits.",
        source="editing",
        needs="write",
    ),
    Check(
        name="reactions in the history",
        assumed="A message in the history has its reactions: reaction, count and userList.",
        ask=_reacted,
        follows="The column reactions of history() is filled.",
        otherwise="Ask thread.reactions(message): history() does not have them all.",
        source="reactions",
        needs="write",
    ),
    Check(
        name="history after a rename",
        assumed="A message keeps the name that the thread had when it was sent.",
        ask=_renamed,
        follows="thread_name of history() is the name of that time.",
        otherwise="Do not tell threads apart by thread_name: thread_id stays the same.",
        source="thread-marks",
        needs="write",
    ),
    Check(
        name="delete for oneself",
        assumed="A message that is deleted for oneself is gone from one's own history.",
        ask=_forgotten,
        follows="forget(message) does what it says.",
        otherwise="Do not trust forget(message).",
        source="one-way-delete",
        needs="write",
    ),
    Check(
        name="delete for oneself by time",
        assumed="delTime is exclusive: a message of that very millisecond stays.",
        ask=_forgotten_before,
        follows="forget(before=…) deletes what is older.",
        otherwise="Give forget(before=…) a time 1 ms earlier.",
        source="one-way-delete",
        needs="write",
    ),
    Check(
        name="delete of other messages",
        assumed=f"{FORGOTTEN_AT_ONCE + 1} ids can be deleted at once; ids of another conversation are ignored.",
        ask=_foreign_ids,
        follows=f"forget() takes {FORGOTTEN_AT_ONCE} messages, which is on the safe side.",
        otherwise=f"forget() takes {FORGOTTEN_AT_ONCE} messages. Call it on the thread that the message was sent to.",
        source="one-way-delete",
        needs="write",
    ),
)
