"""A sandbox's server in a thread of the tests, with limits small enough to reach. Its sockets are real."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

from imkit.sandbox.limits import Limits
from imkit.sandbox.options import Options
from imkit.sandbox.server import server as server_module
from imkit.sandbox.server.server import Server, listen
from tests.sandbox.server.raw_client import NO_TLS, WAIT, close_everything


class Served:
    """The server, and its address as `raw_client` wants it."""

    def __init__(self, options: Options, path: Path | None) -> None:
        self.server = Server(options, path)
        self.listening = listen("127.0.0.1", 0)
        self.port: int = self.listening.getsockname()[1]
        self.app_key = options.app_key
        self.secret = options.secret
        self.rest_url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/websocket"
        self.store = self.server.application.backend.store

    @property
    def connections(self) -> int:
        return len(self.server._server.server_state.connections)

    @property
    def unsent_bytes(self) -> int:
        """The bytes that wait in the server for clients to take them."""
        connections = list(self.server._server.server_state.connections)
        return sum(each.transport.get_write_buffer_size() for each in connections)

    def health(self) -> httpx.Response:
        return httpx.get(f"{self.rest_url}/imkit/health", timeout=WAIT, trust_env=False, verify=NO_TLS)


@contextmanager
def served(path: Path | None = None, *, options: dict[str, Any] | None = None, **limits: Any) -> Iterator[Served]:
    """Run a server with these limits until the end of the block."""
    settings = Options(limits=replace(Limits(), **limits), open_registration=True, **(options or {}))
    ready = threading.Event()
    with mock.patch.object(server_module, "_HOUSEKEEPING_SECONDS", 0.02):
        running = Served(settings, path)
        thread = threading.Thread(target=lambda: asyncio.run(running.server.serve([running.listening], ready.set)))
        thread.start()
        try:
            assert ready.wait(WAIT)
            yield running
        finally:
            close_everything()
            running.server.stop()
            thread.join(WAIT)
            running.listening.close()
            assert not thread.is_alive()
