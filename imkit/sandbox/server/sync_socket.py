"""SDK 5's second socket, `/ws?token=…`: it asks for the lists of conversations, groups and contacts, and is closed.

The token is in the URL. So this module never logs a URL, and `WithoutTokens` keeps the queries of URLs out of the log
of the WebSocket library.

Source: docs/protocol.md#sdk-5-second-socket.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from google.protobuf.message import DecodeError
from starlette.types import Receive, Scope, Send

from imkit.sandbox.options import Options
from imkit.sandbox.server import sync_schema as schema
from imkit.sandbox.server.conversations import Conversations, ListedConversation
from imkit.sandbox.server.groups import Group, Groups
from imkit.sandbox.server.host_names import host_of, is_own_name
from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.msync import refuse_socket
from imkit.sandbox.server.store import Store, id_time
from imkit.sandbox.server.sync_schema import MessageType, SyncError
from imkit.sandbox.server.tcp_connections import most_waiting
from imkit.sandbox.server.users import Users
from imkit.wire import schema as wire_schema
from imkit.wire.envelope import USER_DOMAIN

logger = logging.getLogger(__name__)

PATH = "/ws"
ROSTER_VERSION = "1"  # the sandbox has no contacts, so their version never changes
_REQUEST_BYTES = 8 * 1024
_BATCH = 50
_FULL_ROSTER = 2
_SESSION_TYPES = {False: 0, True: 1}  # one-to-one, group
_ROLES = {"owner": 0, "admin": 1, "member": 2}
_QUERY = re.compile(r"(?<=\S)\?\S+?(?=\"?(?:\s|$))")  # the library puts a URL between spaces or quotation marks


class WithoutTokens(logging.Filter):
    """Takes the query of each URL out of a log record: also a client that errs in the path sends its token there."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record that holds a query."""
        text = record.getMessage()
        if "?" in text:
            record.msg, record.args = _QUERY.sub("?…", text), ()
        return True


def token_in(scope: Scope) -> str | None:
    """Return the token with which a client asks for this socket; None: it asks for another one, such as MSYNC."""
    if scope["path"] != PATH:
        return None
    tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token")
    return tokens[0] if tokens else None


