"""REST: discovery, retries, rate limits, and what the service's refusals mean."""

import asyncio
import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import imkit
from imkit.client import rest as rest_module
from imkit.client.rate_limit import MAX_ATTEMPTS, RateBucket
from imkit.client.rest import Hosts, Rest, discover, is_loopback
from imkit.client.rest_errors import refusal
from imkit.portal import portal
from tests.stand_ins import Answer, Asked, HttpStandIn, http_stand_in

T = TypeVar("T")
HTML_502 = Answer(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
OK = Answer(200, {"data": "fine"})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between attempts, noted and cut short."""
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


async def _made(url: str) -> Rest:
    return Rest(url, "org#app", RateBucket(None))


@contextlib.contextmanager
def talk(answer: Callable[[Asked], Answer] | list[Answer]) -> Iterator[tuple[Rest, HttpStandIn]]:
    """A `Rest` and the server it talks to, which says these answers one after another, the last one again and again."""
    answers = list(answer) if isinstance(answer, list) else []

    def scripted(asked: Asked) -> Answer:
        if callable(answer):
            return answer(asked)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    with http_stand_in(scripted) as server:
        rest = call(_made(server.url))
        try:
            yield rest, server
        finally:
            call(rest.close())


# --------------------------------------------------------------------- requests


def test_a_request_as_the_service_wants_it() -> None:
    async def token(_refused: bool) -> str:
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
def test_no_part_of_a_path_leads_elsewhere(part: str) -> None:
    with talk([OK]) as (rest, server):
        with pytest.raises(imkit.InvalidMessage, match="leads elsewhere"):
            call(rest.request("DELETE", "thread", "42", "users", part))
        assert server.asked == []


def test_a_redirect_is_not_followed() -> None:
    with talk([Answer(302, b"", {"Location": "/elsewhere"})]) as (rest, server):
        with pytest.raises(imkit.ProtocolError, match="no JSON"):
            call(rest.get("thread", "42"))
        assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'"text"', b"null", b"\xff\xfe", b"[" * 100_000])
def test_success_without_a_json_object_is_a_protocol_error(body: bytes) -> None:
    with talk([Answer(200, body)]) as (rest, _), pytest.raises(imkit.ProtocolError, match="HTTP 200") as caught:
        call(rest.get("thread", "42"))
    assert caught.value.status == 200


# ---------------------------------------------------------------------- retries


@pytest.mark.parametrize("busy", [Answer(503, {"error": "busy"}), HTML_502, Answer(504, b""), Answer(cut=True)])
def test_what_does_no_harm_twice_is_repeated(busy: Answer, quick: list[float]) -> None:
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
def test_what_may_have_been_carried_out_is_not_repeated(busy: Answer, kind: type[imkit.IMError]) -> None:
    with talk([busy, OK]) as (rest, server):
        with pytest.raises(kind) as caught:
            call(rest.request("POST", "thread", body={"name": "tea"}))
        assert len(server.asked) == 1
    assert caught.value.hint
    assert caught.value.reason
    if isinstance(caught.value, imkit.ConnectionLost):
        assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("repeatable", [True, False])
def test_what_was_refused_unseen_is_repeated_after_the_time_told(repeatable: bool, quick: list[float]) -> None:
    limited = Answer(429, {"error": "reach_limit"}, {"Retry-After": "3"})
    with talk([limited, limited, OK]) as (rest, server):
        assert call(rest.request("POST", "thread", repeatable=repeatable)) == OK.body
        assert len(server.asked) == 3
    assert [round(wait, 1) for wait in quick] == [3.0, 3.0]


def test_retrying_ends(quick: list[float]) -> None:
    for busy, kind in ((Answer(429, {"error": "reach_limit"}), imkit.RateLimited), (HTML_502, imkit.ServiceBusy)):
        with talk([busy]) as (rest, server):
            with pytest.raises(kind):
                call(rest.get("thread", "42"))
            assert len(server.asked) == MAX_ATTEMPTS


def test_a_long_wait_is_left_to_the_caller(quick: list[float]) -> None:
    with talk([Answer(429, {"error": "reach_limit"}, {"Retry-After": "3600"}), OK]) as (rest, server):
        with pytest.raises(imkit.RateLimited) as caught:
            call(rest.get("thread", "42"))
        assert len(server.asked) == 1
    assert caught.value.retry_after == 3600
    assert quick == []


@pytest.mark.parametrize("told", ["soon", "-1", "nan", "inf", "Wed, 21 Oct 2026 07:28:00 GMT", ""])
def test_a_retry_after_that_is_no_number_of_seconds_is_passed_over(told: str, quick: list[float]) -> None:
    with talk([Answer(429, {"error": "reach_limit"}, {"Retry-After": told}), OK]) as (rest, _):
        assert call(rest.get("thread", "42")) == OK.body
    assert len(quick) == 1
    assert quick[0] <= 0.2


def test_a_service_that_is_not_there() -> None:
    with http_stand_in(lambda _: OK) as gone:
        url = gone.url

    async def ask() -> dict[str, Any]:
        return await Rest(url, "org#app", RateBucket(None)).request("POST", "thread")

    with pytest.raises(imkit.ConnectionLost) as caught:
        call(ask())
    assert caught.value.outcome == "not sent"
    assert "rest_url" in caught.value.hint


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "REQUEST_SECONDS", 0.05)
    over = threading.Event()

    def never(_: Asked) -> Answer:
        over.wait(10)
        return OK

    with talk(never) as (rest, server):
        with pytest.raises(imkit.TimedOut, match="POST /thread"):
            call(rest.request("POST", "thread"))
        assert len(server.asked) == 1
        over.set()


def test_after_the_end_of_the_session_nothing_is_asked() -> None:
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


def test_a_refused_token_is_fetched_anew_once() -> None:
    given: list[bool] = []

    async def token(refused: bool) -> str:
        given.append(refused)
        return f"t{len(given)}"

    expired = Answer(401, {"error": "unauthorized", "error_description": "… expired access token"})
    with talk(lambda asked: OK if asked.headers["authorization"] == "Bearer t2" else expired) as (rest, server):
        rest.credential = token
        assert call(rest.request("POST", "thread")) == OK.body
        assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer t1", "Bearer t2"]
    assert given == [False, True]
    with talk([expired]) as (rest, server):
        rest.credential = token
        with pytest.raises(imkit.TokenExpired):
            call(rest.request("POST", "thread"))
        assert len(server.asked) == 2


# ----------------------------------------------------------------- the refusals

REFUSALS = [
    # HTTP, error_code, description, the path → our error, the SDK's type (fact sheet section 12)
    (400, 40002, "", "thread", imkit.AlreadyExists, 1301),
    (400, 40009, "", "thread", imkit.Unsupported, 53),
    (401, 40001, "", "thread", imkit.Forbidden, 52),
    (403, 40000, "", "thread", imkit.ServiceNotEnabled, 505),
    (403, 40003, "", "thread", imkit.AlreadyExists, 1301),
    (403, 40004, "", "thread", imkit.AlreadyExists, 1301),
    (403, 40005, "", "thread", imkit.LimitReached, 50),
    (403, 40007, "", "thread", imkit.LimitReached, 50),
    (403, None, "group is disabled", "chatgroups", imkit.GroupDisabled, 608),
    (403, None, "forbidden", "chatgroups", imkit.Forbidden, 603),
    (404, 40011, "", "thread", imkit.ThreadNotFound, 1300),
    (404, 40012, "", "thread", imkit.Forbidden, 52),
    (404, None, "do not find this group", "chatgroups", imkit.GroupNotFound, 605),
    (404, None, "grpID 7 does not exist!", "chatgroups", imkit.GroupNotFound, 605),
    (404, None, "grpID 7 does not exist!", "chatrooms", imkit.NotFound, 705),
    (429, None, "This request has reached api limit", "thread", imkit.RateLimited, 500),
    (503, None, "", "thread", imkit.ServiceBusy, 500),
    (429, None, "The request has reached the maximum limit", "thread", imkit.LimitReached, 50),
    (500, 40006, "", "thread", imkit.IMError, 503),
    (500, 40008, "", "thread", imkit.IMError, 503),
    (500, 40010, "", "thread", imkit.IMError, 503),
    (418, None, "a teapot", "thread", imkit.IMError, 17),
    # and what the documents add
    (400, None, "invalid username or password", "token", imkit.AuthError, 1),
    (401, None, "Unable to authenticate due to corrupt access token", "thread", imkit.AuthError, 2),
    (401, None, "Unable to authenticate due to expired access token", "thread", imkit.TokenExpired, 56),
    (413, None, "", "thread", imkit.TooLarge, 511),
    (400, None, "username be unique", "users", imkit.AlreadyExists, 1301),
]


@pytest.mark.parametrize(("status", "error_code", "text", "path", "kind", "code"), REFUSALS)
def test_a_refusal(
    status: int, error_code: int | None, text: str, path: str, kind: type[imkit.IMError], code: int
) -> None:
    error = "invalid_grant" if path == "token" else "unauthorized" if status == 401 else "refused"
    body = {"error": error, "error_description": text, **({"error_code": error_code} if error_code else {})}
    found = refusal("GET /x", status, body, (path, "7"))
    assert type(found) is kind
    assert (found.code, found.status) == (code, status)
    assert found.reason == (text or error)
    assert str(found).startswith("GET /x was refused")


@pytest.mark.parametrize(
    "body",
    [{}, {"error_code": "40011"}, {"error_code": True}, {"error": None}, {"error_description": ["list"]}, {"error": 5}],
)
def test_odd_refusals_are_errors_all_the_same(body: dict[str, Any]) -> None:
    for status in (200, 201, 400, 401, 403, 404, 413, 429, 500, 503):
        assert isinstance(refusal("GET /x", status, body), imkit.IMError)


# -------------------------------------------------------------------- discovery


def hosts(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"rest": {"hosts": list(entries)}, "msync-wx": {"hosts": list(entries)}}


PLAIN = {"protocol": "http", "domain": "127.0.0.1", "ip": "10.0.0.1", "port": 8080}
SECURE = {"protocol": "https", "domain": "a1.example.org", "ip": "10.0.0.1", "port": ""}


def test_discovery_asks_as_the_official_sdk_does() -> None:
    with http_stand_in(lambda _: Answer(200, hosts(SECURE, PLAIN))) as server:
        found = call(discover("org#app", (f"{server.url}/easemob/server.json",)))
        assert server.asked[0].target == "/easemob/server.json?app_key=org%23app"
    assert found == Hosts("http://127.0.0.1:8080", "ws://127.0.0.1:8080/websocket")


def test_a_host_without_a_name_goes_by_its_ip() -> None:
    with http_stand_in(lambda _: Answer(200, hosts({"protocol": "http", "ip": "10.0.0.1"}))) as server:
        assert call(discover("org#app", (server.url,))) == Hosts("http://10.0.0.1", "ws://10.0.0.1/websocket")


def test_discovery_asks_the_next_place() -> None:
    bad = [
        Answer(500, {}),
        HTML_502,
        Answer(200, b"\xff garbage"),
        Answer(200, [1, 2]),
        Answer(200, {"rest": None}),
        Answer(200, hosts()),
        Answer(200, hosts(SECURE)),  # https hosts only, told over http: nothing is taken across schemes
        Answer(200, hosts({**PLAIN, "domain": "evil.org/path?"})),
        Answer(200, hosts({**PLAIN, "domain": "user@evil.org"})),
        Answer(200, hosts({**PLAIN, "domain": "evil\n.org"})),
        Answer(200, hosts({**PLAIN, "port": "no"})),
        Answer(200, hosts({**PLAIN, "port": 99999})),
        Answer(200, {"rest": {"hosts": [None]}, "msync-wx": {}}),
        Answer(cut=True),
    ]
    answers = [*bad, Answer(200, hosts(PLAIN))]
    with http_stand_in(lambda _: answers.pop(0)) as server:
        found = call(discover("org#app", (server.url,) * (len(bad) + 1)))
        assert len(server.asked) == len(bad) + 1
    assert found.rest_url == "http://127.0.0.1:8080"


def test_discovery_that_finds_nothing_says_what_each_place_did() -> None:
    with http_stand_in(lambda _: Answer(500, {})) as server, http_stand_in(lambda _: HTML_502) as other:
        gone = other.url
        other.close()
        with pytest.raises(imkit.ConnectionLost) as caught:
            call(discover("org#app", (server.url, gone)))
    assert caught.value.outcome == "not sent"
    assert f"{server.url}: HTTP 500" in caught.value.reason
    assert gone in caught.value.reason
    assert "rest_url" in caught.value.hint


def test_an_app_without_urls_is_discovered(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_stand_in(lambda _: Answer(200, hosts(PLAIN))) as server:
        monkeypatch.setattr(discover, "__defaults__", ((server.url,),))
        assert call(imkit.App("org#app").hosts()) == Hosts("http://127.0.0.1:8080", "ws://127.0.0.1:8080/websocket")
        own = imkit.App("org#app", ws_url="ws://own/websocket")
        assert call(own.hosts()) == Hosts("http://127.0.0.1:8080", "ws://own/websocket")
        both = imkit.App("org#app", rest_url="https://own/", ws_url="ws://own/websocket")
        assert call(both.hosts()) == Hosts("https://own", "ws://own/websocket")
        assert len(server.asked) == 2


def test_loopback() -> None:
    assert all(is_loopback(url) for url in ("http://127.0.0.1:8", "ws://localhost/x", "http://[::1]:80"))
    assert not is_loopback("https://a1.easemob.com")
    assert not is_loopback("http://127.0.0.1.example.org")


def test_every_error_prints_as_one_line() -> None:
    hostile = json.dumps({"error": "x", "error_description": "a\x1b[2J\nb‮"})
    assert str(refusal("GET /x", 400, json.loads(hostile))).isprintable()


def test_a_download_that_breaks_off_is_not_begun_again() -> None:
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
        rest = call(_made(f"http://127.0.0.1:{server.server_address[1]}"))
        with pytest.raises(imkit.ConnectionLost):
            call(read(rest))
        call(rest.close())
        server.shutdown()
    assert sum(came) >= 65_536
    assert len(asked) == 1
