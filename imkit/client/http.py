"""HTTP: a request goes in; a status, headers, and bytes or a stream come out.

This is the only module that imports httpx. Its upstream is frozen: on the day it is replaced, this file is replaced.

Source: docs/protocol.md#rest-transport, docs/protocol.md#timers-of-the-official-sdk.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import os
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from imkit.client.redaction import without_share_secrets

REQUEST_SECONDS, UPLOAD_SECONDS = 15.0, 300.0  # as the official SDK waits
CHUNK = 64 * 1024
# What an answer may cost, whatever the service sends. Sizes are counted before and after decompression.
ANSWER_BYTES = 32 * 2**20  # of JSON: a page may have 50 streamed texts of 128 KB, each twice escaped in a list
SMALL_ANSWER_BYTES = 2**20  # of an answer that names some hosts, or one token
FILE_BYTES = 2**30  # of an attachment: a service takes 10 MB, or what the app's plan says
ANSWER_SECONDS = 120.0  # for a request with its whole answer: the largest page at 3 KB a second
SLOWEST_BYTES_A_SECOND = 4096  # a file gets so much more time: 10 MB may take 45 minutes
_REDIRECTS = 5  # a service redirects once, to its file store
_REQUESTS_A_CLIENT, _CLIENTS = 4, 16
_CLOSE_SECONDS = 2.0

Failure = Literal[
    "environment",
    "not a URL",
    "no connection",
    "no answer in time",
    "too slow",
    "broken",
    "too large",
    "unreadable",
    "closed",
]


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
        kind: "environment", "not a URL" and "no connection" mean that the service never got the request; after the
            others it is not known. "environment": its variables name a proxy or certificates that cannot be used; "no
            answer in time": the service was silent for too long; "too slow": it was not silent, but the whole answer
            took too long.
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

    async def chunks(self, max_bytes: int) -> AsyncIterator[bytes]:
        """Yield the body, decompressed, in pieces of at most 64 KB.

        Args:
            max_bytes: so many at the most, before and after decompression.

        Raises:
            RequestFailed: the connection broke; or the body is larger than `max_bytes`, comes too slowly, or is
                compressed in another way than the request allowed.
        """
        encoded_bytes = decoded_bytes = 0
        allowed = ANSWER_SECONDS  # time in which the consumer is busy does not count
        clock = asyncio.get_running_loop().time
        decoded = _Decoding(self.headers)
        parts = self._answer.aiter_raw()
        while True:
            began = clock()
            try:
                async with asyncio.timeout(allowed):
                    part = await anext(parts, None)
            except TimeoutError:
                raise RequestFailed("too slow", f"{encoded_bytes:,} bytes came", clock() - began) from None
            except httpx.HTTPError as problem:
                raise _failed(problem, self._seconds) from problem
            if part is None:
                decoded.check_end()
                return
            allowed += len(part) / SLOWEST_BYTES_A_SECOND - (clock() - began)
            encoded_bytes += len(part)
            for piece in decoded.pieces(part):
                decoded_bytes += len(piece)
                if max(encoded_bytes, decoded_bytes) > max_bytes:
                    raise RequestFailed("too large", f"the answer is larger than {max_bytes:,} bytes")
                yield piece
                await asyncio.sleep(0)  # a little input can become many pieces, and other work must go on

    async def close(self) -> None:
        """Give the connection back."""
        await self._answer.aclose()


class _Decoding:
    """Undoes the compression of one body, in bounded steps.

    httpx would undo any chain of codings that an answer declares, each as a whole: 5 KB became 3 GB. imkit asks for
    gzip only, and takes one gzip or none.

    Raises:
        RequestFailed: the answer declares another coding, or several.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        declared = headers.get("content-encoding", "").lower()
        codings = [coding for part in declared.split(",") if (coding := part.strip()) not in ("", "identity")]
        if codings not in ([], ["gzip"], ["x-gzip"]):
            raise RequestFailed("unreadable", f"the answer is encoded as {declared:.100}")
        self._gzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if codings else None

    def pieces(self, part: bytes) -> Iterator[bytes]:
        """Yield what a part of the body becomes, in pieces of at most 64 KB."""
        if self._gzip is None:
            yield part
            return
        piece = b""
        while part or len(piece) == CHUNK:
            try:
                piece = self._gzip.decompress(part, CHUNK)
            except zlib.error as error:
                raise RequestFailed("unreadable", f"the answer is not valid gzip: {error}") from None
            if self._gzip.unused_data:
                raise RequestFailed("unreadable", "the answer goes on after the end of its gzip data")
            part = self._gzip.unconsumed_tail
            yield piece

    def check_end(self) -> None:
        """Raise `RequestFailed` if the body ended too soon."""
        if self._gzip is not None and not self._gzip.eof:
            raise RequestFailed("broken", "the answer ends in the middle of its gzip data")


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
        seconds: how long a request may take to connect, and how long the service may be silent.
    """

    def __init__(self, url: str, seconds: float = REQUEST_SECONDS) -> None:
        self._trust_env = not is_loopback(url)
        self._seconds = seconds
        self._busy: dict[httpx.AsyncClient, int] = {}  # by client, how many requests are under way
        self._under_way: set[_RequestUnderWay] = set()
        self.is_closed = False

    def _add_client(self) -> httpx.AsyncClient:
        try:
            tls = _tls_context(self._trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
            client = httpx.AsyncClient(
                timeout=self._seconds,
                trust_env=self._trust_env,
                verify=tls,
                follow_redirects=False,
                headers={"Accept-Encoding": "gzip"},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none are kept, so they cannot pile up
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as problem:  # ImportError: for a SOCKS proxy
            raise RequestFailed("environment", str(problem)) from problem
        self._busy[client] = 0
        return client

    @contextlib.asynccontextmanager
    async def _least_busy_client(self, whole_seconds: float) -> AsyncIterator[httpx.AsyncClient]:
        """Give the client with the fewest requests, for one request, which the time limit or `close` can end."""
        if self.is_closed:
            raise RequestFailed("closed")
        client = min(self._busy, key=self._busy.__getitem__, default=None)
        if client is None or (self._busy[client] >= _REQUESTS_A_CLIENT and len(self._busy) < _CLIENTS):
            client = self._add_client()
        self._busy[client] += 1
        ending = asyncio.timeout(whole_seconds)
        try:
            async with ending:
                request = _RequestUnderWay(ending, asyncio.current_task(), asyncio.Event())
                self._under_way.add(request)
                try:
                    yield client
                finally:
                    self._under_way.discard(request)
                    request.is_over.set()
        except TimeoutError:
            if self.is_closed:
                raise RequestFailed("closed") from None
            if not ending.expired():
                raise  # by what the request sends: it is the caller's
            raise RequestFailed("too slow", "the answer was not complete", whole_seconds) from None
        finally:
            self._busy[client] -= 1

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: AsyncIterator[bytes] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        whole_seconds: float | None = None,
        max_bytes: int | None = None,
    ) -> Answer:
        """Send one request, once, and read the whole answer.

        Args:
            method: such as ``"GET"``.
            url: where to; what it has of a query is kept.
            params: more of the query.
            content: the body as bytes, or in pieces.
            headers: more headers.
            seconds: how long the service may be silent; `None`: as the client was told.
            whole_seconds: how long the request and its answer may take; `None`: `ANSWER_SECONDS`.
            max_bytes: how large the answer may be; `None`: `ANSWER_BYTES`.

        Raises:
            RequestFailed: no whole answer came, or one that is too large.
        """
        limit = ANSWER_BYTES if max_bytes is None else max_bytes
        async with self._least_busy_client(ANSWER_SECONDS if whole_seconds is None else whole_seconds) as client:
            answer = await self._open(client, method, url, params, content, headers, seconds)
            try:
                body = bytearray()
                async for chunk in answer.chunks(limit):
                    body += chunk
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
        async with self._least_busy_client(ANSWER_SECONDS) as client:
            return await self._open(client, method, url, params, None, headers, seconds, redirects=_REDIRECTS)

    async def _open(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        params: Mapping[str, Any] | None,
        content: AsyncIterator[bytes] | bytes | None,
        headers: Mapping[str, str] | None,
        seconds: float | None,
        *,
        redirects: int = 0,
    ) -> OpenAnswer:
        allowed = self._seconds if seconds is None else seconds
        whole = _checked_url(url, params)
        try:
            request = client.build_request(method, whole, content=content, headers=headers, timeout=allowed)
            answer = await client.send(request, stream=True)
            # httpx would read and decompress the body of a redirect, whatever its size is.
            while redirects and answer.next_request is not None:
                await answer.aclose()
                redirects -= 1
                answer = await client.send(answer.next_request, stream=True)
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


@functools.cache
def _tls_context(trust_env: bool, _cert_file: str | None, _cert_dir: str | None) -> ssl.SSLContext:
    """Load the certificates, once for all logins: it takes long. The environment names them, if it is to be trusted."""
    return httpx.create_ssl_context(trust_env=trust_env)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, where no proxy must stand between.

    Example:
        >>> is_loopback("http://127.0.0.1:8080"), is_loopback("https://a1.easemob.com")
        (True, False)
    """
    try:
        host = urlsplit(url).hostname
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:  # another name; or not a URL, and each request to it fails
        return False


def can_be_read_on_the_way(url: str) -> bool:
    """Whether others on the network can read what goes to a URL: it has no TLS, and leads to another machine.

    Example:
        >>> can_be_read_on_the_way("http://10.0.0.1"), can_be_read_on_the_way("ws://127.0.0.1:8080/websocket")
        (True, False)
    """
    return urlsplit(url).scheme not in ("https", "wss") and not is_loopback(url)


def _checked_url(url: str, params: Mapping[str, Any] | None) -> httpx.URL:
    """Return the URL of a request, with more of a query. Strangers write parts of URLs: messages hold them.

    Raises:
        RequestFailed: "not a URL".
    """
    try:
        found = httpx.URL(url)
        whole = found.copy_merge_params(params) if params else found
    except (httpx.InvalidURL, ValueError, TypeError) as problem:  # also half a character, which UTF-8 cannot encode
        raise RequestFailed("not a URL", str(problem)) from None
    if whole.scheme not in ("http", "https") or not whole.host:
        raise RequestFailed("not a URL", "it names no http server")
    return whole


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
