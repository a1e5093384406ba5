"""Where a user's tokens come from, and how imkit renews them before they expire.

Source: docs/protocol.md#registration-and-tokens, docs/protocol.md#token-life.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from imkit.client.app import App
from imkit.client.http import HttpClient, RequestFailed
from imkit.client.rate_limit import retry_delays
from imkit.client.rest import Rest, json_object
from imkit.client.rest_errors import request_failed
from imkit.errors import (
    AuthError,
    ConnectionLost,
    IMError,
    InvalidMessage,
    RateLimited,
    ServiceBusy,
    TimedOut,
    TokenExpired,
)
from imkit.events import TokenExpiring
from imkit.portal import Worker
from imkit.times import from_milliseconds
from imkit.wire.untrusted_json import number

logger = logging.getLogger("imkit.client.credentials")

TokenSource = Callable[[], str | Awaitable[str]]
_RENEW_AT = 0.8  # of a token's remaining life; the official SDK warns at the same moment


class Credentials:
    """Gives a user's token: from a password, a fixed token, a function, or the sandbox's app server.

    No repr, log or error shows the password or the token.

    Args:
        user: the user id.
        app: the app.
        rest: asks for a token with the password, or asks the sandbox.
        password: the user's password.
        token: a token, or a function that fetches one.

    Raises:
        InvalidMessage: both a password and a token were given, or one of them has a wrong type.
        AuthError: neither was given, and the app is not a sandbox.
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
            raise InvalidMessage("both a password and a token were given", hint="Give one of them.")
        if password is not None and not isinstance(password, str):
            raise InvalidMessage(f"a password must be a string, not {type(password).__name__}")
        if token is not None and not isinstance(token, str) and not callable(token):
            raise InvalidMessage(f"a token must be a string or a function, not {type(token).__name__}")
        if password is None and token is None and not app.is_sandbox:
            hint = "Give login() password=…, token=… or a callable that asks your app server."
            raise AuthError(f"no credential for {user} at {app.app_key}", hint=hint)
        self.user = user
        self._app = app
        self._rest = rest
        self._password = password
        self._source = token
        self._token: str | None = None
        self._lock = asyncio.Lock()
        # Not the thread of the callbacks: a callback may be waiting for this token.
        self._worker = Worker(f"imkit-token-{user}")

    @property
    def renewable(self) -> bool:
        """Whether imkit can get a new token without the user."""
        return not isinstance(self._source, str)

    async def token(self, refused: bool) -> str:
        """Return the token. Fetch a new one if there is none yet, or if the service refused the last one.

        Args:
            refused: whether the service refused the token that this method returned last.
        """
        refused_token = self._token if refused else None
        async with self._lock:
            # Several callers may report the same refusal: only the first one fetches a new token.
            if self._token is None or (refused and self._token == refused_token):
                if refused and not self.renewable:
                    raise TokenExpired(f"the token of {self.user} is no longer valid")
                self._token = await self._fetch()
            return self._token

    async def _fetch(self) -> str:
        if isinstance(self._source, str):
            found: object = self._source
        elif self._source is not None:
            try:
                found = await self._worker.run(self._source)
            except Exception as error:
                hint = "See the error that the function raised. It must take no arguments and return a token."
                reason = type(error).__name__  # the error's text may contain a secret; the error itself is chained
                message = f"the function that fetches tokens for {self.user} failed"
                raise AuthError(message, reason=reason, hint=hint) from error
        elif self._password is not None:
            found = await self._from_password()
        else:
            found = await self._from_sandbox()
        if not isinstance(found, str) or not found or not found.isascii() or not found.isprintable():
            hint = "A token is a string of printable ASCII characters; a function must return only the token."
            raise AuthError(f"expected a token for {self.user}, got {type(found).__name__}", hint=hint)
        return found

    async def _from_password(self) -> object:
        body = {
            "grant_type": "password",
            "username": self.user,
            "password": self._password,
            "timestamp": int(time.time() * 1000),
        }
        answer = await self._rest.request(
            "POST", "token", what=f"the login of {self.user}", body=body, repeatable=True, signed=False
        )
        return answer.get("access_token")

    async def _from_sandbox(self) -> object:
        assert self._app.sandbox is not None  # else `__init__` asks for a credential
        return await asyncio.to_thread(self._app.sandbox.token, self.user)

    async def prove_sandbox(self) -> None:
        """Make sure that the sandbox is at its address, and no other program; a real app proves itself by TLS.

        Raises:
            ConnectionLost: no sandbox is there, or another program is.
            TimedOut: the sandbox does not answer.
        """
        comes_with_token = self._token is None and self._source is None and self._password is None
        if self._app.sandbox is not None and not comes_with_token:
            await asyncio.to_thread(self._app.sandbox.prove)

    def close(self) -> None:
        """End the thread that runs the token function."""
        self._worker.close()

    def __repr__(self) -> str:
        return f"<Credentials of {self.user}>"


