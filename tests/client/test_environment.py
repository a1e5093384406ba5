"""Settings from the environment and from a `.env` file."""

from pathlib import Path

import pytest

from imkit.client.environment import settings


def test_without_a_file_the_settings_are_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "IMKIT_TEA" not in settings()
    monkeypatch.setenv("IMKIT_TEA", "oolong")
    assert settings()["IMKIT_TEA"] == "oolong"


def test_a_variable_of_the_environment_replaces_the_one_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("IMKIT_TEA=from the file\nIMKIT_CUPS=2\n")
    monkeypatch.setenv("IMKIT_TEA", "")  # set, although it is empty
    found = settings()
    assert (found["IMKIT_TEA"], found["IMKIT_CUPS"]) == ("", "2")


def test_the_nearest_file_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IMKIT_TEA=above\n")
    folder = tmp_path / "notebooks" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert settings()["IMKIT_TEA"] == "above"
    (folder / ".env").write_text("IMKIT_CUPS=2\n")
    assert "IMKIT_TEA" not in settings()
