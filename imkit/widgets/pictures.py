"""Pictures for the page: fetched by the kernel with the user's token, drawn anew small, never a foreign address."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict

from imkit.client.account import Account
from imkit.client.attachments import ATTACHMENT_BYTES, fetch_attachment
from imkit.messages import Message

SIDE = 520  # pixels; a screen with a high density still shows a sharp chat picture
_MOST_PIXELS = 40_000_000
_KEPT = 60


class Pictures:
    """The pictures of a feed's messages, as small PNG or JPEG files.

    Args:
        account: fetches them.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._lanes = asyncio.Semaphore(3)

    async def of(self, message: Message) -> tuple[bytes, str]:
        """Return a message's picture and its media type.

        Raises:
            IMError: it cannot be fetched.
            ValueError: it is no picture, or an enormous one.
        """
        if message.id not in self._kept:
            async with self._lanes:
                data = await fetch_attachment(self._account, message, ATTACHMENT_BYTES)
                self._kept[message.id] = await asyncio.to_thread(drawn_anew, data)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(message.id)
        return self._kept[message.id]


def drawn_anew(data: bytes) -> tuple[bytes, str]:
    """Return a picture drawn anew, no larger than `SIDE` pixels: what a stranger hid in the file is gone.

    Raises:
        ValueError: this is no picture, or an enormous one.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP", "BMP")) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise ValueError(f"{picture.width:,} x {picture.height:,} pixels are too many")
            picture.draft("RGB", (SIDE * 2, SIDE * 2))
            upright = ImageOps.exif_transpose(picture)
            has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            small = upright.convert("RGBA" if has_alpha else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("this is no picture that can be read") from error
    small.thumbnail((SIDE, SIDE))
    drawn = io.BytesIO()
    if has_alpha:
        small.save(drawn, "PNG")
        return drawn.getvalue(), "image/png"
    small.save(drawn, "JPEG", quality=85)
    return drawn.getvalue(), "image/jpeg"
