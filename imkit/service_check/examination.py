"""`Examination`: the sessions that a doctor's run may use, at a gentle pace, and what it makes and removes again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from imkit.client.http import Answer
from imkit.client.rate_limit import RateBucket
from imkit.errors import Forbidden, IMError, TimedOut
from imkit.service_check.own_groups import OwnGroups
from imkit.service_check.sample import Sample, make_sample
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.times import wall_seconds

P = ParamSpec("P")
R = TypeVar("R")

# The requests and messages per second of a run, all users together: well below the service's own limits, and below the
# 20 a second that an app's owner is promised. Tests set it to None: no limit.
REQUESTS_PER_SECOND: float | None = 15.0
_SAMPLE_SECONDS = 300.0  # usually it takes ten


class Examination:
    """One run of the doctor.

    Args:
        session: the login that is examined.
        second: the login of another user, if there is one.
        progress: called with a few words on what is under way, when that takes long.

    Attributes:
        pace: every REST request of both sessions waits for it while the run lasts; a send takes from it, too.
        progress: as given.
        answers: each REST answer of the run, how many seconds it took, and when it came, in seconds since the epoch.
        own_groups: the groups that the run makes; they are removed at its end.
        unanswered: how many of the last checks, one after another, got no answer from the service.
        second_is_in: the ids of the group and the thread, once the second user is a member.
    """

    def __init__(
        self, session: Session, second: Session | None = None, progress: Callable[[str], None] = lambda words: None
    ) -> None:
        self.session = session
        self.second = second
        self.progress = progress
        self.pace = RateBucket(REQUESTS_PER_SECOND, burst=1)
        self.answers: list[tuple[Answer, float, float]] = []
        self.own_groups = OwnGroups(session)
        self.second_is_in: set[str] = set()
        self.unanswered = 0
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
        self.answers.append((Answer(answer.status, answer.headers), seconds, wall_seconds()))  # without the body

    # ------------------------------------------------------ what the run makes

    @property
    def sample(self) -> Sample | None:
        """What the run has made; `None` if it has made nothing, or not yet."""
        return self._sample if isinstance(self._sample, Sample) else None

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
                async with asyncio.timeout(_SAMPLE_SECONDS):
                    self._sample = await make_sample(self.own_groups, self.pace, self.progress)
            except IMError as error:
                self._sample = error
            except TimeoutError:
                self._sample = TimedOut(f"the messages to ask about were not sent in {_SAMPLE_SECONDS:.0f} s", hint="")
        if isinstance(self._sample, IMError):
            raise self._sample

    # ------------------------------------------------------ the second user

    @property
    def second_user(self) -> Session:
        """The login of the second user, for a check that needs it."""
        assert self.second is not None
        return self.second

    def second_in(self, conversation: Group | Thread) -> Session:
        """Return the login of the second user, for a check that needs it as a member of a group or thread.

        Raises:
            Forbidden: the second user is not in it: the service did not let the user in before.
        """
        if conversation.id not in self.second_is_in:
            raise Forbidden(f"the second user is not in {conversation.target()}", hint="")
        return self.second_user

    @property
    def thread_of_second(self) -> Thread:
        """The thread as the second user has it, for a check that needs the user as a member; see `second_in`."""
        return self.second_in(self.made.thread).thread(self.made.thread.id)

    # ------------------------------------------------------ sends

    async def paced(self, call: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Wait for the pace, then make a call that uses the socket; calls that use REST wait by themselves."""
        await self.pace.take()
        return await call(*args, **kwargs)
