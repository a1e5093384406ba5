"""Pictures of a feed: the kernel downloads each with the user's token, makes it small and sends the bytes to the page.

The page itself loads no address: an address in a message could be one of any other server.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from imkit.client.account import Account
from imkit.client.attachments import ATTACHMENT_BYTES, fetch_attachment
from imkit.messages import Message
from imkit.pictures import redraw

MAX_SIDE = 520  # pixels: twice the height on the page, for screens with a high density
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
                self._cache[message.id] = await asyncio.to_thread(redraw, data, MAX_SIDE)
            while len(self._cache) > _CACHED_PICTURES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(message.id)
        return self._cache[message.id]
