"""Live messages: the time from send to acknowledgement and from send to receipt, for imkit and for the official SDK.

One user sends texts to a thread that another user has joined: 500 one after another, then 5,000 with 64 in flight. Both
clients use the same sandbox and take turns, `ROUNDS` times. The figures are medians; the ratio is imkit's rate divided
by the SDK's.

    python benchmarks/live.py
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import imkit
from benchmarks.report import record
from imkit.portal import portal
from tests.peer.node import ready

ROUNDS = 3
SHAPES = ((500, 1), (5000, 64))


@dataclass
class Run:
    """The figures of one round of one client: seconds in total, and milliseconds for each message."""

    count: int
    seconds: float
    received_seconds: float
    to_ack: list[float]
    to_receipt: list[float]

    def figures(self) -> dict[str, float]:
        return {
            "sent_per_second": self.count / self.seconds,
            "received_per_second": self.count / self.received_seconds,
            **{f"ack_p{share}_ms": percentile(self.to_ack, share) for share in (50, 99)},
            **{f"received_p{share}_ms": percentile(self.to_receipt, share) for share in (50, 99)},
        }


def percentile(values: list[float], share: int) -> float:
    return sorted(values)[min(len(values) * share // 100, len(values) - 1)]


async def imkit_round(thread: imkit.Thread, receiver: imkit.Session, count: int, in_flight: int) -> Run:
    sent_at: dict[str, float] = {}
    to_ack: list[float] = []
    to_receipt: list[float] = []
    received_events = receiver.events(imkit.MessageReceived, replay=False)
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            words = f"imkit {count} {number}"
            sent_at[words] = at = time.perf_counter()
            await thread.send.aio(words)
            to_ack.append((time.perf_counter() - at) * 1000)

    async def receive() -> float:
        order = []
        async for event in received_events:
            assert isinstance(event, imkit.MessageReceived), "the consumer keeps up"
            words = event.message.text
            if words in sent_at:
                to_receipt.append((time.perf_counter() - sent_at[words]) * 1000)
                order.append(int(event.message.id))
                if len(to_receipt) == count:
                    break
        assert order == sorted(set(order)), "each message comes once and in order"
        return time.perf_counter()

    began = time.perf_counter()
    receiving = asyncio.create_task(receive())
    await asyncio.gather(*(lane() for _ in range(in_flight)))
    acknowledged = time.perf_counter()
    received = await receiving
    return Run(count, acknowledged - began, received - began, to_ack, to_receipt)


def sdk_rounds(box: imkit.Sandbox, thread_id: str, tokens: dict[str, str]) -> list[Run]:
    settings = {
        "appKey": box.app_key,
        "url": box.ws_url,
        "apiUrl": box.rest_url,
        "sender": ["alice", tokens["alice"]],
        "receiver": ["bob", tokens["bob"]],
        "thread": thread_id,
        "rounds": SHAPES,
    }
    command = [ready().node, str(Path(__file__).with_name("sdk_live.mjs")), json.dumps(settings)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    runs = [json.loads(line) for line in said.splitlines()]
    return [
        Run(count, run["seconds"], run["received_seconds"], run["toAck"], run["toReceipt"])
        for (count, _), run in zip(SHAPES, runs, strict=True)
    ]


def main() -> None:
    ours: list[list[Run]] = [[] for _ in SHAPES]
    theirs: list[list[Run]] = [[] for _ in SHAPES]
    for _ in range(ROUNDS):
        with imkit.Sandbox() as box:
            with imkit.login("alice", app=box.app) as alice, imkit.login("bob", app=box.app) as bob:
                group = alice.create_group("benchmark", members=["bob"])
                thread = group.create_thread("live", group.send("begin"))
                bob.thread(thread.id).join()
                for shape, (count, in_flight) in enumerate(SHAPES):
                    ours[shape].append(portal().call(imkit_round(thread, bob, count, in_flight)))
                tokens = {session.user: portal().call(session.account.credentials.token()) for session in (alice, bob)}
            for shape, run in enumerate(sdk_rounds(box, thread.id, tokens)):
                theirs[shape].append(run)
    for shape, (count, in_flight) in enumerate(SHAPES):
        figures = {}
        for client, runs in (("imkit", ours[shape]), ("official SDK", theirs[shape])):
            each = [run.figures() for run in runs]
            figures[client] = {name: statistics.median(run[name] for run in each) for name in each[0]}
        ratios = [
            mine.figures()["sent_per_second"] / other.figures()["sent_per_second"]
            for mine, other in zip(ours[shape], theirs[shape], strict=True)
        ]
        record(
            f"live: {count:,} texts, {in_flight} in flight",
            {**figures, "ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]},
        )


if __name__ == "__main__":
    main()
