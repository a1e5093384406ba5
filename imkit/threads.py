"""`Group` and `Thread`: the objects for a group (群组) and for a chat thread (子区).

An attribute never asks the service. It holds what earlier calls and events told, and is `None` until then.

Source: docs/protocol.md#thread-calls, docs/protocol.md#thread-rights, docs/protocol.md#group-calls,
docs/protocol.md#limits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from imkit.cards import card, counted, known
from imkit.client import pins
from imkit.client import send as sending
from imkit.client.account import Account, ThreadFacts
from imkit.client.list_pages import cursor_pages, listed_users
from imkit.client.paging import Listing
from imkit.client.roaming import Query
from imkit.client.thread_queries import last_messages, learn_thread
from imkit.client.user_ids import user_id
from imkit.conversation import Conversation
from imkit.errors import InvalidMessage, LimitReached, ProtocolError
from imkit.escape import for_terminal
from imkit.hints import Operation, operation
from imkit.history.message_pages import PageWalk
from imkit.messages import Message, ThreadRef
from imkit.portal import blocking
from imkit.times import to_milliseconds
from imkit.wire.untrusted_json import identifier, is_id, mapping, objects, objects_in, text

NAME_LENGTH = 64  # characters of a thread's name
_PINNED_HERE = "A group pins its own messages, not those of its threads or of other groups."
_ROLES = ("owner", "admin", "member")


class Group(Conversation):
    """A group (群组): its members, its messages and its threads.

    `Session.create_group`, `Session.group` and `Session.groups` return one.

    Example:
        >>> group = alice.create_group("tea", members=["bob"])
        >>> group
        <Group 'tea' ...>
    """

    def target(self) -> sending.Target:
        """Internal: return where a message to this group goes."""
        return sending.Target(self._id, is_thread=False)

    def _known_names(self) -> list[tuple[str, str | None]]:
        return list(self.account.known.group_names.items())

    @property
    def name(self) -> str | None:
        """The group's name; `None` until a call has told it."""
        return self.account.known.group_names.get(self._id)

    @blocking
    async def create_thread(self, name: str, parent: Message | str) -> Thread:
        """Create a chat thread (子区) on a message of this group. This user becomes its owner and first member.

        Args:
            name: the name, up to 64 characters.
            parent: the group message that the thread hangs on (父消息), or its id. One message can carry one thread.

        Raises:
            AlreadyExists: the message already carries a thread.
            NotFound: there is no such message in this group.
            ServiceNotEnabled: threads are not switched on for the app.
            LimitReached: the name is too long, or the group has too many threads.

        Example:
            >>> thread = group.create_thread("Puer", group.send("Which puer?"))
            >>> thread.name
            'Puer'

        Source: docs/protocol.md#thread-calls, createChatThread.
        """
        name = _checked_name(name)
        hint = "A thread hangs on a message of the group itself, not on one of a thread or of another group."
        account, parent_id = self.account, self._id_of(parent, hint)
        body = {"name": name, "msg_id": parent_id, "group_id": self._id, "owner": account.user}
        what = operation("create_thread", message=parent_id, group=self._id, user=account.user)
        answer = await self._write(what, "POST", "thread", body=body)
        thread_id = identifier(mapping(answer, "data"), "thread_id")
        if not thread_id:
            raise ProtocolError(f"a thread was created in group {self._id}, but the answer does not name it")
        account.known.threads[thread_id] = ThreadFacts(name, self._id, parent_id, account.user)
        return Thread(account, thread_id)

    def threads(self) -> Listing[Thread]:
        """Return all threads of the group, including those that this user has not joined.

        Returns:
            An iterable that asks the service for one page at a time.

        Example:
            >>> [thread.name for thread in group.threads()]
            ['Oolong']

        Source: docs/protocol.md#thread-calls, getChatThreads.
        """
        what = operation("list_threads_of_group", group=self._id, user=self.account.user)
        pages = partial(thread_pages, self.account, what, "threads", "chatgroups", self._id)
        return Listing(pages, f"threads of group {self._id}")

    def members(self) -> Listing[str]:
        """Return the user ids of the group's members.

        Returns:
            An iterable that asks the service for one page at a time.

        Example:
            >>> sorted(group.members())
            ['alice', 'bob']

        Source: docs/protocol.md#group-calls, members.
        """

        async def pages() -> AsyncGenerator[list[str], None]:
            what = operation("list_group_members", group=self._id, user=self.account.user)
            async for entries in cursor_pages(self.account, what, "chatgroups", self._id, "users"):
                # Each entry is an object with one user id, at the key that names the user's role.
                users = [text(entry, role) for entry in objects_in(entries) for role in _ROLES]
                yield [user for user in users if user]

        return Listing(pages, f"members of group {self._id}")

    @blocking
    async def invite(self, *users: str) -> None:
        """Add users to the group.

        Args:
            *users: user ids. The users must exist.

        Raises:
            Forbidden: this user may not add members.
            AlreadyExists: one of the users is in the group already.
            NotFound: one of the users does not exist.
            LimitReached: the group is full.
            InvalidMessage: one of `users` is not a user id.

        Example:
            >>> group.invite("carol")
            >>> sorted(group.members())
            ['alice', 'bob', 'carol']

        Source: docs/protocol.md#group-calls, invite.
        """
        if not users:
            raise InvalidMessage("no user was named", hint='Write group.invite("carol").')
        body = {"usernames": [user_id(user) for user in users]}
        what = operation("invite", group=self._id)
        await self._write(what, "POST", "chatgroups", self._id, "invite", body=body)

    @blocking
    async def remove(self, user: str) -> None:
        """Remove a member from the group and from all threads of the group.

        Args:
            user: a user id.

        Raises:
            Forbidden: this user is neither the group's owner nor an admin.

        Example:
            >>> group.remove("bob")
            >>> list(group.members())
            ['alice']

        Source: docs/protocol.md#group-calls, remove.
        """
        what = operation("remove_group_member", member=user, group=self._id)
        await self._write(what, "DELETE", "chatgroups", self._id, "users", user_id(user))

    @blocking
    async def pin(self, message: Message | str) -> None:
        """Pin a message (置顶) of this group for all its members. Each member may pin and unpin.

        Args:
            message: the message, or its id. If it is pinned already, this user and the time of this call replace those
                of the earlier pin.

        Raises:
            MessageNotFound: there is no such message in this group any more.
            LimitReached: 20 messages are pinned already, or as many as the app's plan allows.
            Forbidden: this user is not in the group.
            ServiceNotEnabled: pinning is not switched on for the app.

        Example:
            >>> group.pin(group.send("We meet on Friday"))
            >>> [message.text for message in bob.group(group.id).pinned()]
            ['We meet on Friday']

        Source: docs/protocol.md#pinned-messages.
        """
        await pins.pin(self.account, self._id, self._id_of(message, _PINNED_HERE))

    @blocking
    async def unpin(self, message: Message | str) -> None:
        """Unpin a message of this group, whoever has pinned it.

        Args:
            message: the message, or its id.

        Raises:
            MessageNotFound: the message is not pinned in this group.
            Forbidden: this user is not in the group.

        Example:
            >>> note = group.send("We meet on Friday")
            >>> group.pin(note)
            >>> group.unpin(note)
            >>> group.pinned()
            []

        Source: docs/protocol.md#pinned-messages.
        """
        await pins.unpin(self.account, self._id, self._id_of(message, _PINNED_HERE))

    @blocking
    async def pinned(self) -> list[Message]:
        """Return the pinned messages (置顶消息) of this group; the one that was pinned last is the first.

        Raises:
            Forbidden: this user is not in the group.
            GroupNotFound: there is no such group.
            ServiceNotEnabled: pinning is not switched on for the app.

        Example:
            >>> group.pin(group.send("We meet on Friday"))
            >>> group.pin(group.send("Bring your own cup"))
            >>> [message.text for message in group.pinned()]
            ['Bring your own cup', 'We meet on Friday']

        Source: docs/protocol.md#pinned-messages.
        """
        return await pins.pinned_messages(self.account, self._id)

    @blocking
    async def is_muted(self) -> bool:
        """Return whether this user is muted (禁言) in this group. A mute also counts in the threads of the group.

        Raises:
            GroupNotFound: there is no such group.
            Forbidden: this user is not in the group.

        Example:
            >>> group.is_muted()
            False

        Source: docs/protocol.md#group-calls, isInGroupMutelist.
        """
        what = operation("is_muted", user=self.account.user, group=self._id)
        path = ("sdk", "chatgroups", self._id, "mute", self.account.user)
        answer = await self.account.rest.get(*path, what=what, params={"version": "v3"})
        muted = answer.get("data")
        if not isinstance(muted, bool):
            raise ProtocolError(f"{what}: the answer says neither yes nor no")
        return muted

    @blocking
    async def destroy(self) -> None:
        """Destroy the group and all its threads.

        Raises:
            Forbidden: this user is not the group's owner.

        Example:
            >>> alice.create_group("for a day").destroy()

        Source: docs/protocol.md#group-calls, destroy.
        """
        account = self.account
        params = {"version": "v3", "resource": account.identity.resource}
        what = operation("destroy_group", group=self._id)
        await account.rest.request("DELETE", "chatgroups", self._id, what=what, params=params)

    def __repr__(self) -> str:
        named = f" {for_terminal(self.name, NAME_LENGTH)!r}" if self.name else ""
        return f"<Group{named} {self._id}>"

    def _repr_html_(self) -> str:
        threads = sum(facts.group_id == self._id for facts in list(self.account.known.threads.values()))
        facts = [
            f"id {self._id}",
            *(f"{count} known" for count in counted(threads or None, "thread")),
            f"as {self.account.user}",
        ]
        return card("Group", self.name or self._id, facts)


