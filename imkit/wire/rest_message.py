"""Decodes the JSON form of a message, which thread notices and the REST call for last messages use.

Source: docs/protocol.md#last-message-in-json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imkit.messages import (
    Audio,
    Body,
    Combine,
    Command,
    Custom,
    File,
    Image,
    Location,
    Message,
    Streamed,
    Text,
    ThreadRef,
    Unknown,
    Video,
)
from imkit.times import from_milliseconds
from imkit.wire.untrusted_json import decimal, identifier, json_object, mapping, number, plain, text

_COMPLETE = ("stream_start_completed", "stream_completed", "stream_full")


def message_from_json(data: object) -> Message | None:
    """Return the message in a `last_message` object, or `None` if `data` is empty or not an object.

    Some calls answer with the payload as JSON text.

    Example:
        >>> message_from_json({}) is None
        True
    """
    if not isinstance(data, dict) or not data:
        return None
    payload = mapping(data, "payload") or json_object(text(data, "payload"))
    bodies = payload.get("bodies")
    body = bodies[0] if isinstance(bodies, list) and bodies and isinstance(bodies[0], dict) else {}
    marks = mapping(payload, "meta")
    app, _, target = text(data, "to").partition("@")[0].rpartition("_")  # "to" is "org#app_<thread>"
    sender = text(payload, "from") or text(data, "from").removeprefix(f"{app}_")  # "from" is "org#app_<user>"
    to = text(payload, "to") or target
    return Message(
        id=identifier(data, "id") or identifier(data, "msgId"),
        sender=sender,
        to=to,
        time=from_milliseconds(number(data, "timestamp")),
        body=_body_from_json(body, plain(mapping(payload, "ext")), mapping(payload, "stream")),
        thread=thread_ref(marks, to),
    )


def _body_from_json(body: Mapping[str, Any], ext: Mapping[str, Any], stream: Mapping[str, Any]) -> Body:
    kind = text(body, "type")
    attachment: dict[str, Any] = {
        "url": text(body, "url") or None,
        "file_name": text(body, "filename") or None,
        "file_size": number(body, "file_length") or None,
        "secret": text(body, "secret") or None,
        "ext": ext,
    }
    if kind == "txt" and body.get("subType") == "sub_combine":
        level = number(body, "combineLevel") or 1
        texts: dict[str, Any] = {"summary": text(body, "summary"), "fallback": text(body, "msg")}
        return Combine(text(body, "title"), **texts, level=level, **attachment)
    if kind == "txt" and body.get("subType") == "sub_stream":
        status, error = text(stream, "stream_status"), number(stream, "stream_error")
        return Streamed(
            text(body, "msg"),
            complete=status in _COMPLETE or error != 0,
            kind=text(stream, "stream_type"),
            finish_reason=number(stream, "stream_finish_reason") if "stream_finish_reason" in stream else None,
            error=error,
            ext=ext,
        )
    if kind == "txt":
        return Text(text(body, "msg"), ext=ext)
    if kind == "img":
        size = mapping(body, "size")
        return Image(**attachment, width=decimal(size, "width") or None, height=decimal(size, "height") or None)
    if kind == "audio":
        return Audio(**attachment, duration=number(body, "length") or None)
    if kind == "video":
        thumbnail: dict[str, Any] = {
            "thumbnail_url": text(body, "thumb") or None,
            "thumbnail_secret": text(body, "thumb_secret") or None,
        }
        return Video(**attachment, duration=number(body, "length") or None, **thumbnail)
    if kind == "file":
        return File(**attachment)
    if kind == "loc":
        place = (decimal(body, "lat"), decimal(body, "lng"), text(body, "addr"))
        return Location(*place, building_name=text(body, "buildingName"), ext=ext)
    if kind == "cmd":
        return Command(text(body, "action"), ext=ext)
    if kind == "custom":
        return Custom(text(body, "customEvent"), plain(_params(body.get("customExts"))), ext=ext)
    raw = json.dumps(plain(body), ensure_ascii=False).encode()
    return Unknown(raw, f"body type {kind}", ext=ext)


def _params(value: object) -> dict[str, Any]:
    """Return custom parameters, which come as an object or as a list of objects with one key each."""
    if isinstance(value, dict):
        return value
    pairs = value if isinstance(value, list) else []
    return {key: item for pair in pairs if isinstance(pair, dict) for key, item in pair.items()}


def thread_ref(marks: Mapping[str, Any], thread_id: str) -> ThreadRef | None:
    """Return the thread that `marks`, a message's `meta`, names; `None` if its thread mark is absent or empty.

    Source: docs/protocol.md#thread-marks.
    """
    mark = mapping(marks, "thread")
    if not mark:
        return None
    return ThreadRef(thread_id, text(mark, "thread_name"), text(mark, "muc_parent_id"), text(mark, "msg_parent_id"))
