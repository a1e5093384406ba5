"""`login` and `Session`: the front door."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar, overload
from urllib.parse import urlsplit

from imkit.cards import Tone, card, counted
from imkit.client import attachments
from imkit.client import send as sending
from imkit.client.account import Account
from imkit.client.app import App, app_in_environment, user_id
from imkit.client.attachments import BytesProgress
from imkit.client.callbacks import Subscription
from imkit.client.credentials import TokenSource
from imkit.client.event_store import EventStream, checked_kinds
from imkit.client.paging import Listing, collected
from imkit.client.roaming import Order, Progress
from imkit.client.thread_queries import last_messages
from imkit.errors import InvalidMessage, ProtocolError
from imkit.events import Event
from imkit.history.arguments import Moment, query
from imkit.messages import Body, Message
from imkit.portal import Blocking, blocking, portal
from imkit.threads import Group, Thread, thread_pages
from imkit.wire.untrusted_json import mapping, text

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("imkit.session")

E = TypeVar("E", bound=Event)
_GROUPS_PAGE = 20

_accounts: weakref.WeakValueDictionary[tuple[App, str, str], Account] = weakref.WeakValueDictionary()
_doors: defaultdict[tuple[App, str], asyncio.Lock] = defaultdict(asyncio.Lock)


async def _login(
    user: str,
    *,
    password: str | None = None,
    token: str | TokenSource | None = None,
    app: App | None = None,
    resource: str | None = None,
) -> Session:
    """Log in, and return the session.

    With no app in the arguments or the environment this is the local sandbox, started where none runs; users are
    made there on demand, and no credential is needed.

    Args:
        user: the user id; the service knows it in lower case.
        password: the user's password.
        token: a token from your app server, or a function (plain or async, without arguments) that fetches a fresh
            one; it is called again when the token expires.
        app: the app; `None`: from the environment (`App.from_env`), else the sandbox.
        resource: names this device; the default is one for each process. Logging in again as the same user, app and
            resource (a cell run twice) closes the earlier session once the new one is up.

    Raises:
        AuthError: the login was refused.
        ConnectionLost: the service could not be reached.
        InvalidMessage: an argument is malformed.

    Example:
        >>> alice = login("alice")  # doctest: +SKIP
        >>> alice = login("alice", app=App("org#app"), password="…")  # doctest: +SKIP

    Source: fact sheet section 2.
    """
    user = user_id(user)
    portal().before_close(_close_all)
    if app is None:
        app = app_in_environment() or await _sandbox_app()
    hosts = await app.hosts()
    account = Account(user, app, hosts, password=password, token=token, resource=resource)
    place = (app, user, account.identity.resource)
    async with _doors[app, user]:
        earlier = _accounts.get(place)
        if earlier is not None:
            earlier.connection.pause_reconnecting()
        try:
            await account.connection.open()
        except BaseException:
            if earlier is not None:
                earlier.connection.allow_reconnecting()
            await account.close("the login failed")
            raise
        _accounts[place] = account
        if earlier is not None:
            await earlier.close("replaced")
    return Session(account)


async def _sandbox_app() -> App:
    """Return the app of the sandbox that all notebooks of this user share; it is started where none runs."""
    from imkit.sandbox.process import shared

    return (await asyncio.to_thread(shared)).app


async def _close_all() -> None:
    for account in list(_accounts.values()):
        await account.close("the program ended")


login = Blocking(_login)
login.__name__ = login.__qualname__ = "login"  # type: ignore[attr-defined]  # its public name


class Session:
    """A logged-in user: what they can do, and what they are told.

    Example:
        >>> with login("alice") as alice:  # doctest: +SKIP
        ...     alice.create_group("tea")
    """

    def __init__(self, account: Account) -> None:
        self.account = account

    # ------------------------------------------------------------- who and how

    @property
    def user(self) -> str:
        """The user id."""
        return self.account.user

    @property
    def app(self) -> App:
        """The app."""
        return self.account.app

    @property
    def connected(self) -> bool:
        """Whether the connection stands just now."""
        return self.account.connection.state == "connected"

    # --------------------------------------------------------- groups, threads

    def thread(self, thread_id: str) -> Thread:
        """Return the thread with this id, without asking the service; `refresh()` asks.

        Raises:
            InvalidMessage: this is no id.
        """
        return Thread(self.account, thread_id)

    def group(self, group_id: str) -> Group:
        """Return the group with this id, without asking the service.

        Raises:
            InvalidMessage: this is no id.
        """
        return Group(self.account, group_id)

    def threads(self, group: Group | str | None = None) -> Listing[Thread]:
        """Return the threads this user joined: all, or those of one group.

        Args:
            group: a group or its id.

        Source: fact sheet section 9, getJoinedChatThreads.
        """
        account = self.account
        group_id = None if group is None else (group if isinstance(group, Group) else self.group(group)).id
        path: tuple[str, ...] = ("threads", "user", account.user)
        if group_id is not None:
            path = ("threads", "chatgroups", group_id, *path[1:])
        what = f"threads {account.user} joined" + ("" if group_id is None else f" in group {group_id}")
        return Listing(lambda: thread_pages(account, what, *path), what)

    @blocking
    async def last_messages(self, threads: Iterable[Thread | str]) -> dict[str, Message | None]:
        """Return the newest message of any number of threads, by thread id; one request for each 20.

        Args:
            threads: threads, or their ids.

        Example:
            >>> alice.last_messages(group.threads())  # doctest: +SKIP

        Source: fact sheet section 9, getChatThreadLastMessage.
        """
        wanted = await collected(threads)
        ids = [(thread if isinstance(thread, Thread) else self.thread(thread)).id for thread in wanted]
        return await last_messages(self.account, ids)

    def groups(self) -> Listing[Group]:
        """Return the groups this user is in.

        Source: fact sheet section 10, joined groups.
        """
        account = self.account

        async def pages() -> AsyncGenerator[list[Group], None]:
            what = f"asking for the groups of {account.user}"
            number = 0
            while True:
                params = {"pagenum": number, "pagesize": _GROUPS_PAGE, "version": "v3"}
                answer = await account.rest.get("users", account.user, "joined_chatgroups", what=what, params=params)
                entries = answer.get("data")
                found = [entry for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict)]
                groups = []
                for entry in found:
                    group_id = text(entry, "groupid") or text(entry, "groupId") or text(entry, "id")
                    if group_id:
                        name = text(entry, "groupname") or text(entry, "groupName") or text(entry, "name")
                        account.known.group_names[group_id] = name
                        groups.append(Group(account, group_id))
                yield groups
                if len(found) < _GROUPS_PAGE:
                    return
                number += 1

        return Listing(pages, f"groups of {account.user}")

    @blocking
    async def create_group(self, name: str, members: Iterable[str] = ()) -> Group:
        """Create a group with this user as its owner; the members are in it at once.

        Args:
            name: the group's name.
            members: user ids, of users there are: in the sandbox, who has logged in once.

        Example:
            >>> group = alice.create_group("tea", members=["bob"])  # doctest: +SKIP

        Source: fact sheet section 10, createGroup.
        """
        account = self.account
        if not isinstance(name, str) or not name.strip():
            raise InvalidMessage("a group needs a name")
        if isinstance(members, str):
            raise InvalidMessage(f'members must be a list, such as ["{members}"]')
        body = {
            "owner": account.user,
            "groupname": name,
            "desc": "",
            "members": [user_id(member) for member in await collected(members)],
            "public": False,
            "approval": False,
            "allowinvites": True,
            "invite_need_confirm": False,
            "maxusers": 200,
        }
        params = {"resource": account.identity.resource}
        answer = await account.rest.request("POST", "chatgroups", what="creating a group", body=body, params=params)
        group_id = text(mapping(answer, "data"), "groupid")
        if not group_id:
            raise ProtocolError(f"the group {name!r:.80} was created, but the answer does not name it")
        account.known.group_names[group_id] = name
        return Group(account, group_id)

    # ---------------------------------------------------------------- messages

    @blocking
    async def send(self, to: Thread | Group, body: str | Body, *, progress: BytesProgress | None = None) -> Message:
        """Send a message to a thread or a group; see `Thread.send`.

        Example:
            >>> alice.send(thread, "hello")  # doctest: +SKIP
        """
        return await sending.send(self.account, _room(to).target(), body, progress)

    @blocking
    async def recall(self, message: Message | str, *, to: Thread | Group | None = None, ext: str | None = None) -> None:
        """Take a message back; see `Thread.recall`.

        Args:
            message: the message, or its id; an id needs `to`.
            to: where it was sent.
            ext: a text for those who see the recall.
        """
        target, message_id = self._sent(message, to)
        await sending.recall(self.account, target, message_id, ext)

    @blocking
    async def edit(self, message: Message | str, body: str | Body, *, to: Thread | Group | None = None) -> Message:
        """Change what a message says; see `Thread.edit`.

        Args:
            message: the message, or its id; an id needs `to`.
            body: what it says from now on.
            to: where it was sent.
        """
        target, message_id = self._sent(message, to)
        return await sending.edit(self.account, target, message_id, body)

    def _sent(self, message: Message | str, to: Thread | Group | None) -> tuple[sending.Target, str]:
        if isinstance(message, Message):
            return (sending.target_of(message) if to is None else _room(to).target()), message.id
        if to is None:
            raise InvalidMessage("a message id alone does not say where it was sent", hint="Add to=thread.")
        return _room(to).target(), message

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
        """Load the roaming history of one or several threads and groups into one DataFrame; see `Thread.history`.

        Example:
            >>> alice.history(group.threads(), since="2026-11-01")  # doctest: +SKIP
        """
        rooms = await collected(of) if isinstance(of, Iterable) else [of]
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        ids = [_room(room).id for room in rooms]
        from imkit.history.load import history_frame  # loads pandas and Arrow

        return await history_frame(self.account, ids, wanted, progress, parallel, resume)

    @property
    def stopped(self) -> pd.DataFrame | None:
        """What the `history()` that was stopped last, or ended in an error, had brought; `None` without one.

        Give it to ``history(resume=…)`` to go on. Gone once that has come to its end.

        Example:
            >>> frame = thread.history(resume=alice.stopped)  # doctest: +SKIP
        """
        if self.account.stopped is None and not self.account.load_tasks:
            return None
        from imkit.history.load import stopped_frame

        return portal().call(stopped_frame(self.account))

    @blocking
    async def download(
        self, message: Message, folder: str | os.PathLike[str], *, progress: BytesProgress | None = None
    ) -> Path:
        """Save a message's attachment to a folder, under a safe name; nothing that exists is replaced.

        Args:
            message: one with an attachment (图片, 语音, 视频, 文件) or a bundle.
            folder: is made where it does not exist.
            progress: called with the bytes received, and their total if the service tells it.

        Returns:
            Where the file is.

        Raises:
            InvalidMessage: the message has no attachment.
            Unsupported: its file is not at the app's own server.
            NotFound: it is past its life, 7 days by default.

        Example:
            >>> alice.download(message, "downloads")  # doctest: +SKIP

        Source: fact sheet section 11.
        """
        return await attachments.download(self.account, message, folder, progress)

    @blocking
    async def unpack(self, message: Message) -> list[Message]:
        """Open a bundle (合并消息) and return the messages in it.

        Raises:
            InvalidMessage: the message is no bundle.
            ProtocolError: its file is damaged.

        Example:
            >>> [inner.text for inner in alice.unpack(message)]  # doctest: +SKIP

        Source: fact sheet section 11, "Bundle file".
        """
        return await attachments.unpack(self.account, message)

    # ------------------------------------------------------------------ events

    @overload
    def events(self, *, replay: bool = True) -> EventStream[Event]: ...
    @overload
    def events(self, kind: type[E], /, *kinds: type[E], replay: bool = True) -> EventStream[E]: ...
    def events(self, *kinds: type[E], replay: bool = True) -> EventStream[E]:
        """Return a new consumer of what this session is told: for `for`, `async for`, or `.next(timeout=…)`.

        Args:
            *kinds: which events, such as `MessageReceived`; none means all.
            replay: begin with the events that are kept (the last 10,000); False: with what comes from now on.

        Example:
            >>> bob.events(imkit.MessageReceived).next(timeout=10).message.text  # doctest: +SKIP
        """
        return EventStream(self.account.events, checked_kinds(kinds), replay, owner=self.account)

    def on(
        self, kind: type[E], callback: Callable[[E], Awaitable[object] | object], replay: bool = True
    ) -> Subscription:
        """Call a function with each event of a kind, until `.off()` on what this returns, or the session's end.

        Args:
            kind: such as `MessageReceived`.
            callback: a plain function runs on a thread of the session's own, in order, and may block and use the
                plain face; an async one runs on imkit's loop. An exception in it is logged, and the session goes on.
            replay: begin with the events that are kept.

        Example:
            >>> alice.on(imkit.MessageReceived, lambda event: print(event.message.text))  # doctest: +SKIP
        """
        self.account.check_open()
        # The stream does not hold the account: a session that nobody holds closes itself, callbacks or not.
        return Subscription(self.account, EventStream(self.account.events, checked_kinds((kind,)), replay), callback)

    def wire(self, n: int = 200) -> pd.DataFrame:
        """Return what was last said on the wire, frames and REST calls, decoded, without tokens and secrets.

        Nothing is noted until this is asked for the first time; from then on the last 2,000 entries are kept.

        Args:
            n: how many entries at the most; the oldest comes first.

        Returns:
            A DataFrame: `time` (UTC), `direction` (up, down), `command`, `decoded` (JSON text), `bytes`.

        Example:
            >>> alice.wire()  # begins to note  # doctest: +SKIP
            >>> thread.send("hello")  # doctest: +SKIP
            >>> alice.wire(4)[["direction", "command", "decoded"]]  # doctest: +SKIP
        """
        log = self.account.wire_log
        log.is_on = True
        return log.to_dataframe(n)

    # -------------------------------------------------------------------- life

    @blocking
    async def close(self) -> None:
        """Log out. What waits for events ends; sends that wait fail with `SessionClosed`."""
        await self.account.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close.aio()

    def _state(self) -> str:
        connection = self.account.connection
        if connection.state == "closed" and connection.end_reason != "closed":  # by somebody else
            return f"closed ({connection.end_reason})"
        return connection.state

    def __repr__(self) -> str:
        return f"<Session {self.user} at {self.app.app_key}, {self._state()}>"

    def _repr_html_(self) -> str:
        account = self.account
        where = "local sandbox" if self.app.is_sandbox else urlsplit(account.rest.base_url).netloc
        facts = [f"{self.app.app_key} ({where})", f"device {account.identity.resource}"]
        facts += counted(account.events.end, "event")
        tones: dict[str, Tone] = {"connected": "good", "closed": "bad"}
        return card("Session", self.user, facts, state=self._state(), tone=tones.get(account.connection.state, "busy"))


def _room(room: object) -> Thread | Group:
    if not isinstance(room, Thread | Group):
        raise InvalidMessage(
            f"a {type(room).__name__} is no thread or group", hint="Get one with session.thread(id) or group(id)."
        )
    return room
