"""`App`: an Easemob app with its key and its servers' URLs.

Source: docs/protocol.md#transport, docs/protocol.md#host-discovery, docs/protocol.md#limits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

from imkit.client.discovery import Hosts, discover
from imkit.client.environment import settings
from imkit.client.http import can_be_read_on_the_way
from imkit.client.rate_limit import RateBucket
from imkit.errors import ConnectionLost, InvalidMessage, Outcome
from imkit.hints import AN_APP_KEY, APP_KEY_WITH_ASCII, APP_KEY_WITHOUT_BLANKS
from imkit.misuse import PublicObject, explained

_TLS = "Use https:// and wss://. Only for 127.0.0.1, where an SSH tunnel may begin, http:// and ws:// will do."
_APP_KEY = re.compile(r"[^#/\s?&]+#[^#/\s?&]+")

_buckets: dict[tuple[int, str, str, float | None], RateBucket] = {}


class SandboxCalls(Protocol):
    """The calls of a sandbox's own endpoints. They block, and raise `imkit.errors` only."""

    def token(self, user: str) -> str:
        """Return a token for a user, who is created if necessary."""
        ...

    def prove(self) -> None:
        """Make sure that the sandbox is at its address, and no other program."""
        ...

    def ended(self) -> str:
        """Return what to do if the sandbox has ended, and an empty text while it runs."""
        ...


