"""A user who is not in a conversation asks for it in every way that the server knows.

`ROUTES` says for each route what Mallory asks there. A route without an entry fails the test: who adds a route decides
here what a stranger gets.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from imkit.sandbox.options import Options
from imkit.sandbox.server.server import Application
from imkit.sandbox.server.store import Store
from imkit.wire import schema
from imkit.wire.enums import BodyType, RouteType
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, Server, TeaGroup, app_api, close_everything

SECRET = "the-secret-of-the-tea-group"
REFUSED = {401, 403, 404}
APP = "/{organization}/{application}"


@dataclass(frozen=True)
class Asked:
    """What Mallory asks on a route.

    Attributes:
        body: the JSON body; `…` stands for nothing.
        form: the body goes as a form.
        statuses: the answers that are right.
        why: for other answers than refusals: why they are right.
    """

    body: Any = None
    statuses: frozenset[int] = frozenset(REFUSED)
    why: str = ""
    form: bool = False


def granted(why: str, body: Any = None) -> Asked:
    return Asked(body, frozenset({200}), why)


ROUTES: dict[str, Asked] = {
    # Threads. {id} is Alice's thread, {group} her group, {user} Alice, {message} a message of the thread.
    f"POST {APP}/thread/message": Asked({"threadIds": ["{id}"]}),
    f"POST {APP}/thread": Asked({"name": "mine", "msg_id": "{message}", "group_id": "{group}", "owner": "{me}"}),
    f"GET {APP}/thread": Asked(),
    f"GET {APP}/thread/{{id}}": Asked(),
    f"PUT {APP}/thread/{{id}}": Asked({"name": "mine"}),
    f"DELETE {APP}/thread/{{id}}": Asked(),
    f"POST {APP}/thread/{{id}}/user/{{user}}/join": Asked(),
    f"DELETE {APP}/thread/{{id}}/user/{{user}}/quit": Asked(),
    f"GET {APP}/thread/{{id}}/users": Asked(),
    f"POST {APP}/thread/{{id}}/users": Asked({"usernames": ["{me}"]}),
    f"DELETE {APP}/thread/{{id}}/users/{{user}}": Asked(),
    f"DELETE {APP}/thread/{{id}}/users": Asked({"usernames": ["{user}"]}),
    f"DELETE {APP}/threads/{{id}}/users": Asked({"usernames": ["{user}"]}),
    f"GET {APP}/threads/user/{{user}}": Asked(),
    f"GET {APP}/threads/chatgroups/{{group}}/user/{{user}}": Asked(),
    f"GET {APP}/threads/chatgroups/{{group}}": Asked(),
    # Streamed texts: only the app's own token.
    f"POST {APP}/stream_message/user": Asked({"from": "{user}", "to": "{me}", "body": {"msg": "x", "seq": 0}}),
    f"POST {APP}/stream_message/chatgroup": Asked({"from": "{user}", "to": "{group}", "body": {"msg": "x", "seq": 0}}),
    # Groups. {id} is Alice's group.
    f"POST {APP}/chatgroups": Asked({"owner": "{user}", "groupname": "mine", "members": ["{me}"]}),
    f"GET {APP}/chatgroups/{{id}}": Asked(),
    f"PUT {APP}/chatgroups/{{id}}": Asked({"groupname": "mine", "newowner": "{me}"}),
    f"DELETE {APP}/chatgroups/{{id}}": Asked(),
    f"GET {APP}/chatgroups/{{id}}/users": Asked(),
    f"POST {APP}/chatgroups/{{id}}/apply": Asked({"message": "hi"}),
    f"DELETE {APP}/chatgroups/{{id}}/quit": Asked(statuses=frozenset({400})),
    f"POST {APP}/chatgroups/{{id}}/invite": Asked({"usernames": ["{me}"]}),
    f"POST {APP}/chatgroups/{{id}}/users/{{user}}": Asked(),
    f"DELETE {APP}/chatgroups/{{id}}/users/{{users}}": Asked(),
    f"GET {APP}/chatgroups/{{id}}/mute": Asked(),
    f"POST {APP}/chatgroups/{{id}}/mute": Asked({"usernames": ["{user}"], "mute_duration": -1}),
    f"DELETE {APP}/chatgroups/{{id}}/mute/{{users}}": Asked(),
    f"POST {APP}/chatgroups/{{id}}/ban": Asked({}),
    f"DELETE {APP}/chatgroups/{{id}}/ban": Asked(),
    f"GET {APP}/sdk/chatgroups/{{id}}/mute/{{user}}": Asked(),
    f"GET {APP}/chatgroups/{{id}}/admin": Asked(),
    f"POST {APP}/chatgroups/{{id}}/admin": Asked({"newadmin": "{me}"}),
    f"DELETE {APP}/chatgroups/{{id}}/admin/{{user}}": Asked(),
    f"POST {APP}/chatgroups/{{id}}/disable": Asked(),
    f"POST {APP}/chatgroups/{{id}}/enable": Asked(),
    f"GET {APP}/users/{{user}}/joined_chatgroups": Asked(),
    f"GET {APP}/chatgroups/user/{{user}}": Asked(),
    f"POST {APP}/sdk/metadata/chatgroup/{{id}}/get": Asked({"targets": ["{user}"], "properties": []}),
    f"POST {APP}/sdk/chatgroups/{{id}}/nameCard/batch/get": Asked({"members": ["{user}"]}),
    # Messages.
    f"POST {APP}/users/{{user}}/messageroaming": Asked({"queue": f"{{id}}@{GROUP_DOMAIN}"}),
    f"GET {APP}/chatgroups/{{id}}/acks/{{message}}": Asked(),
    f"POST {APP}/chatgroups/{{id}}/acks/batch": Asked({"messageIds": ["{message}"]}),
    f"POST {APP}/reaction/user/{{user}}": Asked({"msgId": "{message}", "message": "👍"}),
    f"DELETE {APP}/reaction/user/{{user}}": Asked(),
    f"GET {APP}/reaction/user/{{user}}": Asked(),
    f"GET {APP}/reaction/user/{{user}}/detail": Asked(),
    f"POST {APP}/messages/msg_recall": Asked({"msg_id": "{message}", "to": "{id}", "chat_type": "groupchat"}),
    # The list of conversations. {user} is Alice, {id} her group.
    f"GET {APP}/sdk/user/{{user}}/user_channels/list": Asked(),
    f"GET {APP}/sdk/user/{{user}}/user_channels/mark/search": Asked(statuses=frozenset({400})),
    f"POST {APP}/sdk/user/{{user}}/user_channels/mark": Asked({"mark": "mark_1", "targets": [{"to": "{id}"}]}),
    f"DELETE {APP}/sdk/user/{{user}}/user_channels/mark": Asked({"mark": "mark_1", "targets": [{"to": "{id}"}]}),
    f"POST {APP}/sdk/user/{{user}}/user_channel/top": Asked({"type": "groupchat", "to": "{id}"}),
    f"DELETE {APP}/sdk/user/{{user}}/user_channel/top": Asked(),
    f"DELETE {APP}/user/{{user}}/user_channel": Asked({"type": "groupchat", "channel": "{id}", "delete_roam": True}),
    f"GET {APP}/users/{{user}}/user_channels": Asked(),
    f"GET {APP}/users/{{user}}/user_channels/page": Asked(),
    f"DELETE {APP}/sdk/message/roaming/{{kind}}/user/{{user}}": Asked(),
    f"DELETE {APP}/sdk/message/roaming/{{kind}}/user/{{user}}/time": Asked(),
    f"POST {APP}/sdk/message/roaming/user/{{user}}/delete/all": Asked(),
    f"GET {APP}/user/{{user}}/roster/metadata/version": Asked(),
    **{
        f"{method} {APP}/sdk/user/{{user}}/user_channel/pin": Asked(
            {"to": "{group}", "type": "groupchat", "pin_msg_id": "{message}"}
        )
        for method in ("GET", "POST", "DELETE")
    },
    f"POST {APP}/user/{{user}}/moderation/report/message/{{message}}": Asked({"reportType": "x", "reportReason": "x"}),
    # Users. {user} is Alice.
    f"POST {APP}/token": Asked({"grant_type": "password", "username": "{user}", "password": "x"}, frozenset({400})),
    f"POST {APP}/users": Asked({"username": "{user}", "password": "mine"}, frozenset({400}), "the name is taken"),
    f"GET {APP}/users/{{user}}": granted("everybody may see that a user exists, and the nickname"),
    f"DELETE {APP}/users/{{user}}": Asked(),
    f"PUT {APP}/users/{{user}}/password": Asked({"newpassword": "mine"}),
    f"POST {APP}/users/{{user}}/disconnect": Asked({}),
    f"GET {APP}/users/{{user}}/resources": Asked(),
    f"GET {APP}/users/{{user}}/notification": Asked(),
    f"GET {APP}/sdk/users/{{user}}/token/expires": Asked(),
    f"POST {APP}/metadata/user/get": granted("users show themselves to all users of the app", {"targets": ["{user}"]}),
    f"PUT {APP}/metadata/user/{{user}}": Asked({"nickname": "mine"}, form=True),
    # Attachments: whoever has the share-secret may read; the message carries it.
    f"POST {APP}/chatfiles": Asked(None, frozenset({400}), "a file of one's own; without a form it is refused"),
    f"GET {APP}/chatfiles/{{uuid}}": Asked(),
    # imkit's own.
    "GET /imkit/health": granted("it says the version and the number of connections, nothing of users"),
    "POST /imkit/app-server/token": Asked({"user": "{user}"}),
    "POST /imkit/retire": Asked({}),
}


class Scene:
    """Alice's group and thread with secrets in them, and Mallory, who knows every id and is in neither."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.alice, self.bob = Device(server, new_name("alice")), Device(server, new_name("bob"))
        self.group = self.alice.api.group(self.bob.user, groupname=f"{SECRET} group", public=False)
        parent = self.alice.send(self.group, f"{SECRET} parent")
        self.thread = self.alice.api.thread(self.group, parent, f"{SECRET} thread")
        self.bob.api.join(self.thread)
        self.messages = {self.group: parent, self.thread: self.alice.send(self.thread, f"{SECRET} message")}
        for conversation, message in self.messages.items():
            self.bob.send(conversation, schema.MessageBody(type=BodyType.READ_ACK, ackMessageId=message))
        pin = {"to": self.group, "type": "groupchat", "pin_msg_id": str(parent)}
        self.alice.api.ok("POST", f"/sdk/user/{self.alice.user}/user_channel/pin", json=pin)
        file = {"file": (SECRET, SECRET.encode())}
        self.upload = self.alice.api.ok("POST", "/chatfiles", files=file)["entities"][0]["uuid"]
        self.mallory = Device(server, new_name("mallory"))

    def ask(self, route: str, as_user: Api | None = None) -> httpx.Response:
        method, template = route.split()
        is_thread = "/thread" in template or "messageroaming" in template or "recall" in template
        conversation = self.thread if is_thread else self.group
        names = {
            "organization": "imkit",
            "application": "sandbox",
            "id": conversation,
            "group": self.group,
            "kind": "group",
            "user": self.alice.user,
            "users": f"{self.bob.user},{self.alice.user}",
            "me": self.mallory.user,
            "message": str(self.messages[conversation]),
            "uuid": self.upload,
        }
        body = json.dumps(ROUTES[route].body)
        for name, value in names.items():
            body = body.replace(f"{{{name}}}", value)
        caller = as_user or self.mallory.api
        kind = "data" if ROUTES[route].form else "json"
        content: dict[str, Any] = {} if body == "null" else {kind: json.loads(body)}
        return caller.http.request(method, self.server.rest_url + template.format(**names), **content)

    def state(self) -> Any:
        """Everything of the conversations that a request could change."""
        alice = self.alice.api
        group, thread = self.group, self.thread
        acks = [alice.ok("GET", f"/chatgroups/{room}/acks/{each}")["data"] for room, each in self.messages.items()]
        return [
            *(alice.ok("GET", f"/chatgroups/{group}")["data"], alice.ok("GET", f"/chatgroups/{group}/users")["data"]),
            *(alice.ok("GET", f"/thread/{thread}")["data"], alice.ok("GET", f"/thread/{thread}/users")["data"]),
            *(alice.ok("GET", f"/threads/chatgroups/{group}")["entities"], alice.page(group), alice.page(thread), acks),
            *(alice.ok("GET", f"/users/{alice.user}/joined_chatgroups")["data"],),
            *(alice.ok("GET", f"/users/{alice.user}/resources")["data"],),
            *(alice.ok("GET", f"/sdk/user/{alice.user}/user_channel/pin?to={group}&type=groupchat")["data"],),
            *(alice.ok("POST", "/metadata/user/get", json={"targets": [alice.user]})["data"],),
        ]


