"""Hides secrets in what imkit shows or logs: values under the name of a secret, and share-secrets in URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "•••"
_SECRET_KEYS = re.compile(
    r"auth|authtoken|token|access_token|password|secret|secretkey|thumbnailsecretkey|share-secret|thumb_secret|"
    r"client_secret|authorization",
    re.IGNORECASE,
)
_SHARE_SECRET = re.compile(r"(share-secret=)[^&\"\\\s]+")


def redacted(value: Any, key: str = "") -> Any:
    """Return JSON with everything under a secret's name hidden.

    Example:
        >>> redacted({"password": "tea", "user": "alice"})
        {'password': '•••', 'user': 'alice'}
    """
    if _SECRET_KEYS.fullmatch(key) and value:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: redacted(inner, name) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return value


def without_share_secrets(text: str) -> str:
    """Return a text with the share-secret of each URL in it hidden.

    Example:
        >>> without_share_secrets("GET /chatfiles/7?share-secret=abc&thumbnail=true")
        'GET /chatfiles/7?share-secret=•••&thumbnail=true'
    """
    return _SHARE_SECRET.sub(rf"\1{HIDDEN}", text) if "share-secret=" in text else text
