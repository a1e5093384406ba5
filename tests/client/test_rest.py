"""REST calls: which of them are repeated, and which errors the others raise."""

import asyncio
import contextlib
import socketserver
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import imkit
from imkit.client.http import REQUEST_SECONDS
from imkit.client.rate_limit import MAX_ATTEMPTS, RateBucket
from imkit.client.rest import Rest
from imkit.portal import portal
from tests.client.rest_stand_in import make_rest, rest_at
from tests.stand_ins import Answer, Asked, HttpStandIn, http_stand_in

T = TypeVar("T")
HTML_502 = Answer(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
OK = Answer(200, {"data": "fine"})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make the waits between attempts short, and return a list that notes them."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def short(seconds: float, result: object = None) -> object:
        if seconds > 0.001:
            waits.append(seconds)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", short)
    return waits


def call(work: Coroutine[Any, Any, T]) -> T:
    return portal().call(work)


@contextlib.contextmanager
def talk(
    answer: Callable[[Asked], Answer] | list[Answer], seconds: float = REQUEST_SECONDS
) -> Iterator[tuple[Rest, HttpStandIn]]:
    """Give a `Rest` and its server, which gives these answers in order and repeats the last one."""
    answers = list(answer) if isinstance(answer, list) else []

    def scripted(asked: Asked) -> Answer:
        if callable(answer):
            return answer(asked)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with rest_at(scripted, seconds) as both:
        yield both


# --------------------------------------------------------------------- requests


def test_a_request_has_the_headers_that_the_service_wants() -> None:
    async def token(_refused: str | None) -> str:
        return "t0ken"

    with talk([OK]) as (rest, server):
        rest.credential = token
        assert call(rest.request("PUT", "thread", "42", params={"resource": "r"}, body={"name": "茶"})) == OK.body
        asked = server.asked[0]
    assert (asked.method, asked.target) == ("PUT", "/org/app/thread/42?resource=r")
    assert asked.json == {"name": "茶"}
    assert asked.headers["authorization"] == "Bearer t0ken"
    assert asked.headers["content-type"] == "application/json"


def test_each_part_of_a_path_is_quoted() -> None:
    with talk([OK]) as (rest, server):
        call(rest.get("users", "a/b?c#d e%f", "joined_chatgroups"))
        assert server.asked[0].target == "/org/app/users/a%2Fb%3Fc%23d%20e%25f/joined_chatgroups"


@pytest.mark.parametrize("part", ["..", ".", ""])
def test_a_part_of_a_path_cannot_lead_to_another_path(part: str) -> None:
    with talk([OK]) as (rest, server):
        with pytest.raises(imkit.InvalidMessage, match="not a valid path"):
            call(rest.request("DELETE", "thread", "42", "users", part))
        assert server.asked == []


def test_a_redirect_is_not_followed() -> None:
    with talk([Answer(302, b"", {"Location": "/elsewhere"})]) as (rest, server):
        with pytest.raises(imkit.ProtocolError, match="not a JSON object"):
            call(rest.get("thread", "42"))
        assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'"text"', b"null", b"\xff\xfe", b"[" * 100_000])
def test_success_without_a_json_object_is_a_protocol_error(body: bytes) -> None:
    with talk([Answer(200, body)]) as (rest, _), pytest.raises(imkit.ProtocolError, match="HTTP 200") as caught:
        call(rest.get("thread", "42"))
    assert caught.value.status == 200


# ---------------------------------------------------------------------- retries


@pytest.mark.parametrize("busy", [Answer(503, {"error": "busy"}), HTML_502, Answer(504, b""), Answer(cut=True)])
def test_a_repeatable_request_is_repeated(busy: Answer, quick: list[float]) -> None:
    with talk([busy, busy, OK]) as (rest, server):
        assert call(rest.request("POST", "thread", "message", repeatable=True)) == OK.body
        assert len(server.asked) == 3
    assert len(quick) == 2
    assert quick[0] <= 0.2
    assert quick[1] <= 0.4


@pytest.mark.parametrize(
    ("busy", "kind"),
    [
        (Answer(503, {"error": "busy"}), imkit.ServiceBusy),
        (HTML_502, imkit.ServiceBusy),
        (Answer(cut=True), imkit.ConnectionLost),
    ],
)
def test_a_request_that_may_have_been_carried_out_is_not_repeated(busy: Answer, kind: type[imkit.IMError]) -> None:
    with talk([busy, OK]) as (rest, server):
        with pytest.raises(kind) as caught:
            call(rest.request("POST", "thread", body={"name": "tea"}))
        assert len(server.asked) == 1
    assert caught.value.hint
    assert caught.value.reason
    if isinstance(caught.value, imkit.ConnectionLost):
        assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_429_is_repeated_after_the_time_that_it_gives(repeatable: bool, quick: list[float]) -> None:
    limited = Answer(429, {"error": "reach_limit"}, {"Retry-After": "3"})
    with talk([limited, limited, OK]) as (rest, server):
        assert call(rest.request("POST", "thread", repeatable=repeatable)) == OK.body
        assert len(server.asked) == 3
    assert [round(wait, 1) for wait in quick] == [3.0, 3.0]


