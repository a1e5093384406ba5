"""Receiving: 20,000 messages at once become typed events, for imkit and for the official SDK.

A server in another process makes 20,000 messages for each client beforehand, and sends them page by page, as fast as
the client acknowledges them. The clients take turns, each in a process of its own, `ROUNDS` times. A client measures
the time from its first message to its last.

    python benchmarks/receive.py
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import imkit
from benchmarks.flood_server import APP, COUNT
from benchmarks.report import record
from tests.peer.node import ready

ROUNDS = 5
PAGES = (1, 50)
HERE = Path(__file__).parent


async def receive(app: imkit.App) -> float:
    """Return the seconds from the first message to the last."""
    session = await imkit.login.aio("reader", app=app, token="token")
    received, began = 0, 0.0
    async for event in session.events():
        if isinstance(event, imkit.MessageReceived):
            began = began or time.perf_counter()
            received += 1
            if received == COUNT:
                break
        assert not isinstance(event, imkit.Dropped), "the consumer keeps up"
    ended = time.perf_counter()
    await session.close.aio()
    return ended - began


def imkit_round(port: int, page: int) -> float:
    """Run one round of imkit in a new process, and return its seconds."""
    done = subprocess.run(
        [sys.executable, __file__, str(port), str(page)], check=True, capture_output=True, text=True, timeout=300
    )
    return float(done.stdout)


def sdk_round(port: int, page: int) -> float:
    """Run one round of the official SDK in a new process, and return its seconds."""
    where = {"appKey": APP, "url": f"ws://127.0.0.1:{port}/{page}", "apiUrl": f"http://127.0.0.1:{port}"}
    command = [ready().node, str(HERE / "sdk_receive.mjs"), json.dumps({**where, "count": COUNT})]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    return float(json.loads(output)["seconds"])


def main() -> None:
    with subprocess.Popen(
        [sys.executable, str(HERE / "flood_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for page in PAGES:
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(COUNT / imkit_round(port, page))
                theirs.append(COUNT / sdk_round(port, page))
            ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
            ratio = statistics.median(ratios)
            figures: dict[str, object] = {
                "imkit_messages_per_second": statistics.median(ours),
                "sdk_messages_per_second": statistics.median(theirs),
                "ratio": ratio,
                "spread": [min(ratios), max(ratios)],
            }
            if page > 1:  # with one message a page, the round trip is what is measured
                figures |= {"target": "ahead of the official SDK", "met": ratio > 1}
            record(f"receive: {COUNT:,} messages, {page} a page", figures)
        server.communicate()


if __name__ == "__main__":
    if sys.argv[1:]:
        there = f"127.0.0.1:{sys.argv[1]}"
        flooding = imkit.App(APP, rest_url=f"http://{there}", ws_url=f"ws://{there}/{sys.argv[2]}")
        print(asyncio.run(receive(flooding)))
    else:
        main()
