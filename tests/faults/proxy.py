"""A TCP proxy between client and sandbox that breaks connections and frames as a test orders.

REST calls and sockets both pass through it. On a socket it reads the WebSocket frames and the kind of each MSYNC
frame, so a test can order a fault for a kind: `proxy.when("answer", "cut")` cuts the connection instead of the next
answer to a send. A frame without an order passes unchanged, unless `chaos` is on, which breaks frames by a seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import imkit
from imkit.sandbox.process import Sandbox, SandboxAddress
from imkit.wire import schema

R = TypeVar("R")
# The kind of a frame. Up: provision, logout, unread, send, fetch, ack, statistics. Down: welcome (the answer to a
# login), notice, list (the answer to unread), page, end (of a queue), answer (to a send). Both: control (ping, close),
# other.
Kind = str
# "cut-inside": some of the frame's bytes pass, then the connection is cut. "cut-behind": the whole frame passes first.
# "hold": the frame passes after the next one. "flip": it passes with one bit changed.
Action = Literal["pass", "drop", "twice", "hold", "cut", "cut-inside", "cut-behind", "freeze", "flip"]
Bytes = Callable[[bytes], bytes]
_SYNC, _UNREAD, _NOTICE, _PROVISION, _LOGOUT = range(5)
_HEAD_BYTES = 64 * 1024
_NOTED_KINDS = {"send", "provision", "welcome"}  # noted also if they pass unchanged
_WAIT = 30.0


@dataclass(eq=False)
class Order:
    """An action for the next frames of a kind; `happened` is set after it was done `times` times."""

    kind: Kind
    action: Action | Bytes
    user: str | None = None
    times: int = 1
    skip: int = 0
    happened: threading.Event = field(default_factory=threading.Event)

    def take(self, kind: Kind, user: str) -> bool:
        """Return whether the order is for this frame, and count the frame."""
        if kind != self.kind or self.user not in (None, user) or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        if not self.times:
            self.happened.set()
        return True


@dataclass(frozen=True)
class Chaos:
    """The rate of each random action on frames, and of the splits, delays, cuts and flipped bits of other data."""

    seed: object
    drop: float = 0.0
    twice: float = 0.0
    hold: float = 0.0
    cut: float = 0.0
    cut_inside: float = 0.0
    cut_behind: float = 0.0
    freeze: float = 0.0
    flip: float = 0.0
    split: float = 0.0
    delay: float = 0.0
    delay_seconds: float = 0.2
    rest_cut: float = 0.0
    rest_flip: float = 0.0

    def of_frame(self, rng: random.Random, down: bool, kind: Kind) -> Action:
        """Choose the action for a frame. Only downlink frames are dropped, doubled or held, because TCP keeps order."""
        if kind == "control":
            return "pass"
        rates: dict[Action, float] = {
            "cut": self.cut, "cut-inside": self.cut_inside, "cut-behind": self.cut_behind, "freeze": self.freeze,
            "flip": self.flip,
        }  # fmt: skip
        if down:
            rates |= {"drop": self.drop, "twice": self.twice, "hold": self.hold}
        point = rng.random()
        for action, rate in rates.items():
            if point < rate:
                return action
            point -= rate
        return "pass"


@dataclass(frozen=True)
class Noted:
    """Something that passed the proxy: each send, each login, and all that was changed on its way.

    Attributes:
        at: when, by `time.monotonic`, which is the same clock in all processes of the machine.
        link: the number of the connection.
        down: from the server to the client.
        kind: of the frame; "rest" for the bytes of a REST answer.
        before: what was sent: the payload of the frame, or the bytes.
        after: what passed; `None` if the receiver can no longer tell where frames begin.
    """

    at: float
    link: int
    down: bool
    kind: Kind
    before: bytes
    after: bytes | None

    @property
    def is_changed(self) -> bool:
        return self.after != self.before


class Link:
    """One connection through the proxy: a WebSocket, with the user who logged in on it, or a REST connection."""

    def __init__(self, number: int, client: asyncio.StreamWriter) -> None:
        self.number = number
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.is_socket = False
        self.user = ""
        self.rng = random.Random(number)
        self.frozen = False  # half-open: nothing passes any more, and neither side is told
        self.open = asyncio.Event()  # not set while the connection is stalled
        self.open.set()
        self.held: dict[bool, list[bytes]] = {True: [], False: []}
        self.garbled = {True: False, False: False}  # by direction: the receiver no longer knows where frames begin
        self.gone = False
        self.over = asyncio.Event()

    def cut(self, how: Literal["rst", "fin"] = "rst") -> None:
        """End the connection on both sides; the server still reads the data that it has received."""
        if self.gone:
            return
        self.gone = True
        self.over.set()
        self.open.set()
        if how == "rst":
            raw = self.client.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.client.transport.abort()
        else:
            self.client.close()
        if self.server is not None:
            self.server.close()


class Proxy:
    """A running proxy with its own port.

    Args:
        sandbox: the server; a test may kill it and start it again.

    Attributes:
        sockets: the number of logins that each user began.
        frames: the number of frames of each kind.
        broken: how often each action was done.
        noted: with `takes_notes`, what the judge of a chaos schedule must know (`Noted`).
    """

    def __init__(self, sandbox: Sandbox, *, takes_notes: bool = False) -> None:
        self._sandbox = sandbox
        self._target = urlsplit(sandbox.rest_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._links: set[Link] = set()
        self._orders: list[Order] = []
        self._chaos: Chaos | None = None
        self._number = 0
        self._refusing: set[str] | None = set()  # users whose logins are cut; None: cut all connections, REST too
        self._bandwidth: float | None = None
        self._piece: int | None = None
        self.watch: Callable[[Kind, str], None] = lambda kind, user: None
        self.sockets: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.noted: list[Noted] = []
        self._takes_notes = takes_notes
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        self.rest_url = f"http://127.0.0.1:{port}"
        self.ws_url = self.rest_url.replace("http", "ws", 1) + urlsplit(sandbox.ws_url).path

    @property
    def app(self) -> imkit.App:
        """The sandbox's app with the addresses of the proxy."""
        return SandboxAddress(self._sandbox.app_key, self.rest_url, self.ws_url, self._sandbox.secret).app

    # ---------------------------------------------------------------- for tests

    def when(
        self, kind: Kind, action: Action | Bytes, *, user: str | None = None, times: int = 1, skip: int = 0
    ) -> Order:
        """Order an action for the next `times` frames of a kind, after `skip` that pass; of one user or of all."""
        order = Order(kind, action, user, times, skip)
        self._run(lambda: self._orders.append(order))
        return order

    def chaos(self, chaos: Chaos | None) -> None:
        """Break frames at random from now on; None ends it."""
        self._run(lambda: setattr(self, "_chaos", chaos))

    def calm(self) -> None:
        """End all orders and chaos; cut the frozen connections and resume the stalled ones."""

        def work() -> None:
            self._orders.clear()
            self._chaos, self._refusing, self._bandwidth, self._piece = None, set(), None, None
            for link in list(self._links):
                if link.frozen or link.held[True] or link.held[False]:
                    link.cut()
                link.open.set()

        self._run(work)

    def cut(self, user: str | None = None, how: Literal["rst", "fin"] = "rst") -> int:
        """Cut the sockets of a user, or all connections; return how many were cut."""

        def work() -> int:
            links = [link for link in self._links if not link.gone and (user is None or link.user == user)]
            for link in links:
                link.cut(how)
            return len(links)

        return self._run(work)

    def freeze(self, user: str) -> None:
        """Make the sockets of a user half-open: they stay open, but nothing passes any more."""

        def work() -> None:
            for link in self._of(user):
                link.frozen = True

        self._run(work)

    def stall(self, user: str) -> None:
        """Hold all data on the sockets of a user until `resume`."""

        def work() -> None:
            for link in self._of(user):
                link.open.clear()

        self._run(work)

    def resume(self, user: str) -> None:
        """End a `stall`."""

        def work() -> None:
            for link in self._of(user):
                link.open.set()

        self._run(work)

    def refuse(self, user: str | None = None) -> None:
        """Refuse the logins of a user, or all connections; `accept` ends it."""
        self._run(lambda: setattr(self, "_refusing", None if user is None else {*(self._refusing or ()), user}))

    def accept(self) -> None:
        """Refuse nobody any more."""
        self._run(lambda: setattr(self, "_refusing", set()))

    def slow(self, bytes_per_second: float | None) -> None:
        """Limit each direction of each connection to this rate; None ends it."""
        self._run(lambda: setattr(self, "_bandwidth", bytes_per_second))

    def split(self, size: int | None) -> None:
        """Pass all data on in pieces of this size; None ends it."""
        self._run(lambda: setattr(self, "_piece", size))

    def close(self) -> None:
        """Close the proxy and all connections."""

        async def work() -> None:
            self._server.close()
            for link in list(self._links):
                link.cut()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        if self._thread.is_alive():
            self._call(work())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_WAIT)
            self._loop.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- inside

    def _call(self, work: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT)

    def _run(self, function: Callable[[], R]) -> R:
        async def work() -> R:
            return function()

        return self._call(work())

    def _of(self, user: str) -> list[Link]:
        return [link for link in self._links if link.user == user and link.is_socket]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        link = Link(self._number, writer)
        if self._chaos is not None:
            link.rng = random.Random(f"{self._chaos.seed}:{link.number}")
        self._links.add(link)
        try:
            if self._refusing is None:
                return
            assert self._target.hostname is not None
            assert self._target.port is not None
            server_reader, link.server = await asyncio.open_connection(self._target.hostname, self._target.port)
            head = await self._head(reader)
            link.is_socket = b"upgrade: websocket" in head.lower()
            link.server.write(head)
            if link.is_socket:
                answer = await self._head(server_reader)
                writer.write(answer)
                pump = self._frames
            else:
                pump = self._bytes
            up = asyncio.create_task(pump(link, reader, link.server, False))
            down = asyncio.create_task(pump(link, server_reader, writer, True))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if link.frozen and not link.gone:  # neither side may learn that the other has closed
                await asyncio.wait({up, down})
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one side has closed; `finally` closes the other
        finally:
            self._links.discard(link)
            link.cut("fin")
            if link.server is not None:  # it may have been opened after the cut
                link.server.close()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        first = await reader.readexactly(1)
        if not first.isalpha():  # another program looks for its own server, which had this port: JupyterLab does
            raise ConnectionError("this is not HTTP")
        return first + await reader.readuntil(b"\r\n\r\n")

    async def _bytes(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, down: bool) -> None:
        while data := await reader.read(64 * 1024):
            if self._chaos is not None and link.rng.random() < self._chaos.rest_cut:
                self._count("rest-cut")
                if link.rng.random() < 0.5:  # in the middle of it
                    await self._write(link, writer, data[: link.rng.randrange(len(data))])
                link.cut("fin")
                return
            if down and self._chaos is not None and link.rng.random() < self._chaos.rest_flip:
                self._count("rest-flip")
                flipped = _flipped(data, link.rng.randrange(len(data) * 8))
                self._note(link, down, "rest", data, flipped)
                data = flipped
            await self._write(link, writer, data)

    async def _frames(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, down: bool) -> None:
        try:
            while True:
                frame, payload = await _read_frame(reader)
                kind = _kind(payload, down) if payload is not None else "control"
                if kind == "provision" and not down:
                    link.user = _user(payload or b"")
                    self.sockets[link.user] += 1
                    if self._refusing is None or link.user in self._refusing:
                        link.cut()
                        return
                self.frames[kind] += 1
                self.watch(kind, link.user)
                await link.open.wait()
                if not await self._frame(link, writer, down, kind, frame, payload):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            if link.frozen and not link.gone:
                await link.over.wait()

    async def _frame(
        self, link: Link, writer: asyncio.StreamWriter, down: bool, kind: Kind, frame: bytes, payload: bytes | None
    ) -> bool:
        action: Action | Bytes = "pass"
        order = next((order for order in self._orders if order.take(kind, link.user)), None)
        if order is not None:
            action = order.action
        elif self._chaos is not None:
            action = self._chaos.of_frame(link.rng, down, kind)
        if callable(action):
            frame, action = _unmasked(action(payload or b"")), "pass"
        if action != "pass":
            self._count(action)
        passes: bytes | None = payload
        if action == "flip":
            frame, passes = _with_flipped_bit(frame, payload or b"", link.rng)
            link.garbled[down] = link.garbled[down] or passes is None
        if link.garbled[down]:
            passes = None
        if payload is not None and (kind in _NOTED_KINDS or passes != payload):
            self._note(link, down, kind, payload, passes)
        if action == "freeze":
            link.frozen = True
        if link.frozen:
            return True
        if action in ("cut", "cut-inside"):
            if action == "cut-inside":
                await self._write(link, writer, frame[: link.rng.randrange(len(frame))])
            link.cut(link.rng.choice(["rst", "fin"]))
            return False
        if action == "hold":
            link.held[down].append(frame)
        elif action != "drop":
            await self._write(link, writer, frame * 2 if action == "twice" else frame)
            held, link.held[down] = link.held[down], []
            for late in held:
                await self._write(link, writer, late)
        if action == "cut-behind":
            link.cut(link.rng.choice(["rst", "fin"]))
            return False
        return not link.gone

    def _count(self, action: str) -> None:
        self.broken[action] += 1

    def _note(self, link: Link, down: bool, kind: Kind, before: bytes, after: bytes | None) -> None:
        if self._takes_notes:
            self.noted.append(Noted(time.monotonic(), link.number, down, kind, before, after))

    async def _write(self, link: Link, writer: asyncio.StreamWriter, data: bytes) -> None:
        size = self._piece
        if self._chaos is not None and link.rng.random() < self._chaos.delay:
            self._count("delay")
            await asyncio.sleep(link.rng.random() * self._chaos.delay_seconds)
        if size is None and self._chaos is not None and link.rng.random() < self._chaos.split:
            size = link.rng.randint(1, max(len(data) - 1, 1))
        for start in range(0, len(data), size or len(data)):
            piece = data[start : start + (size or len(data))]
            writer.write(piece)
            await writer.drain()
            if self._bandwidth is not None:
                await asyncio.sleep(len(piece) / self._bandwidth)
            elif size is not None:
                await asyncio.sleep(0)


