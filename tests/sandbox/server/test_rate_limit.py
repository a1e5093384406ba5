"""The token bucket: so many events a second, and some at once."""

import pytest

from imkit.sandbox.server.rate_limit import RateLimit


def test_the_rate_limit_allows_the_requests_of_one_second_at_once() -> None:
    now = [0.0]
    limit = RateLimit(4, clock=lambda: now[0])
    assert [limit.wait() > 0 for _ in range(6)] == [False] * 4 + [True] * 2
    now[0] += 0.25
    assert limit.wait() == 0
    assert limit.wait() == pytest.approx(0.25)
    now[0] += 100
    assert [limit.wait() > 0 for _ in range(5)] == [False] * 4 + [True]
