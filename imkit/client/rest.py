"""The REST calls of the service: requests, retries, rate limits, and what its refusals mean.

The only room that imports httpx: its upstream is frozen, and the day it is replaced, this file is replaced.

Source: fact sheet sections 1 (transport), 2 (token), 8 to 12.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from imkit.client.rate_limit import Patience, RateBucket
from imkit.client.rest_errors import BUSY, refusal
from imkit.client.wire_log import WireLog
from imkit.errors import (
    AuthError,
    ConnectionLost,
    IMError,
    InvalidMessage,
    ProtocolError,
    RateLimited,
    SessionClosed,
    TimedOut,
)


class _ShareSecretsHidden(logging.Filter):
    """Keeps share-secrets out of httpx's log, which names every URL at INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if "share-secret=" in said:
            record.msg, record.args = re.sub(r"share-secret=[^&\s\"]+", "share-secret=•••", said), ()
        return True


logging.getLogger("httpx").addFilter(_ShareSecretsHidden())

DISCOVERY = ("https://rs.easemob.com/easemob/server.json", "https://rs.chat.agora.io/easemob/server.json")
REQUEST_SECONDS, UPLOAD_SECONDS = 15.0, 300.0  # as the official SDK waits
CHUNK = 64 * 1024
ANSWER_BYTES = 32 * 2**20  # of JSON: a hundred times the largest page
_REQUESTS_A_CLIENT, _CLIENTS = 4, 16
_HOST = re.compile(r"[A-Za-z0-9._\-]+")

Credential = Callable[[bool], Awaitable[str]]  # called with True when the token it gave was refused


# ------------------------------------------------------------------ discovery


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where an app lives: the REST base URL and the socket's URL."""

    rest_url: str
    ws_url: str


