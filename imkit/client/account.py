"""`Account` owns one login's connection, REST client, events and tasks. Session, Group and Thread work with it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import secrets
import weakref
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from imkit.client.app import App
from imkit.client.connection import Connection
from imkit.client.credentials import Credentials, TokenSource, keep_fresh
from imkit.client.discovery import Hosts
from imkit.client.event_store import EventStore
from imkit.client.lost_sends import look_up_lost_sends
from imkit.client.own_process import OwnProcess
from imkit.client.quotes import SentMessages
from imkit.client.rest import Rest
from imkit.client.timing import Timing
from imkit.client.wire_log import WireLog
from imkit.errors import InvalidMessage, SessionClosed
from imkit.events import Event, MessageReceived, ThreadChanged, UserChanged
from imkit.hints import SESSION_ENDED
from imkit.messages import Message, ThreadRef
from imkit.portal import Worker, portal
from imkit.times import wall_seconds
from imkit.users import User
from imkit.wire.envelope import Identity
from imkit.wire.protocol import ClientProtocol
from imkit.wire.untrusted_json import is_id

TIMING = Timing()  # for each connection that is made from now on
KNOWN_CONVERSATIONS = 200_000  # threads, and groups; imkit is made for 100,000 threads
KNOWN_USERS = 10_000  # the attributes of a user have up to 2 KB
_FACT_CHARACTERS = 256  # of a name: a thread's has 64
_CALLBACK_GRACE_SECONDS = 0.2
_TIDYING_SECONDS = 20.0
_TIME_SECONDS = 2.0  # to wait for the service's time after a login


@functools.cache
def _device_of(process_id: int) -> str:
    """Return the name of this process's device.

    A cell that runs again is the same device. Another notebook is another device, and so is a forked child: a device
    can be logged in only once.
    """
    return f"webim_imkit_{secrets.token_hex(6)}"


@dataclass(slots=True)
class ThreadFacts:
    """The facts that a session has of a thread without a request. Calls and events fill it in."""

    name: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    owner: str | None = None
    created: datetime | None = None
    member_count: int | None = None
    message_count: int | None = None  # from the last notice; it may include recalled and expired messages

    def update(
        self,
        *,
        name: str | None = None,
        group_id: str | None = None,
        parent_id: str | None = None,
        owner: str | None = None,
        created: datetime | None = None,
        member_count: int | None = None,
        message_count: int | None = None,
    ) -> None:
        """Take new facts. An empty text or `None` leaves a fact as it was.

        Example:
            >>> facts = ThreadFacts(name="Oolong", owner="alice")
            >>> facts.update(name="Pu-erh", owner="", message_count=0)
            >>> facts.name, facts.owner, facts.message_count
            ('Pu-erh', 'alice', 0)
        """
        self.name = name[:_FACT_CHARACTERS] if name else self.name
        self.group_id = group_id[:_FACT_CHARACTERS] if group_id else self.group_id
        self.parent_id = parent_id[:_FACT_CHARACTERS] if parent_id else self.parent_id
        self.owner = owner[:_FACT_CHARACTERS] if owner else self.owner
        self.created = created or self.created
        self.member_count = self.member_count if member_count is None else member_count
        self.message_count = self.message_count if message_count is None else message_count


class _KnownThreads(OrderedDict[str, ThreadFacts]):
    """Facts by thread id; reading an unknown id adds empty facts. Above `KNOWN_CONVERSATIONS` the oldest ones go."""

    def __missing__(self, thread_id: str) -> ThreadFacts:
        self[thread_id] = facts = ThreadFacts()
        return facts

    def __setitem__(self, thread_id: str, facts: ThreadFacts) -> None:
        super().__setitem__(thread_id, facts)
        if len(self) > KNOWN_CONVERSATIONS:
            self.popitem(last=False)


class KnownConversations:
    """The threads and groups that a session has learnt of, so that reading an attribute needs no request.

    What is forgotten of too many (`KNOWN_CONVERSATIONS`) is asked for again with `Thread.refresh`.

    Attributes:
        threads: by thread id, what is known of the thread; reading an unknown id adds empty facts.
        group_names: by group id, the group's name.
        users: by user id, the users whose attributes a call has told.
    """

    def __init__(self) -> None:
        self.threads = _KnownThreads()
        self.group_names: OrderedDict[str, str] = OrderedDict()
        self.users: OrderedDict[str, User] = OrderedDict()

    def learn_group(self, group_id: str, name: str) -> None:
        """Take a group's name."""
        self.group_names[group_id] = name[:_FACT_CHARACTERS]
        if len(self.group_names) > KNOWN_CONVERSATIONS:
            self.group_names.popitem(last=False)

    def learn_user(self, user: User) -> None:
        """Take a user with its attributes."""
        self.users[user.id] = user
        if len(self.users) > KNOWN_USERS:
            self.users.popitem(last=False)

    def learn(self, events: Sequence[Event]) -> None:
        """Take the facts about threads that events carry, and forget users who have changed."""
        for event in events:
            match event:
                case MessageReceived(Message(thread=ThreadRef() as ref)) if is_id(ref.thread_id):
                    facts = self.threads[ref.thread_id]
                    facts.update(name=ref.name, group_id=ref.group_id, parent_id=ref.parent_id)
                case ThreadChanged(operation="destroy", thread_id=thread_id):
                    self.threads.pop(thread_id, None)
                case ThreadChanged() if is_id(event.thread_id):
                    self.threads[event.thread_id].update(
                        name=event.name,
                        group_id=event.group_id,
                        parent_id=event.parent_id,
                        created=event.created,
                        message_count=event.message_count,
                    )
                case UserChanged(user_id=user_id):
                    self.users.pop(user_id, None)


