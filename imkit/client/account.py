"""The account of a logged-in user: what the rooms above are given to work with."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
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
from imkit.client.rest import Rest
from imkit.client.timing import Timing
from imkit.client.wire_log import WireLog
from imkit.errors import SessionClosed
from imkit.events import Event, MessageReceived, ThreadChanged
from imkit.messages import Message, ThreadRef
from imkit.portal import Worker, portal
from imkit.wire.envelope import Identity
from imkit.wire.protocol import ClientProtocol

TIMING = Timing()  # of every connection that is made from now on
_LAST_WORDS_SECONDS = 0.2
# One device for each process: a cell run again is the same device, another notebook is another.
_PROCESS_RESOURCE = f"webim_imkit_{secrets.token_hex(6)}"


@dataclass(slots=True)
class ThreadFacts:
    """What is known of a thread without asking: filled by calls and events."""

    name: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    owner: str | None = None
    created: datetime | None = None
    member_count: int | None = None
    message_count: int | None = None  # as the last notice told; it may count what has been recalled or has expired


class KnownConversations:
    """What a session has learnt of threads and groups, so that attributes need no I/O."""

    def __init__(self) -> None:
        self.threads: defaultdict[str, ThreadFacts] = defaultdict(ThreadFacts)
        self.group_names: dict[str, str] = {}

    def learn(self, events: Sequence[Event]) -> None:
        """Take from events what they tell of threads."""
        for event in events:
            match event:
                case MessageReceived(Message(thread=ThreadRef() as ref)):
                    facts = self.threads[ref.thread_id]
                    facts.name = ref.name or facts.name
                    facts.group_id = ref.group_id or facts.group_id
                    facts.parent_id = ref.parent_id or facts.parent_id
                case ThreadChanged(operation="destroy", thread_id=thread_id):
                    self.threads.pop(thread_id, None)
                case ThreadChanged():
                    facts = self.threads[event.thread_id]
                    facts.name = event.name or facts.name
                    facts.group_id = event.group_id or facts.group_id
                    facts.parent_id = event.parent_id or facts.parent_id
                    facts.created = event.created or facts.created
                    if event.message_count is not None:
                        facts.message_count = event.message_count


class BackgroundTasks:
    """The tasks that run as long as an account is open."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._listening: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    def start(
        self, work: Coroutine[Any, Any, None], name: str, *, replaces: bool = False, listens: bool = False
    ) -> asyncio.Task[None]:
        """Run a coroutine until it is done or the account is closed.

        Args:
            work: what to run.
            name: what it is called.
            replaces: end the tasks of this name first.
            listens: it ends by itself with the session's events, once it has read them.
        """
        for earlier, called in list(self._tasks.items()):
            if replaces and called == name:
                earlier.cancel()
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = name
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        if listens:
            self._listening.add(task)
        return task

    async def end(self, last_words: float) -> None:
        """Cancel the tasks, those that listen after some seconds; one of them may be what asks for it."""
        tasks = self._tasks.keys() - {asyncio.current_task()}
        if listening := tasks & set(self._listening):
            await asyncio.wait(listening, timeout=last_words)
        for task in tasks:
            task.cancel()


class Account:
    """A logged-in user: the connection, the REST interface, the events.

    What runs in the background holds the parts and never the account, so that an account nobody holds any more (no
    session, thread or group of it) is closed by the garbage collector.

    Args:
        user: the user id.
        app: the app.
        hosts: where the app's servers are.
        password, token: where tokens come from.
        resource: the device's name; `None`: one for this process.
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
        self.user = user
        self.app = app
        self.identity = Identity(app.app_key, user, resource or _PROCESS_RESOURCE)
        self.wire_log = wire_log = WireLog()
        self.rest = rest = Rest(hosts.rest_url, app.app_key, app.rate_bucket(hosts.rest_url), wire_log)
        self.credentials = credentials = Credentials(user, app, rest, password=password, token=token)
        rest.credential = credentials.token
        self.protocol = ClientProtocol(self.identity)
        self.events = events = EventStore()
        # What this session does itself is no event: the service tells it to others. Who shows it listens here.
        self.echo_listeners: set[Callable[[Event], None]] = set()
        self.known = known = KnownConversations()
        self.load_tasks: set[asyncio.Task[Any]] = set()  # of histories, under way
        self.stopped: Any = None  # what the load that was stopped last had brought (imkit.history.load)

        def deliver(told: Sequence[Event]) -> None:
            known.learn(told)
            events.add(told)

        self.worker = Worker(f"imkit-callbacks-{user}")
        self.background = background = BackgroundTasks()
        self.connection = connection = Connection(
            self.protocol,
            hosts.ws_url,
            credentials.token,
            deliver,
            look_up=partial(look_up_lost_sends, rest, self.identity),
            wire_log=wire_log,
            timing=TIMING,
        )

        def logged_in(expires_at: int | None) -> None:
            if expires_at is not None:
                expired = partial(connection.close, "the token expired")
                work = keep_fresh(credentials, rest, expires_at, lambda event: deliver([event]), expired)
                background.start(work, f"imkit token of {user}", replaces=True)

        connection.logged_in = logged_in
        parts = (self.connection, self.events, self.background, self.rest, self.worker, credentials)
        self._close = partial(_close, *parts)
        self._finalizer = weakref.finalize(self, _abandon, self._close)
        self._finalizer.atexit = False  # the portal ends everything when the interpreter does

    def check_open(self) -> None:
        """Raise `SessionClosed` where the session is over."""
        if self.connection.state == "closed":
            raise SessionClosed(f"the session of {self.user} is over ({self.connection.end_reason})")

    def echo(self, event: Event) -> None:
        """Tell who shows it what this session has done, in the words in which others hear it."""
        for listener in list(self.echo_listeners):
            listener(event)

    async def close(self, reason: str = "closed") -> None:
        """End the session: log out, close everything, end the consumers of events."""
        self._finalizer.detach()
        await self._close(reason)

    def __repr__(self) -> str:
        return f"<Account {self.user} at {self.app.app_key}>"


async def _close(
    connection: Connection,
    events: EventStore,
    background: BackgroundTasks,
    rest: Rest,
    worker: Worker,
    credentials: Credentials,
    reason: str,
) -> None:
    await connection.close(reason)
    events.close()
    # Callbacks hear of the end, unless they take their time. One of them may be what closes the session.
    await background.end(_LAST_WORDS_SECONDS)
    await rest.close()
    worker.close()
    credentials.close()


def _abandon(close: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    portal().submit(close("nobody holds the session any more"))
