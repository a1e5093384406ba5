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
    ├── RecallExpired              the sender's time to recall (2 minutes by default) is over
    ├── AlreadyExists
    ├── LimitReached
    ├── TooLarge
    ├── InvalidMessage             refused before it was sent; also a ValueError, a TypeError
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
HTTP status or the status in the frame), `reason` (the words of the service; without an answer those of the network) and
`hint` (what to do next). The texts of the hints are in `imkit.hints`.

The traceback of an error shows the frames of your own code. IPython shows all of it with ``%tb Verbose`` (the last
error) or ``%xmode Verbose`` (all errors), and so does the logger ``imkit.errors`` at the level DEBUG.

Source: docs/protocol.md#errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from imkit.escape import for_terminal
from imkit.hints import What, hint_for
from imkit.tracebacks import render_for_ipython

Outcome = Literal["not sent", "unknown"]  # of what was under way when a connection broke


class IMError(Exception):
    """The base class of all errors of imkit.

    Its traceback shows your own code, and leaves out what imkit did inside: `%tb Verbose` shows all of it.

    Args:
        message: what happened, and to which thread or message.
        code: the official SDK's error type number, if it has one for this error.
        status: the HTTP status or the status in the frame, if the service answered.
        reason: the words of the service; if it did not answer, those of the network or of the function that failed.
        hint: what to do next; `None`: what `imkit.hints` has for this error after `what`.
        what: internal: the operation that ended in the error.

    Example:
        >>> try:
        ...     alice.thread("42").refresh()
        ... except imkit.IMError as error:
        ...     print(error.code, error.status, error.hint)
        1300 404 Check the id with group.threads(): each app and each sandbox has threads of its own, and a destroyed \
one cannot be restored.

    Source: docs/protocol.md#errors.
    """

    default_code: ClassVar[int | None] = None

    def __init__(
        self,
        message: str = "",
        *,
        code: int | None = None,
        status: int | None = None,
        reason: str = "",
        hint: str | None = None,
        what: What | None = None,
    ) -> None:
        super().__init__(message)
        self.code = self.default_code if code is None else code
        self.status = status
        self.reason = reason
        self.hint = hint_for(self._kinds(), what) if hint is None else hint

    def _kinds(self) -> Iterator[str]:
        """Return the names by which `imkit.hints` knows this error, the most special one first."""
        return (kind.__name__ for kind in type(self).__mro__ if issubclass(kind, IMError))

    def name_operation(self, what: What) -> None:
        """Internal: say which operation ended in this error, and take the hint that fits it.

        A hint that was given with the error stays.
        """
        self.args = (f"{what}: {self.args[0]}",)
        if self.hint == hint_for(self._kinds()):
            self.hint = hint_for(self._kinds(), what)

    def __str__(self) -> str:
        parts = [super().__str__() or type(self).__name__]
        if self.reason and self.reason not in parts[0]:
            # Without a status nothing was answered: the words are those of the network or of the caller's own function.
            parts.append(self.reason if self.status is None else f"The service said: {self.reason}")
        if self.hint:
            parts.append(self.hint)
        return " · ".join(for_terminal(part) for part in parts)

    def _render_traceback_(self) -> list[str]:
        """Internal: IPython asks for what it shows of the error."""
        return render_for_ipython(self)


class AuthError(IMError):
    """The service refused the login: the password is wrong, or the user or the token is unknown."""

    default_code = 2


class TokenExpired(AuthError):
    """The token has expired."""

    default_code = 56


class KickedOff(AuthError):
    """The service ended this login: by a login on another device, a new password, or a removed account."""

    default_code = 206


class NotFound(IMError):
    """It does not exist, or this user may not see it."""

    default_code = 17


class ThreadNotFound(NotFound):
    """There is no such chat thread, or it was destroyed."""

    default_code = 1300


class GroupNotFound(NotFound):
    """There is no such group, or this user is not in it."""

    default_code = 605


class MessageNotFound(NotFound):
    """There is no such message: never sent, recalled, or older than the app's plan keeps messages."""

    default_code = 1302


class Forbidden(IMError):
    """This user is not allowed to do that."""

    default_code = 52


class NotAMember(Forbidden):
    """The user is not a member of the group or the thread."""

    default_code = 602


class Muted(Forbidden):
    """The user is muted (禁言) in this group or thread."""

    default_code = 507


class Blocked(Forbidden):
    """The user is on the block list (黑名单) of this group or thread."""

    default_code = 603


class Moderated(Forbidden):
    """The service's moderation (内容审核) refused the content."""

    default_code = 508


class GroupDisabled(Forbidden):
    """The group and its threads are disabled."""

    default_code = 608


class RecallExpired(IMError):
    """The sender's time to recall (撤回) the message is over: 2 minutes, unless the app sets another limit."""

    default_code = 504


class AlreadyExists(IMError):
    """It exists already: the thread on this message, the membership, or the user."""

    default_code = 1301


class LimitReached(IMError):
    """A limit of the app's plan is reached."""

    default_code = 50


class TooLarge(IMError):
    """A message or an attachment is larger than the service allows."""

    default_code = 511


class InvalidMessage(IMError, ValueError, TypeError):
    """An argument is not valid, missing or unknown. imkit refused the call before anything was sent."""

    default_code = -3


class RateLimited(IMError):
    """Too many requests in a short time (限流).

    `retry_after` is the number of seconds to wait, or `None` if the service did not tell it.
    """

    default_code = 509

    retry_after: float | None = None


class ServiceBusy(IMError):
    """The service cannot answer at the moment."""

    default_code = 500


class ServiceNotEnabled(IMError):
    """The app does not have this feature switched on."""

    default_code = 505


class Unsupported(IMError):
    """The service, or imkit, does not support that here."""

    default_code = 53


class TimedOut(IMError, TimeoutError):
    """No answer or event arrived in time."""

    default_code = -1


class ConnectionLost(IMError):
    """The connection was lost while something was being sent or asked.

    `outcome` is ``"not sent"`` (nothing was sent: try again) or ``"unknown"`` (it may have arrived: imkit never sends a
    message twice, so look at the history first).

    Args:
        message: what happened.
        outcome: ``"not sent"`` or ``"unknown"``.
        reason: the reason that the network gave.
        hint: what to do next; `None`: what `imkit.hints` has for this `outcome`, after `what`.
        what: internal: the operation that ended in the error.
    """

    default_code = 510

    def __init__(
        self,
        message: str = "",
        *,
        outcome: Outcome = "unknown",
        reason: str = "",
        hint: str | None = None,
        what: What | None = None,
    ) -> None:
        self.outcome = outcome
        super().__init__(message, reason=reason, hint=hint, what=what)

    def _kinds(self) -> Iterator[str]:
        if self.outcome == "not sent":
            return iter(["ConnectionLost, not sent"])
        return super()._kinds()


class SessionClosed(IMError):
    """The session is closed: by this program, or by the service."""

    default_code = 39


class ProtocolError(IMError):
    """The service's answer is not allowed by the protocol."""


class FileError(IMError, OSError):
    """A file on this machine cannot be written: the disk is full, the folder is read-only, the drive is gone.

    No part of the file is left under its name, and a file that had the name before is unchanged. `errno` is the
    system's number of the error.
    """


class ArchiveError(IMError):
    """An archive cannot be read or written: it is damaged, a newer imkit wrote it, or the disk is full."""


class ArchiveLocked(ArchiveError):
    """Another process is writing to the archive."""
