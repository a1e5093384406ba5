"""Maps the service's refusals on the socket to imkit's errors: by status code and reason.

`code` is the official SDK's error type.

Source: docs/protocol.md#login-handshake (refused logins), docs/protocol.md#refusals-of-a-send.
"""

from __future__ import annotations

from imkit.errors import (
    AuthError,
    Blocked,
    Forbidden,
    GroupDisabled,
    GroupNotFound,
    IMError,
    InvalidMessage,
    KickedOff,
    LimitReached,
    MessageNotFound,
    Moderated,
    Muted,
    NotAMember,
    RateLimited,
    RecallExpired,
    ServiceBusy,
    ServiceNotEnabled,
    TokenExpired,
    TooLarge,
)
from imkit.hints import What, operation
from imkit.wire.enums import StatusCode

_Refusal = tuple[type[IMError], int | None]  # the error class, and its `code`; `None`: the code of the class

# Reasons of status FAIL. Those without a code are not in the table of SDK 4, which calls each of them 503.
_SEND_FAILED: dict[str, _Refusal] = {
    "group not found": (GroupNotFound, 605),
    "not in group or chatroom": (NotAMember, 602),
    "blocked": (Blocked, 603),
    "exceed recall time limit": (RecallExpired, 504),
    "message recall disabled": (ServiceNotEnabled, 505),
    "group is disabled": (GroupDisabled, 608),
    "Sorry, message does not exist": (MessageNotFound, 1302),
    "Sorry, edit limit reached": (LimitReached, None),
    "Sorry, You do not have permission": (Forbidden, None),
    "Sorry, format is incorrect": (InvalidMessage, None),
    "Sorry, edit is not available": (ServiceNotEnabled, None),
    "group ack not open": (ServiceNotEnabled, None),
    "group ack msg permission denied": (Forbidden, None),
    "limit send group ack msg": (LimitReached, None),
    "the message has expired": (MessageNotFound, None),
    "not in group or chatroom white list": (Forbidden, None),
    "nonroster": (Forbidden, None),
}
# The same, but the reason only has to contain the text.
_SEND_FAILED_WITH: dict[str, _Refusal] = {
    "no permission to recall message": (Forbidden, None),
    "limit directed users": (LimitReached, None),
    "moderation": (Moderated, 508),
}
# Reasons of status PERMISSION_DENIED; here too the reason only has to contain the text.
_SEND_DENIED: dict[str, _Refusal] = {
    "sensitive words": (Moderated, 501),
    "blocked by mod_antispam": (Moderated, 501),
    "user is mute": (Muted, 219),
    "traffic limit": (RateLimited, 509),
    "Sorry, data is too large": (TooLarge, 511),
}
_LOGIN_FAILED: dict[str, _Refusal] = {
    "Sorry, token or password does not match login info": (AuthError, 28),
    "Sorry, token expired": (TokenExpired, 56),
    "Sorry, user not found": (AuthError, 204),
}
_LOGIN_STATUS: dict[int, _Refusal] = {
    StatusCode.FAIL: (AuthError, 2),
    StatusCode.UNAUTHORIZED: (AuthError, 2),
    StatusCode.WRONG_PARAMETER: (AuthError, -3),
    StatusCode.TOKEN_EXPIRED: (TokenExpired, 56),
    StatusCode.PERMISSION_DENIED: (AuthError, 2),
    StatusCode.IM_FORBIDDEN: (AuthError, 57),
    StatusCode.TOO_MANY_DEVICES: (KickedOff, 214),
    StatusCode.RESOURCE_CHANGED: (KickedOff, 220),
}


def send_refused(what: What, status: int, reason: str) -> IMError:
    """Return the error for a refused send, recall or edit.

    Args:
        what: what was refused, and for which thread or message. It begins the error's message, and decides its hint.
        status: the status code on the wire, not 0.
        reason: the reason that the service gives.

    Example:
        >>> send_refused("the recall of message 7", 1, "exceed recall time limit").code
        504

    Source: docs/protocol.md#refusals-of-a-send, docs/protocol.md#sdk-5-refusals.
    """
    kind, code = _classify_send(status, reason)
    return kind(f"{what} was refused", code=code, status=status, reason=reason, what=what)


def _containing(reason: str, refusals: dict[str, _Refusal]) -> _Refusal | None:
    return next((refusal for text, refusal in refusals.items() if text in reason), None)


def _classify_send(status: int, reason: str) -> _Refusal:
    if status == StatusCode.FAIL:
        return _SEND_FAILED.get(reason) or _containing(reason, _SEND_FAILED_WITH) or (IMError, 503)
    if status == StatusCode.PERMISSION_DENIED:
        return _containing(reason, _SEND_DENIED) or (Forbidden, None)
    if status == StatusCode.USER_MUTED:
        return Muted, None
    if status == StatusCode.PERMISSION_DENIED_EXTERNAL:
        return Moderated, 502
    if status == StatusCode.WRONG_PARAMETER:
        return InvalidMessage, 604
    return IMError, 604


def login_refused(user: str, status: int, reason: str) -> IMError:
    """Return the error for a refused login.

    A status that says nothing about the credentials gives `ServiceBusy`, so that a session connects again.

    Args:
        user: the user id.
        status: the status code in the answer to PROVISION, not 0.
        reason: the reason that the service gives.

    Source: docs/protocol.md#login-handshake.
    """
    what = operation("log_in", user=user)
    refused = f"{what} was refused"
    if "register limit" in reason:
        return LimitReached(refused, status=status, reason=reason, what=what)
    refusal = _LOGIN_FAILED.get(reason) if status == StatusCode.FAIL else None
    kind, code = refusal or _LOGIN_STATUS.get(status, (ServiceBusy, 2))
    return kind(refused, code=code, status=status, reason=reason, what=what)
