"""Sandboxes from Python: a private one, and the one all notebooks of a user share.

Each is a process of its own. The shared one outlives the kernel that started it, so that two notebooks can be Alice
and Bob, and a restarted kernel finds everything as it was.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from filelock import FileLock

from imkit.sandbox.demo import MESSAGES, SEED, THREADS, Demo
from imkit.sandbox.endpoints import APP_SERVER_TOKEN, HEALTH, RETIRE, version
from imkit.sandbox.home import home
from imkit.sandbox.launch import START_SECONDS, end, hear_address, launch
from imkit.sandbox.options import TOKEN_SECONDS, Options
from imkit.sandbox.state import State, read_state

if TYPE_CHECKING:
    from imkit.client.app import App

IDLE_MINUTES = 30
_LOG_BYTES = 1024 * 1024
_ASK_SECONDS = 5.0
_MADE_PER_SECOND = 1000  # a community's messages, on a machine that is busy with other things


# ---------------------------------------------------------------- a private server


class Sandbox:
    """A private server, in a process of its own, for as long as this object lives.

    Args:
        path: where its data are kept; None keeps nothing beyond its end.
        port: where it listens, on this machine only; 0 takes a free port.
        recall_seconds: how long a sender may recall a message; 0 disables recalling.
        token_seconds: how long a user's token lives.
        latency_ms: how long each reply waits.
        requests_per_second: REST calls beyond this are refused with 429; None: no limit.
        fail: named faults and their rates, such as ``{"html-502": 0.1}``; `imkit.sandbox.faults` lists them.
        fail_seed: makes the faults repeatable.
        open_registration: anyone may register users, as the official SDK's `registerUser` does.
        push: send messages unasked instead of a notice first.

    Raises:
        ValueError: a fault that does not exist.
        IMError: it did not start: the port is in use, or the data are.

    Example:
        ```python
        with imkit.Sandbox(recall_seconds=2) as sandbox:
            alice = imkit.login("alice", app=sandbox.app)
        ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        port: int = 0,
        recall_seconds: float = 120,
        token_seconds: float = TOKEN_SECONDS,
        latency_ms: float = 0,
        requests_per_second: float | None = None,
        fail: Mapping[str, float] | None = None,
        fail_seed: int = 0,
        open_registration: bool = False,
        push: bool = False,
        _demo: Demo | None = None,
    ) -> None:
        self._demo = _demo
        self._options = Options(
            recall_seconds=recall_seconds,
            token_seconds=token_seconds,
            latency_ms=latency_ms,
            requests_per_second=requests_per_second,
            fail=dict(fail or {}),
            fail_seed=fail_seed,
            open_registration=open_registration,
            push=push,
        )
        self._path = None if path is None else Path(path).expanduser().absolute()
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self.app_key = self._options.app_key
        self.rest_url = self.ws_url = ""
        self.start()

    @classmethod
    def demo(
        cls,
        seed: int = SEED,
        threads: int = THREADS,
        messages: int = MESSAGES,
        *,
        path: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Return a private server with a made-up community in it: people, groups, weeks of threads.

        The same arguments give the same messages, ids and times, so what a tutorial says of them holds;
        `imkit.sandbox.demo` tells who is there, and `imkit.sandbox.demo.FACTS` what is true of them. Log in as
        ``"reader"``, who is in every group and thread, or as any of the people.

        Args:
            seed: another one makes another community, with the same people and the same facts.
            threads: how many threads.
            messages: how many messages, in groups and threads together. Thousands a second are made; from 100,000 on
                give a path, or memory holds them all.
            path: where its data are kept; a community that is there already is left as it is.

        Raises:
            ValueError: fewer than 10 threads, than 500 messages, or than 15 messages a thread.

        Example:
            ```python
            with imkit.Sandbox.demo() as sandbox, imkit.login("reader", app=sandbox.app) as reader:
                frame = reader.history(list(reader.threads()))
            ```
        """
        return cls(path, _demo=Demo(seed=seed, threads=threads, messages=messages))

    def start(self) -> None:
        """Start it again after `stop` or `kill`: same data, same port, same secret. No change while it runs."""
        if self.running:
            return
        with contextlib.ExitStack() as undo:
            errors = undo.enter_context(tempfile.TemporaryFile())
            # Detached: a notebook's stop button means the cell, not the server. It ends with its standard input.
            process = launch([*self._arguments(), "--parent"], stdin=subprocess.PIPE, errors=errors, detached=True)
            undo.callback(end, process, 0)
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it ended already: hear_address tells why
                process.stdin.write(self._options.secret.encode() + b"\n")
                process.stdin.flush()
            made = 0 if self._demo is None else self._demo.messages
            address = hear_address(process, errors, patience=START_SECONDS + made / _MADE_PER_SECOND)
            undo.pop_all()
        self.rest_url, self.ws_url = address["rest_url"], address["ws_url"]
        self._port = urlsplit(self.rest_url).port or 0
        self._process = process
        # At the end of the interpreter, or when nobody holds this object any more.
        self._finalizer = weakref.finalize(self, _end, process, errors)

    def _arguments(self) -> list[str]:
        options = self._options
        arguments = [
            f"--port={self._port}",
            f"--recall-seconds={options.recall_seconds}",
            f"--token-seconds={options.token_seconds}",
            f"--latency-ms={options.latency_ms}",
            f"--fail-seed={options.fail_seed}",
            *(f"--fail={name}:{rate}" for name, rate in options.fail.items()),
            "--memory" if self._path is None else f"--data={self._path}",
        ]
        if options.requests_per_second is not None:
            arguments.append(f"--requests-per-second={options.requests_per_second}")
        if options.open_registration:
            arguments.append("--open-registration")
        if options.push:
            arguments.append("--push")
        if self._demo is not None:
            demo = self._demo
            arguments += ["--demo", f"--demo-seed={demo.seed}"]
            arguments += [f"--demo-threads={demo.threads}", f"--demo-messages={demo.messages}"]
        return arguments

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def secret(self) -> str:
        """What its app-server endpoint wants to see; `app` brings it along."""
        return self._options.secret

    @property
    def app(self) -> App:
        """What `imkit.login(…, app=sandbox.app)` takes. No credential is needed; users are made on demand."""
        return _app(self)

    def stop(self) -> None:
        """End it in good order: sockets are closed, data are kept. Again is no change."""
        if self._finalizer is not None:
            self._finalizer()
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would, for tests of what survives."""
        if self._process is not None:
            self._process.kill()
            self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "data in memory" if self._path is None else f"data in {self._path}"
        return f"<Sandbox {self.rest_url}, {'running' if self.running else 'stopped'}, {where}>"


def _app(server: Sandbox | SandboxAddress) -> App:
    from imkit.client.app import App  # the server's own process must never load the client

    token_url = f"{server.rest_url}{APP_SERVER_TOKEN}"
    return App.of_sandbox(server.app_key, server.rest_url, server.ws_url, token_url, server.secret)


def _end(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    end(process)
    errors.close()


# ---------------------------------------------------------------- the shared server


@dataclass(frozen=True)
class SandboxAddress:
    """Where the shared server is, and the secret its app-server endpoint wants."""

    app_key: str
    rest_url: str
    ws_url: str
    secret: str = field(repr=False)

    @property
    def app(self) -> App:
        """What `imkit.login` takes where no app is configured."""
        return _app(self)


def shared() -> SandboxAddress:
    """Return the server all notebooks of this user share; start it if none runs.

    Its data are in IMKIT_HOME and stay. It ends after half an hour without a connection. One of another version of
    imkit is asked to end when idle, and used until then.

    Raises:
        IMError: it did not start.

    Example:
        >>> shared().app_key  # doctest: +SKIP
        'imkit#sandbox'
    """
    folder = home()
    state = folder / "sandbox.json"
    running = _running(state)
    if running is None:
        # Two kernels that find none at the same moment start one: the second finds what the first has started.
        with FileLock(folder / "sandbox.start.lock", timeout=60):
            running = _running(state)
            if running is None:
                _start_shared(folder, state)
                running = read_state(state)
    assert running is not None  # the server writes it before it says that it listens
    return SandboxAddress(running.app_key, running.rest_url, running.ws_url, running.secret)


def _start_shared(folder: Path, state: Path) -> None:
    log = folder / "sandbox.log"
    # Its owner's eyes only: user ids stand in it.
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "rb+", buffering=0) as errors:
        if errors.seek(0, os.SEEK_END) > _LOG_BYTES:
            errors.truncate(0)
        start = errors.seek(0, os.SEEK_END)
        process = launch([f"--state={state}", f"--idle-exit-minutes={IDLE_MINUTES}"], errors=errors, detached=True)
        hear_address(process, errors, start)
    # Somebody has to take its exit code one day, or it stays behind as a zombie for as long as this kernel lives.
    threading.Thread(target=process.wait, name="sandbox-shared", daemon=True).start()


def _running(state_path: Path) -> State | None:
    """Return the state of the running server; None if there is none, or it has just been asked to make room."""
    state = read_state(state_path)
    if state is None:
        return None
    health = _ask(state, "GET", HEALTH)
    if health is None or health.get("instance") != state.instance:
        return None  # a killed server leaves its file behind, and its port to others
    if health.get("version") == version():
        return state
    answer = _ask(state, "POST", RETIRE)
    # With nobody connected it ends at once; the new server waits for the data. Else it serves us, too, until then.
    return None if answer is not None and not answer.get("connections") else state


def _ask(state: State, method: str, path: str) -> dict[str, Any] | None:
    parts = urlsplit(state.rest_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ASK_SECONDS)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {state.secret}"})
        reply = connection.getresponse()
        answer = json.loads(reply.read(65536))
        return answer if reply.status == 200 and isinstance(answer, dict) else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
