"""Sandboxes from Python: `Sandbox` is a private server, `shared` finds or starts the one that all notebooks share.

Each server is a separate process. The shared one keeps running when the kernel that started it ends. So two notebooks
can be Alice and Bob, and a restarted kernel finds its data again.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from imkit.errors import IMError
from imkit.sandbox.demo import MESSAGES, SEED, THREADS, Demo
from imkit.sandbox.endpoints import version
from imkit.sandbox.home import home
from imkit.sandbox.launch import START_SECONDS, end, launch, wait_for_address
from imkit.sandbox.options import TOKEN_SECONDS, Options
from imkit.sandbox.proven_calls import NotProven, ProvenCalls
from imkit.sandbox.state import State, read_state

if TYPE_CHECKING:
    from imkit.client.app import App

IDLE_MINUTES = 30
_LOG_BYTES = 1024 * 1024
_HEALTH_SECONDS = 5.0
_POLL_SECONDS = 0.1
_DEMO_MESSAGES_PER_SECOND = 1000  # on a busy machine; usually it is 25 times that


# ---------------------------------------------------------------- a private server


class Sandbox:
    """A private IM server on this machine, for tests and experiments. It runs in its own process.

    It starts when the object is made, and ends with `stop`, at the end of a ``with`` block, or with the last reference
    to the object. Log in with ``app=sandbox.app``; users are created when they log in. `Sandbox.demo` returns one with
    a made-up community.

    Args:
        path: the file for its data; None keeps the data in memory until it ends.
        port: the port on 127.0.0.1; 0 takes a free one.
        recall_seconds: how long after a send its sender may recall it, in seconds; 0 disables recalls.
        token_seconds: how long a user token is valid, in seconds; 60 days by default.
        latency_ms: the delay of each reply, in milliseconds.
        requests_per_second: more REST calls than this are refused with 429 (`RateLimited`); None for no limit.
        fail: faults and the rate of each, 0 to 1, such as ``{"html-502": 0.1}``; `imkit.sandbox.faults.FAULTS` lists
            the faults.
        fail_seed: the same seed gives the same faults.
        open_registration: anyone may register users, as the official SDK's `registerUser` does.
        push: send messages to clients at once, without a notice before.

    Attributes:
        app_key: its app, ``"imkit#sandbox"``.
        rest_url: its REST address.
        ws_url: its WebSocket address.
        demo_password: the password of the people of `Sandbox.demo`, for a login without its app; else None.

    Raises:
        ValueError: a fault does not exist, or its rate is not between 0 and 1.
        IMError: it did not start, for example because its port or its data file is in use.

    Example:
        >>> import imkit
        >>> with imkit.Sandbox(recall_seconds=2) as sandbox:
        ...     with imkit.login("alice", app=sandbox.app) as session:
        ...         print(session.user)
        alice
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
        self._owner_pid = 0  # the process that started it
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self.app_key = self._options.app_key
        self.rest_url = self.ws_url = ""
        self.demo_password: str | None = None
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
        """Start a private server with a made-up community in it: people, groups, and weeks of threads.

        The same arguments give the same messages, ids and times. `imkit.sandbox.demo` describes the community, and
        `imkit.sandbox.demo.FACTS` has facts about it that hold for every seed. Log in as ``"reader"``, who is in
        every group and thread, or as any of the people.

        Args:
            seed: any number; another seed gives another community with the same people and the same facts.
            threads: the number of threads, 10 to 100,000.
            messages: the number of messages in all groups and threads together; at least 500, and at least 15 a
                thread. About 25,000 messages a second are made. For 100,000 or more give a path, because otherwise
                all of them are in memory.
            path: the file for the data. A community that it contains already stays as it is.

        Returns:
            The running server.

        Raises:
            ValueError: too few or too many threads, or too few messages.
            IMError: the server did not start.

        Example:
            >>> import imkit
            >>> with imkit.Sandbox.demo(threads=10, messages=500) as sandbox:
            ...     with imkit.login("reader", app=sandbox.app) as reader:
            ...         frame = reader.history([*reader.groups(), *reader.threads()])
            >>> len(frame)
            500
        """
        return cls(path, _demo=Demo(seed=seed, threads=threads, messages=messages))

    def start(self) -> None:
        """Start the server again after `stop` or `kill`, with the same data, port and secret.

        Does nothing while the server runs.

        Raises:
            IMError: it did not start.
        """
        if self.running:
            return
        with contextlib.ExitStack() as undo:
            errors = undo.enter_context(tempfile.TemporaryFile())
            # Detached, because a notebook's stop button must stop the cell and not the server. The server ends when
            # its standard input is closed.
            process = launch([*self._arguments(), "--parent"], stdin=subprocess.PIPE, errors=errors, detached=True)
            undo.callback(end, process, 0)
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended; wait_for_address raises the reason
                process.stdin.write(self._options.secret.encode() + b"\n")
                process.stdin.flush()
            demo_messages = 0 if self._demo is None else self._demo.messages
            seconds = START_SECONDS + demo_messages / _DEMO_MESSAGES_PER_SECOND
            address = wait_for_address(process, errors, seconds=seconds)
            undo.pop_all()
        self.rest_url, self.ws_url = address["rest_url"], address["ws_url"]
        self.demo_password = address.get("demo_password")
        self._port = urlsplit(self.rest_url).port or 0
        self._process = process
        self._owner_pid = os.getpid()
        _pipes.add(process.stdin)
        # Runs when this object is garbage, or when the interpreter ends.
        self._finalizer = weakref.finalize(self, _end, process, errors, self._owner_pid)

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
        """Whether the server's process is alive."""
        if self._process is None:
            return False
        if self._owner_pid == os.getpid():
            return self._process.poll() is None
        try:  # a forked child cannot wait for its parent's child
            os.kill(self._process.pid, 0)
        except OSError:
            return False
        return True

    @property
    def secret(self) -> str:
        """The secret of its app-server endpoint, which issues user tokens; `app` contains it."""
        return self._options.secret

    @property
    def app(self) -> App:
        """The app for ``imkit.login("alice", app=sandbox.app)``. A login needs no credential and creates the user."""
        return _app(self)

    def stop(self) -> None:
        """End the server: it closes its sockets and keeps its data file.

        Does nothing if it has ended, and nothing in a forked child: the server belongs to the parent process.
        """
        if self._finalizer is not None:
            self._finalizer()
            self._process = None

    def kill(self) -> None:
        """Kill the server's process at once, to test what survives a crash."""
        if self._process is not None:
            if self._owner_pid == os.getpid():
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
    from imkit.client.app import App  # imported here: the server's process must not load the client

    calls = ProvenCalls(server.rest_url, server.secret)
    return App.of_sandbox(server.app_key, server.rest_url, server.ws_url, calls)


