"""The store: ids, versions of the file, and rollbacks."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.sandbox.server.groups import Groups
from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.store import VERSION, Store
from imkit.sandbox.server.users import Users


class Broken(Exception):
    """Makes a transaction fail."""


def fail_after(store: Store, change: Callable[[], object]) -> None:
    """Make a change in a transaction that then fails."""

    def attempt() -> None:
        with store.transaction():
            change()
            raise Broken

    with pytest.raises(Broken):
        attempt()


# ---------------------------------------------------------------- ids and time


@given(st.lists(st.integers(10**12, 2 * 10**12), min_size=1, max_size=50))
def test_ids_grow_whatever_the_clock_does(times: list[int]) -> None:
    clock = iter(times)
    store = Store(None, clock=lambda: next(clock))
    with store.transaction():
        ids = [store.new_id() for _ in times]
    assert ids == sorted(set(ids))
    assert all(len(str(each)) == 19 and each < 2**63 for each in ids)


def test_ids_grow_after_a_restart_with_an_earlier_clock(tmp_path: Path) -> None:
    now = [2 * 10**12]
    ids, groups = [], []
    for _ in range(3):
        store = Store(tmp_path / "x.db", clock=lambda: now[0])
        with store.transaction():
            ids.append(store.new_id())
            groups.append(store.new_conversation_id("21"))
        store.close()
        now[0] -= 10**6
    assert ids == sorted(set(ids))
    assert groups == sorted(set(groups))


# ---------------------------------------------------------------- the file


def test_data_of_another_version_are_renamed_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    store = Store(path)
    with store.transaction():
        Users(store).register("alice", None)
    store.close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {VERSION + 7}")
    database.close()
    store = Store(path)
    assert not Users(store).exists("alice")
    assert store.set_aside is not None
    store.close()
    kept = sqlite3.connect(store.set_aside)
    assert kept.execute("SELECT name FROM users").fetchall() == [("alice",)]
    kept.close()


def test_a_file_that_is_not_a_database_is_renamed_too(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    path.write_bytes(b"a letter to my aunt" * 100)
    store = Store(path)
    store.close()
    assert store.set_aside is not None
    assert store.set_aside.read_bytes().startswith(b"a letter to my aunt")


def test_data_of_an_earlier_imkit_get_what_was_added_since(tmp_path: Path) -> None:
    file = tmp_path / "sandbox.db"
    store = Store(file)
    with store.transaction():
        store.insert(
            "INSERT INTO messages (id, conversation, sender, kind, meta) VALUES (7, '21', 'a', 'txt', ?)", (b"m",)
        )
    store.close()
    earlier = sqlite3.connect(file)
    earlier.executescript(
        "DROP TABLE conversation_views; DROP TABLE forgotten_messages;"
        "DROP INDEX messages_by_conversation_and_sender;"
        "CREATE INDEX messages_by_conversation ON messages (conversation, id);"
    )
    earlier.close()
    store = Store(file)
    assert store.set_aside is None
    assert MessageRecord(store).page("21", limit=10, newest_first=True, viewer="bob").messages == [(7, b"m")]
    indexes = {name for (name,) in store.rows("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert "messages_by_conversation_and_sender" in indexes
    assert "messages_by_conversation" not in indexes
    store.close()


def test_a_failed_transaction_changes_nothing() -> None:
    store = Store(None)
    users, groups, record = Users(store), Groups(store), MessageRecord(store)
    with store.transaction():
        users.register("alice", "pw")
        group = groups.create_group("alice", "tea", members=[])
        thread = groups.create_thread(group.id, "1", "alice", "Oolong")

    fail_after(store, lambda: groups.rename_thread(thread, "other"))
    fail_after(store, lambda: groups.count_message(thread, 5))
    fail_after(store, lambda: groups.add_member(thread.id, "bob"))
    fail_after(store, lambda: groups.destroy_group(group.id))
    fail_after(store, lambda: users.remove("alice"))
    fail_after(store, lambda: record.add(1, thread.id, "alice", "txt", b""))
    kept = groups.thread(thread.id)
    assert kept is not None
    assert (kept.name, kept.messages, list(groups.members(thread.id))) == ("Oolong", 0, ["alice"])
    assert users.is_password("alice", "pw")
    assert record.last(thread.id) is None
