"""`Session`: what a logged-in user can do. `imkit.log_in` makes one."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload
from urllib.parse import urlsplit

from imkit.cards import Picture, Tone, card, counted
from imkit.client import attachments
from imkit.client import send as sending
from imkit.client.account import Account
from imkit.client.app import App
from imkit.client.attachments import BytesProgress
from imkit.client.callbacks import Subscription
from imkit.client.card_pictures import load_picture
from imkit.client.conversations import ConversationEntry, conversation_pages
from imkit.client.credentials import TokenSource
from imkit.client.event_store import EventStream, checked_kinds
from imkit.client.ids import message_id
from imkit.client.list_pages import ListPages
from imkit.client.paging import Listing, collected
from imkit.client.roaming import Order, Progress
from imkit.client.thread_queries import last_messages
from imkit.client.user_ids import user_id
from imkit.client.users import fetch_users, update_attributes
from imkit.conversation import load_history, sent_at
from imkit.errors import InvalidMessage, ProtocolError
from imkit.events import Event
from imkit.hints import A_GROUP_OR_THREAD, A_SESSION, operation
from imkit.history.arguments import Moment, query
from imkit.messages import Body, Message, load_pictures_with
from imkit.misuse import PublicObject, explained, made_by_imkit
from imkit.portal import blocking, portal, short_tracebacks
from imkit.repeated_warnings import logger_of_untrusted
from imkit.threads import ConversationInfo, Group, Thread, thread_pages
from imkit.users import User
from imkit.wire.untrusted_json import identifier, mapping, objects, text

if TYPE_CHECKING:
    import pandas as pd

logger = logger_of_untrusted("imkit.client.lists")

E = TypeVar("E", bound=Event)
_GROUPS_PAGE = 20

_accounts: weakref.WeakValueDictionary[tuple[App, str, str], Account] = weakref.WeakValueDictionary()
_login_locks: defaultdict[tuple[App, str], asyncio.Lock] = defaultdict(asyncio.Lock)


def _forget_logins_of_parent() -> None:
    global _accounts, _login_locks
    _accounts, _login_locks = weakref.WeakValueDictionary(), defaultdict(asyncio.Lock)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_logins_of_parent)


def _picture_of(message: Message) -> Picture | None:
    """Return the picture for the card of a message, through one of the sessions that are open."""
    accounts = [account for reference in _accounts.valuerefs() if (account := reference()) is not None]
    return load_picture(accounts, message)


load_pictures_with(_picture_of)


async def open_session(
    user: str,
    app: App,
    *,
    password: str | None = None,
    token: str | TokenSource | None = None,
    resource: str | None = None,
) -> Session:
    """Internal: log in at an app, and return the session; the arguments are those of `imkit.login`."""
    portal().before_close(_close_all)
    hosts = await app.hosts()
    account = Account(user, app, hosts, password=password, token=token, resource=resource)
    device = (app, user, account.identity.resource)
    async with _login_locks[app, user]:
        earlier = _accounts.get(device)
        if earlier is not None:
            earlier.connection.pause_reconnecting()
        try:
            await account.connection.open()
        except BaseException:
            if earlier is not None:
                earlier.connection.allow_reconnecting()
            await account.close("the login failed")
            raise
        _accounts[device] = account
        if earlier is not None:
            await earlier.close("replaced")
    return Session(account)


async def _close_all() -> None:
    await asyncio.gather(*(account.close("the program ended") for account in list(_accounts.values())))


class Session(PublicObject):
    """A logged-in user: sends and reads messages, finds groups and threads, receives events.

    `imkit.login` returns one. Use it as a context manager to log out at the end of a block. A session that no variable
    refers to any more closes itself. A session belongs to its process: a forked child (`multiprocessing`) logs in anew.

    Example:
        >>> with imkit.login("alice") as alice:
        ...     group = alice.create_group("tea")
        >>> alice.connected
        False
    """

    @explained
    def __init__(self, account: Account) -> None:
        if not isinstance(account, Account):
            raise made_by_imkit(Session)
        self._account = account

    @property
    def account(self) -> Account:
        """Internal: the connection, the REST client and the events of this login."""
        return self._account

    @property
    def user(self) -> str:
        """The user id."""
        return self.account.user

    @property
    def app(self) -> App:
        """The app that this session is logged in to."""
        return self.account.app

    @property
    def connected(self) -> bool:
        """Whether the session is connected to the service at this moment."""
        return self.account.process.is_current and self.account.connection.state == "connected"

    # ------------------------------------------------------ groups and threads

    def thread(self, thread_id: str) -> Thread:
        """Return the thread (子区) with this id. This does not ask the service; `Thread.refresh` does.

        Args:
            thread_id: a string of digits.

        Raises:
            InvalidMessage: `thread_id` is not an id.

        Example:
            >>> bob.thread(thread.id).refresh().name
            'Oolong'
        """
        return Thread(self.account, thread_id)

    def group(self, group_id: str) -> Group:
        """Return the group (群组) with this id. This does not ask the service.

        Args:
            group_id: a string of digits.

        Raises:
            InvalidMessage: `group_id` is not an id.

        Example:
            >>> bob.group(group.id).id == group.id
            True
        """
        return Group(self.account, group_id)

    def threads(self, group: Group | str | None = None) -> Listing[Thread]:
        """Return the threads that this user has joined: all of them, or those of one group.

        Args:
            group: a group or its id; `None`: all groups.

        Returns:
            An iterable that asks the service for one page at a time.

        Example:
            >>> [thread.name for thread in bob.threads(group)]
            ['Oolong']

        Source: docs/protocol.md#thread-calls, getJoinedChatThreads.
        """
        account = self.account
        group_id = None if group is None else (group if isinstance(group, Group) else self.group(group)).id
        path: tuple[str, ...] = ("threads", "user", account.user)
        if group_id is not None:
            path = ("threads", "chatgroups", group_id, *path[1:])
        what = operation("list_threads", user=account.user, group=group_id)
        name = f"threads {account.user} joined" + ("" if group_id is None else f" in group {group_id}")
        return Listing(lambda: thread_pages(account, what, *path), name)

    @blocking
    async def last_messages(self, threads: Iterable[Thread | str]) -> dict[str, Message | None]:
        """Return the newest message of each thread, with one request for every 20 threads.

        Args:
            threads: threads, or their ids.

        Returns:
            The messages by thread id; `None` for a thread without messages.

        Example:
            >>> newest = alice.last_messages(group.threads())
            >>> newest[thread.id].text
            'Dong Ding, please 🍵'

        Source: docs/protocol.md#thread-calls, getChatThreadLastMessage.
        """
        wanted = await collected(threads, "group.threads()")
        ids = [(thread if isinstance(thread, Thread) else self.thread(thread)).id for thread in wanted]
        return await last_messages(self.account, ids)

    def groups(self) -> Listing[Group]:
        """Return the groups that this user is a member of.

        Returns:
            An iterable that asks the service for one page at a time.

        Example:
            >>> "tea" in [group.name for group in bob.groups()]
            True

        Source: docs/protocol.md#group-calls, joined groups.
        """
        return Listing(lambda: _group_pages(self.account), f"groups of {self.user}")

    def conversations(self) -> Listing[ConversationInfo]:
        """Return the conversations (会话) of this user with their unread counts, the newest message first.

        The service lists groups and one-to-one conversations that have messages, and no threads.

        Returns:
            An iterable that asks the service for one page at a time.

        Example:
            >>> for info in bob.conversations():
            ...     print(info.conversation, info.unread, info.last_message.text)
            <Group ...> 1 Which oolong should we order?

        Source: docs/protocol.md#list-of-conversations, getServerConversations.
        """
        account = self.account

        async def pages() -> AsyncGenerator[list[ConversationInfo], None]:
            async for entries in conversation_pages(account):
                yield [_conversation_info(account, entry) for entry in entries]

        return Listing(pages, f"conversations of {self.user}")

    @blocking
    async def create_group(self, name: str, members: Iterable[str] = ()) -> Group:
        """Create a group (群组). This user owns it, and the members are in it at once.

        Args:
            name: the group's name.
            members: user ids. The users must exist; in the sandbox a user exists after the first login.

        Raises:
            NotFound: one of the members does not exist.
            LimitReached: the user has as many groups as one user may have.
            InvalidMessage: the name is empty, or `members` is not a list of user ids.

        Example:
            >>> group = alice.create_group("tea", members=["bob"])
            >>> sorted(group.members())
            ['alice', 'bob']

        Source: docs/protocol.md#group-calls, createGroup.
        """
        account = self.account
        if not isinstance(name, str) or not name.strip():
            hint = 'Give it first: session.create_group("tea", members=["bob"]).'
            raise InvalidMessage(f"a group needs a name, and {name!r:.60} is none", hint=hint)
        body = {
            "owner": account.user,
            "groupname": name,
            "desc": "",
            "members": [user_id(member) for member in await collected(members, '["bob"]')],
            "public": False,
            "approval": False,
            "allowinvites": True,
            "invite_need_confirm": False,
            "maxusers": 200,
        }
        params = {"resource": account.identity.resource}
        answer = await account.rest.request(
            "POST", "chatgroups", what=operation("create_group", user=account.user), body=body, params=params
        )
        group_id = identifier(mapping(answer, "data"), "groupid")
        if not group_id:
            raise ProtocolError(f"the group {name!r:.80} was created, but the answer does not name it")
        account.known.learn_group(group_id, name)
        return Group(account, group_id)

    # ------------------------------------------------------------------- users

    @blocking
    async def users(self, ids: Iterable[str]) -> dict[str, User]:
        """Return users with their attributes (用户属性), such as nickname and avatar; one request for 100 users.

        The session keeps what it was told, and does not ask for a user again.

        Args:
            ids: user ids, such as ``group.members()``.

        Returns:
            The users, by the ids as they were given. A user whom the service does not know has no attributes.

        Raises:
            InvalidMessage: `ids` is not a list of user ids.

        Example:
            >>> bob.update_profile(nickname="Bob 小博", avatar_url="https://example.com/bob.png")
            >>> found = alice.users(["bob", "carol"])
            >>> found["bob"].nickname, found["carol"].nickname
            ('Bob 小博', None)

        Source: docs/protocol.md#user-attributes.
        """
        return await fetch_users(self.account, await collected(ids, "group.members()"))

    @blocking
    async def update_profile(self, nickname: str | None = None, avatar_url: str | None = None) -> None:
        """Change this user's nickname (昵称) and avatar (头像), which every user of the app can read.

        Args:
            nickname: up to 64 characters; `None` leaves it as it is, an empty text removes it.
            avatar_url: where the picture is, up to 256 characters; `None` and an empty text as for `nickname`.

        Raises:
            InvalidMessage: both are `None`, or one is not a text.
            TooLarge: one of them is too long.
            ServiceNotEnabled: user attributes are not switched on for the app.

        Example:
            >>> alice.update_profile(nickname="Alice 爱丽丝")
            >>> bob.users(["alice"])["alice"].nickname
            'Alice 爱丽丝'

        Source: docs/protocol.md#user-attributes.
        """
        await update_attributes(self.account, nickname=nickname, avatar_url=avatar_url)

    @blocking
    async def report(self, message: Message | str, kind: str, reason: str) -> None:
        """Report a message (举报) to the people who look after the app. They see it in the app's console.

        Nobody else is told, and the message stays where it is.

        Args:
            message: the message, or its id.
            kind: what it is, in a word that the app has chosen, such as ``"spam"``.
            reason: why, in your own words.

        Raises:
            MessageNotFound: there is no such message any more, or this user is not in its conversation.
            InvalidMessage: `kind` or `reason` is empty or not a text.

        Example:
            >>> bob.report(sent, "spam", "It advertises another shop.")

        Source: docs/protocol.md#reports.
        """
        reported = message_id(message)
        for name, value in (("kind", kind), ("reason", reason)):
            if not isinstance(value, str) or not value:
                raise InvalidMessage(f"{name} must be a text", hint="Say what the message is, and why you report it.")
        user = self.account.user
        what = operation("report", message=reported, user=user)
        body = {"username": user, "reportType": kind, "reportReason": reason}
        path = ("user", user, "moderation", "report", "message", reported)
        await self.account.rest.request("POST", *path, what=what, body=body)

    # ---------------------------------------------------------------- messages

    @blocking
    async def send(
        self,
        to: Thread | Group,
        body: str | Body,
        *,
        reply_to: Message | str | None = None,
        mention: str | Iterable[str] = (),
        progress: BytesProgress | None = None,
    ) -> Message:
        """Send a message to a thread or a group, as `Thread.send` does.

        Args:
            to: the thread or the group.
            body: a text, or one of the nine bodies, such as `imkit.Image("cup.png")`.
            reply_to: the message that it replies to, or its id, as in `Thread.send`.
            mention: the user ids that it mentions, or `imkit.ALL`.
            progress: for an attachment: is called with the number of bytes uploaded and the total.

        Returns:
            The message as the server accepted it, with its id and its time.

        Raises:
            InvalidMessage: `to` is not a thread or a group, or the body cannot be sent. Others: as in `Thread.send`.

        Example:
            >>> alice.send(thread, "hello").text
            'hello'

        Source: docs/protocol.md#sending.
        """
        target = checked_conversation(to).target()
        return await sending.send(self.account, target, body, reply_to=reply_to, mention=mention, progress=progress)

    @blocking
    async def recall(self, message: Message | str, *, to: Thread | Group | None = None, ext: str | None = None) -> None:
        """Recall a message (撤回), as `Thread.recall` does.

        Args:
            message: the message, or its id. An id needs `to` as well.
            to: the thread or the group that the message was sent to; `None`: where `message` says.
            ext: a text for the users who see the recall.

        Raises:
            RecallExpired: the sender's time to recall is over.
            Forbidden: another user sent the message, and this user does not manage the group.
            MessageNotFound: there is no such message any more.
            InvalidMessage: `message` is an id, and `to` is missing.

        Example:
            >>> alice.recall(sent)

        Source: docs/protocol.md#recall.
        """
        target, recalled = self._target_and_id(message, to)
        await sending.recall(self.account, target, recalled, ext, sent_at(message))

    @blocking
    async def edit(self, message: Message | str, body: str | Body, *, to: Thread | Group | None = None) -> Message:
        """Change the content of a message that was sent, as `Thread.edit` does.

        Args:
            message: the message, or its id. An id needs `to` as well.
            body: the new content; as in `Thread.edit`.
            to: the thread or the group that the message was sent to; `None`: where `message` says.

        Returns:
            The message with its new content.

        Raises:
            MessageNotFound: there is no such message any more.
            InvalidMessage: `message` is an id, and `to` is missing.

        Example:
            >>> alice.edit(sent, "Two bags, please").text
            'Two bags, please'

        Source: docs/protocol.md#editing.
        """
        target, edited = self._target_and_id(message, to)
        known = message if isinstance(message, Message) else None
        return await sending.edit(self.account, target, edited, body, known)

    def _target_and_id(self, message: Message | str, to: Thread | Group | None) -> tuple[sending.Target, str]:
        """Return where a message was sent and its id, from the arguments of `recall` and `edit`."""
        if isinstance(message, Message):
            return (sending.target_of(message) if to is None else checked_conversation(to).target()), message.id
        if to is None:
            raise InvalidMessage("a message id alone does not say where it was sent", hint="Add to=thread.")
        return checked_conversation(to).target(), message_id(message)

    @blocking
    async def history(
        self,
        of: Thread | Group | Iterable[Thread | Group],
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        types: Sequence[str] | None = None,
        sender: str | None = None,
        limit: int | None = None,
        order: Order = "oldest",
        parallel: bool | int = True,
        progress: Progress | Literal[False] | None = None,
        resume: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Load the roaming history (消息漫游) of one or several threads and groups into one DataFrame.

        Args:
            of: a thread, a group, or a list of them.
            since: as in `Thread.history`, like the arguments that follow.
            until: the end of the time range, exclusive.
            types: only messages of these types.
            sender: only messages of this user.
            limit: the largest number of rows, over all threads and groups.
            order: ``"oldest"`` or ``"newest"`` first.
            parallel: how many requests are under way at the same time.
            progress: is called with the number of messages that have arrived.
            resume: a stopped history of the same threads and groups, such as `session.stopped`.

        Returns:
            A history frame, as `Thread.history` gives it.

        Raises:
            InvalidMessage: an argument is not valid. Others: as in `Thread.history`.

        Example:
            >>> frame = alice.history([group, thread], since="2026-11-01")
            >>> frame.text.to_list()
            ['Which oolong should we order?', 'Dong Ding, please 🍵']

        Source: docs/protocol.md#roaming-history.
        """
        several = isinstance(of, Iterable) and not isinstance(of, str)
        conversations: list[Any] = await collected(cast(Any, of), "session.threads()") if several else [of]
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        checked = [checked_conversation(conversation) for conversation in conversations]
        return await load_history(self.account, checked, wanted, progress, parallel, resume)

    @property
    def stopped(self) -> pd.DataFrame | None:
        """The rows of the `history()` call that was last stopped or ended in an error, or `None`.

        Pass the frame to ``history(resume=…)`` to load what is missing. It is `None` again as soon as that call is
        complete.

        Example:
            >>> alice.stopped is None
            True

            After a stop:

            ```python
            frame = thread.history(resume=alice.stopped)
            ```
        """
        self.account.process.check()
        if self.account.stopped is None and not self.account.load_tasks:
            return None
        from imkit.history.load import stopped_frame

        with short_tracebacks:
            return portal().call(stopped_frame(self.account))

    @blocking
    async def download(
        self, message: Message, folder: str | os.PathLike[str], *, progress: BytesProgress | None = None
    ) -> Path:
        """Save the attachment of a message to a folder, under a safe name. An existing file is never replaced.

        Args:
            message: a message with an attachment (图片, 语音, 视频, 文件) or a bundle (合并消息).
            folder: the folder; it is made if it does not exist.
            progress: is called with the number of bytes received and the total, `None` if the service does not tell it.

        Returns:
            The path of the new file.

        Raises:
            InvalidMessage: the message has no attachment.
            Unsupported: the file is not on the app's own server.
            NotFound: the file has expired; the service keeps files for 7 days by default.

        Example:
            >>> note = thread.send(imkit.File(b"two bags", file_name="order.txt"))
            >>> alice.download(note, "downloads").read_bytes()
            b'two bags'

        Source: docs/protocol.md#download.
        """
        return await attachments.download(self.account, message, folder, progress)

    @blocking
    async def unpack(self, message: Message) -> list[Message]:
        """Open a bundle (合并消息) and return the messages in it.

        Args:
            message: a message whose body is a `Combine`.

        Raises:
            InvalidMessage: the message is not a bundle.
            ProtocolError: the bundle's file is damaged.

        Example:
            >>> bundle = thread.send(imkit.Combine("What was said", [sent]))
            >>> [inner.text for inner in alice.unpack(bundle)]
            ['Dong Ding, please 🍵']

        Source: docs/protocol.md#bundle-files.
        """
        return await attachments.unpack(self.account, message)

    # ------------------------------------------------------------------ events

    @overload
    def events(self, *, replay: bool = True) -> EventStream[Event]: ...
    @overload
    def events(self, kind: type[E], /, *kinds: type[E], replay: bool = True) -> EventStream[E]: ...
    def events(self, *kinds: type[E], replay: bool = True) -> EventStream[E]:
        """Return a stream of this session's events, for `for`, `async for` or `.next(timeout=…)`.

        Each stream reads the events at its own pace and takes nothing from other streams.

        Args:
            *kinds: event classes, such as `MessageReceived`; none means all events.
            replay: True begins with the events that the session has kept (the last 10,000). False begins with the next
                event.

        Raises:
            InvalidMessage: one of `kinds` is not an event class.

        Example:
            >>> received = bob.events(imkit.MessageReceived)
            >>> received.next(timeout=10, where=lambda event: event.message.id == sent.id).message.text
            'Dong Ding, please 🍵'
        """
        return EventStream(self.account.events, checked_kinds(kinds), replay, owner=self.account)

    def on(
        self, kind: type[E], callback: Callable[[E], Awaitable[object] | object], replay: bool = True
    ) -> Subscription:
        """Call a function with each event of one kind, until `.off()` or the end of the session.

        Args:
            kind: an event class, such as `MessageReceived`.
            callback: a function with one argument, the event. A plain function runs on a thread of the session, one
                event after another; it may block and may use blocking calls of imkit. An async function runs on
                imkit's event loop. An exception in it is logged, and the session goes on. If it falls behind by more
                than the session keeps (the last 10,000 events), it gets a `Dropped` in place of what it missed.
            replay: True begins with the events that the session has kept; False begins with the next event.

        Returns:
            The subscription; its `.off()` ends the calls.

        Raises:
            InvalidMessage: `kind` is not an event class.
            SessionClosed: the session is over.

        Example:
            >>> texts = []
            >>> subscription = bob.on(imkit.MessageReceived, lambda event: texts.append(event.message.text))
            >>> subscription.off()
        """
        self.account.check_open()
        given: object = callback
        if not callable(given):
            hint = "Give the function itself, without parentheses: session.on(imkit.MessageReceived, print)."
            raise InvalidMessage(f"{given!r:.60} cannot be called with an event", hint=hint)
        # The stream must not refer to the account: a session that no variable refers to closes itself, even if it has
        # callbacks.
        return Subscription(self.account, EventStream(self.account.events, checked_kinds((kind,)), replay), callback)

    def wire(self, n: int = 200) -> pd.DataFrame:
        """Return the last frames and REST calls of this session, decoded, without tokens and secrets.

        The first call begins to record and returns an empty frame. From then on the last 2,000 entries are kept.

        Args:
            n: the largest number of entries; the newest `n`, the oldest of them first.

        Returns:
            A DataFrame with the columns `time` (UTC), `direction` (up, down), `command`, `decoded` (JSON text) and
            `bytes`.

        Example:
            >>> len(alice.wire())
            0
            >>> _ = thread.send("hello")
            >>> "up" in alice.wire().direction.to_list()
            True
        """
        log = self.account.wire_log
        log.is_on = True
        return log.to_dataframe(n)

    # ------------------------------------------------------------- log out, show

    @blocking
    def close(self) -> Coroutine[Any, Any, None]:  # not async: once called, it cannot be interrupted before it begins
        """Log out. Event streams end, and sends that are still queued fail with `SessionClosed`.

        If it is interrupted (the stop button, a cancelled task), the session closes all the same; a second call waits
        for the end.

        Example:
            >>> alice.close()
            >>> alice
            <Session alice at imkit#sandbox, closed>

        Source: docs/protocol.md#logout.
        """
        return self.account.start_closing()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.account.process.is_current:  # a forked child that leaves the block has nothing to close
            self.close()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.account.process.is_current:
            await self.close.aio()

    def _state(self) -> str:
        connection = self.account.connection
        if not self.account.process.is_current:
            return "closed (it belongs to the process that forked this one)"
        if connection.state == "closed" and connection.end_reason != "closed":  # not by this session's own `close`
            return f"closed ({connection.end_reason})"
        if connection.state == "connecting" and connection.has_told_end:
            return "connecting (the sandbox has ended)"
        return connection.state

    def __repr__(self) -> str:
        return f"<Session {self.user} at {self.app.app_key}, {self._state()}>"

    def _repr_html_(self) -> str:
        account = self.account
        where = "local sandbox" if self.app.is_sandbox else urlsplit(account.rest.base_url).netloc
        facts = [f"{self.app.app_key} ({where})", f"device {account.identity.resource}"]
        facts += counted(account.events.end, "event")
        tones: dict[str, Tone] = {"connected": "good", "closed": "bad"}
        state = self._state()
        return card("Session", self.user, facts, state=state, tone=tones.get(state.partition(" ")[0], "busy"))


