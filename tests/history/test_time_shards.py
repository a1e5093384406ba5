"""A history fetched in pieces is the history: no message twice, none missing, whatever the service makes of bounds."""

import random
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imkit
from imkit.client.roaming import Query, RoamingPage
from imkit.history.time_shards import Shards
from imkit.sandbox.process import Sandbox
from tests.stand_ins import Answer, Asked, odd_session, roamed, text_meta

START = 1_700_000_000_000
MINUTE = 60_000


class Roaming:
    """A service's roaming history with habits: how it takes bounds, how it words cursors, how often it fails."""

    def __init__(
        self,
        times: list[int],
        *,
        inclusive: bool = True,
        overlooks_bounds: bool = False,
        page: int = 50,
        tells_last: bool = True,
        opaque: bool = False,
        fails: float = 0.0,
        always: bool | None = None,
    ) -> None:
        self.messages = [(number, at) for number, at in enumerate(sorted(times), 1_000)]
        self.inclusive, self.overlooks_bounds, self.page = inclusive, overlooks_bounds, page
        self.tells_last, self.opaque, self.fails = tells_last, opaque, fails
        self.always = always  # the service answers from its oldest (or newest) end, whatever is asked
        self.requests = 0
        self._random = random.Random(7)
        self._cursors: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        with self._lock:
            return self._answer(asked.json)

    def _answer(self, question: dict[str, Any]) -> Answer:
        self.requests += 1
        if self._random.random() < self.fails:
            html = Answer(502, "<html>Bad gateway</html>", {"Content-Type": "text/html"})
            return self._random.choice([Answer(503, {"error": "busy"}, {"Retry-After": "0"}), html, Answer(cut=True)])
        oldest_first = question["is_positive"] if self.always is None else self.always
        found = self.messages if oldest_first else self.messages[::-1]
        low, high = question["startTime"], question["endTime"]
        if low is not None and not self.overlooks_bounds:
            edge = 0 if self.inclusive else 1
            found = [message for message in found if low + edge <= message[1] <= high - edge]
        start = question["start"]
        if start != -1:
            last = self._cursors[start] if self.opaque else int(start)
            found = [message for message in found if (message[0] > last if oldest_first else message[0] < last)]
        page, rest = found[: self.page], found[self.page :]
        data: dict[str, Any] = {"msgs": roamed(*(text_meta(n, f"m{n}", at=at) for n, at in page))}
        data["is_last"] = self.tells_last and not rest
        if page:
            key = f"opaque {self._random.random()}" if self.opaque else str(page[-1][0])
            self._cursors[key] = page[-1][0]
            data["next_key"] = key
        return Answer(200, {"data": data})


def check(roaming: Roaming, **arguments: Any) -> int:
    """Load it all, compare, and return how many requests it took."""
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history(**arguments)
    assert frame["message_id"].tolist() == [str(number) for number, _ in roaming.messages]
    assert frame.im.source["complete"] is True
    assert all(one <= other for one, other in pairwise(frame["time"]))
    return roaming.requests


def bursty(count: int) -> list[int]:
    """Weeks of quiet with a few bursts, some of them within one millisecond."""
    dice = random.Random(count)
    times = [START + dice.randrange(20 * 24 * 60 * MINUTE) for _ in range(count // 3)]
    for _ in range(5):
        begin = START + dice.randrange(20 * 24 * 60 * MINUTE)
        times += [begin + dice.randrange(MINUTE) for _ in range(count // 10)]
    moment = START + dice.randrange(20 * 24 * 60 * MINUTE)
    return times + [moment] * (count - len(times))


@pytest.mark.parametrize(
    "habits",
    [
        {},
        {"inclusive": False},
        {"overlooks_bounds": True},
        {"page": 7},
        {"tells_last": False},
        {"opaque": True},
        {"inclusive": False, "tells_last": False, "opaque": True, "page": 33},
        {"overlooks_bounds": True, "opaque": True, "tells_last": False},
        {"always": False},
        {"always": True, "overlooks_bounds": True},
        {"always": True, "tells_last": False},
    ],
    ids=str,
)
def test_every_message_once(habits: dict[str, Any]) -> None:
    check(Roaming(bursty(1_500), **habits))


def test_one_answer_in_fifteen_is_a_failure() -> None:
    check(Roaming(bursty(1_000), fails=1 / 15))


@pytest.mark.parametrize("workers", [1, 2, 8, 16, True, False])
def test_any_number_of_workers(workers: bool | int) -> None:
    check(Roaming(bursty(900)), parallel=workers)


def test_everything_in_one_millisecond() -> None:
    check(Roaming([START] * 400))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 1000, 5 * MINUTE]), max_size=400),
    inclusive=st.booleans(),
    overlooks_bounds=st.booleans(),
    page=st.sampled_from([3, 10, 50]),
    workers=st.integers(2, 9),
)
def test_any_shape(steps: list[int], inclusive: bool, overlooks_bounds: bool, page: int, workers: int) -> None:
    times = [START + sum(steps[: place + 1]) for place in range(len(steps))]
    roaming = Roaming(times, inclusive=inclusive, overlooks_bounds=overlooks_bounds, page=page)
    check(roaming, parallel=workers)


