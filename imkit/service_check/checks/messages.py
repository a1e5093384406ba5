"""Checks of messages with one user: sends, edits, recalls.

Source: docs/protocol.md#sending, docs/protocol.md#editing, docs/protocol.md#recall.
"""

from __future__ import annotations

import asyncio

from imkit.client.send import MESSAGE_BYTES
from imkit.errors import Forbidden, InvalidMessage, LimitReached, MessageNotFound, TooLarge
from imkit.messages import Location, Text
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.observation import (
    Refusal,
    answer_of,
    in_history,
    outcome,
    refusal_of,
    seen_all_refused,
    seen_allowed,
    seen_refused,
)
from imkit.service_check.sends import new_message, refusal_in, send_raw

_UNKNOWN = "1"  # no message has this id: ids hold the time
_SENDS = 20
_EDITS = 10


# ---------------------------------------------------------------- sends


async def _without_mark(examination: Examination) -> Seen:
    answer = await send_raw(examination, Text("without the mark of a thread"), is_marked=False)
    refusal = refusal_in(answer)
    if refusal is not None:
        return Seen(str(refusal), False)
    found = await in_history(examination.session, examination.made.thread.id, answer.server_id)
    if found is None:
        return Seen("taken, but not in the history of the thread", False)
    has_mark = found.thread is not None
    return Seen(f"taken, and in the history of the thread {'with' if has_mark else 'without'} the mark", has_mark)


async def _order_of_sends(examination: Examination) -> Seen:
    sends = (new_message(examination, f"in order {number}") for number in range(_SENDS))
    ids = [int(sent.id) for sent in await asyncio.gather(*sends)]  # none waits for the answer to the one before it
    is_ordered = ids == sorted(set(ids))
    return Seen(
        f"the ids of {_SENDS} messages {'grow' if is_ordered else 'do not grow'} in the order of sending", is_ordered
    )


async def _client_id(examination: Examination) -> Seen:
    client_id = examination.session.account.protocol.next_client_id()
    first = await send_raw(examination, Text("sent twice"), client_id=client_id)
    again = await send_raw(examination, Text("sent twice"), client_id=client_id)
    refusal = refusal_in(first) or refusal_in(again)
    if refusal is not None:
        return Seen(str(refusal), None)
    is_one = first.server_id == again.server_id
    return Seen("one message" if is_one else "two messages", not is_one)


async def _sizes(examination: Examination) -> Seen:
    found = {size: refusal_in(await send_raw(examination, Text("n" * size))) for size in (2_900, 4_500, 5_500)}
    is_as_documented = found[2_900] is None and found[4_500] is None
    too_large = found[5_500]
    told = "; ".join(f"{size:,} bytes: {outcome(refusal)}" for size, refusal in found.items())
    if is_as_documented and too_large is None:
        return Seen(told, False, f"imkit itself refuses more than {MESSAGE_BYTES:,} bytes.")
    return Seen(told, is_as_documented and too_large is not None and isinstance(too_large.error, TooLarge))


async def _empty_text(examination: Examination) -> Seen:
    return seen_allowed(refusal_in(await send_raw(examination, Text(""))))


# ---------------------------------------------------------------- edits


async def _edit(examination: Examination) -> Seen:
    thread, sent = examination.made.thread, await new_message(examination)
    edited = await answer_of(examination.session, examination.paced(thread.edit.aio, sent, "edited"))
    if isinstance(edited, Refusal):
        return Seen(str(edited), False)
    return Seen(f"allowed; edit_count is {edited.edit_count}", edited.edit_count == 1)


async def _edit_of_place(examination: Examination) -> Seen:
    thread = examination.made.thread
    place = await examination.paced(thread.send.aio, Location(30.25, 120.15, "a place"))
    edited = examination.paced(thread.edit.aio, place, "no longer a place")
    return seen_refused(await refusal_of(examination.session, edited), InvalidMessage)


async def _edit_limit(examination: Examination) -> Seen:
    thread, sent = examination.made.thread, await new_message(examination)
    for number in range(1, _EDITS + 2):
        edited = examination.paced(thread.edit.aio, sent, f"edit {number}")
        refusal = await refusal_of(examination.session, edited)
        if refusal is not None:
            is_limit = number == _EDITS + 1 and isinstance(refusal.error, LimitReached)
            return Seen(f"edit {number}: {refusal}", is_limit if number > 1 else None)
    return Seen(f"{_EDITS + 1} edits were taken", False)


# ---------------------------------------------------------------- recalls and unknown messages


async def _recall(examination: Examination) -> Seen:
    session, thread = examination.session, examination.made.thread
    plain, with_text = await new_message(examination), await new_message(examination)
    refusals = {
        "without a text": await refusal_of(session, examination.paced(thread.recall.aio, plain)),
        "with a text": await refusal_of(session, examination.paced(thread.recall.aio, with_text, ext="by mistake")),
    }
    told = "; ".join(f"{name}: {outcome(refusal)}" for name, refusal in refusals.items())
    return Seen(told, all(refusal is None for refusal in refusals.values()))


