"""A `.env` file of a stranger, and plain http: nobody else learns a password or a token."""

import grp
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import imkit
from imkit.client import discovery
from imkit.client.credentials import app_server_token
from imkit.client.environment import settings
from imkit.portal import portal
from tests.stand_ins import Answer, Asked, http_stand_in

KEY = "IMKIT_APP_KEY"
SECRET = "hunter2"


def be_of_another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a file to another user; without the right to do so, become another user in imkit's eyes."""
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    else:
        uid = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)


def own_file(path: Path, text: str = f"{KEY}=stranger#app\nIMKIT_REST_URL=https://stranger\n") -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


# ---------------------------------------------------------------- whose URLs count


def test_urls_without_an_app_key_count_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stranger knows that the environment names the app, and adds only a server."""
    own_file(tmp_path / ".env", "IMKIT_REST_URL=https://stranger\nIMKIT_WS_URL=wss://stranger\n")
    monkeypatch.setenv(KEY, "mine#app")
    assert imkit.App.from_env() == imkit.App("mine#app")


def test_a_password_of_the_environment_is_not_for_the_app_of_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own_file(tmp_path / ".env")
    monkeypatch.setenv("IMKIT_PASSWORD", SECRET)
    assert SECRET not in settings().values()


def test_a_file_reads_no_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_file(tmp_path / ".env", f"{KEY}=stranger#app\nIMKIT_REST_URL=https://stranger/${{CLOUD_SECRET}}\n")
    monkeypatch.setenv("CLOUD_SECRET", SECRET)
    assert SECRET not in repr(imkit.App.from_env().rest_url)


# ---------------------------------------------------------------- which files count


def _of_another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    be_of_another_user(own_file(path), monkeypatch)
    return "another user"


def _a_link_of_another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if os.geteuid() != 0:
        pytest.skip("a link of another user needs root")
    path.symlink_to(own_file(path.parent / "of-another-app"))
    be_of_another_user(path, monkeypatch)
    return "another user"


def be_in_group(name: str, members: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group((name, "x", number, members)))


def _writable_by_a_shared_group(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    own_file(path).chmod(0o620)
    be_in_group("staff", [], monkeypatch)
    return "chmod 600"


def _writable_by_a_group_with_another_member(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    own_file(path).chmod(0o620)
    be_in_group(pwd.getpwuid(os.geteuid()).pw_name, ["mallory"], monkeypatch)
    return "chmod 600"


def _writable_by_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    own_file(path).chmod(0o602)
    return "chmod 600"


def _in_a_folder_of_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    own_file(path)
    path.parent.chmod(0o777)
    return "chmod o-w"


def _endless(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    with own_file(path).open("r+") as file:
        file.truncate(2**40)  # sparse: it takes no space
    return "larger than 64 KiB"


def _a_pipe(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    os.mkfifo(path, 0o600)
    return "no regular file"


FILES: list[Callable[[Path, pytest.MonkeyPatch], str]] = [
    _of_another_user,
    _a_link_of_another_user,
    _writable_by_a_shared_group,
    _writable_by_a_group_with_another_member,
    _writable_by_all,
    _in_a_folder_of_all,
    _endless,
    _a_pipe,
]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no owner")
@pytest.mark.parametrize("make", FILES)
def test_a_file_that_others_may_change_is_passed_over(
    make: Callable[[Path, pytest.MonkeyPatch], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    reason = make(folder / ".env", monkeypatch)
    monkeypatch.chdir(folder)
    assert KEY not in settings()
    assert str(folder / ".env") in caplog.text
    assert reason in caplog.text
    if make is not _of_another_user or os.geteuid() == 0:  # the search goes on above it
        own_file(tmp_path / ".env", f"{KEY}=mine#app\n")
        assert settings()[KEY] == "mine#app"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no owner")
def test_a_file_as_ubuntu_makes_it_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The group of a user alone may write it."""
    own_file(tmp_path / ".env", f"{KEY}=mine#app\n").chmod(0o664)
    be_in_group(pwd.getpwuid(os.geteuid()).pw_name, [], monkeypatch)
    assert settings()[KEY] == "mine#app"


def test_a_file_that_is_replaced_while_it_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was checked is what is read: the stranger swaps the names after the file was opened, or before."""
    good, bad = own_file(tmp_path / "good", f"{KEY}=mine#app\n"), own_file(tmp_path / "bad")
    bad.chmod(0o606)
    real_open = os.open

    def swap_after_open(path: Path, *rest: int) -> int:
        (tmp_path / ".env").unlink(missing_ok=True)
        os.link(bad, tmp_path / ".env")
        descriptor = real_open(path, *rest)
        (tmp_path / ".env").unlink()
        os.link(good, tmp_path / ".env")
        return descriptor

    monkeypatch.setattr(os, "open", swap_after_open)
    assert KEY not in settings()


# ---------------------------------------------------------------- plain http


PLAIN = {"rest_url": "http://192.0.2.1", "ws_url": "wss://192.0.2.1/websocket"}
PLAIN_SOCKET = {"rest_url": "https://192.0.2.1", "ws_url": "ws://192.0.2.1/websocket"}


@pytest.mark.parametrize("urls", [PLAIN, PLAIN_SOCKET])
@pytest.mark.parametrize("credential", ["password", "token"])
def test_no_secret_goes_to_a_plain_server_as_given(urls: dict[str, str], credential: str) -> None:
    with pytest.raises(imkit.InvalidMessage, match="could read a password or a token") as caught:
        imkit.login("alice", app=imkit.App("org#app", **urls), **{credential: SECRET})
    assert "https://" in caught.value.hint
    assert SECRET not in str(caught.value)


def test_no_secret_goes_to_a_plain_server_as_discovered(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"hosts": [{"protocol": "http", "ip": "192.0.2.1", "port": 80}]}
    with http_stand_in(lambda _: Answer(200, {"rest": plain, "msync-wx": plain})) as source:
        monkeypatch.setattr(discovery, "SOURCES", (source.url,))
        with pytest.raises(imkit.InvalidMessage, match=r"192\.0\.2\.1"):
            imkit.login("alice", app=imkit.App("org#app"), password=SECRET)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_carries_no_password(status: int) -> None:
    with http_stand_in(lambda _: Answer(200, {"access_token": "t"})) as thief:

        def elsewhere(asked: Asked) -> Answer:
            return Answer(status, {}, {"Location": f"{thief.url}{asked.target}"})

        with http_stand_in(elsewhere) as server:
            app = imkit.App("org#app", rest_url=server.url, ws_url=server.url.replace("http", "ws"))
            with pytest.raises(imkit.IMError):
                imkit.login("alice", app=app, password=SECRET)
            assert server.asked
        assert not thief.asked


def test_no_token_is_asked_of_a_plain_app_server() -> None:
    with pytest.raises(imkit.InvalidMessage, match=r"192\.0\.2\.1.*could read"):
        portal().call(app_server_token("http://192.0.2.1/token?key=hunter2", "alice"))


@pytest.mark.parametrize("host", ["127.0.0.1.example.org", "localhost.example.org", "127.1", "0x7f000001", "0.0.0.0"])
def test_what_only_looks_like_this_machine(host: str) -> None:
    with pytest.raises(imkit.InvalidMessage, match="could read"):
        portal().call(imkit.App("org#app", rest_url=f"http://{host}", ws_url="wss://x").hosts())
