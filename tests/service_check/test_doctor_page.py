"""The pages on `imkit doctor` are true: their tables are those of the checks, and each check that they name exists."""

import re
import runpy

from imkit.service_check import CHECKS
from tests.test_protocol_page import PAGE, anchors
from tests.test_repository import ROOT

TABLES = runpy.run_path(str(ROOT / "docs" / "write_doctor_tables.py"))
PROTOCOL = (ROOT / PAGE).read_text(encoding="utf-8")
UNKNOWN = PROTOCOL.partition("## What is inferred or unknown\n")[2]


def test_the_tables_are_those_of_the_checks() -> None:
    pages = [path.read_text(encoding="utf-8") for path in TABLES["PAGES"]]
    assert [TABLES["written"](page) == page for page in pages] == [True, True], (
        "run: python docs/write_doctor_tables.py"
    )
    for name in TABLES["tables"]():
        assert sum(TABLES["BEGIN"].format(name=name) in page for page in pages) == 1, name


def test_the_page_has_each_check_once() -> None:
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = {check.name for check in CHECKS}
    assert sorted(row for row in rows if row in names) == sorted(names)


def test_each_unknown_fact_names_the_checks_that_ask_it_or_why_none_does() -> None:
    facts = re.findall(r"^- .+$", UNKNOWN, re.MULTILINE)
    assert len(facts) > 30
    assert [fact for fact in facts if not re.search(r" (Asked by \*.+\*|Not asked: .+)\.?$", fact)] == []
    named = {name for fact in facts for name in re.findall(r"\*([^*]+)\*", fact.partition("Asked by")[2])}
    assert named - {check.name for check in CHECKS} == set()


def test_each_check_cites_a_section_of_the_protocol_page() -> None:
    assert {check.source for check in CHECKS} - anchors(PROTOCOL) == set()
