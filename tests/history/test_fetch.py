"""Fetching: what is covered has been handed over, at any moment; a target that fails does not stop the others."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imkit
from imkit.client.roaming import Query, RoamingPage
from imkit.errors import IMError
from imkit.history.columns import SCHEMA
from imkit.history.fetch import Fetch, HistoryPart
from imkit.history.time_ranges import Bounds, missing
from imkit.portal import portal
from imkit.wire.roaming_page import parse_page
from tests.history.roaming_service import MINUTE, START, RoamingService, bursty
from tests.stand_ins import Answer, Asked, odd_session

T = TypeVar("T")


class ShuffledFetch(Fetch):
    """Fetches from services in memory; how many turns of the event loop an answer takes is random."""

    def __init__(self, services: dict[str, RoamingService], dice: random.Random, take: Any, **options: Any) -> None:
        no_account: Any = None
        super().__init__(no_account, Query(), take, **options)
        self.services, self.dice = services, dice

    async def _page(self, target: Any, wanted: Query, cursor: str | int, newest_first: bool) -> RoamingPage:
        await wait_some_turns(self.dice, 6)
        if target.id not in self.services:
            raise imkit.NotFound(f"{target.id} is gone")
        low = None if wanted.since is None else wanted.since - 1
        high = None if wanted.until is None else wanted.until + 1
        if low is not None or high is not None:
            low, high = low or 0, high or 2**62
        asked = {"is_positive": not newest_first, "startTime": low, "endTime": high, "start": cursor}
        found = parse_page(json.dumps(self.services[target.id].answer(asked).body).encode())
        return RoamingPage(found.entries, found.cursor, found.is_last, found.is_empty)


async def wait_some_turns(dice: random.Random, most: int) -> None:
    for _ in range(dice.randrange(most)):
        await asyncio.sleep(0)


class CheckingTaker:
    """Takes parts, slowly, and checks that all messages of the covered times have come.

    Args:
        services: by thread id.
        dice: decides how long a call takes.
        fails_at: the number of the call that fails; `None` for none.
    """

    def __init__(self, services: dict[str, RoamingService], dice: random.Random, fails_at: int | None = None) -> None:
        self.services, self.dice, self.fails_at = services, dice, fails_at
        self.ids: dict[str, Counter[int]] = {key: Counter() for key in services}
        self.covered: dict[str, tuple[Any, ...]] = {}
        self.finished: Counter[str] = Counter()
        self.at_work: set[str] = set()
        self.calls = 0
        self.has_failed = False
        self.failed: list[str] = []

    async def __call__(self, part: HistoryPart) -> None:
        assert not self.has_failed, "a part came after one that was not taken"
        assert part.target_id not in self.at_work
        assert not self.finished[part.target_id]
        self.at_work.add(part.target_id)
        self.calls += 1
        fails = self.calls == self.fails_at
        await wait_some_turns(self.dice, 40)
        self.at_work.discard(part.target_id)
        if fails:
            self.has_failed = True
            raise OSError("the disk is full")
        ids = self.ids[part.target_id]
        ids.update(map(int, part.batch.column("message_id").to_pylist()))
        self.covered[part.target_id] = part.covered
        self.finished[part.target_id] += part.finished
        for low, high in part.covered:
            assert {number for number, at in self.services[part.target_id].messages if low <= at <= high} <= ids.keys()

    async def fail(self, target_id: str, error: IMError) -> None:
        await wait_some_turns(self.dice, 20)
        self.failed.append(target_id)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10_000),
    workers=st.sampled_from([1, 2, 3, 8]),
    sizes=st.lists(st.sampled_from([0, 3, 60, 150]), min_size=1, max_size=4),
    stops=st.none() | st.lists(st.integers(0, 60), min_size=1, max_size=3),
    fails_at=st.none() | st.integers(1, 6),
    habits=st.sampled_from([{}, {"ignores_bounds": True}, {"always_oldest_first": False}, {"tells_last": False}]),
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
    services = {
        str(number): RoamingService(bursty(size) if size else [], page=10, **habits)
        for number, size in enumerate(sizes)
    }
    taker = CheckingTaker(services, dice, fails_at)

    async def main() -> None:
        fetch = ShuffledFetch(services, dice, taker, workers=workers, failed=taker.fail)
        running = asyncio.create_task(fetch.run({**dict.fromkeys(services), "gone": None}))
        for stop in stops or ():
            for _ in range(stop):
                await asyncio.sleep(0)
            running.cancel()
        await asyncio.wait({running})
        assert not taker.at_work
        whole = {key: {number for number, _ in service.messages} for key, service in services.items()}
        assert all(set(ids.values()) <= {1} for ids in taker.ids.values())
        if taker.has_failed:
            assert running.cancelled() or isinstance(running.exception(), OSError)
            return
        assert fetch.found == sum(ids.total() for ids in taker.ids.values())
        if not running.cancelled():
            assert running.exception() is None
            assert taker.finished == Counter(services.keys())
            assert taker.failed == ["gone"]
            assert {key: set(ids) for key, ids in taker.ids.items()} == whole
            return
        jobs = {key: missing(taker.covered.get(key, ()), None, None) for key in services if not taker.finished[key]}
        known = {key: set(ids) for key, ids in taker.ids.items()}
        second_taker = CheckingTaker(services, dice)
        for key in jobs:
            second_taker.ids[key].update(known[key])
        rest = ShuffledFetch(services, dice, second_taker, workers=workers, known=known)
        await rest.run(jobs)
        assert second_taker.finished == Counter(jobs.keys())
        assert all(
            set(second_taker.ids[key]) == whole[key] and set(second_taker.ids[key].values()) <= {1} for key in jobs
        )
        assert all(set(taker.ids[key]) == whole[key] for key in services.keys() - jobs.keys())

    with patch("imkit.history.fetch.ROWS_A_PART", 20):
        asyncio.run(main())


def call(work: Coroutine[Any, Any, T]) -> T:
    return portal().call(work)


@dataclass
class TakenParts:
    """Keeps the parts of a run, and checks that all messages of the covered times have come."""

    roaming: RoamingService | None = None
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
        messages = self.roaming.messages if self.roaming is not None else []
        for low, high in part.covered:
            assert {str(number) for number, at in messages if low <= at <= high} <= self.ids.keys()


HABITS: list[dict[str, Any]] = [
    {},
    {"ignores_bounds": True},
    {"inclusive": False, "tells_last": False, "opaque_cursors": True, "page": 33},
    {"failure_rate": 1 / 15},
]


@pytest.mark.parametrize("habits", HABITS, ids=str)
def test_covered_times_are_complete_in_the_parts(habits: dict[str, Any]) -> None:
    roaming = RoamingService(bursty(5_000), **habits)
    taken = TakenParts(roaming)
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
    roaming = RoamingService(bursty(3_000))
    days = [START + day * 24 * 60 * MINUTE for day in (2, 5, 5, 9, 15)]
    ranges: list[Bounds] = [(days[0], days[1]), (days[2], days[3]), (days[4], None)]
    taken = TakenParts(roaming)
    with odd_session(roaming) as (session, _):
        call(Fetch(session.account, Query(), taken).run({"42": ranges}))
    last = roaming.messages[-1][1]
    wanted = [str(n) for n, at in roaming.messages if days[0] <= at < days[3] or days[4] <= at]
    assert taken.ids == Counter(wanted)
    assert taken.parts[-1].covered == ((days[0], days[3] - 1), (days[4], last))


def test_an_empty_thread_and_no_ranges_are_reported_as_finished() -> None:
    taken = TakenParts()
    with odd_session(RoamingService([])) as (session, _):
        call(Fetch(session.account, Query(), taken).run({"1": None, "2": [], "3": [(5, 9)]}))
    assert {part.target_id: (part.finished, part.batch.num_rows, part.covered) for part in taken.parts} == {
        "1": (True, 0, ()),
        "2": (True, 0, ()),
        "3": (True, 0, ((5, 8),)),
    }


def test_many_small_threads_cost_a_request_each() -> None:
    taken = TakenParts()
    with odd_session(RoamingService([START, START + 1])) as (session, server):
        call(Fetch(session.account, Query(), taken, workers=3).run({str(number): None for number in range(1, 41)}))
        assert len(server.asked) <= 40 + 3  # at the end idle workers help with the last threads
    assert len([part for part in taken.parts if part.finished]) == 40


def missing_thread(asked: Asked) -> Answer | None:
    if asked.json["queue"].startswith("404@"):
        return Answer(404, {"error": "resource_not_found", "error_description": "queue 404 does not exist"})
    return None


def test_a_missing_thread_is_reported_and_the_others_go_on() -> None:
    roaming = RoamingService(bursty(500))
    taken = TakenParts()
    failed: dict[str, IMError] = {}

    async def fail(target_id: str, error: IMError) -> None:
        failed[target_id] = error

    with odd_session(lambda asked: missing_thread(asked) or roaming(asked)) as (session, _):
        fetch = Fetch(session.account, Query(), taken, failed=fail)
        call(fetch.run({"41": None, "404": None, "43": None}))
        assert list(failed) == ["404"]
        assert isinstance(failed["404"], imkit.NotFound)
        assert {part.target_id for part in taken.parts if part.finished} == {"41", "43"}
        assert len(fetch.reasons) == 1
        with pytest.raises(imkit.NotFound):
            call(Fetch(session.account, Query(), taken).run({"404": None}))


def test_a_stop_hands_over_what_came() -> None:
    roaming = RoamingService(bursty(1_500))
    taken = TakenParts(roaming)
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


def test_an_error_in_take_ends_the_run_and_a_slow_take_slows_it() -> None:
    roaming = RoamingService(bursty(9_000))

    async def fail(part: HistoryPart) -> None:
        raise OSError("the disk is full")

    with odd_session(roaming) as (session, _):
        with pytest.raises(OSError, match="disk is full"):
            call(Fetch(session.account, Query(), fail).run({"42": None}))
        roaming.requests = 0
        requests_during_take: list[int] = []

        async def slow(part: HistoryPart) -> None:
            before = roaming.requests
            await asyncio.sleep(0.3)
            requests_during_take.append(roaming.requests - before)

        call(Fetch(session.account, Query(), slow, workers=4).run({"42": None}))
        # While one part is taken, no more messages come than fill the next part.
        assert max(requests_during_take) <= 2_000 // 50 + 8


def test_progress_comes_with_an_estimate() -> None:
    calls: list[tuple[int, int | None]] = []
    with odd_session(RoamingService(bursty(1_500))) as (session, _):
        session.thread("42").history(progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1_500, 1_500)
    assert all(total is None or total >= done for done, total in calls)
    assert any(total is not None for _, total in calls[:-1])
