"""`redraw`: pictures of other users are drawn again from their pixels, and nothing else is kept."""

import io

import pytest
from PIL import Image as Picture

from imkit.pictures import redraw


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", b"", b"\x89PNG\r\n\x1a\n"]
)
def test_a_file_that_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a picture"):
        redraw(data, 320)


def test_only_pixels_are_kept() -> None:
    original = io.BytesIO()
    Picture.new("RGBA", (20, 10), "#0000").save(original, "PNG")
    data, media_type = redraw(original.getvalue() + b"<script>alert(1)</script>", 320)
    assert (b"script" in data, media_type) == (False, "image/png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_what_a_file_says_beside_its_pixels_is_lost(kind: str) -> None:
    hidden = b"at home, 30.25 120.15"
    exif = Picture.Exif()
    exif[0x010E] = hidden.decode()  # the description of a picture
    exif[0x0112] = 6  # to be turned
    original = io.BytesIO()
    mode = "RGB" if kind in ("JPEG", "GIF") else "RGBA"
    Picture.new(mode, (20, 10)).save(original, kind, comment=hidden, icc_profile=hidden, xmp=hidden, exif=exif)
    data, _ = redraw(original.getvalue(), 320)
    with Picture.open(io.BytesIO(data)) as redrawn:
        assert redrawn.size == ((20, 10) if kind == "GIF" else (10, 20))
        assert hidden not in redrawn.info.values()
    assert hidden not in data


@pytest.mark.parametrize(("kind", "side"), [("PNG", 4_001), ("WEBP", 4_001), ("JPEG", 8_000)])
def test_a_picture_with_too_many_pixels_is_refused(kind: str, side: int) -> None:
    """A PNG of 5 KB took 400 MB."""
    bomb = io.BytesIO()
    Picture.new("L" if kind == "JPEG" else "1", (side, side)).save(bomb, kind)
    with pytest.raises(ValueError, match="too many"):
        redraw(bomb.getvalue(), 320)


def test_a_photo_of_a_camera_is_drawn() -> None:
    photo = io.BytesIO()
    Picture.new("L", (8_000, 6_000)).save(photo, "JPEG")
    data, _ = redraw(photo.getvalue(), 320)
    with Picture.open(io.BytesIO(data)) as small:
        assert small.size == (320, 240)
