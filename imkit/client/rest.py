"""`Rest`: REST calls as one user. It repeats a call where that is safe, and turns a refusal into an imkit error.

Source: docs/protocol.md#rest-transport, docs/protocol.md#errors, docs/protocol.md#upload, docs/protocol.md#download.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from imkit.client.http import (
    ANSWER_BYTES,
    ANSWER_SECONDS,
    CHUNK,
    FILE_BYTES,
    REQUEST_SECONDS,
    SLOWEST_BYTES_A_SECOND,
    UPLOAD_SECONDS,
    Answer,
    HttpClient,
    OpenAnswer,
    RequestFailed,
    multipart,
)
from imkit.client.own_process import OwnProcess
from imkit.client.rate_limit import RateBucket, RetryPolicy
from imkit.client.redaction import HIDDEN
from imkit.client.rest_errors import BUSY, refusal, request_failed
from imkit.client.wire_log import WireLog
from imkit.errors import AuthError, IMError, InvalidMessage, Outcome, RateLimited, SessionClosed
from imkit.hints import SESSION_ENDED, What, operation
from imkit.wire.untrusted_json import json_value

Credential = Callable[[str | None], Awaitable[str]]  # gives a token; called with the one that the service refused
Listener = Callable[[Answer, float], None]  # called with an answer, and the seconds from its request to its end


class Rest:
    """An app's REST interface, for one user.

    Args:
        rest_url: the base URL, without the app.
        app_key: ``"org#app"``.
        bucket: the app's rate limit.
        wire_log: notes the calls, if it is on.
        seconds: how long to wait for the next bytes of an answer.

    Attributes:
        credential: gives the bearer token; called with the last one if the service refused it, else with `None`.
        sandbox_ended: returns an error if the service is a sandbox that has ended, as `App.sandbox_ended`.
        end_reason: returns why the session is over; empty while it is open.
        requests: how many requests were sent, including repeated ones.
    """

    def __init__(
        self,
        rest_url: str,
        app_key: str,
        bucket: RateBucket,
        wire_log: WireLog | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.rest_url = rest_url.rstrip("/")
        self.base_url = f"{self.rest_url}/{app_key.replace('#', '/')}"
        self.credential: Credential | None = None
        self.sandbox_ended: Callable[[Outcome], IMError | None] = lambda outcome: None
        self.end_reason: Callable[[], str] = lambda: ""
        self.requests = 0
        self._process = OwnProcess()
        self._paces: list[tuple[RateBucket, Listener | None]] = [(bucket, None)]  # the last one counts
        self._wire_log = wire_log or WireLog()
        self._http = HttpClient(rest_url, seconds)

    @property
    def _bucket(self) -> RateBucket:
        return self._paces[-1][0]

    @contextlib.contextmanager
    def paced(self, bucket: RateBucket, listener: Listener | None = None) -> Iterator[None]:
        """Let all requests wait for another bucket than the app's, while a ``with`` block lasts.

        Args:
            bucket: the bucket.
            listener: is told of each answer meanwhile.
        """
        pace = (bucket, listener)
        self._paces.append(pace)
        try:
            yield
        finally:
            self._paces.remove(pace)  # another block may have begun meanwhile, and goes on

    async def close(self, caller: asyncio.Task[Any] | None = None) -> None:
        """End the calls that are running, and close all connections; `caller` is as in `HttpClient.close`."""
        await self._http.close(caller)

    def _check_open(self, what: What) -> None:
        self._process.check()
        if self._http.is_closed:
            reason = self.end_reason() or "closed"
            raise SessionClosed(f"{what}: the session is over ({reason})", hint=SESSION_ENDED.get(reason))

    async def get(self, *path: str, what: What = "", params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """GET a path below the app, and return the JSON object of the answer; the arguments are those of `content`."""
        return await self.request("GET", *path, what=what, params=params, repeatable=True)

    async def request(
        self,
        method: str,
        *path: str,
        what: What = "",
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        repeatable: bool = False,
        signed: bool = True,
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer; the arguments are those of `content`.

        Raises:
            IMError: as `content` does; `ProtocolError` also if the answer to a success is not a JSON object.
        """
        content = await self.content(
            *(method, *path), what=what, params=params, body=body, form=form, repeatable=repeatable, signed=signed
        )
        found = json_object(content)
        if found is None:
            raise refusal(what or _line(method, path), 200, None, path)
        return found

    async def content(
        self,
        method: str,
        *path: str,
        what: What = "",
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        repeatable: bool = False,
        signed: bool = True,
        outage_seconds: float = 0.0,
    ) -> bytes:
        """Send one request and return the bytes of the answer's body.

        Args:
            method: GET, POST, PUT or DELETE.
            *path: the parts of the path below the app. Each part is quoted, so an id cannot lead to another path.
            what: the operation: it begins an error's message, and decides its hint. Default: the method and path.
            params: the query.
            body: a JSON object.
            form: or the fields of a form, which one call of the service wants.
            repeatable: whether carrying it out twice does no harm. Then it is repeated also after a lost answer, and
                while the service is busy.
            signed: whether to send the bearer token.
            outage_seconds: for at least so long, keep trying while the service answers no request at all.

        Raises:
            InvalidMessage: a text in the body is not valid Unicode.
            IMError: the subclass that fits the refusal; or `TimedOut`, `ConnectionLost`, `ServiceBusy` or
                `ProtocolError`.

        Source: docs/protocol.md#errors.
        """
        if any(part in ("", ".", "..") for part in path):
            raise InvalidMessage(f"{path!r:.200} is not a valid path: a part is empty, . or ..")
        url = "/".join([self.base_url, *(quote(part, safe="") for part in path)])
        line = _line(method, path)
        what = what or line
        encoded = _encoded(what, body, form)

        async def send_once(headers: dict[str, str]) -> Answer:
            headers["Content-Type"] = "application/json" if form is None else "application/x-www-form-urlencoded"
            self._wire_log.note_request(line, body if form is None else form)
            self.requests += 1
            answer = await self._http.request(method, url, params=params, content=encoded, headers=headers)
            answer = _without_token(answer, headers)
            self._wire_log.note_answer(line, answer.status, answer.content)
            return answer

        answer = await self._repeat(
            what,
            send_once,
            path,
            repeat_if_lost=repeatable,
            repeat_statuses=BUSY if repeatable else (429,),
            signed=signed,
            outage_seconds=outage_seconds,
        )
        return answer.content

    async def _repeat(
        self,
        what: What,
        send_once: Callable[[dict[str, str]], Awaitable[Answer]],
        path: tuple[str, ...] = (),
        *,
        repeat_if_lost: bool = False,
        repeat_statuses: tuple[int, ...] = BUSY,
        signed: bool = True,
        outage_seconds: float = 0.0,
    ) -> Answer:
        """Send a request again and again until it succeeds, or until it must not be repeated any more.

        Args:
            what: begins an error's message, and decides its hint.
            send_once: sends the request once; it gets the headers with the bearer token.
            path: the parts of the path; an error names the missing thing after it.
            repeat_if_lost: whether to repeat it also if the service may have carried it out and the answer was lost.
            repeat_statuses: the HTTP statuses after which to repeat it. After 429 the request was not carried out;
                after the other statuses that is not known.
            signed: whether to send the bearer token. If the service refuses the token, a new one is fetched, once.
            outage_seconds: for at least so long, keep trying while the service answers no request at all.
        """
        token = refused = None  # the token of the last attempt; the one that the service refused
        retries = RetryPolicy(self._bucket, outage_seconds)
        while True:
            self._check_open(what)
            headers: dict[str, str] = {}
            if signed and self.credential is not None:
                token = await self.credential(refused)
                headers["Authorization"] = f"Bearer {token}"
            sent = await self._bucket.take()
            retry_after: float | None = None
            began = time.monotonic()
            try:
                answer = await send_once(headers)
            except RequestFailed as problem:
                self._check_open(what)
                error = self._failed(what, problem)
                is_lost = problem.kind in ("no answer in time", "broken")
                may_repeat = problem.kind == "no connection" or (repeat_if_lost and is_lost)
            else:
                self._inform_bucket(sent, answer)
                listener = self._paces[-1][1]
                if listener is not None:
                    listener(answer, time.monotonic() - began)
                if answer.status == 200:
                    return answer
                error = _refused(what, _without_token(answer, headers), path)
                retry_after = _retry_after(answer)
                may_repeat = answer.status in repeat_statuses
                if isinstance(error, AuthError) and answer.status == 401 and token is not None and refused is None:
                    refused, may_repeat = token, True
                    retry_after = 0.0
            if not may_repeat:
                raise error
            await retries.wait_or_raise(error, retry_after)

    def _failed(self, what: What, problem: RequestFailed) -> IMError:
        """Return the error for a request that got no whole answer.

        Raises:
            ConnectionLost: it cannot be repeated, because the service is a sandbox that has ended.
        """
        if problem.kind in ("no connection", "broken"):
            ended = self.sandbox_ended("not sent" if problem.kind == "no connection" else "unknown")
            if ended is not None:
                raise ended from problem
        return request_failed(what, problem)

    def _inform_bucket(self, sent: float, answer: Answer) -> None:
        """Tell the rate limit whether the service answered, was busy, or refused the request as one too many."""
        if answer.status == 429:
            self._bucket.refused(sent, _retry_after(answer))
        elif answer.status in BUSY:
            self._bucket.busy(sent, _retry_after(answer))
        else:
            self._bucket.answered(sent)

    async def upload(
        self, target_id: str, data: bytes, name: str, progress: Callable[[int], Awaitable[None]]
    ) -> dict[str, Any]:
        """Upload a file for a thread or group, and return the answer; `progress` is called with the bytes sent.

        Source: docs/protocol.md#upload.
        """
        what = operation("upload", name=name)
        params = {"chat-type": "GROUP", "chat-target": target_id}
        form, content_type = multipart(name, data)

        async def send_once(headers: dict[str, str]) -> Answer:
            headers |= {"restrict-access": "true", "Accept": "*/*", "Content-Type": content_type}
            headers["Content-Length"] = str(len(form))
            self.requests += 1
            return await self._http.request(
                "POST",
                f"{self.base_url}/chatfiles",
                params=params,
                content=_with_progress(form, len(data), progress),
                headers=headers,
                seconds=UPLOAD_SECONDS,
                whole_seconds=ANSWER_SECONDS + UPLOAD_SECONDS + len(form) / SLOWEST_BYTES_A_SECOND,
            )

        # Uploading a file twice does no harm but takes long: repeat it only after a refusal.
        answer = await self._repeat(what, send_once)
        found = json_object(answer.content)
        if found is None:
            raise _refused(what, answer)
        return found

    async def download(
        self, path: str, secret: str, max_bytes: int = FILE_BYTES, *, thumbnail: bool = False
    ) -> AsyncGenerator[tuple[bytes, int | None], None]:
        """Yield the chunks of an attachment, each with the size of the whole, or `None` if that is not known.

        The service may redirect to its file store. The bearer token is not sent to another host.

        Raises:
            IMError: as `content` does; `ProtocolError` also if the file is larger than `max_bytes`.

        Source: docs/protocol.md#download.
        """
        what = operation("download")
        parts = urlsplit(self.rest_url)
        params = {"em-redirect": "true", **({"share-secret": secret} if secret else {})}
        params |= {"thumbnail": "true"} if thumbnail else {}  # of a picture the service makes a small one
        url = f"{parts.scheme}://{parts.netloc}{path}"

        download: OpenAnswer | None = None

        async def send_once(headers: dict[str, str]) -> Answer:
            nonlocal download
            headers["Accept"] = "*/*"
            self.requests += 1
            download = await self._http.open("GET", url, params=params, headers=headers, seconds=UPLOAD_SECONDS)
            if download.status == 200:
                return Answer(200, download.headers)  # the body is read below
            try:
                beginning = await anext(download.chunks(ANSWER_BYTES), b"")  # enough of the refusal's text
                return Answer(download.status, download.headers, beginning)
            finally:
                await download.close()

        await self._repeat(what, send_once, ("chatfiles",))
        assert download is not None
        try:
            size = download.headers.get("content-length", "")
            is_plain = "content-encoding" not in download.headers  # otherwise the size is that of the encoded bytes
            is_number = size.isascii() and size.isdigit() and len(size) <= 20
            total = int(size) if is_plain and is_number else None
            async for chunk in download.chunks(max_bytes):
                yield chunk, total
        except RequestFailed as problem:  # not repeated: the caller has the beginning of the file already
            self._check_open(what)
            raise self._failed(what, problem) from problem
        finally:
            await download.close()


