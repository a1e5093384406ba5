"""The report of the doctor: its lines, as a frame, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from imkit.errors import IMError
from imkit.escape import for_terminal
from imkit.service_check.check import Check, Seen
from imkit.service_check.sample import Sample
from imkit.session import Session

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `failed`: the check was to be asked, and the asking failed."""

    check: str
    assumed: str
    seen: str
    agrees: bool | None
    follows: str
    failed: bool = False

    @classmethod
    def of(cls, check: Check, answer: Seen | IMError) -> Self:
        """Return the line for an answer, or for the error in which the asking ended."""
        if isinstance(answer, IMError):
            return cls(check.name, check.assumed, f"could not be asked: {answer}", None, "", failed=True)
        usual = {True: check.follows, False: check.otherwise, None: ""}[answer.agrees]
        follows = usual if answer.follows is None else answer.follows
        return cls(check.name, check.assumed, for_terminal(answer.text), answer.agrees, for_terminal(follows))

    @classmethod
    def not_asked(cls, check: Check, why: str) -> Self:
        """Return the line of a check that was not asked."""
        return cls(check.name, check.assumed, why, None, "")

    def as_json(self) -> dict[str, Any]:
        """Return the line as plain JSON, with the keys of the frame's columns."""
        return {name: getattr(self, name) for name in ("check", "assumed", "seen", "agrees", "follows")}


def removal(sample: Sample) -> Finding:
    """Return the line that says whether what the run made is gone."""
    is_gone = not sample.left_over
    return Finding(
        "removal",
        "What the doctor made can be removed.",
        f"group {sample.group.id} and its thread are removed" if is_gone else for_terminal("; ".join(sample.left_over)),
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


_MARKS = {True: "as assumed", False: "DIFFERS", None: "not known"}


def printed(finding: Finding) -> str:
    """Return a line of the report as text for a terminal."""
    text = f"{_MARKS[finding.agrees]:10}  {finding.check}: {finding.seen}"
    return text if not finding.follows or finding.agrees else f"{text}\n            → {finding.follows}"
