"""The REST calls of the service: which of them are tried again, and what its refusals mean.

Source: docs/protocol.md#rest-transport, docs/protocol.md#errors, docs/protocol.md#upload, docs/protocol.md#download.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from imkit.client.http import (
    CHUNK,
    REQUEST_SECONDS,
    UPLOAD_SECONDS,
    Answer,
    HttpClient,
    OpenAnswer,
    RequestFailed,
    multipart,
)
from imkit.client.rate_limit import Patience, RateBucket
from imkit.client.rest_errors import BUSY, refusal, request_failed
from imkit.client.wire_log import WireLog
from imkit.errors import AuthError, IMError, InvalidMessage, RateLimited, SessionClosed

Credential = Callable[[bool], Awaitable[str]]  # called with True when the service refused the token that it gave


class Rest:
    """An app's REST interface, for one user.

    Args:
        rest_url: the base URL, without the app.
        app_key: ``"org#app"``.
        bucket: the app's rate limit.
        wire_log: notes the calls, if it is on.
        seconds: how long a call may be silent.

    Attributes:
        credential: gives the bearer token; called with True after a refusal, to fetch a fresh one.
        requests: how many requests have been sent, repeated ones included.
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
        self.requests = 0
        self._bucket = bucket
        self._wire_log = wire_log or WireLog()
        self._http = HttpClient(rest_url, seconds)

    async def close(self) -> None:
        """End the calls that are under way, and close all connections."""
        await self._http.close()

    def _check_open(self, what: str) -> None:
        if self._http.is_closed:
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
        found = json_object(content)
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
            repeatable: sending it twice does no harm, so it is sent again after a lost answer or to a busy service.
            signed: send the bearer token.
            patience: how many seconds to wait, at the least, for a service that answers nobody.

        Raises:
            IMError: the subclass that fits the refusal, or `TimedOut`, `ConnectionLost`, `ServiceBusy`,
                `ProtocolError`.

        Source: docs/protocol.md#errors.
        """
        if any(part in ("", ".", "..") for part in path):
            raise InvalidMessage(f"{path!r:.200} is no path: a part of it leads elsewhere")
        url = "/".join([self.base_url, *(quote(part, safe="") for part in path)])
        line = _line(method, path)
        what = what or line

        async def once(headers: dict[str, str]) -> Answer:
            headers["Content-Type"] = "application/json"
            self._wire_log.note_request(line, body)
            self.requests += 1
            answer = await self._http.request(method, url, params=params, json=body, headers=headers)
            self._wire_log.note_answer(line, answer.status, answer.content)
            return answer

        answer = await self._repeat(
            what, once, path, lost=repeatable, busy=BUSY if repeatable else (429,), signed=signed, patience=patience
        )
        return answer.content

    async def _repeat(
        self,
        what: str,
        once: Callable[[dict[str, str]], Awaitable[Answer]],
        path: tuple[str, ...] = (),
        *,
        lost: bool = False,
        busy: tuple[int, ...] = BUSY,
        signed: bool = True,
        patience: float = 0.0,
    ) -> Answer:
        """Send a request until the service answers it with success, or until repeating it must end.

        Args:
            what: opens an error's message.
            once: sends the request, given the headers that sign it.
            path: names what is missing.
            lost: repeat it also where the service may have carried it out and only the answer was lost.
            busy: the statuses after which to repeat it. A request answered with 429 was not carried out; of the other
                statuses nobody knows.
            signed: send the bearer token; after a refusal a fresh one is fetched, once.
            patience: how many seconds to wait, at the least, for a service that answers nobody.
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
                answer = await once(headers)
            except RequestFailed as problem:
                self._check_open(what)
                error: IMError = request_failed(what, problem)
                again = problem.kind == "no connection" or (lost and problem.kind != "too large")
            else:
                self._note(sent, answer)
                if answer.status == 200:
                    return answer
                error = _refused(what, answer, path)
                wait = _retry_after(answer)
                again = answer.status in busy
                if isinstance(error, AuthError) and answer.status == 401 and signed and not refreshed:
                    refreshed = again = True
                    wait = 0.0
            if not again:
                raise error
            await waiting.wait(error, wait)

    def _note(self, sent: float, answer: Answer) -> None:
        """Tell the bucket how the service takes our pace."""
        if answer.status == 429:
            self._bucket.refused(sent, _retry_after(answer))
        elif answer.status in BUSY:
            self._bucket.busy(sent, _retry_after(answer))
        else:
            self._bucket.answered(sent)

    async def sandbox_token(self, url: str, user: str, secret: str) -> dict[str, Any]:
        """Ask the sandbox's own app server for a user's token; it makes the user on demand.

        Args:
            url: of the app server.
            user: whose token.
            secret: what the app server wants to see.
        """
        what = f"POST {urlsplit(url).path}"
        headers = {"Authorization": f"Bearer {secret}"}
        self.requests += 1
        try:
            answer = await self._http.request("POST", url, json={"user": user}, headers=headers)
        except RequestFailed as problem:
            raise request_failed(what, problem) from problem
        found = json_object(answer.content)
        if answer.status != 200 or found is None:
            raise refusal(what, answer.status, found)
        return found

    async def upload(
        self, target_id: str, data: bytes, name: str, progress: Callable[[int], Awaitable[None]]
    ) -> dict[str, Any]:
        """Upload a file for a thread or group; `progress` is told the bytes sent.

        Source: docs/protocol.md#upload.
        """
        what = f"the upload of {name}"
        params = {"chat-type": "GROUP", "chat-target": target_id}
        form, content_type = multipart(name, data)

        async def once(headers: dict[str, str]) -> Answer:
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
            )

        # A file that is there twice does no harm, but takes long: only a refusal leads to another try.
        answer = await self._repeat(what, once)
        found = json_object(answer.content)
        if found is None:
            raise _refused(what, answer)
        return found

    async def download(self, path: str, secret: str) -> AsyncGenerator[tuple[bytes, int | None], None]:
        """Yield the chunks of an attachment with its size, if the service tells it.

        The service may redirect to its file store; the bearer token does not go along to another host.

        Source: docs/protocol.md#download.
        """
        what = "the download of an attachment"
        parts = urlsplit(self.rest_url)
        params = {"em-redirect": "true", **({"share-secret": secret} if secret else {})}
        url = f"{parts.scheme}://{parts.netloc}{path}"

        download: OpenAnswer | None = None

        async def once(headers: dict[str, str]) -> Answer:
            nonlocal download
            headers["Accept"] = "*/*"
            self.requests += 1
            download = await self._http.open("GET", url, params=params, headers=headers, seconds=UPLOAD_SECONDS)
            if download.status == 200:
                return Answer(200, download.headers)  # the body is read below
            try:
                beginning = await anext(download.chunks(), b"")  # of a refusal; no more of it can matter
                return Answer(download.status, download.headers, beginning)
            finally:
                await download.close()

        await self._repeat(what, once, ("chatfiles",))
        assert download is not None
        try:
            size = download.headers.get("content-length", "")
            plain = "content-encoding" not in download.headers
            total = int(size) if plain and size.isascii() and size.isdigit() else None
            async for chunk in download.chunks():
                yield chunk, total
        except RequestFailed as problem:  # in the middle of the file: the caller has its beginning
            raise request_failed(what, problem) from problem
        finally:
            await download.close()


def json_object(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object that an answer holds, or `None` where it holds none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


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


def _refused(what: str, answer: Answer, path: tuple[str, ...] = ()) -> IMError:
    found = json_object(answer.content)
    error = refusal(what, answer.status, found, path, answer.headers.get("content-type", ""))
    if isinstance(error, RateLimited):
        error.retry_after = _retry_after(answer)
    return error
