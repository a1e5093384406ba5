"""Events at full speed: a callback and the live log keep up, and whoever cannot is told what is missing."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import imkit
from benchmarks import flood_server
from tests.waits import WAIT

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
