"""`ConversationTree`: what it lists, how events change it, and what becomes of a load that something disturbs."""

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import imkit
from imkit.events import DeviceChanged, GroupChanged, MessageReceived, ThreadChanged
from imkit.portal import portal
from imkit.widgets.labels import Labels
from imkit.widgets.thread_model import ConversationTree
from tests.waits import WAIT
from tests.widgets.conftest import RestGate, Tea, until

Follow = Callable[[imkit.Session], ConversationTree]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Return a function that makes a tree which follows the events of a session; it is not loaded yet."""
    readers: list[concurrent.futures.Future[None]] = []
    errors: list[Exception] = []

    async def take_events(tree: ConversationTree, events: Any) -> None:
        async for event in events:
            tree.take_event(event)

    def begin(session: imkit.Session) -> ConversationTree:
        tree = ConversationTree(session, Labels("en"))
        events = session.events(ThreadChanged, DeviceChanged, GroupChanged, MessageReceived, replay=False)
        readers.append(portal().submit(take_events(tree, events)))
        readers.append(portal().submit(tree.load_on_change(errors.append, pause=0)))
        return tree

    yield begin
    for reader in readers:
        reader.cancel()
    assert errors == []


def load(tree: ConversationTree) -> concurrent.futures.Future[None]:
    return portal().submit(tree.load())


def rows(tree: ConversationTree) -> dict[str, dict[str, Any]]:
    """Return the rows by name."""
    return {row["name"]: row for row in portal().run(tree.as_rows)}


def threads_of(group: imkit.Group) -> str:
    """Return the end of the path of the list of a group's threads."""
    return f"/threads/chatgroups/{group.id}"


def test_it_lists_groups_and_threads_with_their_counts(tea: Tea, follow: Follow) -> None:
    tea.thread.send("Dong Ding <b>")
    tree = follow(tea.bob)
    assert (tree.is_loading, rows(tree)) == (True, {})
    load(tree).result(WAIT)
    found = rows(tree)
    assert not tree.is_loading
    assert found["tea"]["facts"] == ["1 thread", "2 members"]
    assert found["Oolong"]["facts"] == ["joined", "2 members", "1 message"]
    assert found["Oolong"]["newest"] == f"{tea.alice.user}: Dong Ding <b>"
    assert found["Oolong"]["at"] > 1_700_000_000_000
    assert tree.find(found["Oolong"]["key"]) == tea.bobs_thread
    assert tree.find(found["tea"]["key"]) == tea.bob.group(tea.group.id)
    assert [tree.find(key) for key in ("thread:9", "group:9", f"group:{tea.thread.id}", "tea", None)] == [None] * 5


def test_a_user_without_groups_has_an_empty_tree(alice: imkit.Session, follow: Follow) -> None:
    tree = follow(alice)
    load(tree).result(WAIT)
    assert (tree.is_loading, rows(tree)) == (False, {})


def test_it_follows_changes_made_by_others(tea: Tea, follow: Follow) -> None:
    tree = follow(tea.bob)
    load(tree).result(WAIT)
    other = tea.group.create_thread("Jasmine", tea.group.send("Jasmine?"))
    until(lambda: "Jasmine" in rows(tree))
    other.rename("Jasmine 茉莉")
    until(lambda: "Jasmine 茉莉" in rows(tree))
    tea.thread.send("news")
    until(lambda: "news" in rows(tree)["Oolong"]["newest"])
    until(lambda: "1 message" in rows(tree)["Oolong"]["facts"])
    other.destroy()
    until(lambda: "Jasmine 茉莉" not in rows(tree))
    tea.alice.create_group("coffee", members=[tea.bob.user])
    until(lambda: "coffee" in rows(tree))
    # Groups are sorted by age; a new message moves none.
    tea.thread.send("more news")
    until(lambda: "more news" in rows(tree)["Oolong"]["newest"])
    groups = [row["name"] for row in portal().run(tree.as_rows) if row["kind"] == "group"]
    assert groups[:2] == ["coffee", "tea"]


