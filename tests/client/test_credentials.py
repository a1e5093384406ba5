"""Credentials: a password, a token, or a function that fetches tokens; and renewal after a refusal."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import imkit
from imkit.client.credentials import Credentials, app_server_token
from imkit.client.rate_limit import RateBucket
from imkit.client.rest import Rest
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.stand_ins import Answer, http_stand_in, register

_made: list[Rest] = []


@pytest.fixture(autouse=True)
def close_made() -> Iterator[None]:
    yield
    while _made:
        portal().call(_made.pop().close())


def made(url: str = "http://127.0.0.1:9", **credential: Any) -> Credentials:
    app = imkit.App("org#app", rest_url=url, ws_url="ws://127.0.0.1:9")

    async def make() -> Credentials:
        _made.append(Rest(url, "org#app", RateBucket(None)))
        return Credentials("alice", app, _made[-1], **credential)

    return portal().call(make())


def token(credentials: Credentials, refused: str | None = None) -> str:
    return portal().call(credentials.token(refused))


def test_a_real_app_needs_a_credential() -> None:
    with pytest.raises(imkit.AuthError, match="no credential for alice at org#app") as caught:
        made()
    assert "password" in caught.value.hint


@pytest.mark.parametrize(
    "credential",
    [
        {"password": "p", "token": "t"},
        {"password": 7},
        {"token": 7},
        {"password": b"p"},
        {"token": b"t"},
        {"token": []},
    ],
)
def test_credentials_of_a_wrong_type(credential: dict[str, Any]) -> None:
    with pytest.raises(imkit.InvalidMessage):
        made(**credential)


def test_a_token_string_cannot_be_renewed() -> None:
    credentials = made(token="t0ken")
    assert token(credentials) == "t0ken"
    assert not credentials.renewable
    with pytest.raises(imkit.TokenExpired) as caught:
        token(credentials, "t0ken")
    assert "app server" in caught.value.hint


def test_the_function_is_called_without_a_token_and_after_a_refusal() -> None:
    threads: list[str] = []

    def fetch() -> str:
        threads.append(threading.current_thread().name)
        return f"t{len(threads)}"

    credentials = made(token=fetch)
    assert [token(credentials), token(credentials), token(credentials, "t1"), token(credentials)] == [
        "t1",
        "t1",
        "t2",
        "t2",
    ]
    assert set(threads) == {"imkit-token-alice"}


def test_an_async_function_is_awaited() -> None:
    async def fetch() -> str:
        await asyncio.sleep(0)
        return "t0ken"

    assert token(made(token=fetch)) == "t0ken"


def test_two_refused_callers_fetch_one_new_token() -> None:
    fetched: list[str] = []

    async def fetch() -> str:
        await asyncio.sleep(0)
        fetched.append("t")
        return f"t{len(fetched)}"

    credentials = made(token=fetch)

    async def both() -> list[str]:
        first = await credentials.token()
        return list(await asyncio.gather(credentials.token(first), credentials.token(first)))

    assert portal().call(both()) == ["t2", "t2"]


@pytest.mark.parametrize("found", [None, 7, "", b"t0ken", {"token": "t"}, "half\nheader", "töken"])
def test_a_function_that_returns_no_token(found: Any) -> None:
    with pytest.raises(imkit.AuthError, match="expected a token for alice") as caught:
        token(made(token=lambda: found))
    assert "function" in caught.value.hint


@pytest.mark.parametrize("error", [KeyError("access_token"), ConnectionError("down"), SystemExit(1)])
def test_a_function_that_raises(error: BaseException) -> None:
    def fetch() -> str:
        raise error

    with pytest.raises(imkit.AuthError, match="the function that fetches tokens for alice failed") as caught:
        token(made(token=fetch))
    assert caught.value.__cause__ is not None


def test_a_password_gets_a_token_as_in_the_official_sdk() -> None:
    with http_stand_in(lambda _: Answer(200, {"access_token": "t0ken", "expires_in": 60})) as server:
        credentials = made(server.url, password="hunter2")
        assert token(credentials) == "t0ken"
        portal().call(credentials._rest.close())
        asked = server.asked[0]
    assert asked.path == "/org/app/token"
    assert "authorization" not in asked.headers
    body = asked.json
    assert isinstance(body.pop("timestamp"), int)
    assert body == {"grant_type": "password", "username": "alice", "password": "hunter2"}


def test_a_wrong_password(sandbox: Sandbox) -> None:
    register(sandbox, "wrong-password", "right")
    app = imkit.App(sandbox.app_key, rest_url=sandbox.rest_url, ws_url=sandbox.ws_url)
    for user in ("wrong-password", "nobody-of-this-name"):
        with pytest.raises(imkit.AuthError) as caught:
            imkit.login(user, app=app, password="hunter2")
        assert caught.value.reason
        assert caught.value.hint
        assert "hunter2" not in str(caught.value)
    with imkit.login("wrong-password", app=app, password="right") as session:
        assert session.connected


@pytest.mark.parametrize(
    "url", ["", "tea", "ftp://host/t", "http://", "http://me:pw@host/", "http://127.0.0.1:abc/", "http://[::1"]
)
def test_an_app_server_needs_an_http_url_and_no_error_repeats_it(url: str) -> None:
    with pytest.raises(imkit.InvalidMessage, match="not an http URL") as caught:
        portal().call(app_server_token(url, "alice"))
    assert "abc" not in str(caught.value)
    assert "pw" not in str(caught.value)
