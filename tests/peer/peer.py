"""The official SDK in a Node process, controlled from Python.

A `Peer` is the process; a `Device` is one connection of the SDK in it. Calls block, events are kept in the order of
arrival, and every wait has a time limit.
"""

import base64
import contextlib
import itertools
import json
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, Self

from tests.peer.node import HERE, ready
from tests.sandbox.server.raw_client import Server

WAIT_SECONDS = 10.0  # seconds for an answer or an event; the SDK itself gives a send 15


class SdkError(Exception):
    """The error with which the SDK rejected a call. `type` is the SDK's error number, as in `IMError.code`."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['type']}: {error['message']} {error['data'] or ''}")
        self.type: int | None = error["type"]
        self.message: str = error["message"]
        self.data: Any = error["data"]


class Peer:
    """One Node process with one build of the official SDK, `web` or `mini`."""

    def __init__(self, build: str = "web") -> None:
        self.build = build
        self._process = subprocess.Popen(
            [ready().node, "driver.mjs", build],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._ids = itertools.count(1)
        self._answers: dict[int, Future[Any]] = {}
        self._devices: dict[str, Device] = {}
        self._complaints: deque[str] = deque(maxlen=40)
        self._writing = threading.Lock()
        self.unhandled: list[Any] = []  # unhandled rejections inside the SDK
        self.version: Future[str] = Future()
        self._readers = [
            threading.Thread(target=target, name=f"peer-{build}", daemon=True)
            for target in (self._listen, self._collect)
        ]
        for reader in self._readers:
            reader.start()
        self.version.result(WAIT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process by closing its stdin; kill it if it does not end."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(5)
        self._process.stdout.close()
        self._process.stderr.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def freeze(self) -> None:
        """Suspend the process: its sockets stay open, and nothing reads them."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill the process, without a close frame to the server."""
        self._process.kill()
        self._process.wait()

    def device(self, app: Server, *, resource: str | None = None, **options: Any) -> "Device":
        """Return a connection of the SDK that is not open yet. `resource` sets its device id."""
        name = f"d{next(self._ids)}"
        device = self._devices[name] = Device(self, name)
        fixed = {"deviceId": resource} if resource else {}
        # By default the SDK reconnects; a test that wants this passes `autoReconnectNumMax`.
        device.call(
            "connect",
            {
                "appKey": app.app_key,
                "url": app.ws_url,
                "apiUrl": app.rest_url,
                "autoReconnectNumMax": 0,
                **fixed,
                **options,
            },
        )
        return device

    def start(self, device: str, what: str, *args: Any) -> "Future[Any]":
        number = next(self._ids)
        answer = self._answers[number] = Future()
        line = json.dumps({"id": number, "device": device, "do": what, "args": args}, ensure_ascii=False)
        try:
            with self._writing:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
        except OSError as error:
            raise RuntimeError(self._end_report()) from error
        return answer

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if "error" in said:
                    answer.set_exception(SdkError(said["error"]))
                else:
                    answer.set_result(said["ok"])
            elif "ready" in said:
                self.version.set_result(said["ready"]["version"])
            elif "device" in said:
                self._devices[said["device"]].heard(said["event"], said.get("data"))
            else:
                self.unhandled.append(said)
        for answer in [self.version, *self._answers.values()]:
            if not answer.done():
                answer.set_exception(RuntimeError(self._end_report()))

    def _collect(self) -> None:
        # It must always be read, because a full pipe stops the SDK; and kept, because it tells why a process ended.
        assert self._process.stderr is not None
        self._complaints.extend(self._process.stderr)

    def _end_report(self) -> str:
        self._readers[1].join(1)
        return f"the driver of the {self.build} SDK ended ({self._process.poll()}):\n{''.join(self._complaints)}"


class Driver(Protocol):
    """What runs the clients of an SDK: a Node process (`Peer`), or a browser (`Sdk5`)."""

    build: str

    @property
    def alive(self) -> bool: ...
    def start(self, device: str, what: str, *args: Any) -> "Future[Any]": ...


class Device:
    """One connection of the official SDK: its calls and its events."""

    def __init__(self, peer: Driver, name: str) -> None:
        self.peer = peer
        self.name = name
        self.user = ""
        self._heard: list[tuple[str, Any]] = []
        self._news = threading.Condition()

    def __repr__(self) -> str:
        return f"<{self.peer.build} SDK, {self.user or 'nobody'}>"

    def start(self, method: str, *args: Any) -> "Future[Any]":
        """Start a call without waiting; the Future gets its result."""
        return self.peer.start(self.name, method, *args)

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the SDK's connection and return what its promise resolves to, or raise `SdkError`."""
        return self.start(method, *args).result(WAIT_SECONDS)

    def open(self, user: str, **credential: str) -> Any:
        """Log in, with `pwd=` or `accessToken=`."""
        self.user = user
        opened = self.call("open", {"user": user, **credential})
        self.wait("onConnected")
        return opened

    def close(self) -> None:
        """Log out and wait until the socket is closed."""
        self.clear()
        self.call("close")
        self.wait("onDisconnected")

    def send(
        self, to: str, kind: str = "txt", *, thread: bool = True, file: bytes | None = None, **options: Any
    ) -> Any:
        """Send a message and return the SDK's result: `serverMsgId`, `message`, and `upload` where there was one."""
        return self.start_send(to, kind, thread=thread, file=file, **options).result(WAIT_SECONDS)

    def start_send(
        self, to: str, kind: str = "txt", *, thread: bool = True, file: bytes | None = None, **options: Any
    ) -> "Future[Any]":
        message = {"chatType": "groupChat", "to": to, "type": kind, **options}
        if thread:
            message["isChatThread"] = True
        if file is not None:
            name = options.get("filename", "file.bin")
            message["file"] = {
                "base64": base64.b64encode(file).decode(),
                "filename": name,
                "filetype": name.rpartition(".")[2],
            }
        return self.start("send", message)

    def download(self, message: dict[str, Any]) -> bytes:
        """Return the bytes of an attachment, with the SDK's download."""
        return base64.b64decode(self.call("download", {"url": message["url"], "secret": message["secret"]}))

    def heard(self, event: str, data: Any) -> None:
        """Keep an event; the process's reader calls this."""
        with self._news:
            self._heard.append((event, data))
            self._news.notify_all()

    def clear(self) -> None:
        """Drop the events that came so far."""
        with self._news:
            self._heard.clear()

    def seen(self, event: str, test: Callable[[Any], bool] = lambda data: True, **fields: Any) -> list[Any]:
        """Return the events of a kind that came so far."""
        with self._news:
            return [data for kind, data in self._heard if kind == event and _has(data, fields) and test(data)]

    def wait(self, event: str, test: Callable[[Any], bool] = lambda data: True, **fields: Any) -> Any:
        """Return the first such event; wait for it if it has not come."""
        return self.wait_for(1, event, test, **fields)[0]

    def wait_for(
        self, count: int, event: str, test: Callable[[Any], bool] = lambda data: True, **fields: Any
    ) -> list[Any]:
        """Return the first `count` such events, in the order of arrival; wait for them."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._news:
            while len(found := self.seen(event, test, **fields)) < count:
                if not self._news.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise AssertionError(
                        f"{self!r} waited for {count} {event} {fields or ''}, and got {len(found)}; "
                        f"it heard {[kind for kind, _ in self._heard][-30:]}, of that kind {self.seen(event)[-5:]}"
                    )
            return found[:count]


def _has(data: Any, fields: dict[str, Any]) -> bool:
    return all(isinstance(data, dict) and data.get(name) == value for name, value in fields.items())
