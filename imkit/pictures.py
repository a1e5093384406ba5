"""Pictures of strangers: drawn anew from their pixels, small, and with nothing else that the file has."""

from __future__ import annotations

import io

_MAX_SOURCE_PIXELS = 40_000_000


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
            if picture.width * picture.height > _MAX_SOURCE_PIXELS:
                raise ValueError(f"{picture.width:,} x {picture.height:,} pixels are too many")
            picture.draft("RGB", (max_side * 2, max_side * 2))
            upright = ImageOps.exif_transpose(picture)
            has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            small = upright.convert("RGBA" if has_alpha else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError("this is not a picture that can be read") from error
    small.thumbnail((max_side, max_side))
    file = io.BytesIO()
    if has_alpha:
        small.save(file, "PNG")
        return file.getvalue(), "image/png"
    small.save(file, "JPEG", quality=85)
    return file.getvalue(), "image/jpeg"
