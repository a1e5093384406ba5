"""Checks of threads and groups with one user: names, membership, refusals, notices, the list of conversations.

Source: docs/protocol.md#thread-calls, docs/protocol.md#thread-rights, docs/protocol.md#thread-notices,
docs/protocol.md#errors.
"""

from __future__ import annotations

from collections.abc import Awaitable

from imkit.errors import AlreadyExists, GroupNotFound, NotAMember, ThreadNotFound
from imkit.events import ThreadChanged
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.observation import (
    event_of,
    in_history,
    is_refused,
    outcome,
    received_metas,
    recorded,
    refusal_of,
    seen_all_refused,
    seen_refused,
    settled,
)
from imkit.service_check.own_groups import GROUP_NAME
from imkit.service_check.sends import new_message, new_thread
from imkit.threads import NAME_LENGTH
from imkit.wire.untrusted_json import mapping, text

_LISTED = 20  # conversations of the list that are looked at: its first page


async def _creator(examination: Examination) -> Seen:
    session = examination.session
    thread = await new_thread(examination, session)
    is_in = session.user.lower() in [user async for user in thread.members()]
    return Seen(f"{session.user} is {'' if is_in else 'not '}in the list of members", is_in)


async def _second_thread(examination: Examination) -> Seen:
    sample = examination.made
    created = sample.group.create_thread.aio(GROUP_NAME, sample.parent)
    return seen_refused(await refusal_of(examination.session, created), AlreadyExists)


async def _name_length(examination: Examination) -> Seen:
    session, thread = examination.session, examination.made.thread

    def rename(length: int) -> Awaitable[object]:
        # Not Thread.rename, which refuses the longer name itself.
        params = {"resource": session.account.identity.resource}
        return session.account.rest.request("PUT", "thread", thread.id, params=params, body={"name": "n" * length})

    shorter = await refusal_of(session, rename(NAME_LENGTH))
    longer = await refusal_of(session, rename(NAME_LENGTH + 1))
    found = f"{NAME_LENGTH} characters: {outcome(shorter)}; {NAME_LENGTH + 1}: {outcome(longer)}"
    return Seen(found, shorter is None and longer is not None)


async def _rename(examination: Examination) -> Seen:
    session, sample = examination.session, examination.made
    name = f"{GROUP_NAME}, renamed"
    changes = session.events(ThreadChanged, replay=False)
    with recorded(session) as entries:
        await sample.thread.rename.aio(name)
        change = await event_of(changes, lambda event: event.thread_id == sample.thread.id and event.name == name)
        if change is None:
            return Seen("not told", False)
        how = "; ".join(
            f"queue {_named(queue)}, from {_named(mapping(meta, 'from'))}, to {_named(mapping(meta, 'to'))}"
            for queue, meta in received_metas(entries())
            if text(mapping(mapping(meta, "payload"), "data"), "name") == name
        )
    is_whole = (change.operation, change.group_id) == ("update", sample.group.id)
    return Seen(
        f"{change.operation} by {change.operator} ({how})", is_whole and change.operator == session.user.lower()
    )


def _named(jid: dict[str, object]) -> str:
    return f"{text(jid, 'name') or 'nobody'}@{text(jid, 'domain')}"


async def _message_notice(examination: Examination) -> Seen:
    session, thread = examination.session, examination.made.thread
    changes = session.events(ThreadChanged, replay=False)
    sent = await examination.paced(thread.send.aio, "a message that the group is told of")
    told: list[ThreadChanged] = []  # also notices of the messages before, which may come late

    def is_of_message(event: ThreadChanged) -> bool:
        if event.thread_id != thread.id or event.message_count is None:
            return False
        told.append(event)
        return event.last_message is not None and event.last_message.id == sent.id

    is_told = await event_of(changes, is_of_message) is not None
    if not told:
        return Seen("not told", False)
    which = "the message" if is_told else "another message, or none"
    return Seen(f"message_count {told[-1].message_count}, last_message is {which}", is_told)


async def _destroyed_thread(examination: Examination) -> Seen:
    session = examination.session
    thread = await new_thread(examination, session)
    await thread.destroy.aio()
    return seen_all_refused(
        {
            "refresh()": (await refusal_of(session, thread.refresh.aio()), ThreadNotFound),
            "join()": (await refusal_of(session, thread.join.aio()), ThreadNotFound),
            "send()": (await refusal_of(session, examination.paced(thread.send.aio, "too late")), ThreadNotFound),
        }
    )


async def _unknown_group(examination: Examination) -> Seen:
    session = examination.session

    async def read_members() -> None:
        async for _ in session.group("1").members():
            return

    return seen_refused(await refusal_of(session, read_members()), GroupNotFound)


async def _join_twice(examination: Examination) -> Seen:
    joined = examination.made.thread.join.aio()
    return seen_refused(await refusal_of(examination.session, joined), AlreadyExists)


