"""A thread of the sandbox with a known history."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import imkit
from imkit.sandbox.process import Sandbox

MS = timedelta(milliseconds=1)
_numbers = itertools.count(1)


class RecordedThread:
    """A thread of 130 messages by two users (three pages), each a millisecond or more after the one before.

    Attributes:
        sent, ids: the messages of `thread` that its history holds, and their ids, the oldest first.
        others: the three messages of the thread `other`.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        number = next(_numbers)
        self.alice = imkit.login(f"alice-{number}-h", app=sandbox.app)
        self.bob = imkit.login(f"bob-{number}-h", app=sandbox.app)
        self.group = self.alice.create_group("tea", members=[self.bob.user])
        self.parent = self.group.send("Which oolong?")
        self.thread = self.group.create_thread("Oolong", self.parent)
        self.other = self.group.create_thread("Puer", self.group.send("Or puer?"))
        bobs = self.bob.thread(self.thread.id).join()
        bodies = [imkit.Location(1, 2, "here"), imkit.Custom("order", {"n": "1"}), imkit.Command("never kept")]
        self.sent = [self._send(self.thread if n % 3 else bobs, f"message {n}") for n in range(127)]
        self.sent += [self._send(self.thread, body) for body in bodies[:2]]
        self.thread.send(bodies[2])
        recalled = self.thread.send("recalled")
        self.thread.recall(recalled)
        self.sent.append(self._send(self.thread, "the last"))
        self.others = [self.other.send(f"other {n}") for n in range(3)]
        self.ids = [message.id for message in self.sent]

    def _send(self, thread: imkit.Thread, body: Any) -> imkit.Message:
        # Wait until the millisecond is over, so that each message has a time of its own.
        sent = thread.send(body)
        while datetime.now(UTC) - sent.time < 2 * MS:
            pass
        return sent
