"""Replies and mentions in a send: writes them into the attributes of the body, as the official UI kits do.

Source: docs/protocol.md#quotes-and-mentions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from imkit.client.event_store import EventStore
from imkit.client.ids import not_an_id
from imkit.client.paging import collected
from imkit.client.user_ids import user_id
from imkit.errors import InvalidMessage
from imkit.hints import MESSAGE_OR_ID
from imkit.messages import Body, Command, Message, Text
from imkit.quotes import ALL, MENTIONS_KEY, QUOTE_KEY, Quote
from imkit.wire.untrusted_json import is_id

SENT_MESSAGES = 10_000
LOOKED_UP = 1000  # of the newest messages of a conversation, 20 requests, for an id that a session does not know
PREVIEW_CHARACTERS = 200  # of a long text; the kits show one line of it, and a message may have 5 KB


class SentMessages:
    """How the messages that this session sent read as a quote: the last 10,000, by id.

    The service sends no event to the device that sent a message, so the event store does not have them.
    """

    def __init__(self) -> None:
        self._quotes: OrderedDict[str, tuple[str, Quote] | None] = OrderedDict()  # None: it was recalled

    def add(self, message: Message) -> None:
        """Keep a message that was sent or edited."""
        self._keep(message.id, (message.to, quote_from(message)))

    def note_recalled(self, message_id: str) -> None:
        """Note that this session recalled a message, its own or another user's."""
        self._keep(message_id, None)

    def was_recalled(self, message_id: str) -> bool:
        """Return whether this session recalled a message."""
        return self._quotes.get(message_id, message_id) is None

    def find(self, message_id: str) -> tuple[str, Quote] | None:
        """Return the id of the conversation that a message was sent to, and the quote of it."""
        return self._quotes.get(message_id)

    def _keep(self, message_id: str, kept: tuple[str, Quote] | None) -> None:
        self._quotes[message_id] = kept
        if len(self._quotes) > SENT_MESSAGES:
            self._quotes.popitem(last=False)


def quote_from(message: Message) -> Quote:
    """Return a message as a reply quotes it.

    Example:
        >>> from datetime import datetime
        >>> quote_from(Message("7", "bob", "42", datetime.min, Text("tea?")))
        Quote(message_id='7', sender='bob', type='txt', preview='tea?')
    """
    text = message.body.text if isinstance(message.body, Text) else f"[{message.type}]"
    preview = text if len(text) <= PREVIEW_CHARACTERS else f"{text[: PREVIEW_CHARACTERS - 1]}…"
    return Quote(message.id, message.sender, message.type, preview)


async def with_reply_and_mentions(
    body: Body,
    conversation_id: str,
    reply_to: Message | str | None,
    mention: str | Iterable[str],
    *,
    events: EventStore,
    sent: SentMessages,
    look_up: Callable[[str], Awaitable[Message | None]],
) -> Body:
    """Return the body with the quoted message and the mentioned users in its attributes.

    Args:
        body: what is sent.
        conversation_id: where it is sent.
        reply_to: the quoted message, or its id.
        mention: user ids, or `ALL`.
        events: what this session received.
        sent: what this session sent.
        look_up: asks the service for a message that neither of them has, by its id.

    Raises:
        InvalidMessage: there is no such message in this conversation, or a user id is not one, or the attributes of the
            body have a quote or mentions already.

    Source: docs/protocol.md#quotes-and-mentions.
    """
    added: dict[str, Any] = {}
    if users := await _checked_mentions(mention):
        added[MENTIONS_KEY] = ALL if ALL in users else users
    if reply_to is not None:
        if isinstance(body, Command):
            raise InvalidMessage("a command cannot reply to a message", hint="Clients show no commands. Send a text.")
        quote = await _quote(reply_to, conversation_id, events, sent, look_up)
        added[QUOTE_KEY] = {
            "msgID": quote.message_id,
            "msgPreview": quote.preview,
            "msgSender": quote.sender,
            "msgType": quote.type,
        }
    for key, argument in ((QUOTE_KEY, "reply_to"), (MENTIONS_KEY, "mention")):
        if key in added and key in body.ext:
            hint = f"Leave out {argument}=, or {key!r} in ext."
            raise InvalidMessage(f"{argument}= and the {key!r} in ext say the same thing twice", hint=hint)
    return replace(body, ext={**body.ext, **added}) if added else body


async def _checked_mentions(mention: object) -> list[str]:
    """Return the mentioned users, each once; `ALL` in any case is everybody, as for those who read it."""
    named = [mention] if isinstance(mention, str) else mention
    if not isinstance(named, Iterable):
        hint = "Give user ids, such as mention=['bob'], or mention=imkit.ALL."
        raise InvalidMessage(f"{mention!r:.60} cannot be mentioned", hint=hint)
    users = [
        ALL if isinstance(user, str) and user.upper() == ALL else user_id(user)
        for user in await collected(named, "['bob']")
    ]
    return list(dict.fromkeys(users))


async def _quote(
    reply_to: object,
    conversation_id: str,
    events: EventStore,
    sent: SentMessages,
    look_up: Callable[[str], Awaitable[Message | None]],
) -> Quote:
    """Return the quote of the message that is replied to."""
    message_id = reply_to.id if isinstance(reply_to, Message) else reply_to
    if not isinstance(message_id, str) or not is_id(message_id):
        raise not_an_id(reply_to, "a message to reply to", MESSAGE_OR_ID)
    if sent.was_recalled(message_id) or events.was_recalled(message_id):
        hint = "A quote would repeat what was taken back."
        raise InvalidMessage(f"message {message_id} was recalled, so it cannot be replied to", hint=hint)
    seen = reply_to if isinstance(reply_to, Message) else events.find_message(message_id)
    found = (seen.to, quote_from(seen)) if seen is not None else sent.find(message_id)
    if found is None:
        seen = await look_up(message_id)
        if seen is None:
            hint = (
                "Is it of another group or thread, or was it recalled? For an older one give the Message itself, such "
                "as next(iter(thread.messages(since=its_time)))."
            )
            what = f"message {message_id} is not among the newest {LOOKED_UP:,} of {conversation_id}"
            raise InvalidMessage(what, hint=hint)
        found = (seen.to, quote_from(seen))
    to, quote = found
    if to != conversation_id:
        hint = "A reply goes to the conversation of the message that it quotes."
        raise InvalidMessage(f"message {message_id} is of conversation {to!r:.40}, not of {conversation_id}", hint=hint)
    return quote
