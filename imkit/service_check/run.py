"""`doctor`: asks all checks, one after another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from imkit.errors import ConnectionLost, IMError, InvalidMessage, ProtocolError, ServiceBusy, TimedOut
from imkit.portal import blocking_function, to_its_end
from imkit.service_check.check import Check
from imkit.service_check.checks.attachments import ATTACHMENT_CHECKS
from imkit.service_check.checks.changes import CHANGE_CHECKS
from imkit.service_check.checks.connection import ANSWER_CHECKS, CONNECTION_CHECKS
from imkit.service_check.checks.conversations import CONVERSATION_CHECKS
from imkit.service_check.checks.delivery import DELIVERY_CHECKS
from imkit.service_check.checks.history import HISTORY_CHECKS
from imkit.service_check.checks.joining import JOINING_CHECKS
from imkit.service_check.checks.messages import MESSAGE_CHECKS
from imkit.service_check.checks.pages import PAGE_CHECKS
from imkit.service_check.checks.ranges import RANGE_CHECKS
from imkit.service_check.checks.reading import READING_CHECKS, VIEW_CHECKS
from imkit.service_check.checks.responses import RESPONSE_CHECKS
from imkit.service_check.checks.rights import RIGHTS_CHECKS
from imkit.service_check.examination import Examination
from imkit.service_check.report import Finding, frame_of, removal
from imkit.session import Session, checked_session

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("imkit.doctor")

_MOST_UNANSWERED = 3  # checks, one after another
_CHECK_SECONDS = 120.0  # a list of the service may have no end

CHECKS: tuple[Check, ...] = (
    *CONNECTION_CHECKS,
    *READING_CHECKS,
    *HISTORY_CHECKS,
    *PAGE_CHECKS,
    *RANGE_CHECKS,
    *ATTACHMENT_CHECKS,
    *CHANGE_CHECKS,
    *CONVERSATION_CHECKS,
    *MESSAGE_CHECKS,
    *RESPONSE_CHECKS,
    *JOINING_CHECKS,
    *DELIVERY_CHECKS,
    *RIGHTS_CHECKS,
    *VIEW_CHECKS,
    *ANSWER_CHECKS,
)


@blocking_function
async def doctor(session: Session, *, write: bool = False, second: Session | None = None) -> pd.DataFrame:
    """Ask a service whether it does what imkit assumes.

    Without `write` it only reads. It sends fewer than 20 requests a second.

    Args:
        session: the login to ask with.
        write: make a group and a thread of its own, send some 250 messages there, and find out what `docs/protocol.md`
            marks as inferred or unknown. What it made is removed at the end, also if it is stopped; a line of the
            report says whether that worked.
        second: the session of another user, for what one user alone cannot find out; it needs `write`.

    Returns:
        A frame with a row for each check: `check`, `assumed`, `seen` and `follows` (string), and `agrees` (boolean; NA:
        not asked, or the service did not let it find out).

    Raises:
        InvalidMessage: an argument is wrong.
        SessionClosed: a session is over.

    Example:
        >>> report = imkit.doctor(alice)
        >>> report.columns.tolist()
        ['check', 'assumed', 'seen', 'agrees', 'follows']

    Source: docs/protocol.md#what-is-inferred-or-unknown.
    """

    def warn(finding: Finding) -> None:  # a stopped call returns no frame
        if finding.check == "removal" and not finding.agrees:
            logger.warning("something of imkit.doctor is left: %s", finding.seen)

    return frame_of(await examine(session, write=write, second=second, tell=warn), session)


async def examine(
    session: Session,
    *,
    write: bool = False,
    second: Session | None = None,
    tell: Callable[[Finding], None] = lambda finding: None,
    progress: Callable[[str], None] = lambda words: None,
) -> list[Finding]:
    """Ask the checks, and return the findings.

    Args:
        session: as in `doctor`.
        write: as in `doctor`.
        second: as in `doctor`.
        tell: called with each finding, as the service answers; after a stop also with what became of the removal.
        progress: called with a few words on what is under way, when that takes long.
    """
    _check_arguments(session, write, second)
    findings: list[Finding] = []

    def add(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    # A session that is closed meanwhile, such as by the end of a `with` block after a stop, waits for the removal.
    with session.account.background.awaited_at_the_end(), Examination(session, second, progress) as examination:
        try:
            for check in CHECKS:
                add(await _finding(check, examination, write=write))
        finally:
            own_groups = examination.own_groups
            has_made = bool(own_groups.made)
            try:
                await to_its_end(own_groups.remove())
            finally:  # also after a second stop, which came during the removal
                if has_made or own_groups.left_over:
                    add(removal(own_groups))
    return findings


def _check_arguments(session: Session, write: bool, second: Session | None) -> None:
    for given in (session, *([] if second is None else [second])):
        checked_session(given).account.check_open()
    if second is None:
        return
    if not write:
        raise InvalidMessage("a second user is asked only with write=True", hint="Give write=True, or no second=.")
    if second.app != session.app:
        raise InvalidMessage(f"{second.user} is logged in to another app", hint="Both users must be of the same app.")
    if second.user == session.user:
        raise InvalidMessage(f"second is {second.user} as well", hint="Give the session of another user.")


async def _finding(check: Check, examination: Examination, *, write: bool) -> Finding:
    """Ask one check, if this run may ask it."""
    if check.needs != "login" and not write:
        return Finding.not_asked(check, "not asked: it needs write=True (--write)")
    if check.needs == "second user" and examination.second is None:
        return Finding.not_asked(check, "not asked: it needs a second user (--second)")
    if (
        check.needs != "login" and examination.unanswered >= _MOST_UNANSWERED
    ):  # each further one could wait for a minute
        silent = ConnectionLost("the service has not answered the checks before this one", outcome="not sent", hint="")
        return Finding.of(check, silent)
    is_answered = True
    try:
        examination.session.account.check_open()
        if check.needs != "login":
            await examination.make_sample()
        async with asyncio.timeout(_CHECK_SECONDS):
            return Finding.of(check, await check.ask(examination))
    except IMError as error:
        is_answered = not isinstance(error, ConnectionLost | TimedOut | ServiceBusy)
        return Finding.of(check, error)
    except TimeoutError:
        is_answered = False
        return Finding.of(check, TimedOut(f"it did not come to an end in {_CHECK_SECONDS:.0f} s", hint=""))
    except Exception as error:  # what a service answers must not end the whole run
        logger.exception("the check %r failed", check.name)
        return Finding.of(check, ProtocolError("an error in imkit ended the check", reason=type(error).__name__))
    finally:
        examination.unanswered = 0 if is_answered else examination.unanswered + 1
