"""The nine bodies ⇄ the Content of a MessageBody.

Source: fact sheet section 4, "Content by type"; the recorded frames in `tests/golden`.
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
    Text,
    Unknown,
    Video,
)
from imkit.wire import schema
from imkit.wire.enums import ContentType, SubType
from imkit.wire.keyvalues import check_text, decode_ext, encode_ext


def encode_content(body: Body) -> Any:
    """Return the Content of one of the nine bodies.

    Raises:
        InvalidMessage: a field has the wrong type, or cannot be put on the wire.
    """
    encode = _CONTENT_ENCODERS.get(type(body))
    if encode is None:
        raise InvalidMessage(f"a {type(body).__name__} cannot be sent", hint="Send a str or one of the nine bodies.")
    _check_fields(body)
    return schema.Content(**{key: value for key, value in encode(body).items() if value is not None})


_TEXTS = {"text", "address", "building_name", "action", "event", "title", "summary", "fallback"}
_OPTIONAL_TEXTS = {"url", "file_name", "secret", "thumbnail_url", "thumbnail_secret"}
_NUMBERS, _OPTIONAL_NUMBERS = {"lat", "lng"}, {"width", "height"}
_WHOLE_NUMBERS, _OPTIONAL_WHOLE_NUMBERS = {"level"}, {"file_size", "duration"}


def _check_fields(body: Body) -> None:
    for name in (field.name for field in fields(body)):
        value, what = getattr(body, name), f"{type(body).__name__}: {name}"
        if value is None and name in _OPTIONAL_TEXTS | _OPTIONAL_NUMBERS | _OPTIONAL_WHOLE_NUMBERS:
            continue
        if name in _TEXTS | _OPTIONAL_TEXTS:
            check_text(what, value)
        elif name in _NUMBERS | _OPTIONAL_NUMBERS:
            if isinstance(value, bool) or not isinstance(value, Real) or not _is_finite(value):
                raise InvalidMessage(f"{what} must be a finite number")
        elif name in _WHOLE_NUMBERS | _OPTIONAL_WHOLE_NUMBERS and (
            isinstance(value, bool) or not isinstance(value, Integral) or not -(2**31) <= int(value) < 2**31
        ):
            raise InvalidMessage(f"{what} must be a whole number of 32 bits")


def _attachment_fields(body: Attachment) -> dict[str, Any]:
    return {
        "displayName": body.file_name,
        "remotePath": body.url,
        "secretKey": body.secret,
        "fileLength": body.file_size,
        "thumbnailDisplayName": body.file_name,
    }


def _image_fields(body: Image) -> dict[str, Any]:
    size = schema.message_class("MessageBody.Content.Size")(width=body.width or 0, height=body.height or 0)
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


_CONTENT_ENCODERS: dict[type[Body], Callable[[Any], dict[str, Any]]] = {
    Text: lambda body: {"type": ContentType.TEXT, "text": body.text},
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


def decode_content(body: Any) -> Body:
    """Return the body of a MessageBody: its first content, which is all that the official SDK surfaces."""
    ext = decode_ext(body.ext)
    if not body.contents:
        return Unknown(body.SerializeToString(), "no content", ext=ext)
    content = body.contents[0]
    if not content.HasField("type"):
        return Unknown(content.SerializeToString(), "a content type this version does not know", ext=ext)
    kind = content.type
    if kind == ContentType.TEXT:
        if content.HasField("subType") and content.subType == SubType.SUB_COMBINE:
            return Combine(
                content.title,
                summary=content.summary,
                fallback=content.text,
                level=content.combineLevel or 1,
                url=content.remotePath or None,
                file_name=content.displayName or None,
                file_size=content.fileLength or None,
                secret=content.secretKey or None,
                ext=ext,
            )
        return Text(content.text, ext=ext)
    if kind == ContentType.LOCATION:
        place = (content.latitude, content.longitude, content.address)
        if not (math.isfinite(content.latitude) and math.isfinite(content.longitude)):
            return Unknown(content.SerializeToString(), "a place without coordinates", ext=ext)
        return Location(*place, building_name=content.buildingName, ext=ext)
    if kind == ContentType.COMMAND:
        return Command(content.action, ext=ext)
    if kind == ContentType.CUSTOM:
        return Custom(content.customEvent, decode_ext(content.customExts), ext=ext)
    attachment: dict[str, Any] = {
        "url": content.remotePath or None,
        "file_name": content.displayName or None,
        "file_size": content.fileLength or None,
        "secret": content.secretKey or None,
        "ext": ext,
    }
    if kind == ContentType.IMAGE:
        return Image(
            **attachment,
            width=_length(content.size.width),
            height=_length(content.size.height),
            animated=content.HasField("subType") and content.subType == SubType.SUB_GIF,
        )
    if kind == ContentType.VIDEO:
        return Video(
            **attachment,
            duration=content.duration or None,
            thumbnail_url=content.thumbnailRemotePath or None,
            thumbnail_secret=content.thumbnailSecretKey or None,
        )
    if kind == ContentType.VOICE:
        return Audio(**attachment, duration=content.duration or None)
    if kind == ContentType.FILE:
        return File(**attachment)
    return Unknown(content.SerializeToString(), f"content type {kind}", ext=ext)


def _is_finite(value: Any) -> bool:
    return bool(abs(value) <= sys.float_info.max)


def _length(value: float) -> float | None:
    return value if value and math.isfinite(value) else None
