"""Groups over REST: members, their rights, and the notices about them."""

from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.sandbox.server.raw_client import Device, TeaGroup
from tests.sandbox.server.test_rest_threads import events, notices


def test_destroying_a_group_destroys_its_threads(tea: TeaGroup) -> None:
    tea.bob.api.refused("DELETE", f"/chatgroups/{tea.group}", 403)
    tea.alice.api.ok("DELETE", f"/chatgroups/{tea.group}?version=v3")
    tea.alice.api.refused("GET", f"/thread/{tea.thread}", 404, 40011)
    tea.alice.api.refused("GET", f"/chatgroups/{tea.group}", 404)
    assert tea.alice.refused(tea.thread, "anyone?") == (1, "group not found")
    assert [data["operation"] for data in notices(tea.bob)] == ["delete"]
    assert events(tea.bob) == [(1, tea.group, False)]
    assert tea.bob.api.ok("GET", f"/users/{tea.bob.user}/joined_chatgroups")["data"] == []


def test_a_user_who_leaves_a_group_leaves_its_threads(tea: TeaGroup) -> None:
    tea.alice.api.ok("DELETE", f"/chatgroups/{tea.group}/users/{tea.bob.user}")
    assert tea.alice.api.ok("GET", f"/thread/{tea.thread}")["data"]["affiliations_count"] == 1
    assert tea.bob.refused(tea.thread, "psst") == (1, "not in group or chatroom")
    assert events(tea.bob) == [(10, tea.group, False)]
    assert events(tea.carol) == [(18, tea.group, False)]
    tea.carol.api.ok("DELETE", f"/chatgroups/{tea.group}/quit")
    tea.alice.api.refused("DELETE", f"/chatgroups/{tea.group}/quit", 403)
    assert tea.alice.api.ok("GET", f"/chatgroups/{tea.group}")["data"][0]["affiliations_count"] == 1


def test_invited_and_new_members_are_listed_and_the_others_are_told(tea: TeaGroup, sandbox: Sandbox) -> None:
    dave, erin = Device(sandbox, new_name("dave")), Device(sandbox, new_name("erin"))
    tea.bob.api.ok("POST", f"/chatgroups/{tea.group}/invite", json={"usernames": [dave.user]})
    assert events(dave) == [(19, tea.group, False)]
    assert events(tea.carol) == [(17, tea.group, False)]
    erin.api.ok("POST", f"/chatgroups/{tea.group}/apply", json={"message": "hi"})
    erin.api.refused("POST", f"/chatgroups/{tea.group}/apply", 403, json={"message": "again"})
    names: list[str] = []
    cursor = "undefined"
    while cursor:
        page = erin.api.ok("GET", f"/chatgroups/{tea.group}/users?cursor={cursor}&limit=2&joined_time=true")
        names += [each.get("owner") or each["member"] for each in page["data"]]
        assert len(page["data"]) <= 2
        cursor = page["cursor"]
    assert sorted(names) == sorted(device.user for device in (tea.alice, tea.bob, tea.carol, dave, erin))
    joined = erin.api.ok("GET", f"/users/{erin.user}/joined_chatgroups?pagenum=0&pagesize=20&version=v3")
    assert "joined_chatgroups" in joined["uri"]
    assert [group["id"] for group in joined["data"]] == [tea.group]
    tea.alice.api.ok("PUT", f"/chatgroups/{tea.group}", json={"groupname": "coffee"})
    assert tea.alice.api.ok("GET", f"/chatgroups/{tea.group}?joined_time=true")["data"][0]["name"] == "coffee"
    assert (14, tea.group, False) in events(erin)


def test_nobody_can_join_a_full_group(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice")).api
    group = alice.group(maxusers=1)
    Device(sandbox, new_name()).api.refused("POST", f"/chatgroups/{group}/apply", 403, json={})


def test_a_group_with_unknown_users_is_refused(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice")).api
    alice.refused("POST", "/chatgroups", 404, json={"groupname": "g", "members": ["nobody-of-that-name"]})
    assert alice.ok("GET", f"/users/{alice.user}/joined_chatgroups")["data"] == []
