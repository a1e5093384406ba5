"""Fixtures: two users in a group with threads, an empty archive, and one that is filled without a service."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive, parquet
from imkit.archive.catalogue import CatalogueWriter, ConversationState
from imkit.archive.merge import CommitBatch, Reread, merge_batch
from imkit.archive.storage import storage_at
from imkit.history.columns import batch_of
from imkit.messages import Message, Text, ThreadRef
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from tests.people import new_name

MIDNIGHT = 1_795_392_000_000
HOUR = 3_600_000
GONE = 5  # the number of the message that the filled archive marks as gone
HOSTILE = "<script>alert(1)</script>\x1b[2J"


@dataclass
class Tea:
    """Two logins in a group named tea."""

    alice: imkit.Session
    bob: imkit.Session
    group: imkit.Group

    def thread(self, name: str, *texts: str) -> imkit.Thread:
        """Make a thread with some messages by alice."""
        thread = self.group.create_thread(name, self.group.send(f"Which {name}?"))
        for text in texts:
            thread.send(text)
        return thread


@pytest.fixture
def tea(sandbox: Sandbox) -> Iterator[Tea]:
    with (
        imkit.login(new_name("alice"), app=sandbox.app) as alice,
        imkit.login(new_name("bob"), app=sandbox.app) as bob,
    ):
        yield Tea(alice, bob, alice.create_group("tea", members=[bob.user]))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def message(number: int) -> Message:
    """Make a message, one an hour: the odd ones in thread 42, the even ones in its group 7."""
    thread = ThreadRef("42", HOSTILE, "7", "1") if number % 2 else None
    time = from_milliseconds(MIDNIGHT + number * HOUR)
    body = Text(f"text {number}", ext={"n": number})
    return Message(str(10**18 + number), f"user{number % 3}", "7", time, body, thread=thread)


def fill(path: str | Path, count: int = 72) -> Archive:
    """Make an archive with three days of a thread and its group, one message gone."""
    storage = storage_at(path)
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        covered = ((0, MIDNIGHT + count * HOUR),)
        messages = [message(number) for number in range(count)]
        tables = [
            parquet.archive_rows(batch_of([each for each in messages if each.thread]), "42", 1),
            parquet.archive_rows(batch_of([each for each in messages if not each.thread]), "7", 1),
        ]
        conversations = {
            "42": ConversationState("42", "thread", HOSTILE, "7", covered=covered, synced_at=1),
            "7": ConversationState("7", "group", "tea", covered=covered, synced_at=1),
        }
        merge_batch(storage, writer, CommitBatch(tables, conversations=conversations), 1, "org#app")
        at = MIDNIGHT + GONE * HOUR
        merge_batch(storage, writer, CommitBatch(reread={"42": Reread(((at, at),), frozenset())}), 2)
    return Archive(path)


@pytest.fixture
def filled(tmp_path: Path) -> Archive:
    return fill(tmp_path / "archive")
