"""Reads the body of a request: so many bytes at most, not slower than so, and never decompressed.

Source: docs/protocol.md#errors.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.types import Message

from imkit.sandbox.limits import Limits
from imkit.sandbox.server.rest_replies import RestError


def bounded(request: Request, limits: Limits, most: int) -> Request:
    """Return a request whose body, however it is read, has at most `most` bytes and comes in time.

    Reading it raises `RestError`: 413 for a body that is too large, as soon as that is known; 408 for a slow one.

    Raises:
        RestError: 413, the request declares a larger body; 415, the body is compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise RestError(415, "unsupported_media_type", "the sandbox reads no compressed bodies")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    loop = asyncio.get_running_loop()
    began, size = loop.time(), 0

    async def receive() -> Message:
        nonlocal size
        allowed = limits.body_seconds + size / limits.body_bytes_per_second
        try:
            async with asyncio.timeout_at(began + allowed):
                message = await request.receive()
        except TimeoutError:
            raise RestError(408, "request_timeout", "the body of the request did not come in time") from None
        size += len(message.get("body", b""))
        if size > most:
            raise _too_large(most)
        return message

    return Request(request.scope, receive)


async def read_body(request: Request, limits: Limits, most: int) -> bytes:
    """Return the body of a request.

    Raises:
        RestError: as in `bounded`.
    """
    return await bounded(request, limits, most).body()


def is_json(request: Request) -> bool:
    """Return whether a request says that its body is JSON.

    A page of another site can send a form or plain text to this machine without asking. It cannot send this content
    type without a preflight request, in which the browser asks for permission.
    """
    return _content_type(request) == "application/json"


def is_form(request: Request) -> bool:
    """Return whether a request says that its body is a form.

    A page of another site can send one without asking. So only a call that needs a token, which no browser adds by
    itself, may take a form.
    """
    return _content_type(request) == "application/x-www-form-urlencoded"


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_large(most: int) -> RestError:
    return RestError(413, "request_entity_too_large", f"the body of this request may have {most} bytes")
