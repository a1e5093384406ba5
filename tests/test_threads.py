"""Groups and threads: each call, lists over several pages, attributes, and answers that the sandbox never gives."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.stand_ins import Answer, odd_session, register

WAIT = 10.0


@pytest.fixture
def group(alice: imkit.Session, bob: imkit.Session) -> imkit.Group:
    return alice.create_group("tea", members=[bob.user])


@pytest.fixture
def thread(group: imkit.Group) -> imkit.Thread:
    return group.create_thread("Oolong", group.send("Which oolong?"))


def change(session: imkit.Session, operation: str, thread_id: str) -> imkit.ThreadChanged:
    """Return the next `ThreadChanged` of a session with this operation and thread."""
    for event in session.events(imkit.ThreadChanged):
        assert isinstance(event, imkit.ThreadChanged)
        if (event.operation, event.thread_id) == (operation, thread_id):
            return event
    raise AssertionError("the session ended")


# ---------------------------------------------------------------------- groups


def test_a_new_group_has_its_members_and_is_in_their_lists(
    alice: imkit.Session, bob: imkit.Session, group: imkit.Group
) -> None:
    assert group.id.isdigit()
    assert group.name == "tea"
    assert sorted(group.members()) == [alice.user, bob.user]
    joined = bob.events(imkit.GroupChanged).next(timeout=WAIT)
    assert isinstance(joined, imkit.GroupChanged)
    assert (joined.operation, joined.group_id) == ("directJoined", group.id)
    assert bob.group(group.id).name is None  # no call has told it yet
    assert [(found.id, found.name) for found in bob.groups()] == [(group.id, "tea")]
    assert bob.group(group.id).name == "tea"
    assert bob.group(group.id) == next(iter(bob.groups()))
    assert bob.group(group.id) != group


def test_members_are_invited_and_removed(
    sandbox: Sandbox, alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread
) -> None:
    group = alice.group(str(thread.group_id))
    with imkit.login(new_name("carol"), app=sandbox.app) as carol:
        group.invite(carol.user)
        assert sorted(group.members()) == sorted([alice.user, bob.user, carol.user])
        carol.thread(thread.id).join()
        with pytest.raises(imkit.Forbidden):
            bob.group(group.id).remove(carol.user)
        group.remove(carol.user)
        assert sorted(group.members()) == [alice.user, bob.user]
        assert list(thread.members()) == [alice.user]  # and no longer in the group's threads
    for user in ("..", "", "no user"):
        with pytest.raises(imkit.InvalidMessage):
            group.remove(user)
        with pytest.raises(imkit.InvalidMessage):
            group.invite(user)


def test_groups_over_several_pages(alice: imkit.Session) -> None:
    made = [alice.create_group(f"group {number}").id for number in range(23)]
    found = [group.id for group in alice.groups()]
    assert sorted(found) == sorted(made)


def test_a_destroyed_group_is_gone_with_its_threads(alice: imkit.Session, thread: imkit.Thread) -> None:
    group = alice.group(str(thread.group_id))
    group.destroy()
    with pytest.raises(imkit.NotFound):
        list(group.members())
    with pytest.raises(imkit.NotFound):
        thread.refresh()


@pytest.mark.parametrize(("name", "members"), [("", ()), (" ", ()), (None, ()), ("tea", "bob"), ("tea", ["no user"])])
def test_create_group_refuses_wrong_arguments(alice: imkit.Session, name: Any, members: Any) -> None:
    with pytest.raises(imkit.InvalidMessage):
        alice.create_group(name, members=members)


# ---------------------------------------------------------------- the life of a thread


def test_create_thread(alice: imkit.Session, bob: imkit.Session, group: imkit.Group) -> None:
    parent = group.send("Which oolong?")
    thread = group.create_thread("Oolong", parent)
    assert (thread.name, thread.group_id, thread.parent_id, thread.owner) == (
        "Oolong",
        group.id,
        parent.id,
        alice.user,
    )
    assert list(thread.members()) == [alice.user]
    told = change(bob, "create", thread.id)
    assert (told.name, told.group_id, told.parent_id, told.operator) == ("Oolong", group.id, parent.id, alice.user)
    with pytest.raises(imkit.AlreadyExists) as caught:
        group.create_thread("Again", parent.id)
    assert caught.value.code == 1301
    assert "group.threads()" in caught.value.hint


def test_attributes_are_none_until_a_call_or_an_event_fills_them(
    alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread
) -> None:
    with imkit.login(bob.user, app=bob.app, resource="another") as fresh:
        unknown = fresh.thread(thread.id)
        facts = ("name", "group_id", "parent_id", "owner", "created", "member_count")
        assert [getattr(unknown, fact) for fact in facts] == [None] * 6
        assert repr(unknown) == f"<Thread {thread.id}>"
        assert unknown.refresh() is unknown
        assert (unknown.name, unknown.group_id, unknown.owner) == ("Oolong", thread.group_id, alice.user)
        assert (unknown.parent_id, unknown.member_count) == (thread.parent_id, 1)
        assert unknown.created is not None
        assert abs(datetime.now(UTC) - unknown.created) < timedelta(minutes=1)
        assert fresh.thread(thread.id).name == "Oolong"  # all objects of a session share what the session knows
        changes = fresh.events(imkit.ThreadChanged, replay=False)
        thread.rename("Puer")
        changes.next(timeout=WAIT)
        assert unknown.name == "Puer"
    change(bob, "create", thread.id)
    assert bob.thread(thread.id).group_id == thread.group_id  # from the event alone


def test_join_and_leave(alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread) -> None:
    bobs = bob.thread(thread.id)
    assert list(bob.threads()) == []
    assert bobs.join() is bobs
    assert (bobs.name, bobs.parent_id) == ("Oolong", thread.parent_id)
    assert list(bob.threads()) == [bobs]
    assert list(bob.threads(str(thread.group_id))) == list(bob.threads(bob.group(str(thread.group_id)))) == [bobs]
    assert sorted(thread.members()) == [alice.user, bob.user]
    with pytest.raises(imkit.AlreadyExists):
        bobs.join()
    heard = bob.events(imkit.MessageReceived, replay=False)
    sent = thread.send("hello")
    # The group's first message may arrive late.
    received = heard.next(timeout=WAIT, where=lambda event: event.message.to == thread.id)
    assert isinstance(received, imkit.MessageReceived)
    assert received.message.id == sent.id
    bobs.leave()
    assert list(bob.threads()) == []
    assert list(thread.members()) == [alice.user]
    with pytest.raises(imkit.NotAMember):
        bobs.send("not any more")


def test_a_user_outside_the_group_cannot_join_or_refresh(sandbox: Sandbox, thread: imkit.Thread) -> None:
    with imkit.login(new_name("dave"), app=sandbox.app) as dave:
        for call in (dave.thread(thread.id).join, dave.thread(thread.id).refresh):
            with pytest.raises(imkit.IMError) as caught:
                call()
            assert caught.value.hint
            assert caught.value.reason


def test_rename(alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread) -> None:
    thread.rename("乌龙茶 🍵")
    assert thread.name == "乌龙茶 🍵"
    assert change(bob, "update", thread.id).name == "乌龙茶 🍵"
    with pytest.raises(imkit.Forbidden):
        bob.thread(thread.id).rename("mine")


@pytest.mark.parametrize("name", ["", "  ", None, 7, "x" * 65])
def test_invalid_names_are_refused(group: imkit.Group, thread: imkit.Thread, name: Any) -> None:
    for call in (lambda: thread.rename(name), lambda: group.create_thread(name, "123")):
        with pytest.raises((imkit.InvalidMessage, imkit.LimitReached)):
            call()
    thread.rename("x" * 64)


def test_remove_a_member(alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread) -> None:
    bobs = bob.thread(thread.id).join()
    with pytest.raises(imkit.Forbidden):
        bobs.remove(alice.user)
    thread.remove(bob.user)
    told = change(bob, "member_removed", thread.id)
    assert (told.user, told.operator) == (bob.user, alice.user)
    assert list(thread.members()) == [alice.user]


@pytest.mark.parametrize("user", ["..", ".", "", "no/user"])
def test_a_user_id_cannot_change_the_path_of_a_rest_call(thread: imkit.Thread, user: str) -> None:
    # DELETE /thread/{id}/users/.. would be DELETE /thread/{id}.
    with pytest.raises(imkit.InvalidMessage):
        thread.remove(user)
    assert thread.refresh().name == "Oolong"


def test_destroy(alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread) -> None:
    with pytest.raises(imkit.Forbidden):
        bob.thread(thread.id).destroy()
    thread.destroy()
    assert thread.name is None
    change(bob, "destroy", thread.id)
    calls: list[Callable[[], object]] = [
        lambda: thread.refresh(),
        lambda: thread.join(),
        lambda: thread.rename("x"),
        lambda: list(thread.members()),
        lambda: thread.last_message(),
    ]
    for call in calls:
        with pytest.raises(imkit.ThreadNotFound) as caught:
            call()
        assert caught.value.code == 1300
        assert "group.threads()" in caught.value.hint


def test_last_message(bob: imkit.Session, thread: imkit.Thread) -> None:
    assert thread.last_message() is None
    thread.send("first")
    sent = thread.send(imkit.Text("newest", ext={"n": 1}))
    last = thread.last_message()
    assert last is not None
    assert (last.id, last.text, last.ext, last.sender, last.to) == (sent.id, "newest", {"n": 1}, sent.sender, thread.id)
    assert last.time == sent.time
    thread.recall(sent)
    assert thread.last_message() is not None
    assert thread.last_message().text == "first"


def test_parent_finds_the_message_that_the_thread_hangs_on(
    alice: imkit.Session, bob: imkit.Session, group: imkit.Group
) -> None:
    parent = group.send("Which oolong?")
    for number in range(55):
        group.send(f"later {number}")
    thread = group.create_thread("Oolong", parent)
    for number in range(5):
        group.send(f"last {number}")
    found = bob.thread(thread.id).parent()
    assert found is not None
    assert (found.id, found.text) == (parent.id, "Which oolong?")
    assert found.overview is not None
    assert found.overview.thread_id == thread.id
    group.recall(parent)
    assert bob.thread(thread.id).parent() is None


def test_lists_over_several_pages(alice: imkit.Session, group: imkit.Group) -> None:
    made = [group.create_thread(f"thread {number}", group.send(f"parent {number}")) for number in range(103)]
    for listing in (group.threads(), alice.threads(), alice.threads(group)):
        found = list(listing)
        assert len(found) == 103
        assert set(found) == set(made)
        assert {thread.name for thread in found} == {f"thread {number}" for number in range(103)}
    assert len(list(itertools.islice(group.threads(), 3))) == 3

    async def main() -> int:
        return len([thread async for thread in group.threads()])

    assert asyncio.run(main()) == 103


def test_members_over_several_pages(sandbox: Sandbox, alice: imkit.Session) -> None:
    users = [f"member-{number:03}" for number in range(120)]
    for user in users:
        register(sandbox, user, "password")
    group = alice.create_group("large", members=users)
    assert sorted(group.members()) == sorted([alice.user, *users])


# ------------------------------------------------------------------------ display

HOSTILE = "<script>alert(1)</script>\x1b[2J‮"


def test_hostile_names_are_escaped_in_reprs_and_cards(group: imkit.Group, thread: imkit.Thread) -> None:
    thread.rename(HOSTILE[:64])
    group.account.known.group_names[group.id] = HOSTILE
    for thing in (thread, group):
        assert "<script>" not in thing._repr_html_()
        assert "&lt;script&gt;" in thing._repr_html_()
        for shown in (repr(thing), thing._repr_html_()):
            assert "\x1b" not in shown
            assert "‮" not in shown
    assert thread.id in repr(thread)


def test_cards_show_the_known_attributes_and_the_user(group: imkit.Group, thread: imkit.Thread) -> None:
    user = group.account.user
    for told in ("Group", "1 thread known", group.id, f"as {user}"):
        assert told in group._repr_html_()
    thread.refresh()
    for told in ("Thread", thread.id, "1 member", f"by {user}", f"in group {group.name}"):
        assert told in thread._repr_html_()
    assert repr(thread).endswith(f" in group {group.id}, 1 member>")


def test_reprs_do_not_ask_the_service() -> None:
    with odd_session(lambda _: Answer(500, {})) as (session, server):
        assert repr(session.thread("42").members()) == "<members of thread 42: iterate it, or list(…) it>"
        assert "threads alice joined in group 7" in repr(session.threads("7"))
        assert repr(session.thread("42")) == "<Thread 42>"
        assert repr(session.group("42")) == "<Group 42>"
        assert server.asked == []


def test_groups_and_threads_are_equal_by_id_kind_and_user(alice: imkit.Session, bob: imkit.Session) -> None:
    assert alice.thread("42") == alice.thread("42")
    assert alice.thread("42") != alice.group("42")
    assert alice.thread("42") != bob.thread("42")
    assert len({alice.thread("42"), alice.thread("42"), alice.group("42")}) == 2
    assert alice.thread("42") != "42"
