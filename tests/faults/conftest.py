"""Short timers, and a sandbox behind a proxy that breaks things."""

import itertools
from collections.abc import Iterator

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import protocol as protocol_module
from tests.faults.proxy import Proxy
from tests.timing import set_timing


def quick_delays() -> Iterator[float]:
    """Yield short delays before a reconnect."""
    return itertools.chain([0.01, 0.02, 0.05], itertools.repeat(0.1))


def quick_timers(patch: pytest.MonkeyPatch) -> None:
    """Make all timers of the client short."""
    set_timing(patch, open=2.0, answer=1.0, tick=0.05, delays=quick_delays)
    patch.setattr(protocol_module, "HEARTBEAT_SECONDS", 0.4)
    patch.setattr(protocol_module, "SILENCE_SECONDS", 1.0)
    patch.setattr(protocol_module, "STALL_SECONDS", 0.3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all timers of the client short."""
    quick_timers(monkeypatch)


@pytest.fixture(scope="session")
def file_sandbox(_isolated_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A server with a data file, so that a test can read its messages."""
    with Sandbox(tmp_path_factory.mktemp("faults") / "data.db") as running:
        yield running


@pytest.fixture
def proxy(file_sandbox: Sandbox) -> Iterator[Proxy]:
    """A proxy in front of `file_sandbox`."""
    with Proxy(file_sandbox) as running:
        yield running
