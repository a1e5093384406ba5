"""Fixtures for forms without a browser: the test plays the page (`FakePage`); the service is a real sandbox."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import imkit
from imkit.portal import portal


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Evaluate a condition on imkit's event loop, where forms keep their state, until it is true; return its value."""

    async def poll() -> Any:
        async with asyncio.timeout(seconds):
            while not (found := condition()):  # noqa: ASYNC110  # forms have no event for this
                await asyncio.sleep(0.01)
            return found

    return portal().call(poll())


class FakePage:
    """The page's side of a `WidgetPart`: collects what the part sends, and sends messages to it."""

    def __init__(self, part: Any) -> None:
        self.received: list[dict[str, Any]] = []
        self.buffers: list[Any] = []
        self._part = part

        def collect(content: dict[str, Any], buffers: Any = None) -> None:
            self.received.append(content)
            self.buffers.append(buffers)

        part.send = collect

    def send(self, buffers: Any = (), **content: Any) -> None:
        """Send a message to the kernel."""
        self._part._handle_custom_msg(content, list(buffers))

    def last(self, do: str) -> dict[str, Any]:
        """Return the last received message of a kind; an empty one if there is none."""
        return next((content for content in reversed(self.received) if content.get("do") == do), {})


@dataclass
class Tea:
    """A group of Alice and Bob with one thread; `thread` is Alice's and `bobs_thread` is Bob's."""

    alice: imkit.Session
    bob: imkit.Session
    group: imkit.Group
    thread: imkit.Thread
    bobs_thread: imkit.Thread


@pytest.fixture
def tea(alice: imkit.Session, bob: imkit.Session) -> Tea:
    group = alice.create_group("tea", members=[bob.user])
    thread = group.create_thread("Oolong", group.send("Which oolong?"))
    return Tea(alice, bob, group, thread, bob.thread(thread.id).join())


@pytest.fixture
def forms() -> Iterator[list[Any]]:
    """A list for forms; they are closed at the end of the test."""
    opened: list[Any] = []
    yield opened
    for form in opened:
        form.close()
