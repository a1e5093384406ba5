"""The server put together and run: one port, REST and socket, until it is told to end."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from imkit.sandbox.demo import Demo
from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.server import rest, rest_attachments, rest_groups, rest_history, rest_imkit, rest_threads
from imkit.sandbox.server.delivery import Delivery
from imkit.sandbox.server.device_queues import Queues
from imkit.sandbox.server.groups import Rooms
from imkit.sandbox.server.message_record import Record
from imkit.sandbox.server.middleware import Edge, Receive, Scope, Send
from imkit.sandbox.server.msync import Exchange
from imkit.sandbox.server.rest_replies import RestError
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.uplink import Sending
from imkit.sandbox.server.users import People

_FRAME_BYTES = 1024 * 1024  # a message is 5 KB; what is larger is refused with 1009 before it is read
_HOUSEKEEPING_SECONDS = 1.0


class Application:
    """The ASGI application: sockets to the exchange, everything else to the routes.

    Args:
        options: the settings.
        store: the data.
        instance: names this run of the server.
        retire: called when somebody with the secret asks the server to end.
    """

    def __init__(
        self, options: Options, store: Store, instance: str = "", retire: Callable[[], None] = lambda: None
    ) -> None:
        faults = Faults(options.fail, options.fail_seed)
        people, rooms, record, queues = People(store), Rooms(store), Record(store), Queues(store)
        delivery = Delivery(options, store, rooms, record, queues, faults)
        sending = Sending(options, store, people, rooms, record, queues, delivery)
        self.exchange = Exchange(options, store, people, delivery, sending, faults)
        self.backend = rest.Backend(options, store, people, rooms, record, queues, delivery, sending, self.exchange)
        routes = [
            *rest_imkit.routes(self.backend, instance, retire),  # first: "/imkit/app-server/token" looks like an app's
            *rest_history.routes(self.backend),
            *rest_threads.routes(self.backend),
            *rest.routes(self.backend),
            *rest_groups.routes(self.backend),
            *rest_attachments.routes(self.backend),
        ]
        handlers: dict[Any, Any] = {RestError: rest.json_error, HTTPException: rest.json_error}
        self.last_call = time.monotonic()
        self._rest = Edge(Starlette(routes=routes, exception_handlers=handlers), options, faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request."""
        self.last_call = time.monotonic()
        if scope["type"] == "websocket":
            await self.exchange.serve(receive, send)
        elif scope["type"] == "http":
            await self._rest(scope, receive, send)


def listen(host: str, port: int) -> socket.socket:
    """Bind the port ourselves: it is known before the server runs, and a port in use is an error here.

    Raises:
        OSError: the port is in use, or not ours to have.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sets TCP_NODELAY only on what says it is TCP, and without it a reply in two writes
    # waits 40 ms for the client's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there it would let two servers share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError:
        listening.close()
        raise
    return listening


class _AnnouncingServer(uvicorn.Server):
    """Says when it accepts connections."""

    ready: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()


class Server:
    """One running sandbox.

    Args:
        options: the settings.
        path: the data file; None keeps everything in memory.
        idle_exit_seconds: end after so long without a connection or a call; None never.
    """

    def __init__(self, options: Options, path: Path | None, *, idle_exit_seconds: float | None = None) -> None:
        self._store = Store(path)
        self._idle_exit = idle_exit_seconds
        self._retiring = False
        self.instance = secrets.token_hex(8)
        self.application = Application(options, self._store, self.instance, self.retire)
        config = uvicorn.Config(
            self.application,
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",  # named: an older uvicorn would take its deprecated implementation
            ws_max_size=_FRAME_BYTES,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=30,
        )
        self._server = _AnnouncingServer(config)

    def furnish(self, demo: Demo) -> bool:
        """Fill the data with a made-up community, before anybody is served; False if they hold one already."""
        from imkit.sandbox.server.demo.fill import fill  # with what it draws pictures with: not for every server

        backend = self.application.backend
        return fill(self._store, backend.people, backend.record, backend.options.app_key, demo)

    def retire(self) -> None:
        """End once nobody is connected."""
        self._retiring = True
        if not self.application.exchange.connections:
            self.stop()

    def stop(self) -> None:
        """End now: sockets are closed with 1012, requests get two seconds."""
        self._server.should_exit = True

    def run(self, listening: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until stopped, by `stop` or by SIGINT or SIGTERM.

        Args:
            listening: a bound socket.
            ready: called once connections are accepted.
        """
        asyncio.run(self._serve(listening, ready))

    async def _serve(self, listening: socket.socket, ready: Callable[[], None]) -> None:
        # uvicorn raises the signal again after it has ended; these handlers, which it restores first, make that an
        # orderly exit with code 0.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._server.ready = ready
        chores = asyncio.create_task(self._housekeeping(), name="sandbox-chores")
        try:
            await self._server.serve(sockets=[listening])
        finally:
            chores.cancel()
            self._store.close()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    async def _housekeeping(self) -> None:
        while True:
            self.application.exchange.close_idle()
            if self.application.exchange.connections:
                self.application.last_call = time.monotonic()
            elif self._retiring:
                self.stop()
            alone = time.monotonic() - self.application.last_call
            if self._idle_exit is not None and alone >= self._idle_exit:
                self.stop()
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
