"""`Group` and `Thread`: what users hold.

Attributes never do I/O: they tell what calls and events have brought, and are `None` until then.

Source: fact sheet sections 9 (thread REST) and 10 (group REST); the rights and limits of sections 9 and 12.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING

from imkit.cards import card, counted, known
from imkit.client import send as sending
from imkit.client.account import Account, ThreadFacts
from imkit.client.app import user_id
from imkit.client.paging import Listing
from imkit.client.roaming import Query
from imkit.client.thread_queries import cursor_pages, last_messages, learn_thread
from imkit.conversation import Conversation, message_id
from imkit.errors import InvalidMessage, LimitReached, ProtocolError
from imkit.escape import for_terminal
from imkit.history.message_pages import PageWalk
from imkit.messages import Message, ThreadRef
from imkit.portal import blocking
from imkit.wire.untrusted_json import mapping, objects, text

if TYPE_CHECKING:
    pass

NAME_LENGTH = 64


class Group(Conversation):
    """A group: the room in which threads live.

    Example:
        >>> group = alice.create_group("tea", members=["bob"])  # doctest: +SKIP
    """

    def target(self) -> sending.Target:
        """Internal: return where a message to this group goes."""
        return sending.Target(self._id, is_thread=False)

    @property
    def name(self) -> str | None:
        """The group's name, if a call has told it."""
        return self.account.known.group_names.get(self._id)

    @blocking
    async def create_thread(self, name: str, parent: Message | str) -> Thread:
        """Create a chat thread (子区) on a message of this group; its creator is in it.

        Args:
            name: up to 64 characters.
            parent: the group message it hangs on, or its id; a message carries one thread at the most.

        Raises:
            AlreadyExists: the message carries a thread.
            ServiceNotEnabled: threads are not switched on for the app.

        Example:
            >>> thread = group.create_thread("Oolong", group.send("Which oolong?"))  # doctest: +SKIP

        Source: fact sheet section 9, createChatThread.
        """
        account, parent_id = self.account, message_id(parent)
        body = {"name": _checked_name(name), "msg_id": parent_id, "group_id": self._id, "owner": account.user}
        answer = await self._write(f"creating a thread on message {parent_id}", "POST", "thread", body=body)
        thread_id = text(mapping(answer, "data"), "thread_id")
        if not thread_id:
            raise ProtocolError(f"a thread was created in group {self._id}, but the answer does not name it")
        account.known.threads[thread_id] = ThreadFacts(name, self._id, parent_id, account.user)
        return Thread(account, thread_id)

    def threads(self) -> Listing[Thread]:
        """Return every thread of the group, whether this user is in it or not.

        Example:
            >>> [thread.name for thread in group.threads()]  # doctest: +SKIP
            ['Oolong']

        Source: fact sheet section 9, getChatThreads.
        """
        what = f"threads of group {self._id}"
        return Listing(lambda: thread_pages(self.account, what, "threads", "chatgroups", self._id), what)

    def members(self) -> Listing[str]:
        """Return the user ids of the group's members.

        Source: fact sheet section 10, members.
        """

        async def pages() -> AsyncGenerator[list[str], None]:
            async for answer in cursor_pages(
                self.account, f"the members of group {self._id}", "chatgroups", self._id, "users"
            ):
                entries = answer.get("data")
                roles = ("owner", "admin", "member")
                yield [
                    text(entry, role)
                    for entry in (entries if isinstance(entries, list) else ())
                    for role in roles
                    if isinstance(entry, dict) and text(entry, role)
                ]

        return Listing(pages, f"members of group {self._id}")

    @blocking
    async def invite(self, *users: str) -> None:
        """Add users to the group.

        Source: fact sheet section 10, invite.
        """
        body = {"usernames": [user_id(user) for user in users]}
        await self._write(f"inviting to group {self._id}", "POST", "chatgroups", self._id, "invite", body=body)

    @blocking
    async def remove(self, user: str) -> None:
        """Remove a member from the group, and with it from the group's threads.

        Raises:
            Forbidden: only the owner and admins may.

        Source: fact sheet sections 9 (consequences) and 10 (remove).
        """
        what = f"removing {user} from group {self._id}"
        await self._write(what, "DELETE", "chatgroups", self._id, "users", user_id(user))

    @blocking
    async def destroy(self) -> None:
        """Destroy the group, and its threads with it.

        Source: fact sheet sections 9 (consequences) and 10 (destroy).
        """
        account = self.account
        params = {"version": "v3", "resource": account.identity.resource}
        what = f"destroying group {self._id}"
        await account.rest.request("DELETE", "chatgroups", self._id, what=what, params=params)

    def __repr__(self) -> str:
        named = f" {for_terminal(self.name, NAME_LENGTH)!r}" if self.name else ""
        return f"<Group{named} {self._id}>"

    def _repr_html_(self) -> str:
        threads = sum(facts.group_id == self._id for facts in list(self.account.known.threads.values()))
        facts = [
            self._id,
            *(f"{told} known" for told in counted(threads or None, "thread")),
            f"as {self.account.user}",
        ]
        return card("Group", self.name or self._id, facts)


