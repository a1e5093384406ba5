"""Attributes of users and mutes: what the official SDK writes imkit reads, and the other way round."""

from collections.abc import Callable, Iterator

import pytest

import imkit
from tests.peer.conftest import Login
from tests.peer.peer import Peer, SdkError
from tests.peer.test_conversation import MixedThread, mixed_thread
from tests.sandbox.server.raw_client import Server

pytestmark = pytest.mark.peer


@pytest.fixture
def mixed(sandbox: Server, peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[MixedThread]:
    yield from mixed_thread(sandbox, peer, login, new_user)


@pytest.mark.timeout(30)
def test_each_reads_what_the_other_calls_itself(mixed: MixedThread) -> None:
    alice, bob = mixed.alice, mixed.bob
    hers = {
        "nickname": "爱丽丝 +&=%",
        "avatarurl": "https://example.com/a.png?b=1&c",
        "gender": 2,
        "mail": "a@b.example",
    }
    reply = alice.call("updateUserInfo", hers)
    assert reply["data"]["nickname"] == hers["nickname"]
    assert bob.users([alice.user])[alice.user] == imkit.User(
        alice.user, hers["nickname"], hers["avatarurl"], gender="2", mail="a@b.example"
    )
    alice.call("updateUserInfo", "sign", "茶")  # the SDK writes a single attribute without percent signs
    bob.update_profile(nickname="小博 +&=%", avatar_url="https://example.com/b.png?a=1&b=2")
    asked = alice.call("fetchUserInfoById", [alice.user, bob.user, "nobody"])["data"]
    assert asked[bob.user] == {"nickname": "小博 +&=%", "avatarurl": "https://example.com/b.png?a=1&b=2"}
    assert asked[alice.user] == {**hers, "gender": "2", "sign": "茶"}
    assert not asked["nobody"]
    assert alice.call("fetchUserInfoById", bob.user, "nickname")["data"] == {bob.user: {"nickname": "小博 +&=%"}}
    with pytest.raises(SdkError) as caught:
        alice.call("updateUserInfo", {"nickname": "x" * 65})
    assert caught.value.type == 603

    group = bob.group(mixed.group)
    assert alice.call("isInGroupMutelist", {"groupId": mixed.group})["data"] is False
    alice.call("muteGroupMember", {"groupId": mixed.group, "username": bob.user, "muteDuration": 60_000})
    assert group.is_muted()
    alice.call("unmuteGroupMember", {"groupId": mixed.group, "username": bob.user})
    assert not group.is_muted()
