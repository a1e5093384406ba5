"""Writes the tables of `imkit doctor` in docs/doctor.md and README.md from its checks.

After a change of a check run `python docs/write_doctor_tables.py`. Until then `tests/service_check/test_doctor_page.py`
fails.
"""

from __future__ import annotations

from pathlib import Path

from imkit.service_check import CHECKS
from imkit.service_check.check import Check, Needs

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "docs" / "doctor.md", ROOT / "README.md")
BEGIN, END = "<!-- begin {name}: docs/write_doctor_tables.py writes it -->\n", "<!-- end {name} -->\n"
BAR = "\\|"  # a bar within a cell
_HEAD = "| check | what imkit assumes | what follows if it is not so |\n|---|---|---|\n"
_NAMES_HEAD = "| needs | lines |\n|---|---|\n"
# The lines that the README has whole: those that differ most from app to app, or matter most.
_IN_README = (
    "hosts",
    "clocks",
    "threads",
    "roaming",
    "delay of the history",
    "commands in the history",
    "start of a range",
    "end of a range",
    "last page",
    "size of a message",
    "history without joining",
    "recall by the owner",
    "delivery",
)


def tables() -> dict[str, str]:
    """Return the tables, by the names that the pages give them."""
    by_name = {check.name: check for check in CHECKS}
    kinds: tuple[Needs, ...] = ("login", "write", "second user")
    found = {f"checks that need {kind}": [check for check in CHECKS if check.needs == kind] for kind in kinds}
    found["some checks"] = [by_name[name] for name in _IN_README]
    names = {kind: ", ".join(check.name for check in CHECKS if check.needs == kind) for kind in kinds}
    return {
        **{name: _HEAD + "".join(map(_row, checks)) for name, checks in found.items()},
        "names of all checks": _NAMES_HEAD
        + f"| a login: it only reads | {names['login']} |\n"
        + f"| `--write` | {names['write']}, removal |\n"
        + f"| `--write --second USER` | {names['second user']} |\n",
    }


def _row(check: Check) -> str:
    cells = (check.name, check.assumed, check.otherwise)
    return f"| {' | '.join(cell.replace('|', BAR).replace('<', '&lt;') for cell in cells)} |\n"


def written(page: str) -> str:
    """Return a page with the present tables, in the places that it has for them."""
    for name, table in tables().items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        if begin in page:
            before, rest = page.split(begin)
            page = f"{before}{begin}{table}{end}{rest.split(end)[1]}"
    return page


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