def test_a_recalled_newest_message_gives_way_to_the_one_before(tea: Tea, follow: Follow) -> None:
    tree = follow(tea.bob)
    load(tree).result(WAIT)
    tea.thread.send("Dong Ding")
    oops = tea.thread.send("oops")
    until(lambda: "oops" in rows(tree)["Oolong"]["newest"])
    tea.thread.recall(oops)
    until(lambda: "Dong Ding" in rows(tree)["Oolong"]["newest"])


def test_what_the_user_does_on_another_device_shows(tea: Tea, gate: RestGate, follow: Follow) -> None:
    tree = follow(tea.bob)
    load(tree).result(WAIT)
    elsewhere = gate.bob.thread(tea.thread.id)
    elsewhere.leave()
    until(lambda: "joined" not in rows(tree)["Oolong"]["facts"])
    elsewhere.join()
    until(lambda: "joined" in rows(tree)["Oolong"]["facts"])
    tea.thread.remove(tea.bob.user)
    until(lambda: "joined" not in rows(tree)["Oolong"]["facts"])


def test_listeners_hear_of_changes_and_are_forgotten_when_cancelled(tea: Tea, follow: Follow) -> None:
    tree = follow(tea.bob)
    shown: list[int] = []
    showing = portal().submit(tree.call_on_change(lambda: shown.append(len(tree.groups)), 0.0))
    until(lambda: shown == [0])  # at once, before any change
    load(tree).result(WAIT)
    until(lambda: shown[-1] == 1)
    showing.cancel()
    until(lambda: not tree._listeners)


# ------------------------------------------------------------------ a load that something disturbs


def test_changes_while_the_threads_are_listed_are_not_lost(tea: Tea, gate: RestGate, follow: Follow) -> None:
    """The answer that lists the threads is older than the events that come before it arrives."""
    doomed = tea.group.create_thread("Jasmine", tea.group.send("Jasmine?"))
    tree = follow(gate.bob)
    load(tree).result(WAIT)
    listing = gate.hold(threads_of(tea.group))
    loading = load(tree)
    listing.wait()
    doomed.destroy()
    tea.group.create_thread("Sencha", tea.group.send("Sencha?"))
    tea.bobs_thread.leave()
    tea.thread.send("news")
    until(lambda: "Sencha" in rows(tree) and "news" in rows(tree)["Oolong"]["newest"])
    assert "Jasmine" not in rows(tree)
    assert "joined" not in rows(tree)["Oolong"]["facts"]
    listing.release()
    loading.result(WAIT)
    found = rows(tree)
    assert found.keys() == {"tea", "Oolong", "Sencha"}
    assert "joined" not in found["Oolong"]["facts"]
    assert "news" in found["Oolong"]["newest"]


def test_a_thread_of_a_group_that_is_not_listed_yet_comes_with_its_group(
    tea: Tea, gate: RestGate, follow: Follow
) -> None:
    tree = follow(gate.bob)
    groups = gate.hold("/joined_chatgroups")
    loading = load(tree)
    groups.wait()
    received = gate.bob.events(ThreadChanged)
    sencha = tea.group.create_thread("Sencha", tea.group.send("Sencha?"))
    received.next(timeout=WAIT, where=lambda event: event.thread_id == sencha.id)
    assert rows(tree) == {}
    groups.release()
    loading.result(WAIT)
    assert rows(tree).keys() == {"tea", "Oolong", "Sencha"}


def test_a_thread_destroyed_during_the_load_does_not_end_it(tea: Tea, gate: RestGate) -> None:
    """The service refuses to give the newest messages of 20 threads if one of them is no more."""
    doomed = tea.group.create_thread("Jasmine", tea.group.send("Jasmine?"))
    tea.thread.send("Dong Ding")
    tree = ConversationTree(gate.bob, Labels("en"))  # it follows no events, so the thread stays in the list
    listing = gate.hold(threads_of(tea.group))
    loading = load(tree)
    listing.wait()
    doomed.destroy()
    listing.release()
    loading.result(WAIT)
    found = rows(tree)
    assert "Dong Ding" in found["Oolong"]["newest"]
    assert found["Oolong"]["facts"] == ["joined", "2 members", "1 message"]
    assert found["tea"]["facts"] == ["2 threads", "2 members"]


