"""`Conversation`: what a group and a thread have in common, an id and messages.

Source: docs/protocol.md#sending, docs/protocol.md#thread-marks, docs/protocol.md#recall,
docs/protocol.md#reactions, docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from imkit.client import reactions, receipts
from imkit.client import send as sending
from imkit.client.account import Account
from imkit.client.attachments import BytesProgress
from imkit.client.conversations import forget_before, forget_messages
from imkit.client.ids import message_id, not_an_id
from imkit.client.paging import Listing, collected
from imkit.client.roaming import Order, Progress, Query
from imkit.errors import InvalidMessage
from imkit.escape import for_terminal
from imkit.hints import A_NAME_IS_NO_ID, GROUP_OR_THREAD_ID, ID_OF_OBJECT, THE_ID_OF_THIS_NAME, Operation
from imkit.history.arguments import Moment, moment_of, query
from imkit.history.message_pages import PageWalk
from imkit.messages import Body, Message, Reaction, Reader
from imkit.misuse import PublicObject, explained, made_by_imkit
from imkit.portal import blocking
from imkit.wire.untrusted_json import is_id

if TYPE_CHECKING:
    import pandas as pd


class Conversation(PublicObject):
    """A group or a thread: it has an id, and messages can be sent to it and read from it."""

    @explained
    def __init__(self, account: Account, conversation_id: str) -> None:
        if not isinstance(account, Account):
            raise made_by_imkit(type(self))
        self._account = account
        if not is_id(conversation_id):
            kind = f"the id of a {type(self).__name__.lower()}"
            raise not_an_id(conversation_id, kind, self._hint_for(conversation_id))
        self._id = conversation_id

    @property
    def account(self) -> Account:
        """Internal: the login that this object belongs to."""
        return self._account

    def _hint_for(self, name: object) -> str:
        """Return what to do with something that is not an id; it may be a name."""
        if not isinstance(name, str) or not name.strip():
            return ID_OF_OBJECT.get(type(name).__name__, GROUP_OR_THREAD_ID)
        named = [found for found, known_name in self._known_names() if known_name == name]
        if len(named) == 1:
            return THE_ID_OF_THIS_NAME.format(name=for_terminal(name, 60), id=named[0])
        return A_NAME_IS_NO_ID[type(self).__name__].format(name=for_terminal(name, 60))

    def _known_names(self) -> list[tuple[str, str | None]]:
        """Return the ids and names of the groups or the threads that the session has learnt of."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """The id, a string of digits."""
        return self._id

    def target(self) -> sending.Target:
        """Internal: return where a message to this conversation goes."""
        raise NotImplementedError

    def _id_of(self, message: Message | str, hint: str = "") -> str:
        """Return the id of a message of this conversation.

        Args:
            message: the message, or its id. Where an id belongs, only the service knows.
            hint: what to do with a message of another conversation.

        Raises:
            InvalidMessage: it is neither, or the message was sent to another conversation.
        """
        found = message_id(message)
        if isinstance(message, Message) and message.to != self._id:
            hint = hint or "Call it on the group or the thread that the message was sent to: message.to is its id."
            raise InvalidMessage(f"message {found} was sent to {message.to!r:.64}, not to {self.target()}", hint=hint)
        return found

    @blocking
    async def send(
        self,
        body: str | Body,
        *,
        reply_to: Message | str | None = None,
        mention: str | Iterable[str] = (),
        progress: BytesProgress | None = None,
    ) -> Message:
        """Send a message here.

        Args:
            body: a text, or one of the nine bodies: `Text`, `Image`, `Audio`, `Video`, `File`, `Location`, `Command`,
                `Custom`, `Combine`.
            reply_to: the message of this conversation that it replies to (引用), or its id, such as one of a history
                frame. An id that this session neither received nor sent is looked up among the newest 1,000 messages.
                The official UI kits show the quoted message above the reply.
            mention: the user ids that it mentions (@ 提及), or `imkit.ALL` for everybody. Nobody checks whether these
                users exist. The text is sent as it is: write "@bob" into it if readers should see it there.
            progress: for an attachment: is called with the number of bytes uploaded and the total.

        Returns:
            The message as the server accepted it, with its id and its time.

        Raises:
            InvalidMessage: the body cannot be sent, `reply_to` is not a message of this conversation, or `mention` has
                what is not a user id; nothing was sent.
            TooLarge: the message or its file is too large.
            NotAMember: this user is not in the group or the thread.
            Forbidden: the service refuses it; its subclasses `Muted`, `Blocked`, `Moderated` and `GroupDisabled` say
                why.
            ConnectionLost: the connection was lost; `outcome` says whether the message may have arrived.

        Example:
            >>> sent = thread.send("Dong Ding, please 🍵")
            >>> sent.id.isdigit(), sent.text
            (True, 'Dong Ding, please 🍵')
            >>> reply = thread.send("@bob two bags?", reply_to=sent, mention=["bob"])
            >>> reply.quote.preview, reply.mentions
            ('Dong Ding, please 🍵', ('bob',))

        Source: docs/protocol.md#sending, docs/protocol.md#quotes-and-mentions.
        """
        return await sending.send(
            self.account, self.target(), body, reply_to=reply_to, mention=mention, progress=progress
        )

    @blocking
    async def recall(self, message: Message | str, *, ext: str | None = None) -> None:
        """Recall a message (撤回): it leaves the history, and the other members are told.

        The sender of a message may recall it, within a limit of time; the group's owner and admins may recall any
        message of the group and its threads, at any time.

        Args:
            message: the message, or its id.
            ext: a text for the users who see the recall.

        Raises:
            RecallExpired: the sender's time to recall is over: 2 minutes, unless the app's console says otherwise.
            Forbidden: another user sent the message, and this user does not manage the group.
            MessageNotFound: there is no such message here any more.

        Example:
            >>> thread.recall(thread.send("oops"))

        Source: docs/protocol.md#recall.
        """
        await sending.recall(self.account, self.target(), self._id_of(message), ext, sent_at(message))

    @blocking
    async def edit(self, message: Message | str, body: str | Body) -> Message:
        """Change the content of a message that was sent.

        Args:
            message: the message, or its id.
            body: the new content: a text or a `Custom` body. Of a message of another type only `ext` can change. A
                body without `ext` leaves the attributes as they are, a quote and mentions too.

        Returns:
            The message with its new content.

        Raises:
            Forbidden: another user sent the message, and this user does not manage the group.
            LimitReached: the message was edited 10 times.
            MessageNotFound: there is no such message here any more.

        Example:
            >>> thread.edit(sent, "Dong Ding, two bags please").edit_count
            1

        Source: docs/protocol.md#editing.
        """
        known = message if isinstance(message, Message) else None
        return await sending.edit(self.account, self.target(), self._id_of(message), body, known)

    @blocking
    async def acknowledge(self, message: Message | str, words: str = "") -> None:
        """Send a read receipt (已读回执): the sender of a message learns that this user has read it.

        Args:
            message: the message, or its id.
            words: a text that goes with the receipt.

        Raises:
            MessageNotFound: there is no such message here any more.
            NotAMember: this user is not in the group or the thread.

        Example:
            >>> bob.thread(thread.id).acknowledge(sent)

        Source: docs/protocol.md#read-receipts.
        """
        await sending.acknowledge(self.account, self.target(), self._id_of(message), words)

    @blocking
    async def readers(self, message: Message | str) -> list[Reader]:
        """Return the users who have acknowledged a message (已读回执), the earliest first.

        Args:
            message: the message, or its id.

        Raises:
            MessageNotFound: there is no such message here any more.
            Forbidden: this user is not in the group or the thread.

        Example:
            >>> bob.thread(thread.id).acknowledge(sent, "gladly")
            >>> [(reader.user, reader.words) for reader in thread.readers(sent)]
            [('bob', 'gladly')]

        Source: docs/protocol.md#read-receipts.
        """
        return await receipts.readers(self.account, self._id, self._id_of(message))

    @blocking
    async def react(self, message: Message | str, reaction: str) -> None:
        """Add a reaction (表情回复) to a message. Everybody in the conversation gets a `ReactionChanged`.

        Args:
            message: the message, or its id.
            reaction: an emoji, or another text of up to 128 characters. A message takes 20 different ones, by default.

        Raises:
            InvalidMessage: `reaction` is empty or too long.
            AlreadyExists: this user has reacted so already.
            LimitReached: the message has 20 other reactions.
            NotAMember: this user is not in the group or the thread.
            Forbidden: there is no such message here any more.
            ServiceNotEnabled: the app has reactions switched off.

        Example:
            >>> bob.thread(thread.id).react(sent, "👍")
            >>> thread.reactions(sent)
            [Reaction(reaction='👍', count=1, users=('bob',), mine=False)]

        Source: docs/protocol.md#reactions.
        """
        await reactions.react(self.account, self._id_of(message), reaction)

    @blocking
    async def unreact(self, message: Message | str, reaction: str) -> None:
        """Take a reaction (表情回复) of this user back. Everybody in the conversation gets a `ReactionChanged`.

        Args:
            message: the message, or its id.
            reaction: the reaction, as in `react`.

        Raises:
            InvalidMessage: `reaction` is empty or too long.
            Forbidden: this user has not reacted so, or there is no such message here any more.

        Example:
            >>> thread.react(sent, "👍")
            >>> thread.unreact(sent, "👍")
            >>> thread.reactions(sent)
            []

        Source: docs/protocol.md#reactions.
        """
        await reactions.unreact(self.account, self._id_of(message), reaction)

    @blocking
    async def reactions(self, message: Message | str) -> list[Reaction]:
        """Return all reactions (表情回复) to a message, each with all of its users.

        `Message.reactions` of a history names only the first users of each reaction. This call asks for the others:
        one more request for every 50 users of a reaction.

        Args:
            message: the message, or its id.

        Raises:
            NotAMember: this user is not in the group or the thread.

        Example:
            >>> thread.react(sent, "🍵")
            >>> bob.thread(thread.id).react(sent, "🍵")
            >>> [tea] = thread.reactions(sent)
            >>> tea.count, tea.users, tea.mine
            (2, ('alice', 'bob'), True)

        Source: docs/protocol.md#reactions.
        """
        return await reactions.reactions(self.account, self._id, self._id_of(message))

    @blocking
    async def mark_read(self) -> None:
        """Clear the unread count here: this user has read everything (会话已读). Other members are not told.

        Raises:
            NotAMember: this user is not in the group or the thread.

        Example:
            >>> bob.group(group.id).mark_read()
            >>> [info.unread for info in bob.conversations() if info.conversation == bob.group(group.id)]
            [0]

        Source: docs/protocol.md#unread-counts.
        """
        await sending.mark_read(self.account, self.target())

    @blocking
    async def forget(
        self, messages: Message | str | Iterable[Message | str] | None = None, *, before: Moment | None = None
    ) -> None:
        """Delete messages for this user alone (单向删除): they leave this user's history. Other members keep them.

        Give either `messages` or `before`. Frames and archives that hold the messages already keep them; an archive
        marks them as gone when it reads that time again.

        Args:
            messages: a message, its id, or a list of up to 20 of them.
            before: all messages before this time: an aware datetime, a date (its midnight in local time) or an ISO
                string. A time without a zone is local time.

        Raises:
            InvalidMessage: both or neither of `messages` and `before` are given, or one of them is not valid.
            Forbidden: this user is not in the group or the thread.

        Example:
            >>> bob.thread(thread.id).forget(sent)
            >>> list(bob.thread(thread.id).messages()), [message.text for message in thread.messages()]
            ([], ['Dong Ding, please 🍵'])

        Source: docs/protocol.md#one-way-delete.
        """
        if (messages is None) == (before is None):
            hint = 'forget(message) deletes one message, forget(before="2026-11-01") all that are older.'
            got = "neither" if messages is None else "both"
            raise InvalidMessage(f"forget needs messages or before, and got {got}", hint=hint)
        moment = moment_of(before, "before")
        if moment is not None:
            await forget_before(self.account, self._id, moment)
        else:
            given: Any = messages
            is_list = isinstance(given, Iterable) and not isinstance(given, str)
            wanted = await collected(given, "[message]") if is_list else [given]
            await forget_messages(self.account, self._id, [self._id_of(message) for message in wanted])

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
        """Load the roaming history (消息漫游) into a DataFrame with one row for each message.

        The time range is fixed when the call starts. If the call is stopped (with the stop button) or fails,
        the `stopped` of your session has the rows that arrived.

        Args:
            since: the start of the time range, inclusive: an aware datetime, a date (its midnight in local time) or an
                ISO string. A time without a zone is local time. `None`: from the first message.
            until: the end of the time range, exclusive, in the same forms. `None`: to now.
            types: only messages of these types, such as ``["txt", "img"]``. A bundle has the type ``"combine"``, not
                ``"txt"``.
            sender: only messages of this user (a user id).
            limit: the largest number of rows, counted from the end that `order` names.
            order: ``"oldest"`` or ``"newest"`` first.
            parallel: True loads several parts of a long history at the same time. A number says how many requests may
                be under way at the same time. False makes one request after another.
            progress: `None`: a notebook shows a line if loading takes longer than a second. False: no line. A
                function: it is called with the number of messages that have arrived, and the expected total (the
                service's count, or an estimate; `None` if unknown).
            resume: a stopped frame of the same history, such as `session.stopped`. Only the missing rows are loaded,
                and newer messages if that frame was loaded without `until`. `since`, `until`, `types` and `sender`
                come from this frame; `limit` is not allowed.

        Returns:
            A history frame. ``frame.attrs["imkit"]`` says where the rows come from, whether the history is complete,
            and which time ranges it covers.

        Raises:
            InvalidMessage: an argument is not valid, or `resume` is the frame of another history.
            RateLimited: the service refused requests for more than two minutes, or asks for a wait of over a minute.
            ServiceBusy: the service gave no answer for more than two minutes.
            ConnectionLost: the service could not be reached for more than two minutes.

        Example:
            >>> frame = thread.history(since="2026-11-01", types=["txt"])
            >>> frame[["sender", "type", "text"]]
              sender type                  text
            0  alice  txt  Dong Ding, please 🍵
            >>> frame.attrs["imkit"]["complete"]
            True

        Source: docs/protocol.md#roaming-history.
        """
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        return await load_history(self.account, [self], wanted, progress, parallel, resume)

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
        """Return the roaming history (消息漫游) as an iterable of `Message`, loaded page by page.

        Args:
            since: as in `history`, like the arguments that follow.
            until: the end of the time range, exclusive.
            types: only messages of these types.
            sender: only messages of this user.
            limit: the largest number of messages.
            order: ``"oldest"`` or ``"newest"`` first.

        Returns:
            An iterable for `for` and `async for` that asks the service for one page at a time.

        Raises:
            InvalidMessage: an argument is not valid.

        Example:
            >>> for message in thread.messages(order="newest", limit=3):
            ...     print(message.text)
            Dong Ding, please 🍵

        Source: docs/protocol.md#roaming-history.
        """
        wanted = query(since, until, types=types, sender=sender, limit=limit, order=order)
        return Listing(lambda: PageWalk(self.account, self._id, wanted).pages(), f"messages of {self.target()}")

    async def _write(
        self, what: Operation, method: str, *path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make a REST call that changes something; the service then tells this user's other devices about it."""
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


async def load_history(
    account: Account,
    conversations: Sequence[Conversation],
    wanted: Query,
    progress: Progress | Literal[False] | None,
    parallel: bool | int,
    resume: pd.DataFrame | None,
) -> pd.DataFrame:
    """Load the history of conversations into one DataFrame: the work of `Thread.history` and `Session.history`."""
    from imkit.history.load import history_frame  # loads pandas and Arrow

    ids = [conversation.id for conversation in conversations]
    return await history_frame(account, ids, wanted, progress, parallel, resume)


def sent_at(message: Message | str) -> datetime | None:
    """Return when a message was sent; `None` if only its id is given."""
    return message.time if isinstance(message, Message) else None
