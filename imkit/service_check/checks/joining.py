"""Checks of what a second user may do outside the group, and in the group before it joins the thread.

These are asked in the order of the list: the user is first outside the group, then in it, then in the thread.

Source: docs/protocol.md#thread-rights, docs/protocol.md#group-calls, docs/protocol.md#where-two-generations-differ.
"""

from __future__ import annotations

from collections.abc import Awaitable

from imkit.client.roaming import Query, fetch_page
from imkit.errors import Forbidden, NotAMember
from imkit.events import GroupChanged, MessageReceived, ThreadChanged
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.observation import event_of, refusal_of, seen_all_refused, seen_allowed, seen_refused, settled
from imkit.service_check.sends import new_message
from imkit.session import Session
from imkit.threads import Thread

_HTTP_FORBIDDEN = 403


async def _read_members(thread: Thread) -> None:
    async for _ in thread.members():
        return


def _read_history(user: Session, thread: Thread) -> Awaitable[object]:
    return fetch_page(user.account.rest, user.user, thread.id, Query(), -1, newest_first=False)


# ---------------------------------------------------------------- outside the group


async def _outsider_reads(examination: Examination) -> Seen:
    second = examination.second_user
    thread = second.thread(examination.made.thread.id)
    return seen_all_refused(
        {
            "refresh()": (await refusal_of(second, thread.refresh.aio()), Forbidden),
            "members()": (await refusal_of(second, _read_members(thread)), Forbidden),
            "history()": (await refusal_of(second, _read_history(second, thread)), Forbidden),
        }
    )


async def _outsider_writes(examination: Examination) -> Seen:
    second = examination.second_user
    thread = second.thread(examination.made.thread.id)
    sent = await refusal_of(second, examination.paced(thread.send.aio, "from outside the group"))
    joined = await refusal_of(second, thread.join.aio())
    if joined is None:
        await thread.leave.aio()  # the checks below are about a user who is not in the thread
    return seen_all_refused({"send()": (sent, NotAMember), "join()": (joined, Forbidden)})


async def _missing_right(examination: Examination) -> Seen:
    second = examination.second_user
    refusal = await refusal_of(second, second.account.rest.get("thread", examination.made.thread.id))
    if refusal is None:
        return Seen("allowed", None)
    kind = type(refusal.error).__name__
    return Seen(str(refusal), refusal.error.status == _HTTP_FORBIDDEN, f"imkit raises {kind} where a right is missing.")


async def _invitation(examination: Examination) -> Seen:
    sample, second = examination.made, examination.second_user
    changes = second.events(GroupChanged, replay=False)
    await sample.group.invite.aio(second.user)
    change = await event_of(changes, lambda event: event.group_id == sample.group.id)

    async def is_member() -> bool:
        return second.user.lower() in [user async for user in sample.group.members()]

    is_in = await settled(is_member, lambda found: found)
    if is_in:
        examination.second_is_in.add(sample.group.id)
    told = "not told" if change is None else f"told of {change.operation}"
    return Seen(f"{second.user} is {'' if is_in else 'not '}in the list of members, and was {told}", is_in)


# ---------------------------------------------------------------- in the group, outside the thread


def _outside_the_thread(examination: Examination) -> tuple[Session, Thread]:
    second = examination.second_in(examination.made.group)
    return second, second.thread(examination.made.thread.id)


async def _detail(examination: Examination) -> Seen:
    second, thread = _outside_the_thread(examination)
    return seen_allowed(await refusal_of(second, thread.refresh.aio()))


async def _members(examination: Examination) -> Seen:
    second, thread = _outside_the_thread(examination)
    return seen_allowed(await refusal_of(second, _read_members(thread)))


async def _history(examination: Examination) -> Seen:
    second, thread = _outside_the_thread(examination)
    return seen_refused(await refusal_of(second, _read_history(second, thread)), Forbidden)


async def _post(examination: Examination) -> Seen:
    second, thread = _outside_the_thread(examination)
    sent = examination.paced(thread.send.aio, "from outside the thread")
    return seen_refused(await refusal_of(second, sent), NotAMember)


