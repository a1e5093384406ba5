"""A sandbox that has ended: calls say so at once, and what to do; a real service may come back, so there they wait."""

import itertools
import os
import pickle
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.timing import set_timing
from tests.waits import WAIT, eventually


def test_calls_say_at_once_that_a_private_sandbox_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_timing(monkeypatch, delays=lambda: itertools.repeat(0.05))
    with Sandbox(tmp_path / "x.db") as sandbox, imkit.login(new_name(), app=sandbox.app) as session:
        group = session.create_group("tea")
        lost = session.events(imkit.Connected, imkit.Disconnected, replay=False)
        elsewhere = pickle.loads(pickle.dumps(sandbox.app))  # as another process has it, which cannot know
        sandbox.kill()
        with pytest.raises(imkit.ConnectionLost, match=r"Has the sandbox ended\?"):
            imkit.login(new_name(), app=elsewhere)
        calls = (
            lambda: group.send("hello?"),
            group.history,
            lambda: list(session.groups()),
            lambda: imkit.login(new_name(), app=sandbox.app),
        )
        assert isinstance(lost.next(timeout=WAIT), imkit.Disconnected)
        hints = set()
        for call in calls:
            with pytest.raises(imkit.ConnectionLost, match="the sandbox has ended") as caught:
                call()
            assert caught.value.outcome == "not sent"
            hints.add(caught.value.hint)
        told = lost.next(timeout=WAIT)
        assert isinstance(told, imkit.Disconnected)
        assert (told.reason, {told.hint}) == ("the sandbox has ended", hints)
        assert "sandbox.start() starts it again with its data" in told.hint
        assert "connecting (the sandbox has ended)" in session._repr_html_()
        sandbox.start()
        assert lost.next(timeout=WAIT) == imkit.Connected()
        assert repr(session).endswith(", connected>")
        assert session.create_group("tea again").send("hello").id


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is POSIX's")
def test_a_send_that_waits_for_its_answer_does_not_wait_for_a_sandbox_that_crashed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_timing(monkeypatch, restart=0.05)
    with Sandbox() as sandbox, imkit.login(new_name(), app=sandbox.app) as session, ThreadPoolExecutor() as executor:
        group = session.create_group("tea")
        process = sandbox._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        sends = executor.submit(group.send, "hello?")
        assert eventually(lambda: any(each.is_in_flight for each in session.account.connection._outbox._sends.values()))
        process.kill()
        with pytest.raises(imkit.ConnectionLost, match="the sandbox has ended; it is not known") as caught:
            sends.result(WAIT)
        assert caught.value.outcome == "unknown"
        assert "starts an empty one" in caught.value.hint


def test_a_sandbox_that_nobody_holds_is_gone_and_the_hint_says_why() -> None:
    app = Sandbox().app
    with pytest.raises(imkit.ConnectionLost, match="ends with the last reference to its object"):
        imkit.login(new_name(), app=app)
