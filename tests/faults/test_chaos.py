"""Two schedules of chaos (`tests/faults/chaos.py`), always the same ones; `make soak` runs new ones."""

from collections import Counter

import pytest

from tests.faults.chaos import run

STEPS = 8


@pytest.mark.slow
@pytest.mark.timeout(300)
# Seed 49: no flipped bits; client and server are killed, the server is stopped. Seed 21: with flipped bits and few
# events kept; all connections are cut, client and server are killed, a client is stopped.
@pytest.mark.parametrize(("seed", "push"), [(49, False), (21, True)])
def test_two_clients_and_a_server_that_are_cut_stopped_killed_and_lied_to(seed: int, push: bool) -> None:
    counts: Counter[str] = Counter()
    problem = run(iter([seed]), counts, push=push, steps=STEPS)
    assert not problem, problem
    assert counts["kill server"]
    assert counts["send"]