async def _recall_twice(examination: Examination) -> Seen:
    thread, sent = examination.made.thread, await new_message(examination)
    await examination.paced(thread.recall.aio, sent)
    again = examination.paced(thread.recall.aio, sent)
    return seen_refused(await refusal_of(examination.session, again), MessageNotFound)


async def _unknown_message(examination: Examination) -> Seen:
    recalled = examination.paced(examination.made.thread.recall.aio, _UNKNOWN)
    return seen_refused(await refusal_of(examination.session, recalled), MessageNotFound)


async def _unknown_in_other_calls(examination: Examination) -> Seen:
    session, thread, group = examination.session, examination.made.thread, examination.made.group
    return seen_all_refused(
        {
            "edit()": (await refusal_of(session, examination.paced(thread.edit.aio, _UNKNOWN, "n")), MessageNotFound),
            "acknowledge()": (
                await refusal_of(session, examination.paced(thread.acknowledge.aio, _UNKNOWN)),
                MessageNotFound,
            ),
            "react()": (await refusal_of(session, thread.react.aio(_UNKNOWN, "👍")), Forbidden),
            "pin()": (await refusal_of(session, group.pin.aio(_UNKNOWN)), MessageNotFound),
            "readers()": (await refusal_of(session, thread.readers.aio(_UNKNOWN)), MessageNotFound),
        }
    )


MESSAGE_CHECKS = (
    Check(
        name="message without the mark of a thread",
        assumed="The service goes by the id that a message is sent to, and adds the mark of the thread.",
        ask=_without_mark,
        follows="Messages of other clients that send no mark are messages of the thread.",
        otherwise="imkit always sends the mark. Messages of SDK 5 without it may be missing in the history.",
        source="thread-marks",
        needs="write",
    ),
    Check(
        name="order of sends",
        assumed="The service takes the sends of one socket in order, and its ids grow.",
        ask=_order_of_sends,
        follows="imkit finds out after a lost connection which sends have arrived.",
        otherwise="After a ConnectionLost look at the history yourself: imkit may take one send for another.",
        source="answer-to-a-send",
        needs="write",
    ),
    Check(
        name="message sent twice",
        assumed="The service makes two messages of a message that is sent twice with one client id.",
        ask=_client_id,
        follows="imkit never sends a message twice by itself.",
        otherwise="A second send would do no harm; imkit sends once all the same.",
        source="answer-to-a-send",
        needs="write",
    ),
    Check(
        name="size of a message",
        assumed=f"A message may have {MESSAGE_BYTES:,} bytes. A larger one is refused as TooLarge.",
        ask=_sizes,
        follows=f"imkit refuses more than {MESSAGE_BYTES:,} bytes itself; all below works.",
        otherwise="Keep messages below the largest size that was allowed: send() raises the error that is shown.",
        source="limits",
        needs="write",
    ),
    Check(
        name="empty text",
        assumed="The service takes an empty text.",
        ask=_empty_text,
        follows="imkit sends none, and shows those of other clients.",
        otherwise="No client can send one; imkit refuses it before.",
        source="sending",
        needs="write",
    ),
    Check(
        name="edit",
        assumed="The sender may edit a text in a thread, and the answer counts the edits.",
        ask=_edit,
        follows="Thread.edit() works, and Message.edit_count is right.",
        otherwise="Do not use Thread.edit() here; recall the message and send another.",
        source="editing",
        needs="write",
    ),
    Check(
        name="edit of a place",
        assumed="A text in place of a location is refused as InvalidMessage.",
        ask=_edit_of_place,
        follows="An edit never changes the type of a message.",
        otherwise="Edit texts only with texts: a message of another type may be replaced, or end in another error.",
        source="editing",
        needs="write",
    ),
    Check(
        name="number of edits",
        assumed=f"A message can be edited {_EDITS} times. The next edit is refused as LimitReached.",
        ask=_edit_limit,
        follows="LimitReached of edit() means what it says.",
        otherwise="Another number of edits is allowed here, or the refusal has another error.",
        source="sdk-5-refusals",
        needs="write",
    ),
    Check(
        name="recall",
        assumed="The sender may recall a new message, also with a text for the others.",
        ask=_recall,
        follows="Thread.recall() works.",
        otherwise="Do not use Thread.recall() where it is refused; the app's console has its settings.",
        source="recall",
        needs="write",
    ),
    Check(
        name="recall twice",
        assumed="A message that was recalled is refused as MessageNotFound.",
        ask=_recall_twice,
        follows="MessageNotFound of recall() means that the message is gone.",
        otherwise="recall() of a message that is gone raises another error, or none.",
        source="recall",
        needs="write",
    ),
    Check(
        name="unknown message",
        assumed="The recall of a message that never was is refused as MessageNotFound.",
        ask=_unknown_message,
        follows="MessageNotFound means what it says.",
        otherwise="recall() of an unknown message raises another error, or none.",
        source="recall",
        needs="write",
    ),
    Check(
        name="unknown message in other calls",
        assumed="Edits, receipts, reactions and pins of an unknown message are refused, each with its own error.",
        ask=_unknown_in_other_calls,
        follows="The errors of these calls are those of their documentation.",
        otherwise="Catch IMError there: the error of an unknown message is another one, or there is none.",
        source="errors",
        needs="write",
    ),
)
