"""All errors that imkit raises, as one class tree.

    IMError
    ├── AuthError                  the service refused the login
    │   ├── TokenExpired           get a new token and log in again
    │   └── KickedOff              the service ended this login
    ├── NotFound
    │   ├── ThreadNotFound
    │   ├── GroupNotFound
    │   └── MessageNotFound
    ├── Forbidden
    │   ├── NotAMember
    │   ├── Muted
    │   ├── Blocked
    │   ├── Moderated
    │   └── GroupDisabled
    ├── RecallExpired              the recall window (2 minutes by default) is over
    ├── AlreadyExists
    ├── LimitReached
    ├── TooLarge
    ├── InvalidMessage             refused before it was sent; also a ValueError
    ├── RateLimited                has .retry_after
    ├── ServiceBusy
    ├── ServiceNotEnabled          the app's console can switch it on
    ├── Unsupported
    ├── TimedOut                   also a TimeoutError
    ├── ConnectionLost             has .outcome: "not sent" or "unknown"
    ├── SessionClosed
    ├── ProtocolError              an answer that the protocol does not allow
    ├── FileError                  a file cannot be written; also an OSError
    └── ArchiveError               an archive on disk cannot be read or written
        └── ArchiveLocked          another process is writing to the archive

Each error has these attributes, as far as they are known: `code` (the official SDK's error type number), `status` (the
HTTP status or the status in the frame), `reason` (the service's own words) and `hint` (what to do next).

Source: docs/protocol.md#errors.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from imkit.escape import for_terminal


class IMError(Exception):
    """The base class of all errors of imkit.

    Args:
        message: what happened, and to which thread or message.
        code: the official SDK's error type number, if it has one for this error.
        status: the HTTP status or the status in the frame, if the service answered.
        reason: the service's own words.
        hint: what to do next; `None`: the default of the class.

    Example:
        >>> try:
        ...     alice.thread("42").refresh()
        ... except imkit.IMError as error:
        ...     print(error.code, error.status, error.hint)
        1300 404 Check the id with group.threads(); a destroyed thread cannot be restored.

    Source: docs/protocol.md#errors.
    """

    default_code: ClassVar[int | None] = None
    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        message: str = "",
        *,
        code: int | None = None,
        status: int | None = None,
        reason: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = self.default_code if code is None else code
        self.status = status
        self.reason = reason
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        parts = [super().__str__() or type(self).__name__]
        if self.reason and self.reason not in parts[0]:
            parts.append(f"The service said: {self.reason}")
        if self.hint:
            parts.append(self.hint)
        return " · ".join(for_terminal(part) for part in parts)


class AuthError(IMError):
    """The service refused the login: the password is wrong, or the user or the token is unknown."""

    default_code = 2
    default_hint = "Check the user, the password or token, and that they belong to this app key."


class TokenExpired(AuthError):
    """The token has expired."""

    default_code = 56
    default_hint = "Fetch a new token from your app server; give login() a callable and imkit does it by itself."


class KickedOff(AuthError):
    """The service ended this login: by a login on another device, a new password, or a removed account."""

    default_code = 206
    default_hint = "Log in again; two logins of one user can be open at the same time if each has its own resource=."


class NotFound(IMError):
    """It does not exist, or this user may not see it."""

    default_code = 17


class ThreadNotFound(NotFound):
    """There is no such chat thread, or it was destroyed."""

    default_code = 1300
    default_hint = "Check the id with group.threads(); a destroyed thread cannot be restored."


class GroupNotFound(NotFound):
    """There is no such group, or this user is not in it."""

    default_code = 605
    default_hint = "Check the id with session.groups()."


class MessageNotFound(NotFound):
    """There is no such message: never sent, recalled, or older than the app's plan keeps messages."""

    default_code = 1302
    default_hint = "It may have been recalled, or it may be older than the app keeps messages."


class Forbidden(IMError):
    """This user is not allowed to do that."""

    default_code = 52
    default_hint = (
        "The thread's creator and the group's owner and admins may rename a thread; "
        "only the group's owner and admins may destroy it or remove members."
    )


class NotAMember(Forbidden):
    """The user is not a member of the group or the thread."""

    default_code = 602
    default_hint = "Join first: thread.join(), or ask a member to group.invite() you."


