"""Reports of messages over REST: who may report what, and how much of it is kept."""

from imkit.wire.envelope import USER_DOMAIN
from tests.attacks.served import served
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device


def report(api: Api, message: object, kind: object = "spam", reason: object = "an advert") -> dict[str, object]:
    body = {"username": "somebody else", "reportType": kind, "reportReason": reason}
    return {"method": "POST", "path": f"/user/{api.user}/moderation/report/message/{message}", "json": body}


def test_who_sees_a_message_may_report_it() -> None:
    with served(reports_per_user=2) as server:
        alice, bob, mallory = (Device(server, new_name(name)) for name in ("alice", "bob", "mallory"))
        reports = server.server.application.backend.reports
        group = alice.api.group(bob.user)
        messages = [alice.send(group, str(number)) for number in range(3)]
        direct = alice.send(bob.user, "psst", domain=USER_DOMAIN)
        bob.api.ok(**report(bob.api, messages[0]))
        bob.api.ok(**report(bob.api, messages[0], "abuse"))
        assert reports.of(messages[0]) == [(bob.user, "abuse", "an advert")]
        bob.api.ok(**report(bob.api, direct))
        bob.api.refused(**report(bob.api, messages[1]), status=403, code=40007)
        # A stranger learns nothing: a message that it cannot see does not exist. A user may have the name of a group.
        named = Device(server, group)
        for api, message in ((mallory.api, messages[0]), (mallory.api, direct), (named.api, messages[0])):
            reply = api.refused(**report(api, message), status=400)
            assert reply["error_description"] == "report failed, get message by id failed"
        for wrong in ("0", "x", "9" * 19, "1" * 40, "-1"):
            alice.api.refused(**report(alice.api, wrong), status=400)
        for kind, reason in (("", "x"), ("x", ""), (7, "x"), ("x", None), ("x" * 129, "x"), ("x", "x" * 513)):
            alice.api.refused(**report(alice.api, messages[0], kind, reason), status=400)
        assert [reports.count(device.user) for device in (alice, bob, mallory)] == [0, 2, 0]
        alice.recall(group, messages[0])
        assert reports.of(messages[0])  # the app's owner must still see what was reported
