"""Builds the server from its parts and runs it: REST and WebSocket on one port."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from imkit.sandbox.demo import Demo
from imkit.sandbox.faults import Faults
from imkit.sandbox.options import Options
from imkit.sandbox.server import (
    rest,
    rest_attachments,
    rest_conversations,
    rest_group_members,
    rest_groups,
    rest_history,
    rest_imkit,
    rest_pins,
    rest_reactions,
    rest_receipts,
    rest_reports,
    rest_settings,
    rest_streamed_texts,
    rest_threads,
    rest_user_attributes,
    rest_users,
)
from imkit.sandbox.server.conversations import Conversations
from imkit.sandbox.server.delivery import Delivery
from imkit.sandbox.server.demo.password import password_of_community, replace_fixed_password
from imkit.sandbox.server.device_queues import DeviceQueues
from imkit.sandbox.server.groups import Groups
from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.middleware import Middleware
from imkit.sandbox.server.msync import MsyncServer
from imkit.sandbox.server.pins import Pins
from imkit.sandbox.server.quotas import Quotas
from imkit.sandbox.server.reactions import Reactions
from imkit.sandbox.server.reports import Reports
from imkit.sandbox.server.rest_replies import RestError
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.streamed_texts import StreamedTexts
from imkit.sandbox.server.sync_socket import SyncSocket, WithoutTokens, token_in
from imkit.sandbox.server.tcp_connections import HttpConnection, SocketConnection, sweep
from imkit.sandbox.server.uplink import Uplink
from imkit.sandbox.server.users import Users

logger = logging.getLogger(__name__)

_FRAME_BYTES = 1024 * 1024  # a larger frame closes its socket with 1009 before it is read; a message has 5 KB
_HOUSEKEEPING_SECONDS = 1.0
_WITHOUT_TOKENS = WithoutTokens()


class Application:
    """The ASGI application: WebSockets go to `MsyncServer` or `SyncSocket`, HTTP requests to the routes.

    Args:
        options: the settings.
        store: the data.
        retire: called when a caller who knows the secret asks the server to end.
    """

    def __init__(self, options: Options, store: Store, retire: Callable[[], None] = lambda: None) -> None:
        faults = Faults(options.fail, options.fail_seed)
        users, groups, record = Users(store, options.limits), Groups(store), MessageRecord(store)
        queues, quotas, reactions = DeviceQueues(store), Quotas(options.limits, store), Reactions(store)
        conversations = Conversations(store, queues)
        delivery = Delivery(options, store, groups, record, queues, faults)
        uplink = Uplink(options, store, users, groups, record, queues, delivery, quotas, conversations)
        self.msync = MsyncServer(options, store, users, delivery, uplink, faults)
        self.backend = rest.Backend(
            *(options, store, users, groups, record, delivery, uplink, self.msync, quotas, conversations, reactions),
            pins=Pins(store),
            reports=Reports(store),
            streamed=StreamedTexts(options.limits, store, record, queues, delivery, groups, conversations, uplink),
        )
        self._sync = SyncSocket(options, store, users, groups, record, conversations)
        self.limits = options.limits
        self.routes = [
            # First, because "/imkit/app-server/token" also matches "/{organization}/{application}/token".
            *rest_imkit.routes(self.backend, retire),
            *rest_history.routes(self.backend),
            *rest_reactions.routes(self.backend),
            *rest_receipts.routes(self.backend),
            *rest_threads.routes(self.backend),
            *rest_conversations.routes(self.backend),
            *rest_streamed_texts.routes(self.backend),
            *rest_users.routes(self.backend),
            *rest_groups.routes(self.backend),
            *rest_group_members.routes(self.backend),
            *rest_settings.routes(self.backend),
            *rest_pins.routes(self.backend),
            *rest_reports.routes(self.backend),
            *rest_user_attributes.routes(self.backend),
            *rest_attachments.routes(self.backend),
        ]
        self.last_call = time.monotonic()
        failures = (RestError, HTTPException, sqlite3.Error, Exception)
        rest_app = Starlette(routes=self.routes, exception_handlers=dict.fromkeys(failures, rest.json_error))
        rest_app.router.redirect_slashes = False  # it would lead to whatever the Host header names
        self._rest = Middleware(rest_app, options, faults)

    def give_up_streamed_texts(self) -> None:
        """Give up the streamed texts that do not go on."""
        if self.backend.streamed.count:
            try:
                with self.backend.delivery.unit():
                    self.backend.streamed.give_up_overdue()
            except sqlite3.Error:  # such as a full disk; the other chores must go on
                logger.exception("the store failed")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket or one request."""
        self.last_call = time.monotonic()
        if scope["type"] == "websocket":
            token = token_in(scope)
            if token is None:
                await self.msync.serve(scope, receive, send)
            else:
                await self._sync.serve(token, scope, receive, send)
        elif scope["type"] == "http":
            await self._rest(scope, receive, send)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a port. The caller knows the port before the server runs.

    Args:
        host: the address.
        port: the port; 0 for a free one.

    Raises:
        OSError: the port is in use, or the system does not allow it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be named: asyncio sets TCP_NODELAY only on a socket of that protocol. Without it a reply that
    # is written in two parts waits 40 ms for the client's delayed TCP acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # on Windows this option would let two servers share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError:
        listening.close()
        raise
    return listening


