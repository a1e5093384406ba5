"""A history read in pieces is complete: each message once, whatever the service does with bounds and order."""

import random
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imkit
from benchmarks.fetch_server import times as bursty_month
from imkit.client.roaming import Query, RoamingPage
from imkit.history.time_ranges import Bounds
from imkit.history.time_shards import Shards, ShardWalk
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from tests.history.roaming_service import MINUTE, START, RoamingService, bursty
from tests.stand_ins import Answer, Asked, odd_session, roamed, text_meta


@dataclass
class PagedHistory:
    """The pages of a history in memory. A message is the index of its time; it is its id and its cursor, too.

    Attributes:
        times: of the messages, ascending.
        inclusive, ignores_bounds, tells_last: as in `RoamingService`.
        size: how many messages a page has.
    """

    times: list[int]
    inclusive: bool = True
    ignores_bounds: bool = False
    tells_last: bool = True
    size: int = 50

    def page(self, walk: ShardWalk) -> tuple[list[int], RoamingPage]:
        wanted, cursor = walk.chain.wanted, walk.chain.cursor
        low, high = 0, len(self.times)
        if not self.ignores_bounds:
            edge = 0 if self.inclusive else 1
            if wanted.since is not None:
                low = bisect_left(self.times, wanted.since - 1 + edge)
            if wanted.until is not None:
                high = bisect_right(self.times, wanted.until + 1 - edge)
        if walk.newest_first:
            high = high if cursor == -1 else min(high, int(cursor))
            found = list(range(max(low, high - self.size), high))[::-1]
            rest = high - self.size > low
        else:
            low = low if cursor == -1 else max(low, int(cursor) + 1)
            found = list(range(low, min(high, low + self.size)))
            rest = low + self.size < high
        entries = [b"%d" % number for number in found]
        return found, RoamingPage(entries, str(found[-1]) if found else None, self.tells_last and not rest, not found)


class SimulatedWorkers:
    """Workers that read one history with `Shards`; the order in which they get their pages is random."""

    def __init__(self, service: PagedHistory, workers: int, wanted: Query, dice: random.Random) -> None:
        self.service, self.dice = service, dice
        self.shards = Shards(wanted)
        self.idle_workers = workers - 1
        self.under_way = [self.shards.begin()]
        self.seen: set[int] = set()
        self.requests = 0

    def run(self) -> None:
        self._start_idle_workers()
        while self.under_way:
            walk = self.under_way.pop(self.dice.randrange(len(self.under_way)))
            found, page = self.service.page(walk)
            self.requests += 1
            assert self.requests < 10 * (len(self.service.times) + 20), "too many requests"
            walk.chain.follow(page)
            if self.shards.add_page(walk, [self.service.times[number] for number in found]):
                self.seen.update(found)
            self._check()
            if self.shards.has_more(walk):
                self.under_way.append(walk)
            else:
                self.shards.release(walk)
                self.idle_workers += 1
            self._start_idle_workers()

    def _start_idle_workers(self) -> None:
        while self.idle_workers and (walk := self.shards.walk_for_idle_worker()) is not None:
            self.under_way.append(walk)
            self.idle_workers -= 1

    def _check(self) -> None:
        for low, high in self.shards.covered:
            assert low <= high
            inside = range(bisect_left(self.service.times, low), bisect_right(self.service.times, high))
            assert self.seen.issuperset(inside)


@given(
    steps=st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 1000, 5 * MINUTE]), max_size=300),
    inclusive=st.booleans(),
    ignores_bounds=st.booleans(),
    tells_last=st.booleans(),
    size=st.sampled_from([3, 10, 50]),
    workers=st.integers(1, 9),
    bounds=st.tuples(*[st.none() | st.integers(-10, 10 * MINUTE)] * 2),
    seed=st.integers(0, 9),
)
def test_covered_is_never_more_than_what_came(
    steps: list[int],
    inclusive: bool,
    ignores_bounds: bool,
    tells_last: bool,
    size: int,
    workers: int,
    bounds: Bounds,
    seed: int,
) -> None:
    times = [START + sum(steps[: place + 1]) for place in range(len(steps))]
    since, until = (None if bound is None else START + bound for bound in bounds)
    if since is not None and until is not None and since >= until:
        since, until = until, since + 1
    service = PagedHistory(times, inclusive, ignores_bounds, tells_last, size)
    workers_on_it = SimulatedWorkers(service, workers, Query(since, until), random.Random(seed))
    workers_on_it.run()
    assert workers_on_it.shards.is_done
    wanted = {n for n, at in enumerate(times) if (since is None or at >= since) and (until is None or at < until)}
    assert workers_on_it.seen >= wanted
    covered = workers_on_it.shards.covered
    if until is not None or wanted:
        top = until - 1 if until is not None else max(times)
        assert covered == ((since or 0, top),)


@pytest.mark.parametrize(("workers", "most"), [(8, 0.08), (16, 0.15), (32, 0.25)])
def test_many_workers_need_few_requests_more_than_one(workers: int, most: float) -> None:
    for seed in range(3):
        workers_on_it = SimulatedWorkers(PagedHistory(bursty_month(seed=seed)), workers, Query(), random.Random(seed))
        workers_on_it.run()
        assert workers_on_it.requests <= 400 * (1 + most)


def check(roaming: RoamingService, **arguments: Any) -> int:
    """Load a whole history, compare it with the service, and return how many requests that took."""
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history(**arguments)
    assert frame["message_id"].tolist() == [str(number) for number, _ in roaming.messages]
    assert frame.im.source["complete"] is True
    assert all(earlier <= later for earlier, later in pairwise(frame["time"]))
    return roaming.requests


