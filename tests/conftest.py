"""What every test stands on: an imkit home of its own, no app in the environment, and a private sandbox on request."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from imkit.sandbox.state import read_state
from tests.people import new_name
from tests.waits import WAIT

# A proxy of the machine must not stand between a test and a server on 127.0.0.1.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")


def pytest_configure() -> None:
    """Have SIGINT, which the stop button sends, as it is in a terminal.

    Who is started in the background by a shell ignores it, and so do all that they start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With two test processes, keep a file in one of them, and all that drives a browser: one JupyterLab is enough."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            is_browser = item.get_closest_marker("browser") is not None
            item.add_marker(pytest.mark.xdist_group("browser" if is_browser else item.path.name))


def _isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in list(os.environ):
        if name.startswith("IMKIT_") or name.lower() in PROXIES:
            patch.delenv(name)
    patch.setenv("IMKIT_HOME", str(home))


def end_shared_sandbox(home: Path) -> None:
    """End the server that a `login` without an app has started for `home`: by itself it would wait half an hour."""
    state = read_state(home / "sandbox.json")
    if state is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Fixtures that outlive a test (servers, JupyterLab) are built before the fixture below runs.
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("imkit-home-of-session")
        _isolate(patch, home)
        yield
        end_shared_sandbox(home)


@pytest.fixture(autouse=True)
def imkit_home(_isolated_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where imkit keeps its files during this test; what the reader has configured is out of sight."""
    home = tmp_path / "imkit-home"
    _isolate(monkeypatch, home)
    # A `.env` file counts as configuration, and imkit looks for one from the working folder upwards.
    monkeypatch.chdir(tmp_path)
    yield home
    end_shared_sandbox(home)


@pytest.fixture(scope="session")
def sandbox(_isolated_session: None) -> Iterator[Sandbox]:
    """A private server for the whole run. Tests make users and groups of their own in it."""
    with Sandbox(open_registration=True) as running:
        yield running


@pytest.fixture
def alice(sandbox: Sandbox) -> Iterator[imkit.Session]:
    """Somebody new, logged in."""
    with imkit.login(new_name("alice"), app=sandbox.app) as session:
        yield session


@pytest.fixture
def bob(sandbox: Sandbox) -> Iterator[imkit.Session]:
    """Somebody else, likewise."""
    with imkit.login(new_name("bob"), app=sandbox.app) as session:
        yield session


@pytest.fixture
def thread(alice: imkit.Session, bob: imkit.Session) -> imkit.Thread:
    """A thread of Alice's that Bob has joined."""
    group = alice.create_group("tea", members=[bob.user])
    made = group.create_thread("Oolong", group.send("Which oolong?"))
    bob.thread(made.id).join()
    # On a busy machine it may arrive late: a stream that a test opens with replay=False must not get it.
    first = bob.events(imkit.MessageReceived).next(timeout=WAIT)
    assert isinstance(first, imkit.MessageReceived)
    assert first.message.text == "Which oolong?"
    return made
