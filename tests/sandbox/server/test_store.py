"""The store's own rules, without a socket: device queues as a state machine, ids, pages, versions, rollbacks."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imkit.sandbox.server.device_queues import REMEMBERED_DEVICES, DeviceQueues
from imkit.sandbox.server.groups import Groups
from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.store import ID_BITS, VERSION, Store
from imkit.sandbox.server.users import Users

QUEUES = ["21@conference.easemob.com", "sys@easemob.com"]
RESOURCES = ["phone", "tablet", "laptop"]


class Broken(Exception):
    """What a test breaks a transaction with."""


def fail_after(store: Store, change: Callable[[], object]) -> None:
    """Make a change in a transaction that then fails."""

    def attempt() -> None:
        with store.transaction():
            change()
            raise Broken

    with pytest.raises(Broken):
        attempt()


class QueueModel(RuleBasedStateMachine):
    """The house's rules, said once more in Python sets and compared with what the store does.

    Each device online at delivery has its own queue; with none online the user's queue keeps the item. A returning
    device gets its own and the user's; a new one gets what no device has acknowledged. Only an acknowledgement ends it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self.store = Store(None)
        self.queues = DeviceQueues(self.store)
        self.numbers: dict[str, int] = {}
        self.online: set[str] = set()
        # The model: what each device owes, what waits for the user, what somebody has acknowledged. (queue, item)
        self.owed: dict[str, set[tuple[str, int]]] = {}
        self.waiting: set[tuple[str, int]] = set()
        self.acknowledged: set[tuple[str, int]] = set()

    @rule(resource=st.sampled_from(RESOURCES))
    def arrive(self, resource: str) -> None:
        with self.store.transaction():
            self.numbers[resource] = self.queues.log_in("bob", resource)
        if resource in self.owed:
            self.owed[resource] |= self.waiting
        else:
            everything = set.union(self.waiting, *self.owed.values())
            self.owed[resource] = everything - self.acknowledged
        self.online.add(resource)

    @precondition(lambda self: self.online)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.online.discard(data.draw(st.sampled_from(sorted(self.online))))

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 4), without=st.sampled_from([None, *RESOURCES]))
    def deliver(self, queue: str, count: int, without: str | None) -> None:
        """To the devices online; `without` is the sending one, which gets no copy."""
        receivers = sorted(self.online - {without})
        if not receivers and without in self.online:
            return  # as delivery does: the sender knows
        for _ in range(count):
            with self.store.transaction():
                item = self.store.new_id()
                self.queues.keep_unstored(item, str(item).encode())
                self.queues.put("bob", queue, item, [self.numbers[each] for each in receivers])
            for each in receivers:
                self.owed[each].add((queue, item))
            if not receivers:
                self.waiting.add((queue, item))

    @precondition(lambda self: any(self.owed[each] for each in self.online))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        resource = data.draw(st.sampled_from(sorted(each for each in self.online if self.owed[each])))
        queue, item = data.draw(st.sampled_from(sorted(self.owed[resource])))
        key = item + data.draw(st.sampled_from([0, 0, 0, -1, 1, 2**80]))
        done = {each for each in self.owed[resource] if each[0] == queue and each[1] <= key}
        with self.store.transaction():
            assert self.queues.acknowledge("bob", self.numbers[resource], queue, key) == len(done)
        self.owed[resource] -= done
        self.waiting -= done
        self.acknowledged |= done

    @precondition(lambda self: self.owed)
    @rule(data=st.data())
    def recall(self, data: st.DataObject) -> None:
        everything = sorted(set.union(self.waiting, *self.owed.values()))
        if everything:
            queue, item = data.draw(st.sampled_from(everything))
            with self.store.transaction():
                self.queues.withdraw(["bob"], queue, item)
            for owed in (self.waiting, *self.owed.values()):
                owed.discard((queue, item))

    @rule()
    def fail(self) -> None:
        """A transaction that fails leaves no trace, in the file or in memory."""

        def change() -> None:
            self.queues.put("bob", QUEUES[0], self.store.new_id(), [])
            self.queues.log_in("bob", "never")

        fail_after(self.store, change)

    @rule()
    def restart(self) -> None:
        """Everybody is offline after a restart; what was owed is still owed."""
        self.queues = DeviceQueues(self.store)
        with self.store.transaction():
            self.queues.sweep()
        self.online.clear()

    @invariant()
    def every_device_owes_what_the_rules_say(self) -> None:
        for resource, number in self.numbers.items():
            found = set()
            for queue in QUEUES:
                items = self.queues.page("bob", number, queue, 1000)
                assert [meta for _, meta in items] == [str(item).encode() for item, _ in items]
                assert [item for item, _ in items] == sorted(item for item, _ in items)
                found |= {(queue, item) for item, _ in items}
            assert found == self.owed[resource]
            counts = dict(self.queues.unread("bob", number))
            assert counts == {queue: n for queue in QUEUES if (n := len([1 for each in found if each[0] == queue]))}


TestDeviceQueues = QueueModel.TestCase
TestDeviceQueues.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# ---------------------------------------------------------------- ids and time


