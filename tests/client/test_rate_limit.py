"""The pace: held, slowed down by refusals for everybody at once, learnt where nobody told it; and patience that ends.

In virtual time: a loop whose clock jumps to the next thing that happens.
"""

import asyncio
import random
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import imkit
from benchmarks.fetch_server import Limit
from imkit.client.rate_limit import MAX_ATTEMPTS, MAX_ATTEMPTS_IN_ALL, Patience, RateBucket, retry_delays

T = TypeVar("T")


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop that waits for nothing."""

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


# ------------------------------------------------------------------- a rate that is told


def take(loop: VirtualTime, bucket: RateBucket, count: int) -> list[float]:
    async def main() -> list[float]:
        return [round(await bucket.take(), 6) for _ in range(count)]

    return loop.run_until_complete(main())


def test_a_bucket_lets_a_burst_go_and_then_holds_the_rate(loop: VirtualTime) -> None:
    bucket = RateBucket(100, burst=10, clock=loop.time)
    times = take(loop, bucket, 110)
    assert times[:10] == [100.0] * 10
    assert times[10:] == pytest.approx([100 + (index + 1) / 100 for index in range(100)])
    loop.now += 60
    assert take(loop, bucket, 11)[:10] == pytest.approx([times[-1] + 60] * 10)  # full, and not fuller than its burst


def test_no_window_of_a_second_holds_more_than_the_rate_and_a_burst(loop: VirtualTime) -> None:
    bucket = RateBucket(20, burst=10, clock=loop.time)

    async def main() -> list[float]:
        return list(await asyncio.gather(*(bucket.take() for _ in range(200))))

    times = loop.run_until_complete(main())
    assert times == sorted(times)  # in the order in which they came
    assert all(sum(1 for time in times if start <= time < start + 1) <= 20 + 10 for start in times)


def test_a_bucket_without_a_rate_holds_nobody_up(loop: VirtualTime) -> None:
    assert take(loop, RateBucket(None, clock=loop.time), 1000) == [100.0] * 1000


def test_users_of_one_app_share_one_bucket() -> None:
    app = imkit.App("org#bucket", max_requests_per_second=7)
    again = imkit.App("org#bucket", max_requests_per_second=7)
    assert app.rate_bucket("http://x") is again.rate_bucket("http://x")
    assert app.rate_bucket("http://x") is not imkit.App("org#other", max_requests_per_second=7)._bucket("http://x")


# ------------------------------------------------------------------- a service that refuses


class Service:
    """Answers 30 ms after it was asked; refuses what is beyond its limit."""

    def __init__(self, loop: VirtualTime, limit: Limit | None, retry_after: float | None = None) -> None:
        self.loop, self.limit, self.retry_after = loop, limit, retry_after
        self.asked = self.refused = self.pages = 0
        self.down = False
        self.accidents = random.Random(1)
        self.accident = 0.0

    async def page(self, bucket: RateBucket) -> None:
        """Ask until there is an answer, as `Rest` does."""
        patience = Patience(bucket, 120, self.loop.time)
        while True:
            sent = await bucket.take()
            self.asked += 1
            is_allowed = self.limit is None or self.limit.allows()
            is_busy = self.down or self.accidents.random() < self.accident
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
            await patience.wait(error, self.retry_after if not is_allowed else None)

    def load(self, bucket: RateBucket, pages: int, workers: int = 8) -> float:
        """Load so many pages and return how many seconds that took."""
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
@pytest.mark.parametrize("told", [100, None])
@pytest.mark.parametrize("kind", ["sliding", "window", "bucket"])
def test_a_limit_is_made_use_of(
    loop: VirtualTime, kind: str, told: int | None, retry_after: float | None, workers: int
) -> None:
    service = Service(loop, Limit(kind, 100, loop.time), retry_after)
    seconds = service.load(RateBucket(told, clock=loop.time), 1_000, workers)
    assert 1_000 / (100 * seconds) >= 0.8
    assert service.refused <= 0.05 * service.asked


def test_it_follows_a_limit_that_changes(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    service = Service(loop, Limit("sliding", 100, loop.time))
    service.load(bucket, 400)
    for limit, seconds in ((20, 30), (200, 30)):
        service.limit = Limit("sliding", limit, loop.time)
        service.load(bucket, limit * 10)  # learning
        assert service.load(bucket, limit * 20) < seconds
        assert bucket.rate is not None
        assert 0.7 * limit <= bucket.rate <= 1.3 * limit


def test_who_shares_a_limit_gets_through(loop: VirtualTime) -> None:
    service = Service(loop, Limit("sliding", 50, loop.time))
    buckets = [RateBucket(100, clock=loop.time) for _ in range(2)]  # two processes

    async def all_of(bucket: RateBucket) -> None:
        await asyncio.gather(*(service.page(bucket) for _ in range(300)))

    async def main() -> None:
        await asyncio.gather(*map(all_of, buckets))

    loop.run_until_complete(main())
    assert service.pages == 600
    assert service.refused <= 0.25 * service.asked


def test_accidents_slow_nobody_down(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    service = Service(loop, None)
    service.accident = 1 / 15
    service.load(bucket, 2_000)
    assert bucket.rate is None


def test_a_break_of_a_minute_is_survived_and_made_good(loop: VirtualTime) -> None:
    bucket = RateBucket(100, clock=loop.time)
    service = Service(loop, None)
    service.load(bucket, 300)
    service.down = True
    loop.call_later(60, setattr, service, "down", False)
    asked = service.asked
    seconds = service.load(bucket, 1_000)
    assert service.asked - asked < 1_000 + 150  # nobody hammered at it
    assert seconds < 60 + 45
    service.load(bucket, 1_000)
    assert bucket.rate == 100


def test_a_service_that_is_down_is_given_up(loop: VirtualTime) -> None:
    service = Service(loop, None)
    service.down = True
    with pytest.raises(ExceptionGroup) as caught:
        service.load(RateBucket(100, clock=loop.time), 10, workers=2)
    assert isinstance(caught.value.exceptions[0], imkit.ServiceBusy)
    assert 220 < loop.now < 260  # two minutes and a bit


# ------------------------------------------------------------------------ patience


def run(loop: VirtualTime, work: Coroutine[Any, Any, T]) -> T:
    return loop.run_until_complete(work)


def test_patience_is_counted_from_the_last_success_of_anybody(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    patience = Patience(bucket, clock=loop.time)
    error = imkit.ServiceBusy("503")

    async def fail(times: int) -> None:
        for _ in range(times):
            await patience.wait(error, 0.0)

    for _ in range(5):
        run(loop, fail(MAX_ATTEMPTS - 1))
        bucket.answered(loop.now)
    run(loop, fail(MAX_ATTEMPTS - 1))
    with pytest.raises(imkit.ServiceBusy):
        run(loop, fail(1))


def test_what_fails_while_all_else_succeeds_is_given_up_in_the_end(loop: VirtualTime) -> None:
    bucket = RateBucket(None, clock=loop.time)
    patience = Patience(bucket, 120, clock=loop.time)

    async def fail() -> int:
        for attempt in range(1_000):
            bucket.answered(loop.now)
            try:
                await patience.wait(imkit.ServiceBusy("503"), None)
            except imkit.ServiceBusy:
                return attempt + 1
        return 0

    assert run(loop, fail()) == MAX_ATTEMPTS_IN_ALL


def test_delays_double_up_to_a_cap() -> None:
    delays = retry_delays(0.2, 8.0)
    found = [next(delays) for _ in range(20)]
    for index, delay in enumerate(found):
        assert 0.5 * min(0.2 * 2**index, 8.0) <= delay <= min(0.2 * 2**index, 8.0)
