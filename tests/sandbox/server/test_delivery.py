"""Delivery over sockets: notices, pages and keys, and the rules of `device_queues` with real devices.

Source: docs/protocol.md#queues-and-synchronisation.
"""

from typing import Any

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from imkit.wire.envelope import GROUP_DOMAIN
from tests.people import new_name
from tests.sandbox.server.raw_client import (
    SYNC,
    Device,
    TeaGroup,
    close_everything,
    frame,
    is_text,
    texts,
)


def queue(sandbox: Sandbox, name: str) -> Any:
    return schema.JID(appKey=sandbox.app_key, name=name, domain=GROUP_DOMAIN)


def page(device: Device) -> Any:
    return schema.CommSyncDL.FromString(device.next(SYNC).payload)


def test_a_queue_is_announced_fetched_acknowledged_and_then_empty(tea: TeaGroup, sandbox: Sandbox) -> None:
    bob = Device(sandbox, tea.bob.user, resource="tablet", acknowledge=False)
    sent = tea.alice.send(tea.thread, "one")
    where = queue(sandbox, tea.thread)
    bob.fetch(where)
    first = page(bob)
    assert [meta.id for meta in first.metas] == [sent]
    assert first.nextKey == sent
    assert not first.isLast
    # A fetch without a key acknowledges nothing, so the message comes again.
    bob.fetch(where)
    assert [meta.id for meta in page(bob).metas] == [sent]
    bob.fetch(where, sent)
    last = page(bob)
    assert (last.isLast, list(last.metas), last.queue.name) == (True, [], tea.thread)
    bob.fetch(where)
    assert page(bob).isLast
    assert sorted(bob.notices) == sorted([tea.thread, "sys"])


def test_a_queue_is_announced_once_until_it_is_empty(tea: TeaGroup, sandbox: Sandbox) -> None:
    bob = Device(sandbox, tea.bob.user, resource="tablet", acknowledge=False)
    sent = [tea.alice.send(tea.thread, f"{number}") for number in range(5)]
    reply = bob.ask_unread()
    assert bob.notices.count(tea.thread) == 1
    assert {each.queue.name: each.n for each in reply.unread} == {tea.thread: 5, "sys": 5}
    # An acknowledgement of a part leaves the rest, without a new notice.
    bob.fetch(queue(sandbox, tea.thread), sent[2])
    assert [meta.id for meta in page(bob).metas] == sent[3:]
    bob.fetch(queue(sandbox, tea.thread), sent[4])
    assert page(bob).isLast
    tea.alice.send(tea.thread, "more")
    bob.ask_unread()
    assert bob.notices.count(tea.thread) == 2