async def keep_fresh(
    credentials: Credentials,
    rest: Rest,
    expires_at: int,
    expiring: Callable[[TokenExpiring], None],
    expired: Callable[[], Awaitable[None]],
) -> None:
    """Renew the token at 80 % of its remaining life, and do the same with each new token.

    Args:
        credentials: where the token comes from.
        rest: asks the service when a new token expires.
        expires_at: when the present token expires, in ms since the epoch.
        expiring: called with an event before each renewal.
        expired: called when the token has expired and imkit has no new one.

    Source: docs/protocol.md#token-life.
    """
    while True:
        remaining = expires_at / 1000 - time.time()
        await asyncio.sleep(max(remaining * _RENEW_AT, 0))
        expiring(TokenExpiring(from_milliseconds(expires_at)))
        if not credentials.renewable or not await _renew(credentials, expires_at):
            await asyncio.sleep(max(expires_at / 1000 - time.time(), 0))
            await expired()
            return
        new_expiry = await _ask_expiry(credentials, rest)
        if new_expiry is None:  # later the service refuses the token, and imkit renews it then
            return
        expires_at = new_expiry


async def _renew(credentials: Credentials, expires_at: int) -> bool:
    """Fetch a new token, if necessary in several attempts; return whether it succeeded.

    If the service or the app server answers and refuses, the attempts end when the old token expires. If it does not
    answer, the attempts go on.
    """
    delays = retry_delays(first=1.0, cap=60.0)
    while True:
        try:
            await credentials.token(True)
        except IMError as error:
            logger.warning("the token of %s could not be renewed: %s", credentials.user, error)
            is_unreachable = isinstance(error, ConnectionLost | TimedOut | ServiceBusy | RateLimited)
        else:
            return True
        remaining = expires_at / 1000 - time.time()
        if remaining <= 0 and not is_unreachable:
            return False
        await asyncio.sleep(next(delays) if is_unreachable else min(next(delays), remaining))


async def _ask_expiry(credentials: Credentials, rest: Rest) -> int | None:
    """Return when the present token expires, in ms since the epoch, or `None` if the service does not say."""
    try:
        answer = await rest.get("sdk", "users", credentials.user, "token", "expires")
    except IMError as error:
        logger.info("it is not known when the new token of %s expires: %s", credentials.user, error)
        return None
    return number(answer, "expire_timestamp") or None


async def app_server_token(url: str, user: str) -> str:
    """Ask your own app server for a user's token (客户端从应用服务器获取 token).

    Args:
        url: the app server's URL. It must answer ``GET url?user=…`` with the JSON ``{"token": "…"}``. Errors show only
            the host of the URL.
        user: the user id.

    Raises:
        InvalidMessage: the URL is not an http URL.
        AuthError: the server answered without a token.
        ConnectionLost, TimedOut: the server did not answer.
    """
    wrong = InvalidMessage("the app server's address is not an http URL", hint="It begins with https:// or http://")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise wrong
    what = f"asking {parts.hostname} for a token"
    try:
        async with HttpClient(url) as http:
            answer = await http.request("GET", url, params={"user": user})
    except RequestFailed as problem:
        if problem.kind == "not a URL":
            raise wrong from None  # the problem's own words would show more than the host
        raise request_failed(what, problem) from problem
    found = json_object(answer.content)
    token = found.get("token") if found is not None else None
    if answer.status != 200 or not isinstance(token, str) or not token:
        hint = 'It must answer ?user=… with JSON: {"token": "…"}.'
        reason = f"HTTP {answer.status}, {'no token in it' if found is not None else 'no JSON object'}"
        raise AuthError(f"{what} failed", status=answer.status, reason=reason, hint=hint)
    return token
