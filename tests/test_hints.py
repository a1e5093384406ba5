"""Each refusal that the sandbox can give gets a hint that fits the operation, and names its values."""

from __future__ import annotations

import ast
import contextlib
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import imkit
from imkit import hints
from imkit.client.app import App
from imkit.client.rest_errors import refusal
from imkit.errors import IMError
from imkit.wire.refusals import send_refused
from tests.attacks.served import Served, served

ROOT = Path(__file__).resolve().parents[1] / "imkit"


@dataclass(frozen=True)
class World:
    """A group of Alice's, with Bob and Carol in it, and Dave outside; Alice and Bob are in its thread."""

    alice: imkit.Session
    bob: imkit.Session
    carol: imkit.Session
    dave: imkit.Session
    group: imkit.Group
    thread: imkit.Thread
    parent: imkit.Message
    old: imkit.Message  # of Bob, too old for him to recall
    recalled: imkit.Message

    def of(self, session: imkit.Session) -> imkit.Thread:
        return session.thread(self.thread.id)


@pytest.fixture(scope="module")
def server(_isolated_session: None) -> Iterator[Served]:
    with served(
        options={"recall_seconds": 0.001, "attachment_bytes": 2000},
        groups_per_user=2,
        threads_per_group=1,
        attachment_bytes_per_user=3000,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def world(server: Served) -> Iterator[World]:
    app = App(server.app_key, rest_url=server.rest_url, ws_url=server.ws_url)
    sessions = []
    with contextlib.ExitStack() as stack:
        for user in ("alice", "bob", "carol", "dave"):
            _register(server, user)
            sessions.append(stack.enter_context(imkit.login(user, app=app, password="tea")))
        alice, bob, carol, dave = sessions
        group = alice.create_group("tea", members=["bob", "carol"])
        alice.create_group("the second of two")
        parent = group.send("Which oolong?")
        thread = group.create_thread("Oolong", parent)
        bobs = bob.thread(thread.id).join()
        recalled = thread.send("recalled")
        thread.recall(recalled)
        old = bobs.send("old")
        while bobs.send("time goes by").time <= old.time + timedelta(milliseconds=2):
            pass
        yield World(alice, bob, carol, dave, group, thread, parent, old, recalled)


def _register(server: Served, user: str) -> None:
    import httpx

    url = f"{server.rest_url}/{server.app_key.replace('#', '/')}/users"
    httpx.post(url, json={"username": user, "password": "tea"}, trust_env=False).raise_for_status()


Case = tuple[Callable[[World], object], type[IMError], str]
NOT_IN_GROUP = 'group.invite("dave")'

# What is called, the error that it raises, and a part of the hint; {…} stands for an id of the world.
CASES: list[Case] = [
    # groups
    (lambda w: w.alice.create_group("x", members=["nobody"]), imkit.NotFound, "exists after the first login"),
    (lambda w: w.alice.create_group("a third"), imkit.LimitReached, "User alice has as many groups"),
    (lambda w: w.bob.create_group("x" * 200), imkit.IMError, "Check the name"),
    (lambda w: list(w.dave.group(w.group.id).members()), imkit.Forbidden, "User dave is not in group {group}"),
    (lambda w: list(w.dave.group("999").members()), imkit.GroupNotFound, "session.groups()"),
    (lambda w: w.dave.group(w.group.id).invite("dave"), imkit.Forbidden, "Members of group {group} can invite"),
    (lambda w: w.group.invite("bob"), imkit.AlreadyExists, "not in group.members()"),
    (lambda w: w.group.invite("nobody"), imkit.NotFound, "exists after the first login"),
    (lambda w: w.bob.group(w.group.id).remove("carol"), imkit.Forbidden, "owner and admins can remove"),
    (lambda w: w.group.remove("alice"), imkit.Forbidden, "nobody can remove its owner"),
    (lambda w: w.group.remove("dave"), imkit.NotAMember, "User dave is not in group {group}"),
    (lambda w: w.bob.group(w.group.id).destroy(), imkit.Forbidden, "Only the owner of group {group}"),
    (lambda w: w.bob.group("999").destroy(), imkit.GroupNotFound, "session.groups()"),
    (lambda w: w.dave.group(w.group.id).is_muted(), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.dave.group("999").is_muted(), imkit.GroupNotFound, "session.groups()"),
    (lambda w: [w.group.pin(w.group.send(str(n))) for n in range(21)], imkit.LimitReached, "group.unpin(…) makes room"),
    (lambda w: w.group.pin(w.old.id), imkit.MessageNotFound, "Group {group} has no message"),
    (lambda w: w.group.unpin(w.parent), imkit.MessageNotFound, "Message {parent} is not pinned in group {group}"),
    (lambda w: w.dave.group(w.group.id).pin(w.parent), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.dave.group(w.group.id).unpin(w.parent), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.dave.group(w.group.id).pinned(), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.dave.group("999").pinned(), imkit.GroupNotFound, "session.groups()"),
    # threads
    (lambda w: w.group.create_thread("x", w.parent), imkit.AlreadyExists, "Message {parent} has a thread already"),
    (lambda w: w.group.create_thread("x", w.group.send("x")), imkit.LimitReached, "thread.destroy() makes room"),
    (lambda w: w.group.create_thread("x", "7"), imkit.NotFound, "Group {group} has no message 7"),
    (lambda w: w.dave.group(w.group.id).create_thread("x", w.parent), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.dave.group("999").create_thread("x", w.parent.id), imkit.GroupNotFound, "session.groups()"),
    (lambda w: list(w.dave.group(w.group.id).threads()), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: list(w.dave.threads(w.group.id)), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.of(w.bob).join(), imkit.AlreadyExists, "User bob is in thread {thread} already"),
    (lambda w: w.of(w.dave).join(), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.dave.thread("999").join(), imkit.ThreadNotFound, "group.threads()"),
    (lambda w: w.of(w.carol).leave(), imkit.Forbidden, "User carol is not in thread {thread}"),
    (lambda w: w.of(w.bob).rename("mine"), imkit.Forbidden, "the thread's creator"),
    (lambda w: w.of(w.bob).destroy(), imkit.Forbidden, "owner and admins can destroy thread {thread}"),
    (lambda w: w.of(w.dave).refresh(), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: list(w.of(w.dave).members()), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: w.of(w.bob).remove("alice"), imkit.Forbidden, "owner and admins can remove members"),
    (lambda w: w.thread.remove("carol"), imkit.Forbidden, "only those in thread.members()"),
    (lambda w: w.of(w.dave).last_message(), imkit.Forbidden, "(thread {thread})"),
    (lambda w: w.dave.last_messages([w.thread, "999"]), imkit.IMError, "session.threads()"),
    (lambda w: w.alice.last_messages([w.thread, "999"]), imkit.ThreadNotFound, "One of these threads was destroyed"),
    (lambda w: w.of(w.dave).parent(), imkit.Forbidden, NOT_IN_GROUP),
    # messages
    (lambda w: w.of(w.carol).history(progress=False), imkit.Forbidden, 'session.thread("{thread}").join()'),
    (lambda w: list(w.dave.group(w.group.id).messages()), imkit.Forbidden, NOT_IN_GROUP),
    (lambda w: list(w.dave.group("999").messages()), imkit.NotFound, "There is no thread or group 999"),
    (lambda w: w.of(w.carol).send("x"), imkit.NotAMember, 'session.thread("{thread}").join()'),
    (lambda w: w.dave.group(w.group.id).send("x"), imkit.NotAMember, NOT_IN_GROUP),
    (lambda w: w.dave.thread("999").send("x"), imkit.ThreadNotFound, "group.threads()"),
    (lambda w: w.thread.send("x" * 6000), imkit.TooLarge, "imkit.File(…)"),
    (lambda w: w.of(w.bob).recall(w.old), imkit.RecallExpired, " s old, and the app's limit"),
    (lambda w: w.of(w.bob).recall(w.old.id), imkit.RecallExpired, "owner and admins can recall"),
    (lambda w: w.of(w.bob).recall(w.thread.send("hers")), imkit.Forbidden, "Only the sender of message"),
    (lambda w: w.of(w.bob).recall(w.recalled), imkit.MessageNotFound, "It was recalled"),
    (lambda w: w.of(w.carol).recall(w.old), imkit.NotAMember, 'session.thread("{thread}").join()'),
    (lambda w: w.of(w.bob).edit(w.thread.send("hers"), "x"), imkit.Forbidden, "can edit it"),
    (lambda w: w.of(w.bob).edit(w.old, imkit.Custom("x")), imkit.InvalidMessage, "A text stays a text"),
    (lambda w: w.thread.edit(w.recalled, "x"), imkit.MessageNotFound, "It was recalled"),
    (lambda w: [w.of(w.bob).edit(w.old, str(n)) for n in range(11)], imkit.LimitReached, "edited 10 times"),
    (lambda w: w.thread.edit(w.old, "x" * 6000), imkit.TooLarge, "shorten it"),
    (lambda w: w.of(w.carol).acknowledge(w.old), imkit.NotAMember, 'session.thread("{thread}").join()'),
    (lambda w: w.of(w.bob).acknowledge(w.recalled), imkit.MessageNotFound, "It was recalled"),
    (lambda w: w.thread.acknowledge(w.old, "x" * 6000), imkit.TooLarge, "shorten the words"),
    (lambda w: w.dave.report(w.old, "spam", "x"), imkit.MessageNotFound, "or user dave is not in its conversation"),
    (lambda w: w.bob.report(w.recalled, "spam", "x"), imkit.MessageNotFound, "any more"),
    (lambda w: w.bob.report(w.old, "spam", "x" * 600), imkit.IMError, "Check the kind and the reason"),
    # reactions
    (lambda w: [w.thread.react(w.old, "👍") for _ in range(2)], imkit.AlreadyExists, "has reacted to message"),
    (lambda w: [w.thread.react(w.old, str(n)) for n in range(21)], imkit.LimitReached, "20 different reactions"),
    (lambda w: w.of(w.carol).react(w.old, "👍"), imkit.NotAMember, "User carol is not in the message's"),
    (lambda w: w.thread.react(w.recalled, "👍"), imkit.Forbidden, "not here any more"),
    (lambda w: w.thread.unreact(w.old, "🍵"), imkit.Forbidden, "User alice has not reacted with 🍵"),
    (lambda w: w.of(w.carol).reactions(w.old), imkit.NotAMember, 'session.thread("{thread}").join()'),
    # this user's own view
    (lambda w: w.of(w.carol).mark_read(), imkit.NotAMember, 'session.thread("{thread}").join()'),
    (lambda w: w.of(w.carol).forget([w.old]), imkit.Forbidden, 'session.thread("{thread}").join()'),
    (lambda w: w.dave.group("999").forget(["7"]), imkit.NotFound, "There is no thread or group 999"),
    (lambda w: w.alice.thread("999").readers("7"), imkit.NotFound, "There is no thread or group 999"),
    # attachments
    (lambda w: w.thread.send(imkit.File(b"x" * 2500, file_name="f")), imkit.TooLarge, "make the file smaller"),
    (
        lambda w: [w.thread.send(imkit.File(b"x" * 1900, file_name="f")) for _ in range(2)],
        imkit.LimitReached,
        "keeps no more files",
    ),
    # events
    (lambda w: _no_event(w.dave, imkit.MessageReceived), imkit.TimedOut, "Was it sent"),
    (lambda w: _no_event(w.dave, imkit.ThreadChanged), imkit.TimedOut, "in the group or the thread"),
    (lambda w: _no_event(w.dave, imkit.HistoryForgotten), imkit.TimedOut, "another device of this user"),
    (lambda w: _no_event(w.dave, imkit.MessageRead), imkit.TimedOut, "Was it acknowledged"),
    (lambda w: _no_event(w.dave, imkit.UserChanged), imkit.TimedOut, "one of its contacts"),
    (lambda w: _no_event(w.dave, imkit.Disconnected), imkit.TimedOut, "session.connected"),
]


def _refused(call: Callable[[World], object], part: str) -> Case:
    return call, imkit.InvalidMessage, part


ANY = cast(Any, None)  # what the type checker would not let through
ARGUMENTS: list[Case] = [
    _refused(lambda w: w.alice.users(ANY), "Give a list"),
    _refused(lambda w: w.alice.users("bob"), "Give a list"),
    _refused(lambda w: w.alice.users([w.bob.users(["bob"])["bob"]]), "such as group.members()"),  # type: ignore[list-item]  # wrong on purpose
    _refused(lambda w: w.alice.last_messages(w.thread), "Give a list, such as group.threads()"),
    _refused(lambda w: w.alice.last_messages(w.thread.id), "Give a list"),
    _refused(lambda w: w.alice.create_group("x", members="bob"), 'such as ["bob"]'),
    _refused(lambda w: w.alice.history(w.thread.id), "session.thread(id)"),
    _refused(lambda w: w.alice.conversations()[0], "list(…)[0]"),
    _refused(lambda w: w.alice.update_profile(), "Give at least one"),
    _refused(lambda w: w.group.invite(["carol"]), "of its own, such as 'carol'"),
    _refused(lambda w: w.thread.send("x", mention="@bob"), "Leave out the @: 'bob'"),
    _refused(lambda w: w.thread.send(w.old), "message.body"),
    _refused(lambda w: w.thread.send(imkit.Combine("x", [w.old.id])), "[message, …]"),  # type: ignore[list-item]  # wrong on purpose
    _refused(lambda w: w.thread.send(imkit.File(7)), "Give a path, bytes"),
    _refused(lambda w: w.thread.send(imkit.File("no such file")), "Check the path"),
    _refused(lambda w: w.thread.send(imkit.File("/")), "the path of one file"),
    _refused(lambda w: w.alice.download(w.old.id, "x"), "Give the Message itself"),
    _refused(lambda w: w.alice.unpack(w.old.id), "Give the Message itself"),
    _refused(lambda w: w.alice.recall(7, to=w.thread), 'An id is a text: "7"'),
    _refused(lambda w: w.thread.react(w.old, ANY), "Give an emoji"),
    _refused(lambda w: w.thread.react(w.old, "👍" * 129), "1 to 128 characters"),
    _refused(lambda w: w.thread.forget(), "forget(message)"),
    _refused(lambda w: w.thread.forget(w.old, before="2026-11-01"), "forget(message)"),
    _refused(lambda w: w.thread.forget([]), "one message at least"),
    # a message of another conversation
    *(
        _refused(call, "message.to is its id")
        for call in (
            lambda w: w.thread.react(w.parent, "👍"),
            lambda w: w.thread.unreact(w.parent, "👍"),
            lambda w: w.thread.reactions(w.parent),
            lambda w: w.thread.readers(w.parent),
            lambda w: w.thread.acknowledge(w.parent),
            lambda w: w.thread.recall(w.parent),
            lambda w: w.thread.edit(w.parent, "x"),
            lambda w: w.thread.forget(w.parent),
        )
    ),
    _refused(lambda w: w.group.pin(w.old), "A group pins its own messages"),
    _refused(lambda w: w.group.unpin(w.old), "A group pins its own messages"),
    _refused(lambda w: w.group.create_thread("x", w.old), "hangs on a message of the group itself"),
]


def _no_event(session: imkit.Session, kind: type[imkit.Event]) -> None:
    session.events(kind, replay=False).next(timeout=0.01)


def test_each_refusal_says_what_to_do_in_this_case(world: World) -> None:
    wrong = []
    names = {"group": world.group.id, "thread": world.thread.id, "parent": world.parent.id}
    for number, (call, kind, part) in enumerate([*CASES, *ARGUMENTS]):
        try:
            call(world)
        except IMError as error:
            wanted = part.format(**names)
            if not isinstance(error, kind) or wanted not in error.hint:
                wrong.append((number, type(error).__name__, str(error), wanted))
        else:
            wrong.append((number, "no error", "", part))
    assert wrong == []


REASONS = [
    ("recall", "message recall disabled", "Recalling (撤回) is off"),
    ("edit", "Sorry, edit is not available", "Editing is off"),
    ("acknowledge", "group ack not open", "Read receipts of groups"),
    ("acknowledge", "group ack msg permission denied", "let user bob acknowledge"),
    ("acknowledge", "limit send group ack msg", "as many read receipts"),
    ("send", "group is disabled", "can enable the group again"),
    ("send", "blocked", "block list"),
    ("send", "hit by moderation", "Change the content"),
]


@pytest.mark.parametrize(("name", "reason", "part"), REASONS)
def test_refusals_that_the_sandbox_does_not_give(name: str, reason: str, part: str) -> None:
    what = hints.operation(name, type="txt", message="7", thread="42", user="bob")
    assert part in send_refused(what, 1, reason).hint
    assert part in str(send_refused(what, 1, reason))


def test_a_text_counts_only_if_all_its_values_are_known() -> None:
    recall = hints.operation("recall", message="7", group="9", age=None)
    assert str(recall) == "the recall of message 7 in group 9"
    assert "old" not in send_refused(recall, 1, "exceed recall time limit").hint
    assert send_refused("the recall", 1, "exceed recall time limit").hint == ""
    hostile = hints.operation("join_thread", thread="{user.__class__}", user="{0}\x1b[2J")
    error = refusal(hostile, 403, {"error_code": 40003})
    assert "User {0}" in error.hint
    assert str(error).isprintable()


def _fields(template: hints.Template) -> set[str]:
    texts = (template,) if isinstance(template, str) else template
    return {str(name) for text in texts for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_each_operation_is_used_and_gets_the_values_that_its_texts_name() -> None:
    used: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "operation":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant)
                given = {keyword.arg or "" for keyword in node.keywords}  # "" stands for values that are not named here
                used[str(argument.value)] = used.get(str(argument.value), given) & given
    assert used.keys() == hints.OPERATIONS.keys()
    kinds = {kind.__name__ for kind in vars(imkit.errors).values() if isinstance(kind, type)} | {""}
    for name, texts in hints.OPERATIONS.items():
        assert texts.keys() <= kinds, name
        for template in texts.values():
            alternatives = (template,) if isinstance(template, str) else template
            assert any("" in used[name] or _fields(text) <= used[name] for text in alternatives), (name, template)
    assert {kind.partition(",")[0] for kind in hints.ERRORS} <= kinds
    assert not any(re.search(r"[{}]", text) for text in hints.ERRORS.values() if isinstance(text, str))
    assert all(hasattr(imkit, kind) for kind in hints.EVENTS)
