"""`Examination`: the sessions that a doctor's run may use, at a gentle pace, and what it makes and removes again."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from imkit.client.rate_limit import RateBucket
from imkit.service_check.sample import Sample
from imkit.session import Session

# The requests and messages per second of a run, all users together: well below the service's own limits, and below the
# 20 a second that an app's owner is promised.
REQUESTS_PER_SECOND = 15.0


class Examination:
    """One run of the doctor.

    Args:
        session: the login that is examined.
        second: the login of another user, if there is one.

    Attributes:
        sample: what the run has made, once a check needs it.
        pace: every REST request of both sessions waits for it while the run lasts; a send takes from it, too.
    """

    def __init__(self, session: Session, second: Session | None = None) -> None:
        self.session = session
        self.second = second
        self.sample: Sample | None = None
        self.pace = RateBucket(REQUESTS_PER_SECOND, burst=1)
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for session in (self.session, self.second):
            if session is not None:
                self._undo.enter_context(session.account.rest.paced(self.pace))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    @property
    def made(self) -> Sample:
        """What the run has made, for a check that needs it."""
        assert self.sample is not None
        return self.sample
