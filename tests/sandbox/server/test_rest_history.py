"""Roaming history: both directions, cursors, bounds and filters.

Source: docs/protocol.md#roaming-history.
"""

import base64
import json
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, TeaGroup, sender_of, text_body, texts, token_of


def metas(page: Any) -> list[Any]:
    return [schema.Meta.FromString(base64.b64decode(each["msg"])) for each in page["msgs"]]


def all_ids(api: Api, conversation: str, limit: int, **filters: Any) -> list[int]:
    """Read a conversation page by page; return the ids of all messages."""
    found: list[int] = []
    start: Any = -1
    while True:
        page = api.page(conversation, start=start, pull_number=limit, **filters)
        ids = [meta.id for meta in metas(page)]
        assert len(ids) <= limit
        found += ids
        assert page["next_key"] == (str(ids[-1]) if ids else "")
        if page["is_last"]:
            return found
        assert ids
        start = page["next_key"]


@pytest.fixture(scope="module")
def said(sandbox: Sandbox) -> tuple[Api, str, list[int], list[int]]:
    """Send forty-five messages of two users to a thread; return (reader, thread, ids, times)."""
    alice, bob = Device(sandbox, new_name("alice")), Device(sandbox, new_name("bob"))
    group = alice.api.group(bob.user)
    thread = alice.api.thread(group, alice.send(group, "parent"))
    bob.api.join(thread)
    ids = []
    for number in range(45):
        kind = schema.Content(type=7, customEvent="e") if number % 5 == 0 else schema.Content(type=0, text=str(number))
        ids.append((bob if number % 3 == 0 else alice).send(thread, schema.MessageBody(contents=[kind])))
    reader = Api(sandbox, bob.token, bob.user)
    return reader, thread, ids, [each >> 20 for each in ids]


@pytest.fixture
def reader(said: tuple[Api, str, list[int], list[int]]) -> Api:
    """A new client for each test, because clients are closed after a test."""
    return Api(said[0].server, said[0].token, said[0].user)


Said = tuple[Api, str, list[int], list[int]]


@pytest.mark.parametrize("limit", [1, 7, 44, 45, 50])
def test_pages_bring_everything_once_in_either_direction(said: Said, reader: Api, limit: int) -> None:
    _, thread, ids, _ = said
    assert all_ids(reader, thread, limit, is_positive=True) == ids
    assert all_ids(reader, thread, limit, is_positive=False) == ids[::-1]


def test_a_cursor_may_be_a_number(said: Said, reader: Api) -> None:
    _, thread, ids, _ = said
    page = reader.page(thread, start=ids[9], pull_number=3, is_positive=True)
    assert [meta.id for meta in metas(page)] == ids[10:13]


def test_page_sizes_stay_within_their_bounds(said: Said, reader: Api) -> None:
    _, thread, _, _ = said
    assert len(reader.page(thread, pull_number=500)["msgs"]) == 45
    assert len(reader.page(thread, pull_number=0)["msgs"]) == 1
    assert len(reader.page(thread)["msgs"]) == 20


def test_without_a_direction_the_newest_messages_come_first(said: Said, reader: Api) -> None:
    _, thread, ids, _ = said
    assert [meta.id for meta in metas(reader.page(thread))] == ids[:-21:-1]


def test_bounds_are_both_included(said: Said, reader: Api) -> None:
    _, thread, ids, times = said
    since, until = times[10], times[30]
    expected = [each for each, time in zip(ids, times, strict=True) if since <= time <= until]
    assert all_ids(reader, thread, 7, is_positive=True, startTime=since, endTime=until) == expected
    assert all_ids(reader, thread, 7, is_positive=False, startTime=since, endTime=until) == expected[::-1]
    assert all_ids(reader, thread, 7, startTime=1, endTime=9999999999999) == ids[::-1]
    assert all_ids(reader, thread, 7, startTime=times[-1] + 1) == []
    assert all_ids(reader, thread, 7, startTime=10**30, endTime=-(10**30)) == []


