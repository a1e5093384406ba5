"""Fetching: what is said to be covered has been handed over, at any moment; what cannot be read stops nobody else."""

import asyncio
import json
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imkit
from benchmarks.fetch_server import times as bursty_month
from imkit.client.roaming import Query, RoamingPage
from imkit.errors import IMError
from imkit.history.columns import SCHEMA
from imkit.history.fetch import Fetch, HistoryPart
from imkit.history.load import missing
from imkit.history.time_ranges import Bounds
from imkit.history.time_shards import Shards, ShardWalk
from imkit.portal import portal
from imkit.wire.roaming_page import parse_page
from tests.history.test_time_shards import MINUTE, START, Roaming, bursty
from tests.stand_ins import Answer, Asked, odd_session

T = TypeVar("T")


# ------------------------------------------------------------------ who goes where, without a network


@dataclass
class Service:
    """The pages of a history, with habits; numbers are ids, and cursors."""

    times: list[int]
    inclusive: bool = True
    overlooks_bounds: bool = False
    tells_last: bool = True
    size: int = 50

    def page(self, walk: ShardWalk) -> tuple[list[int], RoamingPage]:
        wanted, cursor = walk.chain.wanted, walk.chain.cursor
        low, high = 0, len(self.times)
        if not self.overlooks_bounds:
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


class Readers:
    """Workers on one history whose answers come in an order of their own."""

    def __init__(self, service: Service, workers: int, wanted: Query, dice: random.Random) -> None:
        self.service, self.dice = service, dice
        self.shards = Shards(wanted)
        self.idle = workers - 1
        self.under_way = [self.shards.begin()]
        self.seen: set[int] = set()
        self.requests = 0

    def run(self) -> None:
        self._help()
        while self.under_way:
            walk = self.under_way.pop(self.dice.randrange(len(self.under_way)))
            found, page = self.service.page(walk)
            self.requests += 1
            assert self.requests < 10 * (len(self.service.times) + 20), "it goes round in circles"
            walk.chain.follow(page)
            if self.shards.add_page(walk, [self.service.times[number] for number in found]):
                self.seen.update(found)
            self._check()
            if self.shards.has_more(walk):
                self.under_way.append(walk)
            else:
                self.shards.release(walk)
                self.idle += 1
            self._help()

    def _help(self) -> None:
        while self.idle and (walk := self.shards.walk_for_idle_worker()) is not None:
            self.under_way.append(walk)
            self.idle -= 1

    def _check(self) -> None:
        for low, high in self.shards.covered:
            assert low <= high
            inside = range(bisect_left(self.service.times, low), bisect_right(self.service.times, high))
            assert self.seen.issuperset(inside)