def test_the_notices_of_an_absence_come_after_the_messages_of_which_they_speak(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.carol.receive_all()
    tea.carol.leave()
    tea.alice.send(tea.thread, "a notice, for she is not in the thread")
    parent = tea.alice.send(tea.group, "Which cups?")
    tea.alice.api.thread(tea.group, parent, "Cups")
    carol = Device(sandbox, tea.carol.user, unread=False)
    assert [each.queue.name for each in carol.ask_unread().unread] == [tea.group, "sys"]


def test_a_long_queue_comes_in_pages_in_order_without_repetition(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.receive_all()
    tea.bob.leave()
    numbers = [tea.alice.post(tea.thread, text) for text in map(body, range(250))]
    ids = [tea.alice.reply_to(number).serverId for number in numbers]
    assert ids == sorted(set(ids))
    bob = Device(sandbox, tea.bob.user)
    bob.until(is_text("249"))
    bob.receive_all()
    assert [meta.id for meta in bob.metas if meta.ns == 1] == ids
    assert max(len(each.metas) for each in bob.pages) <= 100
    bob.leave()
    again = Device(sandbox, tea.bob.user)
    assert not again.ask_unread().unread


def body(number: int) -> Any:
    return schema.MessageBody(type=2, contents=[schema.Content(type=0, text=str(number))])


def test_an_unacknowledged_message_comes_again_after_a_cut(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.receive_all()
    tea.bob.acknowledge = False
    tea.alice.send(tea.thread, "once")
    tea.bob.ask_unread()
    tea.bob.cut()
    back = Device(sandbox, tea.bob.user)
    back.until(is_text("once"))
    back.receive_all()
    assert texts(back.metas) == ["once"]
    back.leave()
    assert texts(Device(sandbox, tea.bob.user).metas) == []


def test_each_device_has_its_own_queue_and_a_new_one_gets_only_unacknowledged_messages(
    tea: TeaGroup, sandbox: Sandbox
) -> None:
    """One device acknowledges, one is cut. The cut one gets the message when it returns; a third, new one does not."""
    phone = tea.bob
    tablet = Device(sandbox, tea.bob.user, resource="tablet", acknowledge=False)
    tea.alice.send(tea.thread, "to both")
    phone.until(is_text("to both"))
    phone.receive_all()
    tablet.ask_unread()
    tablet.cut()
    third = Device(sandbox, tea.bob.user, resource="third")
    third.receive_all()
    assert texts(third.metas) == []
    tablet = Device(sandbox, tea.bob.user, resource="tablet")
    tablet.until(is_text("to both"))
    tablet.receive_all()
    assert texts(tablet.metas) == ["to both"]


def test_with_no_device_online_the_first_device_to_log_in_gets_everything(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.receive_all()
    tea.bob.leave()
    tea.alice.send(tea.thread, "while away")
    first = Device(sandbox, tea.bob.user, resource="new")
    first.until(is_text("while away"))
    first.receive_all()
    first.leave()
    second = Device(sandbox, tea.bob.user, resource="phone")
    second.receive_all()
    assert texts(second.metas) == []


def test_the_senders_other_devices_get_a_copy_and_the_sending_device_none(tea: TeaGroup, sandbox: Sandbox) -> None:
    tablet = Device(sandbox, tea.alice.user, resource="tablet")
    tea.alice.send(tea.thread, "mine")
    tablet.until(is_text("mine"))
    tea.alice.receive_all()
    assert "mine" not in texts(tea.alice.metas)


def test_online_only_messages_reach_only_users_who_are_online(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.alice.send(tea.thread, "now", routetype=1)
    tea.bob.until(is_text("now"))
    tea.bob.receive_all()
    tea.bob.leave()
    tea.alice.send(tea.thread, "missed", routetype=1)
    tea.alice.send(tea.thread, "kept")
    back = Device(sandbox, tea.bob.user)
    back.until(is_text("kept"))
    back.receive_all()
    assert texts(back.metas) == ["kept"]


def test_with_push_pages_come_without_a_notice() -> None:
    with Sandbox(push=True) as sandbox:
        tea = TeaGroup(sandbox)
        for device in (tea.alice, tea.bob):
            device.receive_all()
            device.notices.clear()
        for number in range(30):
            tea.alice.send(tea.thread, f"push {number}")
        tea.bob.until(is_text("push 29"))
        tea.bob.receive_all()
        assert texts(tea.bob.metas)[-30:] == [f"push {number}" for number in range(30)]
        assert tea.bob.notices == []
        close_everything()


def test_a_slow_reader_gets_everything_and_delays_no_other_client(tea: TeaGroup, sandbox: Sandbox) -> None:
    """It fetches the same long page again and again without reading; only its own frames wait."""
    slow = Device(sandbox, tea.bob.user, resource="slow", acknowledge=False)
    long = "x" * 4000
    numbers = [tea.alice.post(tea.thread, schema.MessageBody(contents=[schema.Content(text=long)])) for _ in range(100)]
    for number in numbers:
        tea.alice.reply_to(number)
    asks = 40
    for _ in range(asks):
        slow.fetch(queue(sandbox, tea.thread))
    tea.alice.send(tea.thread, "meanwhile")
    tea.bob.until(is_text("meanwhile"))
    pages = [page(slow) for _ in range(asks)]
    # A page has at most 256 KB.
    assert {len(each.metas) for each in pages} == {len(pages[0].metas)}
    assert 200_000 < pages[0].ByteSize() < 300_000


def test_user_names_and_queue_names_do_not_depend_on_case(tea: TeaGroup, sandbox: Sandbox) -> None:
    name = new_name("Mixed")
    tea.alice.api.ok("GET", f"/users/{Device(sandbox, name).user.upper()}")
    bob = Device(sandbox, tea.bob.user, resource="caps", acknowledge=False)
    sent = tea.alice.send(tea.thread.upper(), "to capitals")
    bob.fetch(queue(sandbox, tea.thread))
    assert [meta.id for meta in page(bob).metas] == [sent]


def test_a_user_without_conversations_has_no_queues(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name())
    device.socket.send(frame(SYNC, schema.CommSyncUL(queue=queue(sandbox, "12345"), key=99)))
    assert page(device).isLast
    assert not device.ask_unread().unread
