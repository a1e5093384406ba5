"""Upload and download of attachments. Uploads in parts do not exist here: the service may answer 404 to them too.

A download wants the share-secret, except for the sizes of a picture that the UI kit of SDK 5 draws without it.

Source: docs/protocol.md#attachments, docs/protocol.md#where-two-generations-differ.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from imkit.sandbox.server import rest_replies
from imkit.sandbox.server.request_body import bounded
from imkit.sandbox.server.rest import Backend, authenticate, check_app
from imkit.sandbox.server.rest_replies import RestError, bad_request
from imkit.sandbox.server.store import now_ms

_OVERHEAD = 64 * 1024  # the most bytes that the multipart format adds
_FILES, _FIELDS = 2, 20  # the most parts of a form; python-multipart bounds the headers of each part
_FILE_NAME_CHARACTERS = 255
_CHARSETS = (b"", b"utf-8", b"utf8")  # of the names in a form; other codecs of Python fail in many ways, or are slow
_PART_BYTES = 256 * 1024  # the most bytes of a download that wait for a client that does not read
_OPEN_SIZES = ("small", "large")  # the sandbox makes no smaller pictures: each size is the picture itself
# A picture is known by its first bytes, whatever its uploader called it. SVG is not one: it can hold a script.
_PICTURES = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
)
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")  # the only form that browsers send for audio and video
_CONTENT_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(; *[\w.+-]{1,32}=[\w.+\"-]{1,64})?", re.ASCII)


@dataclass(slots=True, weakref_slot=True)
class _Stored:
    """An attachment. All clients that load it at one moment share its bytes."""

    secret: str
    content_type: str
    body: bytes


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    limits = backend.options.limits
    uploading: Counter[str] = Counter()  # by user, the uploads that are being read
    downloading: WeakValueDictionary[str, _Stored] = WeakValueDictionary()

    async def upload(request: Request) -> Response:
        started = now_ms()
        check_app(backend, request)
        user = authenticate(backend, request) or ""
        backend.quotas.check_attachment(user, 0)
        request = bounded(request, limits, backend.options.attachment_bytes + _OVERHEAD)
        if uploading[user] >= limits.uploads_at_once_per_user or uploading.total() >= limits.uploads_at_once:
            raise RestError(429, "reach_limit", f"{uploading[user]} uploads of {user or 'the app'} are being read")
        uploading[user] += 1
        try:
            file_name, content_type, body = await _uploaded(request, backend.options.attachment_bytes)
        finally:
            uploading[user] -= 1
            if not uploading[user]:
                del uploading[user]
        name, secret = str(uuid.uuid4()), secrets.token_urlsafe(24)
        with backend.delivery.unit():
            backend.quotas.check_attachment(user, len(body))
            backend.store.execute(
                "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, secret, user, file_name, content_type, started, body),
            )
            backend.quotas.count_attachment(user, len(body))
        entity = {"uuid": name, "type": "chatfile", "share-secret": secret}
        extra = {"entities": [entity]}
        return JSONResponse(rest_replies.success(backend.options.app_key, "post", request.url.path, started, extra))

    async def download(request: Request) -> Response:
        check_app(backend, request)
        name = request.path_params["uuid"]
        is_there = backend.store.row("SELECT 1 FROM attachments WHERE uuid = ?", (name,))
        stored = downloading.get(name) if is_there else None
        if stored is None:
            found = backend.store.row("SELECT secret, content_type, body FROM attachments WHERE uuid = ?", (name,))
            if found is None:
                raise RestError(404, "file_expired", "the file does not exist or has expired")
            stored = downloading[name] = _Stored(*found)
        picture = _picture_type(stored.body) if request.query_params.get("size") in _OPEN_SIZES else None
        given = request.query_params.get("share-secret") or request.headers.get("share-secret") or ""
        is_allowed = secrets.compare_digest(stored.secret.encode(), given.encode("utf-8", "replace"))
        if not is_allowed and picture is None:
            raise RestError(403, "forbidden", "chatfile no permission")
        asked = _asked_range(request.headers.get("range", ""), len(stored.body))
        start, end = asked or (0, len(stored.body))
        # Without the first two headers a browser would run an uploaded HTML file as a page of this server.
        headers = {
            "content-disposition": "attachment",
            "x-content-type-options": "nosniff",
            "accept-ranges": "bytes",
            "content-length": str(end - start),
        }
        if asked is not None:
            headers["content-range"] = f"bytes {start}-{end - 1}/{len(stored.body)}"
        return StreamingResponse(
            _parts_of(stored, start, end),
            status_code=200 if asked is None else 206,
            media_type=picture or _plain_content_type(stored.content_type),
            headers=headers,
        )

    base = "/{organization}/{application}/chatfiles"
    return [Route(base, upload, methods=["POST"]), Route(base + "/{uuid}", download, methods=["GET"])]


async def _parts_of(stored: _Stored, first: int, end: int) -> AsyncIterator[bytes]:
    for start in range(first, end, _PART_BYTES):
        yield stored.body[start : min(start + _PART_BYTES, end)]


def _picture_type(body: bytes) -> str | None:
    """Return the content type of a picture that a browser can only draw; None for anything else."""
    return next((kind for kind, begins in _PICTURES if begins.match(body)), None)


def _asked_range(header: str, size: int) -> tuple[int, int] | None:
    """Return where the asked part of a file begins and ends; None for a request that gets the whole file."""
    asked = _RANGE.fullmatch(header)
    if asked is None:
        return None
    start, end = int(asked[1]), min(size, int(asked[2]) + 1 if asked[2] else size)
    return (start, end) if start < end else None


async def _uploaded(request: Request, most: int) -> tuple[str, str, bytes]:
    """Return file name, content type and bytes of the field `file` of a form."""
    _, parameters = parse_options_header(request.headers.get("content-type"))
    if parameters.get(b"charset", b"").lower() not in _CHARSETS:
        raise RestError(415, "unsupported_media_type", "the charset of a form must be UTF-8")
    try:
        async with request.form(max_files=_FILES, max_fields=_FIELDS, max_part_size=_OVERHEAD) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise bad_request("the multipart field 'file' is missing")
            body = await part.read(most + 1)
    except MultiPartException as error:
        raise bad_request(error.message) from None
    if len(body) > most:
        raise RestError(413, "request_entity_too_large", f"an attachment may have {most} bytes")
    file_name = (part.filename or "file")[:_FILE_NAME_CHARACTERS]
    return file_name, _plain_content_type(part.content_type or ""), body


def _plain_content_type(given: str) -> str:
    """Return a content type that can stand in a header; what an uploader made up may not."""
    return given if _CONTENT_TYPE.fullmatch(given) else "application/octet-stream"
