"""Checks, with one user, of what users add to messages: reactions, receipts, pins.

Source: docs/protocol.md#reactions, docs/protocol.md#read-receipts, docs/protocol.md#pinned-messages.
"""

from __future__ import annotations

from imkit.client import pins
from imkit.errors import AlreadyExists, LimitReached
from imkit.events import ReactionChanged
from imkit.messages import Message, Text
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.observation import (
    Refusal,
    answer_of,
    event_of,
    outcome,
    received_metas,
    recorded,
    refusal_of,
    seen_allowed,
    settled,
)
from imkit.service_check.sends import new_message, refusal_in, send_raw
from imkit.threads import Group
from imkit.wire.untrusted_json import mapping, objects, text

_REACTIONS = 20  # different ones to one message

# ---------------------------------------------------------------- reactions


async def _reaction(examination: Examination) -> Seen:
    thread, sent = examination.made.thread, await new_message(examination)
    first = await refusal_of(examination.session, thread.react.aio(sent, "👍"))
    again = await refusal_of(examination.session, thread.react.aio(sent, "👍"))
    told = f"the first: {outcome(first)}; the same once more: {outcome(again)}"
    return Seen(told, first is None and again is not None and isinstance(again.error, AlreadyExists))


async def _kinds_of_reactions(examination: Examination) -> Seen:
    thread, sent = examination.made.thread, await new_message(examination)
    for number in range(1, _REACTIONS + 2):
        refusal = await refusal_of(examination.session, thread.react.aio(sent, f"kind {number}"))
        if refusal is not None:
            is_limit = number == _REACTIONS + 1 and isinstance(refusal.error, LimitReached)
            return Seen(f"kind {number}: {refusal}", is_limit if number > 1 else None)
    return Seen(f"{_REACTIONS + 1} kinds were taken", False)


async def _notice_of_a_reaction(examination: Examination) -> Seen:
    session, thread, sent = examination.session, examination.made.thread, await new_message(examination)
    changes = session.events(ReactionChanged, replay=False)
    with recorded(session) as entries:
        await thread.react.aio(sent, "🍵")
        change = await event_of(changes, lambda event: event.message_id == sent.id)
        if change is None:
            return Seen("not told", False)
        froms = [
            text(entry, "from")
            for _, meta in received_metas(entries())
            for entry in objects(mapping(meta, "payload"), "data")
            if text(entry, "messageId") == sent.id
        ]
    where = {thread.id: "the thread", examination.made.group.id: "the group"}.get(change.to, f"{change.to:.40}")
    told = f"told; from {', '.join(froms)}, to {where}, by {change.by}, count {change.count}"
    return Seen(told, change.to == thread.id and change.by == session.user.lower())


async def _group_of_a_reaction(examination: Examination) -> Seen:
    session, sample, sent = examination.session, examination.made, await new_message(examination)
    await sample.thread.react.aio(sent, "🍵")

    async def count(group_id: str) -> int | Refusal:
        params = {"msgIdList": sent.id, "msgType": "groupchat", "groupId": group_id}
        answer = await answer_of(session, session.account.rest.get("reaction", "user", session.user, params=params))
        if isinstance(answer, Refusal):
            return answer
        return sum(len(objects(entry, "reactionList")) for entry in objects(answer, "data"))

    of_thread, of_group = await count(sample.thread.id), await count(sample.group.id)
    return Seen(f"found by the id of the thread: {of_thread}; by that of the group: {of_group}", of_thread == 1)


# ---------------------------------------------------------------- receipts


async def _asks_for_receipts(examination: Examination) -> Seen:
    return seen_allowed(refusal_in(await send_raw(examination, Text("please confirm"), asks_for_receipts=True)))


async def _readers(examination: Examination) -> Seen:
    thread, sent = examination.made.thread, await new_message(examination)
    return seen_allowed(await refusal_of(examination.session, thread.readers.aio(sent)))


async def _mark_read(examination: Examination) -> Seen:
    thread, group = examination.made.thread, examination.made.group
    for conversation in (thread, group):
        refusal = await refusal_of(examination.session, examination.paced(conversation.mark_read.aio))
        if refusal is not None:
            return Seen(f"{conversation.target()}: {refusal}", False)
    return Seen("allowed in the group and in the thread", True)


# ---------------------------------------------------------------- pins


