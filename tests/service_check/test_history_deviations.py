"""Against a service whose history differs, the doctor's lines say so, and imkit loads what can be loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

import imkit
from imkit.client import attachments
from imkit.client.roaming import RoamingPage
from imkit.service_check import observation, run, sample
from imkit.service_check.check import Check, Seen
from imkit.service_check.checks.attachments import ATTACHMENT_CHECKS
from imkit.service_check.checks.changes import CHANGE_CHECKS
from imkit.service_check.checks.connection import ANSWER_CHECKS
from imkit.service_check.checks.conversations import CONVERSATION_CHECKS
from imkit.service_check.checks.history import HISTORY_CHECKS
from imkit.service_check.checks.pages import PAGE_CHECKS, judged_end
from imkit.service_check.checks.ranges import RANGE_CHECKS
from imkit.service_check.examination import Examination
from imkit.service_check.sample import Reading
from tests.service_check.deviating_sandbox import deviating_sandbox
from tests.waits import WAIT

SHORT_OF_MARKS = {
    "filters apply to each page": {"filter by type"},
    "since is exclusive": {"start of a range"},
    "until is exclusive": {"end of a range"},
    "pages hold 20": {"page size"},
    "is last is never true": {"last page", "full last page"},
    "cursors are numbers": {"cursors"},
    "messages have no thread mark": {"thread mark", "history after a rename"},
}
FULL_OF_MORE = {
    "time bounds are ignored": {"time range", "one end of a range alone", "cursor and time range"},
    "filters are ignored": {"filter by type", "filter by sender", "filter by type and sender", "unknown type"},
    "commands are in the history": {"commands in the history"},
    "recalled messages stay in the history": {
        *("recalled message", "last message after a recall", "file of a recalled message"),
        "number of messages",
    },
}
ENDS_TOO_EARLY = {"is last is always true": {"last page"}}


async def _loads(examination: Examination) -> Seen:
    """Load the sample as a user does."""
    thread, sent = examination.made.thread, examination.made.sent
    frame = await thread.history.aio()
    if frame.attrs["imkit"]["note"]:
        return Seen(frame.attrs["imkit"]["note"], False)
    kept = [message for message in sent if message.type != "cmd" or "cmd" in set(frame["type"])]
    since, until = kept[30].time, kept[80].time
    inside = [message for message in kept if since <= message.time < until]
    found = {
        "all": (frame["message_id"].tolist(), kept),
        "page by page": ([message.id async for message in thread.messages()], kept),
        "newest first": ([message.id async for message in thread.messages(order="newest")], kept[::-1]),
        "a range": ((await thread.history.aio(since, until))["message_id"].tolist(), inside),
        "a range, page by page": ([message.id async for message in thread.messages(since, until)], inside),
        "a type": (
            (await thread.history.aio(types=["combine"]))["message_id"].tolist(),
            [message for message in kept if message.type == "combine"],
        ),
    }
    wrong = [name for name, (ids, expected) in found.items() if ids != [message.id for message in expected]]
    return Seen(f"wrong: {wrong}", not wrong)


LOADS = Check("loads", "It loads.", _loads, "right", "wrong", "roaming-history", "write")


@pytest.mark.parametrize(
    ("deviations", "is_loaded"), [(SHORT_OF_MARKS, True), (FULL_OF_MORE, True), (ENDS_TOO_EARLY, False)]
)
def test_what_differs_is_told_and_imkit_adapts_if_it_can(
    deviations: dict[str, set[str]], is_loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = (*HISTORY_CHECKS, *PAGE_CHECKS, *RANGE_CHECKS, LOADS, *ATTACHMENT_CHECKS, *CHANGE_CHECKS)
    monkeypatch.setattr(run, "CHECKS", checks)
    monkeypatch.setattr(observation, "EVENT_SECONDS", 0.2)
    with deviating_sandbox(*deviations) as sandbox, imkit.login("ada", app=sandbox.app) as ada:
        report = imkit.doctor(ada, write=True).set_index("check")
    expected = set().union(*deviations.values()) | (set() if is_loaded else {"loads"})
    assert set(report.index[report["agrees"].eq(False).fillna(False)]) == expected
    assert report.loc["loads", "agrees"] == is_loaded, report.loc["loads", "seen"]
    assert not report["seen"].str.startswith("could not be asked").any()
    if not is_loaded:
        assert report.loc["loads", "seen"].startswith("the service counts ")


CHANGES = [check for check in CHANGE_CHECKS if check.name.startswith(("recalled", "number", "delete for oneself"))]
MESSAGE_NOTICE = [check for check in CONVERSATION_CHECKS if check.name == "notice of a message"]


@pytest.mark.parametrize(
    ("deviation", "checks", "seconds", "differing"),
    [
        ("notices of threads are late", [*CHANGES, *MESSAGE_NOTICE], WAIT, []),
        ("recalled messages stay in the history", CHANGES[:1], 2, ["recalled message"]),
    ],
)
def test_what_comes_late_is_no_change(
    deviation: str, checks: list[Check], seconds: float, differing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHECKS", checks)
    monkeypatch.setattr(sample, "MESSAGES", 20)
    monkeypatch.setattr(observation, "EVENT_SECONDS", seconds)
    with deviating_sandbox("the history is late", deviation) as sandbox, imkit.login("ada", app=sandbox.app) as ada:
        report = imkit.doctor(ada, write=True).set_index("check")
    assert report.index[~report["agrees"].fillna(False)].tolist() == differing, report["seen"].to_dict()


def test_an_empty_history_tells_nothing_of_its_order_and_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        check for check in HISTORY_CHECKS if check.name not in ("types of messages", "ids", "delay of the history")
    ]
    monkeypatch.setattr(run, "CHECKS", (*asked, *PAGE_CHECKS, *RANGE_CHECKS))
    monkeypatch.setattr(sample, "MESSAGES", 20)
    with deviating_sandbox("the history is empty") as sandbox, imkit.login("ada", app=sandbox.app) as ada:
        report = imkit.doctor(ada, write=True).set_index("check").drop("removal")
    assert report.index[report["agrees"].notna()].tolist() == ["all messages"]
    assert not report.loc["all messages", "agrees"]


def test_a_message_that_came_too_fast_tells_nothing_of_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHECKS", (HISTORY_CHECKS[0], ANSWER_CHECKS[0]))
    with deviating_sandbox("each fourth message is too many") as sandbox, imkit.login("ada", app=sandbox.app) as ada:
        report = imkit.doctor(ada, write=True).set_index("check")
    types, limits = report.loc["types of messages"], report.loc["limits in answers"]
    assert str(types["seen"]).count("RateLimited") == 2
    assert report["agrees"].isna().tolist() == [True, False, False]
    assert "messages refused as too many" in limits["seen"]
    assert not limits["agrees"]


def test_a_type_that_is_refused_does_not_end_the_run(alice: imkit.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise imkit.TooLarge("the upload was refused", status=413, reason="larger than 8 bytes")

    monkeypatch.setattr(attachments, "_upload", refuse)
    monkeypatch.setattr(sample, "MESSAGES", 40)
    monkeypatch.setattr(run, "CHECKS", (*HISTORY_CHECKS, *ATTACHMENT_CHECKS[:4]))
    report = imkit.doctor(alice, write=True).set_index("check")
    told = report.loc["types of messages"]
    assert not told["agrees"]
    assert told["seen"].startswith("4 of 9 types were taken; img: TooLarge (413: larger than 8 bytes); audio: ")
    assert report["agrees"].eq(False).fillna(False).sum() == 1
    assert report["agrees"].isna().sum() == 4


def test_where_a_history_ends_is_judged_by_all_of_its_pages() -> None:
    page = RoamingPage([b""], "1", is_last=False, is_empty=False)

    def seen(*marks: bool) -> Seen:
        pages = [RoamingPage(page.entries, "1", is_last=mark, is_empty=False) for mark in marks]
        return replace(judged_end(Reading(pages, None)), text="")

    assert seen(False, False, True).agrees
    assert not seen(True, False, True).agrees
    assert seen(True, False, True).follows is None
    assert "empty page" in (seen(False, False).follows or "")
