"""Discovery: hosts are found as the official SDK finds them, and malformed answers are refused."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

import imkit
from imkit.client import discovery
from imkit.client.discovery import Hosts, discover
from imkit.portal import portal
from tests.stand_ins import Answer, http_stand_in

T = TypeVar("T")
HTML_502 = Answer(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})


def call(work: Coroutine[Any, Any, T]) -> T:
    return portal().call(work)


def hosts(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"rest": {"hosts": list(entries)}, "msync-wx": {"hosts": list(entries)}}


PLAIN = {"protocol": "http", "domain": "127.0.0.1", "ip": "10.0.0.1", "port": 8080}
SECURE = {"protocol": "https", "domain": "a1.example.org", "ip": "10.0.0.1", "port": ""}


def test_discovery_asks_as_the_official_sdk_does() -> None:
    with http_stand_in(lambda _: Answer(200, hosts(SECURE, PLAIN))) as server:
        found = call(discover("org#app", (f"{server.url}/easemob/server.json",)))
        assert server.asked[0].target == "/easemob/server.json?app_key=org%23app"
    assert found == Hosts("http://127.0.0.1:8080", "ws://127.0.0.1:8080/websocket")


def test_a_host_without_a_name_is_used_by_its_ip() -> None:
    with http_stand_in(lambda _: Answer(200, hosts({"protocol": "http", "ip": "10.0.0.1"}))) as server:
        assert call(discover("org#app", (server.url,))) == Hosts("http://10.0.0.1", "ws://10.0.0.1/websocket")


def test_discovery_asks_the_next_source() -> None:
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


def test_a_failed_discovery_says_what_each_source_did() -> None:
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
        monkeypatch.setattr(discovery, "SOURCES", (server.url,))
        assert call(imkit.App("org#app").hosts()) == Hosts("http://127.0.0.1:8080", "ws://127.0.0.1:8080/websocket")
        own = imkit.App("org#app", ws_url="wss://own/websocket")
        assert call(own.hosts()) == Hosts("http://127.0.0.1:8080", "wss://own/websocket")
        both = imkit.App("org#app", rest_url="https://own/", ws_url="wss://own/websocket")
        assert call(both.hosts()) == Hosts("https://own", "wss://own/websocket")
        assert len(server.asked) == 2
