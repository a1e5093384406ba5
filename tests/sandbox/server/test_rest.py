"""What all REST calls share: the check of tokens and apps, and the envelope of replies.

Source: docs/protocol.md#rest-transport.
"""

import httpx

from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.sandbox.server.raw_client import WAIT, Api, TeaGroup, close_everything, token_of


def test_tokens_are_checked(sandbox: Sandbox) -> None:
    user = new_name()
    bad = Api(sandbox, "made-up").refused("GET", f"/users/{user}", 401)
    assert bad["error"] == "auth_bad_access_token"
    Api(sandbox).refused("GET", f"/users/{user}", 401)
    with Sandbox(token_seconds=0) as short:
        old = Api(short, token_of(short, user)).refused("GET", f"/users/{user}", 401)
        assert (old["error"], "expired" in old["error_description"]) == ("unauthorized", True)
        close_everything()


def test_another_app_is_not_served(sandbox: Sandbox) -> None:
    reply = httpx.get(f"{sandbox.rest_url}/other/app/users/x", timeout=WAIT, trust_env=False)
    assert (reply.status_code, reply.json()["error"]) == (404, "organization_application_not_found")


def test_replies_have_the_documented_envelope(tea: TeaGroup) -> None:
    reply = tea.alice.api.ok("GET", f"/thread/{tea.thread}")
    wanted = {"action", "application", "applicationName", "organization", "uri", "path", "entities", "data"}
    assert wanted | {"timestamp", "duration"} == reply.keys()
    assert (reply["organization"], reply["applicationName"], reply["action"]) == ("imkit", "sandbox", "get")
