"""People in a group with threads, and an archive that is to hold what they say."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive
from imkit.sandbox.process import Sandbox
from tests.people import new_name


@dataclass
class Tea:
    alice: imkit.Session
    bob: imkit.Session
    group: imkit.Group

    def thread(self, name: str, *texts: str) -> imkit.Thread:
        """Make a thread that says something."""
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
