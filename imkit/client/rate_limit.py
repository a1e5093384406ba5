"""How fast an app is asked, and how long a busy service is waited for. Plain policy, no I/O.

All requests of this process to an app share one `RateBucket`. It holds the rate that it was told; a 429 (限流) slows it
down for everybody at once, and it speeds up again. Told no rate, it learns one from the refusals: what was let through
in the last second is what the service allows.

Source: fact sheet section 12.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator

from imkit.errors import IMError, RateLimited

logger = logging.getLogger("imkit.client.rest")

MAX_ATTEMPTS = 6  # without any request of the app succeeding in between
MAX_ATTEMPTS_IN_ALL = 50  # of one request that fails while others succeed: about five minutes
MAX_WAIT_SECONDS = 60.0

_WINDOW = 1.0  # seconds; limits count by the second
_SLOWER = 0.93
_MEASURED = 0.95  # of what was let through, where no rate was known
_FASTER = 0.02  # of the rate a second, for each second without a refusal
_HOLD_SECONDS, _BELOW = 10.0, 0.98  # how long it stays how far below the rate that was refused, before it tries again
_UNLIMITED = 2_000.0  # requests a second; who gets that far needs no rate
_BUSY_SHARE = 0.25  # of the answers; fewer are accidents, and going slower would not help


class RateBucket:
    """A token bucket that learns: at most `rate` requests a second, in bursts of at most `burst`.

    Args:
        limit: requests a second that are never exceeded; `None` for no limit but the service's own.
        burst: how many may go at once after a quiet time.
        clock: seconds, for tests.

    Attributes:
        rate: requests a second just now; `None` while no limit is known.
        successes: how many requests have been answered.
    """

    def __init__(self, limit: float | None, burst: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = limit
        self.successes = 0
        self._limit = limit
        self._burst = burst
        self._clock = clock
        self._full_at = 0.0  # when the bucket is full again
        self._closed_until = 0.0  # nobody goes before
        self._changes = 0  # of the two above, by the service
        self._turn = asyncio.Lock()
        self._let_through: deque[float] = deque()  # when those were sent that were answered, in the last second
        self._busy: deque[float] = deque()
        self._slowed_at = float("-inf")
        self._ceiling = float("inf")  # the rate at which it was refused last
        self._grown_at = 0.0
        self._pauses: Iterator[float] = retry_delays()

    async def take(self) -> float:
        """Wait until one more request may go, after those that wait already; return the moment, for the answer."""
        async with self._turn:
            while True:
                changes = self._changes
                await asyncio.sleep(self._due())
                if changes == self._changes:
                    break
            now = self._clock()
            if self.rate is not None:
                self._full_at = max(self._full_at, now) + 1 / self.rate
            return now

    def _due(self) -> float:
        """How many seconds from now the next may go."""
        now = self._clock()
        self._grow(now)
        full_in = 0.0 if self.rate is None else self._full_at - now - (self._burst - 1) / self.rate
        return max(full_in, self._closed_until - now, 0.0)

    def _grow(self, now: float) -> None:
        """Speed up again, the more the longer nothing was refused."""
        quiet = now - max(self._slowed_at, self._closed_until)
        if self.rate is None or self.rate == self._limit or quiet <= 0:
            return
        most = self._limit or _UNLIMITED
        if quiet < _HOLD_SECONDS:
            most = max(min(most, _BELOW * self._ceiling), self.rate)
        self.rate = min(self.rate * (1 + _FASTER * quiet * min(now - self._grown_at, _WINDOW)), most)
        self._grown_at = now
        if self.rate == _UNLIMITED:
            self.rate = None

    def answered(self, sent: float) -> None:
        """Note that the request that was sent then has its answer, whatever it says."""
        self.successes += 1
        self._pauses = retry_delays()
        self._let_through.append(sent)
        self._forget(self._clock())

    def refused(self, sent: float, after: float | None) -> None:
        """Note a 429: everybody waits for as long as the service says, and goes slower from then on."""
        self._slow_down(sent, after, "the service asks for fewer requests")

    def busy(self, sent: float, after: float | None) -> None:
        """Note a service that is too busy to answer: where that is more than an accident, everybody goes slower."""
        now = self._clock()
        self._busy.append(now)
        self._forget(now)
        if len(self._busy) > max(2, _BUSY_SHARE * (len(self._busy) + len(self._let_through))):
            self._slow_down(sent, after, "the service is busy")

    def _forget(self, now: float) -> None:
        for moments in (self._let_through, self._busy):
            while moments and moments[0] < now - 2 * _WINDOW:
                moments.popleft()

    def _slow_down(self, sent: float, after: float | None, why: str) -> None:
        now = self._clock()
        self._forget(now)
        if after is not None and after > MAX_WAIT_SECONDS:
            return  # who asked is told; the others ask for themselves
        if sent < self._slowed_at:  # one more of those that were under way
            self._close(now + (after or 0.0))
            return
        # Counted up to the last that was let through: what was refused meanwhile says nothing.
        last = self._let_through[-1] if self._let_through else now
        within = [moment for moment in self._let_through if moment > last - _WINDOW]
        # A first refusal at a rate that was told is a matter of how it is counted; a second one is not.
        is_first = self._limit is not None and now - self._slowed_at > _HOLD_SECONDS
        self._ceiling = self.rate if is_first and self.rate else max(len(within), 1.0)
        measured = max(_MEASURED * self._ceiling, 1.0)
        self.rate = measured if self.rate is None else max(min(_SLOWER * self.rate, measured), 1.0)
        # Who went too fast has a debt: the service counts what it let through until it is a second old.
        paid_at = (within[0] if within else now) + len(within) / self.rate
        pause = max(paid_at - now, next(self._pauses)) if after is None else after
        self._slowed_at = self._grown_at = now
        self._close(max(now + pause, paid_at))
        self._full_at = self._closed_until + (self._burst - 1) / self.rate  # no burst behind the pause
        wait = self._closed_until - now
        logger.warning("%s: %.3g a second from now on, again in %.1f s", why, self.rate, wait)

    def _close(self, until: float) -> None:
        if until > self._closed_until:
            self._closed_until = until
            self._changes += 1


def retry_delays(first: float = 0.2, cap: float = 8.0) -> Iterator[float]:
    """Yield seconds to wait between attempts: doubling, with jitter, up to `cap`, for ever."""
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, cap)


class Patience:
    """How often a request is tried again, and how long is waited before each time.

    Progress elsewhere begins the count anew: a service that answers others is there.

    Args:
        bucket: of the app.
        seconds: how long a service that answers nobody is waited for at the least.
        clock: seconds, for tests.
    """

    def __init__(self, bucket: RateBucket, seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._seconds = seconds
        self._clock = clock
        self._began = clock()
        self._successes = bucket.successes
        self._attempts = self._in_all = 0
        self._delays = retry_delays()

    async def wait(self, error: IMError, after: float | None) -> None:
        """Wait before the next attempt, for as long as the service has told; or raise the error, as it was the last."""
        is_refusal = isinstance(error, RateLimited)
        if self._bucket.successes != self._successes:
            self._successes, self._attempts, self._began = self._bucket.successes, 0, self._clock()
        self._attempts += 1
        self._in_all += not is_refusal
        is_down = self._attempts >= MAX_ATTEMPTS and self._clock() - self._began >= self._seconds
        if is_down or self._in_all >= MAX_ATTEMPTS_IN_ALL or (after or 0.0) > MAX_WAIT_SECONDS:
            raise error
        if is_refusal:
            return  # the bucket holds everybody up
        delay = next(self._delays) if after is None else after
        logger.info("%s · again in %.1f s", error, delay)
        await asyncio.sleep(delay)
