"""The composer: each kind of message, what becomes of it, and what is said while typing."""

import io
from typing import Any

import pytest
from PIL import Image as Picture

import imkit
from imkit.client.attachments import ATTACHMENT_BYTES
from imkit.widgets import Composer
from tests.widgets.conftest import Page, Tea, until


@pytest.fixture
def writing(tea: Tea, forms: list[Any]) -> Composer:
    form = Composer(tea.at_bob, lang="en")
    forms.append(form)
    return form


def states(page: Page) -> list[tuple[str, str]]:
    return [(item["state"], item["what"]) for item in page.last("items").get("items", [])]


def choose(form: Composer, page: Page, name: str, data: bytes) -> None:
    page.say(do="begin", name=name, size=len(data), number=1)
    for start in range(0, len(data), 1000):
        page.say(do="piece", number=1, buffers=[memoryview(data[start : start + 1000])])
    until(lambda: form.drop.chosen is not None and form.drop.chosen.is_whole)


def test_text_goes_out_with_its_attributes_and_says_so(tea: Tea, writing: Composer) -> None:
    text, outbox = Page(writing.text), Page(writing.outbox)
    heard = tea.alice.events(imkit.MessageReceived)
    writing.ext_shown.value, writing.ext.value = True, '{"mood": "good"}'
    text.say(do="typed", text="Dong Ding 🍵")
    until(lambda: text.last("size"))
    assert text.last("size")["fits"]
    text.say(do="send", text="Dong Ding 🍵")
    message = heard.next(timeout=20).message
    assert (message.text, message.ext) == ("Dong Ding 🍵", {"mood": "good"})
    until(lambda: states(outbox) == [("sent", "Dong Ding 🍵")])
    assert [items["items"][0]["state"] for items in outbox.told] == ["waiting", "waiting", "sent"]


def test_a_draft_stands_in_the_box_until_something_is_sent(tea: Tea, forms: list[Any]) -> None:
    form = Composer(tea.at_bob, draft="Dong Ding, please", lang="en")
    forms.append(form)
    assert form.text.draft == "Dong Ding, please"
    Page(form.text).say(do="send", text="something else")
    until(lambda: form.text.draft == "")


def test_each_other_kind(tea: Tea, writing: Composer) -> None:
    drop, outbox = Page(writing.drop), Page(writing.outbox)
    heard = tea.alice.events(imkit.MessageReceived)
    drawn = io.BytesIO()
    Picture.new("RGB", (40, 30)).save(drawn, "PNG")
    for name, data, kind in (
        ("cup.png", drawn.getvalue(), "img"),
        ("song.mp3", b"la" * 2000, "audio"),
        ("film.mp4", b"film", "video"),
        ("说明.txt", b"95", "file"),
    ):
        choose(writing, drop, name, data)
        assert writing.kind.value == kind
        writing.send_buttons["file"].click()
        message = heard.next(timeout=20).message
        assert (message.type, message.body.file_name, message.body.file_size) == (kind, name, len(data))
        until(lambda: writing.drop.chosen is None and not writing.send_buttons["file"].disabled)
    writing.lat.value, writing.lng.value, writing.address.value = 23.75, 120.75, "Lugu 鹿谷"
    writing.send_buttons["place"].click()
    writing.event.value, writing.params.value = "vote", '{"tea": "Dong Ding"}'
    writing.send_buttons["custom"].click()
    writing.action.value = "typing"
    writing.send_buttons["command"].click()
    kinds = {heard.next(timeout=20).message.type for _ in range(3)}
    assert kinds == {"loc", "custom", "cmd"}
    writing.count.value = 2
    writing.send_buttons["bundle"].click()
    bundle = heard.next(timeout=20).message
    assert len(tea.alice.unpack(bundle)) == 2
    until(lambda: {state for state, _ in states(outbox)} == {"sent"})


def test_a_failure_says_why_and_can_be_tried_again(tea: Tea, writing: Composer) -> None:
    text, outbox = Page(writing.text), Page(writing.outbox)
    tea.at_bob.leave()
    text.say(do="send", text="am I in?")
    until(lambda: states(outbox) == [("failed", "am I in?")])
    item = outbox.last("items")["items"][0]
    assert item["why"].startswith("NotAMember")
    tea.at_bob.join()
    outbox.say(do="again", number=item["number"])
    until(lambda: states(outbox) == [("sent", "am I in?")])
    outbox.say(do="again", number=item["number"])  # no second time
    outbox.say(do="again", number="x")
    assert [message.text for message in tea.at_bob.messages()] == ["am I in?"]


def test_a_text_that_is_too_large_is_said_while_typing_and_given_back(writing: Composer) -> None:
    text = Page(writing.text)
    long = "茶" * 3000
    text.say(do="typed", text=long)
    until(lambda: text.last("size"))
    assert text.last("size")["fits"] is False
    text.say(do="send", text=long)
    until(lambda: text.last("back").get("text") == long)


@pytest.mark.parametrize(
    ("typed", "said"), [("{", "line 1, column 2"), ("[1]", "must be an object"), ('{"n": NaN}', "NaN is no JSON")]
)
def test_attributes_are_checked_while_typing(writing: Composer, typed: str, said: str) -> None:
    text = Page(writing.text)
    writing.ext_shown.value, writing.ext.value = True, typed
    until(lambda: writing.ext_status.tone == "bad")
    assert said in writing.ext_status.text
    text.say(do="send", text="not yet")
    until(lambda: text.last("back"))
    writing.ext.value = '{"a": 1}'
    until(lambda: writing.ext_status.tone == "good")


def test_a_file_is_sent_once_it_has_been_read_and_not_when_it_was_taken_away(tea: Tea, writing: Composer) -> None:
    drop = Page(writing.drop)
    heard = tea.alice.events(imkit.MessageReceived)
    button = writing.send_buttons["file"]
    drop.say(do="begin", name="tea.txt", size=4, number=1)
    drop.say(do="piece", number=1, buffers=[b"te"])
    button.click()
    until(lambda: button.disabled)
    drop.say(do="piece", number=1, buffers=[b"a!"])
    assert heard.next(timeout=20).message.body.file_size == 4
    until(lambda: not button.disabled)
    drop.say(do="begin", name="large", size=4, number=2)
    button.click()
    until(lambda: button.disabled)
    drop.say(do="remove")
    until(lambda: "Choose a file" in writing.status.text and not button.disabled)


def test_a_file_beyond_the_limit_or_beyond_its_word_is_not_taken(writing: Composer) -> None:
    drop = Page(writing.drop)
    drop.say(do="begin", name="big", size=ATTACHMENT_BYTES + 1, number=1)
    drop.say(do="piece", number=1, buffers=[b"x"])
    drop.say(do="begin", name="small", size=2, number=2)
    drop.say(do="piece", number=1, buffers=[b"late"])
    drop.say(do="piece", number=2, buffers=[b"xyz"])
    drop.say(do="begin", name=7, size="x")
    writing.send_buttons["file"].click()
    until(lambda: writing.status.tone == "bad")
    assert writing.drop.chosen is None
