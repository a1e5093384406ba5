"""The examples in the docstrings of public calls run as printed, against a sandbox.

Each docstring has a fresh group and a fresh thread. Its examples may use these names:

    imkit, alice, bob    the package and two sessions; session is another name for alice
    group, thread        the group "tea" of alice and bob, and its thread "Oolong", which both have joined
    sent                 alice's message "Dong Ding, please 🍵" in that thread
    archive              an archive that holds the group and the thread

A user "carol" exists, who is in no group. The working directory is an empty folder. `...` in the printed result stands
for any text.
"""

import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.sandbox import process
from tests.public_docstrings import Documented, documented

WITH_EXAMPLES = [found for found in documented() if ">>> " in found.docstring]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def sandbox(_isolated_session: None) -> Iterator[imkit.Sandbox]:
    """A sandbox of this module's own, in which users have the names that the examples give them."""
    with imkit.Sandbox() as running:
        imkit.login("carol", app=running.app).close()
        yield running


@pytest.fixture
def names(sandbox: imkit.Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The objects that examples may use, by name; all but the archive."""
    monkeypatch.setattr(process, "shared", lambda given_up: sandbox)  # what `imkit.login` without an app uses
    folder = tmp_path / "examples"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with imkit.login("alice", app=sandbox.app) as alice, imkit.login("bob", app=sandbox.app) as bob:
        group = alice.create_group("tea", members=["bob"])
        thread = group.create_thread("Oolong", group.send("Which oolong should we order?"))
        bob.thread(thread.id).join()
        sent = thread.send("Dong Ding, please 🍵")
        objects = {"alice": alice, "session": alice, "bob": bob, "group": group, "thread": thread, "sent": sent}
        yield {"imkit": imkit, **objects}


@pytest.mark.parametrize("found", WITH_EXAMPLES, ids=[found.name for found in WITH_EXAMPLES])
def test_the_examples_run_as_printed(found: Documented, names: dict[str, Any], tmp_path: Path) -> None:
    if "archive" in found.docstring:
        names["archive"] = imkit.Archive(tmp_path / "community")
        names["archive"].sync(names["alice"], names["group"])
    examples = doctest.DocTestParser().get_doctest(found.docstring, names, found.name, None, None)
    assert all(doctest.SKIP not in example.options for example in examples.examples)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(examples, out=report.append)
    assert report == [], "".join(report)


def test_there_are_examples_to_run() -> None:
    assert len(WITH_EXAMPLES) > 50
