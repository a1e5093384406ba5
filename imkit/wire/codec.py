"""Converts a message body to the `Content` of a MessageBody, and back.

Source: docs/protocol.md#content-types; the recorded frames in `tests/golden`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

from imkit.errors import InvalidMessage
from imkit.messages import (
    Attachment,
    Audio,
    Body,
    Combine,
    Command,
    Custom,
    File,
    Image,
    Location,
    Streamed,
    Text,
    Unknown,
    Video,
)
from imkit.wire import schema
from imkit.wire.enums import ContentType, SubType
from imkit.wire.keyvalues import check_text, decode_ext, encode_ext
from imkit.wire.streamed_texts import streamed_body

# ----------------------------------------------------------------- body → Content


def encode_content(body: Body) -> Any:
    r"""Return the `Content` of a message body.

    Args:
        body: one of the nine kinds that can be sent, from `Text` to `Combine`.

    Raises:
        InvalidMessage: the body is of another kind, or a field has the wrong type or cannot be encoded.

    Example:
        >>> encode_content(Text("hello")).SerializeToString()
        b'\x08\x00\x12\x05hello'
    """
    encode = _CONTENT_ENCODERS.get(type(body))
    if encode is None:
        raise InvalidMessage(f"a {type(body).__name__} cannot be sent", hint="Send a str or one of the nine bodies.")
    _check_fields(body)
    return schema.Content(**{key: value for key, value in encode(body).items() if value is not None})


def _check_finite(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not _is_finite(value):
        raise InvalidMessage(f"{what} must be a finite number")


def _check_int32(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not -(2**31) <= int(value) < 2**31:
        raise InvalidMessage(f"{what} must be a whole number of 32 bits")


# How the fields of all bodies are checked, by their names. `ext` and `params` are checked by `encode_ext`.
_REQUIRED_FIELDS: dict[str, Callable[[str, object], None]] = {
    **dict.fromkeys(("text", "title", "summary", "fallback", "address", "building_name"), check_text),
    **dict.fromkeys(("action", "event"), check_text),
    **dict.fromkeys(("lat", "lng"), _check_finite),
    "level": _check_int32,
}
_OPTIONAL_FIELDS: dict[str, Callable[[str, object], None]] = {
    **dict.fromkeys(("url", "file_name", "secret", "thumbnail_url", "thumbnail_secret"), check_text),
    **dict.fromkeys(("width", "height"), _check_finite),
    **dict.fromkeys(("file_size", "duration"), _check_int32),
}
_FIELD_CHECKS = _REQUIRED_FIELDS | _OPTIONAL_FIELDS


def _check_fields(body: Body) -> None:
    for field in fields(body):
        name, value = field.name, getattr(body, field.name)
        check = _FIELD_CHECKS.get(name)
        if check is not None and not (value is None and name in _OPTIONAL_FIELDS):
            check(f"{type(body).__name__}: {name}", value)


def _attachment_fields(body: Attachment) -> dict[str, Any]:
    return {
        "displayName": body.file_name,
        "remotePath": body.url,
        "secretKey": body.secret,
        "fileLength": body.file_size,
        "thumbnailDisplayName": body.file_name,
    }


def _image_fields(body: Image) -> dict[str, Any]:
    size = schema.Size(width=body.width or 0, height=body.height or 0)
    gif = SubType.SUB_GIF if body.animated else None
    return {"type": ContentType.IMAGE, **_attachment_fields(body), "size": size, "subType": gif}


def _video_fields(body: Video) -> dict[str, Any]:
    thumbnail = {"thumbnailRemotePath": body.thumbnail_url, "thumbnailSecretKey": body.thumbnail_secret}
    return {"type": ContentType.VIDEO, **_attachment_fields(body), "duration": body.duration, **thumbnail}


def _combine_fields(body: Combine) -> dict[str, Any]:
    return {
        "type": ContentType.TEXT,
        "subType": SubType.SUB_COMBINE,
        "text": body.fallback,
        "title": body.title,
        "summary": body.summary,
        "combineLevel": body.level,
        "remotePath": body.url,
        "secretKey": body.secret,
        "fileLength": body.file_size,
        "displayName": body.file_name,
    }


# A field of `None` is left out of the Content.
_CONTENT_ENCODERS: dict[type[Body], Callable[[Any], dict[str, Any]]] = {
    Text: lambda body: {"type": ContentType.TEXT, "text": body.text},
    Streamed: lambda body: {"type": ContentType.TEXT, "text": body.text},
    Image: _image_fields,
    Video: _video_fields,
    Audio: lambda body: {"type": ContentType.VOICE, **_attachment_fields(body), "duration": body.duration},
    File: lambda body: {"type": ContentType.FILE, **_attachment_fields(body)},
    Location: lambda body: {
        "type": ContentType.LOCATION,
        "latitude": body.lat,
        "longitude": body.lng,
        "address": body.address,
        "buildingName": body.building_name,
    },
    Command: lambda body: {"type": ContentType.COMMAND, "action": body.action},
    Custom: lambda body: {"type": ContentType.CUSTOM, "customEvent": body.event, "customExts": encode_ext(body.params)},
    Combine: _combine_fields,
}

# ----------------------------------------------------------------- Content → body


def decode_content(body: Any) -> Body:
    """Return the message body of a MessageBody: that of its first content, as the official SDK does.

    Args:
        body: a parsed `schema.MessageBody`.

    Returns:
        The body with its `ext`; `Unknown`, with the bytes, when the content has no type that this version knows.
    """
    ext = decode_ext(body.ext)
    if not body.contents:
        return Unknown(body.SerializeToString(), "no content", ext=ext)
    content = body.contents[0]
    if not content.HasField("type"):
        return Unknown(content.SerializeToString(), "a content type this version does not know", ext=ext)
    if body.HasField("stream") and content.type == ContentType.TEXT and not _is_bundle(content):
        return streamed_body(content, body.stream, ext)
    decode = _CONTENT_DECODERS.get(content.type)
    if decode is None:
        return Unknown(content.SerializeToString(), f"content type {content.type}", ext=ext)
    return decode(content, ext)


def _is_bundle(content: Any) -> bool:
    return bool(content.HasField("subType") and content.subType == SubType.SUB_COMBINE)


def _decode_text(content: Any, ext: dict[str, Any]) -> Body:
    if not _is_bundle(content):
        return Text(content.text, ext=ext)
    return Combine(
        content.title,
        summary=content.summary,
        fallback=content.text,
        level=content.combineLevel or 1,
        **_decode_attachment(content, ext),
    )


def _decode_location(content: Any, ext: dict[str, Any]) -> Body:
    if not (math.isfinite(content.latitude) and math.isfinite(content.longitude)):
        return Unknown(content.SerializeToString(), "a place without coordinates", ext=ext)
    place = (content.latitude, content.longitude, content.address)
    return Location(*place, building_name=content.buildingName, ext=ext)


def _decode_attachment(content: Any, ext: dict[str, Any]) -> dict[str, Any]:
    return {
        "url": content.remotePath or None,
        "file_name": content.displayName or None,
        "file_size": content.fileLength or None,
        "secret": content.secretKey or None,
        "ext": ext,
    }


def _decode_image(content: Any, ext: dict[str, Any]) -> Body:
    return Image(
        **_decode_attachment(content, ext),
        width=_pixels(content.size.width),
        height=_pixels(content.size.height),
        animated=content.HasField("subType") and content.subType == SubType.SUB_GIF,
    )


def _decode_video(content: Any, ext: dict[str, Any]) -> Body:
    return Video(
        **_decode_attachment(content, ext),
        duration=content.duration or None,
        thumbnail_url=content.thumbnailRemotePath or None,
        thumbnail_secret=content.thumbnailSecretKey or None,
    )


def _decode_audio(content: Any, ext: dict[str, Any]) -> Body:
    return Audio(**_decode_attachment(content, ext), duration=content.duration or None)


_CONTENT_DECODERS: dict[int, Callable[[Any, dict[str, Any]], Body]] = {
    ContentType.TEXT: _decode_text,
    ContentType.IMAGE: _decode_image,
    ContentType.VIDEO: _decode_video,
    ContentType.LOCATION: _decode_location,
    ContentType.VOICE: _decode_audio,
    ContentType.FILE: lambda content, ext: File(**_decode_attachment(content, ext)),
    ContentType.COMMAND: lambda content, ext: Command(content.action, ext=ext),
    ContentType.CUSTOM: lambda content, ext: Custom(content.customEvent, decode_ext(content.customExts), ext=ext),
}


def _is_finite(value: Any) -> bool:
    return bool(abs(value) <= sys.float_info.max)  # also for an int that is too large for math.isfinite


def _pixels(value: float) -> float | None:
    return value if value and math.isfinite(value) else None
