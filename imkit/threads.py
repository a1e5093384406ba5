"""`Group` and `Thread`: what users hold.

Attributes never do I/O: they tell what calls and events have brought, and are `None` until then.

Source: fact sheet sections 9 (thread REST) and 10 (group REST); the rights and limits of sections 9 and 12.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from imkit import send as sending
from imkit.account import Account, ThreadFacts
from imkit.app import user_id
from imkit.errors import InvalidMessage, LimitReached, ProtocolError
from imkit.escape import for_html, for_terminal
from imkit.files import BytesProgress
from imkit.history import Moment, Progress, Walk, history_frame, query
from imkit.listing import Listing
from imkit.messages import Body, Message, ThreadRef, from_milliseconds
from imkit.portal import blocking
from imkit.roaming import Order, Query
from imkit.wire.last_message import message_from_json
from imkit.wire.untrusted import mapping, number, objects, text

if TYPE_CHECKING:
    import pandas as pd

NAME_LENGTH = 64
LIST_PAGE = 50
LAST_MESSAGES_BATCH = 20  # the most that one call takes


class _Room:
    """What a group and a thread share: an id, and messages."""

    def __init__(self, account: Account, room_id: str) -> None:
        self._account = account
        self._id = _checked_id(room_id)

    @property
    def id(self) -> str:
        """The id, a string of digits."""
        return self._id

    def _target(self) -> sending.Target:
        raise NotImplementedError

    @blocking
    async def send(self, body: str | Body, *, progress: BytesProgress | None = None) -> Message:
        """Send a message here.

        Args:
            body: a text, or one of the nine bodies.
            progress: for an attachment, called with the bytes uploaded and their total.

        Returns:
            The message as the server took it, with its id and time.

        Raises:
            InvalidMessage, TooLarge: refused before it was sent.
            NotAMember, Muted, Moderated, …: refused by the service.
            ConnectionLost: `outcome` says whether it may have arrived.

        Example:
            >>> thread.send("Dong Ding, please 🍵")  # doctest: +SKIP

        Source: fact sheet section 4.
        """
        return await sending.send(self._account, self._target(), body, progress)

    @blocking
    async def recall(self, message: Message | str, *, ext: str | None = None) -> None:
        """Take a message back (撤回): it leaves the history, and the others are told.

        Args:
            message: an own message, or its id.
            ext: a text for those who see the recall.

        Raises:
            RecallExpired: the window (2 minutes unless the app's console says otherwise) is over.
            MessageNotFound: there is no such message here any more.

        Example:
            >>> thread.recall(thread.send("oops"))  # doctest: +SKIP

        Source: fact sheet section 6.
        """
        await sending.recall(self._account, self._target(), _message_id(message), ext)

    @blocking
    async def edit(self, message: Message | str, body: str | Body) -> Message:
        """Change what a message says.

        Args:
            message: the message, or its id.
            body: what it says from now on; a text or a custom body, and for other types their `ext`.

        Returns:
            The message as it reads now.

        Example:
            >>> thread.edit(sent, "Dong Ding, two bags please")  # doctest: +SKIP

        Source: fact sheet section 4, "Edit".
        """
        return await sending.edit(self._account, self._target(), _message_id(message), body)

    @blocking
    async def acknowledge(self, message: Message | str, words: str = "") -> None:
        """Send a read ack (已读回执): tell a message's sender that this user has read it.

        Args:
            message: the message, or its id.
            words: a text that goes along.

        Example:
            >>> thread.acknowledge(message)  # doctest: +SKIP

        Source: fact sheet section 4, "Read ack".
        """
        await sending.acknowledge(self._account, self._target(), _message_id(message), words)

    @blocking
    async def history(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        types: Sequence[str] | None = None,
        sender: str | None = None,
        limit: int | None = None,
        order: Order = "oldest",
        parallel: bool | int = True,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Load the roaming history (消息漫游) into a DataFrame, one row a message.

        Args:
            since: inclusive: an aware datetime, a date (its local midnight) or an ISO string; naive means local.
            until: exclusive, likewise. The range is fixed when the call starts.
            types: such as ``["txt", "img"]``; bundles are ``"combine"``, not ``"txt"``.
            sender: a user id.
            limit: at most so many, counted from the end that `order` names.
            order: ``"oldest"`` or ``"newest"`` first.
            parallel: True fetches a long history in pieces, side by side; a number says how many requests at once;
                False makes one after another.
            progress: called with how many messages have come, and an estimate of how many there will be, or `None`.

        Returns:
            The frame of `imkit.frames`; ``frame.attrs["imkit"]`` says where it comes from and whether it is complete.

        Raises:
            InvalidMessage: an argument is out of bounds.

        Example:
            >>> thread.history(since="2026-11-01", types=["txt"]).groupby("sender").size()  # doctest: +SKIP

        Source: fact sheet section 8.
        """
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        return await history_frame(self._account, [self._id], wanted, progress, parallel)

    def messages(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        types: Sequence[str] | None = None,
        sender: str | None = None,
        limit: int | None = None,
        order: Order = "oldest",
    ) -> Listing[Message]:
        """Return the roaming history lazily, one `Message` at a time; the arguments are those of `history`.

        Example:
            >>> for message in thread.messages(order="newest", limit=3):  # doctest: +SKIP
            ...     print(message.text)
        """
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        return Listing(lambda: Walk(self._account, self._id, wanted).pages(), f"messages of {self._target()}")

    async def _write(self, what: str, method: str, *path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a REST call that changes something; the service then tells this user's other devices of it."""
        account = self._account
        params = {"resource": account.identity.resource}
        return await account.rest.request(method, *path, what=what, body=body, params=params)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self._id, self._account.user, self._account.app) == (
            other._id,
            other._account.user,
            other._account.app,
        )

    def __hash__(self) -> int:
        return hash((type(self), self._id))


class Group(_Room):
    """A group: the room in which threads live.

    Example:
        >>> group = alice.create_group("tea", members=["bob"])  # doctest: +SKIP
    """

    def _target(self) -> sending.Target:
        return sending.Target(self._id, is_thread=False)

    @property
    def name(self) -> str | None:
        """The group's name, if a call has told it."""
        return self._account.directory.group_names.get(self._id)

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
        account, parent_id = self._account, _message_id(parent)
        body = {"name": _checked_name(name), "msg_id": parent_id, "group_id": self._id, "owner": account.user}
        answer = await self._write(f"creating a thread on message {parent_id}", "POST", "thread", body=body)
        thread_id = text(mapping(answer, "data"), "thread_id")
        if not thread_id:
            raise ProtocolError(f"a thread was created in group {self._id}, but the answer does not name it")
        account.directory.threads[thread_id] = ThreadFacts(name, self._id, parent_id, account.user)
        return Thread(account, thread_id)

    def threads(self) -> Listing[Thread]:
        """Return every thread of the group, whether this user is in it or not.

        Example:
            >>> [thread.name for thread in group.threads()]  # doctest: +SKIP
            ['Oolong']

        Source: fact sheet section 9, getChatThreads.
        """
        what = f"threads of group {self._id}"
        return Listing(lambda: thread_pages(self._account, what, "threads", "chatgroups", self._id), what)

    def members(self) -> Listing[str]:
        """Return the user ids of the group's members.

        Source: fact sheet section 10, members.
        """

        async def pages() -> AsyncGenerator[list[str], None]:
            async for answer in _cursor_pages(
                self._account, f"the members of group {self._id}", "chatgroups", self._id, "users"
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
        account = self._account
        params = {"version": "v3", "resource": account.identity.resource}
        what = f"destroying group {self._id}"
        await account.rest.request("DELETE", "chatgroups", self._id, what=what, params=params)

    def __repr__(self) -> str:
        named = f" {for_terminal(self.name, NAME_LENGTH)!r}" if self.name else ""
        return f"<Group{named} {self._id}>"

    def _repr_html_(self) -> str:
        return f"<b>{for_html(self.name or 'Group')}</b> <small>group {self._id}</small>"


class Thread(_Room):
    """A chat thread (子区): a side conversation on one message of a group.

    Example:
        >>> bob.thread(thread.id).join().send("I'm in")  # doctest: +SKIP
    """

    @property
    def _facts(self) -> ThreadFacts:
        return self._account.directory.threads.get(self._id) or ThreadFacts()

    def _target(self) -> sending.Target:
        facts = self._facts
        ref = ThreadRef(self._id, facts.name or "", facts.group_id or "", facts.parent_id or "")
        return sending.Target(self._id, is_thread=True, thread=ref)

    @property
    def name(self) -> str | None:
        """The thread's name."""
        return self._facts.name

    @property
    def group_id(self) -> str | None:
        """The id of the group it lives in."""
        return self._facts.group_id

    @property
    def parent_id(self) -> str | None:
        """The id of the message it hangs on."""
        return self._facts.parent_id

    @property
    def owner(self) -> str | None:
        """Who created it."""
        return self._facts.owner

    @property
    def created(self) -> datetime | None:
        """When it was created, aware, UTC."""
        return self._facts.created

    @property
    def member_count(self) -> int | None:
        """How many are in it, when last asked."""
        return self._facts.member_count

    @blocking
    async def join(self) -> Thread:
        """Join the thread, and return it with what the service told of it.

        Raises:
            AlreadyExists: this user is in it already.
            NotAMember, Forbidden: this user is not in the group.

        Source: fact sheet section 9, joinChatThread.
        """
        what = f"joining thread {self._id}"
        answer = await self._write(what, "POST", "thread", self._id, "user", self._account.user, "join")
        learn_thread(self._account, mapping(mapping(answer, "data"), "detail"))
        return self

    @blocking
    async def leave(self) -> None:
        """Leave the thread; its messages come no more.

        Source: fact sheet section 9, leaveChatThread.
        """
        what = f"leaving thread {self._id}"
        await self._write(what, "DELETE", "thread", self._id, "user", self._account.user, "quit")

    @blocking
    async def rename(self, name: str) -> None:
        """Give the thread another name, of up to 64 characters; the group is told.

        Raises:
            Forbidden: only its creator and the group's owner and admins may.

        Source: fact sheet section 9, changeChatThreadName.
        """
        body = {"name": _checked_name(name)}
        answer = await self._write(f"renaming thread {self._id}", "PUT", "thread", self._id, body=body)
        self._account.directory.threads[self._id].name = text(mapping(answer, "data"), "name") or name

    @blocking
    async def destroy(self) -> None:
        """Destroy the thread and its messages; the group is told.

        Raises:
            Forbidden: only the group's owner and admins may.

        Source: fact sheet section 9, destroyChatThread.
        """
        await self._write(f"destroying thread {self._id}", "DELETE", "thread", self._id)
        self._account.directory.threads.pop(self._id, None)

    @blocking
    async def refresh(self) -> Thread:
        """Ask the service for the thread's name, owner, time and number of members, and return it with them.

        Raises:
            ThreadNotFound: there is no such thread (any more).

        Source: fact sheet section 9, getChatThreadDetail.
        """
        answer = await self._account.rest.get("thread", self._id, what=f"asking for thread {self._id}")
        learn_thread(self._account, mapping(answer, "data"))
        return self

    def members(self) -> Listing[str]:
        """Return the user ids of who is in the thread.

        Source: fact sheet section 9, getChatThreadMembers.
        """

        async def pages() -> AsyncGenerator[list[str], None]:
            async for answer in _cursor_pages(
                self._account, f"the members of thread {self._id}", "thread", self._id, "users"
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
        return (await last_messages(self._account, [self._id])).get(self._id)

    @blocking
    async def parent(self) -> Message | None:
        """Return the group message that the thread hangs on, or `None` where it is gone from the group's history.

        Source: fact sheet section 8; no call gives a message by its id, so the group's history is looked through.
        """
        if self.parent_id is None or self.group_id is None:
            await self.refresh.aio()
        facts = self._facts
        if not facts.parent_id or not facts.group_id:
            return None
        until = None if facts.created is None else int(facts.created.timestamp() * 1000) + 60_000
        walk = Walk(self._account, facts.group_id, Query(until=until, order="newest"))
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
        return f"<Thread{named} {self._id}{group}>"

    def _repr_html_(self) -> str:
        facts = [f"thread {self._id}"]
        facts += [f"group {for_html(self.group_id)}"] if self.group_id else []
        facts += [f"by {for_html(self.owner)}"] if self.owner else []
        facts += [f"{self.member_count} members"] if self.member_count is not None else []
        return f"<b>{for_html(self.name or 'Thread')}</b> <small>{' · '.join(facts)}</small>"


def learn_thread(account: Account, detail: dict[str, Any]) -> str:
    """Keep what the service told of a thread, and return its id (empty where it has none)."""
    thread_id = text(detail, "id")
    if thread_id:
        facts = account.directory.threads[thread_id]
        facts.name = text(detail, "name") or facts.name
        facts.group_id = text(detail, "groupId") or facts.group_id
        facts.parent_id = text(detail, "msgId") or facts.parent_id
        facts.owner = text(detail, "owner") or facts.owner
        if number(detail, "created"):
            facts.created = from_milliseconds(number(detail, "created"))
        if "affiliations_count" in detail:
            facts.member_count = number(detail, "affiliations_count")
    return thread_id


async def last_messages(account: Account, thread_ids: Sequence[str]) -> dict[str, Message | None]:
    """Return the newest message of each thread, in the order given; `None` where there is none."""
    found: dict[str, Message | None] = dict.fromkeys(thread_ids)
    ids = list(found)
    for start in range(0, len(ids), LAST_MESSAGES_BATCH):
        body = {"threadIds": ids[start : start + LAST_MESSAGES_BATCH]}
        what = "asking for last messages"
        answer = await account.rest.request("POST", "thread", "message", what=what, body=body, repeatable=True)
        for entry in objects(answer, "entities"):
            thread_id = text(entry, "thread_id")
            if thread_id in found:
                found[thread_id] = message_from_json(entry.get("last_message"))
    return found


async def thread_pages(account: Account, what: str, *path: str) -> AsyncGenerator[list[Thread], None]:
    """Yield the threads of a list, page by page."""
    async for answer in _cursor_pages(account, what, *path):
        found = [learn_thread(account, entry) for entry in objects(answer, "entities")]
        yield [Thread(account, thread_id) for thread_id in found if thread_id]


async def _cursor_pages(account: Account, what: str, *path: str) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answers of a paged list, to its end.

    Some lists give a cursor with their last page too: an empty page ends them as well, and one that repeats.
    """
    cursor = ""
    seen: set[str] = set()
    while True:
        params = {"limit": LIST_PAGE, **({"cursor": cursor} if cursor else {})}
        answer = await account.rest.get(*path, what=f"asking for {what}", params=params)
        yield answer
        cursor = text(mapping(answer, "properties"), "cursor") or text(answer, "cursor")
        data = answer.get("data")
        entries = answer.get("entities") or (data.get("affiliations") if isinstance(data, dict) else data)
        if not cursor or cursor in seen or not entries:
            return
        seen.add(cursor)


def _message_id(message: Message | str) -> str:
    found = message.id if isinstance(message, Message) else message
    if not isinstance(found, str) or not (found.isascii() and found.isdigit()):
        raise InvalidMessage(f"{found!r:.60} is no message", hint="Give a Message, or its id: a string of digits.")
    return found


def _checked_id(room_id: object) -> str:
    if not isinstance(room_id, str) or not (room_id.isascii() and room_id.isdigit()) or len(room_id) > 32:
        raise InvalidMessage(f"{room_id!r:.60} is no id of a group or thread", hint="It is a string of digits.")
    return room_id


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InvalidMessage("a thread needs a name")
    if len(name) > NAME_LENGTH:
        raise LimitReached(f"the thread's name has {len(name)} characters; at most {NAME_LENGTH} are allowed", hint="")
    return name
