"""Nicknames, avatars, and who is muted."""

import imkit
from tests.peer.walk.company import GROUP_DISABLED, MUTED, Steps, Walk, app_token, ask, heard, in_thread, refused

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Alice gives herself a nickname and an avatar, and Bob reads them."""
    mine = {"nickname": "爱丽丝 Alice", "avatarUrl": "https://example.com/a.png"}
    walk.alice.call("userInfo.updateOwnInfo", mine)
    walk.alice.wait("onOwnInfoUpdated")
    alice = walk.bob.users(["alice"])["alice"]
    assert (alice.nickname, alice.avatar_url) == (mine["nickname"], mine["avatarUrl"])


@steps.add
def _(walk: Walk) -> None:
    """Bob gives himself a nickname, and Alice reads it, also with the members of the group."""
    walk.bob.update_profile(nickname="Bob 鲍勃")
    (bob,) = walk.alice.call("userInfo.getUserInfoByUserId", {"userIds": ["bob"]})
    assert (bob["userId"], bob["nickname"]) == ("bob", "Bob 鲍勃")
    members = walk.alice.call("group.getGroupMemberList", {"groupId": walk.tea, "pageSize": 20})["items"]
    assert {member["user"]["userId"]: member["user"].get("nickname") for member in members}["bob"] == "Bob 鲍勃"


@steps.add
def _(walk: Walk) -> None:
    """Alice mutes Bob: he may not write, and knows why; then she ends it."""
    walk.alice.call("group.muteGroupMembers", {"groupId": walk.tea, "userIds": ["bob"], "muteDuration": 600_000})
    assert walk.bob.group(walk.tea).is_muted()
    assert walk.alice.call("group.checkIfInGroupMuteList", {"groupId": walk.tea}) is False
    try:
        walk.thread.send("Am I heard?")
    except imkit.Muted:
        walk.alice.call("group.unmuteGroupMembers", {"groupId": walk.tea, "userIds": ["bob"]})
    assert not walk.bob.group(walk.tea).is_muted()
    walk.thread.send("I am.")


@steps.add
def _(walk: Walk) -> None:
    """Whoever is muted, or writes to a group that the app has closed, is refused with the reason."""
    message = {**in_thread(walk.coffee), "content": "Am I heard?"}
    group, token = f"/chatgroups/{walk.coffee}", app_token(walk)
    ask(walk.sandbox, "POST", f"{group}/mute", {"usernames": ["alice"], "mute_duration": -1}, token)
    assert refused(walk.alice, "send", "text", message).type == MUTED
    ask(walk.sandbox, "DELETE", f"{group}/mute/alice", None, token)
    ask(walk.sandbox, "POST", f"{group}/disable", {}, token)
    assert refused(walk.alice, "send", "text", message).type == GROUP_DISABLED
    ask(walk.sandbox, "POST", f"{group}/enable", {}, token)
    heard(walk.bob, walk.alice.call("send", "text", message)["msgServerId"])
