"""The outbox: a send is written once or never, and each send gets exactly one answer or error.

`Line` takes the place of the socket: it notes what the outbox writes while it is up.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imkit
from imkit.client.outbox import LookUp, Outbox, PendingSend
from imkit.client.timing import Timing
from imkit.messages import Text
from imkit.portal import portal
from imkit.wire.protocol import SendAnswered
from imkit.wire.uplink import Address, encode_message

T = TypeVar("T")
QUICK = Timing(queued=0.05, lookup=0.05)


@dataclass
class Line:
    """Notes the client ids that the outbox writes while the line is up."""

    look_up: LookUp | None = None
    timing: Timing = field(default_factory=Timing)
    is_up: bool = True
    written: list[int] = field(default_factory=list)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.write, self.look_up, self.timing)

    async def write(self, pending: PendingSend) -> None:
        if self.is_up and self.outbox.may_leave(pending):
            pending.written_at = self.now
            self.written.append(pending.client_id)
            await asyncio.sleep(0)  # as a socket whose buffer is full

    def send(self, client_id: int, target: str = "42") -> asyncio.Task[SendAnswered]:
        meta = encode_message(Address("org#app", target), "alice", Text(f"text {client_id}"), client_id)
        return asyncio.create_task(self.outbox.send(client_id, meta))

    def answer(self, *client_ids: int) -> None:
        for client_id in client_ids:
            self.outbox.take_answer(answered(client_id))

    def lose(self) -> None:
        self.is_up = False
        self.outbox.connection_lost(1_000)

    async def reconnect(self) -> None:
        self.is_up = True
        await self.outbox.resume()


def answered(client_id: int, status: int = 0) -> SendAnswered:
    return SendAnswered(client_id, status, "", str(1_000 + client_id), 5)


async def outcome(send: asyncio.Task[SendAnswered]) -> str:
    """Return the id that a send got, or what is known of it."""
    try:
        return (await send).server_id
    except imkit.ConnectionLost as error:
        return error.outcome


async def turns(count: int = 30) -> None:
    """Let the other tasks run until they wait."""
    for _ in range(count):
        await asyncio.sleep(0)


def run(work: Coroutine[Any, Any, T]) -> T:
    return portal().call(work)


# ---------------------------------------------------------------------- one line


def test_a_send_is_written_once_and_gets_its_own_answer() -> None:
    async def main() -> None:
        line = Line()
        sends = [line.send(number) for number in range(3)]
        await turns()
        assert line.written == [0, 1, 2]
        line.answer(2, 0, 7, 1, 1)  # in any order; 7 is unknown, and the second 1 is ignored
        assert [await outcome(send) for send in sends] == ["1000", "1001", "1002"]
        await line.outbox.resume()
        assert line.written == [0, 1, 2]

    run(main())


def test_a_refusal_is_an_answer() -> None:
    async def main() -> None:
        line = Line()
        send = line.send(1)
        await turns()
        line.outbox.take_answer(answered(1, status=7))
        assert (await send).status == 7

    run(main())


def test_sends_that_wait_are_written_in_order_before_new_ones() -> None:
    async def main() -> None:
        line = Line(is_up=False)
        for number in range(3):
            line.send(number)
        await turns()
        assert line.written == []
        resuming = asyncio.create_task(line.reconnect())
        await asyncio.sleep(0)
        line.send(3)
        await resuming
        await turns()
        assert line.written == [0, 1, 2, 3]
        line.answer(0, 1, 2, 3)

    run(main())


def test_a_send_without_a_connection_is_withdrawn_and_never_written() -> None:
    async def main() -> None:
        line = Line(timing=QUICK, is_up=False)
        with pytest.raises(imkit.ConnectionLost, match="nothing was sent") as caught:
            await line.send(1)
        assert caught.value.outcome == "not sent"
        await line.reconnect()
        assert line.written == []

    run(main())


def test_a_send_that_was_cancelled_while_it_waited_is_never_written() -> None:
    async def main() -> None:
        line = Line(is_up=False)
        send = line.send(1)
        await turns()
        send.cancel()
        await turns()
        await line.reconnect()
        assert line.written == []

    run(main())


def test_the_oldest_send_in_flight_is_overdue_after_the_time_for_answers() -> None:
    async def main() -> None:
        line = Line()
        line.timing = Timing(answer=15.0, clock=lambda: line.now)
        line.outbox = Outbox(line.write, None, line.timing)
        assert not line.outbox.is_answer_overdue()
        line.send(1)
        await turns()
        line.now += 14.9
        line.send(2)
        await turns()
        assert not line.outbox.is_answer_overdue()
        line.now += 0.1
        assert line.outbox.is_answer_overdue()
        line.answer(1)
        assert not line.outbox.is_answer_overdue()
        line.answer(2)

    run(main())


# ------------------------------------------------------------------- a line that breaks


def test_lost_sends_are_looked_up_before_new_ones_are_written() -> None:
    async def look_up(lost: Sequence[PendingSend], acknowledged: Mapping[str, int]) -> Sequence[PendingSend]:
        looked_up.append(([pending.client_id for pending in lost], dict(acknowledged), list(line.written)))
        assert all(pending.is_lost and pending.login_time == 1_000 for pending in lost)
        lost[0].answered(answered(lost[0].client_id))
        return []

    looked_up: list[tuple[list[int], dict[str, int], list[int]]] = []

    async def main() -> None:
        sends = [line.send(number, "42" if number < 3 else "7") for number in range(4)]
        await turns()
        line.answer(0)
        line.lose()
        sends.append(line.send(4))
        await turns()
        await line.reconnect()
        assert line.written == [0, 1, 2, 3, 4]
        line.answer(4)
        assert [await outcome(send) for send in sends] == ["1000", "1001", "unknown", "unknown", "1004"]

    async def make() -> Line:
        return Line(look_up)

    line = run(make())
    run(main())
    # Of target 42 the last answered message is 1000; nothing was written while the history was read.
    assert looked_up == [([1, 2, 3], {"42": 1000}, [0, 1, 2, 3])]


def test_sends_that_cannot_be_looked_up_fail_and_are_looked_up_again_for_the_sake_of_later_ones() -> None:
    rounds: list[list[int]] = []

    async def look_up(lost: Sequence[PendingSend], _: Mapping[str, int]) -> Sequence[PendingSend]:
        rounds.append([pending.client_id for pending in lost])
        return lost if len(rounds) == 1 else []

    async def main() -> None:
        line = Line(look_up)
        first = line.send(1)
        await turns()
        line.lose()
        await line.reconnect()
        assert await outcome(first) == "unknown"
        second = line.send(2)
        await turns()
        line.lose()
        await line.reconnect()
        assert await outcome(second) == "unknown"
        assert rounds == [[1], [1, 2]]

    run(main())


@pytest.mark.parametrize("how", ["slow", "a bug", "none"])
def test_a_look_up_that_fails_leaves_the_outcome_unknown(how: str) -> None:
    async def look_up(lost: Sequence[PendingSend], _: Mapping[str, int]) -> Sequence[PendingSend]:
        if how == "slow":
            await asyncio.sleep(10)
        raise ZeroDivisionError("a bug")

    async def main() -> None:
        line = Line(None if how == "none" else look_up, QUICK)
        lost = line.send(1)
        await turns()
        line.lose()
        await line.reconnect()
        assert await outcome(lost) == "unknown"
        following = line.send(2)
        await turns()
        line.answer(2)
        assert await outcome(following) == "1002"

    run(main())


def test_a_lost_send_fails_when_no_connection_comes_in_time() -> None:
    async def main() -> None:
        line = Line(timing=QUICK)
        lost = line.send(1)
        await turns()
        line.lose()
        assert await outcome(lost) == "unknown"

    run(main())


def test_closing_says_of_each_send_whether_it_was_written() -> None:
    async def main() -> list[str]:
        line = Line()
        written = line.send(1)
        await turns()
        line.is_up = False
        waiting = line.send(2)
        await turns()
        line.outbox.close("bye")
        errors = await asyncio.gather(written, waiting, return_exceptions=True)
        assert all(isinstance(error, imkit.SessionClosed) for error in errors)
        return [str(error) for error in errors]

    written, waiting = run(main())
    assert "the session ended (bye); it is not known whether it was sent" in written
    assert "the session ended (bye); nothing was sent" in waiting


STEPS = st.lists(st.sampled_from(["send", "answer", "lose", "reconnect"]), max_size=20)


@settings(max_examples=60)
@given(steps=STEPS)
def test_whatever_happens_each_send_is_written_at_most_once_and_in_order(steps: list[str]) -> None:
    async def main() -> None:
        line = Line()
        sends: dict[int, asyncio.Task[SendAnswered]] = {}
        arrived: set[int] = set()
        for step in [*steps, "lose", "reconnect"]:
            if step == "send":
                sends[len(sends)] = line.send(len(sends))
            elif step == "answer" and line.is_up and set(line.written) - arrived:
                client_id = min(set(line.written) - arrived)
                arrived.add(client_id)
                line.answer(client_id)
            elif step == "lose" and line.is_up:
                arrived |= set(line.written)
                line.lose()
            elif step == "reconnect" and not line.is_up:
                await line.reconnect()
            await turns()
        line.answer(*sends)
        results = {client_id: await outcome(send) for client_id, send in sends.items()}
        assert line.written == list(sends)  # each send once, in the order of the calls
        assert set(results.values()) <= {"unknown", *(str(1_000 + client_id) for client_id in sends)}
        assert all(result in {"unknown", str(1_000 + client_id)} for client_id, result in results.items())

    run(main())
