"""The outcome of a send (sent, not sent, unknown) is right, whatever happens to its frames."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

import imkit
from imkit.client import send as sending
from imkit.messages import Text
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.wire.uplink import encode_message
from tests.faults.proxy import Action, Proxy
from tests.faults.tea_thread import TeaThread, outcomes, tea_thread_at, until
from tests.people import new_name

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def tea(file_sandbox: Sandbox, proxy: Proxy, quick: None) -> Iterator[TeaThread]:
    with tea_thread_at(file_sandbox, proxy) as found:
        yield found


@pytest.mark.parametrize("how", ["cut", "drop", "freeze"])
def test_a_lost_answer_is_found_in_the_history(tea: TeaThread, how: Action) -> None:
    lost = tea.proxy.when("answer", how)
    sent = tea.thread.send("Dong Ding, please 🍵")
    assert lost.happened.is_set()
    assert tea.table() == [(sent.id, "Dong Ding, please 🍵")]
    assert sent.time.year > 2000
    assert tea.thread.send("and two cups").id == tea.table()[1][0]


def test_a_send_that_never_arrived_is_unknown_and_not_sent_again(tea: TeaThread) -> None:
    tea.proxy.when("send", "cut")
    with pytest.raises(imkit.ConnectionLost) as caught:
        tea.thread.send("tea?")
    assert caught.value.outcome == "unknown"
    assert "history" in caught.value.hint
    again = tea.thread.send("tea?")
    assert tea.table() == [(again.id, "tea?")]


def test_a_send_that_no_history_shows_is_unknown(tea: TeaThread) -> None:
    tea.proxy.when("answer", "cut")
    with pytest.raises(imkit.ConnectionLost) as caught:
        tea.thread.send(imkit.Command("refresh"))
    assert caught.value.outcome == "unknown"

    # A directed message, written by hand: a session has no call for it.
    account = tea.alice.account
    client_id = account.protocol.next_client_id()
    address = sending._address(account, tea.thread.target())
    meta = encode_message(address, account.user, Text("psst"), client_id)
    meta.routetype = 2
    meta.directedUsers.append(tea.bob.user)
    tea.proxy.when("answer", "cut")

    async def send() -> str:
        try:
            await account.connection.send(client_id, meta)
        except imkit.ConnectionLost as error:
            return error.outcome
        return "sent"

    assert portal().call(send()) == "unknown"
    assert tea.table() == []


def test_the_same_words_in_flight_several_times(tea: TeaThread) -> None:
    tea.proxy.when("answer", "drop", times=3)
    tea.proxy.when("send", "drop", skip=3, times=2)

    async def main() -> list[str]:
        sends = [asyncio.create_task(tea.thread.send.aio("ditto")) for _ in range(5)]
        return [outcome async for outcome in outcomes(*sends)]

    found = asyncio.run(main())
    assert found == [*(message for message, _ in tea.table()), "unknown", "unknown"]
    assert len(set(found[:3])) == 3


def test_sends_to_several_targets(tea: TeaThread) -> None:
    threads = [tea.thread, tea.new_thread("Sencha"), tea.new_thread("Assam")]
    # One answer arrives, the others are lost, and seven of nine sends arrive.
    tea.proxy.when("answer", "drop", skip=1, times=6)
    tea.proxy.when("send", "drop", skip=7, times=2)

    async def main() -> list[str]:
        sends = [asyncio.create_task(threads[number % 3].send.aio(f"words {number // 6}")) for number in range(9)]
        return [outcome async for outcome in outcomes(*sends)]

    found = asyncio.run(main())
    assert found[7:] == ["unknown", "unknown"]
    for number, thread in enumerate(threads):
        assert [message for message, _ in tea.table(thread)] == [id_ for id_ in found[number::3] if id_ != "unknown"]


def test_a_thread_whose_history_cannot_be_read_does_not_affect_the_others(tea: TeaThread) -> None:
    gone = tea.new_thread("Sencha")
    seen = tea.proxy.when("answer", "drop", times=2)
    order = tea.proxy.when("welcome", "cut", user=tea.alice.user)  # the first reconnect fails

    async def main() -> list[str]:
        sends = [asyncio.create_task(gone.send.aio("here?")), asyncio.create_task(tea.thread.send.aio("there?"))]
        await until(seen.happened)
        await asyncio.to_thread(destroy_by_the_app, tea.sandbox, gone.id)
        tea.proxy.cut(tea.alice.user)
        return [outcome async for outcome in outcomes(*sends)]

    found = asyncio.run(main())
    assert order.happened.is_set()
    assert found == ["unknown", tea.table()[0][0]]


def destroy_by_the_app(sandbox: Sandbox, thread: str) -> None:
    from tests.sandbox.server.raw_client import app_api, close_everything

    app_api(sandbox).ok("DELETE", f"/thread/{thread}")
    close_everything()


def test_waiting_sends_go_out_once_and_in_order_after_the_lost_ones(
    tea: TeaThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = tea.alice.account.connection
    look_up = connection._outbox._look_up
    assert look_up is not None
    looked_up, later = asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any) -> object:
        looked_up.set()
        await later.wait()
        return await look_up(*arguments)

    monkeypatch.setattr(connection._outbox, "_look_up", slowly)

    async def main() -> list[str]:
        # On imkit's own event loop, so the sends go out in the order of the calls.
        tea.proxy.refuse(tea.alice.user)
        tea.proxy.when("answer", "cut")
        gone = tea.alice.events(imkit.Disconnected)
        sends = [asyncio.create_task(tea.thread.send.aio("lost"))]
        await gone.next.aio(timeout=30)
        sends += [asyncio.create_task(tea.thread.send.aio(f"while away {number}")) for number in range(3)]
        await asyncio.sleep(0)
        tea.proxy.accept()
        await looked_up.wait()
        sends += [asyncio.create_task(tea.thread.send.aio(f"while looking {number}")) for number in range(3)]
        await asyncio.sleep(0)
        later.set()
        return [outcome async for outcome in outcomes(*sends)]

    found = portal().call(main())
    texts = ["lost", *(f"while away {n}" for n in range(3)), *(f"while looking {n}" for n in range(3))]
    assert tea.table() == list(zip(found, texts, strict=True))


def test_a_connection_that_breaks_again_while_sends_are_looked_up(
    tea: TeaThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = tea.alice.account.connection
    look_up = connection._outbox._look_up
    assert look_up is not None
    looked_up = asyncio.Event()

    def cut_links() -> None:
        for link in tea.proxy._of(tea.alice.user):
            link.cut()

    async def never_the_first_time(*arguments: Any) -> object:
        if not looked_up.is_set():
            looked_up.set()
            tea.proxy._loop.call_soon_threadsafe(cut_links)
            await asyncio.Event().wait()
        return await look_up(*arguments)

    monkeypatch.setattr(connection._outbox, "_look_up", never_the_first_time)
    tea.proxy.when("answer", "cut")
    sent = tea.thread.send("here?")
    assert looked_up.is_set()
    assert tea.table() == [(sent.id, "here?")]


def test_a_cancelled_send_is_not_matched_with_the_next_one(tea: TeaThread) -> None:
    dropped = tea.proxy.when("answer", "drop")

    async def main() -> str:
        given_up = asyncio.create_task(tea.thread.send.aio("tea?"))
        await until(dropped.happened)
        given_up.cancel()
        tea.proxy.when("send", "cut")
        [outcome] = [each async for each in outcomes(asyncio.create_task(tea.thread.send.aio("tea?")))]
        return outcome

    assert asyncio.run(main()) == "unknown"
    assert len(tea.table()) == 1


def test_a_message_of_an_earlier_session_is_not_matched_with_a_later_send(tea: TeaThread) -> None:
    said = tea.thread.send("tea?").id
    name = tea.alice.user
    listed = tea.proxy.when("list", "pass")
    with imkit.login(name, app=tea.proxy.app) as again:  # the cell is run again: the same device
        assert listed.happened.wait(30)
        tea.proxy.when("send", "cut")
        with pytest.raises(imkit.ConnectionLost) as caught:
            again.thread(tea.thread.id).send("tea?")
        assert caught.value.outcome == "unknown"
        assert [message for message, _ in tea.table()] == [said]


def test_a_recall_and_an_edit_whose_answers_are_lost(tea: TeaThread) -> None:
    first, second = tea.thread.send("first"), tea.thread.send("second")
    tea.proxy.when("answer", "cut")
    with pytest.raises(imkit.ConnectionLost) as caught:
        tea.thread.recall(first)
    assert caught.value.outcome == "unknown"
    tea.proxy.when("answer", "cut")
    with pytest.raises(imkit.ConnectionLost) as caught:
        tea.thread.edit(second, "second thoughts")
    assert caught.value.outcome == "unknown"
    # The history shows that both were carried out.
    assert [(message.id, message.text) for message in tea.thread.messages()] == [(second.id, "second thoughts")]
    with pytest.raises(imkit.MessageNotFound):
        tea.thread.recall(first)


def test_a_connection_that_breaks_while_waiting_sends_go_out(tea: TeaThread, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tea.alice.events(imkit.Disconnected)
    tea.proxy.refuse(tea.alice.user)
    tea.proxy.cut(tea.alice.user)
    events.next(timeout=30)
    words = "x" * 4000
    connection = tea.alice.account.connection
    transmit, written = connection._transmit, itertools.count()
    first: list[Any] = []

    async def until_the_buffers_are_full(socket: Any, data: bytes) -> None:
        # How many sends the buffers between client and proxy hold depends on the machine: on this socket it is 50.
        if len(data) > len(words):
            first[:] = first or [socket]
            if socket is first[0] and next(written) >= 50:
                await socket.wait_closed()
        await transmit(socket, data)

    monkeypatch.setattr(connection, "_transmit", until_the_buffers_are_full)

    async def main() -> list[str]:
        sends = [asyncio.create_task(tea.thread.send.aio(f"{number} {words}")) for number in range(300)]
        await asyncio.sleep(0)
        tea.proxy.when("send", "cut", skip=10)
        tea.proxy.accept()
        return [outcome async for outcome in outcomes(*sends)]

    found = asyncio.run(main())
    table = tea.table()
    assert [message for message, _ in table] == [outcome for outcome in found if outcome != "unknown"]
    numbers = [int(text.split()[0]) for _, text in table]
    # The first connection takes the sends that the client had written and the server had not read with it: one run of
    # sends. The others go out on the second connection, in order.
    lost = [number for number, outcome in enumerate(found) if outcome == "unknown"]
    assert numbers == [number for number in range(300) if number not in lost]
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert lost[-1] <= 50
    assert tea.thread.send("after all of them").id == tea.table()[-1][0]


def test_a_send_that_finds_the_socket_closing_waits_for_the_next(tea: TeaThread) -> None:
    connection = tea.alice.account.connection
    tea.proxy.stall(tea.alice.user)  # the close is not answered before the send

    async def main() -> str:
        socket = connection._socket
        assert socket is not None
        closing = asyncio.create_task(socket.close())
        await asyncio.sleep(0)
        send = asyncio.create_task(tea.thread.send.aio("tea?"))
        await asyncio.sleep(0)
        await closing
        return (await send).id

    sent = portal().call(main())
    assert tea.table() == [(sent, "tea?")]


def test_closing_while_the_connection_breaks(tea: TeaThread, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = tea.alice.account.connection
    logout = connection._protocol.logout

    def gone_meanwhile() -> object:
        connection._socket = None
        return logout()

    monkeypatch.setattr(connection._protocol, "logout", gone_meanwhile)
    tea.alice.close()
    assert list(tea.alice.events(imkit.LoggedOut)) == [imkit.LoggedOut("closed")]


def test_another_users_session_is_not_disturbed(tea: TeaThread) -> None:
    with imkit.login(new_name("carol"), app=tea.sandbox.app) as carol:
        tea.proxy.cut()
        assert carol.create_group("quiet").send("still here").id
        assert carol.connected
