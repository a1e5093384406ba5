"""`imkit.doctor`: against the sandbox every line is as assumed, and what the run made is removed."""

import imkit
from imkit.service_check import CHECKS
from imkit.session import Session

COLUMNS = ["check", "assumed", "seen", "agrees", "follows"]


def test_against_the_sandbox_every_line_is_as_assumed(alice: Session, bob: Session) -> None:
    groups = [group.id for group in alice.groups()]
    report = imkit.doctor(alice, write=True, second=bob)
    assert list(report.columns) == COLUMNS
    assert report["check"].tolist() == [*(check.name for check in CHECKS), "removal"]
    assert report[~report["agrees"].fillna(False)].to_dict("records") == []
    assert [group.id for group in alice.groups()] == groups


def test_without_write_nothing_is_made(alice: Session) -> None:
    groups = [group.id for group in alice.groups()]
    report = imkit.doctor(alice)
    assert set(report.loc[report["agrees"].isna(), "seen"]) == {
        "not asked: it needs write=True (--write)",
    }
    assert [group.id for group in alice.groups()] == groups