@pytest.mark.parametrize(
    "habits",
    [
        {},
        {"inclusive": False},
        {"ignores_bounds": True},
        {"page": 7},
        {"tells_last": False},
        {"opaque_cursors": True},
        {"inclusive": False, "tells_last": False, "opaque_cursors": True, "page": 33},
        {"ignores_bounds": True, "opaque_cursors": True, "tells_last": False},
        {"always_oldest_first": False},
        {"always_oldest_first": True, "ignores_bounds": True},
        {"always_oldest_first": True, "tells_last": False},
    ],
    ids=str,
)
def test_every_message_comes_once(habits: dict[str, Any]) -> None:
    check(RoamingService(bursty(1_500), **habits))


def test_one_answer_in_fifteen_is_a_failure() -> None:
    check(RoamingService(bursty(1_000), failure_rate=1 / 15))


@pytest.mark.parametrize("workers", [1, 2, 8, 16, True, False])
def test_any_number_of_workers(workers: bool | int) -> None:
    check(RoamingService(bursty(900)), parallel=workers)


def test_everything_in_one_millisecond() -> None:
    check(RoamingService([START] * 400))


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 1000, 5 * MINUTE]), max_size=400),
    inclusive=st.booleans(),
    ignores_bounds=st.booleans(),
    page=st.sampled_from([3, 10, 50]),
    workers=st.integers(2, 9),
)
def test_any_distribution_of_times(
    steps: list[int], inclusive: bool, ignores_bounds: bool, page: int, workers: int
) -> None:
    times = [START + sum(steps[: place + 1]) for place in range(len(steps))]
    roaming = RoamingService(times, inclusive=inclusive, ignores_bounds=ignores_bounds, page=page)
    check(roaming, parallel=workers)


def test_few_requests_more_than_one_after_another() -> None:
    times = bursty(4_000)
    plain = check(RoamingService(times), parallel=False)
    # The number depends on the order in which the answers come; in 40 runs it was at most 1.34 times as many.
    assert check(RoamingService(times), parallel=8) <= plain * 1.4


def test_since_and_until() -> None:
    roaming = RoamingService(bursty(1_200))
    low, high = START + 3 * 24 * 60 * MINUTE, START + 11 * 24 * 60 * MINUTE
    moments = [from_milliseconds(moment) for moment in (low, high)]
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history(since=moments[0], until=moments[1])
    assert frame["message_id"].tolist() == [str(number) for number, at in roaming.messages if low <= at < high]


@pytest.fixture
def thread(sandbox: Sandbox) -> Iterator[imkit.Thread]:
    with imkit.login("shard-alice", app=sandbox.app) as alice:
        group = alice.create_group("shards")
        yield group.create_thread("long", group.send("begin"))


def test_against_the_sandbox_while_messages_come_and_go(thread: imkit.Thread) -> None:
    before = [thread.send(f"before {number}") for number in range(300)]
    stop = threading.Event()

    def send_and_recall() -> None:
        while not stop.is_set():
            sent = thread.send("meanwhile")
            thread.recall(sent)

    sending = threading.Thread(target=send_and_recall)
    sending.start()
    try:
        frame = thread.history(parallel=4)
    finally:
        stop.set()
        sending.join()
    sent_before = frame[frame["text"].str.startswith("before")]
    assert sent_before["message_id"].tolist() == [message.id for message in before]
    assert frame["message_id"].is_unique


@pytest.mark.parametrize("always_oldest_first", [True, False])
@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_limit_with_a_service_that_ignores_the_direction(always_oldest_first: bool, order: Any) -> None:
    roaming = RoamingService(bursty(400), always_oldest_first=always_oldest_first)
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history(limit=30, order=order)
    ids = [str(number) for number, _ in roaming.messages]
    assert frame["message_id"].tolist() == (ids[:30] if order == "oldest" else ids[::-1][:30])


def test_messages_out_of_order() -> None:
    roaming = RoamingService(bursty(2_000))
    dice = random.Random(3)
    roaming.messages = [(number, at + dice.randrange(20)) for number, at in roaming.messages]
    with odd_session(roaming) as (session, _):
        frame = session.thread("42").history()
    assert set(frame["message_id"]) == {str(number) for number, _ in roaming.messages}
    assert frame.im.source["complete"] is True


def test_an_open_range_ends_at_its_newest_message_also_if_read_from_the_oldest() -> None:
    shards = Shards(Query())
    shards.begin()
    from_oldest = shards.walk_for_idle_worker()
    assert from_oldest is not None
    from_oldest.chain.follow(RoamingPage([b"1", b"2"], None, is_last=True, is_empty=False))
    shards.add_page(from_oldest, [5, 9])  # the newest page is still on its way
    assert shards.is_done
    assert shards.covered == ((0, 9),)


def test_a_service_that_ignores_cursors_is_asked_only_a_few_times() -> None:
    page = roamed(*(text_meta(n, f"m{n}", at=START + 1_000 * n) for n in range(1_100, 1_050, -1)))
    old = roamed(text_meta(1, "first", at=START - 10**9))

    def answer(asked: Asked) -> Answer:
        return Answer(200, {"data": {"msgs": old if asked.json["is_positive"] else page, "next_key": "k"}})

    with odd_session(answer) as (session, server):
        frame = session.thread("42").history()
        assert len(frame) >= 50
        assert len(server.asked) < 20