def test_a_message_that_comes_before_older_newest_messages_stays(tea: Tea, gate: RestGate, follow: Follow) -> None:
    tea.thread.send("old")
    tree = follow(gate.bob)
    newest = gate.hold("/thread/message")
    loading = load(tree)
    newest.wait()
    tea.thread.send("news")
    until(lambda: "news" in rows(tree)["Oolong"]["newest"])
    newest.release()
    loading.result(WAIT)
    assert "news" in rows(tree)["Oolong"]["newest"]


def test_an_older_list_of_groups_does_not_replace_a_newer_one(tea: Tea, gate: RestGate, follow: Follow) -> None:
    tree = follow(gate.bob)
    first = gate.hold("/joined_chatgroups")
    loading = load(tree)
    first.wait()
    tea.alice.create_group("coffee", members=[tea.bob.user])  # the event causes a second load
    until(lambda: {"coffee", "tea", "Oolong"} <= rows(tree).keys())
    assert tree.is_loading  # the first load goes on
    first.release()
    loading.result(WAIT)
    assert {"coffee", "tea", "Oolong"} == rows(tree).keys()
    until(lambda: not tree.is_loading)


def test_a_request_that_hangs_holds_up_no_other_group(tea: Tea, gate: RestGate) -> None:
    coffee = tea.alice.create_group("coffee", members=[tea.bob.user])
    coffee.create_thread("Espresso", coffee.send("Espresso?"))
    tree = ConversationTree(gate.bob, Labels("en"))
    hanging = gate.hold(threads_of(tea.group))
    loading = load(tree)
    hanging.wait()
    until(lambda: "Espresso" in rows(tree))
    assert tree.is_loading
    assert "Oolong" not in rows(tree)
    hanging.release()
    loading.result(WAIT)
    assert {"Oolong", "Espresso"} <= rows(tree).keys()


@pytest.mark.parametrize("what", ["threads", "history"])
def test_a_group_that_fails_is_told_after_the_others_are_loaded(tea: Tea, gate: RestGate, what: str) -> None:
    coffee = tea.alice.create_group("coffee", members=[tea.bob.user])
    coffee.create_thread("Espresso", coffee.send("Espresso?"))
    tree = ConversationTree(gate.bob, Labels("en"))
    tea.thread.send("Dong Ding")
    path = threads_of(coffee) if what == "threads" else "/messageroaming"
    gate.refuse(path)
    with pytest.raises(imkit.Forbidden, match="closed for today"):
        load(tree).result(WAIT)
    assert not tree.is_loading
    found = rows(tree)
    assert "Dong Ding" in found["Oolong"]["newest"]
    assert "coffee" in found
    assert ("Espresso" in found) == (what == "history")
    gate.accept(path)
    load(tree).result(WAIT)
    assert "Espresso" in rows(tree)
    assert "1 message" in rows(tree)["Oolong"]["facts"]


def test_a_failed_load_keeps_what_was_listed(tea: Tea, gate: RestGate) -> None:
    tree = ConversationTree(gate.bob, Labels("en"))
    load(tree).result(WAIT)
    before = rows(tree)
    for path in ("/joined_chatgroups", threads_of(tea.group)):
        gate.refuse(path)
        with pytest.raises(imkit.Forbidden):
            load(tree).result(WAIT)
        gate.accept(path)
        assert rows(tree) == before
    tea.group.remove(tea.bob.user)
    load(tree).result(WAIT)
    assert rows(tree) == {}


def test_a_load_after_the_logout_ends_with_an_error(tea: Tea) -> None:
    tree = ConversationTree(tea.bob, Labels("en"))
    tea.bob.close()
    with pytest.raises(imkit.SessionClosed):
        load(tree).result(WAIT)
    assert not tree.is_loading
