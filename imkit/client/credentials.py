"""Where a user's tokens come from, and how imkit renews them before they expire.

Source: docs/protocol.md#registration-and-tokens, docs/protocol.md#token-life.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from imkit.client.app import App
from imkit.client.http import SMALL_ANSWER_BYTES, HttpClient, RequestFailed, can_be_read_on_the_way
from imkit.client.rate_limit import retry_delays
from imkit.client.rest import Rest, json_object
from imkit.client.rest_errors import request_failed
from imkit.client.timing import Timing
from imkit.errors import AuthError, IMError, InvalidMessage, TokenExpired
from imkit.events import TokenExpiring
from imkit.hints import operation
from imkit.portal import Worker
from imkit.times import from_milliseconds
from imkit.wire.untrusted_json import number

logger = logging.getLogger("imkit.client.credentials")

R = TypeVar("R")

TokenSource = Callable[[], str | Awaitable[str]]
_RENEW_AT = 0.8  # of a token's remaining life; the official SDK warns at the same moment
_LONGEST_PAUSE_SECONDS = 300.0  # between two renewals that fail, or that bring tokens without a plausible life
_LONGEST_SLEEP_SECONDS = 30.0  # so soon after a suspended machine wakes, imkit sees how much time has passed


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
        self._proving: asyncio.Task[None] | None = None

    @property
    def renewable(self) -> bool:
        """Whether imkit can get a new token without the user."""
        return not isinstance(self._source, str)

    async def token(self, refused: str | None = None) -> str:
        """Return the token. Fetch a new one if there is none yet, or if it is the one that the service refused.

        Args:
            refused: the token that the service refused, if it refused one.
        """
        async with self._lock:
            # Many requests may have left with the same token, and each refusal comes at its own time: only the first
            # one fetches a new token.
            if self._token is None or self._token == refused:
                if refused is not None and not self.renewable:
                    raise TokenExpired(f"the token of {self.user} is no longer valid")
                self._token = await self._fetch()
            return self._token

    async def renew(self) -> None:
        """Fetch a new token in place of the present one."""
        await self.token(self._token)

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
            "POST", "token", what=operation("log_in", user=self.user), body=body, repeatable=True, signed=False
        )
        return answer.get("access_token")

    async def _from_sandbox(self) -> object:
        assert self._app.sandbox is not None  # else `__init__` asks for a credential
        return await self._in_its_own_thread(partial(self._app.sandbox.token, self.user))

    async def prove_sandbox(self) -> None:
        """Make sure that the sandbox is at its address, and no other program; a real app proves itself by TLS.

        Raises:
            ConnectionLost: no sandbox is there, or another program is.
            TimedOut: the sandbox does not answer.
        """
        sandbox = self._app.sandbox
        comes_with_token = self._token is None and self._source is None and self._password is None
        if sandbox is None or comes_with_token:
            return
        if self._proving is None or self._proving.done():  # one proof at a time: a silent program holds one thread
            self._proving = asyncio.create_task(self._in_its_own_thread(sandbox.prove))
            self._proving.add_done_callback(_mark_as_seen)
        await asyncio.shield(self._proving)

    async def _in_its_own_thread(self, function: Callable[[], R]) -> R:
        """Run a call of the sandbox, which may block for long if another program has its port.

        Not in the loop's executor, whose few threads others wait for, and for which the interpreter waits at its end.
        """
        worker = Worker(f"imkit-sandbox-{self.user}")
        try:
            return await worker.run(function)
        finally:
            worker.close()

    def close(self) -> None:
        """End the thread that runs the token function."""
        self._worker.close()

    def __repr__(self) -> str:
        return f"<Credentials of {self.user}>"


def _mark_as_seen(proving: asyncio.Task[None]) -> None:
    """Let asyncio not log the error of a proof whose callers were all cancelled."""
    if not proving.cancelled():
        proving.exception()


async def keep_fresh(
    credentials: Credentials,
    rest: Rest,
    expires_at: int,
    service_time: Callable[[], int | None],
    expiring: Callable[[TokenExpiring], None],
    timing: Timing,
) -> None:
    """Renew the token at 80 % of its remaining life, and do the same with each new token.

    The remaining life is the difference of two times of the service, so a wrong clock of this machine changes nothing.
    A life that is too short to be true makes no storm: there is a least time between two renewals, and it doubles with
    each such life. Only the service ends a session: at the end of a token that cannot be renewed, imkit goes on until
    the service refuses it.

    Args:
        credentials: where the token comes from.
        rest: asks the service when a new token expires.
        expires_at: when the present token expires, in ms since the epoch, by the service's clock.
        service_time: returns the time on the service's clock in ms, or `None` if it is not known.
        expiring: called with an event before each renewal.
        timing: the least time between two renewals, and the clock.

    Source: docs/protocol.md#token-life.
    """
    ends: int | None = expires_at
    least = timing.renewal
    while ends is not None and (told := service_time()) is not None:
        life = (ends - told) / 1000
        await _sleep_until(timing.clock() + max(life * _RENEW_AT, least), timing.clock)
        is_plausible = life * _RENEW_AT >= timing.renewal
        least = timing.renewal if is_plausible else min(least * 2, _LONGEST_PAUSE_SECONDS)
        expiring(TokenExpiring(from_milliseconds(ends)))
        if not credentials.renewable or not await _renew(credentials):
            return
        ends = await _ask_expiry(credentials, rest)
    # From here on the service refuses the token when it ends, and imkit renews it then, if it can.


async def _sleep_until(moment: float, clock: Callable[[], float]) -> None:
    """Sleep until a moment of a clock that counts while the machine is suspended; the clock of `sleep` may not."""
    while (left := moment - clock()) > 0:  # noqa: ASYNC110  # no event tells that a suspended machine has woken
        await asyncio.sleep(min(left, _LONGEST_SLEEP_SECONDS))


async def _renew(credentials: Credentials) -> bool:
    """Fetch a new token, if necessary in several attempts; return whether it succeeded.

    The attempts end if the service refuses the password: many wrong passwords could lock the account.
    """
    delays = retry_delays(first=1.0, cap=_LONGEST_PAUSE_SECONDS)
    while True:
        try:
            await credentials.renew()
        except IMError as error:
            logger.warning("the token of %s could not be renewed: %s", credentials.user, error)
            if isinstance(error, AuthError) and error.status is not None:
                return False
        else:
            return True
        await asyncio.sleep(next(delays))


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
        url: the app server's URL: https, or http on this machine. It must answer ``GET url?user=…`` with the JSON
            ``{"token": "…"}``. Errors show only the host of the URL.
        user: the user id.

    Raises:
        InvalidMessage: the URL is not an http URL, or others on the network could read the token in the answer.
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
    if can_be_read_on_the_way(url):
        hint = "It must begin with https://. Only on this machine (127.0.0.1) http:// will do."
        raise InvalidMessage(f"{what}: others on the network could read it on the way", hint=hint)
    try:
        async with HttpClient(url) as http:
            answer = await http.request("GET", url, params={"user": user}, max_bytes=SMALL_ANSWER_BYTES)
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
