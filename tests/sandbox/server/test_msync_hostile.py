"""Random and broken frames: the server refuses them (1007) and never fails itself (close code 1011)."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imkit.sandbox.options import Options
from imkit.sandbox.server.msync import Connection
from imkit.sandbox.server.server import Application
from imkit.sandbox.server.store import Store
from imkit.wire import schema
from imkit.wire.envelope import GROUP_DOMAIN
from tests.sandbox.server.offline_server import OfflineServer
from tests.sandbox.server.raw_client import LOGOUT, SYNC, UNREAD, frame, text_body

KeyValue = schema.KeyValue


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


@pytest.fixture(scope="module")
def offline_server() -> OfflineServer:
    return OfflineServer()


def close_code(connection: Connection) -> int | None:
    return None if connection._close is None else connection._close[0]


def frames_of(offline_server: OfflineServer) -> list[bytes]:
    """Return one frame of each kind that a client sends."""
    ext = [KeyValue(key="n", type=2, varintValue=-1), KeyValue(key="j", type=8, stringValue='{"a":[1]}')]
    queue = schema.JID(appKey="imkit#sandbox", name=offline_server.thread, domain=GROUP_DOMAIN)
    return [
        frame(UNREAD),
        frame(LOGOUT, schema.Logout(reason="x")),
        frame(SYNC, schema.CommSyncUL(queue=queue)),
        frame(SYNC, schema.CommSyncUL(queue=queue, key=2**64 - 1)),
        offline_server.meta(text_body("好", ext=ext)),
        offline_server.meta(schema.MessageBody(type=6, ackMessageId=2**64 - 1)),
        offline_server.meta(
            schema.MessageBody(type=8, editMessageId=1, editScope=2, contents=[schema.Content(text="x")])
        ),
        offline_server.meta(schema.MessageBody(type=4, ackMessageId=1, ackContent="ok")),
        offline_server.meta(text_body("to some"), routetype=2, directedUsers=["alice", "\u2028"]),
    ]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(junk=st.lists(st.binary(max_size=200), max_size=4))
def test_random_bytes_close_their_own_socket_only(
    offline_server: OfflineServer, runner: asyncio.Runner, junk: list[bytes]
) -> None:
    assert close_code(runner.run(offline_server.receive(junk))) in (None, 1007)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_frame_with_broken_bytes_is_handled_or_refused(
    offline_server: OfflineServer, runner: asyncio.Runner, data: st.DataObject
) -> None:
    whole = bytearray(data.draw(st.sampled_from(frames_of(offline_server))))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, max(0, len(whole) - 1)))
        how = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if how == "cut":
            del whole[position : position + data.draw(st.integers(1, 8))]
        elif how == "insert" or not whole:
            whole[position:position] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            whole[position] = data.draw(st.integers(0, 255))
    assert close_code(runner.run(offline_server.receive([bytes(whole)]))) in (None, 1007)


@pytest.mark.parametrize("depth", [50, 500, 900, 990, 5000])
def test_deeply_nested_attributes_are_accepted(
    offline_server: OfflineServer, runner: asyncio.Runner, depth: int
) -> None:
    bomb = KeyValue(key="bomb", type=8, stringValue="[" * depth + "]" * depth)
    connection = runner.run(offline_server.receive([offline_server.meta(text_body("boom", ext=[bomb]))]))
    assert close_code(connection) is None
    replies = [schema.MSync.FromString(each) for _, each in connection._outgoing]
    syncs = [schema.CommSyncDL.FromString(each.payload) for each in replies if each.command == SYNC]
    assert [sync.status.errorCode for sync in syncs] == [0]


def test_a_silent_socket_is_closed_after_more_than_the_heartbeat_of_the_sdk() -> None:
    async def run() -> None:
        server = Application(Options(), Store(None)).msync
        quiet, silent, stranger = Connection(server, 0), Connection(server, 0), Connection(server, 0)
        quiet.user = silent.user = "alice"
        server.connections |= {quiet, silent, stranger}
        quiet.last_frame_at -= 65  # the SDK's heartbeat may take 60 s
        silent.last_frame_at -= 125
        stranger.opened_at -= 20  # it has sent frames, but has not logged in
        server.close_idle()
        assert [close_code(each) for each in (quiet, silent, stranger)] == [None, 1001, 1008]

    asyncio.run(run())