# -------------------------------------------------------------------- frames


async def _read_frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes | None]:
    """Return a WebSocket frame as it came, and the payload of a binary one."""
    head = await reader.readexactly(2)
    length, masked = head[1] & 0x7F, head[1] & 0x80
    extended = b""
    if length >= 126:
        extended = await reader.readexactly(2 if length == 126 else 8)
        length = int.from_bytes(extended, "big")
    mask = await reader.readexactly(4) if masked else b""
    data = await reader.readexactly(length)
    frame = head + extended + mask + data
    if head[0] & 0x0F != 2:
        return frame, None
    return frame, _xor(data, mask) if mask else data


def _xor(data: bytes, mask: bytes) -> bytes:
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")


def _flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _with_flipped_bit(frame: bytes, payload: bytes, rng: random.Random) -> tuple[bytes, bytes | None]:
    """Return a frame with one bit changed, and the payload that the receiver reads in it.

    In one of twenty frames it is a bit of the header; the receiver then looks for the next frame at a wrong place.
    """
    is_masked = bool(frame[1] & 0x80)
    header = len(frame) - len(payload) - (4 if is_masked else 0)
    if not payload or rng.random() < 0.05:
        return _flipped(frame, rng.randrange(header * 8)), None
    changed = _flipped(frame, rng.randrange(header * 8, len(frame) * 8))
    start = len(frame) - len(payload)
    data = changed[start:]
    return changed, _xor(data, changed[start - 4 : start]) if is_masked else data


def _unmasked(payload: bytes) -> bytes:
    """Return a WebSocket frame as a server writes it, without a mask."""
    size = len(payload)
    if size < 126:
        return bytes([0x82, size]) + payload
    if size < 2**16:
        return bytes([0x82, 126]) + size.to_bytes(2, "big") + payload
    return bytes([0x82, 127]) + size.to_bytes(8, "big") + payload


def _kind(payload: bytes, down: bool) -> Kind:
    frame = schema.MSync.FromString(payload)
    if frame.command != _SYNC:
        named = {_UNREAD: "unread", _PROVISION: "provision", _LOGOUT: "logout"}
        if down:
            named = {_UNREAD: "list", _NOTICE: "notice", _PROVISION: "welcome"}
        return named.get(frame.command, "other")
    if down:
        page = schema.LooseSyncDL.FromString(frame.payload)
        return "answer" if page.metaId else "page" if page.metas else "end"
    sync = schema.CommSyncUL.FromString(frame.payload)
    if sync.HasField("meta"):
        return "send" if sync.meta.ns == 1 else "statistics"
    return "ack" if sync.HasField("key") else "fetch"


def _user(payload: bytes) -> str:
    name: str = schema.MSync.FromString(payload).guid.name
    return name
