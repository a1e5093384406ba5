"""Faults: failures that the sandbox produces on request. Each has a name, a rate and one place where it happens.

A client must also be tested against a server that fails. Each fault causes one of the hard cases of the protocol.

Source: docs/protocol.md#rest-transport, docs/protocol.md#queues-and-synchronisation, docs/protocol.md#sending,
docs/protocol.md#errors.
"""

from __future__ import annotations

import numbers
import random
from collections.abc import Mapping

# All faults. The first word of the text says where it happens.
FAULTS: dict[str, str] = {
    "html-502": "REST: the reply is a gateway's HTML page instead of JSON; the official SDK then waits for ever",
    "500": "REST: the reply is an internal error, in the JSON envelope",
    "503": "REST: the service is busy, with Retry-After: 1",
    "429": "REST: the rate limit is reached, with Retry-After: 1",
    "rest-cut": "REST: the request is carried out, but the connection ends in the middle of the reply",
    "rest-stall": "REST: the request is carried out, but the reply comes 30 seconds later",
    "refuse-socket": "Socket: the WebSocket upgrade is refused with 503",
    "cut": "Socket: the connection is cut when a frame arrives; the frame is not handled",
    "cut-before-ack": "Socket: the send is stored and delivered, then the connection is cut instead of the ack",
    "cut-after-ack": "Socket: the connection is cut right after an ack",
    "drop-ack": "Socket: the send is stored and delivered, but its ack is never sent",
    "refuse-send": "Socket: a send is refused with the reason 'traffic limit'",
    "drop-notice": "Socket: a NOTICE is lost; the answer to the next heartbeat names the queue again",
    "repeat-page": "Socket: a page of a queue is sent twice",
    "stall": "Socket: from then on the server accepts frames and answers nothing (a half-open connection)",
}


def check_faults(fail: Mapping[str, float]) -> None:
    """Check the names and the rates of faults.

    Raises:
        ValueError: a fault does not exist, or a rate is not between 0 and 1.
    """
    for name, rate in fail.items():
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; there are: {', '.join(sorted(FAULTS))}")
        given: object = rate
        if not isinstance(given, numbers.Real) or not 0 <= rate <= 1:
            raise ValueError(f"the rate of {name!r} must be between 0 and 1, not {given!r:.40}")


class Faults:
    """Decides when a fault happens. The same seed and the same order of events give the same decisions.

    Args:
        fail: the faults and their rates, 0 to 1.
        seed: any number.

    Example:
        >>> Faults({"cut": 1.0}).strikes("cut")
        True
    """

    def __init__(self, fail: Mapping[str, float], seed: int = 0) -> None:
        check_faults(fail)
        # One random generator a fault: the faults of the socket do not depend on the number of REST calls.
        self._streams = {name: (rate, random.Random(f"{seed}:{name}")) for name, rate in fail.items() if rate}

    def strikes(self, name: str) -> bool:
        """Return whether this fault happens now."""
        stream = self._streams.get(name)
        return stream is not None and stream[1].random() < stream[0]