def test_few_requests_more_than_one_after_another() -> None:
    times = bursty(4_000)
    plain = check(Roaming(times), parallel=False)
    # Whose answer comes first decides: of 40 orders the dearest takes 1.34 times as many.
    assert check(Roaming(times), parallel=8) <= plain * 1.4


def test_what_is_between_two_times() -> None:
    roaming = Roaming(bursty(1_200))
    low, high = START + 3 * 24 * 60 * MINUTE, START + 11 * 24 * 60 * MINUTE
    moments = [imkit.times.from_milliseconds(moment) for moment in (low, high)]
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history(since=moments[0], until=moments[1])
    assert frame["message_id"].tolist() == [str(number) for number, at in roaming.messages if low <= at < high]


def test_progress_comes_with_an_estimate() -> None:
    told: list[tuple[int, int | None]] = []
    with odd_session(Roaming(bursty(1_500))) as (session, _):
        session.thread("42").history(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (1_500, 1_500)
    assert all(total is None or total >= done for done, total in told)
    assert any(total is not None for _, total in told[:-1])


def test_a_number_of_workers_that_is_none() -> None:
    with odd_session(Roaming([])) as (session, server):
        for parallel in (0, -1, 1.5, "8", 10_000, None):
            with pytest.raises(imkit.InvalidMessage, match="parallel"):
                session.thread("42").history(parallel=parallel)
        assert server.asked == []


@pytest.fixture
def talk(sandbox: Sandbox) -> Iterator[imkit.Thread]:
    with imkit.login("shard-alice", app=sandbox.app) as alice:
        group = alice.create_group("shards")
        yield group.create_thread("long", group.send("begin"))


def test_against_the_sandbox_while_messages_come_and_go(talk: imkit.Thread) -> None:
    before = [talk.send(f"before {number}") for number in range(300)]
    stop = threading.Event()

    def talker() -> None:
        while not stop.is_set():
            sent = talk.send("meanwhile")
            talk.recall(sent)

    talking = threading.Thread(target=talker)
    talking.start()
    try:
        frame = talk.history(parallel=4)
    finally:
        stop.set()
        talking.join()
    said = frame[frame["text"].str.startswith("before")]
    assert said["message_id"].tolist() == [message.id for message in before]
    assert frame["message_id"].is_unique


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_limit_where_the_service_overlooks_which_end_is_asked_for(always: bool, order: Any) -> None:
    roaming = Roaming(bursty(400), always=always)
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history(limit=30, order=order)
    ids = [str(number) for number, _ in roaming.messages]
    assert frame["message_id"].tolist() == (ids[:30] if order == "oldest" else ids[::-1][:30])


def test_messages_out_of_their_order() -> None:
    roaming = Roaming(bursty(2_000))
    dice = random.Random(3)
    roaming.messages = [(number, at + dice.randrange(20)) for number, at in roaming.messages]
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history()
    assert set(frame["message_id"]) == {str(number) for number, _ in roaming.messages}
    assert frame.im.source["complete"] is True


def test_an_open_range_ends_at_its_newest_message_whoever_gets_there_first() -> None:
    shards = Shards(Query())
    shards.begin()
    up = shards.walk_for_idle_worker()
    assert up is not None
    up.chain.follow(RoamingPage([b"1", b"2"], None, is_last=True, is_empty=False))
    shards.add_page(up, [5, 9])  # the newest page is still on its way
    assert shards.is_done
    assert shards.covered == ((0, 9),)


def test_a_service_that_overlooks_keys_is_asked_no_more_than_a_few_times() -> None:
    page = roamed(*(text_meta(n, f"m{n}", at=START + 1_000 * n) for n in range(1_100, 1_050, -1)))
    old = roamed(text_meta(1, "first", at=START - 10**9))

    def answer(asked: Asked) -> Answer:
        return Answer(200, {"data": {"msgs": old if asked.json["is_positive"] else page, "next_key": "k"}})

    with odd_session(answer) as (session, server):
        frame = session.thread("42").history()
        assert len(frame) >= 50
        assert len(server.asked) < 20


@pytest.mark.parametrize("always", [True, False])
def test_one_message_at_a_time_from_the_wrong_end_is_refused(always: bool) -> None:
    roaming = Roaming(bursty(300), always=always)
    ids = [str(number) for number, _ in roaming.messages]
    with odd_session(roaming) as (session, _):
        thread = session.thread("42")
        right, wrong = ("oldest", "newest") if always else ("newest", "oldest")
        assert [message.id for message in thread.messages(order=right)] == (ids if always else ids[::-1])
        with pytest.raises(imkit.ProtocolError, match="other end"):
            list(thread.messages(order=wrong))
