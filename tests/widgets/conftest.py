"""Forms without a browser: the page's side is played by the test, the service is the real sandbox."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import imkit
from imkit.portal import portal


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Look at something on imkit's loop, where a form's state lives, until it is true; return it."""

    async def look() -> Any:
        async with asyncio.timeout(seconds):
            while not (found := condition()):  # noqa: ASYNC110  # a form has no event for what a test looks at
                await asyncio.sleep(0.01)
            return found

    return portal().call(look())


class Page:
    """What the page is told by a part, and what it says."""

    def __init__(self, part: Any) -> None:
        self.told: list[dict[str, Any]] = []
        self.buffers: list[Any] = []
        self._part = part

        def send(content: dict[str, Any], buffers: Any = None) -> None:
            self.told.append(content)
            self.buffers.append(buffers)

        part.send = send

    def say(self, buffers: Any = (), **content: Any) -> None:
        self._part._handle_custom_msg(content, list(buffers))

    def last(self, do: str) -> dict[str, Any]:
        return next((content for content in reversed(self.told) if content.get("do") == do), {})


@dataclass
class Tea:
    """A group with a thread, and two people in it."""

    alice: imkit.Session
    bob: imkit.Session
    group: imkit.Group
    thread: imkit.Thread
    at_bob: imkit.Thread


@pytest.fixture
def tea(alice: imkit.Session, bob: imkit.Session) -> Tea:
    group = alice.create_group("tea", members=[bob.user])
    thread = group.create_thread("Oolong", group.send("Which oolong?"))
    return Tea(alice, bob, group, thread, bob.thread(thread.id).join())


@pytest.fixture
def forms() -> Iterator[list[Any]]:
    """Forms to close at the end."""
    opened: list[Any] = []
    yield opened
    for form in opened:
        form.close()