@given(
    steps=st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 1000, 5 * MINUTE]), max_size=300),
    inclusive=st.booleans(),
    overlooks_bounds=st.booleans(),
    tells_last=st.booleans(),
    size=st.sampled_from([3, 10, 50]),
    workers=st.integers(1, 9),
    bounds=st.tuples(*[st.none() | st.integers(-10, 10 * MINUTE)] * 2),
    seed=st.integers(0, 9),
)
def test_covered_is_never_more_than_what_came(
    steps: list[int],
    inclusive: bool,
    overlooks_bounds: bool,
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
    service = Service(times, inclusive, overlooks_bounds, tells_last, size)
    readers = Readers(service, workers, Query(since, until), random.Random(seed))
    readers.run()
    assert readers.shards.is_done
    wanted = {n for n, at in enumerate(times) if (since is None or at >= since) and (until is None or at < until)}
    assert readers.seen >= wanted
    covered = readers.shards.covered
    if until is not None or wanted:
        top = until - 1 if until is not None else max(times)
        assert covered == ((since or 0, top),)


@pytest.mark.parametrize(("workers", "most"), [(8, 0.08), (16, 0.15), (32, 0.25)])
def test_many_hands_ask_for_little_more_than_one(workers: int, most: float) -> None:
    for seed in range(3):
        readers = Readers(Service(bursty_month(seed=seed)), workers, Query(), random.Random(seed))
        readers.run()
        assert readers.requests <= 400 * (1 + most)


# ------------------------------------------------------- at any moment, whoever comes first


class Tossed(Fetch):
    """Fetches from services in memory, whose answers take as many turns of the loop as the dice say."""

    rooms: dict[str, Roaming]
    dice: random.Random

    async def _page(self, target: Any, wanted: Query, cursor: str | int, newest_first: bool) -> RoamingPage:
        await turns(self.dice, 6)
        if target.id not in self.rooms:
            raise imkit.NotFound(f"{target.id} is gone")
        low = None if wanted.since is None else wanted.since - 1
        high = None if wanted.until is None else wanted.until + 1
        if low is not None or high is not None:
            low, high = low or 0, high or 2**62
        asked = {"is_positive": not newest_first, "startTime": low, "endTime": high, "start": cursor}
        found = parse_page(json.dumps(self.rooms[target.id]._answer(asked).body).encode())
        return RoamingPage(found.entries, found.cursor, found.is_last, found.is_empty)


async def turns(dice: random.Random, most: int) -> None:
    for _ in range(dice.randrange(most)):
        await asyncio.sleep(0)


class Keeping:
    """A taker that takes its time, fails where it is told to, and holds each part to its word."""

    def __init__(self, rooms: dict[str, Roaming], dice: random.Random, fails_at: int | None = None) -> None:
        self.rooms, self.dice, self.fails_at = rooms, dice, fails_at
        self.ids: dict[str, Counter[int]] = {key: Counter() for key in rooms}
        self.covered: dict[str, tuple[Any, ...]] = {}
        self.finished: Counter[str] = Counter()
        self.at_work: set[str] = set()
        self.calls = 0
        self.has_failed = False
        self.failed: list[str] = []

    async def __call__(self, part: HistoryPart) -> None:
        assert not self.has_failed, "a part was given after one that was not taken"
        assert part.target_id not in self.at_work
        assert not self.finished[part.target_id]
        self.at_work.add(part.target_id)
        self.calls += 1
        fails = self.calls == self.fails_at
        await turns(self.dice, 40)
        self.at_work.discard(part.target_id)
        if fails:
            self.has_failed = True
            raise OSError("the disk is full")
        ids = self.ids[part.target_id]
        ids.update(map(int, part.batch.column("message_id").to_pylist()))
        self.covered[part.target_id] = part.covered
        self.finished[part.target_id] += part.finished
        for low, high in part.covered:
            assert {number for number, at in self.rooms[part.target_id].messages if low <= at <= high} <= ids.keys()

    async def fail(self, target_id: str, error: IMError) -> None:
        await turns(self.dice, 20)
        self.failed.append(target_id)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    workers=st.sampled_from([1, 2, 3, 8]),
    sizes=st.lists(st.sampled_from([0, 3, 60, 150]), min_size=1, max_size=4),
    stops=st.none() | st.lists(st.integers(0, 60), min_size=1, max_size=3),
    fails_at=st.none() | st.integers(1, 6),
    habits=st.sampled_from([{}, {"overlooks_bounds": True}, {"always": False}, {"tells_last": False}]),
)
def test_a_stop_at_any_moment_loses_nothing(
    seed: int,
    workers: int,
    sizes: list[int],
    stops: list[int] | None,
    fails_at: int | None,
    habits: dict[str, Any],
) -> None:
    dice = random.Random(seed)
    rooms = {str(room): Roaming(bursty(size) if size else [], page=10, **habits) for room, size in enumerate(sizes)}
    keeping = Keeping(rooms, dice, fails_at)

    async def main() -> None:
        fetch = Tossed(None, Query(), keeping, workers=workers, failed=keeping.fail)
        fetch.rooms, fetch.dice = rooms, dice
        running = asyncio.create_task(fetch.run({**dict.fromkeys(rooms), "gone": None}))
        for stop in stops or ():
            for _ in range(stop):
                await asyncio.sleep(0)
            running.cancel()
        await asyncio.wait({running})
        assert not keeping.at_work
        whole = {key: {number for number, _ in room.messages} for key, room in rooms.items()}
        assert all(set(ids.values()) <= {1} for ids in keeping.ids.values())
        if keeping.has_failed:
            assert running.cancelled() or isinstance(running.exception(), OSError)
            return
        assert fetch.found == sum(ids.total() for ids in keeping.ids.values())
        if not running.cancelled():
            assert running.exception() is None
            assert keeping.finished == Counter(rooms.keys())
            assert keeping.failed == ["gone"]
            assert {key: set(ids) for key, ids in keeping.ids.items()} == whole
            return
        jobs = {key: missing(keeping.covered.get(key, ()), None, None) for key in rooms if not keeping.finished[key]}
        known = {key: set(ids) for key, ids in keeping.ids.items()}
        again = Keeping(rooms, dice)
        for key in jobs:
            again.ids[key].update(known[key])
        rest = Tossed(None, Query(), again, workers=workers, known=known)
        rest.rooms, rest.dice = rooms, dice
        await rest.run(jobs)
        assert again.finished == Counter(jobs.keys())
        assert all(set(again.ids[key]) == whole[key] and set(again.ids[key].values()) <= {1} for key in jobs)
        assert all(set(keeping.ids[key]) == whole[key] for key in rooms.keys() - jobs.keys())

    with patch("imkit.history.fetch.ROWS_A_PART", 20):
        asyncio.run(main())


