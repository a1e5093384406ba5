"""How a sandbox in a terminal gets the shared data: it takes them from an idle one in the background.

Nobody else is disturbed: a sandbox in another terminal, and one with connections, keep them, and the refusal says
where that sandbox is and how to use it.
"""

from __future__ import annotations

import http.client
import time
from pathlib import Path

from filelock import FileLock, Timeout

from imkit.hints import SANDBOX_DATA_IN_USE, SANDBOX_RUNS_ALREADY
from imkit.sandbox.home import SharedFiles, unusable
from imkit.sandbox.proven_calls import NotProven, ProvenCalls
from imkit.sandbox.state import State, read_state

_ENDING_SECONDS = 5.0  # for a server to end that was asked to, or that is ending
_HEALTH_SECONDS = 5.0
_POLL_SECONDS = 0.1


class DataInUse(Exception):
    """Another sandbox uses the data; the text says which, and what to do."""


def in_use(data: Path) -> DataInUse:
    """Return the error for data that a sandbox uses, whose address is not known."""
    return DataInUse(f"the data in {data} are in use by another sandbox. {SANDBOX_DATA_IN_USE}")


def claim(files: SharedFiles) -> FileLock:
    """Lock the data of the shared sandbox, and return the lock.

    Raises:
        DataInUse: another sandbox uses them, and goes on.
        FileError: the lock cannot be made.
    """
    lock = FileLock(files.data_lock)
    deadline = time.monotonic() + _ENDING_SECONDS
    asked = None  # the secret of the server that was asked to end
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            return lock
        except Timeout:
            pass
        except OSError as error:
            raise unusable(files.data.parent, error) from error
        state = read_state(files.state)
        if state is not None and state.secret != asked and _gives_way(state):
            asked = state.secret
        if time.monotonic() > deadline:
            raise in_use(files.data)


def _gives_way(state: State) -> bool:
    """Ask a server to end, if it is idle and in the background; False if it does not answer.

    Raises:
        DataInUse: it goes on.
    """
    if state.is_starting:
        raise DataInUse(SANDBOX_RUNS_ALREADY["starting"].format(pid=state.pid))
    calls = ProvenCalls(state.rest_url, state.secret, _HEALTH_SECONDS)
    try:
        connections = calls.health().get("connections")
        if not state.in_terminal and not connections and not calls.retire().get("connections"):
            return True
    except (NotProven, OSError, http.client.HTTPException):
        return False  # the state file of a killed server; whoever has the lock now writes another one soon
    where = SANDBOX_RUNS_ALREADY["where"].format(rest_url=state.rest_url, ws_url=state.ws_url, pid=state.pid)
    kind = "in a terminal" if state.in_terminal else "in the background"
    community = "community" if state.demo_password is not None else "no community"
    raise DataInUse(" ".join([where, SANDBOX_RUNS_ALREADY[kind], SANDBOX_RUNS_ALREADY[community]]))
