"""Lost sends: which of them get an id from the roaming history, and which stay unknown.

The history comes from a small HTTP server, in pages, as a service sends it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from imkit.client import lost_sends
from imkit.client.lost_sends import look_up_lost_sends
from imkit.client.outbox import PendingSend
from imkit.messages import Body, Command, Text
from imkit.portal import portal
from imkit.wire import schema
from imkit.wire.envelope import Identity
from imkit.wire.uplink import Address, encode_message
from tests.client.rest_stand_in import rest_at
from tests.stand_ins import Answer, Asked, roamed

ALICE = Identity("org#app", "alice", "phone")
LOGIN = 1_700_000_000_000  # ms
PAGE = 2  # messages per page of the server


def encoded(body: Body | str, target: str = "42", **options: Any) -> Any:
    return encode_message(
        Address("org#app", target), "alice", Text(body) if isinstance(body, str) else body, 1, **options
    )


def stored(text: str, number: int, *, at: int | None = None, user: str = "alice", resource: str = "phone") -> bytes:
    """Return the Meta of a message as the service stores it."""
    meta = encoded(text)
    meta.id, meta.timestamp = number, LOGIN + number if at is None else at
    sender = schema.JID(appKey="org#app", name=user, domain="easemob.com", clientResource=resource)
    getattr(meta, "from").CopyFrom(sender)
    body = schema.MessageBody.FromString(meta.payload)
    getattr(body, "from").name = user
    meta.payload = body.SerializeToString()
    return bytes(meta.SerializeToString())


@dataclass
class History:
    """A service with the messages of some targets, the oldest first; a target in `refusals` is refused."""

    messages: Mapping[str, list[bytes]]
    refusals: Mapping[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Answer:
        target = asked.json["queue"].partition("@")[0]
        self.asked.append(target)
        if target in self.refusals:
            return self.refusals[target]
        newest_first = self.messages[target][::-1]
        assert asked.json["is_positive"] is False
        start = 0 if asked.json["start"] == -1 else int(asked.json["start"])
        page = newest_first[start : start + PAGE]
        is_last = start + PAGE >= len(newest_first)
        return Answer(200, {"data": {"msgs": roamed(*page), "is_last": is_last, "next_key": str(start + PAGE)}})


def look_up(
    history: History,
    sends: Iterable[Any],
    *,
    acknowledged: Mapping[str, int] | None = None,
    login_time: int | None = LOGIN,
) -> tuple[list[str | None], list[int]]:
    """Look up the sends; return their new ids (`None`: unknown), and the indices of those not looked up."""

    async def main() -> tuple[list[str | None], list[int]]:
        loop = asyncio.get_running_loop()
        lost = [
            PendingSend(index, meta, loop.create_future(), 0.0, True, login_time) for index, meta in enumerate(sends)
        ]
        not_looked_up = await look_up_lost_sends(rest, ALICE, lost, acknowledged or {})
        ids = [pending.answer.result().server_id if pending.answer.done() else None for pending in lost]
        return ids, [pending.client_id for pending in not_looked_up]

    with rest_at(history) as (rest, _):
        return portal().call(main())


def test_equal_bodies_are_matched_in_order() -> None:
    history = History({"42": [stored("a", 1), stored("a", 2)]})
    assert look_up(history, [encoded("a"), encoded("b"), encoded("a")]) == (["1", None, "2"], [])


@settings(max_examples=25)
@given(
    texts=st.lists(st.sampled_from("abc"), min_size=1, max_size=7),
    arrived=st.integers(0, 7),
    others=st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["bob", "tablet"]), st.sampled_from("abc"))),
)
def test_the_sends_that_arrived_get_exactly_their_own_messages(
    texts: list[str], arrived: int, others: list[tuple[int, str, str]]
) -> None:
    # The first `arrived` sends reached the service; other users and this user's tablet sent messages in between.
    arrived = min(arrived, len(texts))
    rows: list[tuple[str, str, int | None]] = [("phone", text, index) for index, text in enumerate(texts[:arrived])]
    for position, device, text in others:
        rows.insert(min(position, len(rows)), (device, text, None))
    messages, expected = [], [None] * len(texts)  # type: list[bytes], list[str | None]
    for number, (device, text, index) in enumerate(rows, start=1):
        user, resource = ("bob", "phone") if device == "bob" else ("alice", device)
        messages.append(stored(text, number, user=user, resource=resource))
        if index is not None:
            expected[index] = str(number)
    assert look_up(History({"42": messages}), map(encoded, texts)) == (expected, [])


def test_commands_and_directed_messages_stay_unknown_without_a_request() -> None:
    history = History({"42": [stored("psst", 1)]})
    sends = [encoded(Command("refresh")), encoded("psst", receivers=["bob"]), encoded("psst", online_only=True)]
    assert look_up(history, sends) == ([None, None, None], [])
    assert history.asked == []


def test_a_thread_that_is_gone_does_not_stop_the_others() -> None:
    gone = Answer(404, {"error_code": 40011, "error": "not_found"})
    history = History({"42": [stored("a", 5)]}, {"7": gone})
    assert look_up(history, [encoded("a", "7"), encoded("a", "42")]) == ([None, "5"], [])


def test_a_history_that_cannot_be_read_now_is_returned_as_not_looked_up() -> None:
    # "Retry-After: 600" is longer than imkit waits, so the request fails at once.
    busy = Answer(429, {"error": "busy"}, {"Retry-After": "600"})
    history = History({"42": [stored("a", 5)]}, {"7": busy})
    sends = [encoded("a", "7"), encoded("a", "42"), encoded("b", "7")]
    assert look_up(history, sends) == ([None, "5", None], [0, 2])


def test_messages_up_to_the_last_acknowledged_one_are_not_matched() -> None:
    history = History({"42": [stored("a", number) for number in range(1, 8)]})
    assert look_up(history, [encoded("a")], acknowledged={"42": 7}) == ([None], [])
    assert history.asked == ["42"]  # the first page holds the acknowledged message: the rest is not read
    assert look_up(history, [encoded("a")], acknowledged={"42": 6, "7": 99}) == (["7"], [])


def test_messages_from_before_the_login_of_the_socket_are_not_matched() -> None:
    history = History({"42": [stored("a", 1, at=LOGIN - 1), stored("a", 2, at=LOGIN)]})
    assert look_up(history, [encoded("a"), encoded("a")]) == (["2", None], [])


def test_without_a_login_time_the_last_acknowledged_message_is_the_bound() -> None:
    # This machine's clock is not asked: it may be wrong by hours.
    history = History({"42": [stored("a", 1), stored("a", 2)]})
    assert look_up(history, [encoded("a"), encoded("a")], login_time=None, acknowledged={"42": 1}) == (["2", None], [])


def test_without_any_bound_a_lost_send_stays_unknown() -> None:
    history = History({"42": [stored("a", 1), stored("a", 2)]})
    assert look_up(history, [encoded("a")], login_time=None, acknowledged={"7": 1}) == ([None], [])
    assert history.asked == []


def test_no_more_than_forty_pages_are_read() -> None:
    count = PAGE * lost_sends.MAX_PAGES + 10
    messages = [stored("a", 1), *(stored("b", number, user="bob") for number in range(2, count + 1))]
    history = History({"42": messages})
    assert look_up(history, [encoded("a")]) == ([None], [])
    assert len(history.asked) == lost_sends.MAX_PAGES