# ------------------------------------------------------------------ from a service


def call(work: Coroutine[Any, Any, T]) -> T:
    return portal().call(work)


@dataclass
class Taken:
    """What a run hands over, and whether it keeps its word."""

    roaming: Roaming | None = None
    parts: list[HistoryPart] = field(default_factory=list)
    ids: Counter[str] = field(default_factory=Counter)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, part: HistoryPart) -> None:
        assert part.batch.schema.equals(SCHEMA)
        assert not any(earlier.finished for earlier in self.parts if earlier.target_id == part.target_id)
        self.parts.append(part)
        self.came.set()
        self.ids.update(part.batch.column("message_id").to_pylist())
        assert list(part.covered) == sorted(part.covered)
        for low, high in part.covered if self.roaming else ():
            assert {str(number) for number, at in self.roaming.messages if low <= at <= high} <= self.ids.keys()


HABITS: list[dict[str, Any]] = [
    {},
    {"overlooks_bounds": True},
    {"inclusive": False, "tells_last": False, "opaque": True, "page": 33},
    {"fails": 1 / 15},
]


@pytest.mark.parametrize("habits", HABITS, ids=str)
def test_parts_keep_their_word(habits: dict[str, Any]) -> None:
    roaming = Roaming(bursty(5_000), **habits)
    taken = Taken(roaming)
    with odd_session(roaming) as (session, _):
        fetch = Fetch(session.account, Query(), taken)
        call(fetch.run({"42": None}))
    assert len(taken.parts) > 1
    assert taken.ids == Counter(str(number) for number, _ in roaming.messages)
    assert taken.parts[-1].finished
    assert taken.parts[-1].covered == ((0, roaming.messages[-1][1]),)
    assert fetch.found == 5_000
    assert fetch.reasons == []


def test_ranges_of_one_thread() -> None:
    roaming = Roaming(bursty(3_000))
    days = [START + day * 24 * 60 * MINUTE for day in (2, 5, 5, 9, 15)]
    ranges: list[Bounds] = [(days[0], days[1]), (days[2], days[3]), (days[4], None)]
    taken = Taken(roaming)
    with odd_session(roaming) as (session, _):
        call(Fetch(session.account, Query(), taken).run({"42": ranges}))
    last = roaming.messages[-1][1]
    wanted = [str(n) for n, at in roaming.messages if days[0] <= at < days[3] or days[4] <= at]
    assert taken.ids == Counter(wanted)
    assert taken.parts[-1].covered == ((days[0], days[3] - 1), (days[4], last))