class App(PublicObject):
    """An Easemob app: its key, and the URLs of its servers.

    Args:
        app_key: ``"org#app"``, from the app's console.
        rest_url: such as ``"https://a1.easemob.com"``; `None`: discovered at each login, as in the official SDK.
            A login refuses ``http://`` and ``ws://``, which others on the network can read, except on this machine.
        ws_url: such as ``"wss://im-api-wechat.easemob.com/websocket"``; `None`: discovered.
        max_requests_per_second: the REST requests per second that this process sends to the app, all users together.
            The documented limit of most endpoints is 100 per second. `None`: imkit starts without a limit, and learns
            the service's limit from its refusals. In both cases a refusal (429, 限流) slows down all users of this
            process. imkit repeats the refused requests, and speeds up again later.

    Raises:
        InvalidMessage: the app key or a URL is malformed, or the limit is not above 0.

    Example:
        >>> imkit.App("org#app")
        <App org#app, hosts discovered>
        >>> imkit.App("org#app", rest_url="https://a1.easemob.com", max_requests_per_second=20).rest_url
        'https://a1.easemob.com'

    Source: docs/protocol.md#host-discovery, docs/protocol.md#limits.
    """

    @explained
    def __init__(
        self,
        app_key: str,
        *,
        rest_url: str | None = None,
        ws_url: str | None = None,
        max_requests_per_second: float | None = 100,
    ) -> None:
        if not isinstance(app_key, str) or not _APP_KEY.fullmatch(app_key):
            raise InvalidMessage(f"{app_key!r:.100} is not an app key", hint=_hint_for(app_key))
        limit = max_requests_per_second
        if limit is not None and not (isinstance(limit, int | float) and limit > 0):
            raise InvalidMessage("max_requests_per_second must be a number above 0, or None for no limit")
        self.app_key = app_key
        self.rest_url = _checked_url(rest_url, ("http", "https"))
        self.ws_url = _checked_url(ws_url, ("ws", "wss"))
        self.max_requests_per_second = max_requests_per_second
        self._sandbox: SandboxCalls | None = None

    @classmethod
    def from_env(cls) -> App:
        """Return the app that the environment or a `.env` file names.

        All settings come from one source, so that a file from a stranger cannot send your password to its servers:

        - The environment, if it has IMKIT_APP_KEY. Nothing of the file counts then.
        - Else the `.env` file, if it has IMKIT_APP_KEY. The IMKIT_REST_URL and IMKIT_WS_URL of the environment do not
          count then, nor, for the command `imkit export`, its IMKIT_USER, IMKIT_PASSWORD and IMKIT_TOKEN.

        The file is the nearest `.env` in the working directory and the directories above, up to your home directory or
        the one with `.git`. A file that belongs to another user than you and root, or that others may change, is passed
        over, and a warning says so. (On Windows the owner is not checked.) ``${NAME}`` in it is not replaced.

        Raises:
            InvalidMessage: IMKIT_APP_KEY is not set, or a value is malformed.

        Example:
            ```python
            app = imkit.App.from_env()  # with IMKIT_APP_KEY=org#app in the environment
            alice = imkit.login("alice", app=app, password="…")
            ```
        """
        return cls.of_settings(settings())

    @classmethod
    def of_settings(cls, found: Mapping[str, str | None]) -> App:
        """Internal: return the app that the settings name; the errors are those of `from_env`."""
        app_key = found.get("IMKIT_APP_KEY")
        if not app_key:
            hint = "Set it in the environment or in a .env file, or pass App(…) yourself."
            raise InvalidMessage("IMKIT_APP_KEY is not set", hint=hint)
        return cls(app_key, rest_url=found.get("IMKIT_REST_URL") or None, ws_url=found.get("IMKIT_WS_URL") or None)

    @classmethod
    def of_sandbox(cls, app_key: str, rest_url: str, ws_url: str, calls: SandboxCalls) -> App:
        """Internal: return a sandbox's app. It has no rate limit, and its tokens come from the sandbox's app server."""
        app = cls(app_key, rest_url=rest_url, ws_url=ws_url, max_requests_per_second=None)
        app._sandbox = calls
        return app

    @property
    def is_sandbox(self) -> bool:
        """Whether this is a local sandbox: it creates users on demand, and a login needs no credential."""
        return self._sandbox is not None

    @property
    def sandbox(self) -> SandboxCalls | None:
        """Internal: the calls of the sandbox's own endpoints; `None` for a real app."""
        return self._sandbox

    def sandbox_ended(self, outcome: Outcome) -> ConnectionLost | None:
        """Internal: return the error of a call if this is a sandbox that has ended; else `None`.

        Ask it only after a connection failed: for the shared sandbox it looks at files.

        Args:
            outcome: of the call.
        """
        hint = "" if self._sandbox is None else self._sandbox.ended()
        if not hint:
            return None
        so = "nothing was sent" if outcome == "not sent" else "it is not known whether it carried out the last call"
        return ConnectionLost(f"the sandbox has ended; {so}", outcome=outcome, hint=hint)

    async def hosts(self) -> Hosts:
        """Internal: return the app's servers; a URL that the user did not give is discovered.

        Each login begins here. So no password and no token goes to a server where others could read it on the way.

        Raises:
            InvalidMessage: a URL begins with http:// or ws://, and does not lead to this machine.
            ConnectionLost: the servers cannot be discovered.
        """
        if self.rest_url is not None and self.ws_url is not None:
            hosts = Hosts(self.rest_url, self.ws_url)
        else:
            found = await discover(self.app_key)
            hosts = replace(found, rest_url=self.rest_url or found.rest_url, ws_url=self.ws_url or found.ws_url)
        for url in (hosts.rest_url, hosts.ws_url):
            if can_be_read_on_the_way(url):
                raise InvalidMessage(
                    f"others on the network could read a password or a token on its way to {url}", hint=_TLS
                )
        return hosts

    def rate_bucket(self, rest_url: str) -> RateBucket:
        """Internal: return the rate limit that all logins of this process to the app share."""
        limit = self.max_requests_per_second
        return _buckets.setdefault((os.getpid(), self.app_key, rest_url, limit), RateBucket(limit))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, App):
            return NotImplemented
        return (self.app_key, self.rest_url, self.ws_url) == (other.app_key, other.rest_url, other.ws_url)

    def __hash__(self) -> int:
        return hash((self.app_key, self.rest_url, self.ws_url))

    def __repr__(self) -> str:
        where = "local sandbox" if self.is_sandbox else self.rest_url or "hosts discovered"
        return f"<App {self.app_key}, {where}>"


def _hint_for(found: object) -> str:
    """Return what to give in place of something that is not an app key."""
    if isinstance(found, str):
        for right, hint in (
            (found.strip(), APP_KEY_WITHOUT_BLANKS),
            (found.strip().replace("＃", "#"), APP_KEY_WITH_ASCII),  # what a Chinese keyboard types
        ):
            if _APP_KEY.fullmatch(right):
                return hint.format(app_key=right)
    return AN_APP_KEY


def _checked_url(url: str | None, schemes: tuple[str, ...]) -> str | None:
    if url is None:
        return None
    if isinstance(url, str) and "@" in url:  # reprs and errors would show the password
        raise InvalidMessage(f"a {schemes[0]} URL must contain no user or password")
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError):  # a port above 65535, half an IPv6 address, not a string
        is_valid = False
    if not is_valid or not url.isascii() or set(url) & set(" \t\r\n\\"):
        hint = f"It begins with {schemes[-1]}://, or for a server on this machine with {schemes[0]}://"
        raise InvalidMessage(f"{url!r:.200} is not a {schemes[0]} URL", hint=hint)
    return url.rstrip("/")
