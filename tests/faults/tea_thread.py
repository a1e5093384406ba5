"""A thread with two users, one of them behind a proxy, and the messages that the server has stored."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator

import imkit
from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.faults.proxy import Proxy
from tests.people import new_name

WAIT = 30.0


class TeaThread:
    """Sessions of Alice and Bob in a thread of Alice's group. Alice connects through the proxy, Bob does not."""

    def __init__(self, sandbox: Sandbox, proxy: Proxy) -> None:
        self.sandbox = sandbox
        self.proxy = proxy
        self.alice = imkit.login(new_name("alice"), app=proxy.app)
        self.bob = imkit.login(new_name("bob"), app=sandbox.app)
        self.group = self.alice.create_group("tea", members=[self.bob.user])
        self.thread = self.new_thread("Oolong")

    def new_thread(self, name: str) -> imkit.Thread:
        thread = self.group.create_thread(name, self.group.send(f"Which {name}?"))
        self.bob.thread(thread.id).join()
        return thread

    @property
    def theirs(self) -> imkit.Thread:
        """The thread in Bob's session."""
        return self.bob.thread(self.thread.id)

    def table(self, thread: imkit.Thread | None = None) -> list[tuple[str, str]]:
        """Return the messages of the thread (by default the first) from the server's file: ids and texts, in order."""
        rows = "SELECT id, meta FROM messages WHERE conversation = ? ORDER BY id"
        with contextlib.closing(sqlite3.connect(f"file:{self.sandbox._path}?mode=ro", uri=True)) as database:
            found = database.execute(rows, ((thread or self.thread).id,)).fetchall()
        bodies = [schema.MessageBody.FromString(schema.Meta.FromString(meta).payload) for _, meta in found]
        return [(str(message), body.contents[0].text) for (message, _), body in zip(found, bodies, strict=True)]

    def close(self) -> None:
        for session in (self.alice, self.bob):
            session.close()


@contextlib.contextmanager
def tea_thread_at(sandbox: Sandbox, proxy: Proxy) -> Iterator[TeaThread]:
    tea = TeaThread(sandbox, proxy)
    try:
        yield tea
    finally:
        proxy.calm()
        tea.close()


async def until(happened: threading.Event) -> None:
    """Wait in a coroutine for a `threading.Event`."""
    assert await asyncio.to_thread(happened.wait, WAIT)


def received(session: imkit.Session, thread: imkit.Thread, count: int) -> list[str]:
    """Wait until a session has received `count` messages of a thread; return their ids."""
    found: list[str] = []
    heard = session.events(imkit.MessageReceived)
    while len(found) < count:
        event = heard.next(timeout=WAIT)
        assert isinstance(event, imkit.MessageReceived)
        if event.message.to == thread.id:
            found.append(event.message.id)
    return found


async def outcomes(*sends: asyncio.Task[imkit.Message]) -> AsyncIterator[str]:
    """Yield the outcome of each send: the message's id, "unknown" or "not sent"."""
    for send in sends:
        try:
            yield (await send).id
        except imkit.ConnectionLost as error:
            yield error.outcome