def json_object(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object in an answer, or `None` if the answer is not a JSON object."""
    found = json_value(content)
    return found if isinstance(found, dict) else None


def _encoded(what: What, body: Mapping[str, Any] | None, form: Mapping[str, str] | None) -> bytes | None:
    """Return the body of a request.

    Raises:
        InvalidMessage: a text in it is not Unicode: it has half of a surrogate pair.
    """
    try:
        if form is not None:
            return urlencode(form, quote_via=quote).encode()
        return None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        hint = "Half of a surrogate pair cannot be sent: decode the text with errors='replace'."
        raise InvalidMessage(f"{what}: a text is not valid Unicode", hint=hint) from None


def _line(method: str, path: tuple[str, ...]) -> str:
    return f"{method} /{'/'.join(path)}"


def _retry_after(answer: Answer) -> float | None:
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


async def _with_progress(form: bytes, size: int, progress: Callable[[int], Awaitable[None]]) -> AsyncIterator[bytes]:
    for start in range(0, len(form), CHUNK):
        yield form[start : start + CHUNK]
        await progress(min(start + CHUNK, size))


def _without_token(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Return a refusal without the token of its request: a gateway may show the request, and people send errors on."""
    token = headers.get("Authorization", "").removeprefix("Bearer ").encode()
    if answer.status == 200 or not token or token not in answer.content:
        return answer
    return Answer(answer.status, answer.headers, answer.content.replace(token, HIDDEN.encode()))


def _refused(what: What, answer: Answer, path: tuple[str, ...] = ()) -> IMError:
    found = json_object(answer.content)
    error = refusal(what, answer.status, found, path, answer.headers.get("content-type", ""))
    if isinstance(error, RateLimited):
        error.retry_after = _retry_after(answer)
    return error
