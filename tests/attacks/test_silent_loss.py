"""Events at full speed: a callback and the live log keep up, and whoever cannot is told what is missing."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import imkit
from benchmarks import flood_server
from imkit.archive.live_log import missed_events
from imkit.archive.storage import storage_at
from imkit.messages import Message, Text
from imkit.portal import portal
from tests.waits import WAIT, eventually

PAGE = 50


@pytest.fixture(scope="module")
def flood() -> Iterator[imkit.App]:
    """A service in another process that sends 20,000 messages as fast as they are taken."""
    command = [sys.executable, str(Path(flood_server.__file__))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        there = f"127.0.0.1:{int(server.stdout.readline())}"
        yield imkit.App(flood_server.APP, rest_url=f"http://{there}", ws_url=f"ws://{there}/{PAGE}")
        server.communicate()


def test_a_plain_callback_keeps_up_with_a_service_at_full_speed(flood: imkit.App) -> None:
    numbers: list[int] = []
    others: list[imkit.Event] = []
    done = threading.Event()

    def note(event: imkit.Event) -> None:
        if isinstance(event, imkit.MessageReceived):
            numbers.append(int((event.message.text or "").partition(" ")[0]))
            if numbers[-1] == flood_server.COUNT - 1:
                done.set()
        elif isinstance(event, imkit.Dropped):
            others.append(event)
            done.set()

    with imkit.login("reader", app=flood, token="token") as session:
        session.on(imkit.Event, note)
        assert done.wait(6 * WAIT)
    assert others == []
    assert numbers == list(range(flood_server.COUNT))


def test_a_plain_callback_keeps_up_with_events_that_come_at_once(bob: imkit.Session) -> None:
    """They come some ten times as fast as from a service: another thread runs only once for each 50 of them."""
    calls: list[imkit.Disconnected] = []
    subscription = bob.on(imkit.Disconnected, calls.append, replay=False)

    async def tell() -> None:
        for _ in range(100_000 // PAGE):
            bob.account.events.add([imkit.Disconnected()] * PAGE)
            await asyncio.to_thread(int)

    portal().call(tell())
    assert eventually(lambda: len(calls) >= 100_000), len(calls)
    subscription.off()
    assert calls == [imkit.Disconnected()] * 100_000


def test_the_live_log_keeps_up_with_events_at_full_speed(bob: imkit.Session, tmp_path: Path) -> None:
    archive = imkit.Archive(tmp_path / "archive")
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    edit = imkit.MessageEdited(Message("1", "alice", "42", noon, Text("tea")), "alice", 1, noon)

    async def tell() -> None:
        for _ in range(30_000 // PAGE):
            bob.account.events.add([edit] * PAGE)
            await asyncio.to_thread(int)

    with archive.watch(bob) as log:
        portal().call(tell())
    assert log.count == 30_000
    assert missed_events(storage_at(archive.path)) == []
    assert len(archive.live()) == 30_000
