"""``frame.im``: the questions that a history frame answers. `imkit.insight.registration` registers it with pandas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

import pandas as pd

from imkit.errors import InvalidMessage
from imkit.hints import A_ZONE
from imkit.insight import attributes, edits, mentions, names, quotes, reactions
from imkit.insight.source import Source, source_of
from imkit.misuse import PublicObject
from imkit.times import zones_like


class InsightAccessor(PublicObject):
    """The accessor ``.im`` of a frame that an insight returned, such as ``frame.im.quotes()``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __repr__(self) -> str:
        return f"<frame.im with {', '.join(name for name in dir(self) if not name.startswith('_'))}>"

    @property
    def source(self) -> Source:
        """Where the frame comes from: app, threads, range, whether it is complete, how many rows.

        Returns:
            A copy of ``frame.attrs["imkit"]``, a dict of plain JSON that is shown in a few lines, with times in local
            time. For the result of an insight it has ``insight``, its name.

        Example:
            >>> thread.history().im.source
            1 message of Oolong, complete
            app: imkit#sandbox
            thread: Oolong (...)
            range: the whole history until it was fetched
            fetched: ...
            the service counts: 1
            a dict with the keys app_key, thread_ids, ...
            >>> thread.history().im.source["complete"]
            True
        """
        return source_of(self._frame)


class ImAccessor(InsightAccessor):
    """The accessor ``frame.im`` of a history frame."""

    def ext(self, *keys: str) -> pd.DataFrame:
        """Return the attributes (ext, 扩展字段) as columns, one per key.

        Args:
            *keys: which attributes; without any, every key that occurs, in the order in which they occur. Of more than
                200 keys only those that most messages have, because one sender could fill the memory with columns.

        Returns:
            A frame with the same index. A column of texts is string, of whole numbers Int64, of other numbers Float64,
            of booleans boolean; mixed values, lists and objects stay Python objects. NA where a message lacks the key.

        Example:
            >>> moods = thread.history().im.ext("mood")
            >>> list(moods.columns)
            ['mood']
        """
        return attributes.opened(self._frame, keys)

    def local(self, zone: str) -> pd.DataFrame:
        """Return the frame with its times in another time zone. The moments stay the same.

        Args:
            zone: an IANA name, such as ``"Asia/Shanghai"``.

        Raises:
            InvalidMessage: there is no such time zone.

        Example:
            >>> local = thread.history().im.local("Asia/Shanghai")
            >>> print(local["time"].dt.tz)
            Asia/Shanghai
        """
        columns = [name for name in ("time", "edited_at") if name in self._frame]
        try:
            if not isinstance(zone, str | tzinfo):
                raise TypeError(zone)  # pandas takes a number as an offset in seconds, and None as no zone
            moved = {name: self._frame[name].dt.tz_convert(zone) for name in columns}
        except (LookupError, OSError, TypeError, ValueError) as error:  # zoneinfo has several for an unknown name
            near = zones_like(zone) if isinstance(zone, str) else []
            hint = f"Write {' or '.join(map(repr, near))}." if near else A_ZONE
            raise InvalidMessage(f"{zone!r:.60} is not a time zone", hint=hint) from error
        return self._frame.assign(**moved)

    def named(self, users: names.KnowsUsers | Mapping[str, Any]) -> pd.DataFrame:
        """Return the frame with one more column, `sender_name` (string): the nicknames (昵称) of the senders.

        Args:
            users: a session, which asks the service for the nicknames, 100 at a time; or a mapping from user ids to
                names, or to users as `Session.users` returns them.

        Returns:
            The same rows. `sender_name` is NA where no name is known: the id is in `sender`.

        Raises:
            InvalidMessage: `users` is neither, or the frame has no column `sender`. With a session also what
                `Session.users` raises.

        Example:
            >>> alice.update_profile(nickname="Alice 爱丽丝")
            >>> thread.history().im.named(bob)["sender_name"].tolist()
            ['Alice 爱丽丝']
            >>> thread.history().im.named({"alice": "A."})["sender_name"].tolist()
            ['A.']
        """
        return names.named(self._frame, users)

    def mentions(self) -> pd.DataFrame:
        """Return who was mentioned (@ 提及): one row for each message and mentioned person, in the frame's order.

        Mentions are those of `Message.mentions`: each named person once for a message, and "ALL" for everybody, also
        where a list names it beside others. All rows of the frame count, those of a group too.

        Returns:
            A frame with the columns `message_id`, `time`, `thread_id`, `sender` as in the history frame, and
            `mentioned` (string), a user id or "ALL".

        Raises:
            InvalidMessage: the frame lacks a column that this needs.

        Example:
            >>> reply = thread.send("@bob two bags?", mention="bob")
            >>> thread.history().im.mentions()[["sender", "mentioned"]]
              sender mentioned
            0  alice       bob
        """
        return mentions.mentions(self._frame)

    def quotes(self) -> pd.DataFrame:
        """Return who replied to whom by quoting (引用): one row for each quote, in the frame's order.

        Quotes are those of `Message.quote`, as the replying user wrote them, also of one's own messages. All rows of
        the frame count, those of a group too.

        Returns:
            A frame with the columns `message_id`, `time`, `thread_id`, `sender` as in the history frame, and
            `quoted_id` (string), `quoted_sender` (string, "" where the quote names nobody), `in_frame` (bool: whether
            the quoted message is in this frame) and `latency` (timedelta64[ms]: the time from the quoted message to
            the reply; NA where the quoted message is not in this frame).

        Raises:
            InvalidMessage: the frame lacks a column that this needs.

        Example:
            >>> reply = thread.send("two bags", reply_to=sent)
            >>> thread.history().im.quotes()[["sender", "quoted_sender", "in_frame"]]
              sender quoted_sender  in_frame
            0  alice         alice      True
        """
        return quotes.quotes(self._frame)

    def reactions(self) -> pd.DataFrame:
        """Return the reactions (表情回复): one row for each message and reaction, in the frame's order.

        Returns:
            A frame with the columns `message_id`, `thread_id`, `sender` (of the message) as in the history frame, and
            `reaction` (string), `count` (int64) and `users` (Python lists of user ids). The service names only some
            of the users in a history, so a list may be shorter than `count`. ``explode("users")`` gives one row for
            each of them.

        Raises:
            InvalidMessage: the frame lacks a column that this needs.

        Example:
            >>> thread.history().im.reactions().columns.tolist()
            ['message_id', 'thread_id', 'sender', 'reaction', 'count', 'users']
        """
        return reactions.reactions(self._frame)

    def edits(self) -> pd.DataFrame:
        """Return the messages that were edited (编辑), in the frame's order.

        Returns:
            A frame with the columns `message_id`, `thread_id`, `sender`, `edited_at` and `edit_count` as in the history
            frame. The sum of `edit_count` is the number of edits.

        Raises:
            InvalidMessage: the frame lacks a column that this needs.

        Example:
            >>> edited = thread.edit(sent, "Two bags, please")
            >>> thread.history().im.edits()[["sender", "edit_count"]]
              sender  edit_count
            0  alice           1
        """
        return edits.edits(self._frame)
