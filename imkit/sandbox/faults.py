"""Failures as features: each has a name, a rate, and one place where it strikes.

A client that was only ever tested against a server that works is not tested. The faults are chosen so that each
provokes one of the hard cases of the fact sheet (sections 1, 3, 4 and 12).
"""

from __future__ import annotations

import random
from collections.abc import Mapping

# Every fault there is. The first word of the text says where it strikes.
FAULTS: dict[str, str] = {
    "html-502": "REST: a gateway's HTML page instead of JSON; the official SDK waits for ever on one",
    "500": "REST: an internal error, in the JSON envelope",
    "503": "REST: busy, with Retry-After: 1",
    "429": "REST: the api limit is reached, with Retry-After: 1",
    "rest-cut": "REST: the request is carried out, but the connection ends in the middle of the reply",
    "rest-stall": "REST: the request is carried out, but the reply waits for 30 seconds",
    "refuse-socket": "Socket: the WebSocket upgrade is refused with 503",
    "cut": "Socket: cut as a frame arrives; the frame is not looked at",
    "cut-before-ack": "Socket: the send is stored and delivered, then the socket is cut instead of the ack",
    "cut-after-ack": "Socket: cut right behind an ack",
    "drop-ack": "Socket: the send is stored and delivered, its ack never goes out",
    "refuse-send": "Socket: a send is refused with the reason 'traffic limit'",
    "drop-notice": "Socket: a NOTICE is lost; the next heartbeat brings the queue up again",
    "repeat-page": "Socket: a page of a queue is sent twice",
    "stall": "Socket: from here on the server takes frames and answers nothing (a half-open connection)",
}


def check_faults(fail: Mapping[str, float]) -> None:
    """Refuse a fault that does not exist, or a rate that is none.

    Raises:
        ValueError: with the list of names.
    """
    for name, rate in fail.items():
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; there are: {', '.join(sorted(FAULTS))}")
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate of {name!r} must be between 0 and 1, not {rate}")


class Faults:
    """Decides when a fault strikes. With one seed and one order of events the decisions are the same.

    Example:
        >>> Faults({"cut": 1.0}).strikes("cut")
        True
    """

    def __init__(self, fail: Mapping[str, float], seed: int = 0) -> None:
        check_faults(fail)
        # One stream for each fault: what strikes on the socket does not depend on how many REST calls were made.
        self._streams = {name: (rate, random.Random(f"{seed}:{name}")) for name, rate in fail.items() if rate}

    def strikes(self, name: str) -> bool:
        """Say whether this fault happens now."""
        stream = self._streams.get(name)
        return stream is not None and stream[1].random() < stream[0]