class Thread(Conversation):
    """A chat thread (子区): a conversation that hangs on one message of a group.

    `Group.create_thread`, `Session.thread` and `Session.threads` return one.

    Example:
        >>> thread.send("I'm in")
        <Message ... txt from alice at ... UTC: 'I'm in'>
    """

    @property
    def facts(self) -> ThreadFacts:
        """Internal: what calls and events have told about the thread so far."""
        return self.account.known.threads.get(self._id) or ThreadFacts()

    def target(self) -> sending.Target:
        """Internal: return where a message to this thread goes."""
        facts = self.facts
        ref = ThreadRef(self._id, facts.name or "", facts.group_id or "", facts.parent_id or "")
        return sending.Target(self._id, is_thread=True, thread=ref)

    def _known_names(self) -> list[tuple[str, str | None]]:
        return [(thread_id, facts.name) for thread_id, facts in list(self.account.known.threads.items())]

    @property
    def name(self) -> str | None:
        """The thread's name; `None` until a call or an event has told it."""
        return self.facts.name

    @property
    def group_id(self) -> str | None:
        """The id of the thread's group; `None` until a call or an event has told it."""
        return self.facts.group_id

    @property
    def parent_id(self) -> str | None:
        """The id of the message that the thread hangs on (父消息); `None` until a call or an event has told it."""
        return self.facts.parent_id

    @property
    def owner(self) -> str | None:
        """The user id of the thread's creator; `None` until a call has told it."""
        return self.facts.owner

    @property
    def created(self) -> datetime | None:
        """When the thread was created, an aware datetime in UTC; `None` until a call or an event has told it."""
        return self.facts.created

    @property
    def member_count(self) -> int | None:
        """How many members the thread had when a call last told it; `None` until then."""
        return self.facts.member_count

    @blocking
    async def join(self) -> Thread:
        """Join the thread and return it, with its attributes filled in.

        Raises:
            AlreadyExists: this user is already in the thread.
            Forbidden: this user is not in the group.
            ThreadNotFound: there is no such thread.

        Example:
            >>> puer = group.create_thread("Puer", group.send("Which puer?"))
            >>> bob.thread(puer.id).join().name
            'Puer'

        Source: docs/protocol.md#thread-calls, joinChatThread.
        """
        what = operation("join_thread", thread=self._id, user=self.account.user)
        answer = await self._write(what, "POST", "thread", self._id, "user", self.account.user, "join")
        learn_thread(self.account, mapping(mapping(answer, "data"), "detail"))
        return self

    @blocking
    async def leave(self) -> None:
        """Leave the thread: this user no longer receives its messages.

        Raises:
            ThreadNotFound: there is no such thread.
            Forbidden: this user is not in the thread.

        Example:
            >>> bob.thread(thread.id).leave()

        Source: docs/protocol.md#thread-calls, leaveChatThread.
        """
        what = operation("leave_thread", thread=self._id, user=self.account.user)
        await self._write(what, "DELETE", "thread", self._id, "user", self.account.user, "quit")

    @blocking
    async def rename(self, name: str) -> None:
        """Give the thread another name. The service tells the members of the group.

        Args:
            name: the new name, up to 64 characters.

        Raises:
            Forbidden: this user is neither the thread's creator nor the group's owner or an admin.
            LimitReached: the name is too long.

        Example:
            >>> thread.rename("Oolong, spring harvest")
            >>> thread.name
            'Oolong, spring harvest'

        Source: docs/protocol.md#thread-calls, changeChatThreadName.
        """
        body = {"name": _checked_name(name)}
        answer = await self._write(operation("rename_thread", thread=self._id), "PUT", "thread", self._id, body=body)
        self.account.known.threads[self._id].name = text(mapping(answer, "data"), "name") or name

    @blocking
    async def destroy(self) -> None:
        """Destroy the thread and its messages. The service tells the members of the group.

        Raises:
            Forbidden: this user is neither the group's owner nor an admin.

        Example:
            >>> thread.destroy()
            >>> list(group.threads())
            []

        Source: docs/protocol.md#thread-calls, destroyChatThread.
        """
        await self._write(operation("destroy_thread", thread=self._id), "DELETE", "thread", self._id)
        self.account.known.threads.pop(self._id, None)

    @blocking
    async def refresh(self) -> Thread:
        """Ask the service for the thread's attributes, fill them in, and return the thread.

        Raises:
            ThreadNotFound: there is no such thread, or it was destroyed.
            Forbidden: this user is not in the group.

        Example:
            >>> thread.refresh().member_count
            2

        Source: docs/protocol.md#thread-calls, getChatThreadDetail.
        """
        what = operation("read_thread", thread=self._id, user=self.account.user)
        answer = await self.account.rest.get("thread", self._id, what=what)
        learn_thread(self.account, mapping(answer, "data") or next(iter(objects(answer, "data")), {}))
        return self

    def members(self) -> Listing[str]:
        """Return the user ids of the thread's members.

        Returns:
            An iterable that asks the service for one page at a time.

        Example:
            >>> sorted(thread.members())
            ['alice', 'bob']

        Source: docs/protocol.md#thread-calls, getChatThreadMembers.
        """

        async def pages() -> AsyncGenerator[list[str], None]:
            what = operation("list_thread_members", thread=self._id, user=self.account.user)
            async for entries in cursor_pages(self.account, what, "thread", self._id, "users"):
                yield listed_users(entries)

        return Listing(pages, f"members of thread {self._id}")

    @blocking
    async def remove(self, user: str) -> None:
        """Remove a member from the thread.

        Args:
            user: a user id.

        Raises:
            Forbidden: this user is neither the group's owner nor an admin.

        Example:
            >>> thread.remove("bob")
            >>> list(thread.members())
            ['alice']

        Source: docs/protocol.md#thread-calls, removeChatThreadMember.
        """
        what = operation("remove_thread_member", member=user, thread=self._id)
        await self._write(what, "DELETE", "thread", self._id, "users", user_id(user))

    @blocking
    async def last_message(self) -> Message | None:
        """Return the newest message of the thread, or `None` if the thread has no messages.

        Raises:
            ThreadNotFound: there is no such thread.

        Example:
            >>> thread.last_message().text
            'Dong Ding, please 🍵'

        Source: docs/protocol.md#thread-calls, getChatThreadLastMessage.
        """
        return (await last_messages(self.account, [self._id])).get(self._id)

    @blocking
    async def parent(self) -> Message | None:
        """Return the group message that the thread hangs on (父消息), or `None` if the history no longer has it.

        The service has no call that returns a message by its id. So imkit reads the group's history backwards, from the
        time at which the thread was created.

        Raises:
            ThreadNotFound: there is no such thread.

        Example:
            >>> thread.parent().text
            'Which oolong should we order?'

        Source: docs/protocol.md#roaming-history.
        """
        if self.parent_id is None or self.group_id is None:
            await self.refresh.aio()
        facts = self.facts
        parent_id, group_id = facts.parent_id, facts.group_id  # a malformed notice may change them during the requests
        if not is_id(parent_id) or not is_id(group_id) or not (parent_id and group_id):
            return None  # not known, or the notice that told it was malformed
        # The parent is older than the thread; a minute more allows for clocks that differ.
        until = None if facts.created is None else to_milliseconds(facts.created) + 60_000
        walk = PageWalk(self.account, group_id, Query(until=until, order="newest"))
        async for messages in walk.pages():
            for message in messages:
                if message.id == parent_id:
                    return message
            if messages and int(messages[-1].id or 0) < int(parent_id):  # ids grow with time: it cannot follow
                return None
        return None

    def __repr__(self) -> str:
        named = f" {for_terminal(self.name, NAME_LENGTH)!r}" if self.name else ""
        group = f" in group {self.group_id}" if self.group_id else ""
        members = "".join(f", {count}" for count in counted(self.member_count, "member"))
        return f"<Thread{named} {self._id}{group}{members}>"

    def _repr_html_(self) -> str:
        facts = self.facts
        group = self.account.known.group_names.get(facts.group_id or "", facts.group_id)
        lines = [f"id {self._id}", *known("in group", group), *known("by", facts.owner)]
        lines += counted(facts.member_count, "member") + counted(facts.message_count, "message")
        lines.append(f"as {self.account.user}")
        return card("Thread", self.name or self._id, lines, code="" if self.name else "thread.refresh()")


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """One entry of a user's list of conversations (会话列表): `Session.conversations`.

    Attributes:
        conversation: the group or the thread; for a one-to-one conversation (单聊) the user id of the other user.
        unread: how many messages of others are unread; `Conversation.mark_read` clears it.
        last_message: the newest message; `None` if there is none.
        pinned_at: when the user pinned the conversation, an aware datetime in UTC; `None` if it is not pinned.

    Source: docs/protocol.md#list-of-conversations.
    """

    conversation: Group | Thread | str
    unread: int
    last_message: Message | None = None
    pinned_at: datetime | None = None


async def thread_pages(account: Account, what: Operation, *path: str) -> AsyncGenerator[list[Thread], None]:
    """Yield the threads that a REST list names, page by page, and keep what the list tells about them."""
    async for entries in cursor_pages(account, what, *path):
        ids = [learn_thread(account, entry) for entry in objects_in(entries)]
        yield [Thread(account, thread_id) for thread_id in ids if thread_id]


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        hint = "The name comes first, then the message that the thread hangs on." if isinstance(name, Message) else ""
        raise InvalidMessage(f"a thread needs a name, and {name!r:.60} is none", hint=hint)
    if len(name) > NAME_LENGTH:
        raise LimitReached(f"the thread's name has {len(name)} characters; at most {NAME_LENGTH} are allowed", hint="")
    return name
