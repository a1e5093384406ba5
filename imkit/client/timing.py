"""The timeouts of the client, the delays between its attempts to reconnect, and its clock.

Source: docs/protocol.md#timers-of-the-official-sdk, docs/protocol.md#reconnecting.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imkit.times import steady_seconds


def reconnect_delays() -> Iterator[float]:
    """Yield seconds between attempts to reconnect: a quick first one, then as the official SDK waits.

    Example:
        >>> next(reconnect_delays()) <= 0.5
        True
    """
    jitter = random.Random()  # the generator of the module is the user's, who may have given it a seed
    yield jitter.uniform(0.1, 0.5)
    for _ in range(4):
        yield jitter.uniform(1, 2)
    for _ in range(14):
        yield jitter.uniform(3, 6)
    while True:
        yield jitter.uniform(5, 10)


@dataclass(frozen=True, slots=True)
class Timing:
    """The timeouts of a connection, in seconds, and its clock.

    Attributes:
        open: for the socket to open, and again for the answer to the login.
        answer: for the answer to a send; after it the client closes the connection and makes a new one.
        lookup: to find out what became of the sends that the last connection lost.
        queued: how long a send waits for a connection before it fails.
        restart: how long a sandbox that has ended may take to start again before the sends that wait for it fail.
        steady: after a connection of at least this length, the delays between attempts begin again with the short ones.
        close: for the closing handshake of the socket.
        tick: between two checks for timeouts.
        delays: returns the delays between attempts to reconnect.
        renewal: at least so long between two renewals of a token, whatever life the service tells.
        clock: seconds that only grow, also while the machine is suspended: for how long something took.
    """

    open: float = 10.0
    answer: float = 15.0
    lookup: float = 30.0
    queued: float = 60.0
    restart: float = 3.0
    steady: float = 30.0
    close: float = 2.0
    tick: float = 1.0
    delays: Callable[[], Iterator[float]] = reconnect_delays
    renewal: float = 5.0
    clock: Callable[[], float] = steady_seconds
