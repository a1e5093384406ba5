"""`doctor`: asks all checks, one after another."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from imkit.errors import IMError, InvalidMessage
from imkit.portal import blocking_function
from imkit.service_check.check import Check, Seen
from imkit.service_check.connection_checks import CONNECTION_CHECKS
from imkit.service_check.conversation_checks import CONVERSATION_CHECKS
from imkit.service_check.examination import Examination
from imkit.service_check.history_checks import HISTORY_CHECKS
from imkit.service_check.report import Finding, frame_of, removal
from imkit.service_check.sample import sample_of
from imkit.service_check.second_user_checks import SECOND_USER_CHECKS
from imkit.session import Session

if TYPE_CHECKING:
    import pandas as pd

CHECKS: tuple[Check, ...] = (*CONNECTION_CHECKS, *HISTORY_CHECKS, *CONVERSATION_CHECKS, *SECOND_USER_CHECKS)


@blocking_function
async def doctor(session: Session, *, write: bool = False, second: Session | None = None) -> pd.DataFrame:
    """Ask a service whether it does what imkit assumes.

    Without `write` it only reads. It sends fewer than 20 requests a second.

    Args:
        session: the login to ask with.
        write: make a group and a thread of its own, send some 120 messages there, and find out what `docs/protocol.md`
            marks as inferred or unknown. What it made is removed at the end; a line of the report says whether that
            worked.
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
    findings = [finding async for finding in findings_of(session, write=write, second=second)]
    return frame_of(findings, session)


async def findings_of(
    session: Session, *, write: bool = False, second: Session | None = None
) -> AsyncIterator[Finding]:
    """Yield the findings one after another, as the service answers; the arguments are those of `doctor`."""
    for given in (session, second):
        if given is not None and not isinstance(given, Session):
            raise InvalidMessage(f"{given!r:.80} is not a session", hint="Give what imkit.login(…) returned.")
    session.account.check_open()
    with Examination(session, second) as examination:
        async with contextlib.AsyncExitStack() as made:
            for check in CHECKS:
                if check.needs != "login" and not write:
                    yield Finding.not_asked(check, "not asked: it needs write=True (--write)")
                    continue
                if check.needs == "second user" and second is None:
                    yield Finding.not_asked(check, "not asked: it needs a second user (--second)")
                    continue
                if check.needs != "login" and examination.sample is None:
                    sample = sample_of(session, examination.pace)
                    examination.sample = await made.enter_async_context(sample)
                yield Finding.of(check, await _answer(check, examination))
        if examination.sample is not None:
            yield removal(examination.sample)


async def _answer(check: Check, examination: Examination) -> Seen | IMError:
    try:
        return await check.ask(examination)
    except IMError as error:
        return error
