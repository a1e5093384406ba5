"""Settings from the environment or from a `.env` file: which of the two counts, and where the file is looked for."""

import logging
import os
from pathlib import Path

import pytest

from imkit.client.environment import settings

FILE = "IMKIT_APP_KEY=file#app\nIMKIT_REST_URL=https://file\nIMKIT_USER=of-file\nIMKIT_PASSWORD=of-file\n"


def imkit_settings(app_key: str | None = None) -> dict[str, str | None]:
    found = {
        name.removeprefix("IMKIT_"): value for name, value in settings(app_key).items() if name.startswith("IMKIT_")
    }
    return {name: value for name, value in found.items() if name != "HOME"}


def write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text(text)
    (folder / ".env").chmod(0o600)


def test_without_a_file_the_settings_are_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert imkit_settings() == {}
    monkeypatch.setenv("IMKIT_USER", "oolong")
    assert imkit_settings() == {"USER": "oolong"}


@pytest.mark.parametrize("key", ["env#app", ""])  # empty: the file is switched off
def test_nothing_of_the_file_counts_beside_an_app_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str
) -> None:
    write(tmp_path, FILE)
    monkeypatch.setenv("IMKIT_APP_KEY", key)
    assert imkit_settings() == {"APP_KEY": key}


def test_nothing_of_the_environment_counts_beside_an_app_of_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, FILE)
    of_file = {"APP_KEY": "file#app", "REST_URL": "https://file", "USER": "of-file", "PASSWORD": "of-file"}
    assert imkit_settings() == of_file
    assert not caplog.records
    monkeypatch.setenv("IMKIT_WS_URL", "wss://env")
    monkeypatch.setenv("IMKIT_PASSWORD", "of-environment")
    assert imkit_settings() == of_file
    assert "IMKIT_WS_URL, IMKIT_PASSWORD of the environment is not used" in caplog.text
    assert str(tmp_path / ".env") in caplog.text
    assert "of-environment" not in caplog.text


def test_where_nobody_names_an_app_both_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, "IMKIT_USER=of-file\nIMKIT_PASSWORD=of-file\n")
    monkeypatch.setenv("IMKIT_USER", "of-environment")
    assert imkit_settings() == imkit_settings("org#app") == {"USER": "of-environment", "PASSWORD": "of-file"}


def test_a_file_counts_beside_an_argument_with_the_same_app_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path, FILE)
    monkeypatch.setenv("IMKIT_USER", "of-environment")
    assert imkit_settings("other#app") == {"USER": "of-environment"}
    assert imkit_settings("file#app")["PASSWORD"] == "of-file"


def test_the_nearest_file_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, "IMKIT_USER=above\n")
    folder = tmp_path / "notebooks" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert imkit_settings() == {"USER": "above"}
    write(folder, "IMKIT_TOKEN=near\n")
    assert imkit_settings() == {"TOKEN": "near"}


@pytest.mark.parametrize("end", ["home", "repository"])
def test_the_search_ends_at_the_home_and_at_a_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
) -> None:
    write(tmp_path, "IMKIT_USER=above\n")
    last = tmp_path / "last"
    folder = last / "notebooks"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert imkit_settings() == {"USER": "above"}
    if end == "home":
        monkeypatch.setenv("HOME", str(last))
        monkeypatch.setenv("USERPROFILE", str(last))
    else:
        (last / ".git").write_text("gitdir: elsewhere\n")
    assert imkit_settings() == {}
    write(last, "IMKIT_USER=last\n")
    assert imkit_settings() == {"USER": "last"}


def test_what_is_no_file_of_settings_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").mkdir()  # a virtual environment of this name
    assert imkit_settings() == {}
    (tmp_path / ".env").rmdir()
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfIMKIT_USER=of-notepad\r\n")
    (tmp_path / ".env").chmod(0o600)
    assert imkit_settings() == {"USER": "of-notepad"}
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert imkit_settings() == {}
    assert not caplog.records


def test_a_file_that_is_not_text_is_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".env").write_text("IMKIT_USER=alice", encoding="utf-16")  # as PowerShell writes it
    (tmp_path / ".env").chmod(0o600)
    with caplog.at_level(logging.WARNING):
        assert imkit_settings() == {}
    assert "UTF-8" in caplog.text
    assert os.fspath(tmp_path) in caplog.text
