"""The lines of the doctor that only read, against a service that differs in all of them."""

import imkit
from imkit.client import http
from imkit.portal import portal
from imkit.service_check import CHECKS
from imkit.service_check.check import Seen
from imkit.service_check.examination import Examination
from tests.stand_ins import Answer, Asked, odd_session, roamed, text_meta

JANUARY_2020 = 1_577_836_800_000
OFF = {"error": "forbidden_op", "error_description": "not \x1b[2J open"}

# What a line says of the service below; the lines that are not here agree.
DIFFERING = {
    "answer to the login": "it names another device",
    "token life": "tells no end",
    "second socket": "HTTP 404",
    "threads": "off: 403 not \\x1b[2J open",
    "groups": "some are listed twice",
    "user attributes": "off: 403 user metadata service not allow",
    "roaming": "no plan keeps messages for so long",
    "order of conversations": "off: 403 not \\x1b[2J open",
    "channel ids": "of 2, 1 have another form; after the @: easemob.com, example.com",
}


def test_each_line_that_only_reads_tells_what_differs() -> None:
    def answer(asked: Asked) -> Answer:
        last = asked.path.rsplit("/", 1)[-1]
        if last == "joined_chatgroups":
            return Answer(200, {"data": [{"groupid": "1"}, {"groupid": "1"}]}, {"X-RateLimit-Limit": "20"})
        if "threads" in asked.path:
            return Answer(403, {**OFF, "error_code": 40000})
        if "metadata" in asked.path:
            return Answer(403, {"error": "forbidden", "error_description": "user metadata service not allow"})
        if last == "messageroaming":
            old = text_meta(7, "long ago", to="1", at=JANUARY_2020)
            return Answer(200, {"data": {"msgs": roamed(old), "next_key": "", "is_last": True}})
        if last == "list":
            return Answer(403, {**OFF, "error_code": 15002})
        if last == "user_channels":
            ids = ["org#app_1@easemob.com", "1@example.com"]
            return Answer(200, {"data": {"channel_infos": [{"channel_id": found} for found in ids]}})
        return Answer(404, {"error": "resource_not_found"})

    with odd_session(answer) as (session, _):
        report = imkit.doctor(session).set_index("check")
        busy = Examination(session)
        busy.answers += [(http.Answer(429, {"retry-after": "7"}), 0.1, 0.0), (http.Answer(200, {}), 0.1, 0.0)]
        [limits] = [check for check in CHECKS if check.name == "limits in answers"]
        refused: Seen = portal().call(limits.ask(busy))
    read = report.loc[[check.name for check in CHECKS if check.needs == "login"]]
    assert read.index[read["agrees"].eq(False).fillna(False)].tolist() == list(DIFFERING)
    assert [name for name, words in DIFFERING.items() if words not in read["seen"][name]] == []
    assert read["agrees"].isna().sum() == 0
    assert "x-ratelimit-limit: 20" in read["seen"]["limits in answers"]
    assert refused == Seen("1 of 2 calls refused as too many; Retry-After: 7; no header names a limit", False)
