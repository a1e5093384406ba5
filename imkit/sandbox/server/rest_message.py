"""Turns a message into its REST form: the `last_message` of thread notices and of REST replies.

Source: docs/protocol.md#last-message-in-json.
"""

from __future__ import annotations

import json
import math
from typing import Any

from imkit.sandbox.server.message_record import is_bundle
from imkit.sandbox.server.notices import compact
from imkit.wire import schema
from imkit.wire.enums import ContentType, SubType
from imkit.wire.envelope import GROUP_DOMAIN
from imkit.wire.keyvalues import decode_ext
from imkit.wire.untrusted_json import is_deep

_MEDIA = {
    ContentType.IMAGE: "img",
    ContentType.VIDEO: "video",
    ContentType.VOICE: "audio",
    ContentType.FILE: "file",
}


def last_message(meta_bytes: bytes | None) -> dict[str, Any]:
    """Return the REST form of a stored Meta; `{}` for None, as the service answers for an empty thread.

    Example:
        >>> body = schema.MessageBody(contents=[schema.Content(type=0, text="hi")])
        >>> meta = schema.Meta(id=7, payload=body.SerializeToString())
        >>> last_message(meta.SerializeToString())["payload"]["bodies"]
        [{'type': 'txt', 'msg': 'hi'}]
    """
    if meta_bytes is None:
        return {}
    meta = schema.Meta.FromString(meta_bytes)
    body = schema.MessageBody.FromString(meta.payload)
    return message_json(meta, body, getattr(body, "from").name)


def last_message_as_text(meta_bytes: bytes | None) -> dict[str, Any]:
    """Return the REST form of a stored Meta with its payload as JSON text: the lists of conversations and pins want it.

    Source: docs/protocol.md#list-of-conversations, docs/protocol.md#pinned-messages.
    """
    message = last_message(meta_bytes)
    return {**message, "payload": compact(message["payload"])} if message else {}


def message_json(meta: Any, body: Any, sender: str) -> dict[str, Any]:
    """Return the REST form of a message whose Meta and body are parsed already."""
    target = meta.to.name
    is_group = meta.to.domain == GROUP_DOMAIN
    payload: dict[str, Any] = {
        "from": sender,
        "to": target,
        "type": "groupchat" if is_group else "chat",
        # Always present: without it the SDK throws on attachments.
        "ext": _plain_ext(body.ext) if body.ext else {},
        "bodies": [_body(content) for content in body.contents[:1]],
    }
    if body.HasField("stream"):
        payload["stream"] = _stream(body.stream)
    if body.meta:
        payload["meta"] = json.loads(body.meta)
    return {
        "id": str(meta.id),
        "timestamp": meta.timestamp,
        "from": sender,
        "to": f"{target}@{meta.to.domain}",
        "payload": payload,
    }


def _stream(stream: Any) -> dict[str, Any]:
    """Return what SDK 4 reads of a streamed text beside its body."""
    found = {"stream_type": stream.streamType, "stream_status": "stream_full", "stream_error": stream.streamError}
    if stream.HasField("streamFinishReason"):
        found["stream_finish_reason"] = stream.streamFinishReason
    return found


def _plain_ext(items: Any) -> dict[str, Any]:
    ext = decode_ext(items)
    # Python's JSON writer fails on values that are nested too deep, depending on the depth of the call stack.
    return {key: "" if is_deep(value) else value for key, value in ext.items()}


def _body(content: Any) -> dict[str, Any]:
    kind = content.type
    if kind == ContentType.TEXT:
        if is_bundle(content):
            return {
                "type": "txt",
                "subType": "sub_combine",
                "msg": content.text,
                "title": content.title,
                "summary": content.summary,
                "url": content.remotePath,
                "secret": content.secretKey,
                "combineLevel": content.combineLevel,
            }
        if content.HasField("subType") and content.subType == SubType.SUB_STREAM:
            return {"type": "txt", "msg": content.text, "subType": "sub_stream"}
        return {"type": "txt", "msg": content.text}
    if kind in _MEDIA:
        return _media(content, _MEDIA[kind])
    if kind == ContentType.LOCATION:
        return {
            "type": "loc",
            "lat": _number(content.latitude),
            "lng": _number(content.longitude),
            "addr": content.address,
            "buildingName": content.buildingName,
        }
    if kind == ContentType.COMMAND:
        return {"type": "cmd", "action": content.action}
    if kind == ContentType.CUSTOM:
        params = [{key: value} for key, value in _plain_ext(content.customExts).items()]
        return {"type": "custom", "customEvent": content.customEvent, "customExts": params}
    return {"type": "txt", "msg": content.text}


def _number(value: float) -> float:
    """Return a finite number unchanged, and 0 for NaN and the infinities, which JSON cannot hold."""
    return value if math.isfinite(value) else 0.0


def _media(content: Any, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": name,
        "url": content.remotePath,
        "secret": content.secretKey,
        "filename": content.displayName,
        "file_length": content.fileLength,
    }
    if name == "img":
        body["size"] = {"width": _number(content.size.width), "height": _number(content.size.height)}
    if name in ("audio", "video"):
        body["length"] = content.duration
    if name == "video":
        body["thumb"] = content.thumbnailRemotePath
        body["thumb_secret"] = content.thumbnailSecretKey
    return body
