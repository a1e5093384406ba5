"""The picture on the card of a message: loaded by a session that is open, small and within a short time.

A card is shown in any case. If its picture cannot be loaded, the card has none.

Source: docs/protocol.md#download.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace

from imkit.cards import Picture
from imkit.client.account import Account
from imkit.client.attachments import ATTACHMENT_BYTES, fetch_attachment, is_own_attachment
from imkit.messages import Image, Message, Video
from imkit.pictures import redraw
from imkit.portal import portal
from imkit.times import steady_seconds

logger = logging.getLogger(__name__)

_MAX_SIDE = 320  # pixels
_SECONDS = 2.0
_PAUSE_SECONDS = 30.0  # after a picture that took too long: a loop that shows a hundred cards waits once, not each time

_paused_until = 0.0


def load_picture(accounts: Iterable[Account], message: Message) -> Picture | None:
    """Return the picture of a message, or the still picture that came with a video; `None` if there is none.

    It raises nothing, and takes at most about two seconds. On imkit's own loop, which must not wait, it returns `None`.

    Args:
        accounts: the logins that may load it; one that is connected to the app of the picture is asked.
        message: the message.
    """
    global _paused_until
    body = message.body
    if isinstance(body, Video):
        # Not `url?vframe=true`: what the service answers to it is not known, and a video is large.
        has_own = body.thumbnail_url and body.thumbnail_url.partition("?")[0] != body.url
        body = Image(url=body.thumbnail_url, secret=body.thumbnail_secret) if has_own else body
    if not isinstance(body, Image) or not body.url or steady_seconds() < _paused_until:
        return None
    wanted = replace(message, body=body)
    able = [account for account in accounts if _can_load(account, wanted)]
    if not able or portal().is_current:
        return None
    # Two sandboxes have the same app key: the one that the URL names is asked before others.
    account = max(able, key=lambda each: body.url is not None and body.url.startswith(each.rest.base_url))
    try:
        loading = portal().submit(_load(account, wanted))
    except RuntimeError:  # the interpreter is ending
        return None
    try:
        return loading.result(_SECONDS + 0.5)  # the loop may be busy
    except TimeoutError:
        _paused_until = steady_seconds() + _PAUSE_SECONDS
        logger.debug("a picture took too long: cards show none for %.0f seconds", _PAUSE_SECONDS)
    except Exception as error:  # whatever a stranger's file does to its reader
        logger.debug("a picture cannot be shown on a card: %s", type(error).__name__)
    finally:
        loading.cancel()
    return None


def _can_load(account: Account, message: Message) -> bool:
    is_open = account.process.is_current and account.connection.state == "connected"
    return is_open and is_own_attachment(account, message)


async def _load(account: Account, message: Message) -> Picture:
    async with asyncio.timeout(_SECONDS):
        data = await fetch_attachment(account, message, ATTACHMENT_BYTES, thumbnail=True)
        return Picture(*await asyncio.to_thread(redraw, data, _MAX_SIDE))
