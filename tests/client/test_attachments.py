"""Attachments and bundles: upload, download, and hostile names, URLs and files."""

import asyncio
import io
import json
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.client import attachments as files_module
from imkit.messages import Attachment, Body
from imkit.wire import bundle
from tests.stand_ins import Answer, Asked, http_stand_in

WAIT = 20.0
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "combine-file.json").read_text())


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (width, height), "green").save(data, kind)
    return data.getvalue()


def wav() -> bytes:
    return (
        b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + bytes(8)
    )


@pytest.fixture
def thread(alice: imkit.Session, bob: imkit.Session) -> imkit.Thread:
    group = alice.create_group("tea", members=[bob.user])
    thread = group.create_thread("Oolong", group.send("Which?"))
    bob.thread(thread.id).join()
    return thread


def heard(session: imkit.Session, message: imkit.Message) -> imkit.Message:
    event = session.events(imkit.MessageReceived).next(timeout=WAIT, where=lambda e: e.message.id == message.id)
    assert isinstance(event, imkit.MessageReceived)
    return event.message


# -------------------------------------------------------------------- upload and download

BODIES: dict[str, Body] = {
    "img": imkit.Image(picture(40, 30), file_name="leaf.png"),
    "gif": imkit.Image(picture(8, 9, "GIF"), file_name="steam.gif"),
    "audio": imkit.Audio(wav(), file_name="pour.wav", duration=2),
    "video": imkit.Video(b"not really a film", file_name="kettle.mp4", duration=3),
    "file": imkit.File(b"%PDF-1.7 not really", file_name="menu.pdf", ext={"pages": 3}),
}


@pytest.mark.parametrize("kind", BODIES)
def test_an_attachment_is_sent_received_and_downloaded(
    alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread, kind: str, tmp_path: Path
) -> None:
    body = BODIES[kind]
    assert isinstance(body, Attachment)
    assert isinstance(body.file, bytes)
    sent = thread.send(body)
    for message in (sent, heard(bob, sent), next(iter(bob.thread(thread.id).messages()))):
        got = message.body
        assert isinstance(got, type(body))
        assert (message.id, got.file_name, got.file_size) == (sent.id, body.file_name, len(body.file))
        assert dict(got.ext) == dict(body.ext)
        assert "secret" not in repr(got)
        if isinstance(got, imkit.Image):
            assert (got.width, got.height) == ((40, 30) if kind == "img" else (8, 9))
            assert got.animated == (kind == "gif")
        if isinstance(got, imkit.Audio | imkit.Video) and isinstance(body, imkit.Audio | imkit.Video):
            assert got.duration == body.duration
        if isinstance(got, imkit.Video):
            assert str(got.thumbnail_url).endswith("?vframe=true")
        saved = (bob if message is not sent else alice).download(message, tmp_path / "in" / "here")
        assert saved.read_bytes() == body.file
    names = sorted(path.name for path in (tmp_path / "in" / "here").iterdir())
    stem, ending = os.path.splitext(str(body.file_name))
    assert names == sorted([body.file_name, f"{stem} (2){ending}", f"{stem} (3){ending}"])  # nothing was replaced


def test_a_file_from_a_path_with_progress(bob: imkit.Session, thread: imkit.Thread, tmp_path: Path) -> None:
    path = tmp_path / "茶 menu.bin"
    path.write_bytes(os.urandom(400_000))
    up: list[tuple[int, int | None]] = []
    down: list[tuple[int, int | None]] = []
    sent = thread.send(imkit.File(path), progress=lambda done, total: up.append((done, total)))
    saved = bob.download(heard(bob, sent), tmp_path / "in", progress=lambda done, total: down.append((done, total)))
    assert saved.name == path.name
    assert saved.read_bytes() == path.read_bytes()
    for told in (up, down):
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert told[-1] == (400_000, 400_000)
        assert len(told) > 3


