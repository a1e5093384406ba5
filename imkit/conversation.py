"""`Conversation`: what a group and a thread share, an id and messages.

Source: fact sheet sections 4 to 6 (sends, thread mark, recall) and 8 (roaming).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from imkit.client import send as sending
from imkit.client.account import Account
from imkit.client.attachments import BytesProgress
from imkit.client.paging import Listing
from imkit.client.roaming import Order, Progress
from imkit.errors import InvalidMessage
from imkit.history.arguments import Moment, query
from imkit.history.message_pages import PageWalk
from imkit.messages import Body, Message
from imkit.portal import blocking

if TYPE_CHECKING:
    import pandas as pd


class Conversation:
    """What a group and a thread share: an id, and messages.

    Attributes:
        account: internal, for imkit's own modules: the login that this object belongs to.
    """

    def __init__(self, account: Account, conversation_id: str) -> None:
        self.account = account
        self._id = _checked_id(conversation_id)

    @property
    def id(self) -> str:
        """The id, a string of digits."""
        return self._id

    def target(self) -> sending.Target:
        """Internal: return where a message to this conversation goes."""
        raise NotImplementedError

    @blocking
    async def send(self, body: str | Body, *, progress: BytesProgress | None = None) -> Message:
        """Send a message here.

        Args:
            body: a text, or one of the nine bodies.
            progress: for an attachment, called with the bytes uploaded and their total.

        Returns:
            The message as the server took it, with its id and time.

        Raises:
            InvalidMessage, TooLarge: refused before it was sent.
            NotAMember, Muted, Moderated, …: refused by the service.
            ConnectionLost: `outcome` says whether it may have arrived.

        Example:
            >>> thread.send("Dong Ding, please 🍵")  # doctest: +SKIP

        Source: fact sheet section 4.
        """
        return await sending.send(self.account, self.target(), body, progress)

    @blocking
    async def recall(self, message: Message | str, *, ext: str | None = None) -> None:
        """Take a message back (撤回): it leaves the history, and the others are told.

        Args:
            message: an own message, or its id.
            ext: a text for those who see the recall.

        Raises:
            RecallExpired: the window (2 minutes unless the app's console says otherwise) is over.
            MessageNotFound: there is no such message here any more.

        Example:
            >>> thread.recall(thread.send("oops"))  # doctest: +SKIP

        Source: fact sheet section 6.
        """
        await sending.recall(self.account, self.target(), message_id(message), ext)

    @blocking
    async def edit(self, message: Message | str, body: str | Body) -> Message:
        """Change what a message says.

        Args:
            message: the message, or its id.
            body: what it says from now on; a text or a custom body, and for other types their `ext`.

        Returns:
            The message as it reads now.

        Example:
            >>> thread.edit(sent, "Dong Ding, two bags please")  # doctest: +SKIP

        Source: fact sheet section 4, "Edit".
        """
        return await sending.edit(self.account, self.target(), message_id(message), body)

    @blocking
    async def acknowledge(self, message: Message | str, words: str = "") -> None:
        """Send a read ack (已读回执): tell a message's sender that this user has read it.

        Args:
            message: the message, or its id.
            words: a text that goes along.

        Example:
            >>> thread.acknowledge(message)  # doctest: +SKIP

        Source: fact sheet section 4, "Read ack".
        """
        await sending.acknowledge(self.account, self.target(), message_id(message), words)

    @blocking
    async def history(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        types: Sequence[str] | None = None,
        sender: str | None = None,
        limit: int | None = None,
        order: Order = "oldest",
        parallel: bool | int = True,
        progress: Progress | Literal[False] | None = None,
        resume: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Load the roaming history (消息漫游) into a DataFrame, one row a message.

        Args:
            since: inclusive: an aware datetime, a date (its local midnight) or an ISO string; naive means local.
            until: exclusive, likewise. The range is fixed when the call starts.
            types: such as ``["txt", "img"]``; bundles are ``"combine"``, not ``"txt"``.
            sender: a user id.
            limit: at most so many, counted from the end that `order` names.
            order: ``"oldest"`` or ``"newest"`` first.
            parallel: True fetches a long history in pieces, side by side; a number says how many requests at once;
                False makes one after another.
            progress: called with how many messages have come and how many there will be: the service's count where it
                is known, else an estimate by the time gone through, or `None`. Left away, a notebook shows a line
                where it takes longer than a second; False shows nothing.
            resume: a frame of the same history that was stopped, such as ``session.stopped``: only what it lacks is
                fetched, and what is newer where `until` was left open. `since`, `until`, `types` and `sender` are
                taken from it; there can be no `limit`.

        Returns:
            A history frame; ``frame.attrs["imkit"]`` says where it comes from, whether it is complete, and which times
            it covers.

        Raises:
            InvalidMessage: an argument is out of bounds, or `resume` is another history.
            RateLimited, ServiceBusy, ConnectionLost: the service was away for more than two minutes. What came until
                then, or until a stop, is `session.stopped`.

        Example:
            >>> thread.history(since="2026-11-01", types=["txt"]).groupby("sender").size()  # doctest: +SKIP
            >>> frame = thread.history(resume=session.stopped)  # behind a stop: goes on  # doctest: +SKIP

        Source: fact sheet section 8.
        """
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        from imkit.history.load import history_frame  # loads pandas and Arrow

        return await history_frame(self.account, [self._id], wanted, progress, parallel, resume)

    def messages(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        types: Sequence[str] | None = None,
        sender: str | None = None,
        limit: int | None = None,
        order: Order = "oldest",
    ) -> Listing[Message]:
        """Return the roaming history lazily, one `Message` at a time; the arguments are those of `history`.

        Example:
            >>> for message in thread.messages(order="newest", limit=3):  # doctest: +SKIP
            ...     print(message.text)
        """
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        return Listing(lambda: PageWalk(self.account, self._id, wanted).pages(), f"messages of {self.target()}")

    async def _write(self, what: str, method: str, *path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a REST call that changes something; the service then tells this user's other devices of it."""
        account = self.account
        params = {"resource": account.identity.resource}
        return await account.rest.request(method, *path, what=what, body=body, params=params)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self._id, self.account.user, self.account.app) == (
            other._id,
            other.account.user,
            other.account.app,
        )

    def __hash__(self) -> int:
        return hash((type(self), self._id))


def message_id(message: Message | str) -> str:
    """Return the id of a message, or refuse what is neither a message nor an id."""
    found = message.id if isinstance(message, Message) else message
    if not isinstance(found, str) or not (found.isascii() and found.isdigit()):
        raise InvalidMessage(f"{found!r:.60} is no message", hint="Give a Message, or its id: a string of digits.")
    return found


def _checked_id(found: object) -> str:
    if not isinstance(found, str) or not (found.isascii() and found.isdigit()) or len(found) > 32:
        raise InvalidMessage(f"{found!r:.60} is no id of a group or thread", hint="It is a string of digits.")
    return found
