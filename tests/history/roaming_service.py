"""A stand-in for the roaming history of a service, which may differ from what is documented."""

import random
import threading
from typing import Any

from tests.stand_ins import Answer, Asked, roamed, text_meta

START = 1_700_000_000_000
MINUTE = 60_000


class RoamingService:
    """A service's roaming history. Message ids count from 1000 in the order of time.

    Args:
        times: of the messages, in ms since the epoch.
        inclusive: a message at a bound is in the range.
        ignores_bounds: it answers as if no bounds were given.
        page: how many messages a page has.
        tells_last: `is_last` is true on the last page; otherwise it is never true.
        opaque_cursors: a cursor says nothing about the message that it stands for.
        failure_rate: the share of requests that fail.
        always_oldest_first: the direction of all answers, whatever is asked for; `None`: as asked.
    """

    def __init__(
        self,
        times: list[int],
        *,
        inclusive: bool = True,
        ignores_bounds: bool = False,
        page: int = 50,
        tells_last: bool = True,
        opaque_cursors: bool = False,
        failure_rate: float = 0.0,
        always_oldest_first: bool | None = None,
    ) -> None:
        self.messages = [(number, at) for number, at in enumerate(sorted(times), 1_000)]
        self.inclusive, self.ignores_bounds, self.page = inclusive, ignores_bounds, page
        self.tells_last, self.opaque_cursors, self.failure_rate = tells_last, opaque_cursors, failure_rate
        self.always_oldest_first = always_oldest_first
        self.requests = 0
        self._random = random.Random(7)
        self._cursors: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        with self._lock:
            return self.answer(asked.json)

    def answer(self, question: dict[str, Any]) -> Answer:
        self.requests += 1
        if self._random.random() < self.failure_rate:
            html = Answer(502, "<html>Bad gateway</html>", {"Content-Type": "text/html"})
            return self._random.choice([Answer(503, {"error": "busy"}, {"Retry-After": "0"}), html, Answer(cut=True)])
        oldest_first = question["is_positive"] if self.always_oldest_first is None else self.always_oldest_first
        found = self.messages if oldest_first else self.messages[::-1]
        low, high = question["startTime"], question["endTime"]
        if low is not None and not self.ignores_bounds:
            edge = 0 if self.inclusive else 1
            found = [message for message in found if low + edge <= message[1] <= high - edge]
        start = question["start"]
        if start != -1:
            last = self._cursors[start] if self.opaque_cursors else int(start)
            found = [message for message in found if (message[0] > last if oldest_first else message[0] < last)]
        page, rest = found[: self.page], found[self.page :]
        data: dict[str, Any] = {"msgs": roamed(*(text_meta(n, f"m{n}", at=at) for n, at in page))}
        data["is_last"] = self.tells_last and not rest
        if page:
            key = f"opaque {self._random.random()}" if self.opaque_cursors else str(page[-1][0])
            self._cursors[key] = page[-1][0]
            data["next_key"] = key
        return Answer(200, {"data": data})


def bursty(count: int) -> list[int]:
    """Return times over three weeks: a third at random, five bursts of a minute, and the rest in one millisecond."""
    dice = random.Random(count)
    times = [START + dice.randrange(20 * 24 * 60 * MINUTE) for _ in range(count // 3)]
    for _ in range(5):
        begin = START + dice.randrange(20 * 24 * 60 * MINUTE)
        times += [begin + dice.randrange(MINUTE) for _ in range(count // 10)]
    moment = START + dice.randrange(20 * 24 * 60 * MINUTE)
    return times + [moment] * (count - len(times))


def text_entries(*numbers: int) -> list[dict[str, str]]:
    """Return the entries of a page: texts m1, m2, …, each at its number of ms after `START`."""
    return roamed(*(text_meta(1000 + number, f"m{number}", at=START + number) for number in numbers))
