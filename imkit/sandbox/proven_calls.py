"""Calls of a sandbox's own endpoints from a process that knows its secret: who is there, tokens, and retire.

The sandbox proves first that it knows the secret (`proof`). Another program on its port learns nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from imkit.errors import ConnectionLost, ProtocolError, TimedOut
from imkit.hints import SANDBOX_SILENT
from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE
from imkit.sandbox.proof import (
    NONCE_HEADER,
    PROOF_HEADER,
    client_proof,
    is_nonce,
    new_nonce,
    same_proof,
    server_proof,
)

REQUEST_SECONDS = 15.0  # as for each other REST request
_ANSWER_BYTES = 65536


class NotProven(Exception):
    """A program answers at the sandbox's address, and it does not know the sandbox's secret."""


@dataclass(frozen=True)
class ProvenCalls:
    """Calls one sandbox.

    Args:
        rest_url: where the sandbox should be.
        secret: the secret of its state file.
        seconds: how long the sandbox may be silent.
        ended: returns what to do if the sandbox has ended, and an empty text while it runs.
    """

    rest_url: str
    secret: str = field(repr=False)
    seconds: float = REQUEST_SECONDS
    ended: Callable[[], str] = field(default=lambda: "", repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it without `ended`: another process cannot know the end of a private sandbox."""
        return ProvenCalls, (self.rest_url, self.secret, self.seconds)

    def health(self) -> Mapping[str, Any]:
        """Return what the sandbox says of itself: ``version``, ``app_key`` and ``connections``.

        Raises:
            NotProven: another program answers.
            OSError, http.client.HTTPException: no answer came.
        """
        _, answer = self._call("GET", HEALTH)
        return answer

    def retire(self) -> Mapping[str, Any]:
        """Tell the sandbox to end when no client is connected; return the number of ``connections``.

        The errors are those of `health`.
        """
        _, answer = self._call("POST", RETIRE)
        return answer

    def token(self, user: str) -> str:
        """Return a token for a user; the sandbox creates a user that does not exist.

        Raises:
            ConnectionLost: no sandbox is there, or another program is.
            TimedOut: the sandbox is there and does not answer.
            ProtocolError: the answer was changed on the way.
            IMError: the sandbox refuses the user id.
        """
        from imkit.client.rest_errors import refusal  # imported here: the server's process must not load the client

        status, answer = self._call_or_raise("POST", APP_SERVER_TOKEN, {"user": user})
        if status != 200:
            raise refusal(f"POST {APP_SERVER_TOKEN}", status, answer)
        token = answer.get("token")
        if not isinstance(token, str) or not token:
            hint = "The answer was changed on its way from the sandbox. Log in again."
            raise ProtocolError(f"POST {APP_SERVER_TOKEN}: the answer holds no token", status=status, hint=hint)
        return token

    def prove(self) -> None:
        """Make sure that the sandbox is there, and no other program in its place.

        Raises:
            ConnectionLost: no sandbox is there, or another program is.
            TimedOut: the sandbox is there and does not answer.
        """
        self._call_or_raise("GET", HEALTH)

    def _call_or_raise(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, Mapping[str, Any]]:
        what = f"{method} {path}"
        try:
            return self._call(method, path, body)
        except NotProven:
            hint = self.ended() or SANDBOX_SILENT
            reason = "another program listens at its address; it was told nothing"
            raise ConnectionLost(
                f"{what}: this is not the sandbox", outcome="not sent", reason=reason, hint=hint
            ) from None
        except TimeoutError as error:
            raise TimedOut(f"{what}: no answer in {self.seconds:.0f} s", reason=str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            if hint := self.ended():
                raise ConnectionLost(
                    "the sandbox has ended; nothing was sent", outcome="not sent", hint=hint
                ) from error
            message = f"{what}: no connection"
            raise ConnectionLost(message, outcome="not sent", reason=reason, hint=SANDBOX_SILENT) from error

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Mapping[str, Any]]:
        """Let the server prove itself, then send the request on the same connection with the client's proof."""
        parts = urlsplit(self.rest_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.seconds)
        with contextlib.closing(connection), _ended_after(self.seconds, connection):
            nonce = new_nonce()
            connection.request("GET", HEALTH, headers={NONCE_HEADER: nonce})
            status, headers, content = _read(connection)
            server_nonce = headers.get(NONCE_HEADER)
            if server_nonce is None or not is_nonce(server_nonce):
                raise NotProven
            if not same_proof(server_proof(self.secret, nonce, server_nonce, content), headers.get(PROOF_HEADER)):
                raise NotProven
            if path != HEALTH:
                connection.auto_open = 0  # not to whoever listens there by now
                sent = b"" if body is None else json.dumps(body).encode()
                proof = client_proof(self.secret, nonce, server_nonce, method, path, sent)
                own = {NONCE_HEADER: server_nonce, PROOF_HEADER: proof, "Content-Type": "application/json"}
                connection.request(method, path, sent, own)
                status, headers, content = _read(connection)
            return status, _json_object(content)


@contextlib.contextmanager
def _ended_after(seconds: float, connection: http.client.HTTPConnection) -> Iterator[None]:
    """Connect, and end the connection after so many seconds in all: its own timeout starts anew with each byte."""
    try:
        connection.connect()
    except UnicodeError as error:  # raised for what cannot be the name of a host
        raise OSError(f"{connection.host!r:.80} is not a host") from error
    sock = connection.sock
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, NotProven) as error:
        if is_late.is_set():
            raise TimeoutError("the answer did not end") from error
        raise
    finally:
        timer.cancel()


def _read(connection: http.client.HTTPConnection) -> tuple[int, http.client.HTTPMessage, bytes]:
    try:
        reply = connection.getresponse()
        content = reply.read(_ANSWER_BYTES + 1)
    except ValueError as error:  # http.client's own, at a chunk of a negative size
        raise http.client.HTTPException(str(error)) from error
    if len(content) > _ANSWER_BYTES:
        raise NotProven
    if reply.length != 0:  # the answer was cut: inside its head (None) or its body; http.client does not tell
        raise http.client.IncompleteRead(content)
    return reply.status, reply.headers, content


def _json_object(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