class BackgroundTasks:
    """The tasks that run while an account is open."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._event_readers: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._tidying: set[asyncio.Task[Any]] = set()

    def start(
        self, work: Coroutine[Any, Any, None], name: str, *, replace: bool = False, reads_events: bool = False
    ) -> asyncio.Task[None]:
        """Run a coroutine until it is done or the account is closed.

        Args:
            work: the coroutine.
            name: the task's name.
            replace: first cancel the tasks of the same name.
            reads_events: the coroutine reads the session's events and ends by itself after the last one.
        """
        for earlier, earlier_name in list(self._tasks.items()):
            if replace and earlier_name == name:
                earlier.cancel()
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = name
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        if reads_events:
            self._event_readers.add(task)
        return task

    @contextlib.contextmanager
    def awaited_at_the_end(self) -> Iterator[None]:
        """Let `end` wait for the current task while a ``with`` block lasts: it removes what it has made."""
        task = asyncio.current_task()
        assert task is not None
        self._tidying.add(task)
        try:
            yield
        finally:
            self._tidying.discard(task)

    async def end(self, grace: float, caller: asyncio.Task[Any] | None = None) -> None:
        """Cancel all tasks except the caller.

        Args:
            grace: how many seconds the tasks that read events get to end by themselves first.
            caller: the task that closes the account, which may be one of them.
        """
        if tidying := self._tidying - {caller}:
            await asyncio.wait(tidying, timeout=_TIDYING_SECONDS)
        tasks = self._tasks.keys() - {caller}
        if event_readers := tasks & set(self._event_readers):
            await asyncio.wait(event_readers, timeout=grace)
        for task in tasks:
            task.cancel()


class Account:
    """Owns one login's connection, REST client, events and tasks.

    Background tasks refer to these parts and never to the account. So the garbage collector closes an account when no
    session, thread or group refers to it any more.

    Args:
        user: the user id.
        app: the app.
        hosts: where the app's servers are.
        password, token: where tokens come from.
        resource: the device's name; `None`: one per process.

    Attributes:
        process: the process that made the login.
        user, app, identity: who is logged in, at which app, from which device.
        hosts: where the app's servers are.
        connection: the socket.
        rest: the REST client.
        credentials: gives the token.
        events: the events that the service sent.
        sent: what this session sent and recalled, for replies to it.
        echo_listeners: called with an event for each message that this session itself sends, recalls or edits. The
            service tells such actions to other devices only.
        known: names and other facts of threads and groups.
        wire_log: the last frames and REST calls, for `Session.wire`.
        background: the tasks.
        load_tasks: the history loads that are running.
        stopped: what the last interrupted history load had fetched (`imkit.history.load` sets it).
        worker: runs the user's callbacks.
    """

    def __init__(
        self,
        user: str,
        app: App,
        hosts: Hosts,
        *,
        password: str | None = None,
        token: str | TokenSource | None = None,
        resource: str | None = None,
    ) -> None:
        if resource is not None and not isinstance(resource, str):
            raise InvalidMessage(f"resource must be a text, the name of a device, not {resource!r:.40}")
        self.process = OwnProcess()
        self.user = user
        self.app = app
        self.hosts = hosts
        self.identity = Identity(app.app_key, user, resource or _device_of(os.getpid()))
        self.wire_log = wire_log = WireLog()
        self.rest = rest = Rest(hosts.rest_url, app.app_key, app.rate_bucket(hosts.rest_url), wire_log)
        rest.sandbox_ended = app.sandbox_ended
        self.credentials = credentials = Credentials(user, app, rest, password=password, token=token)
        self.protocol = protocol = ClientProtocol(self.identity)
        self.events = events = EventStore()
        self.sent = SentMessages()
        self.echo_listeners: set[Callable[[Event], None]] = set()
        self.known = known = KnownConversations()
        self.load_tasks: set[asyncio.Task[Any]] = set()
        self.stopped: Any = None

        async def token_for_request(refused: str | None) -> str:
            # Any program of this machine can take the port of a sandbox that crashed. So while there is no connection,
            # the token goes nowhere before the sandbox has proved that it is there.
            if connection.state != "connected":
                await credentials.prove_sandbox()
            return await credentials.token(refused)

        def deliver(new_events: Sequence[Event], size_bytes: int = 0) -> None:
            known.learn(new_events)
            events.add(new_events, size_bytes)

        self.worker = Worker(f"imkit-callbacks-{user}")
        self.background = background = BackgroundTasks()
        self.connection = connection = Connection(
            protocol,
            hosts.ws_url,
            token_for_request,
            deliver,
            look_up=partial(look_up_lost_sends, rest, self.identity),
            sandbox_ended=app.sandbox_ended,
            wire_log=wire_log,
            timing=TIMING,
        )

        rest.credential = token_for_request

        def token_ends(expires_at: int) -> None:
            work = keep_fresh(
                credentials, rest, expires_at, connection.service_time, lambda event: deliver([event]), TIMING
            )
            background.start(work, f"imkit token of {user}", replace=True)

        connection.token_ends = token_ends
        rest.end_reason = lambda: connection.end_reason
        parts = (self.connection, self.events, self.background, self.rest, self.worker, credentials)
        self._close = partial(_close, *parts)
        self._closing: concurrent.futures.Future[None] | None = None
        self._finalizer = weakref.finalize(self, _close_unreferenced, self.process, self._close)
        self._finalizer.atexit = False  # when the interpreter ends, the portal closes everything

    def check_open(self) -> None:
        """Raise `SessionClosed` if the session is over, or if this is a forked child of its process."""
        self.process.check()
        if self.connection.state == "closed":
            reason = self.connection.end_reason
            raise SessionClosed(f"the session of {self.user} is over ({reason})", hint=SESSION_ENDED.get(reason))

    async def now_ms(self) -> int:
        """Return the time in ms since the epoch: by the service's clock, or by this machine's if it tells none."""
        with contextlib.suppress(TimeoutError):  # it comes soon after the login
            async with asyncio.timeout(_TIME_SECONDS):
                await self.connection.first_unread.wait()
        return self.connection.service_time() or int(wall_seconds() * 1000)

    def echo(self, event: Event) -> None:
        """Tell the echo listeners what this session did, as the event that other users get."""
        for listener in list(self.echo_listeners):
            listener(event)

    def start_closing(self, reason: str = "closed") -> Coroutine[Any, Any, None]:
        """Begin to close; return a coroutine that waits for the end. Cancelling that does not interrupt the closing.

        This may be called in any thread. A second call waits for the end of the first one.

        Raises:
            SessionClosed: this is a forked child of the session's process.
        """
        self.process.check()
        self._finalizer.detach()
        closing = self._closing
        if closing is None or (closing.done() and (closing.cancelled() or closing.exception() is not None)):
            caller = asyncio.current_task() if portal().is_current else None
            closing = self._closing = portal().submit(self._close(caller, reason))
        return _wait_for(closing)

    async def close(self, reason: str = "closed") -> None:
        """Log out, close the connection and the REST client, and end the consumers of events.

        If the caller is cancelled, the closing goes on.
        """
        await self.start_closing(reason)

    def __deepcopy__(self, memo: object) -> Account:
        """A copy of a session, a group or a thread is logged in as the first one is; pandas copies dataclasses."""
        return self

    def __reduce__(self) -> Any:
        raise TypeError("a session cannot be pickled: log in anew in the other process, with imkit.login(…)")

    def __repr__(self) -> str:
        return f"<Account {self.user} at {self.app.app_key}>"


async def _close(
    connection: Connection,
    events: EventStore,
    background: BackgroundTasks,
    rest: Rest,
    worker: Worker,
    credentials: Credentials,
    caller: asyncio.Task[Any] | None,
    reason: str,
) -> None:
    """Close everything; `caller` is the task that asked for it, such as that of a callback."""
    try:
        await connection.close(reason)
    finally:
        events.close()
        await background.end(_CALLBACK_GRACE_SECONDS, caller)  # a callback gets a short time to handle `LoggedOut`
        worker.close()
        credentials.close()
        await rest.close(caller)


async def _wait_for(closing: concurrent.futures.Future[None]) -> None:
    await asyncio.shield(asyncio.wrap_future(closing))


def _close_unreferenced(process: OwnProcess, close: Callable[[None, str], Coroutine[Any, Any, None]]) -> None:
    if process.is_current:
        portal().submit(close(None, "no variable refers to the session any more"))
