"""A server with one long thread, whose messages lie in bursts. Each answer takes 30 ms.

The pages are made beforehand, so that only the client is measured. The server answers requests for roaming history in
either direction and with time bounds, both ends included, and ignores all other fields.

The app key chooses a rate limit: ``fetch#plain-1`` has none. The others answer 429. ``fetch#sliding-1`` allows 100
requests in any period of one second, ``fetch#window-1`` 100 in each second of the clock, ``fetch#bucket-1`` what a
token bucket of 100 holds. The number at the end gives each run its own counters: ``GET /counted/fetch/plain-1`` returns
the numbers of requests, pages and refusals. The server runs in a process of its own, ends when its standard input ends,
and prints its two ports.

Source: docs/protocol.md#roaming-history.

    python benchmarks/fetch_server.py
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.flood_server import meta, welcome
from imkit.sandbox.server.middleware import RateLimit
from imkit.wire import schema
from imkit.wire.enums import FrameCommand

COUNT, PAGE = 20_000, 50
LATENCY, LIMIT = 0.030, 100
MINUTE = 60_000


def times(count: int = COUNT, seed: int = 5) -> list[int]:
    """Return the times of the messages: 70 % in 40 bursts of up to four hours, the others anywhere in 30 days."""
    dice = random.Random(seed)
    month = 30 * 24 * 60 * MINUTE
    bursts = [(dice.randrange(month), dice.choice([10, 60, 240]) * MINUTE) for _ in range(40)]
    found = [dice.randrange(month) for _ in range(count * 3 // 10)]
    while len(found) < count:
        begin, length = dice.choice(bursts)
        found.append(begin + dice.randrange(length))
    return sorted(1_795_000_000_000 + moment for moment in found)


def entry(number: int, moment: int) -> bytes:
    found = schema.Meta.FromString(meta(number))
    found.timestamp = moment
    return b'{"msg":"%s"}' % b64encode(found.SerializeToString())


class Limit:
    """Decides whether one more request is within the limit. Each kind counts as some services do."""

    def __init__(self, kind: str, limit: int = LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self._kind, self._limit, self._clock = kind, limit, clock
        self._bucket = RateLimit(limit, clock=clock)
        self._last: deque[float] = deque(maxlen=limit)
        self._second = (0, 0)

    def allows(self) -> bool:
        now = self._clock()
        if self._kind == "bucket":
            return not self._bucket.wait()
        if self._kind == "sliding":
            if len(self._last) == self._limit and now - self._last[0] < 1:
                return False
            self._last.append(now)
        elif self._kind == "window":
            count = self._second[1] if self._second[0] == int(now) else 0
            self._second = int(now), count + 1
            return count < self._limit
        return True


class History:
    """The messages of the thread, and counters for each app key."""

    def __init__(self) -> None:
        self.times = times()
        self.entries = [entry(number, moment) for number, moment in enumerate(self.times)]
        self.limits: dict[str, Limit] = {}
        self.counted: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        _, *parts = path.split("/")
        if parts[0] == "counted":
            return 200, json.dumps(self.counted[parts[2]]).encode()
        if parts[-1] != "messageroaming":
            return 404, b"{}"
        app = parts[1]
        counted = self.counted[app]
        counted["requests"] += 1
        if not self.limits.setdefault(app, Limit(app.partition("-")[0])).allows():
            counted["refused"] += 1
            return 429, b'{"error":"reach_limit","error_description":"This request has reached api limit"}'
        counted["pages"] += 1
        return 200, self.page(json.loads(body))

    def page(self, asked: dict[str, Any]) -> bytes:
        low, high = 0, len(self.times)
        if asked.get("startTime") is not None:
            low = bisect_left(self.times, asked["startTime"])
        if asked.get("endTime") is not None:
            high = bisect_right(self.times, asked["endTime"])
        cursor = None if str(asked["start"]) in ("-1", "") else int(asked["start"])
        size = asked.get("pull_number") or PAGE
        if asked.get("is_positive"):
            low = low if cursor is None else max(low, cursor + 1)
            found, is_last = list(range(low, min(low + size, high))), low + size >= high
        else:
            high = high if cursor is None else min(high, cursor)
            found, is_last = list(range(max(high - size, low), high))[::-1], high - size <= low
        listed = b",".join(self.entries[number] for number in found)
        tail = (b"true" if is_last else b"false", b"%d" % found[-1] if found else b"")
        return b'{"data":{"msgs":[%s],"is_last":%s,"next_key":"%s"}}' % (listed, *tail)


class Connection(asyncio.Protocol):
    """One connection that stays open: each request is answered 30 ms after it came."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if not separator or len(body) < length:
            return
        self._data = body[length:]
        path = head.split(b" ", 2)[1].decode()
        status, content = self._history.answer(path, body[:length])
        answer = b"HTTP/1.1 %d .\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
            status,
            len(content),
        )
        asyncio.get_running_loop().call_later(LATENCY, self._transport.write, answer + content)


async def accept_login(socket: ServerConnection) -> None:
    """Accept any login."""
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            asked = schema.MSync.FromString(message)
            if asked.command == FrameCommand.PROVISION:
                await socket.send(welcome(asked.payload))


async def main() -> None:
    history = History()
    rest = await asyncio.get_running_loop().create_server(lambda: Connection(history), "127.0.0.1", 0)
    async with serve(accept_login, "127.0.0.1", 0, compression=None) as sockets:
        print(rest.sockets[0].getsockname()[1], sockets.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
