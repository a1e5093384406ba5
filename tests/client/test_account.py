"""What an account learns from events, and its background tasks."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import imkit
from imkit.client.account import BackgroundTasks, KnownConversations
from imkit.portal import portal
from imkit.sandbox.process import Sandbox

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_events_fill_what_is_known_of_a_thread() -> None:
    known = KnownConversations()
    ref = imkit.ThreadRef("42", "Oolong", "7", "99")
    known.learn([imkit.MessageReceived(imkit.Message("1", "alice", "42", NOON, imkit.Text("x"), ref))])
    facts = known.threads["42"]
    assert (facts.name, facts.group_id, facts.parent_id, facts.owner) == ("Oolong", "7", "99", None)
    known.learn([imkit.ThreadChanged("update", "42", "Puer", "7", "alice")])
    assert (facts.name, facts.parent_id) == ("Puer", "99")  # what is not told stays as it was
    known.learn([imkit.ThreadChanged("update", "42", "", "", "alice", created=NOON), imkit.Connected()])
    assert (facts.name, facts.group_id, facts.created) == ("Puer", "7", NOON)
    known.learn([imkit.ThreadChanged("destroy", "42", "Puer", "7", "alice")])
    assert "42" not in known.threads


def test_background_tasks_end_with_the_account() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def main() -> None:
        background = BackgroundTasks()
        background.start(work("first token"), "token")
        background.start(work("callback"), "callback", reads_events=True)
        await asyncio.sleep(0)
        background.start(work("second token"), "token", replace=True)
        await asyncio.sleep(0)
        assert ended == ["first token"]
        await background.end(0.01)
        await asyncio.sleep(0)
        assert sorted(ended) == ["callback", "first token", "second token"]

    portal().call(main())


def test_a_script_that_closes_nothing_ends_at_once_and_quietly(sandbox: Sandbox) -> None:
    code = f"""if True:
        import imkit, threading
        from imkit.sandbox.process import SandboxAddress
        app = SandboxAddress({sandbox.app_key!r}, {sandbox.rest_url!r}, {sandbox.ws_url!r}, {sandbox.secret!r}).app
        alice = imkit.login("left-open", app=app)
        group = alice.create_group("tea")
        began, blocked = threading.Event(), threading.Event()
        def block(event):
            began.set()
            blocked.wait()
        alice.on(imkit.Connected, block)
        events = alice.events(imkit.Connected)
        print(events.next(timeout=10), next(iter(group.members())))
        began.wait(10)
    """
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("Connected() left-open\n", "", 0)
