"""A client process of the chaos suite: one user who does everything at once, and writes down each step.

`tests/faults/chaos.py` starts it. Its settings are the first line of its standard input, as JSON; the lines "end" and
"hear ID …" follow. Each line of its standard output is one note, as JSON: what it began, what came of it, what it
received. A note about received events is written before imkit acknowledges them to the service. So what a killed
process has written is all that it has taken from the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import itertools
import json
import logging
import os
import queue
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import pytest

import imkit
from imkit.archive import Archive
from imkit.client import event_store, rest
from imkit.events import Dropped, Event, LoggedOut, MessageEdited, MessageRecalled, MessageReceived
from imkit.sandbox.process import SandboxAddress
from tests.faults.conftest import quick_timers

R = TypeVar("R")
REST_SECONDS = 3.0  # for the next bytes of an answer: the longest stop of the server is shorter
CATCH_UP = 60.0
_lock = threading.Lock()
_heard: set[str] = set()  # the ids of all messages that any session of this process has received


def say(**note: Any) -> None:
    """Write a note, whole and at once."""
    with _lock:
        line = json.dumps({**note, "at": time.monotonic()}).encode() + b"\n"
        while line:
            line = line[os.write(1, line) :]


def said_of(event: Event) -> dict[str, Any]:
    match event:
        case MessageReceived(message):
            return {"kind": "message", "id": message.id, "to": message.to, "by": message.sender, "text": message.text}
        case MessageEdited():
            message = event.message
            return {"kind": "edit", "id": message.id, "to": message.to, "text": message.text}
        case MessageRecalled():
            return {"kind": "recall", "id": event.message_id, "to": event.to}
        case LoggedOut(reason):
            return {"kind": "logged out", "reason": reason}
    return {"kind": type(event).__name__}


def note_events_before_they_are_acknowledged(patch: pytest.MonkeyPatch, kept: int) -> None:
    """Note each event that a session stores; a store keeps so many of them."""
    numbers = itertools.count(1)
    add, init = event_store.EventStore.add, event_store.EventStore.__init__

    def numbered(store: Any, *_: Any) -> None:
        init(store, kept)
        store.number = next(numbers)

    def noted(store: Any, events: Any, *more: Any) -> None:
        add(store, events, *more)
        for event in events:
            say(session=store.number, **said_of(event))
            if isinstance(event, MessageReceived):
                _heard.add(event.message.id)

    patch.setattr(event_store.EventStore, "__init__", numbered)
    patch.setattr(event_store.EventStore, "add", noted)


def rows_of(frame: Any) -> list[tuple[str, str]]:
    return list(zip(frame["message_id"].astype(str), frame["text"].fillna(""), strict=True))


class Client:
    """The user, with one session after the other."""

    def __init__(self, settings: dict[str, Any], orders: queue.SimpleQueue[str]) -> None:
        self.settings = settings
        self.orders = orders
        self.user: str = settings["user"]
        self.life: int = settings["life"]
        self.rng = random.Random(f"{settings['seed']}:{self.user}:{self.life}")
        self.app = SandboxAddress(*(settings[name] for name in ("app_key", "rest_url", "ws_url", "secret"))).app
        self.archive = Archive(settings["archive"])
        self.conversations: list[str] = settings["conversations"]
        self.numbers = itertools.count(1)
        self.mine: list[tuple[str, str]] = []  # sent and acknowledged: conversation and id
        self.over = asyncio.Event()  # the play is over
        self.relogin = asyncio.Lock()
        self.tasks: set[asyncio.Task[None]] = set()
        self.session: imkit.Session
        self.log: Any = None

    # ------------------------------------------------------------ sessions

    async def log_in(self) -> None:
        """Log in, as often as it takes."""
        async with self.relogin:
            while not hasattr(self, "session") or self.session.account.connection.state == "closed":
                failed, session = await self.attempt("login", self.login)
                if not failed and session is not None:
                    self.session = session
                    self.listen(session)
                    await asyncio.to_thread(self.watch, session)

    def login(self) -> Awaitable[imkit.Session]:
        return imkit.login.aio(self.user, app=self.app, resource="phone")

    def watch(self, session: imkit.Session) -> None:
        self.log = self.archive.watch(session)
        say(watches=session.account.events.number)  # type: ignore[attr-defined]  # `numbered` sets it

    def listen(self, session: imkit.Session) -> None:
        for pause in (0.0, 0.02):
            task = asyncio.create_task(self.consume(session, pause))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def consume(self, session: imkit.Session, pause: float) -> None:
        """Take the events of a session at some speed, to its end; then note how many came, and how many were missed."""
        taken = missed = 0
        try:
            async for event in session.events():
                if isinstance(event, Dropped):
                    missed += event.count
                else:
                    taken += 1
                if pause and not self.over.is_set():
                    await asyncio.sleep(pause)
        except Exception:
            say(raw=traceback.format_exc(), do="consume")
        say(consumed=session.account.events.number, taken=taken, missed=missed)  # type: ignore[attr-defined]  # `numbered`

    # --------------------------------------------------------------- steps

    async def attempt(
        self, do: str, work: Callable[[], Awaitable[R]], *, seconds: float | None = None, **what: Any
    ) -> tuple[bool, R | None]:
        """Do one thing and note its outcome; return whether it failed, and its result."""
        number = next(self.numbers)
        say(n=number, do=do, began=time.time(), **what)
        try:
            async with asyncio.timeout(seconds):
                result = await work()
        except imkit.IMError as error:
            outcome = getattr(error, "outcome", None)
            say(n=number, error=type(error).__name__, outcome=outcome, status=error.status, text=str(error))
            if isinstance(error, imkit.SessionClosed) and do != "login":
                await self.log_in()
            return True, None
        except TimeoutError:
            if seconds is None:
                say(n=number, raw=traceback.format_exc(), do=do)
            else:
                say(n=number, abandoned=True)
            return True, None
        except Exception:
            say(n=number, raw=traceback.format_exc(), do=do)
            return True, None
        say(n=number, done=getattr(result, "id", None))
        return False, result

    def place(self, conversation: str) -> Any:
        is_group = conversation == self.settings["group"]
        return self.session.group(conversation) if is_group else self.session.thread(conversation)

    async def send(self, conversation: str, text: str, seconds: float | None = None) -> str | None:
        failed, message = await self.attempt(
            "send", lambda: self.place(conversation).send.aio(text), seconds=seconds, to=conversation, said=text
        )
        if failed or message is None:
            return None
        self.mine.append((conversation, message.id))
        return str(message.id)

    def new_text(self) -> str:
        return f"{self.user}.{self.life}.{next(self.numbers)}" + " 茶" * self.rng.choice([0, 0, 1, 20])

    async def play(self) -> None:
        """Send, recall, edit and acknowledge, step after step."""
        steps = {"send": 40, "burst": 14, "ditto": 6, "abandon": 5, "recall": 10, "edit": 10, "receipt": 10}
        if self.settings["flips"]:
            del steps["ditto"]  # with equal texts the judge could not tell which of them was changed
        for _ in range(self.settings["steps"]):
            conversation = self.rng.choice(self.conversations)
            match self.rng.choices(list(steps), list(steps.values()))[0]:
                case "send":
                    await self.send(conversation, self.new_text())
                case "burst":
                    async with asyncio.TaskGroup() as burst:
                        for _ in range(self.rng.randint(2, 10)):
                            burst.create_task(self.send(self.rng.choice(self.conversations), self.new_text()))
                case "ditto":
                    async with asyncio.TaskGroup() as burst:
                        for _ in range(self.rng.randint(2, 4)):
                            burst.create_task(self.send(conversation, f"ditto of {self.user}"))
                case "abandon":
                    await self.send(conversation, self.new_text(), seconds=self.rng.random() * 0.05)
                case "recall" if self.mine:
                    place, message = self.mine.pop(self.rng.randrange(len(self.mine)))
                    await self.attempt("recall", partial(self.place(place).recall.aio, message), id=message)
                case "edit" if self.mine:
                    place, message = self.rng.choice(self.mine)
                    text = self.new_text()
                    work = partial(self.place(place).edit.aio, message, text)
                    await self.attempt("edit", work, id=message, said=text)
                case "receipt":
                    await self.acknowledge()

    async def acknowledge(self) -> None:
        heard = [
            event.message
            for event in self.session.account.events.events_from(0)
            if isinstance(event, MessageReceived) and event.message.to in self.conversations and event.message.id
        ]
        if heard:
            message = self.rng.choice(heard)
            work = partial(self.place(message.to).acknowledge.aio, message)
            await self.attempt("receipt", work, id=message.id)

    async def read(self) -> None:
        """Load histories, and go on with those that were stopped."""
        while not self.over.is_set():
            conversation = self.rng.choice(self.conversations)
            began = time.time()
            first = time.monotonic()
            resume = None
            for _ in range(4):
                load = partial(self.place(conversation).history.aio, progress=False, resume=resume)
                seconds = self.rng.random() * 0.2 if self.rng.random() < 0.2 else None
                failed, frame = await self.attempt("history", load, seconds=seconds)
                if not failed and frame is not None:
                    complete = frame.attrs["imkit"]["complete"]
                    # The range of a resumed frame ends where its first call began.
                    say(frame=conversation, rows=rows_of(frame), began=began, first=first, complete=complete)
                    break
                resume = self.session.stopped
                if resume is None or resume.attrs["imkit"]["thread_ids"] != [conversation]:
                    break  # an earlier history was stopped, and not this one
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 0.1)

    async def keep(self) -> None:
        """Bring the archive up to date, again and again, and read it meanwhile."""
        while not self.over.is_set():
            await self.attempt("sync", self.sync)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 0.1)

    def sync(self) -> Awaitable[Any]:
        return self.archive.sync.aio(self.session, self.session.group(self.settings["group"]))

    async def look(self) -> None:
        """Read the archive while it is being written."""
        while not self.over.is_set():
            await self.attempt("look", lambda: asyncio.to_thread(self.archive.frame))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 0.2)

    # ------------------------------------------------------------- the end

    async def run(self) -> None:
        await self.log_in()
        others = [asyncio.create_task(work) for work in (self.read(), self.keep(), self.look())]
        await self.play()
        say(played=True)
        assert await asyncio.to_thread(self.orders.get) == "end"
        self.over.set()
        for task in others:
            await task
        await self.last_words()
        words = (await asyncio.to_thread(self.orders.get)).split()
        assert words.pop(0) == "hear"
        await self.hear(words)
        await self.compare()
        await self.session.close.aio()
        for task in list(self.tasks):
            await task
        say(over=True)

    async def last_words(self) -> None:
        """Send a last message to each conversation; whoever has it has all messages before it."""
        await self.log_in()  # if the session is over
        words: list[str] = []
        for conversation in self.conversations:
            while (sent := await self.send(conversation, f"the end, {self.user}.{next(self.numbers)}")) is None:
                pass
            words.append(sent)
        say(last=words)

    async def hear(self, ids: list[str]) -> None:
        coming = self.session.events(MessageReceived, replay=False)
        while missing := set(ids) - _heard:  # not asked of the session: it may keep few events
            try:
                await coming.next.aio(CATCH_UP)
            except imkit.IMError as error:
                say(unheard=sorted(missing), text=str(error), state=repr(self.session))
                return

    async def compare(self) -> None:
        """Note what this user can read in the end, with a network that works: the judge compares it with the server."""
        for conversation in self.conversations:
            frame = await self.place(conversation).history.aio(progress=False)
            listed = [(message.id, message.text or "") async for message in self.place(conversation).messages()]
            say(history=conversation, rows=rows_of(frame), listed=listed, complete=frame.attrs["imkit"]["complete"])
        report = await self.sync()
        say(report=report.reasons, added=report.rows_added)
        for conversation in self.conversations:
            frame = await asyncio.to_thread(self.archive.frame, thread=conversation)
            say(archived=conversation, rows=rows_of(frame), complete=frame.attrs["imkit"]["complete"])
        checked = await asyncio.to_thread(self.archive.verify)
        say(verified=checked.ok, problems=[f"{one.where}: {one.what}" for one in checked.problems])
        live = await asyncio.to_thread(self.archive.live)
        logged = list(zip(live["event"], live["message_id"], strict=True))
        say(live=logged)


def take_orders(orders: queue.SimpleQueue[str]) -> None:
    """Pass the lines of the standard input on; its end is the end of the test, and of this process."""
    for line in sys.stdin:
        orders.put(line.strip())
    os._exit(3)


def main() -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.basicConfig(level=logging.WARNING)
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=take_orders, args=(orders,), daemon=True).start()
    settings = json.loads(orders.get())
    patch = pytest.MonkeyPatch()
    quick_timers(patch)
    # A wait for an answer that was cut must be shorter than the schedule.
    patch.setattr(rest.Rest.__init__, "__defaults__", (None, REST_SECONDS))
    note_events_before_they_are_acknowledged(patch, settings["kept"])
    asyncio.run(Client(settings, orders).run())


if __name__ == "__main__":
    main()
