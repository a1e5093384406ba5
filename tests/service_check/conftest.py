"""For the tests of the doctor: its runs do not wait between two requests."""

import pytest

from imkit.service_check import examination


@pytest.fixture(autouse=True)
def _without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "REQUESTS_PER_SECOND", None)