async def discover(app_key: str, sources: tuple[str, ...] = DISCOVERY) -> Hosts:
    """Ask where an app's servers are, as the official SDK does.

    Args:
        app_key: ``"org#app"``.
        sources: the places to ask, in order. Hosts are taken of the source's own scheme: an answer that came over
            https never leads to a plain connection.

    Raises:
        ConnectionLost: none of the places answered usefully; `reason` says what each did.

    Source: fact sheet section 1, host discovery.
    """
    problems = []
    for source in sources:
        scheme = urlsplit(source).scheme
        try:
            async with httpx.AsyncClient(timeout=10, trust_env=not is_loopback(source)) as client:
                answer = await client.get(source, params={"app_key": app_key})
            if answer.status_code != 200:
                problems.append(f"{source}: HTTP {answer.status_code}")
                continue
            found = answer.json()
            rest = _host(found["rest"]["hosts"], scheme)
            socket = _host(found["msync-wx"]["hosts"], scheme)
            return Hosts(f"{scheme}://{rest}", f"{'wss' if scheme == 'https' else 'ws'}://{socket}/websocket")
        except httpx.HTTPError as error:
            problems.append(f"{source}: {str(error) or type(error).__name__}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            problems.append(f"{source}: the answer names no hosts for {scheme}")
    raise ConnectionLost(
        f"no server could be found for app {app_key}",
        outcome="not sent",
        reason="; ".join(problems),
        hint="Check the app key and the network, or give App(…, rest_url=…, ws_url=…) from the app's console.",
    )


async def app_server_token(url: str, user: str) -> str:
    """Ask your own app server for a user's token (客户端从应用服务器获取 token).

    Args:
        url: answers ``GET url?user=…`` with JSON, ``{"token": "…"}``. What it holds besides the host is shown nowhere.
        user: whose token.

    Raises:
        InvalidMessage: this is no http address.
        AuthError: the server answered, but with no token.
        ConnectionLost, TimedOut: it did not answer.
    """
    wrong = InvalidMessage("the app server's address is no URL", hint="It begins with https:// or http://")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise wrong
    what = f"asking {parts.hostname} for a token"
    try:
        async with httpx.AsyncClient(timeout=REQUEST_SECONDS, trust_env=not is_loopback(url)) as client:
            answer = await client.get(httpx.URL(url).copy_merge_params({"user": user}))
    except httpx.InvalidURL:
        raise wrong from None
    except httpx.HTTPError as problem:
        raise _transport_error(what, problem)[0] from problem
    found = _json(answer.content)
    token = found.get("token") if found is not None else None
    if answer.status_code != 200 or not isinstance(token, str) or not token:
        hint = 'It must answer ?user=… with JSON: {"token": "…"}.'
        reason = f"HTTP {answer.status_code}, {'no token in it' if found is not None else 'no JSON object'}"
        raise AuthError(f"{what} brought none", status=answer.status_code, reason=reason, hint=hint)
    return token


def _host(hosts: list[dict[str, Any]], scheme: str) -> str:
    for host in hosts:
        if host.get("protocol") == scheme:
            name = host.get("domain") or host.get("ip")
            port = int(host.get("port") or 0)
            if isinstance(name, str) and _HOST.fullmatch(name) and 0 <= port < 65536:
                return f"{name}:{port}" if port else name
    raise ValueError(scheme)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, where no proxy must stand between."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


# ------------------------------------------------------------------- requests


class _Clients:
    """Clients of a few connections each: httpcore goes through all of a pool's for each request.

    Args:
        trust_env: whether proxies and certificates of the environment count.
    """

    def __init__(self, trust_env: bool) -> None:
        self._trust_env = trust_env
        self._tls = httpx.create_ssl_context(trust_env=trust_env)  # takes long, and does for all
        self._under_way: dict[httpx.AsyncClient, int] = {}
        self.first = self._another()

    def _another(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            timeout=REQUEST_SECONDS, trust_env=self._trust_env, verify=self._tls, follow_redirects=False
        )
        self._under_way[client] = 0
        return client

    @property
    def is_closed(self) -> bool:
        return self.first.is_closed

    @contextlib.asynccontextmanager
    async def idlest(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give the client with the least to do, for one request."""
        client = min(self._under_way, key=self._under_way.__getitem__)
        is_full = self._under_way[client] >= _REQUESTS_A_CLIENT
        if is_full and len(self._under_way) < _CLIENTS and not self.is_closed:  # or nobody would close it
            client = self._another()
        self._under_way[client] += 1
        try:
            yield client
        finally:
            self._under_way[client] -= 1

    async def close(self) -> None:
        await asyncio.gather(*(client.aclose() for client in self._under_way))  # all, whatever becomes of one


class Rest:
    """An app's REST interface, for one user.

    Args:
        rest_url: the base URL, without the app.
        app_key: ``"org#app"``.
        bucket: the app's rate limit.
        wire: notes what is said, if it is on.

    Attributes:
        credential: gives the bearer token; called with True after a refusal, to fetch a fresh one.
        requests: how many have been sent, those tried again included.
    """

    def __init__(self, rest_url: str, app_key: str, bucket: RateBucket, wire: WireLog | None = None) -> None:
        self.rest_url = rest_url.rstrip("/")
        self.base_url = f"{self.rest_url}/{app_key.replace('#', '/')}"
        self.credential: Credential | None = None
        self.requests = 0
        self._bucket = bucket
        self._wire = wire or WireLog()
        self._clients = _Clients(trust_env=not is_loopback(rest_url))

    async def close(self) -> None:
        """Close what connections are left."""
        await self._clients.close()

    def _check_open(self, what: str) -> None:
        if self._clients.is_closed:
            raise SessionClosed(f"{what}: the session is over")

    async def get(self, *path: str, what: str = "", params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """GET a path below the app; each part is quoted. Repeated when the service is busy."""
        return await self.request("GET", *path, what=what, params=params, repeatable=True)

    async def request(
        self,
        method: str,
        *path: str,
        what: str = "",
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = False,
        signed: bool = True,
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer; the arguments are those of `content`.

        Raises:
            IMError: as `content` does; `ProtocolError` also where a success comes with no JSON object.
        """
        content = await self.content(
            method, *path, what=what, params=params, body=body, repeatable=repeatable, signed=signed
        )
        found = _json(content)
        if found is None:
            raise refusal(what or _line(method, path), 200, None, path)
        return found

    async def content(
        self,
        method: str,
        *path: str,
        what: str = "",
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = False,
        signed: bool = True,
        patience: float = 0.0,
    ) -> bytes:
        """Send one request and return the body of the answer as it came.

        Args:
            method: GET, POST, PUT or DELETE.
            *path: the parts below the app; each is quoted, so an id cannot lead elsewhere.
            what: what is being done, to which thread or group; opens an error's message.
            params: the query.
            body: a JSON object.
            repeatable: sending it twice does no harm, so a lost answer or a busy service is met with another try.
            signed: send the bearer token.
            patience: how many seconds a service that answers nobody is waited for at the least.

        Raises:
            IMError: the subclass that fits the refusal (fact sheet section 12), or `TimedOut`, `ConnectionLost`,
                `ServiceBusy`, `ProtocolError`.
        """
        if any(part in ("", ".", "..") for part in path):
            raise InvalidMessage(f"{path!r:.200} is no path: a part of it leads elsewhere")
        url = "/".join([self.base_url, *(quote(part, safe="") for part in path)])
        line = _line(method, path)
        what = what or line

        async def once(headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
            headers["Content-Type"] = "application/json"
            self._wire.request(line, body)
            answer, content = await self._ask(what, method, url, params=params, json=body, headers=headers)
            self._wire.answer(line, answer.status_code, content)
            return answer, content

        _, content = await self._repeat(
            what, once, path, lost=repeatable, busy=BUSY if repeatable else (429,), signed=signed, patience=patience
        )
        return content

    async def _repeat(
        self,
        what: str,
        once: Callable[[dict[str, str]], Awaitable[tuple[httpx.Response, bytes]]],
        path: tuple[str, ...] = (),
        *,
        lost: bool = False,
        busy: tuple[int, ...] = BUSY,
        signed: bool = True,
        patience: float = 0.0,
    ) -> tuple[httpx.Response, bytes]:
        """Send a request until it is answered with success, or is no more to be repeated.

        Args:
            what: opens an error's message.
            once: sends it, given the headers that sign it; returns the answer and its body.
            path: names what is missing.
            lost: repeat it also where it may have been carried out and only the answer was lost.
            busy: the statuses to repeat it after. 429 was refused unseen; of the others nobody knows.
            signed: send the bearer token; a refused one is fetched anew, once.
            patience: how many seconds a service that answers nobody is waited for at the least.
        """
        refreshed = False
        waiting = Patience(self._bucket, patience)
        while True:
            self._check_open(what)
            headers: dict[str, str] = {}
            if signed and self.credential is not None:
                headers["Authorization"] = f"Bearer {await self.credential(refreshed)}"
            sent = await self._bucket.take()
            wait: float | None = None
            try:
                answer, content = await once(headers)
            except httpx.HTTPError as problem:
                self._check_open(what)
                error, never_sent = _transport_error(what, problem)
                again = lost or never_sent
            else:
                self._note(sent, answer)
                if answer.status_code == 200:
                    return answer, content
                error = _refused(what, answer, content, path)
                wait = _retry_after(answer)
                again = answer.status_code in busy
                if isinstance(error, AuthError) and answer.status_code == 401 and signed and not refreshed:
                    refreshed = again = True
                    wait = 0.0
            if not again:
                raise error
            await waiting.wait(error, wait)

    def _note(self, sent: float, answer: httpx.Response) -> None:
        """Tell the bucket how the service takes our pace."""
        if answer.status_code == 429:
            self._bucket.refused(sent, _retry_after(answer))
        elif answer.status_code in BUSY:
            self._bucket.busy(sent, _retry_after(answer))
        else:
            self._bucket.answered(sent)

    async def _ask(self, what: str, method: str, url: str, **how: Any) -> tuple[httpx.Response, bytes]:
        """Send one request, once, and read the whole answer: as much as an answer may hold."""
        content = bytearray()
        self.requests += 1
        async with self._clients.idlest() as client, client.stream(method, url, **how) as answer:
            async for chunk in answer.aiter_bytes(CHUNK):
                content += chunk
                if len(content) > ANSWER_BYTES:
                    raise ProtocolError(f"{what}: the answer is larger than {ANSWER_BYTES:,} bytes")
        return answer, bytes(content)

    async def sandbox_token(self, user: str, secret: str) -> dict[str, Any]:
        """Ask the sandbox's own app server for a user's token; the user is made on demand."""
        what = "POST /imkit/app-server/token"
        headers = {"Authorization": f"Bearer {secret}"}
        url = f"{self.rest_url}/imkit/app-server/token"
        try:
            answer, content = await self._ask(what, "POST", url, json={"user": user}, headers=headers)
        except httpx.HTTPError as problem:
            raise _transport_error(what, problem)[0] from problem
        found = _json(content)
        if answer.status_code != 200 or found is None:
            raise refusal(what, answer.status_code, found)
        return found

    async def upload(
        self, target_id: str, data: bytes, name: str, progress: Callable[[int], Awaitable[None]]
    ) -> dict[str, Any]:
        """Upload a file for a thread or group (fact sheet section 11); `progress` is told the bytes sent."""
        what = f"the upload of {name}"
        params = {"chat-type": "GROUP", "chat-target": target_id}
        form = httpx.Request("POST", "http://form", files={"file": (name, data)})  # writes the multipart form
        content = form.read()

        async def once(headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
            headers |= {"restrict-access": "true", "Accept": "*/*", "Content-Type": form.headers["content-type"]}
            headers["Content-Length"] = str(len(content))
            told = _told(content, len(data), progress)
            url = f"{self.base_url}/chatfiles"
            return await self._ask(
                what, "POST", url, params=params, content=told, headers=headers, timeout=UPLOAD_SECONDS
            )

        # A file that is there twice does no harm, but takes long: only a refusal is met with another try.
        answer, said = await self._repeat(what, once)
        found = _json(said)
        if found is None:
            raise _refused(what, answer, said)
        return found

    async def download(self, path: str, secret: str) -> AsyncGenerator[tuple[bytes, int | None], None]:
        """Yield the chunks of an attachment with its size, if known (fact sheet section 11).

        The service may redirect to its file store; the bearer token does not go along to another host.
        """
        what = "the download of an attachment"
        parts = urlsplit(self.rest_url)
        params = {"em-redirect": "true", **({"share-secret": secret} if secret else {})}
        url = f"{parts.scheme}://{parts.netloc}{path}"
        client = self._clients.first

        async def once(headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
            headers["Accept"] = "*/*"
            request = client.build_request("GET", url, params=params, headers=headers, timeout=UPLOAD_SECONDS)
            self.requests += 1
            answer = await client.send(request, stream=True, follow_redirects=True)
            if answer.status_code == 200:
                return answer, b""  # to be read on
            try:
                return answer, await _beginning(answer)
            finally:
                await answer.aclose()

        answer, _ = await self._repeat(what, once, ("chatfiles",))
        try:
            size = answer.headers.get("content-length", "")
            plain = "content-encoding" not in answer.headers
            total = int(size) if plain and size.isascii() and size.isdigit() else None
            async for chunk in answer.aiter_bytes(CHUNK):
                yield chunk, total
        except httpx.HTTPError as problem:  # in the middle of it: what has come was handed on
            raise _transport_error(what, problem)[0] from problem
        finally:
            await answer.aclose()


def _line(method: str, path: tuple[str, ...]) -> str:
    return f"{method} /{'/'.join(path)}"


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


async def _beginning(answer: httpx.Response) -> bytes:
    """Return as much of a refusal as can matter."""
    async for chunk in answer.aiter_bytes(CHUNK):
        return chunk
    return b""


async def _told(content: bytes, size: int, progress: Callable[[int], Awaitable[None]]) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]
        await progress(min(start + CHUNK, size))


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _transport_error(what: str, problem: httpx.HTTPError) -> tuple[IMError, bool]:
    """Return our error for httpx's, and whether the request surely never reached the service."""
    reason = str(problem) or type(problem).__name__
    if isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        hint = "Is the service running, and is rest_url right?"
        return ConnectionLost(f"{what}: no connection", outcome="not sent", reason=reason, hint=hint), True
    if isinstance(problem, httpx.TimeoutException):
        return TimedOut(f"{what}: no answer in {REQUEST_SECONDS:.0f} s", reason=reason), False
    hint = "Whether the request was carried out is not known."
    return ConnectionLost(f"{what}: the connection broke", reason=reason, hint=hint), False


def _refused(what: str, answer: httpx.Response, content: bytes, path: tuple[str, ...] = ()) -> IMError:
    error = refusal(what, answer.status_code, _json(content), path, answer.headers.get("content-type", ""))
    if isinstance(error, RateLimited):
        error.retry_after = _retry_after(answer)
    return error
