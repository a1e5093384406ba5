"""Checks of what reaches a second user: messages, receipts, notices, unread counts.

Source: docs/protocol.md#queues-and-synchronisation, docs/protocol.md#notices, docs/protocol.md#read-receipts.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

from imkit.client.roaming import Query, fetch_page
from imkit.events import (
    ConversationChanged,
    MessageEdited,
    MessageRead,
    MessageRecalled,
    MessageReceived,
    PinChanged,
    ReactionChanged,
    ThreadChanged,
)
from imkit.messages import Command, Text
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.observation import (
    event_of,
    in_history,
    received_metas,
    recorded,
    refusal_of,
    seen_told,
    settled,
)
from imkit.service_check.sends import new_message, new_thread, refusal_in, send_raw
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.wire.envelope import GROUP_DOMAIN
from imkit.wire.untrusted_json import text

_MESSAGES = 30
_RECEIVING_SECONDS = 15.0
_UNREAD = 2


# ---------------------------------------------------------------- messages


async def _delivery(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    messages = second.events(MessageReceived, replay=False)
    texts = [f"delivered {number}" for number in range(_MESSAGES)]
    sent_at: dict[str, float] = {}
    came: list[str] = []
    delays: list[float] = []

    def is_complete(event: MessageReceived) -> bool:
        words = event.message.body.text if isinstance(event.message.body, Text) else ""
        if event.message.to == thread.id and words in sent_at:
            came.append(words)
            delays.append(time.monotonic() - sent_at[words])
        return len(set(came)) == _MESSAGES

    async def send(words: str) -> None:
        await examination.pace.take()
        sent_at[words] = time.monotonic()
        await examination.made.thread.send.aio(words)

    await asyncio.gather(event_of(messages, is_complete, _RECEIVING_SECONDS), *(send(words) for words in texts))
    lost = [words for words in texts if words not in came]
    twice = len(came) - len(set(came))
    is_ordered = list(dict.fromkeys(came)) == [words for words in texts if words in came]
    how = "in order" if is_ordered else "not in order"
    delay = f", {median(delays):.2f} s after the send (median)" if delays else ""
    found = f"{len(set(came))} of {_MESSAGES} came, {how}, {twice} of them twice{delay}"
    return Seen(found, is_ordered and not lost and not twice)


async def _queue(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    messages = second.events(MessageReceived, replay=False)
    with recorded(second) as entries:
        sent = await new_message(examination)
        if await event_of(messages, lambda event: event.message.id == sent.id) is None:
            return Seen("the message did not come", None)
        metas = list(received_metas(entries()))
    queues = {(text(queue, "name"), text(queue, "domain")) for queue, meta in metas if str(meta.get("id")) == sent.id}
    named = ", ".join(f"{name}@{domain}" for name, domain in queues)
    return Seen(f"in the queue {named} (the thread is {thread.id})", queues == {(thread.id, GROUP_DOMAIN)})


async def _unread(examination: Examination) -> Seen:
    second, group = examination.second_in(examination.made.group), examination.made.group
    own_group = second.group(group.id)
    messages = second.events(MessageReceived, replay=False)
    others = examination.session.events(ConversationChanged, replay=False)
    await examination.paced(own_group.mark_read.aio)
    before = await settled(lambda: _unread_of(second, group), lambda number: number == 0)
    await examination.paced(own_group.send.aio, "an own message")
    await examination.paced(group.send.aio, Command("imkit_doctor"))
    for _ in range(_UNREAD):
        last = await examination.paced(group.send.aio, "an unread message")
    await event_of(messages, lambda event: event.message.id == last.id)
    unread = await settled(lambda: _unread_of(second, group), lambda number: number == _UNREAD)
    await examination.paced(own_group.mark_read.aio)
    after = await settled(lambda: _unread_of(second, group), lambda number: number == 0)
    told = any(
        isinstance(event, ConversationChanged) and event.by == second.user.lower() for event in others.take_ready()
    )
    found = (
        f"{before}, then {unread} after {_UNREAD} texts and a command of another user and an own text, then {after}; "
        f"the other user was {'' if told else 'not '}told"
    )
    return Seen(found, (before, unread, after, told) == (0, _UNREAD, 0, False))


async def _unread_of(user: Session, group: Group) -> int | None:
    async for info in user.conversations():
        if isinstance(info.conversation, Group | Thread) and info.conversation.id == group.id:
            return info.unread
    return None


async def _one_way_delete(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    sent = await new_message(examination)
    if await in_history(second, thread.id, sent.id) is None:
        return Seen("the message is not in the history", None)
    await thread.forget.aio(sent)
    is_kept = await in_history(examination.session, thread.id, sent.id) is not None

    async def is_forgotten() -> bool:
        page = await fetch_page(second.account.rest, second.user, thread.id, Query(), -1, newest_first=True)
        return sent.id not in [message.id for message in page.messages]

    is_gone = await settled(is_forgotten, bool)
    found = f"gone for the user: {'yes' if is_gone else 'no'}; kept for the other: {'yes' if is_kept else 'no'}"
    return Seen(found, is_gone and is_kept)


async def _reactions_of_two(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    own = examination.made.thread
    sent = await new_message(examination)
    await own.react.aio(sent, "🍵")
    await thread.react.aio(sent, "🍵")
    await own.react.aio(sent, "👍")
    views = {
        user.user: {each.reaction: (each.count, each.mine) for each in await view.reactions.aio(sent)}
        for user, view in ((examination.session, own), (second, thread))
    }
    told = "; ".join(
        f"{user}: "
        + ", ".join(f"{reaction} {count}{' (own)' if mine else ''}" for reaction, (count, mine) in view.items())
        for user, view in views.items()
    )
    expected = {"🍵": (2, True), "👍": (1, True)}, {"🍵": (2, True), "👍": (1, False)}
    return Seen(told, tuple(views.values()) == expected)


# ---------------------------------------------------------------- receipts


async def _receipt(examination: Examination, message_id: str) -> Seen:
    """Let the second user acknowledge a message, and see whether its sender is told."""
    second, thread = examination.second_user, examination.thread_of_second
    receipts = examination.session.events(MessageRead, replay=False)
    refusal = await refusal_of(second, examination.paced(thread.acknowledge.aio, message_id, "gladly"))
    if refusal is not None:
        return Seen(str(refusal), False)
    receipt = await event_of(receipts, lambda event: message_id in event.message_ids)
    if receipt is None:
        return Seen("allowed, but the sender is not told", False)
    counted = receipt.counts.get(message_id, "no count")
    return Seen(
        f"allowed; the sender is told: by {receipt.by}, {receipt.words!r:.80}, {counted}",
        receipt.by == second.user.lower(),
    )


async def _receipt_unasked(examination: Examination) -> Seen:
    return await _receipt(examination, (await new_message(examination)).id)


async def _receipt_asked(examination: Examination) -> Seen:
    answer = await send_raw(examination, Text("please confirm"), asks_for_receipts=True)
    refusal = refusal_in(answer)
    if refusal is not None:
        return Seen(f"the message was refused: {refusal}", None)
    return await _receipt(examination, answer.server_id)


async def _receipt_of_owner(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    sent = await examination.paced(thread.send.aio, "for the owner to confirm")
    receipts = second.events(MessageRead, replay=False)
    await examination.paced(examination.made.thread.acknowledge.aio, sent)
    receipt = await event_of(receipts, lambda event: sent.id in event.message_ids)
    readers = [reader.user for reader in await thread.readers.aio(sent)]
    is_reader = readers == [examination.session.user.lower()]
    found = f"told: {'yes' if receipt else 'no'}; the owner is in the list of readers: {'yes' if is_reader else 'no'}"
    return Seen(found, receipt is not None and is_reader)


# ---------------------------------------------------------------- notices


async def _told_in_thread(examination: Examination) -> Seen:
    session, second = examination.session, examination.second_in(examination.made.thread)
    own = examination.made.thread
    messages, edits = second.events(MessageReceived, replay=False), second.events(MessageEdited, replay=False)
    reactions, recalls = second.events(ReactionChanged, replay=False), second.events(MessageRecalled, replay=False)
    sent = await new_message(examination)

    def is_without_sent(event: ThreadChanged) -> bool:
        last = event.last_message
        return event.thread_id == own.id and event.message_count is not None and (last is None or last.id != sent.id)

    told = {"a message": await event_of(messages, lambda event: event.message.id == sent.id) is not None}
    # What is refused cannot be told; other lines are about that.
    if await refusal_of(session, examination.paced(own.edit.aio, sent, "edited")) is None:
        told["an edit"] = await event_of(edits, lambda event: event.message.id == sent.id) is not None
    if await refusal_of(session, own.react.aio(sent, "👍")) is None:
        told["a reaction"] = await event_of(reactions, lambda event: event.message_id == sent.id) is not None
    changes = second.events(ThreadChanged, replay=False)
    if await refusal_of(session, examination.paced(own.recall.aio, sent, ext="by mistake")) is None:
        recall = await event_of(recalls, lambda event: event.message_id == sent.id)
        told["a recall"] = recall is not None
        told["the text of a recall"] = recall is not None and recall.ext == "by mistake"
        told["the number of messages after it"] = await event_of(changes, is_without_sent) is not None
    return seen_told(told)


async def _told_in_group(examination: Examination) -> Seen:
    second = examination.second_in(examination.made.group)
    changes = second.events(ThreadChanged, replay=False)
    thread = await new_thread(examination, examination.session)

    async def is_told(operation: str) -> bool:
        event = await event_of(changes, lambda event: event.thread_id == thread.id and event.operation == operation)
        return event is not None

    told = {"a new thread": await is_told("create")}
    await thread.rename.aio("renamed")
    told["a rename"] = await is_told("update")
    await thread.destroy.aio()
    told["the end of a thread"] = await is_told("destroy")
    return seen_told(told)


async def _told_of_pin(examination: Examination) -> Seen:
    second, group = examination.second_in(examination.made.group), examination.made.group
    changes = second.events(PinChanged, replay=False)
    note = await examination.paced(group.send.aio, "a message to pin")
    await group.pin.aio(note)
    pinned = await event_of(changes, lambda event: (event.message_id, event.operation) == (note.id, "pinned"))
    await group.unpin.aio(note)
    unpinned = await event_of(changes, lambda event: (event.message_id, event.operation) == (note.id, "unpinned"))
    return seen_told({"a pin": pinned is not None, "its end": unpinned is not None})


DELIVERY_CHECKS = (
    Check(
        name="delivery",
        assumed=f"{_MESSAGES} messages reach another member of a thread in order, and once each.",
        ask=_delivery,
        follows="MessageReceived events have the order of the history.",
        otherwise="Put events into order by Message.id; the history has what is missing.",
        source="queues-and-synchronisation",
        needs="second user",
    ),
    Check(
        name="queue of a message",
        assumed=f"Messages of a thread come in a queue with the id of the thread and the domain {GROUP_DOMAIN}.",
        ask=_queue,
        follows="imkit reads every queue, whatever its name.",
        otherwise="Nothing follows: imkit reads every queue, whatever its name.",
        source="queues-and-synchronisation",
        needs="second user",
    ),
    Check(
        name="unread messages",
        assumed="Texts of others count as unread in a group until mark_read(); commands and own texts do not.",
        ask=_unread,
        follows="ConversationInfo.unread of session.conversations() is right.",
        otherwise="Do not take ConversationInfo.unread for the number of texts of others.",
        source="unread-counts",
        needs="second user",
    ),
    Check(
        name="delete for one user",
        assumed="A one-way delete takes a message from the history of one user. Others keep it.",
        ask=_one_way_delete,
        follows="Thread.forget() harms nobody else.",
        otherwise="Do not use Thread.forget() here.",
        source="one-way-delete",
        needs="second user",
    ),
    Check(
        name="reactions of two users",
        assumed="The service counts reactions by user, and says which are one's own.",
        ask=_reactions_of_two,
        follows="Reaction.count and Reaction.mine are right.",
        otherwise="Do not go by Reaction.count and Reaction.mine.",
        source="reactions",
        needs="second user",
    ),
    Check(
        name="receipt that nobody asked for",
        assumed="The service takes a read receipt for a message that has not asked for it, and tells the sender.",
        ask=_receipt_unasked,
        follows="Thread.acknowledge() works for all messages.",
        otherwise="Thread.acknowledge() works only for messages of clients that ask for receipts, if at all.",
        source="read-receipts",
        needs="second user",
    ),
    Check(
        name="receipt that was asked for",
        assumed="The service takes a read receipt for a message that asks for it, and tells the sender.",
        ask=_receipt_asked,
        follows="Thread.acknowledge() works for messages of clients that ask for receipts.",
        otherwise="Do not use Thread.acknowledge() here; the app's console can switch receipts on.",
        source="read-receipts",
        needs="second user",
    ),
    Check(
        name="receipt of the owner",
        assumed="A member is told of the owner's read receipt, and may ask who has read its message.",
        ask=_receipt_of_owner,
        follows="MessageRead and Thread.readers() work for every member.",
        otherwise="Do not wait for MessageRead, or do not use Thread.readers(): see which came.",
        source="read-receipts",
        needs="second user",
    ),
    Check(
        name="told in the thread",
        assumed="Members of a thread are told of messages, edits, reactions and recalls.",
        ask=_told_in_thread,
        follows="Events show all that happens in a thread.",
        otherwise="Read the history for what is not told.",
        source="notices",
        needs="second user",
    ),
    Check(
        name="told in the group",
        assumed="Members of the group are told of new, renamed and destroyed threads.",
        ask=_told_in_group,
        follows="ThreadChanged shows all that happens to the threads of a group.",
        otherwise="Ask group.threads() for what is not told.",
        source="thread-notices",
        needs="second user",
    ),
    Check(
        name="told of pins",
        assumed="Members of the group are told when a message is pinned and unpinned.",
        ask=_told_of_pin,
        follows="PinChanged shows all changes of pins but one's own.",
        otherwise="Ask group.pinned() for what is not told.",
        source="pinned-messages",
        needs="second user",
    ),
)
