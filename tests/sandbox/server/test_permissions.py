"""Which user may send, recall and edit, and the reason of each refusal.

Source: docs/protocol.md#refusals-of-a-send, docs/protocol.md#recall, docs/protocol.md#editing.
"""

import pytest

from imkit.sandbox.options import Options
from imkit.sandbox.process import Sandbox
from imkit.sandbox.server.message_record import StoredMessage
from imkit.sandbox.server.permissions import SendRefused, check_recall_time
from imkit.sandbox.server.store import ID_BITS
from imkit.wire import schema
from imkit.wire.envelope import USER_DOMAIN
from tests.people import new_name
from tests.sandbox.server.raw_client import (
    Device,
    TeaGroup,
    app_api,
    body_of,
    close_everything,
    sender_of,
)
from tests.sandbox.server.test_uplink import CONTENTS, edit, history


def test_only_members_may_send(tea: TeaGroup, sandbox: Sandbox) -> None:
    stranger = Device(sandbox, new_name("dave"))
    outside = (1, "not in group or chatroom")
    assert tea.carol.refused(tea.thread, "a group member outside the thread") == outside
    assert stranger.refused(tea.thread, "a stranger") == outside
    assert stranger.refused(tea.group, "a stranger") == outside
    assert tea.alice.refused("999999999999", "nowhere") == (1, "group not found")
    assert tea.alice.refused("nobody-at-all", "nobody", domain=USER_DOMAIN)[0] == 1


def test_a_mute_also_holds_in_threads(tea: TeaGroup) -> None:
    body = {"usernames": [tea.bob.user], "mute_duration": -1}
    tea.bob.api.refused("POST", f"/chatgroups/{tea.group}/mute", 403, json=body)
    tea.alice.api.ok("POST", f"/chatgroups/{tea.group}/mute", json=body)
    assert tea.bob.refused(tea.group, "psst")[0] == 15
    assert tea.bob.refused(tea.thread, "psst")[0] == 15
    tea.alice.api.ok("DELETE", f"/chatgroups/{tea.group}/mute/{tea.bob.user}")
    tea.bob.send(tea.thread, "again")


def test_nobody_may_send_to_a_disabled_group(tea: TeaGroup, sandbox: Sandbox) -> None:
    app = app_api(sandbox)
    app.ok("POST", f"/chatgroups/{tea.group}/disable")
    assert tea.alice.refused(tea.thread, "psst") == (1, "group is disabled")
    app.ok("POST", f"/chatgroups/{tea.group}/enable")
    tea.alice.send(tea.thread, "again")


def test_the_sender_and_the_groups_managers_may_recall_and_only_in_the_same_conversation(tea: TeaGroup) -> None:
    sent = tea.bob.send(tea.thread, "mine")
    tea.carol.api.join(tea.thread)
    assert tea.carol.recall(tea.thread, sent).reason == "no permission to recall message"
    assert tea.bob.recall(tea.group, sent).reason == "Sorry, message does not exist"
    assert tea.bob.recall(tea.thread, 2**64 - 1).reason == "Sorry, message does not exist"
    assert len(tea.bob.api.page(tea.thread)["msgs"]) == 1
    assert tea.alice.recall(tea.thread, sent).errorCode == 0  # the owner
    meta = tea.bob.until(lambda meta: meta.ns == 1 and body_of(meta).ackMessageId == sent)
    assert sender_of(meta) == tea.alice.user
    tea.alice.api.ok("POST", f"/chatgroups/{tea.group}/admin", json={"newadmin": tea.carol.user})
    assert tea.carol.recall(tea.thread, tea.alice.send(tea.thread, "the owner's")).errorCode == 0  # an admin
    his = tea.bob.send(tea.thread, "his")
    tea.carol.api.ok("DELETE", f"/thread/{tea.thread}/user/{tea.carol.user}/quit")
    assert tea.carol.recall(tea.thread, his).errorCode == 0  # an admin who has not joined the thread
    assert tea.carol.refused(tea.thread, "psst") == (1, "not in group or chatroom")
    assert tea.bob.api.page(tea.thread)["msgs"] == []


def test_the_time_limit_of_a_recall_includes_its_last_millisecond() -> None:
    sent_at = 1_795_390_332_417
    message = StoredMessage(sent_at << ID_BITS, "21", "alice", "txt", 0, b"")
    check_recall_time(Options(recall_seconds=2), message, now=sent_at + 2000)
    with pytest.raises(SendRefused, match="exceed recall time limit"):
        check_recall_time(Options(recall_seconds=2), message, now=sent_at + 2001)


def test_after_the_time_limit_only_the_app_and_the_groups_managers_can_recall() -> None:
    with Sandbox(recall_seconds=0.001) as sandbox:
        tea = TeaGroup(sandbox)
        sent = tea.bob.send(tea.thread, "slow")
        while (status := tea.bob.recall(tea.thread, sent)).errorCode == 0:  # within the same millisecond
            sent = tea.bob.send(tea.thread, "slow")
        assert (status.errorCode, status.reason) == (1, "exceed recall time limit")
        app = app_api(sandbox)
        body = {"msg_id": str(sent), "to": tea.thread, "chat_type": "groupchat"}
        answer = app.ok("POST", "/messages/msg_recall", json=body)["data"]
        assert answer == {"msgs": [{"msg_id": str(sent), "recalled": "exceed recall time limit"}]}
        assert app.ok("POST", "/messages/msg_recall", json={**body, "force": True})["data"]["recalled"] == "yes"
        meta = tea.bob.until(lambda meta: meta.ns == 1 and body_of(meta).ackMessageId == sent)
        assert (sender_of(meta), body_of(meta).type) == ("admin", 6)
        sent = tea.bob.send(tea.thread, "slow")
        assert tea.alice.recall(tea.thread, sent).errorCode == 0
        assert tea.bob.api.page(tea.thread)["msgs"] == []
        close_everything()


def test_recalls_can_be_disabled() -> None:
    with Sandbox(recall_seconds=0) as sandbox:
        tea = TeaGroup(sandbox)
        status = tea.alice.recall(tea.thread, tea.alice.send(tea.thread, "for ever"))
        assert (status.errorCode, status.reason) == (1, "message recall disabled")
        close_everything()


def test_the_sender_and_the_groups_owner_may_edit_a_text_ten_times(tea: TeaGroup) -> None:
    sent = tea.bob.send(tea.thread, "text")
    place = tea.bob.send(tea.thread, schema.MessageBody(type=2, contents=[CONTENTS["loc"]]))
    tea.carol.api.join(tea.thread)
    text = schema.Content(type=0, text="other")
    assert tea.carol.refused(tea.thread, edit(sent, text)) == (1, "Sorry, You do not have permission")
    assert tea.bob.refused(tea.thread, edit(place, CONTENTS["loc"])) == (1, "Sorry, format is incorrect")
    entry = schema.KeyValue(key="k", type=1, varintValue=1)
    tea.bob.send(tea.thread, schema.MessageBody(type=8, editMessageId=place, editScope=2, ext=[entry]))
    assert body_of(history(tea)[1]).ext[0].key == "k"
    for _ in range(10):  # by the group's owner
        tea.alice.send(tea.thread, edit(sent, text))
    assert tea.bob.refused(tea.thread, edit(sent, text)) == (1, "Sorry, edit limit reached")
    assert tea.bob.refused(tea.thread, edit(12345, text)) == (1, "Sorry, message does not exist")
