"""Groups, their members and their admins."""

import imkit
from tests.peer.walk.company import FORBIDDEN, NOT_FOUND, Steps, Walk, refused, told

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice creates a group with Bob in it, and Bob is told."""
    options = {"public": True, "joinApprovalRequired": False, "allowInvites": True, "inviteNeedConfirm": False}
    named = {"name": "tea", "description": "leaves and water", "memberIds": ["bob"], "maxMembers": 200}
    walk.tea = walk.alice.call("group.createGroup", named | options)["groupId"]
    told(walk.bob, imkit.GroupChanged, group_id=walk.tea, operation="directJoined")
    assert walk.tea in [group.id for group in walk.bob.groups()]


@steps.add
def _(walk: Walk) -> None:
    """Bob creates a group with Alice in it, and she is told."""
    walk.coffee = walk.bob.create_group("coffee", members=["alice", "carol"]).id
    walk.alice.wait("onAutoAcceptInvitationFromGroup", groupId=walk.coffee)
    joined = walk.alice.call("group.getJoinedGroupList", {"pageNum": 0, "pageSize": 20})
    assert {group["groupId"] for group in joined} >= {walk.tea, walk.coffee}


@steps.add
def _(walk: Walk) -> None:
    """Bob invites Dave to his group and removes him; Alice is told both times."""
    coffee = walk.bob.group(walk.coffee)
    coffee.invite("dave")
    walk.alice.wait("onMembersJoined", groupId=walk.coffee)
    coffee.remove("dave")
    walk.alice.wait("onMembersExited", groupId=walk.coffee)


@steps.add
def _(walk: Walk) -> None:
    """Alice invites Carol, who is told; Bob is told that Carol has come."""
    walk.alice.call("group.inviteUsersToGroup", {"groupId": walk.tea, "userIds": ["carol"]})
    told(walk.carol, imkit.GroupChanged, group_id=walk.tea, operation="directJoined")
    assert "carol" in told(walk.bob, imkit.GroupChanged, group_id=walk.tea, operation="memberPresence").users


@steps.add
def _(walk: Walk) -> None:
    """Alice reads what her group is."""
    found = walk.alice.call("group.getGroupInfo", {"groupId": walk.tea})
    assert (found["groupId"], found["name"], found["description"]) == (walk.tea, "tea", "leaves and water")
    assert found["memberCount"] == 3


@steps.add
def _(walk: Walk) -> None:
    """Alice reads who is in her group, and which role each has."""
    found = walk.alice.call("group.getGroupMemberList", {"groupId": walk.tea, "pageSize": 20})["items"]
    assert {entry["user"]["userId"]: entry["role"] for entry in found} == {
        "alice": "owner",
        "bob": "member",
        "carol": "member",
    }


@steps.add
def _(walk: Walk) -> None:
    """Carol becomes an admin of the group and stops being one; she is told both times."""
    chosen = {"groupId": walk.tea, "userId": "carol"}
    walk.alice.call("group.addGroupAdmin", chosen)
    told(walk.carol, imkit.GroupChanged, group_id=walk.tea, operation="setAdmin")
    admins = walk.alice.call("group.getGroupAdminList", {"groupId": walk.tea})
    assert [admin["userId"] for admin in admins] == ["carol"]
    walk.alice.call("group.removeGroupAdmin", chosen)
    told(walk.carol, imkit.GroupChanged, group_id=walk.tea, operation="removeAdmin")


@steps.add
def _(walk: Walk) -> None:
    """Alice renames her group."""
    walk.alice.call("group.updateGroupInfo", {"groupId": walk.tea, "name": "茶", "description": "树叶和水"})
    found = walk.alice.call("group.getGroupInfo", {"groupId": walk.tea})
    assert (found["name"], found["description"]) == ("茶", "树叶和水")


@steps.add
def _(walk: Walk) -> None:
    """Alice may not remove a member of Bob's group."""
    gone = {"groupId": walk.coffee, "userIds": ["carol"]}
    assert refused(walk.alice, "group.removeGroupMembers", gone).type == FORBIDDEN


@steps.add
def _(walk: Walk) -> None:
    """Alice leaves Bob's group, and Bob is told; she may not join it by herself, since it is not public."""
    walk.alice.call("group.leaveGroup", {"groupId": walk.coffee})
    assert "alice" in told(walk.bob, imkit.GroupChanged, group_id=walk.coffee, operation="memberAbsence").users
    assert refused(walk.alice, "group.joinGroup", {"groupId": walk.coffee, "message": "may I?"}).type == NOT_FOUND
    walk.bob.group(walk.coffee).invite("alice")
    walk.alice.wait_for(2, "onAutoAcceptInvitationFromGroup", groupId=walk.coffee)


@steps.add
def _(walk: Walk) -> None:
    """Bob removes Alice from a group and destroys it; she is told both times."""
    group = walk.bob.create_group("water", members=["alice"])
    walk.alice.wait("onAutoAcceptInvitationFromGroup", groupId=group.id)
    group.remove("alice")
    walk.alice.wait("onUserRemoved", groupId=group.id)
    group.invite("alice")
    group.destroy()
    walk.alice.wait("onGroupDestroyed", groupId=group.id)


@steps.add
def _(walk: Walk) -> None:
    """Alice removes Bob from a group and destroys it; the members are told."""
    group = walk.alice.call("group.createGroup", {"name": "milk", "memberIds": ["bob", "carol"], "maxMembers": 10})
    walk.alice.call("group.removeGroupMembers", {"groupId": group["groupId"], "userIds": ["bob"]})
    told(walk.bob, imkit.GroupChanged, group_id=group["groupId"], operation="removeMember")
    walk.alice.call("group.destroyGroup", {"groupId": group["groupId"]})
    told(walk.carol, imkit.GroupChanged, group_id=group["groupId"], operation="destroy")


@steps.add
def _(walk: Walk) -> None:
    """A group that does not exist cannot be read."""
    assert refused(walk.alice, "group.getGroupInfo", {"groupId": "1"}).type in {NOT_FOUND, 605}