def test_filters_by_kind_and_sender(said: Said, reader: Api) -> None:
    _, thread, ids, _ = said
    custom = [each for number, each in enumerate(ids) if number % 5 == 0]
    mine = [each for number, each in enumerate(ids) if number % 3 == 0]
    assert all_ids(reader, thread, 4, is_positive=True, msgType="custom") == custom
    assert all_ids(reader, thread, 4, is_positive=True, msgType="txt,custom") == ids
    assert all_ids(reader, thread, 4, is_positive=True, msgType="img") == []
    assert all_ids(reader, thread, 4, is_positive=True, userId=reader.user.upper()) == mine
    both = [each for each in custom if each in mine]
    assert all_ids(reader, thread, 4, is_positive=True, msgType="custom", userId=reader.user) == both
    # SDK 5 sends a list of senders, or null, and may name the types in its own way.
    assert all_ids(reader, thread, 4, is_positive=True, userIds=[reader.user.upper(), "eve"], userId=None) == mine
    assert all_ids(reader, thread, 4, msgType="text,custom", userIds=[reader.user]) == mine[::-1]
    assert all_ids(reader, thread, 4, is_positive=True, msgType="", userIds=None) == ids
    assert all_ids(reader, thread, 4, userIds=["eve"]) == []
    for wrong in ("alice", [1], ["u"] * 101):
        body = {"queue": f"{thread}@conference.easemob.com", "userIds": wrong}
        reader.refused("POST", f"/users/{reader.user}/messageroaming", 400, json=body)


def test_a_bundle_counts_as_a_text(tea: TeaGroup) -> None:
    bundle = schema.Content(type=0, subType=0, text="upgrade", title="bundle")
    sent = tea.alice.send(tea.thread, schema.MessageBody(contents=[bundle]))
    assert all_ids(tea.alice.api, tea.thread, 5, msgType="txt") == [sent]
    assert all_ids(tea.alice.api, tea.thread, 5, msgType="combine") == [sent]


def test_a_page_has_the_same_metas_as_the_delivery(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "as it came")
    delivered = tea.bob.until(lambda meta: meta.id == sent)
    (kept,) = metas(tea.bob.api.page(tea.thread))
    assert kept == delivered
    assert texts([kept]) == ["as it came"]
    assert sender_of(kept) == tea.alice.user


def test_the_parent_has_the_threads_overview_and_the_group_has_no_thread_messages(tea: TeaGroup) -> None:
    plain = tea.alice.send(tea.group, "no thread on this")
    tea.alice.send(tea.thread, "one")
    last = tea.alice.send(tea.thread, text_body("two", ext=[schema.KeyValue(key="n", type=2, varintValue=1)]))
    found = {meta.id: meta for meta in metas(tea.carol.api.page(tea.group))}
    assert sorted(found) == [tea.parent, plain]
    assert not schema.MessageBody.FromString(found[plain].payload).meta
    overview = json.loads(schema.MessageBody.FromString(found[tea.parent].payload).meta)["thread_overview"]
    assert overview["id"] == tea.thread
    assert (overview["muc_parent_id"], overview["name"], overview["message_count"]) == (tea.group, "Oolong", 2)
    assert overview["last_message"]["id"] == str(last)
    assert overview["last_message"]["payload"]["ext"] == {"n": 1}
    assert overview["create_timestamp"] <= overview["update_timestamp"]


def test_only_members_may_read_a_history(tea: TeaGroup, sandbox: Sandbox) -> None:
    user = new_name()
    stranger = Api(sandbox, token_of(sandbox, user), user)
    where = f"/users/{user}/messageroaming"
    for target in (tea.thread, tea.group):
        stranger.refused("POST", where, 403, json={"queue": f"{target}@conference.easemob.com"})
    stranger.refused("POST", where, 404, json={"queue": "1@conference.easemob.com"})
    stranger.refused("POST", f"/users/{tea.bob.user}/messageroaming", 403, json={"queue": "x@easemob.com"})


@pytest.mark.parametrize(
    "bad",
    [
        *({"queue": 1}, {"start": "x"}, {"start": 2**63}, {"pull_number": "5"}, {"startTime": "now"}),
        *({"endTime": True}, {"msgType": ",".join(map(str, range(101)))}),
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_a_wrong_parameter_is_refused(tea: TeaGroup, bad: dict[str, Any]) -> None:
    body = {"queue": f"{tea.thread}@conference.easemob.com", **bad}
    tea.bob.api.refused("POST", f"/users/{tea.bob.user}/messageroaming", 400, json=body)