async def _told_without_joining(examination: Examination) -> Seen:
    second, thread = _outside_the_thread(examination)
    messages = second.events(MessageReceived, replay=False)
    changes = second.events(ThreadChanged, replay=False)
    in_thread = await new_message(examination)
    change = await event_of(changes, lambda event: event.thread_id == thread.id)
    # What comes later than a later message of the group does not come.
    in_group = await examination.paced(examination.made.group.send.aio, "a message of the group")
    arrived: list[str] = []

    def is_in_group(event: MessageReceived) -> bool:
        arrived.append(event.message.id)
        return event.message.id == in_group.id

    got_group = await event_of(messages, is_in_group) is not None
    got_thread = in_thread.id in arrived
    told = {
        "the notice of the thread": change is not None,
        "the message of the group": got_group,
        "the message of the thread": got_thread,
    }
    found = ", ".join(f"{name}: {'came' if came else 'did not come'}" for name, came in told.items())
    return Seen(found, change is not None and got_group and not got_thread)


async def _join(examination: Examination) -> Seen:
    second, thread = _outside_the_thread(examination)
    refusal = await refusal_of(second, thread.join.aio())
    if refusal is not None:
        return Seen(str(refusal), False)
    examination.second_is_in.add(thread.id)
    return Seen(
        f"allowed; the answer names the thread {thread.name!r:.80}", thread.name == examination.made.thread.name
    )


JOINING_CHECKS = (
    Check(
        name="outsider reads",
        assumed="A user outside the group can read nothing of its threads.",
        ask=_outsider_reads,
        follows="Threads are as private as their group.",
        otherwise="Do not write into a thread what users outside the group must not read.",
        source="thread-rights",
        needs="second user",
    ),
    Check(
        name="outsider writes",
        assumed="A user outside the group can neither join its threads nor send to them.",
        ask=_outsider_writes,
        follows="Every member of a thread is a member of its group.",
        otherwise="Look at the sender of a message: it may be a user from outside the group.",
        source="thread-rights",
        needs="second user",
    ),
    Check(
        name="missing right",
        assumed="The service answers HTTP 403 if a right is missing.",
        ask=_missing_right,
        follows="imkit raises Forbidden.",
        otherwise="imkit raises the error that is shown; for 401 with error_code 40001 that is Forbidden, too.",
        source="where-two-generations-differ",
        needs="second user",
    ),
    Check(
        name="invitation",
        assumed="A user who is invited to a group is a member at once, and is told.",
        ask=_invitation,
        follows="Group.invite() is enough.",
        otherwise="The user must accept first, which imkit cannot do. Let an app server add users.",
        source="group-calls",
        needs="second user",
    ),
    Check(
        name="detail without joining",
        assumed="Every member of the group may ask for a thread.",
        ask=_detail,
        follows="Thread.refresh() works before join().",
        otherwise="Call Thread.join() before Thread.refresh().",
        source="thread-rights",
        needs="second user",
    ),
    Check(
        name="members without joining",
        assumed="Every member of the group may list the members of a thread.",
        ask=_members,
        follows="Thread.members() works before join().",
        otherwise="Call Thread.join() before Thread.members().",
        source="thread-rights",
        needs="second user",
    ),
    Check(
        name="history without joining",
        assumed="Only members of a thread can read its history.",
        ask=_history,
        follows="A member of the group joins the thread first.",
        otherwise="history() needs no join() here; an error Forbidden is about the group.",
        source="roaming-history",
        needs="second user",
    ),
    Check(
        name="post without joining",
        assumed="Only members of a thread can send to it.",
        ask=_post,
        follows="A member of the group joins the thread first.",
        otherwise="send() needs no join() here; without join() the answers do not reach the sender.",
        source="thread-rights",
        needs="second user",
    ),
    Check(
        name="told without joining",
        assumed="A member of the group is told of its threads, and gets the messages of those that it joined.",
        ask=_told_without_joining,
        follows="join() decides which messages arrive.",
        otherwise="Look at what came: events may be missing, or come without join().",
        source="thread-notices",
        needs="second user",
    ),
    Check(
        name="join",
        assumed="Every member of the group may join a thread. The answer names it.",
        ask=_join,
        follows="Thread.join() fills in the attributes of the thread.",
        otherwise="Call Thread.refresh() after join(); if join() is refused, see the error.",
        source="thread-calls",
        needs="second user",
    ),
)
