"""The state file: where the shared server runs, and its secret. Only its owner can read it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from imkit.whole_files import whole_file


@dataclass(frozen=True)
class State:
    """The description that the running shared server wrote of itself.

    Attributes:
        app_key: the app that it serves.
        rest_url: its REST address.
        ws_url: its WebSocket address.
        version: its version of imkit.
        pid: its process id, for people to look at; imkit kills no process by it.
        secret: opens its app-server endpoint. Each run of the server has another one.
        demo_password: the password of the people of the demo community; None if the data hold no community.
        in_terminal: a user started it, with options of its own; it ends when that user says so.
        is_starting: it has the data and does not answer yet, for example because it makes the demo community.
    """

    app_key: str
    rest_url: str
    ws_url: str
    version: str
    pid: int
    secret: str = field(repr=False)
    demo_password: str | None = field(default=None, repr=False)
    in_terminal: bool = False
    is_starting: bool = False


def read_state(path: Path) -> State | None:
    """Return the content of the file; None if it does not exist, cannot be read, or is not of this user.

    IMKIT_HOME may name a folder that others may write to: the file of another user could lead to a server of theirs.
    """
    try:
        with path.open("rb") as file:
            if sys.platform != "win32" and os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                return None
            content = json.load(file)
        known = {attribute.name for attribute in fields(State)}
        state = State(**{name: value for name, value in content.items() if name in known})
        texts = (state.app_key, state.rest_url, state.ws_url, state.version, state.secret, state.demo_password or "")
        is_text = all(isinstance(text, str) and text.isprintable() for text in texts)
        return state if is_text and isinstance(state.pid, int) and urlsplit(state.rest_url).port else None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None


def write_state(path: Path, state: State) -> None:
    """Write the file, completely or not at all; only its owner can read it, where the system supports that."""
    with whole_file(path, private=True) as file:
        file.write(json.dumps(asdict(state)).encode())


def remove_state(path: Path, secret: str) -> None:
    """Delete the file if it is about the run of the server with this secret."""
    state = read_state(path)
    if state is not None and state.secret == secret:
        with contextlib.suppress(OSError):
            path.unlink()