def _end(process: subprocess.Popen[bytes], errors: IO[bytes], owner_pid: int) -> None:
    if owner_pid == os.getpid():  # not at the end of a forked child
        end(process)
    errors.close()


# A server ends when the last process that holds its pipe has closed it. So a forked child lets go of the pipes.
_pipes: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()


def _close_pipes_of_parent() -> None:
    for pipe in _pipes:
        pipe.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_pipes_of_parent)


# ---------------------------------------------------------------- the shared server


@dataclass(frozen=True)
class SandboxAddress:
    """The address of the shared server, and the secret of its app-server endpoint."""

    app_key: str
    rest_url: str
    ws_url: str
    secret: str = field(repr=False)

    @property
    def app(self) -> App:
        """The app that `imkit.login` uses if no app is configured."""
        return _app(self)


def shared() -> SandboxAddress:
    """Return the address of the server that all notebooks of this user share; start the server if none runs.

    Its data are in IMKIT_HOME and stay. It ends after 30 minutes without a connection. A running server of another
    version of imkit is asked to end when it is idle, and is used until then.

    Raises:
        IMError: it did not start, or it runs and does not answer.
    """
    folder = home()
    state = folder / "sandbox.json"
    running = _running(state)
    if running is None:
        # Two kernels may find no server at the same moment. One starts it; the other waits and finds it.
        with FileLock(folder / "sandbox.start.lock", timeout=60):
            running = _await_busy(state, folder / "sandbox.db.lock") or _start_shared(folder, state)
    return SandboxAddress(running.app_key, running.rest_url, running.ws_url, running.secret)


def _start_shared(folder: Path, state: Path) -> State:
    log = folder / "sandbox.log"
    # Only the owner may read it, because it contains user ids.
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "rb+", buffering=0) as errors:
        if errors.seek(0, os.SEEK_END) > _LOG_BYTES:
            errors.truncate(0)
        start = errors.seek(0, os.SEEK_END)
        process = launch([f"--state={state}", f"--idle-exit-minutes={IDLE_MINUTES}"], errors=errors, detached=True)
        wait_for_address(process, errors, start)
    # Without a wait() the ended server would stay a zombie process until this kernel ends.
    threading.Thread(target=process.wait, name="sandbox-shared", daemon=True).start()
    started = read_state(state)
    assert started is not None  # the server writes its state before it prints its address
    return started


def _running(state_path: Path) -> State | None:
    """Return the state of the running server; None if none answers, or if it is of another version and ends now."""
    state = read_state(state_path)
    if state is None:
        return None
    calls = ProvenCalls(state.rest_url, state.secret, _HEALTH_SECONDS)
    try:
        if calls.health().get("version") == version():
            return state
        # Without connections it ends at once, and the new server waits for its data. With connections we use it too.
        return state if calls.retire().get("connections") else None
    except (NotProven, OSError, http.client.HTTPException):
        return None  # a killed server leaves its state file, and another program may have its port now


def _await_busy(state_path: Path, data_lock: Path) -> State | None:
    """Return the state of the running server, however slowly it answers; None if it has ended.

    A server that runs holds the lock of its data. So a slow one is told from one that was killed.

    Raises:
        IMError: it does not answer.
    """
    last = read_state(state_path)
    deadline = time.monotonic() + START_SECONDS
    while (running := _running(state_path)) is None and last is not None and _is_locked(data_lock):
        if time.monotonic() > deadline:
            hint = f"Wait until it is less busy, or end it (process {last.pid}); its data stay."
            raise IMError(f"the sandbox at {last.rest_url} runs, but does not answer", hint=hint)
        threading.Event().wait(_POLL_SECONDS)
    return running


def _is_locked(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
