"""What SDK 5 sends and reads otherwise than SDK 4: both must be served.

Source: docs/protocol.md#where-two-generations-differ, docs/protocol.md#sdk-5-rest-calls,
docs/protocol.md#sdk-5-refusals.
"""

from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.sandbox.server.raw_client import Device, TeaGroup


def test_each_generation_finds_its_reason_in_a_refusal(tea: TeaGroup, sandbox: Sandbox) -> None:
    bob, group, thread = tea.bob.api, f"/chatgroups/{tea.group}", f"/thread/{tea.thread}"
    stranger = Device(sandbox, new_name("dave")).api
    # A 401 would end a login of SDK 5, so a missing right is a 403.
    for api, method, path in ((bob, "DELETE", thread), (stranger, "GET", thread), (bob, "DELETE", group)):
        assert api.refused(method, path, 403)["error"] == "group_authorization"
    assert bob.refused("GET", "/threads/user/eve", 403)["error"] == "forbidden"
    assert bob.refused("GET", "/thread/1", 404, 40011)["error"] == "resource_not_found"
    assert bob.refused("POST", f"{group}/apply", 403, json={})["error"] == "group_already_joined"
    invited = tea.alice.api.refused("POST", f"{group}/invite", 403, json={"usernames": [bob.user]})
    assert "invite users to join group failed" in invited["error_description"]
    assert "already in group" in invited["error_description"]
    left = stranger.refused("DELETE", f"{group}/quit", 400)
    assert (left["error"], "are not members of this group" in left["error_description"]) == ("group_not_joined", True)
    assert tea.alice.api.refused("DELETE", f"{group}/quit", 403)["error_description"] == "owner can not quit group"
    full = tea.alice.api.group(maxusers=1)
    assert bob.refused("POST", f"/chatgroups/{full}/apply", 403, json={})["error_description"] == (
        "group member list is full!"
    )


def test_settings_that_the_ui_kit_reads_for_each_group_are_unset(tea: TeaGroup) -> None:
    bob, group = tea.bob.api, tea.group
    asked = {"targets": [bob.user], "properties": []}
    assert bob.ok("POST", f"/sdk/metadata/chatgroup/{group}/get", json=asked)["data"] == {}
    cards = bob.ok("POST", f"/sdk/chatgroups/{group}/nameCard/batch/get", json={"members": [bob.user]})
    # With a time the kit knows that a member without a card has none, and does not ask again.
    assert (cards["data"], type(cards["timestamp"])) == ([], int)
    rules = bob.ok("GET", f"/users/{bob.user}/notification", params={"user": "", "group": group})
    assert rules["data"] == {"user": {}, "group": {}}
