"""Upload and download of attachments. Uploads in parts do not exist here: the service may answer 404 to them too.

Source: docs/protocol.md#attachments.
"""

from __future__ import annotations

import secrets
import uuid

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imkit.sandbox.server import rest_replies
from imkit.sandbox.server.rest import Backend, authenticate, check_app
from imkit.sandbox.server.rest_replies import RestError, bad_request
from imkit.sandbox.server.store import now_ms

_OVERHEAD = 64 * 1024  # the most bytes that the multipart format adds


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""

    async def upload(request: Request) -> Response:
        started = now_ms()
        check_app(backend, request)
        user = authenticate(backend, request)
        limit = backend.options.attachment_bytes
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit + _OVERHEAD:
            raise RestError(413, "request_entity_too_large", f"an attachment may have {limit} bytes")
        try:
            async with request.form(max_files=2, max_fields=20, max_part_size=limit + _OVERHEAD) as form:
                part = form.get("file")
                if not isinstance(part, UploadFile):
                    raise bad_request("the multipart field 'file' is missing")
                body = await part.read(limit + 1)
                file_name = part.filename or "file"
                content_type = part.content_type or "application/octet-stream"
        except MultiPartException as error:
            raise bad_request(error.message) from None
        if len(body) > limit:
            raise RestError(413, "request_entity_too_large", f"an attachment may have {limit} bytes")
        name, secret = str(uuid.uuid4()), secrets.token_urlsafe(24)
        with backend.delivery.unit():
            backend.store.execute(
                "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, secret, user or "", file_name, content_type, started, body),
            )
        entity = {"uuid": name, "type": "chatfile", "share-secret": secret}
        extra = {"entities": [entity]}
        return JSONResponse(rest_replies.success(backend.options.app_key, "post", request.url.path, started, extra))

    async def download(request: Request) -> Response:
        check_app(backend, request)
        found = backend.store.row(
            "SELECT secret, content_type, body FROM attachments WHERE uuid = ?", (request.path_params["uuid"],)
        )
        if found is None:
            raise RestError(404, "file_expired", "the file does not exist or has expired")
        secret, content_type, body = found
        given = request.query_params.get("share-secret") or request.headers.get("share-secret") or ""
        if not secrets.compare_digest(secret.encode(), given.encode("utf-8", "replace")):
            raise RestError(403, "forbidden", "chatfile no permission")
        # Without these headers a browser would run an uploaded HTML file as a page of this server.
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        return Response(body, media_type=content_type, headers=headers)

    base = "/{organization}/{application}/chatfiles"
    return [Route(base, upload, methods=["POST"]), Route(base + "/{uuid}", download, methods=["GET"])]
