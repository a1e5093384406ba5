"""The client's protocol state in each of its states: no frame from the service raises an exception."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imkit.errors import ProtocolError
from imkit.wire.enums import FrameCommand
from imkit.wire.protocol import LoginRefused
from tests.wire import service
from tests.wire.checks import check_outputs
from tests.wire.recorded import FRAMES, METAS, damaged
from tests.wire.service import THREAD
from tests.wire.strategies import often


def check_in_each_state(frames: list[bytes]) -> None:
    for protocol in service.protocol_states():
        for data in frames:
            check_outputs(protocol.receive(data, now=3.0))
        for now in (14.0, 25.0, 40.0, 60.0):
            check_outputs(protocol.tick(now=now))


@often(250)
@given(frames=st.lists(st.binary(max_size=200) | damaged(FRAMES), min_size=1, max_size=3))
def test_no_frame_raises(frames: list[bytes]) -> None:
    check_in_each_state(frames)


@often(150)
@given(command=st.integers(0, 6), payload=st.binary(max_size=60))
def test_no_payload_of_a_frame_raises(command: int, payload: bytes) -> None:
    check_in_each_state([b"\x40" + bytes([command]) + b"\x4a" + bytes([len(payload)]) + payload])


@often(150)
@given(
    plan=st.lists(st.none() | st.binary(min_size=1, max_size=40) | damaged(METAS), min_size=1, max_size=8),
    asked=st.booleans(),
)
def test_an_unreadable_meta_loses_no_other(plan: list[bytes | None], asked: bool) -> None:
    """`None` in `plan` is a readable Meta. Those arrive in order, and the page is acknowledged."""
    good = [10**6 + place for place, part in enumerate(plan) if part is None]
    metas = [service.message_meta(10**6 + place) if part is None else part for place, part in enumerate(plan)]
    protocol = service.logged_in()
    outputs = protocol.receive(service.notice(), now=1.0) if asked else []
    outputs += protocol.receive(service.page(metas, 2 * 10**6), now=1.0)
    if not asked:  # then the client fetches the queue from its front
        assert service.uplinks(outputs) == [("fetch", THREAD.name)]
        outputs += protocol.receive(service.page(metas, 2 * 10**6), now=1.0)
    check_outputs(outputs)
    assert [int(got) for got in service.received_ids(outputs) if int(got or 0) in good] == good
    assert service.uplinks(outputs)[-1] == ("ack", (THREAD.name, 2 * 10**6))


def test_an_unreadable_login_reply_is_an_error() -> None:
    for data in (b"\xff", service.frame(FrameCommand.PROVISION, b"\xff\xff"), service.frame(FrameCommand.PROVISION)):
        _, logging_in, *_ = service.protocol_states()
        [refused] = logging_in.receive(data, now=1.0)
        assert isinstance(refused, LoginRefused)
        assert isinstance(refused.error, ProtocolError)
