"""Makes the attachments of the demo community: small but real pictures, sounds, films and files.

A few dozen are made once, and messages share them. A bundle (合并消息) is made for each message that has one.
"""

from __future__ import annotations

import io
import math
import random
import struct
import uuid
import wave
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image as Picture
from PIL import ImageDraw

from imkit.messages import Audio, Combine, File, Image, Message, Text, Video
from imkit.sandbox.server.demo.words import PICTURE_TITLES
from imkit.times import from_milliseconds
from imkit.wire import bundle

_PICTURES = 24


@dataclass(frozen=True, slots=True)
class MadeAttachment:
    """An attachment with the data that the server stores."""

    uuid: str
    secret: str
    file_name: str
    content_type: str
    body: bytes


class AttachmentMaker:
    """Makes attachments.

    Args:
        app_key: the app that they belong to.
        seed: the seed of the community.
        host: the host in their URLs; clients replace it with the host of their REST server.

    Attributes:
        unsaved: new attachments. The caller stores them and empties the list.

    Source: docs/protocol.md#download.
    """

    def __init__(self, app_key: str, seed: int, host: str = "http://127.0.0.1") -> None:
        self._app_key = app_key
        self._base = f"{host}/{app_key.replace('#', '/')}/chatfiles/"
        self._rng = random.Random(f"{seed}:studio")
        self.unsaved: list[MadeAttachment] = []
        self._pictures = [self._paint(number) for number in range(_PICTURES)]
        self._recordings = [self._record(seconds) for seconds in (2, 3, 4)]
        self._films = [self._shoot(seconds) for seconds in (2, 4)]
        self._documents = [
            self._write("price-list.csv", "text/csv", "tea,yuan\nDong Ding,68\nLongjing,120\nShou Mei,45\n"),
            self._write("冲泡说明.txt", "text/plain", "水温九十五度，五克，快出汤。\n"),
            self._write("rota-week-12.csv", "text/csv", "day,early,late\nMon,林晓梅,孙昊\nTue,彭飞,郭怡\n"),
        ]

    def picture(self, rng: random.Random) -> Image:
        """Return one of the pictures."""
        return rng.choice(self._pictures)

    def recording(self, rng: random.Random) -> Audio:
        """Return one of the recordings."""
        return rng.choice(self._recordings)

    def film(self, rng: random.Random) -> Video:
        """Return one of the films."""
        return rng.choice(self._films)

    def document(self, rng: random.Random) -> File:
        """Return one of the files."""
        return rng.choice(self._documents)

    def bundle(self, rng: random.Random, title: str, quoted: Sequence[tuple[int, int, str, str]]) -> Combine:
        """Return a bundle of messages, each given as (id, time in ms, sender, text)."""
        messages = [
            Message(str(number), sender, "20", from_milliseconds(time), Text(text))
            for number, time, sender, text in quoted
        ]
        data = bundle.pack(self._app_key, messages)
        name = f"{quoted[-1][0]}.bundle"
        url, secret = self._save(name, "application/octet-stream", data, rng)
        summary = "\n".join(f"{sender}: {text}"[:60] for _, _, sender, text in quoted[:3])
        return Combine(
            title,
            summary=summary,
            fallback="[合并消息]",
            url=f"{url}?em-redirect=true&share-secret={secret}",
            secret=secret,
            file_name=name,
            file_size=len(data),
        )

    # ---------------------------------------------------------------- making them

    def _save(self, name: str, content_type: str, data: bytes, rng: random.Random) -> tuple[str, str]:
        """Add an attachment to `unsaved`; return its URL and its secret."""
        identity = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        secret = f"{rng.getrandbits(144):036x}"
        self.unsaved.append(MadeAttachment(identity, secret, name, content_type, data))
        return self._base + identity, secret

    def _write(self, name: str, content_type: str, text: str) -> File:
        data = text.encode()
        url, secret = self._save(name, content_type, data, self._rng)
        return File(url=url, secret=secret, file_name=name, file_size=len(data))

    def _paint(self, number: int) -> Image:
        title = PICTURE_TITLES[number % len(PICTURE_TITLES)]
        width, height = self._rng.choice(((240, 160), (200, 200), (160, 220)))
        buffer = io.BytesIO()
        _scene(title, width, height, self._rng).save(buffer, "PNG", optimize=True)
        data, name = buffer.getvalue(), f"{title}-{number + 1:02d}.png"
        url, secret = self._save(name, "image/png", data, self._rng)
        return Image(url=url, secret=secret, file_name=name, file_size=len(data), width=width, height=height)

    def _record(self, seconds: int) -> Audio:
        rate, pitch = 8000, self._rng.choice((440, 523, 587))
        tone = (
            int(9000 * math.sin(2 * math.pi * pitch * at / rate) * (1 - at / (rate * seconds)))
            for at in range(rate * seconds)
        )
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(rate)
            sound.writeframes(struct.pack(f"<{rate * seconds}h", *tone))
        data, name = buffer.getvalue(), f"voice-{seconds}s.wav"
        url, secret = self._save(name, "audio/wav", data, self._rng)
        return Audio(url=url, secret=secret, file_name=name, file_size=len(data), duration=seconds)

    def _shoot(self, seconds: int) -> Video:
        frames = []
        for at in range(5 * seconds):
            buffer = io.BytesIO()
            frame = Picture.new("RGB", (96, 64), "#e9eef2")
            ImageDraw.Draw(frame).ellipse((8 + at * 4, 20, 32 + at * 4, 44), fill="#3f7d58")
            frame.save(buffer, "JPEG", quality=70)
            frames.append(buffer.getvalue())
        data, name = _avi(frames, 96, 64, 5), f"kettle-{seconds}s.avi"
        url, secret = self._save(name, "video/x-msvideo", data, self._rng)
        return Video(
            url=url,
            secret=secret,
            file_name=name,
            file_size=len(data),
            duration=seconds,
            thumbnail_url=f"{url}?vframe=true",
            thumbnail_secret=secret,
        )


