"""The waits between attempts to reconnect."""

import itertools

from imkit.client.timing import reconnect_delays


def test_reconnect_delays_grow_as_those_of_the_official_sdk() -> None:
    delays = list(itertools.islice(reconnect_delays(), 30))
    assert 0 < delays[0] <= 0.5
    assert all(1 <= delay <= 2 for delay in delays[1:5])
    assert all(3 <= delay <= 6 for delay in delays[5:19])
    assert all(5 <= delay <= 10 for delay in delays[19:])
