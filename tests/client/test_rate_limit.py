"""The rate limit: a given rate is kept, a refusal lowers it, and without a given rate it is learnt; and retries end.

The tests run in virtual time: the loop's clock jumps to the next event.
"""

import asyncio
import random
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import imkit
from benchmarks.fetch_server import Limit
from imkit.client.rate_limit import MAX_ATTEMPTS, MAX_ATTEMPTS_IN_ALL, RateBucket, RetryPolicy, retry_delays
from imkit.client.timing import reconnect_delays

T = TypeVar("T")


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop that never really waits."""

    def __init__(self) -> None:
        loop = self
        self.now = 100.0

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> Any:
                loop.now += timeout or 0.0
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self.now


@pytest.fixture
def loop() -> Iterator[VirtualTime]:
    loop = VirtualTime()
    yield loop
    loop.close()


# ------------------------------------------------------------------- a given rate


def take(loop: VirtualTime, bucket: RateBucket, count: int) -> list[float]:
    async def main() -> list[float]:
        return [round(await bucket.take(), 6) for _ in range(count)]

    return loop.run_until_complete(main())


def test_a_burst_leaves_at_once_and_the_rest_at_the_given_rate(loop: VirtualTime) -> None:
    bucket = RateBucket(100, burst=10, clock=loop.time)
    times = take(loop, bucket, 110)
    assert times[:10] == [100.0] * 10
    assert times[10:] == pytest.approx([100 + (index + 1) / 100 for index in range(100)])
    loop.now += 60
    assert take(loop, bucket, 11)[:10] == pytest.approx([times[-1] + 60] * 10)  # at most one burst


def test_no_second_has_more_requests_than_the_rate_and_a_burst(loop: VirtualTime) -> None:
    bucket = RateBucket(20, burst=10, clock=loop.time)

    async def main() -> list[float]:
        return list(await asyncio.gather(*(bucket.take() for _ in range(200))))

    times = loop.run_until_complete(main())
    assert times == sorted(times)  # in the order of the calls
    assert all(sum(1 for time in times if start <= time < start + 1) <= 20 + 10 for start in times)


def test_without_a_rate_no_request_waits(loop: VirtualTime) -> None:
    assert take(loop, RateBucket(None, clock=loop.time), 1000) == [100.0] * 1000


def test_users_of_one_app_share_one_bucket() -> None:
    app = imkit.App("org#bucket", max_requests_per_second=7)
    equal = imkit.App("org#bucket", max_requests_per_second=7)
    other = imkit.App("org#other", max_requests_per_second=7)
    assert app.rate_bucket("http://x") is equal.rate_bucket("http://x")
    assert app.rate_bucket("http://x") is not other.rate_bucket("http://x")


# ------------------------------------------------------------------- a service that refuses


class Service:
    """A service that answers after 30 ms and refuses requests above its limit."""

    def __init__(self, loop: VirtualTime, limit: Limit | None, retry_after: float | None = None) -> None:
        self.loop, self.limit, self.retry_after = loop, limit, retry_after
        self.asked = self.refused = self.pages = 0
        self.down = False
        self.chance = random.Random(1)
        self.busy_share = 0.0

    async def page(self, bucket: RateBucket) -> None:
        """Ask for one page until there is an answer, as `Rest` does."""
        retries = RetryPolicy(bucket, 120, self.loop.time)
        while True:
            sent = await bucket.take()
            self.asked += 1
            is_allowed = self.limit is None or self.limit.allows()
            is_busy = self.down or self.chance.random() < self.busy_share
            await asyncio.sleep(0.03)
            error: imkit.IMError
            if not is_allowed:
                self.refused += 1
                bucket.refused(sent, self.retry_after)
                error = imkit.RateLimited("429")
            elif is_busy:
                bucket.busy(sent, None)
                error = imkit.ServiceBusy("503")
            else:
                bucket.answered(sent)
                self.pages += 1
                return
            await retries.wait_or_raise(error, self.retry_after if not is_allowed else None)

    def load(self, bucket: RateBucket, pages: int, workers: int = 8) -> float:
        """Load `pages` pages with some workers, and return how many seconds that took."""
        left = iter(range(pages))

        async def worker() -> None:
            for _ in left:
                await self.page(bucket)

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(worker())

        began = self.loop.now
        self.loop.run_until_complete(main())
        return self.loop.now - began


@pytest.mark.parametrize("workers", [8, 32])
@pytest.mark.parametrize("retry_after", [None, 0.0, 1.0])
@pytest.mark.parametrize("given", [100, None])
@pytest.mark.parametrize("kind", ["sliding", "window", "bucket"])
def test_at_least_80_percent_of_the_limit_is_used(
    loop: VirtualTime, kind: str, given: int | None, retry_after: float | None, workers: int
) -> None:
    service = Service(loop, Limit(kind, 100, loop.time), retry_after)
    seconds = service.load(RateBucket(given, clock=loop.time), 1_000, workers)
    assert 1_000 / (100 * seconds) >= 0.8
    assert service.refused <= 0.05 * service.asked


def test_the_rate_follows_a_limit_that_changes(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    service = Service(loop, Limit("sliding", 100, loop.time))
    service.load(bucket, 400)
    for limit, seconds in ((20, 30), (200, 30)):
        service.limit = Limit("sliding", limit, loop.time)
        service.load(bucket, limit * 10)  # learning
        assert service.load(bucket, limit * 20) < seconds
        assert bucket.rate is not None
        assert 0.7 * limit <= bucket.rate <= 1.3 * limit


def test_two_processes_that_share_a_limit_both_finish(loop: VirtualTime) -> None:
    service = Service(loop, Limit("sliding", 50, loop.time))
    buckets = [RateBucket(100, clock=loop.time) for _ in range(2)]  # two processes

    async def all_of(bucket: RateBucket) -> None:
        await asyncio.gather(*(service.page(bucket) for _ in range(300)))

    async def main() -> None:
        await asyncio.gather(*map(all_of, buckets))

    loop.run_until_complete(main())
    assert service.pages == 600
    assert service.refused <= 0.25 * service.asked


def test_a_few_busy_answers_do_not_lower_the_rate(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    service = Service(loop, None)
    service.busy_share = 1 / 15
    service.load(bucket, 2_000)
    assert bucket.rate is None


def test_an_outage_of_a_minute_ends_with_the_full_rate(loop: VirtualTime) -> None:
    bucket = RateBucket(100, clock=loop.time)
    service = Service(loop, None)
    service.load(bucket, 300)
    service.down = True
    loop.call_later(60, setattr, service, "down", False)
    asked = service.asked
    seconds = service.load(bucket, 1_000)
    assert service.asked - asked < 1_000 + 150  # few requests during the outage
    assert seconds < 60 + 45
    service.load(bucket, 1_000)
    assert bucket.rate == 100


def test_an_outage_of_two_minutes_ends_in_an_error(loop: VirtualTime) -> None:
    service = Service(loop, None)
    service.down = True
    with pytest.raises(ExceptionGroup) as caught:
        service.load(RateBucket(100, clock=loop.time), 10, workers=2)
    assert isinstance(caught.value.exceptions[0], imkit.ServiceBusy)
    assert 220 < loop.now < 260  # it began at 100 s: two minutes and a little


# ------------------------------------------------------------------------ retries


def run(loop: VirtualTime, work: Coroutine[Any, Any, T]) -> T:
    return loop.run_until_complete(work)


def test_attempts_are_counted_from_the_last_success_of_any_request(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    retries = RetryPolicy(bucket, clock=loop.time)
    error = imkit.ServiceBusy("503")

    async def fail(times: int) -> None:
        for _ in range(times):
            await retries.wait_or_raise(error, 0.0)

    for _ in range(5):
        run(loop, fail(MAX_ATTEMPTS - 1))
        bucket.answered(loop.now)
    run(loop, fail(MAX_ATTEMPTS - 1))
    with pytest.raises(imkit.ServiceBusy):
        run(loop, fail(1))


def test_a_request_that_fails_while_others_succeed_ends_in_an_error(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    retries = RetryPolicy(bucket, 120, clock=loop.time)

    async def fail() -> int:
        for attempt in range(1_000):
            bucket.answered(loop.now)
            try:
                await retries.wait_or_raise(imkit.ServiceBusy("503"), None)
            except imkit.ServiceBusy:
                return attempt + 1
        return 0

    assert run(loop, fail()) == MAX_ATTEMPTS_IN_ALL


def test_retry_delays_double_up_to_a_cap() -> None:
    delays = retry_delays(0.2, 8.0)
    found = [next(delays) for _ in range(20)]
    for index, delay in enumerate(found):
        assert 0.5 * min(0.2 * 2**index, 8.0) <= delay <= min(0.2 * 2**index, 8.0)


def test_delays_leave_the_random_numbers_of_the_user_alone() -> None:
    before = random.getstate()
    _ = [next(delays) for delays in (retry_delays(), reconnect_delays()) for _ in range(3)]
    assert random.getstate() == before