def _scene(title: str, width: int, height: int, rng: random.Random) -> Picture.Image:
    """Draw hills under a sky, or a cup on a table, in a few colours."""
    picture = Picture.new("RGB", (width, height), rng.choice(("#cfe3f2", "#f3dfc8", "#e6ecd8", "#f2e9f0")))
    draw = ImageDraw.Draw(picture)
    if title in ("terrace", "morning", "path", "window"):
        sun = rng.randrange(width // 4, width * 3 // 4)
        draw.ellipse((sun - 16, 16, sun + 16, 48), fill="#f4b860")
        for layer, colour in enumerate(("#9dbf9e", "#6f9f7a", "#3f7d58")):
            base = height * (4 + 2 * layer) // 10
            steps = range(0, width + 20, 20)
            ridge = [(x, base + int(14 * math.sin(x / 37 + layer * 2)) - rng.randrange(6)) for x in steps]
            draw.polygon([(0, height), *ridge, (width, height)], fill=colour)
    else:
        draw.rectangle((0, height * 2 // 3, width, height), fill="#b98b5e")
        left, top, right, bottom = width // 3, height * 4 // 10, width * 2 // 3, height * 7 // 10
        colour = rng.choice(("#7b4a2d", "#4a6d7c", "#a23b3b", "#5b6e4f"))
        draw.arc((right - 12, top + 6, right + 22, bottom - 14), -90, 90, fill=colour, width=6)
        draw.pieslice((left, top - (bottom - top), right, bottom), 0, 180, fill=colour)
        draw.ellipse((left, height * 5 // 10 - 6, right, height * 5 // 10 + 6), fill="#d9a35b")
        draw.ellipse((left, top + 8, right, top + 26), fill="#d9a35b", outline=colour, width=3)
    return picture


def _avi(frames: Sequence[bytes], width: int, height: int, rate: int) -> bytes:
    """Return a film of JPEG pictures: an AVI file with one stream and an index."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    largest = max(map(len, frames))
    main = struct.pack("<14I", 1_000_000 // rate, largest * rate, 0, 0x10, len(frames), 0, 1, largest, width, height,
                       0, 0, 0, 0)  # fmt: skip
    stream = b"vidsMJPG" + struct.pack("<IHHIIIIIIiI4H", 0, 0, 0, 0, 1, rate, 0, len(frames), largest, -1, 0, 0, 0,
                                       width, height)  # fmt: skip
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", form))
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + streams)
    movie, index = b"movi", b""
    for frame in frames:
        index += b"00dc" + struct.pack("<III", 0x10, len(movie), len(frame))
        movie += chunk(b"00dc", frame)
    return chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", movie) + chunk(b"idx1", index))
