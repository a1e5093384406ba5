"""Against a service that has other rights, or has switched something off, all of the doctor's lines together say so."""

import pytest

import imkit
from imkit.service_check import observation, sample
from tests.service_check.deviating_sandbox import deviating_sandbox

# By deviation, the checks that notice it.
NOTICED_BY = {
    "the clock is 5 minutes slow": {"clocks"},
    "groups cannot be destroyed": {"removal"},
    "members of the group write in its threads": {
        *("leave and come back", "post without joining", "removal from the thread"),
    },
    "a missing right is a 401": {"missing right"},
    "messages cannot be edited": {"edit", "edit of a place"},
    "only the sender recalls": {"recall by the owner"},
    "reactions are off": {"reaction"},
    "read receipts are off": {"receipt that nobody asked for", "receipt that was asked for"},
    "pins are off": {"pin", "pin in a thread"},
}


def test_a_service_that_differs_in_many_ways_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "EVENT_SECONDS", 1.0)
    monkeypatch.setattr(sample, "MESSAGES", 20)
    with (
        deviating_sandbox(*NOTICED_BY) as sandbox,
        imkit.login("ada", app=sandbox.app) as ada,
        imkit.login("bob", app=sandbox.app) as bob,
    ):
        report = imkit.doctor(ada, write=True, second=bob)
    differing = report[report["agrees"].eq(False).fillna(False)]
    assert set(differing["check"]) == set().union(*NOTICED_BY.values())
    assert differing["follows"].str.len().min() > 0


@pytest.mark.parametrize("feature", ["threads", "roaming"])
def test_a_feature_that_is_off_is_one_line_that_differs(feature: str) -> None:
    with deviating_sandbox(f"{feature} {'are' if feature == 'threads' else 'is'} off") as sandbox:
        with imkit.login("ada", app=sandbox.app) as ada:
            ada.create_group("tea")
            report = imkit.doctor(ada).set_index("check")
    differing = report[report["agrees"].eq(False).fillna(False)]
    assert differing.index.tolist() == [feature]
    assert differing["seen"][feature].startswith("off: 403 ")
    assert "ServiceNotEnabled" in differing["follows"][feature]
