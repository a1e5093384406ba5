"""Against a service with other rights and other notices, the doctor's lines about threads and messages say so."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import pytest

import imkit
from imkit.errors import Forbidden, IMError, NotAMember, ServiceNotEnabled
from imkit.service_check import observation, run
from imkit.service_check.check import Check, Seen
from imkit.service_check.checks.conversations import CONVERSATION_CHECKS
from imkit.service_check.checks.delivery import DELIVERY_CHECKS
from imkit.service_check.checks.joining import JOINING_CHECKS
from imkit.service_check.checks.messages import MESSAGE_CHECKS
from imkit.service_check.checks.responses import RESPONSE_CHECKS
from imkit.service_check.checks.rights import RIGHTS_CHECKS
from imkit.service_check.examination import Examination
from imkit.service_check.observation import Refusal, all_so, is_refused
from tests.service_check.deviating_sandbox import deviating_sandbox
from tests.waits import WAIT

OF_SECOND = (*JOINING_CHECKS, *DELIVERY_CHECKS, *RIGHTS_CHECKS)
# By deviation, the checks that notice it.
NOTICED_BY = {
    "names have 32 characters": {"length of a name"},
    "members may join again": {"join twice"},
    "everybody uses threads": {"outsider reads", "outsider writes", "end of a thread by its creator"},
    "nobody is told of mutes": {"mute of another user"},
    "edits have no end": {"number of edits"},
    "everybody recalls": {"recall by a member"},
    "a message takes 10 reactions": {"kinds of reactions"},
    "receipts must be asked for": {"receipt that nobody asked for"},
    "empty texts are refused": {"empty text"},
    "a repeated send is one message": {"message sent twice"},
    "all messages come in one queue": {"queue of a message"},
    "only others are told": {"notice of a rename", "notice of a message", "notice of a reaction"},
    "the end of a thread is not told": {"told in the group"},
    "a message holds 3 kilobytes": {"size of a message"},
    "the creator is not in its thread": {"creator of a thread"},
    "members of the group read its threads": {"history without joining"},
}


def waiting(check: Check, seconds: float) -> Check:
    """Return a check that waits for each event for so long."""

    async def ask(examination: Examination) -> Seen:
        observation.EVENT_SECONDS = seconds
        return await check.ask(examination)

    return replace(check, ask=ask)


def examined(patch: pytest.MonkeyPatch, noticed_by: Mapping[str, set[str]]) -> pd.DataFrame:
    """Ask the checks of threads and messages of a service with these deviations, and return the report.

    Only the checks that must notice one give up soon: for these an event that comes too late is no other answer.
    """
    noticing = set().union(*noticed_by.values())
    asked = (*CONVERSATION_CHECKS, *MESSAGE_CHECKS, *RESPONSE_CHECKS, *OF_SECOND)
    patch.setattr(observation, "EVENT_SECONDS", WAIT)
    patch.setattr(run, "CHECKS", [waiting(check, 0.1 if check.name in noticing else WAIT) for check in asked])
    patch.setattr("imkit.service_check.sample.MESSAGES", 20)
    with (
        deviating_sandbox(*noticed_by) as sandbox,
        imkit.login("ada", app=sandbox.app) as ada,
        imkit.login("bob", app=sandbox.app) as bob,
    ):
        report = imkit.doctor(ada, write=True, second=bob).set_index("check")
    differing = report[report["agrees"].eq(False).fillna(False)]
    assert set(differing.index) == noticing
    assert differing["follows"].str.len().min() > 0
    return report


def test_lines_about_rights_limits_and_notices_tell_a_service_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examined(monkeypatch, NOTICED_BY)
    assert report.index[report["agrees"].isna()].tolist() == ["missing right", "receipt of the owner"]


def test_a_user_who_is_not_let_in_leaves_the_later_lines_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examined(monkeypatch, {"an invitation must be accepted": {"invitation"}})
    outside = {"outsider reads", "outsider writes", "missing right", "invitation"}
    unknown = report[report["agrees"].isna()]
    assert set(unknown.index) == {check.name for check in OF_SECOND} - outside
    assert unknown["seen"].str.contains("the second user is not in").all()


@pytest.mark.parametrize(
    ("error", "judgement"),
    [
        (NotAMember("no"), True),
        (IMError("no"), False),
        (ServiceNotEnabled("off"), None),
        (None, False),
    ],
)
def test_a_feature_that_is_off_tells_nothing_of_rights(error: IMError | None, judgement: bool | None) -> None:
    refusal = None if error is None else Refusal(error, "no")
    assert is_refused(refusal, Forbidden) is judgement
    assert all_so([True, judgement]) is judgement
    assert all_so([False, judgement]) is False
