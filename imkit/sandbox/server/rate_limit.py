"""Token buckets: at most so many events a second, and some at once."""

from __future__ import annotations

import time
from collections.abc import Callable

_REMEMBERED_USERS = 10_000  # a forgotten one begins again with a full bucket


class RateLimit:
    """A token bucket.

    Args:
        per_second: the rate; None for no limit.
        burst: the most events at once; None for those of one second.
        clock: returns the time in seconds; tests pass their own.
    """

    def __init__(
        self, per_second: float | None, burst: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._clock = clock
        self._burst = max(1.0, per_second or 1.0) if burst is None else burst
        self._left = self._burst
        self._at = clock()

    def wait(self) -> float:
        """Return 0 and count an event if it is within the rate; else return the seconds to wait."""
        if self._per_second is None:
            return 0.0
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._per_second

    def give_back(self) -> None:
        """Count one event less: it was none of those that are limited."""
        self._left = min(self._burst, self._left + 1)


class RateLimits:
    """A token bucket for each user; the arguments are those of `RateLimit`."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._by_user: dict[str, RateLimit] = {}

    def of(self, user: str) -> RateLimit:
        """Return the bucket of a user."""
        rate = self._by_user.get(user)
        if rate is None:
            if len(self._by_user) >= _REMEMBERED_USERS:
                self._by_user.clear()
            rate = self._by_user[user] = RateLimit(self._per_second, self._burst)
        return rate
