"""HTTP: a request goes in; a status, headers, and bytes or a stream come out.

This is the only module that imports httpx. Its upstream is frozen: on the day it is replaced, this file is replaced.

Source: docs/protocol.md#rest-transport, docs/protocol.md#timers-of-the-official-sdk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from imkit.client.redaction import without_share_secrets

REQUEST_SECONDS, UPLOAD_SECONDS = 15.0, 300.0  # as the official SDK waits
CHUNK = 64 * 1024
ANSWER_BYTES = 32 * 2**20  # of JSON: a hundred times the largest page
_REQUESTS_A_CLIENT, _CLIENTS = 4, 16
_CLOSE_SECONDS = 2.0

Failure = Literal["not a URL", "no connection", "no answer in time", "broken", "too large", "closed"]


class _ShareSecretsHidden(logging.Filter):
    """Keeps share-secrets out of httpx's log, which names every URL at INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        hidden = without_share_secrets(text)
        if hidden != text:
            record.msg, record.args = hidden, ()
        return True


logging.getLogger("httpx").addFilter(_ShareSecretsHidden())


class RequestFailed(Exception):
    """No whole answer came.

    Attributes:
        kind: "no connection" means that the service never got the request; after the others it is not known.
        reason: httpx's own words.
        seconds: how long the request was given.
    """

    def __init__(self, kind: Failure, reason: str = "", seconds: float = 0.0) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: Failure = kind
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its status, its headers (names in lower case) and its body."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""


class OpenAnswer:
    """An answer whose body is still to be read: take `chunks`, then `close` it."""

    def __init__(self, answer: httpx.Response, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds
        self.status = answer.status_code
        self.headers: Mapping[str, str] = answer.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body, decompressed, in pieces of at most 64 KB.

        Raises:
            RequestFailed: the connection broke.
        """
        try:
            async for chunk in self._answer.aiter_bytes(CHUNK):
                yield chunk
        except httpx.HTTPError as problem:
            raise _failed(problem, self._seconds) from problem

    async def close(self) -> None:
        """Give the connection back."""
        await self._answer.aclose()


@dataclass(eq=False, slots=True)
class _RequestUnderWay:
    """A request that `HttpClient.close` can end: by its timeout, which has no time of its own."""

    ending: asyncio.Timeout
    task: asyncio.Task[Any] | None
    is_over: asyncio.Event
    is_told_to_end: bool = False


class HttpClient:
    """Requests to one server, over connections that are kept.

    There are several httpx clients of a few connections each, because httpcore goes through all connections of a pool
    for each request.

    Args:
        url: of the server. Towards this machine the proxies of the environment do not count.
        seconds: how long a request may take to connect, and how long it may be silent.
    """

    def __init__(self, url: str, seconds: float = REQUEST_SECONDS) -> None:
        self._trust_env = not is_loopback(url)
        self._seconds = seconds
        self._tls = httpx.create_ssl_context(trust_env=self._trust_env)  # takes long, and does for all
        self._busy: dict[httpx.AsyncClient, int] = {}  # by client, how many requests are under way
        self._under_way: set[_RequestUnderWay] = set()
        self.is_closed = False
        self._add_client()

    def _add_client(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            timeout=self._seconds, trust_env=self._trust_env, verify=self._tls, follow_redirects=False
        )
        self._busy[client] = 0
        return client

    @contextlib.asynccontextmanager
    async def _least_busy_client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give the client with the fewest requests, for one request, which `close` can end."""
        if self.is_closed:
            raise RequestFailed("closed")
        client = min(self._busy, key=self._busy.__getitem__)
        if self._busy[client] >= _REQUESTS_A_CLIENT and len(self._busy) < _CLIENTS:
            client = self._add_client()
        self._busy[client] += 1
        try:
            async with asyncio.timeout(None) as ending:
                request = _RequestUnderWay(ending, asyncio.current_task(), asyncio.Event())
                self._under_way.add(request)
                try:
                    yield client
                finally:
                    self._under_way.discard(request)
                    request.is_over.set()
        except TimeoutError:
            if not self.is_closed:
                raise
            raise RequestFailed("closed") from None
        finally:
            self._busy[client] -= 1

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
        content: AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Send one request, once, and read the whole answer.

        Args:
            method: such as ``"GET"``.
            url: where to; what it has of a query is kept.
            params: more of the query.
            json: the body, as a JSON object.
            content: or the body in pieces.
            headers: more headers.
            seconds: how long it may be silent; `None`: as the client was told.

        Raises:
            RequestFailed: no whole answer came, or one of more than 32 MiB.
        """
        async with self._least_busy_client() as client:
            answer = await self._open(client, method, url, params, json, content, headers, seconds)
            try:
                body = bytearray()
                async for chunk in answer.chunks():
                    body += chunk
                    if len(body) > ANSWER_BYTES:
                        raise RequestFailed("too large", f"the answer is larger than {ANSWER_BYTES:,} bytes")
            finally:
                await answer.close()
        return Answer(answer.status, answer.headers, bytes(body))

    async def open(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> OpenAnswer:
        """Send one request, follow redirects, and return the answer with its body unread; the caller closes it.

        Raises:
            RequestFailed: no answer came.
        """
        async with self._least_busy_client() as client:
            return await self._open(client, method, url, params, None, None, headers, seconds, redirects=True)

    async def _open(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        params: Mapping[str, Any] | None,
        json: Mapping[str, Any] | None,
        content: AsyncIterator[bytes] | None,
        headers: Mapping[str, str] | None,
        seconds: float | None,
        *,
        redirects: bool = False,
    ) -> OpenAnswer:
        allowed = self._seconds if seconds is None else seconds
        try:
            whole = httpx.URL(url).copy_merge_params(params) if params else url
            request = client.build_request(method, whole, json=json, content=content, headers=headers, timeout=allowed)
            answer = await client.send(request, stream=True, follow_redirects=redirects)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise _failed(problem, allowed) from problem
        return OpenAnswer(answer, allowed)

    async def close(self, caller: asyncio.Task[Any] | None = None) -> None:
        """End the requests that are under way, and close all connections.

        A pool that is closed while it connects would leave that connection open: so the requests end first. A request
        of the caller is left alone (a progress function may close the session), and so is a download whose body is
        being read: closing its connection ends it.

        Args:
            caller: the task that waits for this, if it has a request under way.
        """
        self.is_closed = True
        others = [request for request in self._under_way if request.task is not caller]
        for request in others:
            if not request.is_told_to_end:
                request.is_told_to_end = True
                request.ending.reschedule(0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                for request in others:
                    await request.is_over.wait()
        await asyncio.gather(*(client.aclose() for client in self._busy))  # all, whatever becomes of one

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, where no proxy must stand between.

    Example:
        >>> is_loopback("http://127.0.0.1:8080"), is_loopback("https://a1.easemob.com")
        (True, False)
    """
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def multipart(name: str, data: bytes) -> tuple[bytes, str]:
    """Return a file as the body of a multipart form, in its field ``file``, and the content type to send with it."""
    form = httpx.Request("POST", "http://form", files={"file": (name, data)})
    return form.read(), form.headers["content-type"]


def _failed(problem: httpx.HTTPError | httpx.InvalidURL, seconds: float) -> RequestFailed:
    reason = str(problem) or type(problem).__name__
    kind: Failure = "broken"
    if isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        kind = "no connection"
    elif isinstance(problem, httpx.InvalidURL):
        kind = "not a URL"
    elif isinstance(problem, httpx.TimeoutException):
        kind = "no answer in time"
    return RequestFailed(kind, reason, seconds)
