"""Fetching a long history: 20,000 messages of one thread, with 30 ms for each answer, by imkit and by the official SDK.

The messages lie in bursts. The clients take turns, each in a process of its own, `ROUNDS` times. A client measures the
time from the call to its DataFrame (imkit) or to the last page (the SDK in a loop, which keeps the ids). Then imkit
fetches the same under a limit of 100 requests a second, which the server enforces with 429: once imkit knows the limit,
once it does not.

    python benchmarks/fetch.py
"""

import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.fetch_server import COUNT, LIMIT, PAGE
from benchmarks.flood_server import THREAD
from benchmarks.report import record
from tests.peer.node import ready

ROUNDS = 3
PAGES = COUNT // PAGE
TARGETS = {8: 6.0, 16: 10.0}
HERE = Path(__file__).parent
Where = dict[str, str]


def load(where: Where, workers: int, limit: float | None) -> dict[str, float]:
    """Load the thread, and return how long it took."""
    import imkit.history.frames  # a notebook has loaded pandas already

    app = imkit.App(where["appKey"], rest_url=where["apiUrl"], ws_url=where["url"], max_requests_per_second=limit)
    with imkit.login("reader", app=app, token="token") as session:
        began, worked = time.perf_counter(), time.process_time()
        frame = session.thread(THREAD).history(parallel=workers)
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
    assert frame.im.source["complete"]
    assert frame["time"].is_monotonic_increasing
    return {"seconds": seconds, "cpu_seconds": worked, "messages": frame["message_id"].nunique()}


def in_process_of_its_own(command: list[str]) -> dict[str, float]:
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    found: dict[str, float] = json.loads(output)
    return found


def ours(where: Where, workers: int, limit: float | None) -> dict[str, float]:
    return in_process_of_its_own([sys.executable, __file__, json.dumps([where, workers, limit])])


def theirs(where: Where) -> dict[str, float]:
    return in_process_of_its_own([ready().node, str(HERE / "sdk_fetch.mjs"), json.dumps({**where, "thread": THREAD})])


def counted(where: Where) -> dict[str, int]:
    with urllib.request.urlopen(f"{where['apiUrl']}/counted/{where['appKey'].replace('#', '/')}") as answer:
        found: dict[str, int] = json.load(answer)
        return found


def side_by_side(place: Callable[[str], Where]) -> None:
    """Record how many times faster imkit is than a loop over the official SDK."""
    runs: dict[int, list[tuple[float, int, float]]] = {workers: [] for workers in TARGETS}
    seconds = []
    for number in range(ROUNDS):
        other = theirs(place(f"plain-sdk-{number}"))
        assert other["messages"] == COUNT
        seconds.append(other["seconds"])
        for workers, found in runs.items():
            where = place(f"plain-{workers}-{number}")
            mine = ours(where, workers, None)
            assert mine["messages"] == COUNT
            found.append((other["seconds"] / mine["seconds"], counted(where)["requests"], mine["cpu_seconds"]))
    for workers, target in TARGETS.items():
        ratios = [ratio for ratio, _, _ in runs[workers]]
        extra = max(requests for _, requests, _ in runs[workers]) / PAGES - 1
        ratio = statistics.median(ratios)
        record(
            f"fetch: {COUNT:,} messages at 30 ms a reply, {workers} workers",
            {
                "ratio": ratio,
                "spread": [min(ratios), max(ratios)],
                "sdk_seconds": statistics.median(seconds),
                "extra_requests": extra,
                "cpu_seconds": statistics.median(worked for _, _, worked in runs[workers]),
                "target": f">= {target:g}x the SDK's loop, <= 15 % extra requests",
                "met": ratio >= target and extra <= 0.15,
            },
        )


def limited(place: Callable[[str], Where]) -> None:
    """Record how much of the rate limit imkit uses."""
    for kind in ("sliding", "window", "bucket"):
        for limit in (LIMIT, None):
            runs = []
            for number in range(ROUNDS):
                where = place(f"{kind}-{limit}-{number}")
                mine = ours(where, 8, limit)
                runs.append({**mine, **counted(where)})
            useful = [PAGES / (LIMIT * run["seconds"]) for run in runs]
            refused = max(run.get("refused", 0) / run["requests"] for run in runs)
            lost = max(COUNT - run["messages"] for run in runs)
            record(
                f"fetch: limit of {LIMIT} a second ({kind}), {'told' if limit else 'not told'}",
                {
                    "useful_pages_of_limit": statistics.median(useful),
                    "spread": {"useful_pages_of_limit": [min(useful), max(useful)]},
                    "refused": refused,
                    "messages_lost": lost,
                    "target": ">= 80 % useful, <= 5 % 429s, 0 lost",
                    "met": statistics.median(useful) >= 0.8 and refused <= 0.05 and lost == 0,
                },
            )


def main() -> None:
    command = [sys.executable, str(HERE / "fetch_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        rest, socket = server.stdout.readline().split()

        def place(name: str) -> Where:
            there = {"url": f"ws://127.0.0.1:{socket}/websocket", "apiUrl": f"http://127.0.0.1:{rest}"}
            return {"appKey": f"fetch#{name}", **there}

        side_by_side(place)
        limited(place)
        server.communicate()


if __name__ == "__main__":
    if sys.argv[1:]:
        arguments: list[Any] = json.loads(sys.argv[1])
        print(json.dumps(load(*arguments)))
    else:
        main()