def test_retries_end(quick: list[float]) -> None:
    for busy, kind in ((Answer(429, {"error": "reach_limit"}), imkit.RateLimited), (HTML_502, imkit.ServiceBusy)):
        with talk([busy]) as (rest, server):
            with pytest.raises(kind):
                call(rest.get("thread", "42"))
            assert len(server.asked) == MAX_ATTEMPTS


def test_a_long_retry_after_is_an_error(quick: list[float]) -> None:
    with talk([Answer(429, {"error": "reach_limit"}, {"Retry-After": "3600"}), OK]) as (rest, server):
        with pytest.raises(imkit.RateLimited) as caught:
            call(rest.get("thread", "42"))
        assert len(server.asked) == 1
    assert caught.value.retry_after == 3600
    assert quick == []


@pytest.mark.parametrize("told", ["soon", "-1", "nan", "inf", "Wed, 21 Oct 2026 07:28:00 GMT", ""])
def test_a_retry_after_that_is_not_a_number_of_seconds_is_ignored(told: str, quick: list[float]) -> None:
    with talk([Answer(429, {"error": "reach_limit"}, {"Retry-After": told}), OK]) as (rest, _):
        assert call(rest.get("thread", "42")) == OK.body
    assert len(quick) == 1
    assert quick[0] <= 0.2


def test_a_service_that_does_not_run() -> None:
    with http_stand_in(lambda _: OK) as gone:
        url = gone.url

    async def ask() -> dict[str, Any]:
        return await Rest(url, "org#app", RateBucket(None)).request("POST", "thread")

    with pytest.raises(imkit.ConnectionLost) as caught:
        call(ask())
    assert caught.value.outcome == "not sent"
    assert "rest_url" in caught.value.hint


def test_no_answer_in_time() -> None:
    over = threading.Event()

    def never(_: Asked) -> Answer:
        over.wait(10)
        return OK

    with talk(never, seconds=0.05) as (rest, server):
        with pytest.raises(imkit.TimedOut, match="POST /thread"):
            call(rest.request("POST", "thread"))
        assert len(server.asked) == 1
        over.set()


def test_after_the_end_of_the_session_no_request_is_sent() -> None:
    async def told(sent: int) -> None:
        raise AssertionError("nothing is sent")

    with talk([OK]) as (rest, server):
        call(rest.close())
        with pytest.raises(imkit.SessionClosed):
            call(rest.get("thread", "42"))
        with pytest.raises(imkit.SessionClosed):
            call(rest.upload("42", b"data", "name", told))
        with pytest.raises(imkit.SessionClosed):
            call(anext(rest.download("/org/app/chatfiles/1", "")))
        assert server.asked == []


# ----------------------------------------------------------------------- tokens


def test_after_a_refused_token_a_new_one_is_fetched_once() -> None:
    given: list[str | None] = []

    async def token(refused: str | None) -> str:
        given.append(refused)
        return f"t{len(given)}"

    expired = Answer(401, {"error": "unauthorized", "error_description": "… expired access token"})
    with talk(lambda asked: OK if asked.headers["authorization"] == "Bearer t2" else expired) as (rest, server):
        rest.credential = token
        assert call(rest.request("POST", "thread")) == OK.body
        assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer t1", "Bearer t2"]
    assert given == [None, "t1"]
    with talk([expired]) as (rest, server):
        rest.credential = token
        with pytest.raises(imkit.TokenExpired):
            call(rest.request("POST", "thread"))
        assert len(server.asked) == 2


# -------------------------------------------------------------------- downloads


def test_a_download_that_breaks_is_not_repeated() -> None:
    asked: list[bytes] = []

    class Broken(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(65_536))
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70_000)

    async def read(rest: Rest) -> None:
        async for chunk, total in rest.download("/org/app/chatfiles/1", "secret"):
            came.append(len(chunk))
            assert total == 100_000

    came: list[int] = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        rest = call(make_rest(f"http://127.0.0.1:{server.server_address[1]}"))
        with pytest.raises(imkit.ConnectionLost):
            call(read(rest))
        call(rest.close())
        server.shutdown()
    assert sum(came) >= 65_536
    assert len(asked) == 1