class Thread(Conversation):
    """A chat thread (子区): a side conversation on one message of a group.

    Example:
        >>> bob.thread(thread.id).join().send("I'm in")  # doctest: +SKIP
    """

    @property
    def facts(self) -> ThreadFacts:
        """Internal: what calls and events have told of the thread so far."""
        return self.account.known.threads.get(self._id) or ThreadFacts()

    def target(self) -> sending.Target:
        """Internal: return where a message to this thread goes."""
        facts = self.facts
        ref = ThreadRef(self._id, facts.name or "", facts.group_id or "", facts.parent_id or "")
        return sending.Target(self._id, is_thread=True, thread=ref)

    @property
    def name(self) -> str | None:
        """The thread's name."""
        return self.facts.name

    @property
    def group_id(self) -> str | None:
        """The id of the group it lives in."""
        return self.facts.group_id

    @property
    def parent_id(self) -> str | None:
        """The id of the message it hangs on."""
        return self.facts.parent_id

    @property
    def owner(self) -> str | None:
        """Who created it."""
        return self.facts.owner

    @property
    def created(self) -> datetime | None:
        """When it was created, aware, UTC."""
        return self.facts.created

    @property
    def member_count(self) -> int | None:
        """How many are in it, when last asked."""
        return self.facts.member_count

    @blocking
    async def join(self) -> Thread:
        """Join the thread, and return it with what the service told of it.

        Raises:
            AlreadyExists: this user is in it already.
            NotAMember, Forbidden: this user is not in the group.

        Source: fact sheet section 9, joinChatThread.
        """
        what = f"joining thread {self._id}"
        answer = await self._write(what, "POST", "thread", self._id, "user", self.account.user, "join")
        learn_thread(self.account, mapping(mapping(answer, "data"), "detail"))
        return self

    @blocking
    async def leave(self) -> None:
        """Leave the thread; its messages come no more.

        Source: fact sheet section 9, leaveChatThread.
        """
        what = f"leaving thread {self._id}"
        await self._write(what, "DELETE", "thread", self._id, "user", self.account.user, "quit")

    @blocking
    async def rename(self, name: str) -> None:
        """Give the thread another name, of up to 64 characters; the group is told.

        Raises:
            Forbidden: only its creator and the group's owner and admins may.

        Source: fact sheet section 9, changeChatThreadName.
        """
        body = {"name": _checked_name(name)}
        answer = await self._write(f"renaming thread {self._id}", "PUT", "thread", self._id, body=body)
        self.account.known.threads[self._id].name = text(mapping(answer, "data"), "name") or name

    @blocking
    async def destroy(self) -> None:
        """Destroy the thread and its messages; the group is told.

        Raises:
            Forbidden: only the group's owner and admins may.

        Source: fact sheet section 9, destroyChatThread.
        """
        await self._write(f"destroying thread {self._id}", "DELETE", "thread", self._id)
        self.account.known.threads.pop(self._id, None)

    @blocking
    async def refresh(self) -> Thread:
        """Ask the service for the thread's name, owner, time and number of members, and return it with them.

        Raises:
            ThreadNotFound: there is no such thread (any more).

        Source: fact sheet section 9, getChatThreadDetail.
        """
        answer = await self.account.rest.get("thread", self._id, what=f"asking for thread {self._id}")
        learn_thread(self.account, mapping(answer, "data"))
        return self

    def members(self) -> Listing[str]:
        """Return the user ids of who is in the thread.

        Source: fact sheet section 9, getChatThreadMembers.
        """

        async def pages() -> AsyncGenerator[list[str], None]:
            async for answer in cursor_pages(
                self.account, f"the members of thread {self._id}", "thread", self._id, "users"
            ):
                users = mapping(answer, "data").get("affiliations")
                yield [user for user in (users if isinstance(users, list) else ()) if isinstance(user, str)]

        return Listing(pages, f"members of thread {self._id}")

    @blocking
    async def remove(self, user: str) -> None:
        """Remove a member from the thread.

        Raises:
            Forbidden: only the group's owner and admins may.

        Source: fact sheet section 9, removeChatThreadMember.
        """
        what = f"removing {user} from thread {self._id}"
        await self._write(what, "DELETE", "thread", self._id, "users", user_id(user))

    @blocking
    async def last_message(self) -> Message | None:
        """Return the newest message of the thread, or `None` where there is none.

        Source: fact sheet section 9, getChatThreadLastMessage.
        """
        return (await last_messages(self.account, [self._id])).get(self._id)

    @blocking
    async def parent(self) -> Message | None:
        """Return the group message that the thread hangs on, or `None` where it is gone from the group's history.

        Source: fact sheet section 8; no call gives a message by its id, so the group's history is looked through.
        """
        if self.parent_id is None or self.group_id is None:
            await self.refresh.aio()
        facts = self.facts
        if not facts.parent_id or not facts.group_id:
            return None
        until = None if facts.created is None else int(facts.created.timestamp() * 1000) + 60_000
        walk = PageWalk(self.account, facts.group_id, Query(until=until, order="newest"))
        async for messages in walk.pages():
            for message in messages:
                if message.id == facts.parent_id:
                    return message
            if messages and int(messages[-1].id or 0) < int(facts.parent_id):  # ids grow with time
                return None
        return None

    def __repr__(self) -> str:
        named = f" {for_terminal(self.name, NAME_LENGTH)!r}" if self.name else ""
        group = f" in group {self.group_id}" if self.group_id else ""
        members = "".join(f", {told}" for told in counted(self.member_count, "member"))
        return f"<Thread{named} {self._id}{group}{members}>"

    def _repr_html_(self) -> str:
        facts = self.facts
        group = self.account.known.group_names.get(facts.group_id or "", facts.group_id)
        told = [f"id {self._id}", *known("in group", group), *known("by", facts.owner)]
        told += counted(facts.member_count, "member") + counted(facts.message_count, "message")
        return card("Thread", self.name or self._id, [*told, f"as {self.account.user}"])


async def thread_pages(account: Account, what: str, *path: str) -> AsyncGenerator[list[Thread], None]:
    """Yield the threads of a list, page by page."""
    async for answer in cursor_pages(account, what, *path):
        found = [learn_thread(account, entry) for entry in objects(answer, "entities")]
        yield [Thread(account, thread_id) for thread_id in found if thread_id]


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InvalidMessage("a thread needs a name")
    if len(name) > NAME_LENGTH:
        raise LimitReached(f"the thread's name has {len(name)} characters; at most {NAME_LENGTH} are allowed", hint="")
    return name
