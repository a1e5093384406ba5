"""`App`, and the account of a logged-in user: what the rooms above are given to work with.

Source: fact sheet sections 1 (app key, hosts) and 2 (tokens).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import time
import weakref
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from imkit.connection import Connection
from imkit.errors import AuthError, InvalidMessage, SessionClosed, TokenExpired
from imkit.event_store import EventStore
from imkit.messages import Event, Message, MessageReceived, ThreadChanged, ThreadRef
from imkit.portal import Worker, portal
from imkit.rest import Hosts, RateBucket, Rest, discover
from imkit.wire.envelope import Identity
from imkit.wire.protocol import ClientProtocol

logger = logging.getLogger("imkit.account")

TokenSource = Callable[[], str | Awaitable[str]]
_LAST_WORDS_SECONDS = 0.2
_USER_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_APP_KEY = re.compile(r"[^#/\s?&]+#[^#/\s?&]+")
# One device for each process: a cell run again is the same device, another notebook is another.
_PROCESS_RESOURCE = f"webim_imkit_{secrets.token_hex(6)}"

_buckets: dict[tuple[str, str, float | None], RateBucket] = {}


class App:
    """An Easemob app: its key, and where its servers are.

    Args:
        app_key: ``"org#app"``, from the app's console.
        rest_url: such as ``"https://a1.easemob.com"``; `None`: discovered as the official SDK does.
        ws_url: such as ``"wss://im-api-wechat.easemob.com/websocket"``; `None`: discovered.
        max_requests_per_second: REST requests of this process to the app, all users together; `None`: no limit.
            The documented limit of most endpoints is 100 a second.

    Raises:
        InvalidMessage: the app key or a URL is malformed.

    Example:
        >>> App("org#app").app_key
        'org#app'

    Source: fact sheet section 1.
    """

    def __init__(
        self,
        app_key: str,
        *,
        rest_url: str | None = None,
        ws_url: str | None = None,
        max_requests_per_second: float | None = 100,
    ) -> None:
        if not isinstance(app_key, str) or not _APP_KEY.fullmatch(app_key):
            raise InvalidMessage(
                f"{app_key!r:.100} is no app key", hint='An app key looks like "org#app", with exactly one #.'
            )
        if max_requests_per_second is not None and not max_requests_per_second > 0:
            raise InvalidMessage("max_requests_per_second must be above 0, or None for no limit")
        self.app_key = app_key
        self.rest_url = _checked_url(rest_url, ("http", "https"))
        self.ws_url = _checked_url(ws_url, ("ws", "wss"))
        self.max_requests_per_second = max_requests_per_second
        self._sandbox_secret: str | None = None

    @classmethod
    def from_env(cls) -> App:
        """Return the app that the environment or a `.env` file names.

        Reads IMKIT_APP_KEY, IMKIT_REST_URL and IMKIT_WS_URL; the environment wins over the file, which is looked
        for in the working directory and above.

        Raises:
            InvalidMessage: IMKIT_APP_KEY is set nowhere, or malformed.

        Example:
            >>> App.from_env()  # doctest: +SKIP
        """
        app = _app_in_environment()
        if app is None:
            hint = "Set it in the environment or in a .env file, or pass App(…) yourself."
            raise InvalidMessage("IMKIT_APP_KEY is not set", hint=hint)
        return app

    @classmethod
    def _sandbox(cls, app_key: str, rest_url: str, ws_url: str, secret: str) -> App:
        """Return a sandbox's app: no rate limit, and tokens from the sandbox's own app server."""
        app = cls(app_key, rest_url=rest_url, ws_url=ws_url, max_requests_per_second=None)
        app._sandbox_secret = secret
        return app

    @property
    def is_sandbox(self) -> bool:
        """Whether this is a local sandbox, where users are made on demand and no credential is needed."""
        return self._sandbox_secret is not None

    async def _hosts(self) -> Hosts:
        if self.rest_url is not None and self.ws_url is not None:
            return Hosts(self.rest_url, self.ws_url)
        found = await discover(self.app_key)
        return replace(found, rest_url=self.rest_url or found.rest_url, ws_url=self.ws_url or found.ws_url)

    def _bucket(self, rest_url: str) -> RateBucket:
        limit = self.max_requests_per_second
        return _buckets.setdefault((self.app_key, rest_url, limit), RateBucket(limit))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, App):
            return NotImplemented
        return (self.app_key, self.rest_url, self.ws_url) == (other.app_key, other.rest_url, other.ws_url)

    def __hash__(self) -> int:
        return hash((self.app_key, self.rest_url, self.ws_url))

    def __repr__(self) -> str:
        where = "local sandbox" if self.is_sandbox else self.rest_url or "hosts discovered"
        return f"<App {self.app_key}, {where}>"


def _checked_url(url: str | None, schemes: tuple[str, ...]) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and url.isascii()
    except (ValueError, AttributeError):  # a port beyond all ports, half an IPv6 address, no string
        fits = False
    if not fits or set(url) & set(" \t\r\n\\"):
        raise InvalidMessage(f"{url!r:.200} is no {schemes[0]} URL", hint=f"It begins with {schemes[-1]}://")
    if "@" in parts.netloc:  # a password in it would stand in reprs and errors
        raise InvalidMessage(f"a {schemes[0]} URL with a user or password is not taken")
    return url.rstrip("/")


def _app_in_environment() -> App | None:
    from dotenv import dotenv_values, find_dotenv

    path = find_dotenv(usecwd=True)
    settings = {**(dotenv_values(path) if path else {}), **os.environ}
    app_key = settings.get("IMKIT_APP_KEY")
    if not app_key:
        return None
    urls = (settings.get("IMKIT_REST_URL") or None, settings.get("IMKIT_WS_URL") or None)
    return App(app_key, rest_url=urls[0], ws_url=urls[1])


async def default_app() -> App:
    """Return the app of the environment, or else that of the local sandbox, which is started where none runs."""
    app = _app_in_environment()
    if app is not None:
        return app
    from imkit.sandbox.process import shared

    address = await asyncio.to_thread(shared)
    return App._sandbox(address.app_key, address.rest_url, address.ws_url, address.secret)


def user_id(user: object) -> str:
    """Return a user id as the service knows it, in lower case.

    Raises:
        InvalidMessage: it is none (fact sheet section 12: up to 64 of letters, digits, ``_``, ``.`` and ``-``).
    """
    if not isinstance(user, str) or not _USER_ID.fullmatch(user) or user in (".", ".."):
        hint = "A user id has up to 64 letters, digits, _ . and -"
        raise InvalidMessage(f"{user!r:.100} is no user id", hint=hint)
    return user.lower()


class Credentials:
    """Where a user's tokens come from: a password, a token, the user's own app server, or the sandbox's.

    The secrets stay in here: no repr, log or error shows them.
    """

    def __init__(
        self,
        user: str,
        app: App,
        rest: Rest,
        *,
        password: str | None = None,
        token: str | TokenSource | None = None,
    ) -> None:
        if password is not None and token is not None:
            raise InvalidMessage("a password and a token were given", hint="Give one of them.")
        if password is not None and not isinstance(password, str):
            raise InvalidMessage(f"a password must be a string, not {type(password).__name__}")
        if token is not None and not isinstance(token, str) and not callable(token):
            raise InvalidMessage(f"a token must be a string or a function, not {type(token).__name__}")
        if password is None and token is None and not app.is_sandbox:
            hint = "Give login() password=…, token=… or a callable that asks your app server."
            raise AuthError(f"no credential for {user} at {app.app_key}", hint=hint)
        self._user = user
        self._app = app
        self._rest = rest
        self._password = password
        self._source = token
        self._token: str | None = None
        self._lock = asyncio.Lock()
        # Not the thread of the callbacks: one of them may be what waits for this token.
        self._worker = Worker(f"imkit-token-{user}")

    @property
    def renewable(self) -> bool:
        """Whether a new token can be had without the user."""
        return not isinstance(self._source, str)

    async def token(self, refused: bool) -> str:
        """Return the token; a fresh one where there is none yet or the last one was refused."""
        stale = self._token if refused else None
        async with self._lock:
            if self._token is None or (refused and self._token == stale):
                if refused and not self.renewable:
                    raise TokenExpired(f"the token of {self._user} is no longer valid")
                self._token = await self._fetch()
            return self._token

    async def _fetch(self) -> str:
        if isinstance(self._source, str):
            found: object = self._source
        elif self._source is not None:
            try:
                found = await self._worker.run(self._source)
            except Exception as error:
                hint = "It is called without arguments, and returns a token or raises."
                reason = type(error).__name__  # its words may hold a secret; the exception itself is chained
                message = f"the function that fetches tokens for {self._user} failed"
                raise AuthError(message, reason=reason, hint=hint) from error
        elif self._password is not None:
            found = await self._from_password()
        else:
            found = await self._from_sandbox()
        if not isinstance(found, str) or not found or not found.isascii() or not found.isprintable():
            hint = "A token is a string; the callable must return it alone."
            raise AuthError(f"no token came for {self._user}, but a {type(found).__name__}", hint=hint)
        return found

    async def _from_password(self) -> object:
        body = {
            "grant_type": "password",
            "username": self._user,
            "password": self._password,
            "timestamp": int(time.time() * 1000),
        }
        answer = await self._rest.request("POST", "token", body=body, repeatable=True, signed=False)
        return answer.get("access_token")

    async def _from_sandbox(self) -> object:
        answer = await self._rest.sandbox_token(self._user, self._app._sandbox_secret or "")
        return answer.get("token")

    def close(self) -> None:
        """Let the thread of the token callable end."""
        self._worker.close()

    def __repr__(self) -> str:
        return f"<Credentials of {self._user}>"


@dataclass(slots=True)
class ThreadFacts:
    """What is known of a thread without asking: filled by calls and events."""

    name: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    owner: str | None = None
    created: datetime | None = None
    member_count: int | None = None


class Directory:
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
        self.rest = Rest(hosts.rest_url, app.app_key, app._bucket(hosts.rest_url))
        self.credentials = credentials = Credentials(user, app, self.rest, password=password, token=token)
        self.rest.credential = credentials.token
        self.protocol = ClientProtocol(self.identity)
        self.events = events = EventStore()
        self.directory = directory = Directory()

        def deliver(told: Sequence[Event]) -> None:
            directory.learn(told)
            events.add(told)

        self.connection = Connection(self.protocol, hosts.ws_url, credentials.token, deliver)
        self.worker = Worker(f"imkit-callbacks-{user}")
        self.background: set[asyncio.Task[Any]] = set()
        parts = (self.connection, self.events, self.background, self.rest, self.worker, credentials)
        self._close = partial(_close, *parts)
        self._finalizer = weakref.finalize(self, _abandon, self._close)
        self._finalizer.atexit = False  # the portal ends everything when the interpreter does

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a coroutine as long as the account is open."""
        task = asyncio.create_task(work, name=name)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return task

    def check_open(self) -> None:
        """Raise `SessionClosed` where the session is over."""
        if self.connection.state == "closed":
            raise SessionClosed(f"the session of {self.user} is over ({self.connection.end_reason})")

    async def close(self, reason: str = "closed") -> None:
        """End the session: log out, close everything, end the consumers of events."""
        self._finalizer.detach()
        await self._close(reason)

    def __repr__(self) -> str:
        return f"<Account {self.user} at {self.app.app_key}>"


async def _close(
    connection: Connection,
    events: EventStore,
    background: set[asyncio.Task[Any]],
    rest: Rest,
    worker: Worker,
    credentials: Credentials,
    reason: str,
) -> None:
    await connection.close(reason)
    events.close()
    # Callbacks hear of the end, unless they take their time. One of them may be what closes the session.
    tasks = background - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)
    for task in tasks:
        task.cancel()
    await rest.close()
    worker.close()
    credentials.close()


def _abandon(close: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    portal().submit(close("nobody holds the session any more"))
