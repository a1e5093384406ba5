"""The text of a load's progress, and the line in a notebook."""

import asyncio
from types import SimpleNamespace

import pytest

from imkit.history import progress as progress_module
from imkit.history.progress import NotebookLine, ProgressText, notebook_line


class Display:
    """A stand-in for IPython.display, and for the handle of the line; keeps the texts that were shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, content: dict[str, str], *, raw: bool, display_id: bool) -> "Display":
        assert raw
        assert display_id
        self.update(content, raw=raw)
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert content["text/plain"] in content["text/html"]
        self.shown.append(content["text/plain"])


def test_the_line_comes_after_a_second_and_stays_with_the_last_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    display = Display()
    line = NotebookLine(display)

    async def main() -> None:
        for step in range(30):
            now[0] = step / 10
            await line.update(step * 100, 3_000)

    asyncio.run(main())
    line.end()
    assert display.shown[0] == "1,000 of about 3,000 messages · 1,000/s"
    assert display.shown[-1] == "2,900 messages · 1,000/s · 2.9 s"
    assert 5 < len(display.shown) <= 11  # at most five a second, after the first one
    count = len(display.shown)
    quick = NotebookLine(display)
    asyncio.run(quick.update(5, None))
    quick.end()
    assert len(display.shown) == count


def test_a_total_far_above_what_has_come_is_not_shown() -> None:
    text = ProgressText()
    assert text(10, 400) == "10 of about 400 messages"
    assert text(10, 500) == "10 messages"
    assert text(1, None) == "1 message"
    assert text(10, 10) == "10 messages"


def test_outside_a_notebook_there_is_no_line() -> None:
    assert notebook_line() is None
