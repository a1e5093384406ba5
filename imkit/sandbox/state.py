"""The private file that says where the shared server runs, and its secret."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


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
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
    temporary.replace(path)


def remove_state(path: Path, instance: str) -> None:
    """Remove the file if it is still about this run."""
    state = read_state(path)
    if state is not None and state.instance == instance:
        with contextlib.suppress(OSError):
            path.unlink()
