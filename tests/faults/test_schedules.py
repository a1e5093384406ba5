"""Random schedules: ten users write in five threads, through a proxy that breaks frames, on a server that is killed.

Then the faults stop and all sessions catch up. The events of each session, the outcome of each call and the history
are compared with the messages in the server's file.

A failure names its seed: `IMKIT_SEED=… IMKIT_SCHEDULES=1 python -m pytest tests/faults/test_schedules.py` runs that
schedule alone. The seed decides the steps and the faults, but not their timing against each other.
"""

import asyncio
import contextlib
import itertools
import os
import random
import sqlite3
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.events import MessageRecalled, MessageReceived
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.faults.conftest import quick_timers
from tests.faults.proxy import Chaos, Proxy

FIRST_SEED = int(os.environ.get("IMKIT_SEED", "1"))
FIGURES = os.environ.get("IMKIT_FIGURES")
SCHEDULES = int(os.environ.get("IMKIT_SCHEDULES", "8"))
USERS, THREADS, STEPS = 10, 5, 10
SCHEDULES_PER_SERVER = 10
CATCH_UP = 60.0


@dataclass
class Said:
    """One send and its outcome."""

    thread: int
    user: int
    text: str
    began: int
    verdict: str = "open"  # sent | unknown | not sent | refused
    id: str = ""
    recall: str = ""  # done | unknown | refused


@dataclass
class Device:
    """A user's device with its sessions, one after the other."""

    user: int
    resource: str
    session: imkit.Session
    earlier: list[imkit.Session] = field(default_factory=list)

    def heard(self) -> list[list[imkit.Event | Any]]:
        return [session.account.events.events_from(0) for session in (*self.earlier, self.session)]


