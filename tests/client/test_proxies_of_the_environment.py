"""The environment names a proxy or certificates that cannot be used: a typed error says so, and a session goes on."""

import itertools
import sys

import pytest

import imkit
from imkit.client.discovery import discover
from imkit.portal import portal
from tests.timing import set_timing

APP = imkit.App("org#app", rest_url="https://192.0.2.1", ws_url="wss://192.0.2.1/websocket")
WRONG = [
    ("ALL_PROXY", "socks5://127.0.0.1:9", "SOCKS"),
    ("HTTPS_PROXY", "socks4://127.0.0.1:9", "Unknown scheme"),
    ("HTTPS_PROXY", "http://[::1", "port"),
    ("SSL_CERT_FILE", "/does/not/exist", "No such file"),
]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for package in ("socksio", "python_socks"):  # as where they are not installed
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(("name", "value", "reason"), WRONG)
def test_a_request_says_what_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(imkit.ConnectionLost, match=f"environment names.*{reason}") as caught:
        imkit.login("alice", app=APP, password="pa55")
    assert name in caught.value.hint
    assert caught.value.outcome == "not sent"
    with pytest.raises(imkit.ConnectionLost, match=f"no server could be found.*{reason}"):
        portal().call(discover("org#app"))


def test_a_socket_behind_a_socks_proxy_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    set_timing(monkeypatch, delays=lambda: itertools.repeat(0.01))
    with pytest.raises(imkit.ConnectionLost, match=r"no connection to wss.*python-socks"):
        imkit.login("alice", app=APP, token="t0ken")
