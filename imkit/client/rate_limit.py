"""How fast this process asks an app's REST interface, and how often it repeats a request. No I/O happens here.

All requests of this process to one app share one `RateBucket`. It keeps to the rate that the user gave it. A refusal
with 429 (限流) slows down all users of the app, and the rate rises again later. Without a rate from the user it learns
one from the refusals: the service allows as many requests as it accepted in the last second.

Source: docs/protocol.md#limits.
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

MAX_ATTEMPTS = 6  # of one request, while no other request to the app succeeds
MAX_ATTEMPTS_IN_ALL = 50  # of one request that fails while others succeed; takes about five minutes
MAX_WAIT_SECONDS = 60.0

_WINDOW_SECONDS = 1.0  # services count requests per second
_SLOWDOWN = 0.93  # of the present rate, after a refusal
_MEASURED_SHARE = 0.95  # of the number of requests that the service accepted in the last second
_SPEEDUP_PER_SECOND = 0.02  # of the present rate, times the seconds without a refusal
# After a refusal stay at 98 % of the refused rate for 10 s, then probe higher rates.
_HOLD_SECONDS, _HOLD_SHARE = 10.0, 0.98
_UNLIMITED_RATE = 2_000.0  # requests per second; a rate that has risen this high is no limit any more
_BUSY_SHARE = 0.25  # of the answers; a smaller share is chance, and a lower rate would not help


class RateBucket:
    """A token bucket that learns from refusals: at most `rate` requests per second, in bursts of at most `burst`.

    Args:
        limit: requests per second that are never exceeded; `None`: only the limit of the service.
        burst: how many requests may leave at once after a quiet time.
        clock: seconds; tests replace it.

    Attributes:
        rate: the present limit in requests per second; `None` while no limit is known.
        successes: how many requests the service has answered.

    Example:
        >>> bucket = RateBucket(100, clock=lambda: 0.0)
        >>> bucket.refused(sent=0.0, after=1.0)  # the service refuses with 429 and "Retry-After: 1"
        >>> bucket.rate  # 93 % of the refused rate
        93.0
    """

    def __init__(self, limit: float | None, burst: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = limit
        self.successes = 0
        self._limit = limit
        self._burst = burst
        self._clock = clock
        self._queue = asyncio.Lock()  # requests leave in the order in which they came
        self._full_at = 0.0  # when the bucket is full again
        self._paused_until = 0.0  # no request leaves before
        self._pauses_made = 0  # a waiting request computes its wait anew when this has changed
        self._pause_lengths: Iterator[float] = retry_delays()
        self._accepted: deque[float] = deque()  # when the requests of the last seconds were sent that got an answer
        self._busy_answers: deque[float] = deque()  # when the service said that it is busy, in the last seconds
        self._slowed_at = float("-inf")
        self._refused_rate = float("inf")  # the rate at the last refusal
        self._raised_at = 0.0  # when `rate` was raised last

    async def take(self) -> float:
        """Wait in the queue until the next request may leave; return that moment, for `answered` and `refused`."""
        async with self._queue:
            while True:
                pauses_made = self._pauses_made
                await asyncio.sleep(self._seconds_to_wait())
                if pauses_made == self._pauses_made:
                    break
            now = self._clock()
            if self.rate is not None:
                self._full_at = max(self._full_at, now) + 1 / self.rate
            return now

    def _seconds_to_wait(self) -> float:
        now = self._clock()
        self._raise_rate(now)
        token_in = 0.0 if self.rate is None else self._full_at - now - (self._burst - 1) / self.rate
        return max(token_in, self._paused_until - now, 0.0)

    # ------------------------------------------------------ what the service said

    def answered(self, sent: float) -> None:
        """Note that the service answered the request that was sent at `sent`, with a success or an error."""
        self.successes += 1
        self._pause_lengths = retry_delays()
        self._accepted.append(sent)
        self._forget_old(self._clock())

    def refused(self, sent: float, after: float | None) -> None:
        """Note a 429: all requests wait as long as the service says, and then leave at a lower rate.

        Args:
            sent: when the refused request was sent.
            after: the service's ``Retry-After`` in seconds, if it gave one.
        """
        self._slow_down(sent, after, "the service asks for fewer requests")

    def busy(self, sent: float, after: float | None) -> None:
        """Note a service that is too busy to answer. If that happens often, all requests leave at a lower rate."""
        now = self._clock()
        self._busy_answers.append(now)
        self._forget_old(now)
        if len(self._busy_answers) > max(2, _BUSY_SHARE * (len(self._busy_answers) + len(self._accepted))):
            self._slow_down(sent, after, "the service is busy")

    def _forget_old(self, now: float) -> None:
        for moments in (self._accepted, self._busy_answers):
            while moments and moments[0] < now - 2 * _WINDOW_SECONDS:
                moments.popleft()

    # ------------------------------------------------------ going slower and faster

    def _slow_down(self, sent: float, after: float | None, why: str) -> None:
        """Pause all requests, and lower the rate.

        Example: 100 requests per second are allowed by the user, and the service allows 60. The first refusal lowers
        the rate to 93. Then the service accepts 60 requests of one second and refuses the next one: the rate becomes
        57 (95 % of 60).
        """
        now = self._clock()
        self._forget_old(now)
        if after is not None and after > MAX_WAIT_SECONDS:
            return  # the caller of this request gets an error; other requests get their own answers
        if sent < self._slowed_at:  # it left at the earlier rate, so it says nothing about the present one
            self._pause_until(now + (after or 0.0))
            return
        accepted = self._accepted_in_last_window(now)
        self._refused_rate = self._estimate_refused_rate(now, len(accepted))
        measured = max(_MEASURED_SHARE * self._refused_rate, 1.0)
        self.rate = measured if self.rate is None else max(min(_SLOWDOWN * self.rate, measured), 1.0)
        # The service counts an accepted request for a second. After this moment the requests of the last second,
        # spread over time at the new rate, are no longer too many.
        within_rate_at = (accepted[0] if accepted else now) + len(accepted) / self.rate
        pause = max(within_rate_at - now, next(self._pause_lengths)) if after is None else after
        self._slowed_at = self._raised_at = now
        self._pause_until(max(now + pause, within_rate_at))
        self._full_at = self._paused_until + (self._burst - 1) / self.rate  # no burst after the pause
        wait = self._paused_until - now
        logger.warning("%s: paused for %.1f s, then at most %.3g requests a second", why, wait, self.rate)

    def _accepted_in_last_window(self, now: float) -> list[float]:
        """Return the sending times of one second: the second that ends with the last accepted request."""
        last = self._accepted[-1] if self._accepted else now
        return [moment for moment in self._accepted if moment > last - _WINDOW_SECONDS]

    def _estimate_refused_rate(self, now: float, accepted: int) -> float:
        """Return the rate that was too high for the service.

        The first refusal at a limit that the user gave can come from another way of counting: then that limit is the
        answer. After that, it is the number of requests that the service accepted in a second.
        """
        is_first = self._limit is not None and now - self._slowed_at > _HOLD_SECONDS
        return self.rate if is_first and self.rate else max(accepted, 1.0)

    def _pause_until(self, moment: float) -> None:
        if moment > self._paused_until:
            self._paused_until = moment
            self._pauses_made += 1

    def _raise_rate(self, now: float) -> None:
        """Raise the rate: the longer ago the last refusal is, the faster."""
        quiet = now - max(self._slowed_at, self._paused_until)
        if self.rate is None or self.rate == self._limit or quiet <= 0:
            return
        highest = self._limit or _UNLIMITED_RATE
        if quiet < _HOLD_SECONDS:
            highest = max(min(highest, _HOLD_SHARE * self._refused_rate), self.rate)
        raised = self.rate * (1 + _SPEEDUP_PER_SECOND * quiet * min(now - self._raised_at, _WINDOW_SECONDS))
        self.rate = min(raised, highest)
        self._raised_at = now
        if self.rate == _UNLIMITED_RATE:
            self.rate = None


def retry_delays(first: float = 0.2, cap: float = 8.0) -> Iterator[float]:
    """Yield without end the seconds to wait between attempts: doubled each time up to `cap`, with random jitter."""
    jitter = random.Random()  # the generator of the module is the user's, who may have given it a seed
    delay = first
    while True:
        yield delay * jitter.uniform(0.5, 1.0)
        delay = min(delay * 2, cap)


class RetryPolicy:
    """Decides for one request how often it is repeated, and how long to wait before each repetition.

    When any other request to the app succeeds, the count of attempts starts again: the service is reachable.

    Args:
        bucket: the app's rate limit.
        outage_seconds: for at least so long, keep trying while the service answers no request at all.
        clock: seconds; tests replace it.
    """

    def __init__(
        self, bucket: RateBucket, outage_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bucket = bucket
        self._outage_seconds = outage_seconds
        self._clock = clock
        self._failing_since = clock()
        self._successes = bucket.successes
        self._attempts = self._attempts_in_all = 0
        self._delays = retry_delays()

    async def wait_or_raise(self, error: IMError, after: float | None) -> None:
        """Wait before the next attempt, or raise the error of the last one.

        Args:
            error: why the last attempt failed.
            after: the service's ``Retry-After`` in seconds, if it gave one.
        """
        is_refusal = isinstance(error, RateLimited)
        if self._bucket.successes != self._successes:
            self._successes, self._attempts, self._failing_since = self._bucket.successes, 0, self._clock()
        self._attempts += 1
        self._attempts_in_all += not is_refusal
        is_down = self._attempts >= MAX_ATTEMPTS and self._clock() - self._failing_since >= self._outage_seconds
        if is_down or self._attempts_in_all >= MAX_ATTEMPTS_IN_ALL or (after or 0.0) > MAX_WAIT_SECONDS:
            raise error
        if is_refusal:
            return  # the bucket delays all requests, and this one too
        delay = next(self._delays) if after is None else after
        logger.info("%s · next attempt in %.1f s", error, delay)
        await asyncio.sleep(delay)
