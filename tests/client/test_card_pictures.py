"""The card of a message shows its picture, small, if an open session can load it. No card waits long, none fails."""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image as Picture

import imkit
from imkit.client import card_pictures
from imkit.client.attachments import ATTACHMENT_BYTES
from imkit.portal import portal
from imkit.times import from_milliseconds
from tests.html_page import HtmlPage
from tests.stand_ins import Answer, Asked, odd_session
from tests.waits import WAIT


def drawn(width: int, height: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Picture.new(mode, (width, height)).save(file, kind)
    return file.getvalue()


def shown(message: imkit.Message | imkit.Event) -> Picture.Image | None:
    """The picture on a card, as a browser would read it."""
    card = message._repr_html_()
    assert set(HtmlPage(card).tags) <= {"div", "b", "small", "br", "bdi", "code", "s", "img"}
    found = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', card)
    assert card.count("src=") == len(found)  # a browser loads nothing
    return Picture.open(io.BytesIO(base64.b64decode(found[0]))) if found else None


def of_service(session: imkit.Session, body: imkit.Image | imkit.Video) -> imkit.Message:
    """A message with a file at the service of a session."""
    url = f"{session.account.rest.base_url}/chatfiles/7"
    return imkit.Message("7", "mallory", "42", from_milliseconds(0), replace(body, url=url))


@pytest.fixture(autouse=True)
def _not_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_pictures, "_paused_until", 0.0)


def test_a_card_shows_the_picture_small_while_a_session_is_open(
    alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread
) -> None:
    sent = thread.send(imkit.Image(drawn(900, 300), file_name="<cup>.png"))
    received = bob.events(imkit.MessageReceived).next(timeout=WAIT, where=lambda event: event.message.id == sent.id)
    for each in (sent, received, thread.last_message(), next(iter(thread.messages()))):
        assert each is not None
        picture = shown(each)
        assert picture is not None
        assert picture.size == (320, 107)
        card = each._repr_html_()
        assert "&lt;cup&gt;.png · 900 × 300 pixels" in card
        assert "session.download(message, &quot;.&quot;)" in card
        assert isinstance(sent.body, imkit.Image)
        assert sent.body.secret
        assert sent.body.secret not in card
    assert portal().run(lambda: shown(sent)) is None  # imkit's loop must not wait
    assert "data:" not in repr([sent])
    alice.close()
    assert shown(sent) is not None  # Bob's session is open
    bob.close()
    assert shown(sent) is None
    assert "900 × 300 pixels" in sent._repr_html_()
    gone = imkit.MessageRecalled(sent.id, sent.to, "alice", sent.time, 1.0, sent)
    assert "session.download" not in gone._repr_html_()


def test_the_small_size_is_asked_for_and_the_still_picture_of_a_video() -> None:
    with odd_session(lambda _: Answer(200, drawn(4, 4, mode="RGBA"))) as (session, service):
        service.asked.clear()
        assert shown(of_service(session, imkit.Image(secret="s"))) is not None
        assert service.asked[0].query == {"em-redirect": "true", "share-secret": "s", "thumbnail": "true"}
        base = f"{session.account.rest.base_url}/chatfiles/"
        still = imkit.Video(thumbnail_url=f"{base}8", thumbnail_secret="t")
        assert shown(of_service(session, still)) is not None
        assert (service.asked[1].path[-2:], service.asked[1].query["share-secret"]) == ("/8", "t")
        service.asked.clear()
        of_the_video = imkit.Video(thumbnail_url=f"{base}7?vframe=true", duration=75)
        for body in (of_the_video, imkit.Video(), imkit.Image(width=float("nan"), height=1e300)):
            message = of_service(session, body)
            assert isinstance(body, imkit.Image) or shown(message) is None
        elsewhere = [
            *("http://10.0.0.1/x.png", "file:///etc/passwd", "javascript:alert(1)", "data:image/svg+xml,<svg/>"),
            *(f"{base}../token", f"{base}7/8", "http://[", f"{base}\x00" * 100, "", "//x/chatfiles/7"),
        ]
        for url in elsewhere:
            message = of_service(session, imkit.Image())
            assert shown(replace(message, body=imkit.Image(url=url))) is None
        assert service.asked == []


HOSTILE: dict[str, Callable[[], Answer]] = {
    "too many pixels": lambda: Answer(200, drawn(9_000, 9_000, mode="1")),
    "many pixels, of which Pillow warns": lambda: Answer(200, drawn(10_000, 10_000, mode="1")),
    "a decompression bomb": lambda: Answer(200, drawn(20_000, 10_000, mode="1")),
    "a script": lambda: Answer(200, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
    "cut off": lambda: Answer(200, drawn(500, 500)[:-40]),
    "no file": lambda: Answer(200, b""),
    "too large": lambda: Answer(200, b"\x89PNG" + bytes(ATTACHMENT_BYTES)),
    "gone": lambda: Answer(404, {"error": "file_expired"}),
    "no answer": lambda: Answer(cut=True),
    "a redirect": lambda: Answer(302, b"", {"Location": "http://127.0.0.1:9/x"}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_no_picture_keeps_a_card_from_being_shown(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_pictures, "_SECONDS", 0.3)
    answer = HOSTILE[what]()
    with odd_session(lambda _: answer) as (session, _service):
        card = of_service(session, imkit.Image(file_name="cup.png", file_size=2_621_440))
        assert shown(card) is None
        assert "cup.png · 2.5 MB" in card._repr_html_()


def test_a_photo_is_shown_by_a_service_that_makes_no_small_size() -> None:
    photo = drawn(4_000, 3_000, "JPEG") + bytes(5 * 2**20)  # as many bytes as a phone's camera makes
    with odd_session(lambda _: Answer(200, photo)) as (session, _):
        picture = shown(of_service(session, imkit.Image()))
        assert picture is not None
        assert picture.size == (320, 240)


def test_extreme_shapes_are_shown() -> None:
    sizes = [(1, 1), (60_000, 1), (1, 60_000)]
    answers = iter([Answer(200, drawn(*size)) for size in sizes])
    with odd_session(lambda asked: next(answers) if "chatfiles" in asked.path else Answer()) as (session, _):
        found = [shown(of_service(session, imkit.Image())) for _ in sizes]
        assert [picture and picture.size for picture in found] == [(1, 1), (320, 1), (1, 320)]


def test_after_a_picture_that_took_too_long_the_next_cards_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def slow(asked: Asked) -> Answer:
        if "chatfiles" in asked.path:
            over.wait(WAIT)
        return Answer(200, drawn(4, 4))

    monkeypatch.setattr(card_pictures, "_SECONDS", 0.1)
    with odd_session(slow) as (session, service):
        message = of_service(session, imkit.Image())
        assert shown(message) is None
        over.set()
        assert [shown(message) for _ in range(3)] == [None] * 3
        assert sum("chatfiles" in asked.path for asked in service.asked) == 1