class _AnnouncingServer(uvicorn.Server):
    """Calls `ready` when it accepts connections."""

    ready: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()


class Server:
    """One running sandbox.

    Args:
        options: the settings.
        path: the data file; None keeps everything in memory.
        idle_exit_seconds: end after this time without a connection or a request; None for never.
    """

    def __init__(self, options: Options, path: Path | None, *, idle_exit_seconds: float | None = None) -> None:
        self._store = Store(path, most_bytes=options.limits.store_bytes)
        self._idle_exit = idle_exit_seconds
        self._retiring = False
        self.application = Application(options, self._store, self.retire)
        replace_fixed_password(self._store, self.application.backend.users)
        config = uvicorn.Config(
            self.application,
            loop="asyncio",
            http=HttpConnection,
            ws=SocketConnection,
            ws_max_size=_FRAME_BYTES,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=30,
        )
        self._server = _AnnouncingServer(config)
        logging.getLogger("uvicorn.error").addFilter(_WITHOUT_TOKENS)
        if not logger.isEnabledFor(logging.INFO):
            # They warn of each request that is not HTTP, and of each form that is none.
            for library in ("uvicorn.error", "python_multipart"):
                logging.getLogger(library).setLevel(logging.ERROR)

    def add_demo(self, demo: Demo) -> bool:
        """Write a made-up community into the data, before the server runs.

        Returns:
            False if the data contain one already; nothing is changed then.
        """
        from imkit.sandbox.server.demo.fill import fill  # imports Pillow, which other servers do not need

        backend = self.application.backend
        return fill(self._store, backend.users, backend.record, backend.options.app_key, demo)

    @property
    def demo_password(self) -> str | None:
        """The password of the people of the made-up community; None if the data hold none."""
        return password_of_community(self._store)

    def retire(self) -> None:
        """End when no client is connected."""
        self._retiring = True
        if not self.application.msync.connections:
            self.stop()

    def stop(self) -> None:
        """End now. Sockets are closed with 1012; requests have two seconds to finish."""
        self._server.should_exit = True

    def run(self, listening: Sequence[socket.socket], ready: Callable[[], None]) -> None:
        """Serve until `stop`, SIGINT or SIGTERM. The arguments are those of `serve`."""
        # After it has ended, uvicorn restores these handlers and raises the signal again. They make the exit code 0.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        asyncio.run(self.serve(listening, ready))

    async def serve(self, listening: Sequence[socket.socket], ready: Callable[[], None]) -> None:
        """Serve until `stop`.

        Args:
            listening: sockets from `listen`.
            ready: called when the server accepts connections.
        """
        self._server.ready = ready
        chores = asyncio.create_task(self._housekeeping(), name="sandbox-chores")
        try:
            await self._server.serve(sockets=list(listening))
        finally:
            chores.cancel()
            self._store.close()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    async def _housekeeping(self) -> None:
        while True:
            self.application.msync.close_idle()
            self.application.give_up_streamed_texts()
            sweep(self._server.server_state.connections, self.application.limits, time.monotonic())
            if self.application.msync.connections:
                self.application.last_call = time.monotonic()
            elif self._retiring:
                self.stop()
            alone = time.monotonic() - self.application.last_call
            if self._idle_exit is not None and alone >= self._idle_exit:
                self.stop()
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
