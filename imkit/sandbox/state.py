"""The private file that says where the shared server runs, and its secret."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from imkit.whole_files import whole_file


@dataclass(frozen=True)
class State:
    """What the running default server wrote about itself.

    Attributes:
        instance: names this run; the server's health tells the same one, so another server that got the port later is
            not mistaken for it.
        pid: its process, for people to look at; nobody is ever killed by it.
        secret: opens its app-server endpoint.
    """

    app_key: str
    rest_url: str
    ws_url: str
    version: str
    instance: str
    pid: int
    secret: str = field(repr=False)


def read_state(path: Path) -> State | None:
    """Return what the file says; None if there is none, or none that can be read."""
    try:
        found = json.loads(path.read_bytes())
        return State(**{each.name: found[each.name] for each in fields(State)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_state(path: Path, state: State) -> None:
    """Write the file, whole or not at all, for its owner's eyes only (as far as the system has a say in that)."""
    with whole_file(path, private=True) as file:
        file.write(json.dumps(asdict(state)).encode())


def remove_state(path: Path, instance: str) -> None:
    """Remove the file if it is still about this run."""
    state = read_state(path)
    if state is not None and state.instance == instance:
        with contextlib.suppress(OSError):
            path.unlink()