class Muted(Forbidden):
    """The user is muted (禁言) in this group or thread."""

    default_code = 507
    default_hint = "An admin of the group can lift the mute."


class Blocked(Forbidden):
    """The user is on the block list (黑名单) of this group or thread."""

    default_code = 603
    default_hint = "An admin of the group can unblock the user."


class Moderated(Forbidden):
    """The service's moderation (内容审核) refused the content."""

    default_code = 508
    default_hint = "Change the text; the moderation rules are in the app's console."


class GroupDisabled(Forbidden):
    """The group and its threads are disabled."""

    default_code = 608
    default_hint = "The app's console can enable the group again."


class RecallExpired(IMError):
    """The time limit for recalling (撤回) this message is over: 2 minutes, unless the app sets another one."""

    default_code = 504
    default_hint = "A message can be recalled for 2 minutes, unless the app's console says otherwise."


class AlreadyExists(IMError):
    """It exists already: the thread on this message, the membership, or the user."""

    default_code = 1301
    default_hint = "One message can carry one thread: find it with group.threads(). A user joins a thread only once."


class LimitReached(IMError):
    """A limit of the app's plan is reached."""

    default_code = 50
    default_hint = "See the limits of the app's plan; destroying old threads can help."


class TooLarge(IMError):
    """A message or an attachment is larger than the service allows."""

    default_code = 511
    default_hint = "A message holds 3 to 5 KB with its ext, an attachment 10 MB: shorten it, or send a file."


class InvalidMessage(IMError, ValueError):
    """An argument is not valid. imkit refused it before anything was sent."""

    default_code = -3


class RateLimited(IMError):
    """Too many requests in a short time (限流).

    `retry_after` is the number of seconds to wait, or `None` if the service did not tell it.
    """

    default_code = 509
    default_hint = "Wait and try again; App(max_requests_per_second=…) stays below the limit."

    retry_after: float | None = None


class ServiceBusy(IMError):
    """The service cannot answer at the moment."""

    default_code = 500
    default_hint = "Try again later."


class ServiceNotEnabled(IMError):
    """The app does not have this feature switched on."""

    default_code = 505
    default_hint = "Switch the feature on in the app's console (threads, roaming and recall each have a switch)."


class Unsupported(IMError):
    """The service, or imkit, does not support that here."""

    default_code = 53


class TimedOut(IMError, TimeoutError):
    """No answer or event arrived in time."""

    default_code = -1
    default_hint = "Check the network and the URLs of the app, then try again."


class ConnectionLost(IMError):
    """The connection was lost while something was being sent or asked.

    `outcome` is ``"not sent"`` (nothing was sent: try again) or ``"unknown"`` (it may have arrived: imkit never sends a
    message twice, so look at the history first).

    Args:
        message: what happened.
        outcome: ``"not sent"`` or ``"unknown"``.
        reason: the reason that the network gave.
        hint: what to do next; `None`: the default for this `outcome`.
    """

    default_code = 510
    default_hint = "Look at thread.history() to see whether it arrived before you send it again."

    def __init__(
        self,
        message: str = "",
        *,
        outcome: Literal["not sent", "unknown"] = "unknown",
        reason: str = "",
        hint: str | None = None,
    ) -> None:
        if hint is None and outcome == "not sent":
            hint = "Nothing was sent: check the network and the app's URLs, then try again."
        super().__init__(message, reason=reason, hint=hint)
        self.outcome = outcome


class SessionClosed(IMError):
    """The session is closed: by this program, or by the service."""

    default_code = 39
    default_hint = "Log in again with imkit.login(…)."


class ProtocolError(IMError):
    """The service's answer is not allowed by the protocol."""

    default_hint = "Check that the URLs belong to an Easemob IM service; session.wire() shows the frames and answers."


class FileError(IMError, OSError):
    """A file on this machine cannot be written: the disk is full, the folder is read-only, the drive is gone.

    No part of the file is left under its name, and a file that had the name before is unchanged. `errno` is the
    system's number of the error.
    """

    default_hint = "Repair that, or choose another place; then run the same call again."


class ArchiveError(IMError):
    """An archive cannot be read or written: it is damaged, a newer imkit wrote it, or the disk is full."""

    default_hint = "archive.verify() says what is wrong with the archive."


class ArchiveLocked(ArchiveError):
    """Another process is writing to the archive."""

    default_hint = "Wait until it has finished; reading needs no lock."
