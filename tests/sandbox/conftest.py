"""A group with a thread and three people in the run's sandbox."""

from collections.abc import Iterator

import pytest

from imkit.sandbox.process import Sandbox
from tests.sandbox.server.raw_client import TeaGroup, close_everything


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_everything()


@pytest.fixture
def tea(sandbox: Sandbox) -> TeaGroup:
    """Alice owns the group and the thread, Bob is in both, Carol in the group alone."""
    return TeaGroup(sandbox)
