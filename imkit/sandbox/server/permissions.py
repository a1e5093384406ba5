"""Permissions: which user may do what, over REST and over the socket.

REST handlers call the functions that take a `Call`; they raise `RestError`. `uplink` calls the `check_…` functions;
they raise `SendRefused`. The app's own token may do everything over REST. The time limit of a recall is
`check_recall_time`.

Source: docs/protocol.md#thread-rights, docs/protocol.md#refusals-of-a-send, docs/protocol.md#recall,
docs/protocol.md#editing.
"""

from __future__ import annotations

from imkit.sandbox.options import Options
from imkit.sandbox.server.groups import Group, Groups, Thread
from imkit.sandbox.server.message_record import StoredMessage, users_of_direct
from imkit.sandbox.server.rest_replies import Call, RestError, forbidden, no_permission, no_such_group, no_such_thread
from imkit.sandbox.server.store import id_time
from imkit.wire.enums import StatusCode

MAX_EDITS = 10


class SendRefused(Exception):
    """The server refuses a send. The ack carries this status code and this reason.

    The official SDKs look the reason up in a table, so it should be one of docs/protocol.md#refusals-of-a-send or
    docs/protocol.md#sdk-5-refusals.
    """

    def __init__(self, code: StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


# ---------------------------------------------------------------- REST: whose token


def user_or_app(call: Call, user: str) -> str:
    """Return a user id, lower-cased, if the token of the call belongs to that user or to the app."""
    name = user.lower()
    if call.user is not None and call.user != name:
        raise forbidden("the token belongs to another user")
    return name


def app_only(call: Call) -> None:
    """Refuse the call if its token belongs to a user."""
    if call.user is not None:
        raise forbidden("this call wants the app's token")


# ---------------------------------------------------------------- REST: groups and threads


def group_of(groups: Groups, call: Call, group_id: str | None = None) -> Group:
    """Return the group with this id, by default the one that the path of the call names."""
    wanted = call.path["id"] if group_id is None else group_id
    group = groups.group(wanted)
    if group is None:
        raise no_such_group(wanted)
    return group


def thread_of(groups: Groups, call: Call) -> Thread:
    """Return the thread that the path of the call names, if the caller is in its group."""
    thread = groups.thread(call.path["id"])
    if thread is None:
        raise no_such_thread()
    member_of(groups, call, group_of(groups, call, thread.group_id))
    return thread


def is_public(group: Group) -> bool:
    """Return whether others than its members may know a group and join it."""
    return bool(group.settings.get("public", True))


def member_of(groups: Groups, call: Call, group: Group) -> str:
    """Return the operator of the call, if it is a member of the group or the app."""
    if call.user is not None:
        check_member(groups, group.id, call.user)
    return call.operator


def check_member(groups: Groups, group_id: str, user: str) -> None:
    """Refuse the call unless a user is a member of a group."""
    if user not in groups.members(group_id):
        raise no_permission(f"user {user} is not a member of group {group_id}")


def manager_of(groups: Groups, call: Call, group: Group) -> str:
    """Return the operator of the call, if it is the group's owner, an admin of it, or the app."""
    if call.user is not None and not groups.manages(call.user, group.id):
        raise no_permission("only the group's owner and admins may")
    return call.operator


def owner_of(call: Call, group: Group, error: str = "group_authorization") -> str:
    """Return the operator of the call, if it is the group's owner or the app; `error` is that of `no_permission`."""
    if call.user is not None and call.user != group.owner:
        raise no_permission("only the group's owner may", error)
    return call.operator


def inviter_of(groups: Groups, call: Call, group: Group) -> str:
    """Return the operator of the call, if it may invite: any member, or only managers if the group is set so."""
    operator = member_of(groups, call, group)
    if call.user is not None and not group.settings.get("allowinvites", True):
        manager_of(groups, call, group)
    return operator


def check_may_rename(groups: Groups, call: Call, thread: Thread) -> None:
    """Refuse the call unless it comes from the thread's creator, a manager of its group, or the app."""
    if call.user != thread.owner:
        manager_of(groups, call, group_of(groups, call, thread.group_id))


def check_may_read(groups: Groups, call: Call, user: str, conversation: str) -> None:
    """Refuse a call about what is in a conversation (history, readers, pins) to a user who is not in it.

    The service's own rule is not documented. The sandbox takes the strict one, so that nobody learns to rely on
    reading a conversation without being in it.
    """
    if call.user is not None and user not in groups.members(conversation):
        raise RestError(403, "forbidden_op", f"user {user} is not in {conversation}")


def is_in(groups: Groups, user: str, conversation: str) -> bool:
    """Return whether a user is in a conversation: a member of a group or a thread, or one of two."""
    return user in (users_of_direct(conversation) or groups.members(conversation))


# ---------------------------------------------------------------- socket: sends


def check_may_send(groups: Groups, sender: str, group: Group, conversation: str) -> None:
    """Refuse a send unless its sender may speak in a conversation: a group, or a thread of that group.

    A member of the group who has not joined the thread may not send to it. The service's own rule is not documented;
    the sandbox takes the strict one.
    """
    check_is_in(groups, sender, conversation)
    if group.disabled:
        raise SendRefused(StatusCode.FAIL, "group is disabled")
    if groups.muted(sender, group.id) or (group.all_muted and not groups.manages(sender, group.id)):
        raise SendRefused(StatusCode.USER_MUTED, "user is mute")


def check_is_in(groups: Groups, user: str, conversation: str) -> None:
    """Refuse what a user who is not in a group or thread sends to it."""
    if user not in groups.members(conversation):
        raise SendRefused(StatusCode.FAIL, "not in group or chatroom")


def check_recall_enabled(options: Options) -> None:
    """Refuse a recall if the app has disabled recalling."""
    if options.recall_seconds <= 0:
        raise SendRefused(StatusCode.FAIL, "message recall disabled")


def check_may_recall(
    options: Options, groups: Groups, user: str, message: StoredMessage, group_id: str | None, now: int
) -> None:
    """Refuse a recall unless the user manages the group, or sent the message within the time limit.

    Args:
        options: the server's settings; `recall_seconds` is the time limit.
        groups: the groups of the server.
        user: the user who recalls.
        message: the message to recall.
        group_id: the group that holds the message or the message's thread; None for a one-to-one message.
        now: the current time, in ms.
    """
    if group_id is not None and groups.manages(user, group_id):
        return
    if message.sender != user:
        raise SendRefused(StatusCode.FAIL, "no permission to recall message")
    check_recall_time(options, message, now)


def check_recall_time(options: Options, message: StoredMessage, now: int) -> None:
    """Refuse a recall after the time limit, which the app's calls have too, unless they force the recall."""
    if now - id_time(message.id) > options.recall_seconds * 1000:
        raise SendRefused(StatusCode.FAIL, "exceed recall time limit")


def check_may_edit(groups: Groups, user: str, message: StoredMessage, group_id: str | None) -> None:
    """Refuse an edit unless the user sent the message or manages its group, and edits are left.

    Args:
        groups: the groups of the server.
        user: the user who edits.
        message: the message to edit.
        group_id: the group that holds the message or the message's thread; None for a one-to-one message.
    """
    manages_group = group_id is not None and groups.manages(user, group_id)
    if message.sender != user and not manages_group:
        raise SendRefused(StatusCode.FAIL, "Sorry, You do not have permission")
    if message.edits >= MAX_EDITS:
        raise SendRefused(StatusCode.FAIL, "Sorry, edit limit reached")