async def _pin(examination: Examination) -> Seen:
    group = examination.made.group
    note = await examination.paced(group.send.aio, "a message to pin")
    refusal = await refusal_of(examination.session, group.pin.aio(note))
    if refusal is not None:
        return Seen(str(refusal), False)
    is_listed = await settled(lambda: _is_pinned(group, note), lambda listed: listed)
    return Seen(f"allowed, and {'' if is_listed else 'not '}in the list of pinned messages", is_listed)


async def _is_pinned(group: Group, note: Message) -> bool:
    return note.id in [message.id for message in await group.pinned.aio()]


async def _pin_in_a_thread(examination: Examination) -> Seen:
    session, thread, sent = examination.session, examination.made.thread, await new_message(examination)
    return seen_allowed(await refusal_of(session, pins.pin(session.account, thread.id, sent.id)))


async def _recall_of_a_pin(examination: Examination) -> Seen:
    group = examination.made.group
    note = await examination.paced(group.send.aio, "a pinned message to recall")
    await group.pin.aio(note)
    await examination.paced(group.recall.aio, note)
    is_listed = await settled(lambda: _is_pinned(group, note), lambda listed: not listed)
    return Seen(f"the message is {'still' if is_listed else 'no longer'} in the list of pinned messages", not is_listed)


RESPONSE_CHECKS = (
    Check(
        name="reaction",
        assumed="A member may react to a message of a thread. The same reaction again is refused as AlreadyExists.",
        ask=_reaction,
        follows="react() works, and counts a user once.",
        otherwise="Do not use react() if the first is refused; if the second is not, ask reactions() for the count.",
        source="reactions",
        needs="write",
    ),
    Check(
        name="kinds of reactions",
        assumed=f"A message takes {_REACTIONS} different reactions. One more is refused as LimitReached.",
        ask=_kinds_of_reactions,
        follows="LimitReached of react() means what it says.",
        otherwise="Another number of reactions is allowed here, or the refusal has another error.",
        source="reactions",
        needs="write",
    ),
    Check(
        name="notice of a reaction",
        assumed="A reaction is told to all members of a thread, also to its giver. The notice names the thread.",
        ask=_notice_of_a_reaction,
        follows="ReactionChanged comes for this session's own reactions, too.",
        otherwise="Do not wait for a ReactionChanged of this session's own react(), and do not go by its `to`.",
        source="reactions",
        needs="write",
    ),
    Check(
        name="groupId of a reaction",
        assumed="The list of reactions takes the id of the thread as groupId.",
        ask=_group_of_a_reaction,
        follows="Thread.reactions() works.",
        otherwise="Do not use Thread.reactions(); Message.reactions of messages() has what the history knows.",
        source="reactions",
        needs="write",
    ),
    Check(
        name="message that asks for receipts",
        assumed="The service takes a message that asks for read receipts.",
        ask=_asks_for_receipts,
        follows="Other clients may ask for receipts; imkit's messages do not.",
        otherwise="Nothing follows: imkit's messages do not ask for receipts.",
        source="read-receipts",
        needs="write",
    ),
    Check(
        name="readers of a message",
        assumed="The service tells who has read a message that did not ask for receipts.",
        ask=_readers,
        follows="Thread.readers() works.",
        otherwise="Do not use Thread.readers() here.",
        source="read-receipts",
        needs="write",
    ),
    Check(
        name="unread count cleared",
        assumed="A user may clear the unread count of a group and of a thread.",
        ask=_mark_read,
        follows="mark_read() works in both.",
        otherwise="Do not call mark_read() where it is refused.",
        source="unread-counts",
        needs="write",
    ),
    Check(
        name="pin",
        assumed="A member may pin a message of the group.",
        ask=_pin,
        follows="Group.pin() and Group.pinned() work.",
        otherwise="Do not use Group.pin() here; Easemob's sales staff can switch pins on.",
        source="pinned-messages",
        needs="write",
    ),
    Check(
        name="pin in a thread",
        assumed="A message of a thread can be pinned in the thread.",
        ask=_pin_in_a_thread,
        follows="imkit pins messages of groups only; other clients may pin in threads.",
        otherwise="Nothing follows: imkit pins messages of groups only.",
        source="pinned-messages",
        needs="write",
    ),
    Check(
        name="recall of a pinned message",
        assumed="A recall unpins a message.",
        ask=_recall_of_a_pin,
        follows="Group.pinned() has no recalled messages.",
        otherwise="Call Group.unpin() before Group.recall().",
        source="pinned-messages",
        needs="write",
    ),
)
