"""HTTP: answers are bounded, and closing leaves no connection open."""

import asyncio
import socketserver
import threading
from collections.abc import AsyncIterator

import pytest

from imkit.client.http import HttpClient, RequestFailed, is_loopback
from imkit.portal import portal
from tests.stand_ins import Answer, Asked, http_stand_in


def test_loopback() -> None:
    assert all(is_loopback(url) for url in ("http://127.0.0.1:8", "ws://localhost/x", "http://[::1]:80"))
    assert not is_loopback("https://a1.easemob.com")
    assert not is_loopback("http://127.0.0.1.example.org")


def test_closing_ends_the_running_requests() -> None:
    arrived, over = threading.Semaphore(0), threading.Event()

    def never(_: Asked) -> Answer:
        arrived.release()
        over.wait(10)
        return Answer(200, {})

    async def main(url: str) -> list[object]:
        http = HttpClient(url)
        asking = [asyncio.create_task(http.request("GET", url)) for _ in range(6)]  # more than one pool takes
        for _ in asking:
            await asyncio.to_thread(arrived.acquire)
        await http.close()
        with pytest.raises(RequestFailed, match="closed"):
            await http.request("GET", url)
        return list(await asyncio.gather(*asking, return_exceptions=True))

    with http_stand_in(never) as server:
        ends = portal().call(main(server.url))
        over.set()
    assert len(ends) == 6
    assert all(isinstance(end, RequestFailed) and end.kind == "closed" for end in ends)


def test_a_malformed_url_is_a_failed_request() -> None:
    async def main() -> None:
        async with HttpClient("http://127.0.0.1") as http:
            await http.request("GET", "http://127.0.0.1/\x01", params={"a": "b"})

    with pytest.raises(RequestFailed) as caught:
        portal().call(main())
    assert caught.value.kind == "not a URL"


def test_two_closes_at_once_both_end() -> None:
    arrived, over = threading.Semaphore(0), threading.Event()

    def never(_: Asked) -> Answer:
        arrived.release()
        over.wait(10)
        return Answer(200, {})

    async def main(url: str, steps: int) -> bool:
        http = HttpClient(url)
        asking = asyncio.create_task(http.request("GET", url))
        await asyncio.to_thread(arrived.acquire)
        first = asyncio.create_task(http.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        await http.close()
        await first
        (end,) = await asyncio.gather(asking, return_exceptions=True)
        return isinstance(end, RequestFailed) and end.kind == "closed"

    with http_stand_in(never) as server:
        ends = [portal().call(main(server.url, steps)) for steps in range(6)]
        over.set()
    assert ends == [True] * 6


def test_a_request_that_closes_its_own_client_ends_without_an_answer() -> None:
    async def main(url: str) -> str:
        http = HttpClient(url)

        async def content() -> AsyncIterator[bytes]:
            await http.close()
            yield b"late"

        with pytest.raises(RequestFailed) as caught:
            await http.request("POST", url, content=content())
        return caught.value.kind

    with http_stand_in(lambda _: Answer(200, {})) as server:
        assert portal().call(main(server.url)) in ("broken", "closed")


def test_a_body_that_stops_says_how_long_it_was_waited_for() -> None:
    class Stalling(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
            over.wait(10)

    async def main(url: str) -> None:
        async with HttpClient(url, seconds=0.1) as http:
            await http.request("GET", url)

    over = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stalling) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with pytest.raises(RequestFailed) as caught:
            portal().call(main(f"http://127.0.0.1:{server.server_address[1]}"))
        over.set()
        server.shutdown()
    assert (caught.value.kind, caught.value.seconds) == ("no answer in time", 0.1)
