"""Fixtures for forms without a browser: the test plays the page (`FakePage`); the service is a real sandbox."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.stand_ins import Answer, Asked, http_stand_in, token_of
from tests.waits import WAIT


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


@dataclass
class Held:
    """The next answer whose path ends with `path`: the sandbox has given it, and it waits until `release`."""

    path: str
    come: threading.Event = field(default_factory=threading.Event)
    is_released: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Wait until the sandbox has given the answer."""
        assert self.come.wait(WAIT), self.path

    def release(self) -> None:
        """Let the answer reach the client."""
        self.is_released.set()


class RestGate:
    """A server between Bob and the sandbox: it holds or refuses the REST answers that a test names.

    Attributes:
        bob: Bob's session through the gate, on another device than `Tea.bob`. Its socket has no gate.
    """

    bob: imkit.Session

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._held: list[Held] = []
        self._refused: set[str] = set()

    def hold(self, path: str) -> Held:
        """Hold the next answer to a request whose path ends with `path`."""
        held = Held(path)
        self._held.append(held)
        return held

    def refuse(self, path: str) -> None:
        """Refuse each request whose path ends with `path`, until `accept` is called."""
        self._refused.add(path)

    def accept(self, path: str) -> None:
        """Refuse these requests no more."""
        self._refused.remove(path)

    def release_all(self) -> None:
        """Let all held answers pass."""
        for held in self._held:
            held.release()

    def answer(self, asked: Asked) -> Answer:
        """Answer a request; called in a thread of its connection."""
        if asked.path.endswith(tuple(self._refused)):
            return Answer(403, {"error": "forbidden_op", "error_description": "closed for today"})
        held = next((held for held in self._held if not held.come.is_set() and asked.path.endswith(held.path)), None)
        answer = self._pass_on(asked)
        if held is not None:
            held.come.set()
            held.is_released.wait(WAIT)
        return answer

    def _pass_on(self, asked: Asked) -> Answer:
        headers = {name: asked.headers[name] for name in ("authorization", "content-type") if name in asked.headers}
        request = Request(self._sandbox.rest_url + asked.target, asked.body or None, headers, method=asked.method)
        try:
            with urlopen(request, timeout=WAIT) as answer:
                return Answer(answer.status, answer.read())
        except HTTPError as refusal:
            return Answer(refusal.code, refusal.read())


@pytest.fixture
def gate(sandbox: Sandbox, tea: Tea) -> Iterator[RestGate]:
    gate = RestGate(sandbox)
    with http_stand_in(gate.answer) as server:
        app = imkit.App(sandbox.app_key, rest_url=server.url, ws_url=sandbox.ws_url)
        user = tea.bob.user
        with imkit.login(user, app=app, token=token_of(sandbox, user), resource="gate") as gate.bob:
            yield gate
            gate.release_all()