async def _leave_and_come_back(examination: Examination) -> Seen:
    session, thread, before = examination.session, examination.made.thread, await new_message(examination)
    await thread.leave.aio()
    try:
        refusal = await refusal_of(session, examination.paced(thread.send.aio, "from outside the thread"))
    finally:
        await thread.join.aio()
    is_there = await in_history(session, thread.id, before.id) is not None
    found = f"send() outside: {outcome(refusal)}; after join() an old message is {'' if is_there else 'not '}there"
    if not is_there:
        return Seen(found, False, "Save the history before leave().")
    return Seen(found, is_refused(refusal, NotAMember))


async def _mute(examination: Examination) -> Seen:
    session, group = examination.session, examination.made.group
    refusal = await refusal_of(session, group.is_muted.aio())
    return Seen("not muted" if refusal is None else str(refusal), refusal is None)


async def _listed(examination: Examination) -> Seen:
    group, thread = examination.made.group, examination.made.thread

    async def first_page() -> list[str]:
        ids: list[str] = []
        async for info in examination.session.conversations():
            ids.append(info.conversation if isinstance(info.conversation, str) else info.conversation.id)
            if len(ids) == _LISTED:
                break
        return ids

    ids = await settled(first_page, lambda ids: group.id in ids)
    place = f"the group is number {ids.index(group.id) + 1}" if group.id in ids else "the group is not listed"
    threads = "the thread is listed" if thread.id in ids else "the thread is not listed"
    return Seen(f"{place} of {len(ids)}; {threads}", group.id in ids and thread.id not in ids)


CONVERSATION_CHECKS = (
    Check(
        name="creator of a thread",
        assumed="The creator of a thread is a member of it at once.",
        ask=_creator,
        follows="create_thread() is enough: send() works.",
        otherwise="Call thread.join() after create_thread().",
        source="thread-rights",
        needs="write",
    ),
    Check(
        name="second thread on a message",
        assumed="A message has one thread. A second one is refused as AlreadyExists.",
        ask=_second_thread,
        follows="create_thread() never makes a second thread on a message.",
        otherwise="Look at group.threads() first: create_thread() makes a second thread, or raises another error.",
        source="errors",
        needs="write",
    ),
    Check(
        name="length of a name",
        assumed=f"The name of a thread has up to {NAME_LENGTH} characters.",
        ask=_name_length,
        follows="imkit refuses longer names itself, and each shorter one works.",
        otherwise=f"imkit refuses more than {NAME_LENGTH} characters all the same. If fewer are refused, use fewer.",
        source="limits",
        needs="write",
    ),
    Check(
        name="notice of a rename",
        assumed="All members of the group are told of a rename, also the one who renamed.",
        ask=_rename,
        follows="ThreadChanged comes for this session's own changes, too. imkit takes any queue and sender.",
        otherwise="Do not wait for a ThreadChanged of this session's own rename().",
        source="thread-notices",
        needs="write",
    ),
    Check(
        name="notice of a message",
        assumed="The members of the group are told of each message of a thread, also its sender.",
        ask=_message_notice,
        follows="ThreadChanged has the number of messages and the newest one.",
        otherwise="Do not go by ThreadChanged.last_message and message_count; use thread.last_message().",
        source="thread-notices",
        needs="write",
    ),
    Check(
        name="destroyed thread",
        assumed="A thread that does not exist is refused as such.",
        ask=_destroyed_thread,
        follows="ThreadNotFound means what it says.",
        otherwise="An error of another class may mean that a thread is gone.",
        source="errors",
        needs="write",
    ),
    Check(
        name="unknown group",
        assumed="A group that does not exist is refused as such.",
        ask=_unknown_group,
        follows="GroupNotFound means what it says.",
        otherwise="An error of another class may mean that a group is gone.",
        source="errors",
        needs="write",
    ),
    Check(
        name="join twice",
        assumed="A member who joins again is refused with AlreadyExists.",
        ask=_join_twice,
        follows="AlreadyExists of join() does no harm.",
        otherwise="join() of a member raises another error, or none: both mean that the user is in the thread.",
        source="errors",
        needs="write",
    ),
    Check(
        name="leave and come back",
        assumed="Outside the thread nobody can send. After join() the whole history is there again.",
        ask=_leave_and_come_back,
        follows="leave() loses nothing.",
        otherwise="send() needs no join() here. An accepted send() says nothing about the membership.",
        source="thread-rights",
        needs="write",
    ),
    Check(
        name="question about a mute",
        assumed="The service says whether a user is muted in a group.",
        ask=_mute,
        follows="Group.is_muted() can be trusted.",
        otherwise="Do not use Group.is_muted(); a send by a muted user raises Muted.",
        source="group-calls",
        needs="write",
    ),
    Check(
        name="list of conversations",
        assumed="The list has the group that was just written to, and no threads.",
        ask=_listed,
        follows="session.conversations() shows groups; session.threads() shows threads.",
        otherwise="Do not take session.conversations() for complete; it gives a Thread where the service lists one.",
        source="list-of-conversations",
        needs="write",
    ),
)
