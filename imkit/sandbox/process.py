"""Sandboxes from Python: `Sandbox` is a private server, `shared` finds or starts the one that all notebooks share.

Each server is a separate process. The shared one keeps running when the kernel that started it ends. So two notebooks
can be Alice and Bob, and a restarted kernel finds its data again.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import numbers
import os
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from imkit.errors import IMError, InvalidMessage
from imkit.hints import SANDBOX_DOES_NOT_ANSWER, SANDBOX_ENDED, SANDBOX_WITHOUT_ADDRESS
from imkit.misuse import PublicObject, explained
from imkit.sandbox.demo import MESSAGES, SEED, THREADS, Demo
from imkit.sandbox.endpoints import version
from imkit.sandbox.home import SharedFiles, shared_files, unusable
from imkit.sandbox.launch import START_SECONDS, end, launch, wait_for_address
from imkit.sandbox.options import TOKEN_SECONDS, Options
from imkit.sandbox.proven_calls import NotProven, ProvenCalls
from imkit.sandbox.state import State, read_state

if TYPE_CHECKING:
    from imkit.client.app import App

logger = logging.getLogger("imkit.sandbox.process")

IDLE_MINUTES = 30
_LOG_BYTES = 1024 * 1024
_HEALTH_SECONDS = 5.0
_POLL_SECONDS = 0.1
_START_LOCK_SECONDS = 60
_DEMO_MESSAGES_PER_SECOND = 1000  # on a busy machine; usually it is 25 times that


# ---------------------------------------------------------------- a private server


class Sandbox(PublicObject):
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
        InvalidMessage: an argument is out of bounds: a fault does not exist, or its rate is not between 0 and 1.
        IMError: it did not start, for example because its port or its data file is in use.

    Example:
        >>> import imkit
        >>> with imkit.Sandbox(recall_seconds=2) as sandbox:
        ...     with imkit.login("alice", app=sandbox.app) as session:
        ...         print(session.user)
        alice
    """

    @explained
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
        with _invalid_arguments():
            if not isinstance(fail or {}, Mapping):
                raise ValueError('fail must be a dict of faults and their rates, such as {"html-502": 0.1}')
            for name, number in (
                ("port", port),
                ("recall_seconds", recall_seconds),
                ("token_seconds", token_seconds),
                ("latency_ms", latency_ms),
                ("requests_per_second", requests_per_second or 0),
            ):
                given: object = number
                if not isinstance(given, numbers.Real):  # also those of numpy
                    raise ValueError(f"{name} must be a number, not {given!r:.40}")
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
            InvalidMessage: too few or too many threads, or too few messages.
            IMError: the server did not start.

        Example:
            >>> import imkit
            >>> with imkit.Sandbox.demo(threads=10, messages=500) as sandbox:
            ...     with imkit.login("reader", app=sandbox.app) as reader:
            ...         frame = reader.history([*reader.groups(), *reader.threads()])
            >>> len(frame)
            500
        """
        with _invalid_arguments():
            community = Demo(seed=seed, threads=threads, messages=messages)
        return cls(path, _demo=community)

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
        hint = SANDBOX_ENDED["in memory" if self._path is None else "in a file"]
        return _app(self, partial(_private_ended, weakref.ref(self), hint))

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


@contextlib.contextmanager
def _invalid_arguments() -> Iterator[None]:
    """Raise `InvalidMessage` instead of a ValueError: the server's modules know the bounds, and no error of imkit."""
    try:
        yield
    except ValueError as error:
        raise InvalidMessage(str(error)) from error


def _app(server: Sandbox | SandboxAddress, ended: Callable[[], str]) -> App:
    from imkit.client.app import App  # imported here: the server's process must not load the client

    calls = ProvenCalls(server.rest_url, server.secret, ended=ended)
    return App.of_sandbox(server.app_key, server.rest_url, server.ws_url, calls)


def _private_ended(object_of: Callable[[], Sandbox | None], hint: str) -> str:
    """Return the hint if a private sandbox has ended; empty while it runs."""
    sandbox = object_of()
    if sandbox is None:
        return SANDBOX_ENDED["forgotten"]
    return "" if sandbox.running else hint


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
    """The address of the shared server, and the secret of its app-server endpoint.

    Attributes:
        app_key, rest_url, ws_url: where it is.
        secret: opens its app-server endpoint.
        files: its files, which tell whether it still runs; None: that is not known.
    """

    app_key: str
    rest_url: str
    ws_url: str
    secret: str = field(repr=False)
    files: SharedFiles | None = field(default=None, repr=False)

    @property
    def app(self) -> App:
        """The app that `imkit.login` uses if no app is configured."""
        return _app(self, self._ended)

    def _ended(self) -> str:
        """Return what to do if this server has ended; empty while it runs."""
        if self.files is None:
            return ""
        try:
            state = read_state(self.files.state)
            runs = state is not None and state.secret == self.secret and _is_locked(self.files.data_lock)
        except OSError:  # it cannot be known
            runs = True
        return "" if runs else SANDBOX_ENDED["shared"]


