"""Hides secrets in what imkit shows or logs: values under the name of a secret, and share-secrets in URLs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from imkit.wire.untrusted_json import json_value, plain

HIDDEN = "•••"
_SECRET_KEYS = re.compile(
    r"auth|authtoken|token|access_token|password|secret|secretkey|thumbnailsecretkey|share-secret|thumb_secret|"
    r"client_secret|authorization",
    re.IGNORECASE,
)
_SHARE_SECRET = re.compile(r"(share-secret=)[^&\"\\\s]+")


def redacted(value: Any, key: str = "", *, opens_texts: bool = True) -> Any:
    """Return JSON with everything under a secret's name hidden.

    Args:
        value: the JSON.
        key: the name that it is under.
        opens_texts: hide secrets also in a text that is JSON itself. Some lists of the service have their messages so,
            with the secrets of attachments. A JSON text in such a text is not opened again.

    Example:
        >>> redacted({"password": "tea", "user": "alice", "payload": '{"secret": "tea"}'})
        {'password': '•••', 'user': 'alice', 'payload': '{"secret": "•••"}'}
    """
    if _SECRET_KEYS.fullmatch(key) and value:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: redacted(inner, name, opens_texts=opens_texts) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner, opens_texts=opens_texts) for inner in value]
    if opens_texts and isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        parsed = plain(json_value(value))
        hidden = redacted(parsed, opens_texts=False)
        return value if hidden == parsed else json.dumps(hidden, ensure_ascii=False)
    return value


def without_share_secrets(text: str) -> str:
    """Return a text with the share-secret of each URL in it hidden.

    Example:
        >>> without_share_secrets("GET /chatfiles/7?share-secret=abc&thumbnail=true")
        'GET /chatfiles/7?share-secret=•••&thumbnail=true'
    """
    return _SHARE_SECRET.sub(rf"\1{HIDDEN}", text) if "share-secret=" in text else text
