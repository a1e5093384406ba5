"""Data after the server is killed: every message that it has acknowledged is stored."""

import base64
import threading
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.sandbox.server.raw_client import Api, Device, TeaGroup, close_everything, text_body, texts


def all_texts(api: Api, thread: str) -> list[str]:
    found: list[str] = []
    start = -1
    while True:
        page = api.page(thread, start=start, pull_number=50, is_positive=True)
        found += texts([schema.Meta.FromString(base64.b64decode(each["msg"])) for each in page["msgs"]])
        if page["is_last"]:
            return found
        start = page["next_key"]


def send_until_cut(tea: TeaGroup, started: threading.Event) -> tuple[list[str], int]:
    """Send with many in flight until the socket breaks; return the acknowledged texts and the number of sends."""
    flight = 32
    sent: list[int] = []
    acknowledged: list[str] = []
    try:
        for number in range(100_000):
            sent.append(tea.alice.post(tea.thread, text_body(f"m{number}")))
            if number >= flight:
                assert tea.alice.reply_to(sent[number - flight]).status.errorCode == 0
                acknowledged.append(f"m{number - flight}")
            if len(acknowledged) == 300:
                started.set()
    except (ConnectionClosed, OSError):
        pass
    # Acks that arrived just before the end.
    for number in range(len(acknowledged), len(sent)):
        if sent[number] in tea.alice.replies:
            acknowledged.append(f"m{number}")
    return acknowledged, len(sent)


def test_after_a_kill_acknowledged_messages_are_stored_and_undelivered_ones_come_once(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox.db") as sandbox:
        tea = TeaGroup(sandbox)
        before = tea.alice.send(tea.thread, "seen before")
        tea.bob.until(lambda meta: meta.id == before)
        tea.bob.receive_all()
        tea.bob.acknowledge = False
        started = threading.Event()

        def kill() -> None:
            started.wait(30)
            sandbox.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        acknowledged, sent = send_until_cut(tea, started)
        killer.join()
        assert len(acknowledged) >= 300
        sandbox.start()
        alice, bob = Device(sandbox, tea.alice.user), Device(sandbox, tea.bob.user)
        assert alice.send(tea.thread, "after") > before
        kept = all_texts(alice.api, tea.thread)
        assert kept[0] == "seen before"
        assert kept[-1] == "after"
        flow = kept[1:-1]
        # The stored messages are a prefix of the sent ones, in order, and include all acknowledged ones.
        assert flow == [f"m{number}" for number in range(len(flow))]
        assert flow[: len(acknowledged)] == acknowledged
        assert len(flow) <= sent
        bob.until(lambda meta: "after" in texts([meta]))
        bob.receive_all()
        assert texts(bob.metas) == [*flow, "after"]
        overview = alice.api.ok("POST", "/thread/message", json={"threadIds": [tea.thread]})["entities"][0]
        assert overview["last_message"]["payload"]["bodies"][0]["msg"] == "after"
        close_everything()
        # Bob has acknowledged them now, so after another kill they do not come again.
        sandbox.kill()
        sandbox.start()
        again = Device(sandbox, tea.bob.user)
        again.receive_all()
        assert texts(again.metas) == []
        close_everything()


def test_after_a_stop_everything_is_kept_and_sockets_close_with_1012(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox.db") as sandbox:
        tea = TeaGroup(sandbox)
        sent = tea.alice.send(tea.thread, "kept")
        app, port = sandbox.secret, sandbox.rest_url
        sandbox.stop()
        assert tea.bob.closed() == 1012
        assert not sandbox.running
        sandbox.start()
        assert (sandbox.secret, sandbox.rest_url) == (app, port)
        # The tokens from before the restart are still valid.
        assert [each["msg"] for each in tea.alice.api.page(tea.thread)["msgs"]]
        bob = Device(sandbox, tea.bob.user)
        bob.until(lambda meta: meta.id == sent)
        close_everything()