@pytest.fixture(scope="module")
def scene(sandbox: Server) -> Iterator[Scene]:
    yield Scene(sandbox)
    close_everything()


def test_each_route_has_an_entry() -> None:
    routes = Application(Options(), Store(None)).routes
    served = {f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert served == ROUTES.keys()
    for asked in ROUTES.values():
        assert asked.statuses <= REFUSED | {400} or asked.why


def test_a_stranger_learns_and_changes_nothing_over_rest(scene: Scene) -> None:
    before = scene.state()
    for route, asked in ROUTES.items():
        reply = scene.ask(route)
        assert reply.status_code in asked.statuses, (route, reply.status_code, reply.text)
        assert SECRET not in reply.text, route
        assert scene.bob.user not in reply.text, route
    assert scene.state() == before


def test_without_a_token_nobody_learns_anything(scene: Scene) -> None:
    before = scene.state()
    nobody = Api(scene.server)
    for route in ROUTES.keys() - {"GET /imkit/health"}:
        reply = scene.ask(route, nobody)
        assert reply.status_code in REFUSED | {400}, (route, reply.text)
        assert SECRET not in reply.text, route
    assert scene.state() == before


def test_who_has_left_gets_nothing_any_more(scene: Scene) -> None:
    carol = Device(scene.server, new_name("carol"))
    scene.alice.api.ok("POST", f"/chatgroups/{scene.group}/users/{carol.user}")
    carol.api.join(scene.thread)
    assert carol.api.page(scene.thread)["msgs"]
    carol.api.ok("DELETE", f"/chatgroups/{scene.group}/quit")
    for route, asked in ROUTES.items():
        reply = scene.ask(route, carol.api)
        assert reply.status_code in asked.statuses, (route, reply.text)
        assert SECRET not in reply.text, route


def test_a_member_of_the_group_alone_reads_nothing_of_the_thread(sandbox: Server) -> None:
    tea = TeaGroup(sandbox)
    sent = tea.alice.send(tea.thread, "in the thread")
    tea.bob.send(tea.thread, schema.MessageBody(type=BodyType.READ_ACK, ackMessageId=sent))
    acks = f"/chatgroups/{tea.thread}/acks/{sent}"
    read = tea.alice.api.ok("GET", acks)["data"]["group_ack"]["userlist"]
    assert [ack["username"] for ack in read] == [tea.bob.user]
    tea.carol.api.refused("GET", acks, 403)
    # The id of one conversation does not open a message of another.
    tea.carol.api.refused("GET", f"/chatgroups/{tea.group}/acks/{sent}", 404)
    queue = {"queue": f"{tea.thread}@{GROUP_DOMAIN}"}
    tea.carol.api.refused("POST", f"/users/{tea.carol.user}/messageroaming", 403, json=queue)


def test_others_see_of_a_public_group_what_they_need_to_join_it(scene: Scene) -> None:
    group = scene.alice.api.group(groupname="open", public=True, custom=SECRET)
    (shown,) = scene.mallory.api.ok("GET", f"/chatgroups/{group},{scene.group}")["data"]
    assert (shown["id"], shown["name"], shown["affiliations_count"]) == (group, "open", 1)
    assert not {"affiliations", "custom"} & shown.keys()
    scene.mallory.api.ok("POST", f"/chatgroups/{group}/apply", json={})
    (shown,) = scene.mallory.api.ok("GET", f"/chatgroups/{group}")["data"]
    assert shown["custom"] == SECRET
    assert {"member": scene.mallory.user} in shown["affiliations"]


# ---------------------------------------------------------------- the socket


def test_a_stranger_learns_and_changes_nothing_over_the_socket(scene: Scene) -> None:
    before, mallory = scene.state(), scene.mallory
    for conversation, message in scene.messages.items():
        for kind in BodyType:
            for domain in (GROUP_DOMAIN, ""):
                for route in RouteType:
                    body = schema.MessageBody(
                        type=kind, ackMessageId=message, editMessageId=message, contents=[schema.Content(text="x")]
                    )
                    refused = mallory.refused(
                        conversation, body, domain=domain, routetype=route, directedUsers=[scene.alice.user]
                    )
                    assert refused == (1, "not in group or chatroom"), (kind, domain, route)
        # In a conversation of one's own, the message of another one does not exist.
        mine = mallory.api.group()
        for kind in (BodyType.RECALL, BodyType.EDIT, BodyType.READ_ACK):
            body = schema.MessageBody(type=kind, ackMessageId=message, editMessageId=message)
            assert mallory.refused(mine, body) == (1, "Sorry, message does not exist")
            if kind != BodyType.READ_ACK:
                refused = mallory.refused(scene.alice.user, body, domain=USER_DOMAIN)
                assert refused == (1, "Sorry, message does not exist")
    for queue in (scene.group, scene.thread, scene.alice.user, scene.bob.user):
        for domain in (GROUP_DOMAIN, USER_DOMAIN):
            mallory.fetch(schema.JID(appKey="imkit#sandbox", name=queue, domain=domain))
    mallory.receive_all()
    assert not [meta for meta in mallory.metas if SECRET.encode() in meta.SerializeToString()]
    assert scene.state() == before


def test_only_the_app_recalls_for_others(scene: Scene) -> None:
    message = scene.alice.send(scene.thread, "for the app")
    body = {"msg_id": str(message), "to": scene.thread, "chat_type": "groupchat"}
    scene.bob.api.refused("POST", "/messages/msg_recall", 403, json=body)
    assert app_api(scene.server).ok("POST", "/messages/msg_recall", json=body)["data"]["recalled"] == "yes"
