"""Against a service that differs, the doctor's lines say so."""

import pytest

import imkit
from tests.service_check.deviating_sandbox import deviating_sandbox

# By deviation, the checks that must notice it.
NOTICED_BY = {
    "pages hold 20": {"page size"},
    "groups cannot be destroyed": {"removal"},
}


@pytest.mark.slow
def test_a_service_that_differs_in_many_ways_is_told_so() -> None:
    with (
        deviating_sandbox(*NOTICED_BY) as sandbox,
        imkit.login("ada", app=sandbox.app) as ada,
        imkit.login("bob", app=sandbox.app) as bob,
    ):
        report = imkit.doctor(ada, write=True, second=bob)
    differing = report[report["agrees"].eq(False).fillna(False)]
    assert set(differing["check"]) == set().union(*NOTICED_BY.values())
    assert differing["follows"].str.len().min() > 0
