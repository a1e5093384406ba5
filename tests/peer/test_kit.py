"""The official UI kit for SDK 5 in Chromium: it draws a conversation with imkit, and what its user does arrives.

What the kit does not draw, and why: docs/protocol.md#the-ui-kit-of-sdk-5.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from playwright.sync_api import expect

import imkit
from imkit.sandbox.process import Sandbox
from tests.browser import chromium
from tests.peer.kit import Kit, kit_of
from tests.peer.pictures import PNG
from tests.people import new_name
from tests.sandbox.server.raw_client import token_of
from tests.waits import WAIT

pytestmark = [pytest.mark.peer, pytest.mark.browser, pytest.mark.timeout(120)]
expect.set_options(WAIT * 1000)


@dataclass
class Talk:
    """A group with a thread: Alice and Carol use imkit, Bob uses the kit."""

    alice: imkit.Session
    carol: imkit.Session
    bob: str
    kit: Kit
    group: imkit.Group
    parent: imkit.Message
    thread: imkit.Thread


# Scope "module": one Chromium and one login for both tests.
@pytest.fixture(scope="module")
def talk(sandbox: Sandbox) -> Iterator[Talk]:
    """Bob was away while the others began to talk; then he opens the kit and the group."""
    with ExitStack() as stack:
        alice = stack.enter_context(imkit.login(new_name("alice"), app=sandbox.app))
        carol = stack.enter_context(imkit.login(new_name("carol"), app=sandbox.app))
        bob = new_name("bob")
        token_of(sandbox, bob)  # creates the user
        alice.update_profile(nickname="爱丽丝 Alice")
        group = alice.create_group("茶 tea", members=[carol.user, bob])
        parent = group.send("Which oolong? 哪种乌龙？🍵")
        thread = group.create_thread("Oolong 乌龙", parent)
        thread.send("Dong Ding, 冻顶")
        carol.group(group.id).send("Two bags of it", reply_to=parent)
        kit = stack.enter_context(kit_of(stack.enter_context(chromium.running()), sandbox, bob))
        listed = kit.conversations.locator(".cui-conversationItem", has_text="茶 tea")
        expect(listed).to_contain_text(f"{carol.user}: Two bags of it")
        expect(listed.locator(".cui-badge")).to_have_text(
            "2"
        )  # messages that Bob has not read; a thread's do not count
        listed.click()
        yield Talk(alice, carol, bob, kit, group, parent, thread)


def test_the_kit_draws_a_conversation_held_with_imkit(talk: Talk) -> None:
    kit, group, chat = talk.kit, talk.group, talk.kit.chat
    # What was sent before the login.
    expect(chat.message("Which oolong?")).to_contain_text("Which oolong? 哪种乌龙？🍵")
    expect(chat.message("Which oolong?").locator(".cui-message-base-thread")).to_contain_text("Oolong 乌龙1")
    reply = chat.message("Two bags of it")
    expect(reply.locator(".cui-reply-message")).to_contain_text(f"{talk.carol.user}replied to爱丽丝 Alice")
    expect(reply.locator(".cui-reply-message")).to_contain_text("Which oolong? 哪种乌龙？🍵")
    expect(chat.message("Which oolong?").locator(".cui-message-base-nickname")).to_have_text("爱丽丝 Alice")
    # What is sent now.
    group.send("@Bob, tea?", mention=talk.bob)
    wrong = group.send("wrong group")
    spelled = group.send("Tie Guan Yni")
    attachments = (
        imkit.Image(PNG, file_name="leaf.png"),
        imkit.Audio(PNG, file_name="a.amr", duration=3),
        imkit.Video(PNG, file_name="v.mp4", duration=5),
        imkit.File(PNG, file_name="说明.txt"),
    )
    picture, *_, file = [group.send(each) for each in attachments]
    group.send(imkit.Custom("userCard", {"uid": talk.carol.user, "nickname": "卡罗"}))
    group.send(imkit.Combine("tea talk", [talk.parent, file], summary="two"))
    expect(chat.message("wrong group")).to_be_visible()  # what is recalled before that is never delivered
    group.recall(wrong)
    group.edit(spelled, "Tie Guan Yin 铁观音")
    group.react(spelled, "👍")
    talk.carol.group(group.id).react(spelled, "👍")
    expect(chat.message("@Bob, tea?")).to_be_visible()
    expect(chat.message("recalled a message")).to_contain_text("爱丽丝 Alice")
    expect(chat.message("Tie Guan Yin 铁观音")).to_contain_text("Message Edited")
    expect(chat.message("Tie Guan Yin 铁观音").locator(".cui-reaction-btn")).to_have_text("2")
    expect(chat.message('3"')).to_be_visible()
    expect(chat.all.locator("video")).to_be_visible()
    expect(chat.message("说明.txt")).to_be_visible()
    expect(chat.message("卡罗")).to_contain_text("Contact Card")
    assert chat.all.get_by_text("wrong group").count() == 0
    # The bundle opens. Of its messages the kit draws files, but no texts.
    chat.all.locator(".cui-message-combine-title").click()
    opened = kit.page.get_by_role("dialog").filter(has_text="Chat History")
    expect(opened.locator(".cui-message-file")).to_contain_text("说明.txt")
    opened.locator(".cui-modal-close").click()
    # In the thread.
    chat.message("Which oolong?").locator(".cui-message-base-thread-name").click()
    expect(kit.thread.title).to_have_text("Oolong 乌龙")
    expect(kit.thread.message("Dong Ding")).to_contain_text("冻顶")
    talk.thread.send("Hot or cold? 热的还是凉的？")
    expect(kit.thread.message("Hot or cold?")).to_contain_text("热的还是凉的？")
    expect(chat.message("Which oolong?").locator(".cui-message-base-thread")).to_contain_text("Oolong 乌龙2")
    picture_of = kit.page.locator(f'[id="{picture.id}"] img').first
    assert picture_of.evaluate("async image => { await image.decode(); return image.naturalWidth }") == 12


def test_what_a_user_does_in_the_kit_reaches_imkit(talk: Talk) -> None:
    kit, chat, thread = talk.kit, talk.kit.chat, talk.kit.thread
    group, alice = talk.group, talk.alice
    messages = alice.events(imkit.MessageReceived, replay=False)
    recalls = alice.events(imkit.MessageRecalled, replay=False)
    reactions = alice.events(imkit.ReactionChanged, replay=False)
    changes = alice.events(imkit.ThreadChanged, replay=False)

    def heard() -> imkit.Message:
        message = messages.next(timeout=WAIT).message
        assert message.sender == talk.bob
        return message

    cups = group.send("Which cups?")
    chat.type("你好 🍵")
    message = heard()
    assert (message.text, message.to, message.thread) == ("你好 🍵", group.id, None)
    # A reply, which mentions somebody.
    chat.choose("Which cups?", "Reply")
    chat.type("the small ones", mention=talk.carol.user)
    message = heard()
    assert message.text.startswith("the small ones")
    assert message.mentions == (talk.carol.user,)
    # The kit writes the name that it shows, not the user id.
    assert message.quote == imkit.Quote(cups.id, "爱丽丝 Alice", "txt", "Which cups?")
    chat.choose("the small ones", "Recall")
    assert recalls.next(timeout=WAIT).message_id == message.id
    chat.send_picture(PNG, "cup.png")
    message = heard()
    assert isinstance(message.body, imkit.Image)
    assert (message.body.width, message.body.height, message.body.file_name) == (12, 34, "cup.png")
    chat.react("Which cups?", "🎉")
    reaction = reactions.next(timeout=WAIT)
    assert (reaction.message_id, reaction.reaction, reaction.by) == (cups.id, "🎉", talk.bob)
    assert (reaction.operation, reaction.count) == ("added", 1)
    # A thread, created with its first message.
    chat.begin_thread("Which cups?")
    thread.all.locator("input.cui-input-input").fill("Cups 杯子")
    thread.type("porcelain")
    created = changes.next(timeout=WAIT, where=lambda change: change.operation == "create")
    assert (created.name, created.operator, created.parent_id) == ("Cups 杯子", talk.bob, cups.id)
    first = changes.next(timeout=WAIT, where=lambda change: change.thread_id == created.thread_id).last_message
    assert first is not None
    assert first.text == "porcelain"
    made = alice.thread(created.thread_id)
    made.join()
    made.send("or glass? 玻璃")
    expect(thread.message("or glass?")).to_contain_text("玻璃")
    thread.choose("or glass?", "Reply")
    thread.type("glass")
    message = heard()
    assert (message.text, message.to) == ("glass", made.id)
    assert message.quote is not None
    assert message.quote.preview == "or glass? 玻璃"
    # The list of threads opens another one.
    chat.all.locator(".cui-header-iconBox .cui-button").nth(1).click()
    kit.page.locator(".cui-thread-panel-item", has_text="Oolong 乌龙").click()
    expect(thread.title).to_have_text("Oolong 乌龙")
    thread.type("I take the cold one")
    message = heard()
    assert (message.text, message.to) == ("I take the cold one", talk.thread.id)
