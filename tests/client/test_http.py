"""HTTP: answers are bounded, and closing leaves no connection open."""

import asyncio
import threading

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
    assert caught.value.kind == "no connection"
