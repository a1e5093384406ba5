"""Both ends of a sandbox's own endpoints prove that they know its secret, and neither sends it.

A sandbox that crashed leaves its port free, and any program of this machine can listen there. So before the client
says anything, the server must prove that it knows the secret of the private state file; then the client proves the
same. A proof is an HMAC-SHA256 (RFC 2104) over a nonce of each end, so nobody can use a proof a second time.
"""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256

NONCE_HEADER = "imkit-nonce"
PROOF_HEADER = "imkit-proof"
_NONCE = re.compile(r"[0-9a-f]{32}")
_KEPT_NONCES = 100_000  # more than the server gives out in the time in which a caller uses one, also in a flood


def new_nonce() -> str:
    """Return a value that nobody can guess, and that is used once."""
    return secrets.token_hex(16)


def is_nonce(text: str | None) -> bool:
    """Whether a text has the form of a nonce.

    Example:
        >>> is_nonce(new_nonce()), is_nonce("1")
        (True, False)
    """
    return text is not None and _NONCE.fullmatch(text) is not None


def server_proof(secret: str, client_nonce: str, server_nonce: str, content: bytes) -> str:
    """Return the server's proof that the answer with this content is its own."""
    return _proof(secret, "server", client_nonce, server_nonce, sha256(content).hexdigest())


def client_proof(secret: str, client_nonce: str, server_nonce: str, method: str, path: str, content: bytes) -> str:
    """Return the client's proof that this request is its own."""
    return _proof(secret, "client", client_nonce, server_nonce, method, path, sha256(content).hexdigest())


def same_proof(expected: str, given: str | None) -> bool:
    """Compare two proofs, in a time that does not depend on where they differ."""
    return given is not None and hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _proof(secret: str, *parts: str) -> str:
    return hmac.new(secret.encode(), "\n".join(parts).encode(), sha256).hexdigest()


class IssuedNonces:
    """The nonces that a server has given out and that no client has used yet."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}  # by the server's nonce, the client's

    def issue(self, client_nonce: str) -> str:
        """Return a new nonce of the server for a client's nonce. The oldest unused ones are forgotten."""
        while len(self._waiting) >= _KEPT_NONCES:
            del self._waiting[next(iter(self._waiting))]
        server_nonce = new_nonce()
        self._waiting[server_nonce] = client_nonce
        return server_nonce

    def take(self, server_nonce: str | None) -> str | None:
        """Return the client's nonce that belongs to a nonce of the server; None if it is unknown or was used."""
        return None if server_nonce is None else self._waiting.pop(server_nonce, None)
