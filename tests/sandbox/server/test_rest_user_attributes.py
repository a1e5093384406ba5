"""The attributes of users over REST: forms, limits, and the notice to a user's own devices."""

import json

import pytest

from imkit.sandbox.process import Sandbox
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.users import Users
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, app_api, token_of

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}


def attributes(api: Api, *targets: str, **more: object) -> tuple[object, dict[str, int]]:
    reply = api.ok("POST", "/metadata/user/get", json={"targets": targets, **more})
    return reply["data"], reply["lastModified"]


def test_a_form_changes_what_it_names(sandbox: Sandbox) -> None:
    alice, bob = Device(sandbox, new_name("alice")), Device(sandbox, new_name("bob"))
    path = f"/metadata/user/{alice.user.upper()}"
    # The official SDK sends one attribute without percent signs, and several with them.
    reply = alice.api.ok("PUT", path, content="nickname=爱丽丝 &sign=".encode(), headers=FORM)
    assert reply["data"] == {"nickname": "爱丽丝 ", "sign": ""}
    alice.api.ok("PUT", path, data={"ext": '{"a": "\x00\U0001f375"}', "hobby": "tea", "sign": "a+b"})
    everything = {"nickname": "爱丽丝 ", "sign": "a+b", "ext": '{"a": "\x00\U0001f375"}', "hobby": "tea"}
    found, modified = attributes(bob.api, alice.user, bob.user, "nobody at all")
    assert found == {alice.user: everything, bob.user: {}, "nobody at all": {}}
    assert list(modified) == [alice.user]
    assert attributes(bob.api, alice.user, properties=["sign", "mail"])[0] == {alice.user: {"sign": "a+b"}}
    app_api(sandbox).ok("PUT", path, data={"nickname": "Alice"})
    alice.receive_all()
    told = [json.loads(meta.payload) for meta in alice.metas if meta.ns == 5]
    assert [each["type"] for each in told] == ["user_metadata_updated"] * 3
    assert told[-1]["data"]["username"] == alice.user
    assert told[-1]["data"]["metadata"] == {"nickname": "Alice"}
    assert not [meta for meta in bob.metas if meta.ns == 5]


def test_what_is_too_much_or_no_form_is_refused(sandbox: Sandbox) -> None:
    user = new_name("alice")
    alice = Api(sandbox, token_of(sandbox, user), user)
    path = f"/metadata/user/{user}"
    for name, longest in (("nickname", 64), ("avatarurl", 256), ("phone", 32), ("mail", 64), ("sign", 256)):
        assert alice.refused("PUT", path, 403, data={name: "茶" * (longest + 1)})["error"] == "data_length_exceed"
    alice.ok("PUT", path, data={"ext": "x" * 1500})
    for more in ({"other": "x" * 600}, {"茶" * 200: ""}, {"ext": "x" * 2046}):
        assert "exceeds" in alice.refused("PUT", path, 403, data=more)["error_description"]
    alice.ok("PUT", path, data={"ext": "x" * 2045})  # 2,048 bytes with its name
    alice.refused("PUT", path, 415, json={"nickname": "x"})
    alice.refused("PUT", path, 413, data={"nickname": "x" * 65_536})
    for body in (b"", b"=%ff", b"nickname=\xff", b"nickname=%ED%A0%80", b"&".join([b"a=1"] * 101)):
        alice.refused("PUT", path, 400, content=body, headers=FORM)
    assert attributes(alice, user)[0] == {user: {"ext": "x" * 2045}}
    for targets in ([], "alice", [7], None):
        alice.refused("POST", "/metadata/user/get", 400, json={"targets": targets})
    many = {"targets": [f"user{number}" for number in range(101)]}
    assert alice.refused("POST", "/metadata/user/get", 400, json=many)["error"] == "usercount_exceed"
    app_api(sandbox).refused("PUT", "/metadata/user/nobody-at-all", 404, data={"nickname": "x"})


def test_a_removed_user_takes_its_attributes_along() -> None:
    store = Store(None)
    users = Users(store)
    with store.transaction():
        users.register("alice", None)
        users.set_attributes("alice", {"nickname": "x"})
        assert users.attributes(["alice", "bob"])["alice"][0] == {"nickname": "x"}
        users.remove("alice")
        assert users.attributes(["alice"]) == {}


@pytest.mark.parametrize("origin", ["https://site.example", "null"])
def test_a_form_of_another_site_is_no_login(sandbox: Sandbox, nobody: Api, origin: str) -> None:
    user = new_name("alice")
    alice = Api(sandbox, token_of(sandbox, user), user)
    form = {"content": b"nickname=x", "headers": {**FORM, "Origin": origin}}
    nobody.refused("PUT", f"/metadata/user/{user}", 401, **form)
    assert attributes(alice, user)[0] == {user: {}}