def test_an_empty_thread_and_no_ranges_are_told_to_be_finished() -> None:
    taken = Taken()
    with odd_session(Roaming([])) as (session, _):
        call(Fetch(session.account, Query(), taken).run({"1": None, "2": [], "3": [(5, 9)]}))
    assert {part.target_id: (part.finished, part.batch.num_rows, part.covered) for part in taken.parts} == {
        "1": (True, 0, ()),
        "2": (True, 0, ()),
        "3": (True, 0, ((5, 8),)),
    }


def test_many_small_threads_cost_a_request_each() -> None:
    taken = Taken()
    with odd_session(Roaming([START, START + 1])) as (session, server):
        call(Fetch(session.account, Query(), taken, workers=3).run({str(number): None for number in range(1, 41)}))
        assert len(server.asked) <= 40 + 3  # at the end those who are idle help
    assert len([part for part in taken.parts if part.finished]) == 40


def gone(asked: Asked) -> Answer | None:
    if asked.json["queue"].startswith("404@"):
        return Answer(404, {"error": "resource_not_found", "error_description": "queue 404 does not exist"})
    return None


def test_a_thread_that_is_gone_is_told_and_the_rest_goes_on() -> None:
    roaming = Roaming(bursty(500))
    taken = Taken()
    failed: dict[str, IMError] = {}

    async def fail(target_id: str, error: IMError) -> None:
        failed[target_id] = error

    with odd_session(lambda asked: gone(asked) or roaming(asked)) as (session, _):
        fetch = Fetch(session.account, Query(), taken, failed=fail)
        call(fetch.run({"41": None, "404": None, "43": None}))
        assert list(failed) == ["404"]
        assert isinstance(failed["404"], imkit.NotFound)
        assert {part.target_id for part in taken.parts if part.finished} == {"41", "43"}
        assert len(fetch.reasons) == 1
        with pytest.raises(imkit.NotFound):
            call(Fetch(session.account, Query(), taken).run({"404": None}))


def test_a_stop_hands_over_what_came() -> None:
    roaming = Roaming(bursty(1_500))
    taken = Taken(roaming)
    asked_for = 0

    def counted(asked: Asked) -> Answer:
        nonlocal asked_for
        asked_for += 1
        if asked_for == 10:
            running.cancel()
        return roaming(asked)

    with odd_session(counted) as (session, _):
        running = portal().submit(Fetch(session.account, Query(), taken, workers=2).run({"42": None}))
        with pytest.raises(BaseException, match=r"^$") as caught:
            running.result(10)
        assert "Cancelled" in type(caught.value).__name__
        call(taken.came.wait())
    assert len(taken.parts) == 1
    assert not taken.parts[0].finished
    assert 0 < taken.ids.total() < 1_500


def test_a_taker_that_fails_ends_it_and_a_slow_one_slows_it() -> None:
    roaming = Roaming(bursty(9_000))

    async def fail(part: HistoryPart) -> None:
        raise OSError("the disk is full")

    with odd_session(roaming) as (session, _):
        with pytest.raises(OSError, match="disk is full"):
            call(Fetch(session.account, Query(), fail).run({"42": None}))
        roaming.requests = 0
        gates: list[int] = []

        async def slow(part: HistoryPart) -> None:
            before = roaming.requests
            await asyncio.sleep(0.3)
            gates.append(roaming.requests - before)

        call(Fetch(session.account, Query(), slow, workers=4).run({"42": None}))
        # While one part is written no more than another comes.
        assert max(gates) <= 2_000 // 50 + 8
