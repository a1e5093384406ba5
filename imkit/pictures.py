"""Pictures of strangers: drawn anew from their pixels, small, and with nothing else that the file has."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# What a picture may take when it is unpacked: 64 MB, and up to four times that while it is redrawn. A JPEG is unpacked
# at a smaller size, so it may have as many as a camera makes.
_MAX_PIXELS = 16_000_000
_MAX_JPEG_PIXELS = 60_000_000


def redraw(data: bytes, max_side: int) -> tuple[bytes, str]:
    """Return a new picture file with the same pixels, and its media type: ``"image/png"`` or ``"image/jpeg"``.

    Only pixels are copied, so scripts, locations and other data in the file are lost.

    Args:
        data: the file.
        max_side: the largest width and height of the result, in pixels.

    Raises:
        ValueError: the file is not a picture, or has too many pixels.
    """
    from PIL import Image, ImageOps  # takes time to load, and only pictures need it

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP", "BMP")) as picture:
            _check_size(picture, _MAX_JPEG_PIXELS if picture.format == "JPEG" else _MAX_PIXELS)
            picture.draft("RGB", (max_side * 2, max_side * 2))
            _check_size(picture, _MAX_PIXELS)
            ImageOps.exif_transpose(picture, in_place=True)
            has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
            mode = "RGBA" if has_alpha else "RGB"
            small = picture if picture.mode == mode else picture.convert(mode)
            small.thumbnail((max_side, max_side))
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError("this is not a picture that can be read") from error
    small.info = {}  # Pillow would write a comment and a colour profile of the file into the new one
    file = io.BytesIO()
    if has_alpha:
        small.save(file, "PNG")
        return file.getvalue(), "image/png"
    small.save(file, "JPEG", quality=85)
    return file.getvalue(), "image/jpeg"


def _check_size(picture: Picture, most: int) -> None:
    if picture.width * picture.height > most:
        raise ValueError(f"{picture.width:,} x {picture.height:,} pixels are too many")
