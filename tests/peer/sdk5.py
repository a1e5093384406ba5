"""The official SDK 5 in Chromium, controlled from Python.

The SDK has one client in each page. So a `Sdk5Device` is a page, in a browser context of its own, as if each were on
another machine. The pages come from a small server, so their origin is not the sandbox's, as in a real application.
"""

import asyncio
import base64
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Page, Route, async_playwright

from tests.browser import chromium
from tests.file_server import FileServer
from tests.peer.node import HERE, ready
from tests.peer.peer import WAIT_SECONDS, Device, SdkError
from tests.sandbox.server.raw_client import Server

R = TypeVar("R")


class Sdk5:
    """A Chromium, and the thread that controls it. Its face is that of `Peer`."""

    build = "5.1.2"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sdk5", daemon=True)
        self.unhandled: list[str] = []  # errors that nobody handles, inside the SDK
        self.outside: list[str] = []  # URLs outside this machine that a page requested; all were refused
        self._devices: dict[str, Sdk5Device] = {}
        self._held = ExitStack()

    def __enter__(self) -> Self:
        ready()
        self._files = self._held.enter_context(FileServer(HERE))
        self._thread.start()
        self.run(self._launch())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        self._held.close()

    @property
    def alive(self) -> bool:
        return self._browser.is_connected()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the browser's thread and return its result."""
        return self.begin(work).result(3 * WAIT_SECONDS)

    def begin(self, work: Coroutine[Any, Any, R]) -> "Future[R]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _launch(self) -> None:
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=chromium.find(), args=chromium.ARGUMENTS)

    async def _end(self) -> None:
        await self._browser.close()
        await self._playwright.stop()

    def device(self, app: Server, *, ws_url: str | None = None, **config: Any) -> "Sdk5Device":
        """Return a client that is not logged in, in a new page.

        Its socket leads to `ws_url`, else to the server itself. `config` goes to the SDK's `init`.
        """
        named = {"appKey": app.app_key, "restUrl": app.rest_url, "wsUrl": ws_url or app.ws_url, "config": config}
        device = Sdk5Device(self, f"page{len(self._devices) + 1}", named)
        self._devices[device.name] = device
        device.context = self.run(self._open_context())
        device.show()
        return device

    def start(self, device: str, what: str, *args: Any) -> "Future[Any]":
        return self.begin(self._devices[device].run(what, args))

    async def _open_context(self) -> BrowserContext:
        context = await self._browser.new_context()

        async def refuse(route: Route) -> None:
            self.outside.append(route.request.url)
            await route.abort()

        await context.route(lambda url: urlsplit(url).hostname != "127.0.0.1", refuse)
        return context

    async def open_page(self, context: BrowserContext, device: "Sdk5Device") -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: self.unhandled.append(str(error)))
        await page.expose_function("tell", lambda event, data: device.heard(event, json.loads(data)))
        await page.goto(f"{self._files.url}/uikit.html?sdk5.mjs")
        # Scripts of a page run before it counts as loaded.
        assert await page.evaluate("() => Boolean(globalThis.driver)"), self.unhandled
        return page


class Sdk5Device(Device):
    """One client of SDK 5: its calls and its events."""

    context: BrowserContext

    def __init__(self, peer: Sdk5, name: str, init: dict[str, Any]) -> None:
        super().__init__(peer, name)
        self._browser = peer
        self._init = init
        self._page: Page | None = None

    def show(self) -> None:
        """Open the page, with a client that is not logged in; what the browser stored is there again."""
        self._page = self._browser.run(self._browser.open_page(self.context, self))
        self.call("init", self._init)

    def leave(self) -> None:
        """Close the page, as a user does: nobody logs out."""
        assert self._page is not None
        self._browser.run(self._page.close())
        self._page = None

    async def run(self, what: str, args: tuple[Any, ...]) -> Any:
        assert self._page is not None
        said = json.loads(await self._page.evaluate("([what, args]) => driver.run(what, args)", [what, list(args)]))
        if "error" in said:
            raise SdkError(said["error"])
        return said["ok"]

    def open(self, user: str, **credential: str) -> Any:
        """Log in, with `pwd=` or `accessToken=`; the page itself gets the token for a password."""
        self.user = user
        token = credential.get("accessToken") or self.call("token", user, credential["pwd"])
        self.call("client.login", {"userId": user, "token": token})
        return self.wait("onConnected")

    def close(self) -> None:
        """Log out and wait until the socket is closed."""
        self.clear()
        self.call("client.logout")
        self.wait("onDisconnected")

    def start_send(
        self, to: str, kind: str = "text", *, thread: bool = True, file: bytes | None = None, **options: Any
    ) -> "Future[Any]":
        """Start a send; the Future gets the sent message, with `msgServerId`."""
        message = {"conversationId": to, "conversationType": "groupChat", **options}
        if thread:
            message["isChatThread"] = True
        if file is not None:
            message["base64"] = base64.b64encode(file).decode()
        return self.start("send", kind, message)

    def send(
        self, to: str, kind: str = "text", *, thread: bool = True, file: bytes | None = None, **options: Any
    ) -> Any:
        return self.start_send(to, kind, thread=thread, file=file, **options).result(WAIT_SECONDS)

    def download(self, message: dict[str, Any]) -> bytes:
        return base64.b64decode(self.call("download", message))