class SyncSocket:
    """Serves all sockets of this kind.

    Args:
        options: the server's settings.
        store: gives the time.
        users: checks tokens.
        groups: the groups.
        record: the messages.
        conversations: the lists of conversations.
    """

    def __init__(
        self,
        options: Options,
        store: Store,
        users: Users,
        groups: Groups,
        record: MessageRecord,
        conversations: Conversations,
    ) -> None:
        self._options = options
        self._store = store
        self._users = users
        self._groups = groups
        self._record = record
        self._conversations = conversations
        self._open: Counter[str] = Counter()  # sockets by user

    async def serve(self, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket. Its Origin may be any, as that of an MSYNC socket."""
        await receive()  # websocket.connect
        limits = self._options.limits
        if not is_own_name(host_of(scope), self._options.host):
            await refuse_socket(send, 421, "misdirected_request", "this server has another name")
            return
        found = self._users.find_token(token)
        if found is None or found.user is None or not self._users.exists(found.user):
            await refuse_socket(send, 401, "auth_bad_access_token", "the token of this socket is not one of a user")
            return
        user = found.user
        if self._open[user] >= limits.sync_sockets_per_user or self._open.total() >= most_waiting(limits):
            await refuse_socket(send, 429, "reach_limit", "too many of these sockets are open")
            return
        self._open[user] += 1
        try:
            await send({"type": "websocket.accept"})
            code, reason = await self._answer_requests(user, token, receive, send)
            if code:
                await send({"type": "websocket.close", "code": code, "reason": reason})
        except OSError:
            pass  # the client went away
        finally:
            self._open[user] -= 1
            self._open += Counter()  # forget users without a socket

    async def _answer_requests(self, user: str, token: str, receive: Receive, send: Send) -> tuple[int, str]:
        """Answer until the client ends the socket or must be sent away; return the close code, 0 for the first."""
        limits = self._options.limits
        for _ in range(limits.sync_requests):
            try:
                async with asyncio.timeout(limits.sync_seconds):
                    event = await receive()
            except TimeoutError:
                return 1001, "idle"
            if event["type"] == "websocket.disconnect":
                return 0, ""
            content = event.get("bytes")
            if content is None:
                return 1003, "binary messages only"
            if len(content) > _REQUEST_BYTES:
                return 1009, "a request is too long"
            try:
                request = schema.Request.FromString(content)
                answers = self._answers(user, token, request, content)
                for answer in answers:
                    await asyncio.sleep(self._options.latency_ms / 1000)  # also lets others be served between batches
                    await send({"type": "websocket.send", "bytes": answer.SerializeToString()})
            except (DecodeError, UnicodeDecodeError):
                return 1007, "not a request"
            except sqlite3.Error:
                logger.exception("the store failed")
                return 1011, "the store failed"
        return 1008, "too many requests"

    # ---------------------------------------------------------------- answers

    def _answers(self, user: str, token: str, request: Any, content: bytes) -> Iterator[Any]:
        if request.type == MessageType.PING:
            yield schema.Pong(type=MessageType.PONG, status=0)
            return
        refused = self._refusal(user, token, request)
        if refused is not None:
            yield _error(request, *refused)
        elif request.type == MessageType.SESSIONS_REQUEST:
            yield from self._sessions(user, request, schema.SessionsRequest.FromString(content))
        elif request.type == MessageType.GROUPS_REQUEST:
            yield from self._joined_groups(user, request)
        else:
            yield schema.Roster(
                type=MessageType.ROSTER,
                header=request.header,
                cursor=0,
                version=ROSTER_VERSION,
                response_type=_FULL_ROSTER,
            )

    def _refusal(self, user: str, token: str, request: Any) -> tuple[SyncError, str] | None:
        found = self._users.find_token(token)  # a new password, or the end of the user, has deleted it
        if found is None or found.expires <= self._store.clock():
            return SyncError.TOKEN_EXPIRED, "the token has expired"
        known = (MessageType.SESSIONS_REQUEST, MessageType.GROUPS_REQUEST, MessageType.ROSTER_REQUEST)
        if request.type not in known:
            return SyncError.UNSUPPORTED, "the sandbox does not know this request"
        if f"{request.org}#{request.app}" != self._options.app_key or request.username.lower() != user:
            return SyncError.INVALID, "the request is for another app or user than the token"
        return None

    def _sessions(self, user: str, request: Any, asked: Any) -> Iterator[Any]:
        """Yield the list of conversations in batches. It is always whole, whatever the client knows already."""
        cursor = ""
        while True:
            page, cursor = self._conversations.page(
                user, limit=_BATCH, cursor=cursor, with_empty=asked.need_empty_session
            )
            attributes = self._users.attributes([listed.name for listed in page if not listed.is_group])
            sessions = [self._session(listed, attributes, with_marks=asked.need_session_mark) for listed in page]
            yield schema.Sessions(
                type=MessageType.SESSIONS,
                header=request.header,
                sessions=sessions,
                is_last_batch=not cursor,
                last_sync_finished_ts=None if cursor else self._store.clock(),
            )
            if not cursor:
                return

    def _session(
        self, listed: ListedConversation, attributes: Mapping[str, tuple[dict[str, str], int]], *, with_marks: bool
    ) -> Any:
        group = self._groups.group(listed.name) if listed.is_group else None
        of_user, _ = attributes.get(listed.name, ({}, 0))
        shown = {name: of_user[name] for name in ("nickname", "avatarurl") if name in of_user}
        session = schema.Session(
            session_id=listed.name,
            session_type=_SESSION_TYPES[listed.is_group],
            updated_at=id_time(listed.last),
            pinned_time=listed.pinned_at,
            unread_count=listed.unread,
            marks=[f"mark_{number}" for number in listed.marks] if with_marks else [],
            group_name=group.name if group else None,
            group_avatar=group.settings.get("avatar") if group else None,
            metadata=json.dumps(shown, ensure_ascii=False) if shown else None,
        )
        stored = self._record.find(listed.last)
        if stored is not None:
            message = schema.LastMessage(id=stored.id, timestamp=id_time(stored.id))
            sender = getattr(message, "from")
            sender.app_key, sender.name, sender.domain = self._options.app_key, stored.sender, USER_DOMAIN
            message.payload = wire_schema.Meta.FromString(stored.meta).payload
            session.last_message.CopyFrom(message)
        return session

    def _joined_groups(self, user: str, request: Any) -> Iterator[Any]:
        """Yield the groups that a user is in, in batches."""
        groups = self._groups.groups_of(user)
        for start in range(0, max(1, len(groups)), _BATCH):
            is_last = start + _BATCH >= len(groups)
            yield schema.Groups(
                type=MessageType.GROUPS,
                header=request.header,
                groups=[self._group(group, user) for group in groups[start : start + _BATCH]],
                is_last_batch=is_last,
                last_sync_finished_ts=self._store.clock() if is_last else None,
            )

    def _group(self, group: Group, user: str) -> Any:
        members = self._groups.members(group.id)
        own = members.get(user)
        shown = schema.Group(
            group_id=group.id,
            group_name=group.name,
            group_owner=group.owner,
            members_count=len(members),
            mute_all=group.all_muted,
            disabled=group.disabled,
            description=group.description,
            group_avatar=group.settings.get("avatar"),
            create_at=group.created,
            update_at=group.created,
        )
        if own is not None:  # the user may leave between two batches
            shown.role, shown.joined_timestamp, shown.mute_expiration = _ROLES[own.role], own.joined, own.muted_until
        return shown


def _error(request: Any, code: SyncError, why: str) -> Any:
    """Return the refusal of a request, in the form that its kind has."""
    if request.type == MessageType.ROSTER_REQUEST:
        return schema.RosterError(type=MessageType.ERROR, code=str(int(code)), message=why, header=request.header)
    return schema.Error(type=MessageType.ERROR, header=request.header, code=code, message=why)
