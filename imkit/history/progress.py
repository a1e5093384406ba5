"""The progress of a long load: its text, and the line that shows it below the waiting cell of a notebook.

IPython is not imported until a notebook is found: a notebook has imported it already.
"""

from __future__ import annotations

import sys
import time
from typing import Any

SHOWN_AFTER_SECONDS = 1.0
_PAINT_SECONDS = 0.2  # between two updates of the line


class ProgressText:
    """Makes the text that shows the progress of a load: ``1,200 of about 4,000 messages · 900/s``.

    The clock starts when it is made.

    Example:
        >>> ProgressText()(7, None)
        '7 messages'
    """

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, done: int, total: int | None) -> str:
        """Return the text for `done` of `total` messages; a total of more than 50 times `done` is not shown."""
        about = f" of about {total:,}" if total and done < total < 50 * done else ""
        return f"{done:,}{about} message{'' if done == 1 and not about else 's'}{self.speed(done)}"

    def speed(self, done: int) -> str:
        """Return the messages per second since the start; an empty text during the first half second."""
        seconds = self.seconds
        return f" · {done / seconds:,.0f}/s" if seconds > SHOWN_AFTER_SECONDS / 2 else ""

    @property
    def seconds(self) -> float:
        """How many seconds have passed since the start."""
        return time.monotonic() - self._began


class NotebookLine:
    """A line below the running cell. It appears after a second, is updated, and stays with the last figures.

    Args:
        display: the module `IPython.display`.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        self._text = ProgressText()
        self._handle: Any = None  # of the line, once it is shown
        self._painted = 0.0
        self._done = 0

    async def update(self, done: int, total: int | None) -> None:
        """Show the figures. It is async so that imkit's loop runs it in the context of the cell that waits."""
        self._done = done
        seconds = self._text.seconds
        if seconds >= SHOWN_AFTER_SECONDS and seconds - self._painted >= _PAINT_SECONDS:
            self._painted = seconds
            bar = f'<progress value="{done}" max="{total}"></progress> ' if total else ""
            self._paint(self._text(done, total), bar)

    def end(self) -> None:
        """Show the last figures and the seconds it took, if the line has been shown."""
        if self._handle is not None:
            self._paint(f"{self._text(self._done, None)} · {self._text.seconds:,.1f} s", "")

    def _paint(self, text: str, bar: str) -> None:
        content = {"text/plain": text, "text/html": f"<div>{bar}<small>{text}</small></div>"}
        if self._handle is None:
            self._handle = self._display.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def notebook_line() -> NotebookLine | None:
    """Return a line for the notebook in which this runs, or `None` elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython import display

    return NotebookLine(display)
