"""Checks of what a second user may do as a member of a thread, and of how a mute and a removal end that.

The last check ends the membership of the second user.

Source: docs/protocol.md#thread-rights, docs/protocol.md#recall, docs/protocol.md#editing.
"""

from __future__ import annotations

from imkit.client.roaming import Query, fetch_page
from imkit.errors import Forbidden, Muted, NotAMember
from imkit.events import GroupChanged, ThreadChanged
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.observation import (
    all_so,
    event_of,
    in_history,
    is_refused,
    outcome,
    refusal_of,
    seen_allowed,
    seen_refused,
)
from imkit.service_check.sends import new_message, new_thread

_MUTE_MS = 60_000  # so that a mute ends by itself, should its end be refused

# ---------------------------------------------------------------- messages and threads of others


async def _recall_by_owner(examination: Examination) -> Seen:
    sent = await examination.paced(examination.thread_of_second.send.aio, "recalled by the owner")
    recalled = examination.paced(examination.made.thread.recall.aio, sent)
    return seen_allowed(await refusal_of(examination.session, recalled))


async def _recall_by_member(examination: Examination) -> Seen:
    thread, sent = examination.thread_of_second, await new_message(examination)
    recalled = examination.paced(thread.recall.aio, sent)
    return seen_refused(await refusal_of(examination.second_user, recalled), Forbidden)


async def _edit_by_member(examination: Examination) -> Seen:
    thread, sent = examination.thread_of_second, await new_message(examination)
    edited = examination.paced(thread.edit.aio, sent, "edited by another user")
    return seen_refused(await refusal_of(examination.second_user, edited), Forbidden)


async def _destroy_by_creator(examination: Examination) -> Seen:
    second = examination.second_in(examination.made.group)
    thread = await new_thread(examination, second)
    return seen_refused(await refusal_of(second, thread.destroy.aio()), Forbidden)


# ---------------------------------------------------------------- the end of a right


async def _mute(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    session, group = examination.session, examination.made.group
    own = session.events(GroupChanged, replay=False)
    changes = second.events(GroupChanged, replay=False)
    path, params = ("chatgroups", group.id, "mute"), {"resource": session.account.identity.resource, "version": "v3"}
    body = {"usernames": [second.user], "mute_duration": _MUTE_MS}
    await session.account.rest.request("POST", *path, params=params, body=body)
    try:
        told = await event_of(changes, lambda event: (event.group_id, event.operation) == (group.id, "muteMember"))
        refusal = await refusal_of(second, examination.paced(thread.send.aio, "while muted"))
        is_muted = await second.group(group.id).is_muted.aio()
    finally:
        await session.account.rest.request("DELETE", *path, second.user, params=params)
    own_told = any(isinstance(event, GroupChanged) and event.operation == "muteMember" for event in own.take_ready())
    found = (
        f"send() in the thread: {outcome(refusal)}; is_muted(): {is_muted}; the user is {'' if told else 'not '}told, "
        f"the owner who muted is {'' if own_told else 'not '}told"
    )
    return Seen(found, told is not None and is_muted and is_refused(refusal, Muted))


async def _removed_from_thread(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    changes = second.events(ThreadChanged, replay=False)
    await examination.made.thread.remove.aio(second.user)
    told = await event_of(changes, lambda event: (event.thread_id, event.operation) == (thread.id, "member_removed"))
    refusal = await refusal_of(second, examination.paced(thread.send.aio, "after the removal"))
    meanwhile = await new_message(examination)
    await thread.join.aio()
    is_there = await in_history(second, thread.id, meanwhile.id) is not None
    found = (
        f"send(): {outcome(refusal)}; the user is {'' if told else 'not '}told, may join again, and then sees "
        f"{'what' if is_there else 'not what'} was sent meanwhile"
    )
    return Seen(found, told is not None and is_there and is_refused(refusal, NotAMember))


async def _removed_from_group(examination: Examination) -> Seen:
    second, thread = examination.second_user, examination.thread_of_second
    sample = examination.made
    changes = second.events(GroupChanged, replay=False)
    await sample.group.remove.aio(second.user)
    examination.second_is_in.clear()
    told = await event_of(changes, lambda event: (event.group_id, event.operation) == (sample.group.id, "removeMember"))
    read = fetch_page(second.account.rest, second.user, thread.id, Query(), -1, newest_first=True)
    history = await refusal_of(second, read)
    sent = await refusal_of(second, examination.paced(thread.send.aio, "after the removal"))
    is_in = second.user.lower() in [user async for user in sample.thread.members()]
    found = (
        f"history(): {outcome(history)}; send(): {outcome(sent)}; the user is {'still' if is_in else 'no longer'} a "
        f"member of the thread, and is {'' if told else 'not '}told"
    )
    return Seen(
        found, all_so([told is not None, not is_in, is_refused(history, Forbidden), is_refused(sent, NotAMember)])
    )


RIGHTS_CHECKS = (
    Check(
        name="recall by the owner",
        assumed="The owner of the group may recall messages of others in its threads.",
        ask=_recall_by_owner,
        follows="The owner can take back any message of a thread.",
        otherwise="Only the sender can recall(); let an app server recall messages of others.",
        source="recall",
        needs="second user",
    ),
    Check(
        name="recall by a member",
        assumed="A member cannot recall messages of others. This is refused as Forbidden.",
        ask=_recall_by_member,
        follows="Forbidden of recall() means that the message is another user's.",
        otherwise="Members may recall messages of others here, or the refusal has another error.",
        source="sdk-5-refusals",
        needs="second user",
    ),
    Check(
        name="edit by a member",
        assumed="A member cannot edit messages of others. This is refused as Forbidden.",
        ask=_edit_by_member,
        follows="Forbidden of edit() means that the message is another user's.",
        otherwise="Members may edit messages of others here, or the refusal has another error.",
        source="sdk-5-refusals",
        needs="second user",
    ),
    Check(
        name="end of a thread by its creator",
        assumed="The creator of a thread cannot destroy it, unless it manages the group.",
        ask=_destroy_by_creator,
        follows="Ask the owner or an admin of the group to destroy a thread.",
        otherwise="Thread.destroy() works for the creator here, or the refusal has another error than Forbidden.",
        source="thread-rights",
        needs="second user",
    ),
    Check(
        name="mute of another user",
        assumed="A muted member is told, and cannot send in the threads of the group.",
        ask=_mute,
        follows="Muted of send() means what it says.",
        otherwise="Do not rely on GroupChanged, is_muted() and Muted for mutes: see which differs.",
        source="group-notices",
        needs="second user",
    ),
    Check(
        name="removal from the thread",
        assumed="A removed member is told, cannot send, and may join the thread again.",
        ask=_removed_from_thread,
        follows="Thread.remove() ends a membership, and bans nobody.",
        otherwise="Thread.remove() does not do all of that here: see which part differs.",
        source="thread-rights",
        needs="second user",
    ),
    Check(
        name="removal from the group",
        assumed="A member who is removed from the group can neither read nor send in its threads.",
        ask=_removed_from_group,
        follows="Group.remove() ends the membership of all threads.",
        otherwise="Call Thread.remove() for each thread before Group.remove().",
        source="thread-rights",
        needs="second user",
    ),
)
