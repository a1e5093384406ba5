"""Synchronisation with faults: no message is lost or delivered twice, and none is acknowledged before its delivery.

Two state machines play a service against `ClientProtocol`. In the orderly one, frames keep their order, as on a socket,
and are lost only together with the socket. Its service may push pages that were not requested, split and repeat pages,
leave fields out, and refuse. In the lossy one, single frames are also lost, repeated and reordered, in both directions.

The lossy machine leaves out one case, because no client can handle it: a page is pushed while the same queue is being
fetched, and the pages before it were lost. A page does not name the request that it answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from imkit.events import MessageReceived, ThreadChanged
from imkit.messages import Unknown
from imkit.wire import schema
from imkit.wire.protocol import ClientProtocol, Deliver, LoggedIn, LoginRefused, Output, Silent, Transmit
from tests.wire import service
from tests.wire.service import ALICE, uplinks

QUEUES = ["a", "b", "c"]
KINDS = ["text", "text", "notice", "unreadable body", "unreadable", "nothing to tell"]
ODD_PAGES = [
    "plain",
    "last",
    "no key",
    "no queue",
    "no status",
    "failed",
    "failed, full",
    "odd status",
    "split",
    "twice",
]
ODD_PAGES += ["blank", "blank with key"]


@dataclass
class Item:
    id: int
    kind: str

    def meta(self) -> bytes:
        if self.kind == "unreadable":
            return b"\xff\xff unreadable %d" % self.id
        if self.kind == "unreadable body":
            encoded: bytes = schema.Meta(id=self.id, ns=1, payload=b"\xff\xff").SerializeToString()
            return encoded
        if self.kind == "text":
            return service.message_meta(self.id)
        operation = b"update" if self.kind == "notice" else b"some news"
        payload = b'{"type":"thread","data":{"id":"%d","operation":"%s"}}' % (self.id, operation)
        notice: bytes = schema.Meta(id=self.id, ns=5, payload=payload).SerializeToString()
        return notice


def item_of(event: Any) -> int:
    if isinstance(event, ThreadChanged):
        return int(event.thread_id)
    assert isinstance(event, MessageReceived)
    body = event.message.body
    if isinstance(body, Unknown) and not event.message.id:
        return int(body.data.rsplit(b" ", 1)[1])
    return int(event.message.id)


@dataclass
class Down:
    """A frame on its way to the client. `unasked`: it is a page that answers no request."""

    data: bytes
    queue: str = ""
    unasked: bool = False


@dataclass
class Service:
    """The queues of pending items. An acknowledgement removes items; a page holds the first items of a queue."""

    page_size: int
    pending: dict[str, list[Item]] = field(default_factory=lambda: {name: [] for name in QUEUES})
    ever: dict[str, list[Item]] = field(default_factory=lambda: {name: [] for name in QUEUES})
    sent_up_to: dict[str, int] = field(default_factory=dict)  # the last item of each queue sent on this socket
    last_id: int = 1000
    next_page: str = "plain"

    def put(self, name: str, kinds: list[str]) -> None:
        for kind in kinds:
            self.last_id += 1
            item = Item(self.last_id, kind)
            self.pending[name].append(item)
            self.ever[name].append(item)

    def handle(self, data: bytes) -> list[Down]:
        [(kind, what)] = uplinks([Transmit(data)])
        if kind == "provision":
            self.sent_up_to = dict.fromkeys(QUEUES, 0)
            return [Down(service.login_reply())]
        if kind == "unread":
            return [Down(service.unread({name: len(items) for name, items in self.pending.items()}))]
        if kind == "fetch":
            return self.answer(what)
        if kind == "ack":
            name, key = what
            self.pending[name] = [item for item in self.pending[name] if item.id > key]
            return self.answer(name, key)
        return []  # statistics

    def answer(self, name: str, key: int | None = None) -> list[Down]:
        front = self.pending[name][: self.page_size]
        odd, self.next_page = self.next_page, "plain"
        if odd in {"failed", "blank", "blank with key"}:
            status = schema.Status(errorCode=1) if odd == "failed" else service.OK
            return [Down(service.page([], key if odd == "blank with key" else None, name, status=status), name)]
        if not front:
            return [Down(service.page([], key, name, isLast=True), name)]
        if odd == "split" and len(front) > 1:
            middle = len(front) // 2
            return [self.page(name, front[:middle]), self.page(name, front[middle:], unasked=True)]
        fields_by_oddity: dict[str, dict[str, Any]] = {
            "last": {"isLast": True},
            "no queue": {"queue": None},
            "no status": {"status": None},
            "failed, full": {"status": schema.Status(errorCode=1, reason="busy")},
            "odd status": {"status": schema.Status.FromString(b"\x08\x63")},
        }
        fields = fields_by_oddity.get(odd, {})
        page = self.page(name, front, with_key=odd != "no key", **fields)
        return [page, page] if odd == "twice" else [page]

    def push(self, name: str) -> list[Down]:
        """Send the items that were not sent on this socket yet, without a request."""
        fresh = [item for item in self.pending[name] if item.id > self.sent_up_to.get(name, 0)][: self.page_size]
        return [self.page(name, fresh, unasked=True)] if fresh else []

    def page(
        self, name: str, items: list[Item], *, with_key: bool = True, unasked: bool = False, **fields: Any
    ) -> Down:
        self.sent_up_to[name] = max(self.sent_up_to.get(name, 0), items[-1].id)
        key = items[-1].id if with_key else None
        return Down(service.page([item.meta() for item in items], key, name, **fields), name, unasked)


class Cursor(RuleBasedStateMachine):
    """The part that both machines share."""

    orderly = True

    @initialize(page_size=st.integers(1, 4))
    def begin(self, page_size: int) -> None:
        self.now = 0.0
        self.service = Service(page_size)
        self.protocol = ClientProtocol(ALICE, wall_clock=lambda: 1_795_390_333.0)
        self.delivered: dict[int, None] = {}
        self.newest: dict[str, int] = dict.fromkeys(QUEUES, 0)
        self.frames_sent = 0
        self.logged_in = False
        self.up: list[bytes] = []
        self.down: list[Down] = []
        self.connect()
        self.frames_flow_without_faults(8)

    # ------------------------------------------------------------ the client's side

    def connect(self) -> None:
        self.up, self.down, self.logged_in = [], [], False
        self.work_through(self.protocol.connect("token", self.now))

    def receive(self, frame: Down) -> None:
        active = self.protocol._socket.active
        if not self.orderly and frame.unasked and active is not None and active.queue.name == frame.queue:
            return  # drop it: see the docstring of this module
        before = self.frames_sent
        self.work_through(self.protocol.receive(frame.data, self.now), page_of=frame.queue)
        sent = self.frames_sent - before
        assert sent <= len(QUEUES) + 2, "one frame down sets off a bounded number of frames up"

    def work_through(self, outputs: list[Output], page_of: str = "") -> None:
        for output in outputs:
            if isinstance(output, Deliver):
                self.take([item_of(event) for event in output.events], page_of)
            elif isinstance(output, LoggedIn):
                self.logged_in = True
            elif isinstance(output, Silent | LoginRefused):
                assert isinstance(output, Silent) or not self.orderly
                self.connect()
                return
            elif isinstance(output, Transmit):
                self.frames_sent += 1
                for kind, what in uplinks([output]):
                    if kind == "ack":
                        self.check_ack(*what)
                self.up.append(output.data)

    def take(self, items: list[int], page_of: str) -> None:
        assert items == sorted(items), "a page keeps its order"
        for item in items:
            assert item not in self.delivered, "delivered twice"
            self.delivered[item] = None
        if self.orderly:
            assert items[0] > self.newest[page_of], "a queue keeps its order"
            self.newest[page_of] = items[-1]

    def check_ack(self, name: str, key: int) -> None:
        owed = [item.id for item in self.service.ever[name] if item.id <= key and item.kind != "nothing to tell"]
        assert all(item in self.delivered for item in owed), "acknowledged before it was delivered"

    # ---------------------------------------------------------------- what happens

    @rule(
        name=st.sampled_from(QUEUES),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
        announced=st.sampled_from(["notice", "notice", "push", "not at all"]),
    )
    def items_come(self, name: str, kinds: list[str], announced: str) -> None:
        self.service.put(name, kinds)
        if self.logged_in and announced == "notice":
            self.down.append(Down(service.notice(name)))
        elif self.logged_in and announced == "push":
            self.down += self.service.push(name)

    @rule(how=st.sampled_from(ODD_PAGES))
    def the_next_page_is_odd(self, how: str) -> None:
        self.service.next_page = how

    @precondition(lambda self: self.up)
    @rule(which=st.integers(0, 10), times=st.integers(1, 6))
    def frames_go_up(self, which: int, times: int) -> None:
        for _ in range(min(times, len(self.up))):
            self.down += self.service.handle(self.up.pop(0 if self.orderly else which % len(self.up)))

    @precondition(lambda self: self.down)
    @rule(which=st.integers(0, 10), times=st.integers(1, 6))
    def frames_come_down(self, which: int, times: int) -> None:
        for _ in range(min(times, len(self.down))):
            if self.down:
                self.receive(self.down.pop(0 if self.orderly else which % len(self.down)))

    @rule(seconds=st.sampled_from([1, 9, 11, 16, 31]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.work_through(self.protocol.tick(self.now))

    @rule(login_frames=st.sampled_from([8, 8, 8, 0, 1, 2]))
    def the_socket_breaks(self, login_frames: int) -> None:
        self.connect()
        self.frames_flow_without_faults(login_frames)

    @rule(frames=st.integers(1, 20))
    def frames_flow_without_faults(self, frames: int) -> None:
        for _ in range(frames):
            if self.up:
                self.down += self.service.handle(self.up.pop(0))
            elif self.down:
                self.receive(self.down.pop(0))

    # --------------------------------------------------------------------- the end

    def teardown(self) -> None:
        """End the faults and let time pass: then all items arrive, within a limited number of frames."""
        if not hasattr(self, "service"):
            return
        self.service.next_page = "plain"
        waiting = sum(len(items) for items in self.service.pending.values()) + len(self.up) + len(self.down)
        already = self.frames_sent
        for _ in range(40):
            self.exchange(already + 30 + 6 * waiting)
            self.now += 5
            self.work_through(self.protocol.tick(self.now))
            if not self.logged_in:
                self.connect()  # a frame of the login was lost; the connection has its own timer for this
        self.exchange(already + 30 + 6 * waiting)
        every = [item for items in self.service.ever.values() for item in items if item.kind != "nothing to tell"]
        assert sorted(self.delivered) == sorted(item.id for item in every), "lost"
        assert not any(self.service.pending.values()), "never acknowledged"

    def exchange(self, limit: int) -> None:
        while self.up or self.down:
            while self.up:
                self.down += self.service.handle(self.up.pop(0))
            if self.down:
                self.receive(self.down.pop(0))
            assert self.frames_sent <= limit, "the frames do not end"


class OrderlyCursor(Cursor):
    """Frames keep their order and are lost only with the socket."""


class LossyCursor(Cursor):
    """Frames are lost, repeated and reordered one by one."""

    orderly = False

    @precondition(lambda self: self.up)
    @rule(which=st.integers(0, 10))
    def a_frame_up_is_lost(self, which: int) -> None:
        del self.up[which % len(self.up)]

    @precondition(lambda self: self.down)
    @rule(which=st.integers(0, 10))
    def a_frame_down_is_lost(self, which: int) -> None:
        del self.down[which % len(self.down)]

    @precondition(lambda self: self.up)
    @rule(which=st.integers(0, 10))
    def a_frame_up_is_repeated(self, which: int) -> None:
        self.up.append(self.up[which % len(self.up)])

    @precondition(lambda self: self.down)
    @rule(which=st.integers(0, 10))
    def a_frame_down_is_repeated(self, which: int) -> None:
        self.down.append(self.down[which % len(self.down)])

    @precondition(lambda self: self.down)
    @rule(which=st.integers(0, 10), cut=st.integers(1, 40))
    def a_frame_down_is_cut_short(self, which: int, cut: int) -> None:
        frame = self.down[which % len(self.down)]
        self.down[which % len(self.down)] = Down(frame.data[:-cut], frame.queue, frame.unasked)


CHECKED = settings(max_examples=250, stateful_step_count=40, derandomize=True, database=None)
TestOrderlyCursor = OrderlyCursor.TestCase
TestOrderlyCursor.settings = CHECKED
TestLossyCursor = LossyCursor.TestCase
TestLossyCursor.settings = CHECKED