@given(st.lists(st.integers(10**12, 2 * 10**12), min_size=1, max_size=50))
def test_ids_grow_whatever_the_clock_does(times: list[int]) -> None:
    clock = iter(times)
    store = Store(None, clock=lambda: next(clock))
    with store.transaction():
        ids = [store.new_id() for _ in times]
    assert ids == sorted(set(ids))
    assert all(len(str(each)) == 19 and each < 2**63 for each in ids)


def test_ids_grow_across_restarts_and_a_clock_that_went_back(tmp_path: Path) -> None:
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


# ---------------------------------------------------------------- pages of history


@given(
    times=st.lists(st.integers(0, 30), max_size=40),
    limit=st.integers(1, 7),
    newest_first=st.booleans(),
    since=st.none() | st.integers(-1, 31),
    until=st.none() | st.integers(-1, 31),
    kinds=st.sets(st.sampled_from(["txt", "img", "combine"])),
)
def test_pages_of_history_are_what_a_list_would_give(
    times: list[int], limit: int, newest_first: bool, since: int | None, until: int | None, kinds: set[str]
) -> None:
    begin = 10**12
    store = Store(None)
    record = MessageRecord(store)
    names = ["txt", "img", "combine"]
    rows = [
        ((begin + time << ID_BITS) + number, "21", "alice", names[number % 3], b"%d" % number)
        for number, time in enumerate(sorted(times))
    ]
    with store.transaction():
        record.add_many(rows)
        record.add(store.new_id(), "22", "alice", "txt", b"elsewhere")
    wanted = kinds | ({"combine"} if "txt" in kinds else set())
    expected = [
        (row[0], row[4])
        for row in rows
        if (since is None or row[0] >> ID_BITS >= begin + since)
        and (until is None or row[0] >> ID_BITS <= begin + until)
        and (not wanted or row[3] in wanted)
    ]
    found, after = [], None
    while True:
        page = record.page(
            "21",
            limit=limit,
            newest_first=newest_first,
            after=after,
            since=None if since is None else begin + since,
            until=None if until is None else begin + until,
            kinds=kinds,
        )
        found += page.messages
        if page.is_last:
            break
        after = int(page.next_key)
    assert found == (expected[::-1] if newest_first else expected)


# ---------------------------------------------------------------- the file


def test_data_of_another_version_are_set_aside_and_kept(tmp_path: Path) -> None:
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


def test_what_is_no_database_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    path.write_bytes(b"a letter to my aunt" * 100)
    store = Store(path)
    store.close()
    assert store.set_aside is not None
    assert store.set_aside.read_bytes().startswith(b"a letter to my aunt")


def test_a_failed_transaction_is_forgotten_everywhere() -> None:
    store = Store(None)
    people, groups, record = Users(store), Groups(store), MessageRecord(store)
    with store.transaction():
        people.register("alice", "pw")
        group = groups.create_group("alice", "tea", members=[])
        thread = groups.create_thread(group.id, "1", "alice", "Oolong")

    fail_after(store, lambda: groups.rename_thread(thread, "other"))
    fail_after(store, lambda: groups.count_message(thread, 5))
    fail_after(store, lambda: groups.add_member(thread.id, "bob"))
    fail_after(store, lambda: groups.destroy_group(group.id))
    fail_after(store, lambda: people.remove("alice"))
    fail_after(store, lambda: record.add(1, thread.id, "alice", "txt", b""))
    kept = groups.thread(thread.id)
    assert kept is not None
    assert (kept.name, kept.messages, list(groups.members(thread.id))) == ("Oolong", 0, ["alice"])
    assert people.is_password("alice", "pw")
    assert record.last(thread.id) is None


def test_old_devices_are_folded_into_the_users_queue() -> None:
    store = Store(None)
    queues = DeviceQueues(store)
    with store.transaction():
        first = queues.log_in("bob", "first")
        item = store.new_id()
        queues.keep_unstored(item, b"kept")
        queues.put("bob", QUEUES[0], item, [first])
        for number in range(REMEMBERED_DEVICES + 5):
            device = queues.log_in("bob", f"random_web_{number}")
            if number == 0:  # a device acknowledges it: the old one alone still owes it
                queues.acknowledge("bob", device, QUEUES[0], item)
            queues.forget_old_devices("bob", [device])
        late = store.new_id()
        queues.keep_unstored(late, b"late")
        queues.put("bob", QUEUES[0], late, [])
        assert [meta for _, meta in queues.page("bob", queues.log_in("bob", "first"), QUEUES[0], 9)] == [b"late"]
    devices = {row[2] for row in queues.snapshot()}
    assert len(devices) <= REMEMBERED_DEVICES + 2


def test_a_million_messages_could_be_made_in_a_minute() -> None:
    """The demo's way in: twenty thousand rows, well within a second on any machine."""
    store = Store(None)
    with store.transaction():
        rows = ((store.new_id(), "21", "alice", "txt", b"x" * 200) for _ in range(20_000))
        MessageRecord(store).add_many(rows)
    assert len(MessageRecord(store).page("21", limit=50, newest_first=True).messages) == 50
