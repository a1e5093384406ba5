"""A message in the form REST and the thread notices give it (`last_message`): fact sheet section 7."""

from __future__ import annotations

import json
from typing import Any

from imkit.sandbox.server.addresses import ROOMS
from imkit.wire import schema
from imkit.wire.keyvalues import decode_ext

_MEDIA = {1: "img", 2: "video", 4: "audio", 5: "file"}


def last_message(meta_bytes: bytes | None) -> dict[str, Any]:
    """Turn a stored downlink Meta into the REST form; `{}` for none, as the service answers for an empty thread.

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


def message_json(meta: Any, body: Any, sender: str) -> dict[str, Any]:
    """Do the same for a Meta and body at hand."""
    target = meta.to.name
    group = meta.to.domain == ROOMS
    payload: dict[str, Any] = {
        "from": sender,
        "to": target,
        "type": "groupchat" if group else "chat",
        # Always there: without it the SDK throws on media (section 7).
        "ext": _plain_ext(body.ext) if body.ext else {},
        "bodies": [_body(content) for content in body.contents[:1]],
    }
    if body.meta:
        payload["meta"] = json.loads(body.meta)
    return {
        "id": str(meta.id),
        "timestamp": meta.timestamp,
        "from": sender,
        "to": f"{target}@{meta.to.domain}",
        "payload": payload,
    }


def _plain_ext(items: Any) -> dict[str, Any]:
    ext = decode_ext(items)
    # Text nested to the limit of this interpreter can be read at one stack depth and not written at a deeper one.
    return {key: value if _shallow(value, 64) else "" for key, value in ext.items()}


def _shallow(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_shallow(inner, depth - 1) for inner in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_shallow(inner, depth - 1) for inner in value)
    return True


def _body(content: Any) -> dict[str, Any]:
    kind = content.type
    if kind == 0:
        if content.HasField("subType") and content.subType == 0:
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
        return {"type": "txt", "msg": content.text}
    if kind in _MEDIA:
        return _media(content, _MEDIA[kind])
    if kind == 3:
        return {
            "type": "loc",
            "lat": content.latitude,
            "lng": content.longitude,
            "addr": content.address,
            "buildingName": content.buildingName,
        }
    if kind == 6:
        return {"type": "cmd", "action": content.action}
    if kind == 7:
        params = [{key: value} for key, value in _plain_ext(content.customExts).items()]
        return {"type": "custom", "customEvent": content.customEvent, "customExts": params}
    return {"type": "txt", "msg": content.text}


def _media(content: Any, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": name,
        "url": content.remotePath,
        "secret": content.secretKey,
        "filename": content.displayName,
        "file_length": content.fileLength,
    }
    if name == "img":
        body["size"] = {"width": content.size.width, "height": content.size.height}
    if name in ("audio", "video"):
        body["length"] = content.duration
    if name == "video":
        body["thumb"] = content.thumbnailRemotePath
        body["thumb_secret"] = content.thumbnailSecretKey
    return body
