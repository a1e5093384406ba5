"""App keys and URLs are checked before any request."""

from pathlib import Path
from typing import Any

import pytest

import imkit


@pytest.mark.parametrize(
    "key", ["", "org", "#", "org#", "#app", "a#b#c", "org app#x", "org#a/b", "o?#a", None, 7, b"a#b"]
)
def test_a_malformed_app_key(key: Any) -> None:
    with pytest.raises(imkit.InvalidMessage, match="not an app key") as caught:
        imkit.App(key)
    assert "org#app" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a1.easemob.com",
        "ftp://host",
        "ws://host",
        "https://",
        "http://host:99999",
        "http://host:0",
        "http://[::1",
        "http://a b",
        "http://höst",
        "http://host\n",
        7,
        b"http://host",
    ],
)
def test_a_malformed_url(url: Any) -> None:
    with pytest.raises(imkit.InvalidMessage, match="URL"):
        imkit.App("org#app", rest_url=url)
    with pytest.raises(imkit.InvalidMessage, match="URL"):
        imkit.App("org#app", ws_url="http://host" if url == "ws://host" else url)


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(imkit.InvalidMessage) as caught:
        imkit.App("org#app", rest_url="https://me:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_must_be_above_zero(limit: float) -> None:
    with pytest.raises(imkit.InvalidMessage, match="max_requests_per_second"):
        imkit.App("org#app", max_requests_per_second=limit)


def test_apps_are_equal_by_key_and_urls() -> None:
    one = imkit.App("org#app", rest_url="https://host/", ws_url="wss://host/websocket")
    same = imkit.App("org#app", rest_url="https://host", ws_url="wss://host/websocket")
    assert one == same
    assert len({one, same, imkit.App("org#app")}) == 2
    assert one != "org#app"
    assert repr(one) == "<App org#app, https://host>"
    assert repr(imkit.App("org#app")) == "<App org#app, hosts discovered>"


def test_from_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(imkit.InvalidMessage, match="IMKIT_APP_KEY is not set"):
        imkit.App.from_env()
    (tmp_path / ".env").write_text("IMKIT_APP_KEY=file#app\nIMKIT_REST_URL=https://file\n")
    (tmp_path / ".env").chmod(0o600)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)  # found in a folder above
    monkeypatch.setenv("IMKIT_WS_URL", "wss://env/websocket")
    assert imkit.App.from_env() == imkit.App("file#app", rest_url="https://file")
    monkeypatch.setenv("IMKIT_APP_KEY", "env#app")
    assert imkit.App.from_env() == imkit.App("env#app", ws_url="wss://env/websocket")
    monkeypatch.setenv("IMKIT_APP_KEY", "no key")
    with pytest.raises(imkit.InvalidMessage, match="not an app key"):
        imkit.App.from_env()
