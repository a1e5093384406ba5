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


def test_a_picture_with_too_many_pixels_is_refused() -> None:
    bomb = io.BytesIO()
    Picture.new("1", (9_000, 9_000)).save(bomb, "PNG")
    with pytest.raises(ValueError, match="too many"):
        redraw(bomb.getvalue(), 320)
