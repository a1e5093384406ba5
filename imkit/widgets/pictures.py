"""Pictures of a feed: the kernel downloads each with the user's token, makes it small and sends the bytes to the page.

The page itself loads no address: an address in a message could be one of any other server.
"""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict

from imkit.client.account import Account
from imkit.client.attachments import ATTACHMENT_BYTES, fetch_attachment
from imkit.messages import Message

MAX_SIDE = 520  # pixels: twice the height on the page, for screens with a high density
_MAX_SOURCE_PIXELS = 40_000_000
_CACHED_PICTURES = 60
_PARALLEL_DOWNLOADS = 3


class Pictures:
    """Downloads the pictures of messages as small PNG or JPEG files, with a cache.

    Args:
        account: makes the downloads.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._cache: OrderedDict[str, tuple[bytes, str]] = OrderedDict()  # least recently used first
        self._downloads = asyncio.Semaphore(_PARALLEL_DOWNLOADS)

    async def fetch(self, message: Message) -> tuple[bytes, str]:
        """Return a message's picture and its media type.

        Raises:
            IMError: the download failed.
            ValueError: the file is not a picture, or has too many pixels.
        """
        if message.id not in self._cache:
            async with self._downloads:
                data = await fetch_attachment(self._account, message, ATTACHMENT_BYTES)
                self._cache[message.id] = await asyncio.to_thread(redraw, data)
            while len(self._cache) > _CACHED_PICTURES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(message.id)
        return self._cache[message.id]


def redraw(data: bytes) -> tuple[bytes, str]:
    """Return a new picture file with the same pixels, at most `MAX_SIDE` wide and high, and its media type.

    Only pixels are copied, so scripts, locations and other data in the file are lost.

    Raises:
        ValueError: the file is not a picture, or has too many pixels.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP", "BMP")) as picture:
            if picture.width * picture.height > _MAX_SOURCE_PIXELS:
                raise ValueError(f"{picture.width:,} x {picture.height:,} pixels are too many")
            picture.draft("RGB", (MAX_SIDE * 2, MAX_SIDE * 2))
            upright = ImageOps.exif_transpose(picture)
            has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            small = upright.convert("RGBA" if has_alpha else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("this is not a picture that can be read") from error
    small.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    if has_alpha:
        small.save(file, "PNG")
        return file.getvalue(), "image/png"
    small.save(file, "JPEG", quality=85)
    return file.getvalue(), "image/jpeg"