class Schedule:
    """One schedule, made from a seed."""

    def __init__(self, seed: int, sandbox: Sandbox, proxy: Proxy, counts: Counter[str]) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.sandbox = sandbox
        self.proxy = proxy
        self.counts = counts
        self.names = [f"u{number}-{seed}" for number in range(USERS)]
        self.devices: list[Device] = []
        self.threads: list[str] = []
        self.said: list[Said] = []
        self.clock = 0  # counts the steps of all users, to order them
        # For each thread: the step since which a user certainly is a member. A user who may have left is removed.
        self.members: list[dict[int, int]] = [{} for _ in range(THREADS)]
        self.unsure: set[tuple[int, int]] = set()
        self.kill = asyncio.Event()

    def now(self) -> int:
        self.clock += 1
        return self.clock

    # -------------------------------------------------------- the run

    async def login(self, user: int, resource: str) -> imkit.Session:
        while True:
            try:
                return await imkit.login.aio(self.names[user], app=self.proxy.app, resource=resource)
            except (imkit.ConnectionLost, imkit.TimedOut, imkit.ServiceBusy):
                self.counts["logins that failed"] += 1

    async def run(self) -> None:
        try:
            await self.begin()
            rng = random.Random(f"{self.seed}:faults")
            self.proxy.watch = self.planned(rng)
            self.proxy.chaos(
                Chaos(
                    self.seed, drop=0.01, twice=0.02, hold=0.02, cut=0.006, cut_behind=0.006, freeze=0.002, split=0.1,
                    rest_cut=0.01,
                )
            )  # fmt: skip
            killer = asyncio.create_task(self.killing())
            async with asyncio.TaskGroup() as play:
                for device in self.devices:
                    play.create_task(self.act(device, random.Random(f"{self.seed}:{device.resource}")))
            self.proxy.watch = lambda kind, user: None
            await asyncio.to_thread(self.proxy.calm)
            killer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killer
            await asyncio.to_thread(self.sandbox.start)
            await self.catch_up()
            await self.compare()
        finally:
            self.proxy.watch = lambda kind, user: None
            await asyncio.to_thread(self.proxy.calm)
            for device in self.devices:
                await device.session.close.aio()

    def planned(self, rng: random.Random) -> Callable[[str, str], None]:
        """Cut all connections, or kill the server, at frame numbers that are drawn before the run."""
        frames = 0
        at: dict[int, str] = {rng.randint(100, 1200): "cut" for _ in range(rng.randint(0, 2))}
        if rng.random() < 0.3:
            at[rng.randint(100, 1000)] = "kill"
        loop = asyncio.get_running_loop()

        def watch(kind: str, user: str) -> None:
            nonlocal frames
            frames += 1
            match at.pop(frames, ""):
                case "cut":
                    self.counts["cuts of everybody"] += 1
                    for link in list(self.proxy._links):
                        link.cut()
                case "kill":
                    loop.call_soon_threadsafe(self.kill.set)

        return watch

    async def killing(self) -> None:
        await self.kill.wait()
        self.counts["kills"] += 1
        work = asyncio.to_thread(self.kill_and_start)
        await asyncio.shield(asyncio.create_task(work))

    def kill_and_start(self) -> None:
        self.sandbox.kill()
        self.sandbox.start()

    async def begin(self) -> None:
        for user in range(USERS):
            for resource in ("phone", "laptop") if user < 2 else ("phone",):
                name = f"{resource}-{user}"
                self.devices.append(Device(user, name, await self.login(user, name)))
        first = self.devices[0].session
        group = await first.create_group.aio("tea", self.names[1:])
        self.group = group.id
        for number in range(THREADS):
            thread = await group.create_thread.aio(f"thread {number}", await group.send.aio(f"parent {number}"))
            self.threads.append(thread.id)
            self.members[number][0] = self.now()
            for device in self.devices:
                joins = device.user == 1 or (device.user and self.rng.random() < 0.5)
                if joins and device.resource.startswith("phone"):
                    await device.session.thread(thread.id).join.aio()
                    self.members[number][device.user] = self.now()

    async def act(self, device: Device, rng: random.Random) -> None:
        for _ in range(STEPS):
            number = rng.randrange(THREADS)
            step = rng.choices(
                ["send", "burst", "ditto", "recall", "join", "leave", "again", "cut", "freeze"],
                [40, 12, 8, 14, 6, 5, 1, 4, 1],
            )[0]
            self.counts["steps"] += 1
            match step:
                case "send":
                    await self.send(device, number, f"{device.resource}/{self.now()}")
                case "burst":
                    texts = [f"{device.resource}/{self.now()}" for _ in range(rng.randint(2, 12))]
                    async with asyncio.TaskGroup() as burst:
                        for text in texts:
                            burst.create_task(self.send(device, rng.randrange(THREADS), text))
                case "ditto":
                    async with asyncio.TaskGroup() as burst:
                        for _ in range(rng.randint(2, 5)):
                            burst.create_task(self.send(device, number, "ditto"))
                case "recall":
                    await self.recall(device, rng)
                case "join" if device.user > 1:
                    await self.join(device, number)
                case "leave" if device.user > 1:
                    await self.leave(device, number)
                case "again" if device.user > 1:  # log out and in again, as the same device
                    self.counts["logins again"] += 1
                    await device.session.close.aio()
                    device.earlier.append(device.session)
                    device.session = await self.login(device.user, device.resource)
                case "cut":
                    await asyncio.to_thread(self.proxy.cut, self.names[device.user], rng.choice(["rst", "fin"]))
                case "freeze":
                    await asyncio.to_thread(self.proxy.freeze, self.names[device.user])

    async def send(self, device: Device, number: int, text: str) -> None:
        said = Said(number, device.user, text, self.now())
        self.said.append(said)
        try:
            message = await device.session.thread(self.threads[number]).send.aio(text)
        except imkit.ConnectionLost as error:
            said.verdict = error.outcome
        except imkit.NotAMember:
            said.verdict = "refused"
        else:
            said.verdict, said.id = "sent", message.id
        self.counts[f"sends: {said.verdict}"] += 1

    async def recall(self, device: Device, rng: random.Random) -> None:
        mine = [said for said in self.said if said.user == device.user and said.verdict == "sent" and not said.recall]
        if not mine:
            return
        said = rng.choice(mine)
        said.recall = "unknown"
        try:
            await device.session.thread(self.threads[said.thread]).recall.aio(said.id)
        except imkit.ConnectionLost as error:
            said.recall = "" if error.outcome == "not sent" else "unknown"
        except imkit.NotAMember:
            said.recall = "refused"
        else:
            said.recall = "done"
        self.counts[f"recalls: {said.recall}"] += 1

    async def join(self, device: Device, number: int) -> None:
        place = (number, device.user)
        try:
            await device.session.thread(self.threads[number]).join.aio()
        except imkit.AlreadyExists:
            if place in self.unsure:
                self.unsure.discard(place)
                self.members[number][device.user] = self.now()
        except (imkit.ConnectionLost, imkit.TimedOut, imkit.ServiceBusy):
            if device.user not in self.members[number]:
                self.unsure.add(place)
        else:
            self.unsure.discard(place)
            self.members[number][device.user] = self.now()

    async def leave(self, device: Device, number: int) -> None:
        self.members[number].pop(device.user, None)
        self.unsure.add((number, device.user))
        with contextlib.suppress(imkit.IMError):
            await device.session.thread(self.threads[number]).leave.aio()
            self.unsure.discard((number, device.user))

    # -------------------------------------------------------- catching up

    async def catch_up(self) -> None:
        """Send last messages in each thread, and wait until all its members have them."""
        for device in self.devices:  # of a user with two devices, a device that is not online would not get them
            back = device.session.events(imkit.Connected, imkit.Disconnected)
            while not device.session.connected:
                await back.next.aio(CATCH_UP)
        async with asyncio.TaskGroup() as all_of_them:
            for number in range(THREADS):
                for device in (self.devices[0], next(device for device in self.devices if device.user == 1)):
                    all_of_them.create_task(self.last_words(device, number))

    async def last_words(self, device: Device, number: int) -> None:
        thread = device.session.thread(self.threads[number])
        said = Said(number, device.user, f"the end of {number} by {device.resource}", self.now())
        self.said.append(said)
        said.id = (await thread.send.aio(said.text)).id
        said.verdict = "sent"
        for user in self.members[number]:
            if user != device.user:
                async with asyncio.TaskGroup() as devices:
                    for other in self.devices:
                        if other.user == user:
                            devices.create_task(self.hear(other, said))

    async def hear(self, device: Device, said: Said) -> None:
        heard = device.session.events(MessageReceived)
        try:
            await heard.next.aio(CATCH_UP, where=lambda event: event.message.id == said.id)
        except imkit.TimedOut as error:
            error.add_note(f"{self.names[device.user]}/{device.resource}, {device.session!r}, {said}")
            raise

    # -------------------------------------------------------- comparing

    def table(self) -> dict[int, list[tuple[str, str, str]]]:
        """Return the messages of each thread from the server's file, in order: id, sender and text."""
        database = sqlite3.connect(f"file:{self.sandbox._path}?mode=ro", uri=True)
        found: dict[int, list[tuple[str, str, str]]] = {number: [] for number in range(THREADS)}
        with contextlib.closing(database):
            for number, thread in enumerate(self.threads):
                rows = "SELECT id, sender, meta FROM messages WHERE conversation = ? ORDER BY id"
                for message, sender, meta in database.execute(rows, (thread,)):
                    body = schema.MessageBody.FromString(schema.Meta.FromString(meta).payload)
                    found[number].append((str(message), sender, body.contents[0].text))
        return found

    async def compare(self) -> None:
        table = self.table()
        self.verdicts_are_true(table)
        for number in range(THREADS):
            self.everybody_heard(number, table[number])
            for device in (self.devices[0], self.devices[-1]):
                if device.user in self.members[number]:
                    shown = [message.id async for message in device.session.thread(self.threads[number]).messages()]
                    assert shown == [message for message, _, _ in table[number]], "the history is not the table"

    def verdicts_are_true(self, table: dict[int, list[tuple[str, str, str]]]) -> None:
        place = {message: (number, sender, text) for number, rows in table.items() for message, sender, text in rows}
        ids = [said.id for said in self.said if said.id]
        assert len(ids) == len(set(ids)), "two sends were given one id"
        stored = Counter(place.values())
        sends: defaultdict[tuple[int, str, str], Counter[str]] = defaultdict(Counter)
        for said in self.said:
            key = (said.thread, self.names[said.user], said.text)
            sends[key][said.verdict] += 1
            assert said.verdict != "open", said
            if said.verdict == "sent" and said.recall in ("", "refused"):
                assert place.get(said.id) == key, f"said to be sent, and is not there: {said}"
            if said.verdict == "sent" and said.recall == "done":
                assert said.id not in place, f"recalled, and is still there: {said}"
        for key, count in stored.items():
            may = sends[key]
            assert count <= may["sent"] + may["unknown"], f"{key} stands there {count} times, of {dict(may)}"
        self.counts["messages in the table"] += len(place)
        self.counts["unknown, and there"] += sum(
            1 for said in self.said if said.verdict == "unknown" and said.text != "ditto"
            and stored[said.thread, self.names[said.user], said.text]
        )  # fmt: skip

    def everybody_heard(self, number: int, rows: list[tuple[str, str, str]]) -> None:
        began = {said.id: said.began for said in self.said if said.id}
        by_text = {(self.names[said.user], said.text): said.began for said in self.said if said.text != "ditto"}
        recalled = {said.id for said in self.said if said.recall == "done" and said.thread == number}
        for user in range(USERS):
            devices = [device for device in self.devices if device.user == user]
            union: set[str] = set()
            for device in devices:
                for events in device.heard():
                    try:
                        union |= self.heard_well(number, events, {int(message) for message, _, _ in rows})
                    except AssertionError as error:
                        error.add_note(f"{self.names[user]}/{device.resource}")
                        raise
            since = self.members[number].get(user)
            if since is None:
                continue
            for message, sender, text in rows:
                at = began.get(message, by_text.get((sender, text), -1))
                if sender != self.names[user] and at > since:
                    assert message in union, f"{self.names[user]} never heard {message} ({text}) in thread {number}"
            self.counts["deliveries compared"] += len(union)
            told = {event.message_id for device in devices for events in device.heard() for event in events
                    if isinstance(event, MessageRecalled)}  # fmt: skip
            for message in recalled:
                if began[message] > since and message not in {said.id for said in self.said if said.user == user}:
                    assert message in told, f"{self.names[user]} was not told that {message} was recalled"

    def heard_well(self, number: int, events: list[Any], kept: set[int]) -> set[str]:
        """Check the messages of one thread that a session received: each once, in order, none after its recall.

        The order is checked for the messages in the table only. A message that was recalled after this user had left
        can come late if the proxy held its page: the server no longer has it, and tells the recall to members only.
        """
        ids, gone = [], set()
        for event in events:
            if isinstance(event, MessageReceived) and event.message.to == self.threads[number]:
                assert event.message.id not in gone, f"message {event.message.id} came back after its recall"
                ids.append(int(event.message.id))
            elif isinstance(event, MessageRecalled) and event.to == self.threads[number]:
                assert event.message_id not in gone, f"told twice that {event.message_id} was recalled"
                gone.add(event.message_id)
        assert len(ids) == len(set(ids)), "a message came twice"
        stand = [message for message in ids if message in kept]
        early = [(before, after) for before, after in itertools.pairwise(stand) if before > after]
        assert not early, f"messages came out of order: {early} in {events}"
        return {str(number) for number in ids}


