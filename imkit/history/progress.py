"""How far a long load is: a line in the notebook below the cell that waits, and the words for it.

IPython is not imported; who has a notebook has it loaded.
"""

from __future__ import annotations

import sys
import time
from typing import Any

SHOWN_AFTER_SECONDS = 1.0  # who waits less wants no line
_PAINT_SECONDS = 0.2


class Words:
    """Says how far a load is: ``1,200 of about 4,000 messages · 900/s``.

    Example:
        >>> Words()(7, None)
        '7 messages'
    """

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, done: int, total: int | None) -> str:
        """Return the words for so many messages of so many; the first guesses are wild, and not shown."""
        about = f" of about {total:,}" if total and done < total < 50 * done else ""
        return f"{done:,}{about} message{'' if done == 1 and not about else 's'}{self.speed(done)}"

    def speed(self, done: int) -> str:
        """Return the messages a second since the beginning; nothing in its first moments."""
        seconds = time.monotonic() - self._began
        return f" · {done / seconds:,.0f}/s" if seconds > SHOWN_AFTER_SECONDS / 2 else ""

    @property
    def seconds(self) -> float:
        """How long it takes already."""
        return time.monotonic() - self._began


class NotebookLine:
    """A line that appears below the running cell after a second, moves, and stays with the last figures.

    Args:
        display: IPython's module of that name.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        self._words = Words()
        self._shown: Any = None
        self._painted = 0.0
        self._done = 0

    async def tell(self, done: int, total: int | None) -> None:
        """Show the figures; async, so that it runs on imkit's loop, in the context of the cell that waits."""
        self._done = done
        seconds = self._words.seconds
        if seconds >= SHOWN_AFTER_SECONDS and seconds - self._painted >= _PAINT_SECONDS:
            self._painted = seconds
            self._paint(
                self._words(done, total), f'<progress value="{done}" max="{total}"></progress> ' if total else ""
            )

    def end(self) -> None:
        """Leave the last figures, where the line was shown."""
        if self._shown is not None:
            self._paint(f"{self._words(self._done, None)} · {self._words.seconds:,.1f} s", "")

    def _paint(self, words: str, bar: str) -> None:
        said = {"text/plain": words, "text/html": f"<div>{bar}<small>{words}</small></div>"}
        if self._shown is None:
            self._shown = self._display.display(said, raw=True, display_id=True)
        else:
            self._shown.update(said, raw=True)


def notebook_line() -> NotebookLine | None:
    """Return a line for the notebook that runs this, or `None` elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython import display

    return NotebookLine(display)
