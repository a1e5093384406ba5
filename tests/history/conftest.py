"""What the tests of histories share."""

from collections.abc import Iterator

import pytest

from imkit.sandbox.process import Sandbox
from tests.history.recorded_thread import RecordedThread


@pytest.fixture(scope="module")
def recorded(sandbox: Sandbox) -> Iterator[RecordedThread]:
    recorded = RecordedThread(sandbox)
    yield recorded
    recorded.alice.close()
    recorded.bob.close()
