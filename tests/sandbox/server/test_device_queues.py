"""The device queues, compared with a model of their rules."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from imkit.sandbox.server.device_queues import REMEMBERED_DEVICES, DeviceQueues
from imkit.sandbox.server.store import Store
from tests.sandbox.server.test_store import fail_after

QUEUES = ["21@conference.easemob.com", "sys@easemob.com"]


RESOURCES = ["phone", "tablet", "laptop"]


class QueueModel(RuleBasedStateMachine):
    """Carries out random operations on `DeviceQueues` and on a model, and compares the two.

    The model has the rules of `device_queues` in Python sets.
    """

    def __init__(self) -> None:
        super().__init__()
        # Not the machine's clock: ids come from the time, and a case that runs again must give the same ids.
        ticks = itertools.count(3_000_000)
        self.store = Store(None, clock=lambda: next(ticks) // 3)
        self.queues = DeviceQueues(self.store)
        self.numbers: dict[str, int] = {}
        self.online: set[str] = set()
        # The model, in pairs of queue and item.
        self.of_device: dict[str, set[tuple[str, int]]] = {}
        self.of_user: set[tuple[str, int]] = set()
        self.acknowledged: set[tuple[str, int]] = set()  # by any device

    @rule(resource=st.sampled_from(RESOURCES))
    def log_in(self, resource: str) -> None:
        with self.store.transaction():
            self.numbers[resource] = self.queues.log_in("bob", resource)
        if resource in self.of_device:
            self.of_device[resource] |= self.of_user
        else:
            everything = set.union(self.of_user, *self.of_device.values())
            self.of_device[resource] = everything - self.acknowledged
        self.online.add(resource)

    @precondition(lambda self: self.online)
    @rule(data=st.data())
    def log_out(self, data: st.DataObject) -> None:
        self.online.discard(data.draw(st.sampled_from(sorted(self.online))))

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 4), without=st.sampled_from([None, *RESOURCES]))
    def deliver(self, queue: str, count: int, without: str | None) -> None:
        """Deliver to the devices online; `without` is the sending device, which gets no copy."""
        receivers = sorted(self.online - {without})
        if not receivers and without in self.online:
            return  # `Delivery.deliver` puts no copy for a sender without another device
        for _ in range(count):
            with self.store.transaction():
                item = self.store.new_id()
                self.queues.keep_unstored(item, str(item).encode())
                self.queues.put("bob", queue, item, [self.numbers[each] for each in receivers])
            for each in receivers:
                self.of_device[each].add((queue, item))
            if not receivers:
                self.of_user.add((queue, item))

    @precondition(lambda self: any(self.of_device[each] for each in self.online))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        resource = data.draw(st.sampled_from(sorted(each for each in self.online if self.of_device[each])))
        queue, item = data.draw(st.sampled_from(sorted(self.of_device[resource])))
        key = item + data.draw(st.sampled_from([0, 0, 0, -1, 1, 2**80]))
        done = {each for each in self.of_device[resource] if each[0] == queue and each[1] <= key}
        with self.store.transaction():
            assert self.queues.acknowledge("bob", self.numbers[resource], queue, key) == len(done)
        self.of_device[resource] -= done
        self.of_user -= done
        self.acknowledged |= done

    @precondition(lambda self: self.of_device)
    @rule(data=st.data())
    def recall(self, data: st.DataObject) -> None:
        everything = sorted(set.union(self.of_user, *self.of_device.values()))
        if everything:
            queue, item = data.draw(st.sampled_from(everything))
            with self.store.transaction():
                self.queues.withdraw(["bob"], queue, item)
            for owed in (self.of_user, *self.of_device.values()):
                owed.discard((queue, item))

    @rule()
    def fail(self) -> None:
        """A failed transaction changes nothing, in the file or in memory."""

        def change() -> None:
            self.queues.put("bob", QUEUES[0], self.store.new_id(), [])
            self.queues.log_in("bob", "never")

        fail_after(self.store, change)

    @rule()
    def restart(self) -> None:
        """After a restart no device is online, and the queues are the same."""
        self.queues = DeviceQueues(self.store)
        with self.store.transaction():
            self.queues.sweep()
        self.online.clear()

    @invariant()
    def every_queue_is_as_in_the_model(self) -> None:
        for resource, number in self.numbers.items():
            found = set()
            for queue in QUEUES:
                items = self.queues.page("bob", number, queue, 1000)
                assert [meta for _, meta in items] == [str(item).encode() for item, _ in items]
                assert [item for item, _ in items] == sorted(item for item, _ in items)
                found |= {(queue, item) for item, _ in items}
            assert found == self.of_device[resource]
            counts = dict(self.queues.unread("bob", number))
            assert counts == {queue: n for queue in QUEUES if (n := len([1 for each in found if each[0] == queue]))}


TestDeviceQueues = QueueModel.TestCase
TestDeviceQueues.settings = settings(max_examples=150, stateful_step_count=40)


def test_the_items_of_forgotten_devices_go_into_the_users_queue() -> None:
    store = Store(None)
    queues = DeviceQueues(store)
    with store.transaction():
        first = queues.log_in("bob", "first")
        item = store.new_id()
        queues.keep_unstored(item, b"kept")
        queues.put("bob", QUEUES[0], item, [first])
        for number in range(REMEMBERED_DEVICES + 5):
            device = queues.log_in("bob", f"random_web_{number}")
            if number == 0:  # this device acknowledges the item; only the first one has it still
                queues.acknowledge("bob", device, QUEUES[0], item)
            queues.forget_old_devices("bob", [device])
        late = store.new_id()
        queues.keep_unstored(late, b"late")
        queues.put("bob", QUEUES[0], late, [])
        assert [meta for _, meta in queues.page("bob", queues.log_in("bob", "first"), QUEUES[0], 9)] == [b"late"]
    devices = store.rows("SELECT DISTINCT device FROM pending")
    assert len(devices) <= REMEMBERED_DEVICES + 2
