"""Fixtures for all tests: a private imkit home, an environment without an app, a sandbox, users, a thread."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.sandbox.state import read_state
from imkit.tracebacks import whole_traceback
from tests.people import new_name
from tests.waits import WAIT, eventually

# A test must not reach a server on 127.0.0.1 through the machine's proxy.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")
_BROWSER_TESTS = "tests/browser/"


# A property says nothing about time, and beside other work each example may take long.
settings.register_profile("imkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("imkit")


def pytest_configure() -> None:
    """Make SIGINT, which the stop button sends, raise KeyboardInterrupt, as in a terminal.

    A process that a shell starts in the background ignores SIGINT, and so do the processes that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Let one test process run all tests of a file, and one all tests with JupyterLab, so one JupyterLab is enough."""
    return _Scheduling(config, log)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    # Not the marker xdist_group: pytest 9.2 does not let xdist 3.8 write the group into the test's id.
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _BROWSER_TESTS if file.startswith(_BROWSER_TESTS) else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests with JupyterLab begin first: they take longer than those of any other file."""
    items.sort(key=lambda item: not item.nodeid.startswith(_BROWSER_TESTS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the whole traceback to the report of a test that an error of imkit ended."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, imkit.IMError) and report.failed:
        report.sections.append(("The whole traceback", "\n".join(whole_traceback(call.excinfo.value))))
    return report


def _isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in list(os.environ):
        if name.startswith("IMKIT_") or name.lower() in PROXIES:
            patch.delenv(name)
    patch.setenv("IMKIT_HOME", str(home))


def end_shared_sandbox(home: Path) -> None:
    """End the server that a `login` without an app has started for `home`; otherwise it ends after half an hour."""
    state = read_state(home / "sandbox.json")
    if state is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Fixtures that live longer than a test (servers, JupyterLab) are made before the fixture below runs.
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("imkit-home-of-session")
        _isolate(patch, home)
        yield
        end_shared_sandbox(home)


@pytest.fixture(autouse=True)
def imkit_home(_isolated_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where imkit keeps its files during this test; the user's own configuration has no effect."""
    home = tmp_path / "imkit-home"
    _isolate(monkeypatch, home)
    # imkit looks for a `.env` file in the working folder and in the folders above.
    monkeypatch.chdir(tmp_path)
    yield home
    end_shared_sandbox(home)


@pytest.fixture(scope="module", autouse=True)
def _no_session_is_left(_isolated_session: None) -> Iterator[None]:
    """Fail if a session outlives the tests of its file: it would log, and answer, during those of other files."""
    yield

    def connections() -> list[str]:
        names = portal().run(lambda: [task.get_name() for task in asyncio.all_tasks()])
        return [name for name in names if name.startswith("imkit connection of")]

    assert eventually(lambda: not connections()), connections()


@pytest.fixture(scope="session")
def sandbox(_isolated_session: None) -> Iterator[Sandbox]:
    """One private server for the whole run. Each test makes its own users and groups in it."""
    with Sandbox(open_registration=True) as running:
        yield running


@pytest.fixture
def alice(sandbox: Sandbox) -> Iterator[imkit.Session]:
    """The session of a new user."""
    with imkit.login(new_name("alice"), app=sandbox.app) as session:
        yield session


@pytest.fixture
def bob(sandbox: Sandbox) -> Iterator[imkit.Session]:
    """The session of a second new user."""
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
