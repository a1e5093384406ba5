"""Each fault of `imkit.sandbox.faults` does what its text says, and nothing else breaks."""

import json
import time

import httpx
import numpy
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from imkit.sandbox.faults import FAULTS, Faults
from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.sandbox.server.raw_client import (
    NOTICE,
    SYNC,
    WAIT,
    Api,
    Device,
    TeaGroup,
    close_everything,
    frame,
    is_text,
    open_socket,
    provision,
    text_body,
    token_of,
)


def test_a_fault_that_does_not_exist_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=r"drop-ack.*html-502"):
        Sandbox(fail={"html-500": 1})
    with pytest.raises(ValueError, match="between 0 and 1"):
        Sandbox(fail={"cut": 2})
    with Sandbox(recall_seconds=numpy.int64(2), fail={"cut": numpy.float32(0)}) as sandbox:  # numbers of a table
        assert sandbox.running


def test_the_same_seed_gives_the_same_faults_whatever_other_faults_happen() -> None:
    def strikes(seed: int, *others: str) -> list[bool]:
        faults = Faults({"cut": 0.3, "503": 0.5}, seed)
        return [faults.strikes("cut") for _ in range(200) if all(faults.strikes(other) or True for other in others)]

    assert strikes(1) == strikes(1) == strikes(1, "503")
    assert strikes(1) != strikes(2)
    assert 30 < sum(strikes(1)) < 90
    assert not any(Faults({"cut": 0}).strikes(name) for name in FAULTS)


# ---------------------------------------------------------------- REST


def failing(name: str) -> Sandbox:
    return Sandbox(fail={name: 1.0})


@pytest.mark.parametrize(("name", "status"), [("503", 503), ("429", 429), ("500", 500)])
def test_a_refused_request(name: str, status: int) -> None:
    with failing(name) as sandbox:
        reply = Api(sandbox).call("POST", "/token", json={})
        assert reply.status_code == status
        assert reply.json()["error"]
        assert reply.headers["access-control-allow-origin"] == "*"
        assert (reply.headers.get("retry-after") == "1") == (status != 500)
        # imkit's own endpoints get no faults.
        assert token_of(sandbox, "alice")
        close_everything()


def test_a_gateways_page_is_not_json() -> None:
    with failing("html-502") as sandbox:
        reply = Api(sandbox).call("GET", "/users/x")
        assert reply.status_code == 502
        assert reply.headers["content-type"] == "text/html"
        with pytest.raises(json.JSONDecodeError):
            reply.json()
        close_everything()


def test_a_request_whose_reply_is_cut_was_carried_out() -> None:
    with Sandbox(open_registration=True, fail={"rest-cut": 1.0}) as sandbox:
        api = Api(sandbox, token_of(sandbox, "alice"), "alice")
        with pytest.raises(httpx.RemoteProtocolError):
            api.group("alice")
        health = httpx.get(f"{sandbox.rest_url}/imkit/health", timeout=WAIT, trust_env=False)
        assert health.status_code == 200
        close_everything()


def test_the_rate_of_requests_is_limited() -> None:
    with Sandbox(requests_per_second=2) as sandbox:
        api = Api(sandbox, token_of(sandbox, "alice"))
        replies = [api.call("GET", "/users/alice") for _ in range(10)]
        assert replies[0].status_code == 200
        refused = [reply for reply in replies if reply.status_code == 429]
        assert len(refused) >= 6
        assert refused[-1].headers["retry-after"] == "1"
        assert (refused[-1].json()["error"], "api limit" in refused[-1].text) == ("reach_limit", True)
        close_everything()


def test_latency_delays_replies_and_keeps_their_order() -> None:
    with Sandbox(latency_ms=100) as sandbox:
        tea = TeaGroup(sandbox)
        start = time.monotonic()
        numbers = [tea.alice.post(tea.thread, text_body(str(number))) for number in range(20)]
        replies = [tea.alice.reply_to(number).serverId for number in numbers]
        assert replies == sorted(replies)
        assert 0.1 <= time.monotonic() - start < 20 * 0.1, "the replies must wait together, not one after the other"
        start = time.monotonic()
        tea.alice.api.ok("GET", f"/thread/{tea.thread}")
        assert time.monotonic() - start >= 0.1
        close_everything()


# ---------------------------------------------------------------- socket


def test_a_refused_socket() -> None:
    with failing("refuse-socket") as sandbox:
        with pytest.raises(InvalidStatus) as refused:
            open_socket(sandbox)
        assert refused.value.response.status_code == 503


def test_a_cut_socket() -> None:
    with failing("cut") as sandbox:
        connection = open_socket(sandbox)
        connection.send(b"anything")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=WAIT)
        assert closed.value.rcvd is None
        close_everything()


def sends(sandbox: Sandbox, text: str) -> tuple[Device, str, int]:
    """Send a text to a group with one member; return the device, the group and the id of the uplink Meta."""
    device = Device(sandbox, "alice")
    group = device.api.group()
    return device, group, device.post(group, text_body(text))


@pytest.mark.parametrize(("name", "acknowledged"), [("cut-before-ack", False), ("cut-after-ack", True)])
def test_a_socket_cut_around_an_ack(name: str, acknowledged: bool) -> None:
    with failing(name) as sandbox:
        device, group, number = sends(sandbox, "stored")
        assert device.closed() == 1006
        assert (number in device.replies) == acknowledged
        assert len(device.api.page(group)["msgs"]) == 1
        close_everything()


def test_a_dropped_ack() -> None:
    with failing("drop-ack") as sandbox:
        device, group, number = sends(sandbox, "stored")
        device.ask_unread()
        assert number not in device.replies
        assert len(device.api.page(group)["msgs"]) == 1
        close_everything()


def test_a_refused_send() -> None:
    with failing("refuse-send") as sandbox:
        device, group, number = sends(sandbox, "busy")
        status = device.reply_to(number).status
        assert (status.errorCode, status.reason) == (7, "traffic limit")
        assert device.api.page(group)["msgs"] == []
        close_everything()


def test_a_stalled_socket_accepts_frames_and_answers_nothing() -> None:
    with failing("stall") as sandbox:
        token = token_of(sandbox, "alice")
        connection = open_socket(sandbox)
        connection.send(provision(sandbox.app_key, "alice", token))
        connection.ping().wait(WAIT)  # the WebSocket itself answers
        with pytest.raises(TimeoutError):
            connection.recv(timeout=0.1)
        close_everything()


def test_after_a_lost_notice_the_next_heartbeat_names_the_queue() -> None:
    with failing("drop-notice") as sandbox:
        alice, bob = Device(sandbox, "alice"), Device(sandbox, "bob")
        group = alice.api.group("bob")
        alice.send(group, "hello")
        with pytest.raises(TimeoutError):
            bob.next(NOTICE, wait=0.1)
        bob.ask_unread()
        bob.until(is_text("hello"))
        close_everything()


def test_a_page_may_come_twice() -> None:
    with failing("repeat-page") as sandbox:
        alice, bob = Device(sandbox, "alice"), Device(sandbox, "bob", acknowledge=False)
        group = alice.api.group("bob")
        sent = alice.send(group, "hello")
        queue = schema.JID(appKey=sandbox.app_key, name=group, domain="conference.easemob.com")
        bob.socket.send(frame(SYNC, schema.CommSyncUL(queue=queue)))
        pages = [schema.CommSyncDL.FromString(bob.next(SYNC).payload) for _ in range(2)]
        assert pages[0] == pages[1]
        assert [meta.id for meta in pages[0].metas] == [sent]
        close_everything()