def shared(given_up: threading.Event | None = None) -> SandboxAddress:
    """Return the address of the server that all notebooks of this user share; start the server if none runs.

    Its data are in IMKIT_HOME and stay. It ends after 30 minutes without a connection; one that runs in a terminal ends
    there. A running server of another version of imkit is asked to end when it is idle, and is used until then.

    Args:
        given_up: set when the caller no longer waits for the address.

    Raises:
        FileError: the folder for its files cannot be used.
        IMError: it did not start, or it runs and does not answer.
    """
    files, given_up = shared_files(), given_up or threading.Event()
    try:
        running = _await_running(files, given_up) or _find_or_start(files, given_up)
    except Timeout:
        raise IMError(f"another process has been starting the sandbox for {_START_LOCK_SECONDS} s") from None
    except OSError as error:
        if isinstance(error, IMError):  # some are OSErrors too
            raise
        raise unusable(files.data.parent, error) from error
    return SandboxAddress(running.app_key, running.rest_url, running.ws_url, running.secret, files)


def _find_or_start(files: SharedFiles, given_up: threading.Event) -> State:
    # Two kernels may find no server at the same moment. One starts it; the other waits and finds it.
    with FileLock(files.start_lock, timeout=_START_LOCK_SECONDS):
        while True:
            running = _await_running(files, given_up)
            if running is not None:
                return running
            try:
                return _start_shared(files)
            except IMError:
                if not _is_locked(files.data_lock):
                    raise  # else a sandbox was started in a terminal at the same moment, and took the data


def _start_shared(files: SharedFiles) -> State:
    # Only the owner may read it, because it contains user ids.
    descriptor = os.open(files.log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "rb+", buffering=0) as errors:
        if errors.seek(0, os.SEEK_END) > _LOG_BYTES:
            errors.truncate(0)
        start = errors.seek(0, os.SEEK_END)
        arguments = ["--background", f"--idle-exit-minutes={IDLE_MINUTES}"]
        process = launch(arguments, errors=errors, detached=True)
        wait_for_address(process, errors, start)
    # Without a wait() the ended server would stay a zombie process until this kernel ends.
    threading.Thread(target=process.wait, name="sandbox-shared", daemon=True).start()
    started = read_state(files.state)
    assert started is not None  # the server writes its state before it prints its address
    return started


def _ask(state: State) -> Literal["answers", "starts", "ends", "silent", "gone"]:
    """Ask the server of a state file whether it runs. One of another version is told to end as soon as it is idle."""
    if state.is_starting:
        return "starts"
    calls = ProvenCalls(state.rest_url, state.secret, _HEALTH_SECONDS)
    try:
        if calls.health().get("version") == version() or state.in_terminal:
            return "answers"
        # Without connections it ends at once, and the new server waits for its data. With connections we use it too.
        return "answers" if calls.retire().get("connections") else "ends"
    except TimeoutError:
        return "silent"
    except (NotProven, OSError, http.client.HTTPException):
        return "gone"  # a killed server leaves its state file, and another program may have its port now


def _await_running(files: SharedFiles, given_up: threading.Event) -> State | None:
    """Return the state of the running server, however slowly it starts or answers; None if none runs.

    A server that runs holds the lock of its data. So a slow one is told from one that was killed.

    Raises:
        IMError: it does not answer, or nobody waits for it any more.
    """
    deadline, has_said_why = time.monotonic() + START_SECONDS, False
    while True:
        state = read_state(files.state)
        found = "gone" if state is None else _ask(state)
        if state is not None and found == "answers":
            return state
        if not _is_locked(files.data_lock):
            return None
        if state is not None and found == "starts":
            deadline = time.monotonic() + START_SECONDS
            if not has_said_why:
                has_said_why = True
                logger.warning("the sandbox is starting (process %s); the login waits for it", state.pid)
        if time.monotonic() > deadline:
            if state is None or found == "gone":
                raise IMError(f"the data in {files.data} are in use", hint=SANDBOX_WITHOUT_ADDRESS)
            hint = SANDBOX_DOES_NOT_ANSWER.format(pid=state.pid)
            raise IMError(f"the sandbox at {state.rest_url} runs, but does not answer", hint=hint)
        if given_up.wait(_POLL_SECONDS):
            raise IMError("the wait for the sandbox was given up")


def _is_locked(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
