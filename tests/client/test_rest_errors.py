"""The imkit error for each refusal of the service."""

import json
from typing import Any

import pytest

import imkit
from imkit.client.rest_errors import refusal

REFUSALS = [
    # HTTP, error_code, description, the path → our error, the SDK's type (docs/protocol.md#errors)
    (400, 40002, "", "thread", imkit.AlreadyExists, 1301),
    (400, 40009, "", "thread", imkit.Unsupported, 53),
    (401, 40001, "", "thread", imkit.Forbidden, 52),
    (403, 40000, "", "thread", imkit.ServiceNotEnabled, 505),
    (403, 40003, "", "thread", imkit.AlreadyExists, 1301),
    (403, 40004, "", "thread", imkit.AlreadyExists, 1301),
    (403, 40005, "", "thread", imkit.LimitReached, 50),
    (403, 40007, "", "thread", imkit.LimitReached, 50),
    (403, None, "group is disabled", "chatgroups", imkit.GroupDisabled, 608),
    (403, None, "forbidden", "chatgroups", imkit.Forbidden, 603),
    (403, None, "users [bob] are already in group", "chatgroups", imkit.AlreadyExists, 601),
    (403, None, "group member list is full!", "chatgroups", imkit.LimitReached, 606),
    (400, None, "users [bob] are not members of this group", "chatgroups", imkit.NotAMember, 602),
    (400, None, "report failed, get message by id failed", "user", imkit.MessageNotFound, 51),
    (403, 15002, "", "user_channel", imkit.ServiceNotEnabled, 505),
    (403, 91101, "", "user_channel", imkit.LimitReached, 50),
    (403, 91102, "", "user_channel", imkit.MessageNotFound, -3),
    (400, 91104, "", "user_channel", imkit.Forbidden, 52),
    (400, None, "param pin_msg_id illegal, please check it!", "user_channel", imkit.MessageNotFound, -3),
    (403, None, "the total length exceeds 2048", "metadata", imkit.TooLarge, 603),
    (403, None, "user metadata service not allow", "metadata", imkit.ServiceNotEnabled, 505),
    (404, 40011, "", "thread", imkit.ThreadNotFound, 1300),
    (404, 40012, "", "thread", imkit.Forbidden, 52),
    (404, None, "do not find this group", "chatgroups", imkit.GroupNotFound, 605),
    (404, None, "grpID 7 does not exist!", "chatgroups", imkit.GroupNotFound, 605),
    (404, None, "grpID 7 does not exist!", "chatrooms", imkit.NotFound, 705),
    (429, None, "This request has reached api limit", "thread", imkit.RateLimited, 500),
    (503, None, "", "thread", imkit.ServiceBusy, 500),
    (429, None, "The request has reached the maximum limit", "thread", imkit.LimitReached, 50),
    (500, 40006, "", "thread", imkit.IMError, 503),
    (500, 40008, "", "thread", imkit.IMError, 503),
    (500, 40010, "", "thread", imkit.IMError, 503),
    (418, None, "a teapot", "thread", imkit.IMError, 17),
    # and what the documents add
    (400, None, "invalid username or password", "token", imkit.AuthError, 1),
    (401, None, "Unable to authenticate due to corrupt access token", "thread", imkit.AuthError, 2),
    (401, None, "Unable to authenticate due to expired access token", "thread", imkit.TokenExpired, 56),
    (413, None, "", "thread", imkit.TooLarge, 511),
    (400, None, "username be unique", "users", imkit.AlreadyExists, 1301),
]


@pytest.mark.parametrize(("status", "error_code", "text", "path", "kind", "code"), REFUSALS)
def test_each_refusal_has_its_error(
    status: int, error_code: int | None, text: str, path: str, kind: type[imkit.IMError], code: int
) -> None:
    error = "invalid_grant" if path == "token" else "unauthorized" if status == 401 else "refused"
    body = {"error": error, "error_description": text, **({"error_code": error_code} if error_code else {})}
    found = refusal("GET /x", status, body, (path, "7"))
    assert type(found) is kind
    assert (found.code, found.status) == (code, status)
    assert found.reason == (text or error)
    assert str(found).startswith("GET /x was refused")


@pytest.mark.parametrize(
    "body",
    [{}, {"error_code": "40011"}, {"error_code": True}, {"error": None}, {"error_description": ["list"]}, {"error": 5}],
)
def test_malformed_refusals_are_errors_too(body: dict[str, Any]) -> None:
    for status in (200, 201, 400, 401, 403, 404, 413, 429, 500, 503):
        assert isinstance(refusal("GET /x", status, body), imkit.IMError)


def test_every_error_prints_as_one_line() -> None:
    hostile = json.dumps({"error": "x", "error_description": "a\x1b[2J\nb‮"})
    assert str(refusal("GET /x", 400, json.loads(hostile))).isprintable()


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (404, "THREAD_NOT_FOUND", imkit.ThreadNotFound),
        (404, "GROUP_NOT_FOUND", imkit.GroupNotFound),
        (403, "limit_exceeded", imkit.LimitReached),
        (403, "exceed_limit", imkit.LimitReached),
    ],
)
def test_names_that_sdk_5_knows_are_known(status: int, error: str, kind: type[imkit.IMError]) -> None:
    assert type(refusal("POST /thread", status, {"error": error, "error_description": "x"})) is kind
