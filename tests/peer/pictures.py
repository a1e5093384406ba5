"""A small picture for messages with files."""

import io

from PIL import Image


def picture() -> bytes:
    drawn = io.BytesIO()
    Image.new("RGB", (12, 34)).save(drawn, "PNG")
    return drawn.getvalue()


PNG = picture()
