"""How long tests wait, and a wait for a condition that no event tells."""

import threading
from collections.abc import Callable

WAIT = 10.0  # seconds for one event; far more than it takes


def eventually(condition: Callable[[], bool]) -> bool:
    """Check a condition again and again for up to 5 s; return whether it became true."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.02) for _ in range(250))
