"""What the service's refusals on the socket mean: status code and reason → imkit's error.

Source: fact sheet section 2 (logins) and the table of section 4 (sends); the numbers in `code` are the official
SDK's error types.
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
from imkit.wire.enums import StatusCode

_SEND_FAILED: tuple[tuple[str, type[IMError], int], ...] = (
    ("group not found", GroupNotFound, 605),
    ("not in group or chatroom", NotAMember, 602),
    ("blocked", Blocked, 603),
    ("exceed recall time limit", RecallExpired, 504),
    ("message recall disabled", ServiceNotEnabled, 505),
    ("group is disabled", GroupDisabled, 608),
    ("Sorry, message does not exist", MessageNotFound, 1302),
)
_SEND_DENIED: tuple[tuple[str, type[IMError], int], ...] = (
    ("sensitive words", Moderated, 501),
    ("blocked by mod_antispam", Moderated, 501),
    ("user is mute", Muted, 219),
    ("traffic limit", RateLimited, 509),
    ("Sorry, data is too large", TooLarge, 511),
)
_LOGIN_FAILED: tuple[tuple[str, type[IMError], int], ...] = (
    ("Sorry, token or password does not match login info", AuthError, 28),
    ("Sorry, token expired", TokenExpired, 56),
    ("Sorry, user not found", AuthError, 204),
)
_LOGIN_STATUS: dict[int, tuple[type[IMError], int]] = {
    StatusCode.UNAUTHORIZED: (AuthError, 2),
    StatusCode.WRONG_PARAMETER: (AuthError, -3),
    StatusCode.TOKEN_EXPIRED: (TokenExpired, 56),
    StatusCode.PERMISSION_DENIED: (AuthError, 2),
    StatusCode.IM_FORBIDDEN: (AuthError, 57),
    StatusCode.TOO_MANY_DEVICES: (KickedOff, 214),
    StatusCode.RESOURCE_CHANGED: (KickedOff, 220),
}


def send_refused(what: str, status: int, reason: str) -> IMError:
    """Return the error for a refused send, recall or edit.

    Args:
        what: what was refused, to which thread or message; opens the error's message.
        status: the wire status code, not 0.
        reason: the service's words.

    Example:
        >>> send_refused("the recall of message 7", 1, "exceed recall time limit").code
        504
    """
    refused = f"{what} was refused"
    if status == StatusCode.FAIL:
        for words, kind, code in _SEND_FAILED:
            if reason == words:
                return kind(refused, code=code, status=status, reason=reason)
        if "moderation" in reason:
            return Moderated(refused, code=508, status=status, reason=reason)
        return IMError(refused, code=503, status=status, reason=reason)
    if status == StatusCode.PERMISSION_DENIED:
        for words, kind, code in _SEND_DENIED:
            if words in reason:
                return kind(refused, code=code, status=status, reason=reason)
        return Forbidden(refused, status=status, reason=reason)
    if status == StatusCode.USER_MUTED:
        return Muted(refused, status=status, reason=reason)
    if status == StatusCode.PERMISSION_DENIED_EXTERNAL:
        return Moderated(refused, code=502, status=status, reason=reason)
    if status == StatusCode.WRONG_PARAMETER:
        return InvalidMessage(refused, code=604, status=status, reason=reason)
    return IMError(refused, code=604, status=status, reason=reason)


def login_refused(user: str, status: int, reason: str) -> IMError:
    """Return the error for a refused login (a PROVISION reply whose status is not OK)."""
    refused = f"the login of {user} was refused"
    if "register limit" in reason:
        return LimitReached(refused, status=status, reason=reason)
    if status == StatusCode.FAIL:
        for words, kind, code in _LOGIN_FAILED:
            if reason == words:
                return kind(refused, code=code, status=status, reason=reason)
    if status != StatusCode.FAIL and status not in _LOGIN_STATUS:  # not about the credentials: try again later
        return ServiceBusy(refused, code=2, status=status, reason=reason)
    kind, code = _LOGIN_STATUS.get(status, (AuthError, 2))
    return kind(refused, code=code, status=status, reason=reason)
