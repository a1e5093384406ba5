"""`Examination`: the sessions that a doctor's run may use, at a gentle pace, and what it makes and removes again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from imkit.client.http import Answer
from imkit.client.rate_limit import RateBucket
from imkit.errors import IMError
from imkit.service_check.own_groups import OwnGroups
from imkit.service_check.sample import Sample, make_sample
from imkit.session import Session

# The requests and messages per second of a run, all users together: well below the service's own limits, and below the
# 20 a second that an app's owner is promised. Tests set it to None: no limit.
REQUESTS_PER_SECOND: float | None = 15.0


class Examination:
    """One run of the doctor.

    Args:
        session: the login that is examined.
        second: the login of another user, if there is one.
        progress: called with a few words on what is under way, when that takes long.

    Attributes:
        pace: every REST request of both sessions waits for it while the run lasts; a send takes from it, too.
        progress: as given.
        answers: each REST answer of the run, and how many seconds it took.
        own_groups: the groups that the run makes; they are removed at its end.
    """

    def __init__(
        self, session: Session, second: Session | None = None, progress: Callable[[str], None] = lambda words: None
    ) -> None:
        self.session = session
        self.second = second
        self.progress = progress
        self.pace = RateBucket(REQUESTS_PER_SECOND, burst=1)
        self.answers: list[tuple[Answer, float]] = []
        self.own_groups = OwnGroups(session)
        self._sample: Sample | IMError | None = None
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for session in (self.session, self.second):
            if session is not None:
                self._undo.enter_context(session.account.rest.paced(self.pace, self._note))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def _note(self, answer: Answer, seconds: float) -> None:
        self.answers.append((Answer(answer.status, answer.headers), seconds))  # without the body

    # ------------------------------------------------------ what the run makes

    @property
    def made(self) -> Sample:
        """The group, the thread and the messages of the run, for a check that needs them."""
        assert isinstance(self._sample, Sample)
        return self._sample

    async def make_sample(self) -> None:
        """Make the group, the thread and the messages of the run, the first time; see `made`.

        Raises:
            IMError: the service refused a part; each further call raises the same.
        """
        if self._sample is None:
            try:
                self._sample = await make_sample(self.own_groups, self.pace, self.progress)
            except IMError as error:
                self._sample = error
        if isinstance(self._sample, IMError):
            raise self._sample
