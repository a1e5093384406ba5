"""Every error imkit raises, as one tree.

    IMError
    ├── AuthError                  the login was refused
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
    ├── ServiceNotEnabled          to be switched on in the console
    ├── Unsupported
    ├── TimedOut                   also a TimeoutError
    ├── ConnectionLost             has .outcome: "not sent" or "unknown"
    ├── SessionClosed
    ├── ProtocolError              the other side said what the protocol does not allow
    └── ArchiveError               an archive on disk cannot be read or written
        └── ArchiveLocked          another process writes to it

Each carries `code` (the official SDK's error type number), `status` (the HTTP or wire status), `reason`
(what the service said) and `hint` (what to do next), where they are known.

Source: fact sheet sections 2, 4 and 12.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from imkit.escape import for_terminal


class IMError(Exception):
    """Something went wrong in imkit or at the service it talks to.

    Args:
        message: what happened, and to which thread or message.
        code: the official SDK's error type number for it, when it has one.
        status: the HTTP status or the wire status code, when there was an answer.
        reason: what the service said, in its own words.
        hint: what to do next; each class has a default.

    Example:
        >>> error = ThreadNotFound("no thread 42", reason="thread not found")
        >>> error.code, error.hint
        (1300, 'Check the id with group.threads(); a destroyed thread is gone for good.')
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
    """The login was refused: a wrong password, an unknown user, or a token the service does not know."""

    default_code = 2
    default_hint = "Check the user, the password or token, and that they belong to this app key."


class TokenExpired(AuthError):
    """The token is past its life."""

    default_code = 56
    default_hint = "Fetch a new token from your app server; give login() a callable and imkit does it by itself."


class KickedOff(AuthError):
    """The service ended this login: another device, a new password, a removed account."""

    default_code = 206
    default_hint = "Log in again; with another resource= two logins of one user can live side by side."


class NotFound(IMError):
    """What was asked for does not exist, or not for this user."""

    default_code = 17


class ThreadNotFound(NotFound):
    """No such chat thread."""

    default_code = 1300
    default_hint = "Check the id with group.threads(); a destroyed thread is gone for good."


class GroupNotFound(NotFound):
    """No such group."""

    default_code = 605
    default_hint = "Check the id with session.groups()."


class MessageNotFound(NotFound):
    """No such message: never sent, recalled, or past the retention of the app's plan."""

    default_code = 1302
    default_hint = "It may have been recalled, or be older than the app keeps messages."


class Forbidden(IMError):
    """This user may not do that."""

    default_code = 52
    default_hint = "Renaming takes the creator or an admin of the group; destroying and removing take an admin."


class NotAMember(Forbidden):
    """The user is not in the group or thread."""

    default_code = 602
    default_hint = "Join first: thread.join(), or ask a member to group.invite() you."


class Muted(Forbidden):
    """The user is muted there."""

    default_code = 507
    default_hint = "An admin of the group can lift the mute."


class Blocked(Forbidden):
    """The user is on the block list there."""

    default_code = 603
    default_hint = "An admin of the group can unblock the user."


class Moderated(Forbidden):
    """The service's moderation refused the content."""

    default_code = 508
    default_hint = "Change the text; the app's console holds the moderation rules."


class GroupDisabled(Forbidden):
    """The group is disabled, and its threads with it."""

    default_code = 608
    default_hint = "The app's console can enable the group again."


class RecallExpired(IMError):
    """The time in which a message can be recalled is over."""

    default_code = 504
    default_hint = "The window is 2 minutes unless the app's console says otherwise."


class AlreadyExists(IMError):
    """It is there already: the thread on this message, the membership, the user."""

    default_code = 1301
    default_hint = "A message carries one thread at the most; look for it with group.threads()."


class LimitReached(IMError):
    """A limit of the app's plan is reached."""

    default_code = 50
    default_hint = "See the limits of the app's plan; old threads can be destroyed."


class TooLarge(IMError):
    """A message or an attachment is over the size limit."""

    default_code = 511
    default_hint = "A message holds 3 to 5 KB with its ext, an attachment 10 MB: shorten it, or send a file."


class InvalidMessage(IMError, ValueError):
    """The input cannot become a message; it was refused before it was sent."""

    default_code = -3


class RateLimited(IMError):
    """Too many requests; `retry_after` says how many seconds to wait, when the service told."""

    default_code = 509
    default_hint = "Wait, then go on; App(max_requests_per_second=…) keeps below the limit."

    retry_after: float | None = None


class ServiceBusy(IMError):
    """The service cannot answer just now."""

    default_code = 500
    default_hint = "Try again in a while."


class ServiceNotEnabled(IMError):
    """The app does not have this feature switched on."""

    default_code = 505
    default_hint = "Switch the feature on in the app's console (threads, roaming and recall each have a switch)."


class Unsupported(IMError):
    """The service does not support that here."""

    default_code = 53


class TimedOut(IMError, TimeoutError):
    """No answer came in time."""

    default_code = -1
    default_hint = "Check the network and the URLs of the app, then try again."


class ConnectionLost(IMError):
    """The connection went away under an operation.

    `outcome` says what became of it: ``"not sent"`` (it never left, try again), or ``"unknown"`` (it may have
    arrived; imkit never sends twice, so look at the history first).
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
    """The session was closed, here or by the service."""

    default_code = 39
    default_hint = "Log in again with imkit.login(…)."


class ProtocolError(IMError):
    """The other side said something the protocol does not allow."""

    default_hint = "Check that the URLs belong to an Easemob IM service; session.wire() shows what was said."


class ArchiveError(IMError):
    """An archive cannot be read or written: damaged, of a later version, no room on the disk."""

    default_hint = "archive.verify() says what is wrong with it."


class ArchiveLocked(ArchiveError):
    """Another process is writing to the archive."""

    default_hint = "Wait until it is done; reading needs no lock."
