"""Chaos: two client processes against a real server, while everything between and around them breaks.

Each client sends, recalls, edits, reads histories, and keeps an archive and its live log (`tests/faults/chaos_client`).
Its bytes pass a proxy of its own, which cuts, drops, doubles, delays and flips. Both clients and the server are stopped
(SIGSTOP) and killed (SIGKILL), and go on. Then the faults end, both clients catch up, and what they have noted is
compared with the server's own tables (`tests/faults/chaos_judge`).

    python -m tests.faults.chaos --minutes 30     new seeds for half an hour: `make soak`
    python -m tests.faults.chaos --seed 7         the schedule of one seed, again

The seed decides the steps of the clients and the faults, but not their timing against each other: repeat it a few
times (`--times 20`), beside other work, to see a violation again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imkit
from imkit.sandbox.process import Sandbox
from tests.faults.chaos_judge import Judge, Note, Said, Tables, shown_text
from tests.faults.proxy import Chaos, Proxy

ROOT = Path(__file__).parents[2]
THREADS = 2
STEPS = 25
PLAY_SECONDS = 120.0
SCHEDULES_PER_SERVER = 10


class Process:
    """The client processes of one user, one after the other."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self.settings = settings
        self.user: str = settings["user"]
        self.lives: list[list[Note]] = []
        self.errors = folder / f"{self.user}.stderr"
        self.start()

    def start(self) -> None:
        settings = {**self.settings, "life": len(self.lives)}
        if self.lives:
            settings["steps"] //= 3
        notes: list[Note] = []
        self.lives.append(notes)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.errors.open("ab") as errors:
            self.child = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.faults.chaos_client"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=self.errors.parent,
            )  # fmt: skip
        self.reader = threading.Thread(target=self._read, args=(self.child, notes), daemon=True)
        self.reader.start()
        self.tell(json.dumps(settings))

    def _read(self, child: subprocess.Popen[bytes], notes: list[Note]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            with contextlib.suppress(ValueError):  # a line that a kill has cut
                notes.append(json.loads(line))

    def tell(self, line: str) -> None:
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()

    def noted(self, key: str) -> Any:
        """Return what the present process has noted under a key; `None`: nothing yet."""
        return next((note[key] for note in self.lives[-1] if key in note), None)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()
        self.reader.join()
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        for pipe in (self.child.stdin, self.child.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def await_note(self, key: str, seconds: float) -> bool:
        """Wait for a note; return False if the process ends without it, or hangs."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while self.noted(key) is None:
            if self.child.poll() is not None:
                self.reader.join()
                return self.noted(key) is not None
            if time.monotonic() > deadline:
                self.child.send_signal(signal.SIGUSR1)  # write down where each thread is
                pause.wait(0.5)
                return False
            pause.wait(0.01)
        return True


class Schedule:
    """One schedule, made from a seed."""

    def __init__(self, seed: int, sandbox: Sandbox, folder: Path, counts: Counter[str], steps: int = STEPS) -> None:
        self.seed = seed
        self.rng = random.Random(f"{seed}:schedule")
        self.sandbox = sandbox
        self.folder = folder
        self.counts = counts
        self.steps = steps
        self.flips = self.rng.random() < 0.5
        self.due: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.counting = threading.Lock()
        self.frames = 0
        self.problems: list[str] = []
        # At which frame what happens to whom.
        actions = ["cut", "cut all", "stop server", "stop client", "kill server", "kill client"]
        count = self.rng.randint(2, 6)
        chosen = self.rng.choices(actions, [3, 2, 3, 3, 2, 2], k=count)
        self.plan = {self.rng.randint(30, steps * 20): action for action in chosen}

    def run(self) -> list[str]:
        """Run the schedule, and return what must not be."""
        names = [f"{name}-{self.seed}" for name in ("alice", "bob")]
        self.conversations = self.prepare(names)
        with contextlib.ExitStack() as stack:
            self.proxies = {name: stack.enter_context(Proxy(self.sandbox, takes_notes=True)) for name in names}
            self.processes: dict[str, Process] = {}
            for name in names:
                self.processes[name] = Process(self.settings(name), self.folder)
                stack.callback(self.processes[name].kill)
            for proxy in self.proxies.values():
                proxy.watch = self.watch
                proxy.chaos(self.chaos())
            self.break_things()
            self.calm()
            self.finish()
            for proxy in self.proxies.values():
                self.counts.update({f"proxy: {action}": count for action, count in proxy.broken.items()})
                self.counts["frames"] += sum(proxy.frames.values())
                self.counts["logins and reconnects"] += sum(proxy.sockets.values())
        judge = Judge(
            {name: process.lives for name, process in self.processes.items()},
            {name: proxy.noted for name, proxy in self.proxies.items()},
            self.tables(),
            self.conversations,
            self.said,
        )
        self.problems += judge.judge()
        self.counts.update(judge.counts)
        self.counts["schedules"] += 1
        self.problems += self.errors_of_processes()
        return self.problems

    def prepare(self, names: list[str]) -> list[str]:
        """Make a group and its threads, without faults."""
        with (
            imkit.login(names[0], app=self.sandbox.app, resource="desk") as alice,
            imkit.login(names[1], app=self.sandbox.app, resource="desk") as bob,
        ):
            group = alice.create_group("tea", members=[bob.user])
            self.group = group.id
            parents = [group.send(f"parent {number}") for number in range(THREADS)]
            self.said = [Said(names[0], group.id, parent.text or "", "sent", parent.id) for parent in parents]
            threads = [group.create_thread(f"{number}", parent) for number, parent in enumerate(parents)]
            for thread in threads:
                bob.thread(thread.id).join()
            return [group.id, *(thread.id for thread in threads)]

    def settings(self, name: str) -> dict[str, Any]:
        proxy = self.proxies[name]
        return {
            "user": name, "seed": self.seed, "steps": self.steps, "flips": self.flips, "app_key": self.sandbox.app_key,
            "rest_url": proxy.rest_url, "ws_url": proxy.ws_url, "secret": self.sandbox.secret, "group": self.group,
            "conversations": self.conversations, "archive": str(self.folder / f"archive of {name}"),
            "kept": 10_000 if self.seed % 3 else 60,
        }  # fmt: skip

    def chaos(self) -> Chaos:
        flip = 0.015 if self.flips else 0.0
        return Chaos(
            self.seed, drop=0.01, twice=0.02, hold=0.02, cut=0.004, cut_inside=0.006, cut_behind=0.006, freeze=0.002,
            flip=flip, split=0.1, delay=0.02, rest_cut=0.02, rest_flip=flip,
        )  # fmt: skip

    def watch(self, kind: str, user: str) -> None:
        with self.counting:  # two proxies count here, each in its thread
            self.frames += 1
            action = self.plan.pop(self.frames, None)
        if action is not None:
            self.due.put(action)

    # -------------------------------------------------------------- faults

    def break_things(self) -> None:
        """Do what is due, until both clients have done their steps."""
        deadline = time.monotonic() + PLAY_SECONDS
        while not all(process.noted("played") for process in self.processes.values()):
            for process in self.processes.values():
                if process.child.poll() is not None:
                    self.problems.append(f"{process.user}: the process ended too early: {process.child.returncode}")
                    return
            if time.monotonic() > deadline:
                self.problems.append(f"the clients did not finish their steps in {PLAY_SECONDS:.0f} s")
                for process in self.processes.values():
                    process.child.send_signal(signal.SIGUSR1)
                return
            with contextlib.suppress(queue.Empty):
                self.do(self.due.get(timeout=0.02))

    def do(self, action: str) -> None:
        self.counts[action] += 1
        process = self.processes[self.rng.choice(list(self.processes))]
        seconds = self.rng.choice([0.1, 0.5, 1.5, 2.5])
        match action:
            case "cut":
                self.proxies[process.user].cut(how=self.rng.choice(["rst", "fin"]))
            case "cut all":
                for proxy in self.proxies.values():
                    proxy.cut()
            case "kill server":
                self.problems += self.server_errors()
                self.sandbox.kill()
                self.sandbox.start()
            case "kill client":
                process.kill()
                process.start()
            case "stop server":
                assert self.sandbox._process is not None
                self.stop(self.sandbox._process, seconds)
            case "stop client":
                self.stop(process.child, seconds)

    def stop(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        process.send_signal(signal.SIGSTOP)
        threading.Event().wait(seconds)
        process.send_signal(signal.SIGCONT)

    def calm(self) -> None:
        for proxy in self.proxies.values():
            proxy.watch = lambda kind, user: None
            proxy.calm()

    def finish(self) -> None:
        """Let both clients catch up and compare."""
        for process in self.processes.values():
            process.tell("end")
        for process in self.processes.values():
            if not process.await_note("last", PLAY_SECONDS):
                self.problems.append(f"{process.user}: hangs, or ended, before its last words")
                return
        for process in self.processes.values():
            others = (other.noted("last") for other in self.processes.values() if other is not process)
            words = [word for last in others for word in last]
            process.tell(" ".join(["hear", *words]))
        for process in self.processes.values():
            if not process.await_note("over", PLAY_SECONDS):
                self.problems.append(f"{process.user}: hangs, or ended, before it was over")
                continue
            try:
                code = process.child.wait(30)
            except subprocess.TimeoutExpired:
                process.child.send_signal(signal.SIGUSR1)
                self.problems.append(f"{process.user}: the process does not end")
            else:
                process.reader.join()
                if code:
                    self.problems.append(f"{process.user}: the process ended with {code}")

    # ----------------------------------------------------------- what is left

    def tables(self) -> Tables:
        messages: dict[str, list[tuple[str, str, str]]] = {}
        with contextlib.closing(sqlite3.connect(f"file:{self.sandbox._path}?mode=ro", uri=True)) as database:
            for conversation in self.conversations:
                rows = "SELECT id, sender, meta FROM messages WHERE conversation = ? ORDER BY id"
                messages[conversation] = [
                    (str(message), sender, text)
                    for message, sender, meta in database.execute(rows, (conversation,))
                    if (text := shown_text(meta)) is not None
                ]
            receipts = database.execute("SELECT message, user FROM read_acks").fetchall()
        return Tables(messages, {(str(message), user) for message, user in receipts})

    def errors_of_processes(self) -> Iterator[str]:
        for process in self.processes.values():
            text = process.errors.read_text(errors="replace")
            if "Traceback" in text or "Thread 0x" in text:
                yield f"{process.user} wrote:\n{text[-8000:]}"
        yield from self.server_errors()

    def server_errors(self) -> Iterator[str]:
        """Yield the tracebacks that the server has written since its start."""
        found = self.sandbox._finalizer.peek() if self.sandbox._finalizer is not None else None
        if found is None:
            return
        errors = found[2][1]
        text = os.pread(errors.fileno(), 2**20, 0).decode(errors="replace")
        if "Traceback" in text:
            yield f"the server wrote:\n{text[-4000:]}"


def run(seeds: Iterator[int], counts: Counter[str], *, push: bool, steps: int = STEPS) -> str:
    """Run schedules on one server; return what must not be in the first that has it, or an empty text."""
    folder = Path(tempfile.mkdtemp(prefix="imkit-chaos-"))
    with Sandbox(folder / "data.db", push=push) as sandbox:
        for number, seed in enumerate(seeds):
            place = folder / f"{number}"
            place.mkdir()
            problems = Schedule(seed, sandbox, place, counts, steps).run()
            counts["violations"] += bool(problems)
            if problems:
                again = f"python -m tests.faults.chaos --seed {seed} --steps {steps}{' --push' if push else ''}"
                first = f"The schedule of seed {seed} broke a promise; what it left is in {place}. Again: {again}"
                return "\n".join([first, *problems])
    shutil.rmtree(folder)
    return ""


def summary(counts: Counter[str], seeds: str) -> str:
    flips = counts["proxy: flip"] + counts["proxy: rest-flip"]
    cuts = sum(count for name, count in counts.items() if "cut" in name)
    kills = f"{counts['kill server']} of the server and {counts['kill client']} of clients"
    stops = counts["stop server"] + counts["stop client"]
    return (
        f"seeds {seeds}: {counts['schedules']:,} schedules, {cuts:,} cuts, kills: {kills}, {stops:,} stops, "
        f"{flips:,} flips, {counts['send']:,} sends, {counts['violations']:,} violations"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.faults.chaos")
    parser.add_argument("--minutes", type=float, help="new seeds for so long")
    parser.add_argument("--seed", type=int, help="the first seed; default: a new one")
    parser.add_argument("--times", type=int, default=1, help="without --minutes: the same seed so often")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each client")
    parser.add_argument("--push", action="store_true", help="without --minutes: the server sends without a notice")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    first = secrets.randbelow(10**8) * SCHEDULES_PER_SERVER if options.seed is None else options.seed
    next_seed, problem = first, ""
    with tempfile.TemporaryDirectory(prefix="imkit-home-") as home:
        os.environ["IMKIT_HOME"] = home
        if options.minutes is None:
            for _ in range(options.times):
                problem = problem or run(iter([first]), counts, push=options.push, steps=options.steps)
            next_seed += 1
        else:
            deadline = time.monotonic() + options.minutes * 60

            def seeds() -> Iterator[int]:
                nonlocal next_seed
                for _ in range(SCHEDULES_PER_SERVER):
                    if time.monotonic() < deadline:
                        next_seed += 1
                        yield next_seed - 1

            servers = 0
            while time.monotonic() < deadline and not problem:
                problem = run(seeds(), counts, push=bool(servers % 2), steps=options.steps)
                servers += 1
                print(summary(counts, f"{first} to {next_seed - 1}"), flush=True)
    print("\n".join(f"{count:>9,}  {what}" for what, count in sorted(counts.items())))
    if problem:
        print(problem, file=sys.stderr)
    print(summary(counts, f"{first} to {next_seed - 1}"))
    sys.exit(bool(problem))


if __name__ == "__main__":
    main()