def test_files_that_are_refused_before_an_upload(thread: imkit.Thread, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    small.write_bytes(picture(1, 1))
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(files_module.ATTACHMENT_BYTES + 1)
    refused: list[tuple[Body, type[imkit.IMError], str]] = [
        (imkit.File(tmp_path / "nothing"), imkit.InvalidMessage, "cannot be read"),
        (imkit.File(tmp_path), imkit.InvalidMessage, "is not a file"),
        (imkit.File(b""), imkit.InvalidMessage, "empty"),
        (imkit.File(), imkit.InvalidMessage, "file"),
        (imkit.File(large), imkit.TooLarge, "10,485,761"),
        (imkit.File(bytes(files_module.ATTACHMENT_BYTES + 1)), imkit.TooLarge, "10,485,761"),
        (imkit.Image(b"no picture"), imkit.InvalidMessage, "not a picture"),
        (imkit.Audio(small), imkit.InvalidMessage, "looks like image"),
        (imkit.Video(b"text", file_name="notes.txt"), imkit.InvalidMessage, "looks like text"),
    ]
    for body, kind, words in refused:
        with pytest.raises(kind, match=words):
            thread.send(body)
    assert list(thread.messages()) == []


def bomb() -> bytes:
    """A PNG of 60,000 by 60,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused(thread: imkit.Thread) -> None:
    with pytest.raises(imkit.InvalidMessage, match="not a picture"):
        thread.send(imkit.Image(bomb(), file_name="huge.png"))


def test_the_largest_attachment_passes(bob: imkit.Session, thread: imkit.Thread, tmp_path: Path) -> None:
    data = os.urandom(files_module.ATTACHMENT_BYTES)
    sent = thread.send(imkit.File(data, file_name="large.bin"))
    assert bob.download(sent, tmp_path).read_bytes() == data


# -------------------------------------------------------------------- hostile file names


@pytest.mark.parametrize(
    "name",
    [
        "../../.ssh/authorized_keys",
        "..\\..\\autorun.inf",
        "/etc/passwd",
        "a\x00b.txt",
        "x" * 300 + ".txt",
        "茶" * 150 + ".png",
        "invoice\u202egnp.exe",
        "\u200f\u2066menu.pdf",
        "CON.txt",
        ".bashrc",
        "...",
        'quo"te;name="x.txt',
        "line\r\nbreak.txt",
    ],
)
def test_a_hostile_file_name_stays_in_the_folder(
    bob: imkit.Session, thread: imkit.Thread, tmp_path: Path, name: str
) -> None:
    sent = thread.send(imkit.File(b"leaves", file_name=name))
    got = heard(bob, sent)
    assert isinstance(got.body, imkit.File)
    folder = tmp_path / "a" / "b"
    saved = bob.download(got, folder)
    assert saved.parent == folder
    assert saved.read_bytes() == b"leaves"
    assert [path.name for path in folder.iterdir()] == [saved.name]
    assert not saved.name.startswith(".")
    assert len(saved.name.encode()) <= 200
    assert not set(saved.name) & set('/\\\0\r\n"\u202e\u200f\u2066')
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "imkit-home") == ["a"]


# -------------------------------------------------------------------- bundles


def test_a_bundle_reads_and_writes_as_the_official_sdk_does() -> None:
    data = bytes.fromhex(GOLDEN["hex"])
    messages = bundle.unpack(data)
    assert [message.id for message in messages] == [meta["id"] for meta in GOLDEN["metas"]]
    assert bundle.pack(GOLDEN["ids"]["appKey"], messages) == data


def test_a_bundle_is_sent_received_and_unpacked(bob: imkit.Session, thread: imkit.Thread, tmp_path: Path) -> None:
    inner = [thread.send(f"number {number} 茶") for number in range(3)]
    inner.append(thread.send(imkit.File(b"leaves", file_name="tea.txt")))
    told: list[tuple[int, int | None]] = []
    sent = thread.send(
        imkit.Combine("About tea", inner, summary="four messages"),
        progress=lambda done, total: told.append((done, total)),
    )
    got = heard(bob, sent)
    assert isinstance(got.body, imkit.Combine)
    assert (got.text, got.body.summary, got.body.level) == ("About tea", "four messages", 1)
    unpacked = bob.unpack(got)
    assert [(m.id, m.sender, m.text, m.time) for m in unpacked] == [(m.id, m.sender, m.text, m.time) for m in inner]
    assert bob.download(unpacked[3], tmp_path).read_bytes() == b"leaves"
    assert told
    assert told[-1][0] == told[-1][1]
    # A bundle in a bundle, and the received one forwarded.
    nested = bob.thread(thread.id).send(imkit.Combine("More", [got]))
    [level_one] = bob.unpack(nested)
    assert isinstance(level_one.body, imkit.Combine)
    assert isinstance(nested.body, imkit.Combine)
    assert (nested.body.level, level_one.body.level) == (2, 1)
    assert [m.id for m in bob.unpack(level_one)] == [m.id for m in inner]
    forwarded = bob.thread(thread.id).send(got.body)
    assert [m.id for m in bob.unpack(forwarded)] == [m.id for m in inner]


def test_the_limits_of_a_bundle(thread: imkit.Thread) -> None:
    message = thread.send("tea")
    assert len(bundle.unpack(bundle.pack("org#app", [message] * 300))) == 300
    for wrong in ([], [message] * 301):
        with pytest.raises(imkit.InvalidMessage, match="1 to 300"):
            thread.send(imkit.Combine("Too many", wrong))
    deep = replace(message, body=imkit.Combine("deep", url="https://example.com/x", level=10))
    with pytest.raises(imkit.InvalidMessage, match="10 levels deep"):
        thread.send(imkit.Combine("Too deep", [deep]))


def test_a_damaged_bundle_is_a_protocol_error() -> None:
    data = bytes.fromhex(GOLDEN["hex"])
    assert bundle.unpack(data[:2] + b"\0") == []  # no message, and the check byte of none
    for end in (0, 1, 2, *range(4, len(data))):
        try:
            bundle.unpack(data[:end])
        except imkit.ProtocolError:
            continue
        raise AssertionError(f"cut to {end} bytes, and no error was raised")
    noticed = 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        try:
            bundle.unpack(bytes(damaged))
        except imkit.ProtocolError:
            noticed += 1
    assert noticed >= len(data) // 2  # the check byte covers every other one


def test_messages_and_files_that_are_not_bundles(
    alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = thread.send("tea")
    with pytest.raises(imkit.InvalidMessage, match="not a bundle"):
        alice.unpack(text)
    file = thread.send(imkit.File(b"no bundle at all", file_name="x"))
    assert isinstance(file.body, imkit.File)
    lie = replace(file, body=imkit.Combine("lie", url=file.body.url, secret=file.body.secret))
    with pytest.raises(imkit.ProtocolError, match="not a bundle"):
        bob.unpack(lie)
    monkeypatch.setattr(files_module, "BUNDLE_BYTES", 10)
    with pytest.raises(imkit.ProtocolError, match="larger than"):
        bob.unpack(lie)


# -------------------------------------------------------------------- hosts of a download


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/secret",
        "http://127.0.0.1:1/imkit/sandbox/users/x",
        "https://evil.example/imkit/sandbox/chatfiles/../users/alice",
        "https://evil.example/imkit/sandbox/chatfiles/a/b",
        "file:///etc/passwd",
        "//[",
        "",
    ],
)
def test_a_foreign_url_is_not_followed(alice: imkit.Session, thread: imkit.Thread, url: str, tmp_path: Path) -> None:
    message = replace(thread.send("tea"), body=imkit.File(url=url, file_name="x"))
    with pytest.raises((imkit.Unsupported, imkit.InvalidMessage)):
        alice.download(message, tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_only_the_path_of_a_url_is_used(bob: imkit.Session, thread: imkit.Thread, tmp_path: Path) -> None:
    sent = thread.send(imkit.File(b"leaves", file_name="tea.txt"))
    assert isinstance(sent.body, imkit.File)
    path = str(sent.body.url).partition("://")[2].partition("/")[2]
    moved = replace(sent, body=replace(sent.body, url=f"https://evil.example:1/{path}"))
    assert bob.download(moved, tmp_path).read_bytes() == b"leaves"


def test_refused_and_expired_downloads(bob: imkit.Session, thread: imkit.Thread, tmp_path: Path) -> None:
    sent = thread.send(imkit.File(b"leaves", file_name="tea.txt"))
    assert isinstance(sent.body, imkit.File)
    with pytest.raises(imkit.Forbidden) as caught:
        bob.download(replace(sent, body=replace(sent.body, secret="wrong")), tmp_path / "in")
    assert caught.value.code == 222
    assert "wrong" not in str(caught.value)
    gone = str(sent.body.url)[:-3] + "xyz"
    with pytest.raises(imkit.NotFound) as lost:
        bob.download(replace(sent, body=replace(sent.body, url=gone)), tmp_path / "in")
    assert lost.value.code == 223
    with pytest.raises(imkit.InvalidMessage, match="no attachment"):
        bob.download(thread.send("tea"), tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []  # nothing half-done is left


def pointed_at(session: imkit.Session, url: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session.account.rest, "rest_url", url)


def test_a_redirect_to_another_host_gets_no_token(
    bob: imkit.Session, thread: imkit.Thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = thread.send(imkit.File(b"leaves", file_name="tea.txt"))
    with (
        http_stand_in(lambda _: Answer(200, b"from the store")) as store,
        http_stand_in(lambda _: Answer(302, b"", {"Location": f"{store.url}/object"})) as own,
    ):
        pointed_at(bob, own.url, monkeypatch)
        assert bob.download(sent, tmp_path).read_bytes() == b"from the store"
        assert own.asked[0].headers["authorization"].startswith("Bearer ")
        assert "authorization" not in store.asked[0].headers
        assert "share-secret" not in store.asked[0].target


@pytest.mark.parametrize("location", ["http://[", "file:///etc/passwd", "/again", "http://127.0.0.1:1/", "\x00"])
def test_a_redirect_that_fails(
    bob: imkit.Session, thread: imkit.Thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    sent = thread.send(imkit.File(b"leaves", file_name="tea.txt"))
    with http_stand_in(lambda _: Answer(302, b"", {"Location": location})) as own:
        pointed_at(bob, own.url, monkeypatch)
        with pytest.raises(imkit.IMError):
            bob.download(sent, tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


def test_a_download_that_breaks_leaves_no_file(
    bob: imkit.Session, thread: imkit.Thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = thread.send(imkit.File(b"leaves", file_name="tea.txt"))

    def cut_short(asked: Asked) -> Answer:
        return Answer(200, b"", {"Content-Length": "100"}, cut=True)

    with http_stand_in(cut_short) as own:
        pointed_at(bob, own.url, monkeypatch)
        with pytest.raises(imkit.ConnectionLost):
            bob.download(sent, tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []

    def fails(done: int, total: int | None) -> Any:
        raise RuntimeError("the reader's own")

    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="own"):
        bob.download(sent, tmp_path / "in", progress=fails)
    assert list((tmp_path / "in").iterdir()) == []


def test_parallel_downloads_get_different_names(bob: imkit.Session, thread: imkit.Thread, tmp_path: Path) -> None:
    sent = thread.send(imkit.File(b"leaves", file_name="tea.txt"))

    async def main() -> list[Path]:
        return list(await asyncio.gather(*(bob.download.aio(replace(sent), tmp_path / "in") for _ in range(8))))

    saved = asyncio.run(main())
    assert len({path.name for path in saved}) == 8
    assert {path.read_bytes() for path in saved} == {b"leaves"}
