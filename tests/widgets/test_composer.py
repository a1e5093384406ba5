"""`Composer`: sending each kind of message, showing the outcome, checking input while the user types."""

import io
from typing import Any

import pytest
from PIL import Image as Picture

import imkit
from imkit.client.attachments import ATTACHMENT_BYTES
from imkit.widgets import Composer
from tests.widgets.conftest import FakePage, Tea, until


@pytest.fixture
def composer(tea: Tea, forms: list[Any]) -> Composer:
    form = Composer(tea.bobs_thread, lang="en")
    forms.append(form)
    return form


def states(page: FakePage) -> list[tuple[str, str]]:
    return [(item["state"], item["summary"]) for item in page.last("items").get("items", [])]


def choose(form: Composer, page: FakePage, name: str, data: bytes) -> None:
    page.send(do="begin", name=name, size=len(data), number=1)
    for start in range(0, len(data), 1000):
        page.send(do="piece", number=1, buffers=[memoryview(data[start : start + 1000])])
    until(lambda: form.drop.chosen is not None and form.drop.chosen.is_complete)


def test_text_is_sent_with_its_attributes(tea: Tea, composer: Composer) -> None:
    text, sent_list = FakePage(composer.text), FakePage(composer.sent_list)
    events = tea.alice.events(imkit.MessageReceived)
    composer.ext_shown.value, composer.ext.value = True, '{"mood": "good"}'
    text.send(do="typed", text="Dong Ding 🍵")
    until(lambda: text.last("size"))
    assert text.last("size")["fits"]
    text.send(do="send", text="Dong Ding 🍵")
    message = events.next(timeout=20).message
    assert (message.text, message.ext) == ("Dong Ding 🍵", {"mood": "good"})
    until(lambda: states(sent_list) == [("sent", "Dong Ding 🍵")])
    assert [items["items"][0]["state"] for items in sent_list.received] == ["waiting", "waiting", "sent"]


def test_a_draft_is_cleared_when_something_is_sent(tea: Tea, forms: list[Any]) -> None:
    form = Composer(tea.bobs_thread, draft="Dong Ding, please", lang="en")
    forms.append(form)
    assert form.text.draft == "Dong Ding, please"
    FakePage(form.text).send(do="send", text="something else")
    until(lambda: form.text.draft == "")


def test_each_other_kind_is_sent(tea: Tea, composer: Composer) -> None:
    drop, sent_list = FakePage(composer.drop), FakePage(composer.sent_list)
    events = tea.alice.events(imkit.MessageReceived)
    drawn = io.BytesIO()
    Picture.new("RGB", (40, 30)).save(drawn, "PNG")
    for name, data, kind in (
        ("cup.png", drawn.getvalue(), "img"),
        ("song.mp3", b"la" * 2000, "audio"),
        ("film.mp4", b"film", "video"),
        ("说明.txt", b"95", "file"),
    ):
        choose(composer, drop, name, data)
        assert composer.kind.value == kind
        composer.send_buttons["file"].click()
        message = events.next(timeout=20).message
        assert (message.type, message.body.file_name, message.body.file_size) == (kind, name, len(data))
        until(lambda: composer.drop.chosen is None and not composer.send_buttons["file"].disabled)
    composer.lat.value, composer.lng.value, composer.address.value = 23.75, 120.75, "Lugu 鹿谷"
    composer.send_buttons["place"].click()
    composer.event.value, composer.params.value = "vote", '{"tea": "Dong Ding"}'
    composer.send_buttons["custom"].click()
    composer.action.value = "typing"
    composer.send_buttons["command"].click()
    kinds = {events.next(timeout=20).message.type for _ in range(3)}
    assert kinds == {"loc", "custom", "cmd"}
    composer.count.value = 2
    composer.send_buttons["bundle"].click()
    bundle = events.next(timeout=20).message
    assert len(tea.alice.unpack(bundle)) == 2
    until(lambda: {state for state, _ in states(sent_list)} == {"sent"})


def test_a_failed_send_shows_its_error_and_can_be_retried(tea: Tea, composer: Composer) -> None:
    text, sent_list = FakePage(composer.text), FakePage(composer.sent_list)
    tea.bobs_thread.leave()
    text.send(do="send", text="am I in?")
    until(lambda: states(sent_list) == [("failed", "am I in?")])
    item = sent_list.last("items")["items"][0]
    assert item["error"].startswith("NotAMember")
    tea.bobs_thread.join()
    sent_list.send(do="retry", number=item["number"])
    until(lambda: states(sent_list) == [("sent", "am I in?")])
    sent_list.send(do="retry", number=item["number"])  # sent already: not sent again
    sent_list.send(do="retry", number="x")
    assert [message.text for message in tea.bobs_thread.messages()] == ["am I in?"]


def test_a_text_that_is_too_large_is_refused_and_restored(composer: Composer) -> None:
    text = FakePage(composer.text)
    long = "茶" * 3000
    text.send(do="typed", text=long)
    until(lambda: text.last("size"))
    assert text.last("size")["fits"] is False
    text.send(do="send", text=long)
    until(lambda: text.last("restore").get("text") == long)


@pytest.mark.parametrize(
    ("typed", "error"), [("{", "line 1, column 2"), ("[1]", "must be an object"), ('{"n": NaN}', "NaN is not JSON")]
)
def test_attributes_are_checked_while_typing(composer: Composer, typed: str, error: str) -> None:
    text = FakePage(composer.text)
    composer.ext_shown.value, composer.ext.value = True, typed
    until(lambda: composer.ext_status.tone == "bad")
    assert error in composer.ext_status.text
    text.send(do="send", text="not yet")
    until(lambda: text.last("restore"))
    composer.ext.value = '{"a": 1}'
    until(lambda: composer.ext_status.tone == "good")


def test_a_file_is_sent_when_it_is_complete_and_not_after_it_was_removed(tea: Tea, composer: Composer) -> None:
    drop = FakePage(composer.drop)
    events = tea.alice.events(imkit.MessageReceived)
    button = composer.send_buttons["file"]
    drop.send(do="begin", name="tea.txt", size=4, number=1)
    drop.send(do="piece", number=1, buffers=[b"te"])
    button.click()
    until(lambda: button.disabled)
    drop.send(do="piece", number=1, buffers=[b"a!"])
    assert events.next(timeout=20).message.body.file_size == 4
    until(lambda: not button.disabled)
    drop.send(do="begin", name="large", size=4, number=2)
    button.click()
    until(lambda: button.disabled)
    drop.send(do="remove")
    until(lambda: "Choose a file" in composer.status.text and not button.disabled)


def test_a_file_larger_than_the_limit_or_than_announced_is_not_taken(composer: Composer) -> None:
    drop = FakePage(composer.drop)
    drop.send(do="begin", name="big", size=ATTACHMENT_BYTES + 1, number=1)
    drop.send(do="piece", number=1, buffers=[b"x"])
    drop.send(do="begin", name="small", size=2, number=2)
    drop.send(do="piece", number=1, buffers=[b"late"])
    drop.send(do="piece", number=2, buffers=[b"xyz"])
    drop.send(do="begin", name=7, size="x")
    composer.send_buttons["file"].click()
    until(lambda: composer.status.tone == "bad")
    assert composer.drop.chosen is None
