"""Errors of REST calls: turns a refusal's status, error code and text, or a failed request, into an imkit error.

Source: docs/protocol.md#errors, docs/protocol.md#download.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imkit.client.http import RequestFailed
from imkit.client.redaction import without_share_secrets
from imkit.errors import (
    AlreadyExists,
    AuthError,
    ConnectionLost,
    Forbidden,
    GroupDisabled,
    GroupNotFound,
    IMError,
    InvalidMessage,
    LimitReached,
    MessageNotFound,
    NotAMember,
    NotFound,
    ProtocolError,
    RateLimited,
    ServiceBusy,
    ServiceNotEnabled,
    ThreadNotFound,
    TimedOut,
    TokenExpired,
    TooLarge,
    Unsupported,
)
from imkit.hints import What
from imkit.wire.untrusted_json import text

BUSY = (429, 502, 503, 504)  # HTTP statuses of a service that cannot answer now

# By the service's `error_code`: imkit's error class, and the official SDK's error type.
_BY_ERROR_CODE: dict[int, tuple[type[IMError], int]] = {
    40000: (ServiceNotEnabled, 505),
    40001: (Forbidden, 52),
    40002: (AlreadyExists, 1301),
    40003: (AlreadyExists, 1301),
    40004: (AlreadyExists, 1301),
    40005: (LimitReached, 50),
    40007: (LimitReached, 50),
    40006: (IMError, 503),
    40008: (IMError, 503),
    40010: (IMError, 503),
    40009: (Unsupported, 53),
    40011: (ThreadNotFound, 1300),
    40012: (Forbidden, 52),
    15002: (ServiceNotEnabled, 505),
    91101: (LimitReached, 50),
    91102: (MessageNotFound, -3),
    91104: (Forbidden, 52),
}
# By the service's `error`, where that name alone says more than the status.
_BY_NAME: dict[str, tuple[type[IMError], int]] = {
    "THREAD_NOT_FOUND": (ThreadNotFound, 1300),
    "GROUP_NOT_FOUND": (GroupNotFound, 605),
    "limit_exceeded": (LimitReached, 50),
    "service_limit_exceeded": (LimitReached, 50),
    "exceed_limit": (LimitReached, 50),
}
_REASON_CHARACTERS = 1_000  # of the service's words: they go into errors, logs and tables
# By words of a text: the error class, and the official SDK's error type.
_BY_TEXT: dict[str, tuple[type[IMError], int]] = {
    "already in group": (AlreadyExists, 601),
    "group member list is full": (LimitReached, 606),
    "are not members of this group": (NotAMember, 602),
    "the user is already operation this message": (AlreadyExists, 1101),
    "The quantity has exceeded the limit!": (LimitReached, 50),
    "The user not in this group!": (NotAMember, 602),
    "the user operation is illegal!": (Forbidden, 1103),
    "this appKey is not open reaction service!": (ServiceNotEnabled, 505),
    "this message is creating reaction, please try again.": (ServiceBusy, 1102),
    "groupId can not be null!": (GroupNotFound, 605),
    "param pin_msg_id illegal": (MessageNotFound, -3),
    "report failed, get message by id failed": (MessageNotFound, 51),
}
_NO_SUCH_GROUP = "do not find this group"


def refusal(
    what: What, status: int, body: Mapping[str, Any] | None, path: tuple[str, ...] = (), content_type: str = ""
) -> IMError:
    """Return the error for an HTTP refusal.

    Args:
        what: the request; begins the error's message, and decides its hint.
        status: the HTTP status.
        body: the JSON object of the answer, or `None` if the answer was not a JSON object.
        path: the parts of the request's path; ``"chatgroups"`` in it makes a 404 a `GroupNotFound`.
        content_type: the answer's content type, for the reason if the answer was not JSON.

    Example:
        >>> refusal("GET /thread/7", 404, {"error_code": 40011}).code
        1300
    """
    if body is None or _is_of_gateway(status, body):
        wrong = "was not a JSON object" if body is None else "names no error of the service"
        reason = f"HTTP {status}, and the answer {wrong} ({content_type or 'no content type'})"
        if status in BUSY or status >= 500:
            return ServiceBusy(f"{what} failed", status=status, reason=reason, what=what)
        return ProtocolError(f"{what} failed", status=status, reason=reason, what=what)
    error_code = body.get("error_code")
    error = text(body, "error")
    words = text(body, "error_description") or text(body, "desc") or error or f"HTTP {status}"
    reason = without_share_secrets(words)[:_REASON_CHARACTERS]

    def refused(kind: type[IMError], code: int | None = None) -> IMError:
        return kind(f"{what} was refused", code=code, status=status, reason=reason, what=what)

    if isinstance(error_code, int) and error_code in _BY_ERROR_CODE:
        return refused(*_BY_ERROR_CODE[error_code])
    if status == 401:
        return refused(TokenExpired if "expired" in f"{error} {reason}" else AuthError)
    if status == 404 and error == "file_expired":
        return refused(NotFound, 223)
    if status == 403 and "chatfile no permission" in reason:
        return refused(Forbidden, 222)
    if error == "message_not_found":
        return refused(MessageNotFound)
    if error == "invalid_grant":
        return refused(AuthError, 1)
    if status in (400, 403, 404) and error in _BY_NAME and not any(words in reason for words in _BY_TEXT):
        return refused(*_BY_NAME[error])
    if status == 404 and (_NO_SUCH_GROUP in reason or "does not exist" in reason):
        about_group = "chatgroups" in path
        return refused(
            GroupNotFound if about_group or _NO_SUCH_GROUP in reason else NotFound, 605 if about_group else 705
        )
    if status == 404:
        return refused(NotFound)
    if status in (400, 403):
        for words, found in _BY_TEXT.items():
            if words in reason:
                return refused(*found)
    if status == 403 and "metadata" in path and (error == "data_length_exceed" or "exceeds" in reason):
        return refused(TooLarge, 603)
    if status == 403 and "user metadata service not allow" in reason:
        return refused(ServiceNotEnabled)
    if status == 403:
        return refused(GroupDisabled, 608) if "group is disabled" in reason else refused(Forbidden, 603)
    if status == 413:
        return refused(TooLarge)
    if status in (429, 503):
        if "The request has reached the maximum limit" in reason:
            return refused(LimitReached)
        return refused(RateLimited if status == 429 else ServiceBusy, 500)
    if status == 400 and "unique" in reason:
        return refused(AlreadyExists)
    return refused(ServiceBusy if status >= 500 else IMError, 17)


def _is_of_gateway(status: int, body: Mapping[str, Any]) -> bool:
    """Whether a gateway before the service refused the request: all refusals of the service name their error."""
    is_refused = 400 <= status < 500 and status not in (413, 429)
    return is_refused and not any(name in body for name in ("error", "error_code", "error_description"))


def request_failed(what: What, problem: RequestFailed) -> IMError:
    """Return the error for a request that got no complete answer.

    Args:
        what: the request; begins the error's message, and decides its hint.
        problem: what went wrong.

    Example:
        >>> request_failed("GET /thread/7", RequestFailed("no connection", "refused")).outcome
        'not sent'
    """
    if problem.kind == "no connection":
        hint = "Is the service running, and is rest_url right?"
        return ConnectionLost(f"{what}: no connection", outcome="not sent", reason=problem.reason, hint=hint)
    if problem.kind == "environment":
        message = f"{what}: no connection with the proxy or the certificates that the environment names"
        hint = "See its HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR. imkit needs an HTTP proxy."
        return ConnectionLost(message, outcome="not sent", reason=problem.reason, hint=hint)
    if problem.kind == "not a URL":
        return InvalidMessage(f"{what}: its address is not a URL", reason=problem.reason)
    if problem.kind == "no answer in time":
        return TimedOut(f"{what}: no answer in {problem.seconds:.0f} s", reason=problem.reason, what=what)
    if problem.kind == "too slow":
        return TimedOut(f"{what}: no whole answer in {problem.seconds:.0f} s", reason=problem.reason, what=what)
    if problem.kind in ("too large", "unreadable"):
        return ProtocolError(f"{what}: {problem.reason}", what=what)
    return ConnectionLost(f"{what}: the connection broke", reason=problem.reason, what=what)