def run(seeds: range, folder: Path, monkeypatch: pytest.MonkeyPatch, *, push: bool) -> None:
    quick_timers(monkeypatch)
    counts: Counter[str] = Counter()
    with Sandbox(folder / "data.db", push=push) as sandbox, Proxy(sandbox) as proxy:
        for seed in seeds:
            try:
                portal().call(Schedule(seed, sandbox, proxy, counts).run())
            except BaseException as error:
                error.add_note(f"the schedule of IMKIT_SEED={seed}, {'push' if push else 'notices'}")
                note(f"IMKIT_SEED={seed}\n{''.join(traceback.format_exception(error))}")
                raise
            counts["schedules"] += 1
        counts.update({f"proxy: {action}": count for action, count in proxy.broken.items()})
        counts["logins and reconnects"] += sum(proxy.sockets.values())
        counts["frames"] += sum(proxy.frames.values())
    print("\n".join(f"{count:>9,}  {what}" for what, count in sorted(counts.items())))
    note(repr(dict(counts)))


def note(line: str) -> None:
    """Append a line to the file that IMKIT_FIGURES names, if there is one."""
    if FIGURES:
        with open(FIGURES, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def shares() -> Iterator[range]:
    """Yield the seeds for each server: odd ones for servers that send notices, even ones for servers that push."""
    end = FIRST_SEED + SCHEDULES
    for block in range(FIRST_SEED, end, 2 * SCHEDULES_PER_SERVER):
        for first in (block, block + 1):
            if first < end:
                yield range(first, min(block + 2 * SCHEDULES_PER_SERVER, end), 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", list(shares()), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_random_schedules(seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(seeds, tmp_path, monkeypatch, push=seeds.start % 2 == 0)
