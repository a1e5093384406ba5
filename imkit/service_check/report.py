"""The report of the doctor: its lines, as a frame, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from imkit.errors import IMError
from imkit.escape import for_terminal
from imkit.service_check.check import Check, Seen
from imkit.service_check.own_groups import OwnGroups
from imkit.session import Session

if TYPE_CHECKING:
    import pandas as pd


_SEEN_CHARACTERS = 2_000  # a service may say anything, and a report is for people


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check, assumed, seen, agrees, follows: the columns of the frame.
        failed: the check was to be asked, and the asking failed.
        was_not_asked: the run had no right to ask the check.
    """

    check: str
    assumed: str
    seen: str
    agrees: bool | None
    follows: str
    failed: bool = False
    was_not_asked: bool = False

    @classmethod
    def of(cls, check: Check, answer: Seen | IMError) -> Self:
        """Return the line for an answer, or for the error in which the asking ended."""
        if isinstance(answer, IMError):
            seen = for_terminal(f"could not be asked: {answer}", _SEEN_CHARACTERS)
            return cls(check.name, check.assumed, seen, None, "", failed=True)
        usual = {True: check.follows, False: check.otherwise, None: ""}[answer.agrees]
        follows = usual if answer.follows is None else answer.follows
        seen = for_terminal(answer.text, _SEEN_CHARACTERS)
        return cls(check.name, check.assumed, seen, answer.agrees, for_terminal(follows))

    @classmethod
    def not_asked(cls, check: Check, why: str) -> Self:
        """Return the line of a check that was not asked."""
        return cls(check.name, check.assumed, why, None, "", was_not_asked=True)

    @property
    def mark(self) -> str:
        """In two words, whether it is as assumed."""
        if self.was_not_asked:
            return "not asked"
        return {True: "as assumed", False: "DIFFERS", None: "not known"}[self.agrees]

    def as_json(self) -> dict[str, Any]:
        """Return the line as plain JSON, with the keys of the frame's columns."""
        return {name: getattr(self, name) for name in ("check", "assumed", "seen", "agrees", "follows")}


def removal(own_groups: OwnGroups) -> Finding:
    """Return the line that says whether what the run made is gone."""
    is_gone = not own_groups.left_over
    return Finding(
        "removal",
        "What the doctor made can be removed.",
        "the group, its thread and their messages are removed"
        if is_gone
        else for_terminal("; ".join(own_groups.left_over), _SEEN_CHARACTERS),
        is_gone,
        "Nothing is left of this run." if is_gone else "Remove what is left in the app's console.",
    )


def frame_of(findings: Iterable[Finding], session: Session) -> pd.DataFrame:
    """Return the report as a frame, one row for each finding."""
    import pandas as pd

    columns = {"check": "string", "assumed": "string", "seen": "string", "agrees": "boolean", "follows": "string"}
    frame = pd.DataFrame([finding.as_json() for finding in findings], columns=list(columns)).astype(columns)
    frame.attrs["imkit"] = {"app_key": session.app.app_key, "user": session.user, "report": "doctor"}
    return frame


def exit_code(findings: Iterable[Finding]) -> int:
    """Return the exit code of `imkit doctor`: 0 all that was asked agrees, 3 something differs, 1 it could not ask."""
    told = list(findings)
    if any(finding.agrees is False for finding in told):
        return 3
    return 1 if any(finding.failed for finding in told) else 0


_COLOURS = {True: "32", False: "1;31", None: "33"}
_NAMED = 8  # so many neighbours that were not asked are named; docs/doctor.md has all
_INDENT = " " * 12
_FOR_A_REPORT = (
    "To report this, send what the same command prints with --json: it names your servers, your user and what the "
    "doctor made, and holds no secret."
)


class TextReport:
    """Writes findings as text for a terminal, each as soon as it is there.

    Neighbours that were not asked, for the same reason, become one paragraph.

    Args:
        write: writes some lines.
        width: of the terminal, in columns.
        coloured: whether the terminal shows colours.

    Example:
        >>> report = TextReport(print)
        >>> report.add(Finding("page size", "A page holds 50.", "a page of 20", False, "imkit follows shorter pages."))
        DIFFERS     page size: a page of 20
                    assumed: A page holds 50.
                    → imkit follows shorter pages.
    """

    def __init__(self, write: Callable[[str], object], width: int = 80, *, coloured: bool = False) -> None:
        self._write = write
        self._width = width
        self._is_coloured = coloured
        self._findings: list[Finding] = []
        self._not_asked: list[Finding] = []

    def begin(self, words: str) -> None:
        """Write what is asked, as whom: the settings may come from a file that the reader has forgotten."""
        self._write("\n".join(textwrap.wrap(for_terminal(words), self._width)) + "\n")

    def add(self, finding: Finding) -> None:
        """Write a finding; one that was not asked waits for its neighbours."""
        self._findings.append(finding)
        if self._not_asked and finding.seen != self._not_asked[0].seen:
            self._write_not_asked()
        if finding.agrees is None and not finding.follows:
            self._not_asked.append(finding)
            return
        lines = self._paragraph(f"{finding.check}: {finding.seen}", finding)
        if finding.agrees is False:
            lines += self._paragraph(f"assumed: {finding.assumed}")
        if finding.agrees is not True and finding.follows:
            lines += self._paragraph(f"→ {finding.follows}")
        self._write("\n".join(lines))

    def end(self) -> None:
        """Write what is left, and how many findings there are of each kind."""
        self._write_not_asked()
        self._write("\n" + "\n".join(textwrap.wrap(f"{counted(self._findings)}.", self._width)))
        if any(finding.agrees is False or finding.failed for finding in self._findings):
            self._write("\n".join(textwrap.wrap(_FOR_A_REPORT, self._width)))

    def _write_not_asked(self) -> None:
        if self._not_asked:
            names = ", ".join(finding.check for finding in self._not_asked[:_NAMED])
            if (more := len(self._not_asked) - _NAMED) > 0:
                names += f" and {more} more"
            self._write("\n".join(self._paragraph(f"{names}: {self._not_asked[0].seen}", self._not_asked[0])))
        self._not_asked = []

    def _paragraph(self, text: str, marked: Finding | None = None) -> list[str]:
        """Return a text as lines below each other; the mark of a finding, if it is given, stands before them."""
        lines = textwrap.wrap(text, self._width, initial_indent=_INDENT, subsequent_indent=_INDENT)
        if marked is not None:
            mark = f"{marked.mark:12}"
            coloured = f"\x1b[{_COLOURS[marked.agrees]}m{mark}\x1b[0m" if self._is_coloured else mark
            lines[0] = coloured + lines[0].lstrip()
        return lines


def counted(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each kind, in words: ``"40 as assumed, 1 differs, 9 not asked"``."""
    asked = [finding.agrees for finding in findings if not finding.was_not_asked]
    differing = asked.count(False)
    parts = {
        "as assumed": asked.count(True),
        "differs" if differing == 1 else "differ": differing,
        "not known": asked.count(None),
        "not asked": len(findings) - len(asked),
    }
    return ", ".join(f"{number} {words}" for words, number in parts.items() if number)