async def _group_pages(account: Account) -> AsyncGenerator[list[Group], None]:
    """Yield the groups that the account's user is in, page by page."""
    what = operation("list_groups", user=account.user)
    pages = ListPages(what)
    page, last = 0, None
    while True:
        params = {"pagenum": page, "pagesize": _GROUPS_PAGE, "version": "v3"}
        path = ("users", account.user, "joined_chatgroups")
        answer = await account.rest.get(*path, what=what, params=params)
        count = pages.count(answer.get("data"))
        groups = [group for entry in objects(answer, "data") if (group := _learn_group(account, entry)) is not None]
        if groups == last:
            return  # the service ignores the page number
        yield groups
        if count < _GROUPS_PAGE:
            return
        page, last = page + 1, groups


def _conversation_info(account: Account, entry: ConversationEntry) -> ConversationInfo:
    conversation: Group | Thread | str = entry.id
    if entry.is_group:
        # The entry does not tell a thread from a group.
        is_thread = entry.id in account.known.threads or (entry.last_message and entry.last_message.thread)
        conversation = Thread(account, entry.id) if is_thread else Group(account, entry.id)
    return ConversationInfo(conversation, entry.unread, entry.last_message, entry.pinned_at)


def _learn_group(account: Account, entry: dict[str, Any]) -> Group | None:
    """Keep the name in one entry of the group list, and return the group; `None` for an entry without a usable id."""
    group_id = identifier(entry, "groupid") or identifier(entry, "groupId") or identifier(entry, "id")
    if not group_id:
        logger.warning("an entry in the list of groups has no id: it is left out")
        return None
    name = text(entry, "groupname") or text(entry, "groupName") or text(entry, "name")
    account.known.learn_group(group_id, name)
    return Group(account, group_id)


def checked_conversation(conversation: object) -> Thread | Group:
    """Return a thread or a group, or refuse anything else."""
    if not isinstance(conversation, Thread | Group):
        what = f"a thread or a group is needed here, and {conversation!r:.60} is none"
        raise InvalidMessage(what, hint=A_GROUP_OR_THREAD)
    return conversation


def checked_session(session: object) -> Session:
    """Return a session, or refuse anything else."""
    if not isinstance(session, Session):
        raise InvalidMessage(f"{session!r:.80} is not a session", hint=A_SESSION)
    return session
