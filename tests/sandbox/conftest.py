"""A group with a thread and three users, in the sandbox of the whole run."""

from collections.abc import Iterator

import pytest

from imkit.sandbox.process import Sandbox
from tests.sandbox.server.raw_client import Api, TeaGroup, close_everything


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_everything()


@pytest.fixture
def tea(sandbox: Sandbox) -> TeaGroup:
    """A new group with a thread; see `TeaGroup`."""
    return TeaGroup(sandbox)


@pytest.fixture
def nobody(sandbox: Sandbox) -> Api:
    """REST calls without a token."""
    return Api(sandbox)
