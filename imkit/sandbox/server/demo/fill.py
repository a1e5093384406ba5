"""Puts the demo community into a store: users, groups, threads, members, and all messages in order of time."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from imkit.messages import Body, Text
from imkit.sandbox.demo import FACTS, Demo
from imkit.sandbox.server.demo.cast import BY_USER, PEOPLE, READER, READER_NAME
from imkit.sandbox.server.demo.password import COMMUNITY, draw_password
from imkit.sandbox.server.demo.pictures import AttachmentMaker
from imkit.sandbox.server.demo.plan import DAY, END, PlannedConversation, plan
from imkit.sandbox.server.demo.talk import DemoMessage, Talk
from imkit.sandbox.server.message_record import MessageRecord, kind_of
from imkit.sandbox.server.notices import ONLINE_MARK, compact, edit_mark_object, thread_mark_object
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.users import Users
from imkit.wire import schema
from imkit.wire.codec import encode_content
from imkit.wire.enums import BodyType, ContentType, NameSpace, RouteType
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN
from imkit.wire.keyvalues import encode_ext

_BATCH = 5000  # messages that are written at once
_MUTE = 3650 * DAY


def fill(
    store: Store,
    users: Users,
    record: MessageRecord,
    app_key: str,
    demo: Demo,
    progress: Callable[[int], None] = lambda messages: None,
) -> bool:
    """Put a community into a store, in one transaction. Its messages go into no device queue.

    Args:
        store: the store; the data in it stay.
        users: registers the users that do not exist yet.
        record: stores the messages.
        app_key: the app of the sandbox.
        demo: the size and the seed of the community.
        progress: called after each batch with the number of messages made so far.

    Returns:
        False if the data contain a community already; nothing is changed then.
    """
    if store.row("SELECT 1 FROM counters WHERE name = ?", (COMMUNITY,)):
        return False
    groups, threads = plan(demo)
    conversations = (*groups, *threads)
    attachments = AttachmentMaker(app_key, demo.seed)
    with store.transaction():
        store.insert("INSERT INTO counters VALUES (?, ?)", (COMMUNITY, demo.seed))
        password = draw_password(store)
        for user, name in ((READER, READER_NAME), *((person.user, person.name) for person in PEOPLE)):
            if not users.exists(user):
                nickname = "" if user == FACTS.without_nickname else name
                users.register(user, password, nickname)
                if nickname:
                    users.set_attributes(user, {"nickname": nickname})
        for group in groups:
            _add_group(store, group)
        for thread in threads:
            _add_thread(store, thread)
        store.skip_ids_to(max(conversation.message_id(END) for conversation in conversations))
        _write_messages(store, record, app_key, demo, conversations, attachments, progress)
    return True


def _add_group(store: Store, group: PlannedConversation) -> None:
    profile = group.profile
    settings: dict[str, Any] = {"public": False, "allowinvites": True, "maxusers": 300}
    store.insert(
        "INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, 0)",
        (group.id, group.name, profile.description, group.owner, group.created, json.dumps(settings)),
    )
    members = dict.fromkeys((profile.owner, *profile.admins, *profile.members, READER))
    for place, user in enumerate(members):
        role = "owner" if user == profile.owner else "admin" if user in profile.admins else "member"
        muted = END + _MUTE if user == FACTS.muted and profile.name == FACTS.muted_in else 0
        _add_member(store, group.id, user, role, group.created + 1000 * place, muted)


def _add_thread(store: Store, thread: PlannedConversation) -> None:
    store.insert(
        "INSERT INTO threads VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(thread.id, thread.name, thread.group_id, str(thread.parent_id), thread.owner),
            *(thread.created, thread.created, thread.messages),
        ),
    )
    for place, user in enumerate(dict.fromkeys((thread.owner, *thread.people, READER))):
        role = "owner" if user == thread.owner else "member"
        _add_member(store, thread.id, user, role, thread.created + 1000 * place)


def _add_member(store: Store, conversation: str, user: str, role: str, joined: int, muted: int = 0) -> None:
    store.insert("INSERT INTO members VALUES (?, ?, ?, ?, ?)", (conversation, user, role, joined, muted))


def _write_messages(
    store: Store,
    record: MessageRecord,
    app_key: str,
    demo: Demo,
    conversations: tuple[PlannedConversation, ...],
    attachments: AttachmentMaker,
    progress: Callable[[int], None],
) -> None:
    builders = {conversation.number: _MetaBuilder(app_key, conversation) for conversation in conversations}
    talks = (_numbered(Talk(conversation, demo.seed, attachments)) for conversation in conversations)
    messages = heapq.merge(*talks, key=_id_of)
    made = 0
    while batch := list(itertools.islice(messages, _BATCH)):
        record.add_many(builders[number].row(message) for number, message in batch)
        for _, message in batch:
            if message.edits:
                store.insert("UPDATE messages SET edits = ? WHERE id = ?", (message.edits, message.id))
            given = ((reaction, user) for reaction, reacted in message.reactions.items() for user in reacted)
            for place, (reaction, user) in enumerate(given):
                store.insert("INSERT INTO reactions VALUES (?, ?, ?, ?)", (message.id, reaction, user, place))
        for file in attachments.unsaved:
            store.insert(
                "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file.uuid, file.secret, "", file.file_name, file.content_type, batch[0][1].time, file.body),
            )
        attachments.unsaved.clear()
        made += len(batch)
        progress(made)
    for builder in builders.values():
        if builder.conversation.is_thread:
            store.insert("UPDATE threads SET updated = ? WHERE id = ?", (builder.last_time, builder.conversation.id))


def _numbered(talk: Talk) -> Iterator[tuple[int, DemoMessage]]:
    """Yield the messages of a conversation, each with the conversation's number."""
    return ((talk.conversation.number, message) for message in talk.messages())


def _id_of(numbered: tuple[int, DemoMessage]) -> int:
    return numbered[1].id


def _content(body: Body) -> Any:
    if type(body) is Text:  # most messages are: this is faster
        return schema.Content(type=ContentType.TEXT, text=body.text)
    return encode_content(body)


class _MetaBuilder:
    """Turns the messages of one conversation into downlink Metas, as `uplink` does with a send.

    Attributes:
        conversation: the conversation.
        last_time: the time of the last message so far, in ms.
    """

    def __init__(self, app_key: str, conversation: PlannedConversation) -> None:
        self.conversation = conversation
        self.last_time = conversation.created
        self._app_key = app_key
        self._thread_mark: dict[str, Any] = {}
        if conversation.is_thread:
            parent_id = str(conversation.parent_id)
            self._thread_mark = thread_mark_object(parent_id, conversation.group_id, conversation.name)
        self._usual_mark = compact(self._thread_mark) if self._thread_mark else None
        self._to = schema.JID(appKey=app_key, name=conversation.id, domain=GROUP_DOMAIN)
        self._bare_to = schema.JID(name=conversation.id)
        self._from: dict[str, tuple[Any, Any]] = {}  # by user: the JIDs for Meta and MessageBody

    def row(self, message: DemoMessage) -> tuple[int, str, str, str, bytes]:
        """Return the row of a message for `MessageRecord.add_many`."""
        self.last_time = message.time
        meta_sender, body_sender = self._senders(message.sender)
        content = _content(message.body)
        body = schema.MessageBody(
            **{"from": body_sender},
            to=self._bare_to,
            type=BodyType.GROUPCHAT,
            contents=[content],
            ext=encode_ext(message.ext),
            meta=compact(self._marks(message)) if message.edits else self._usual_mark,
        )
        meta = schema.Meta(
            **{"from": meta_sender},
            id=message.id,
            to=self._to,
            timestamp=message.time,
            ns=NameSpace.CHAT,
            payload=body.SerializeToString(),
            routetype=RouteType.ROUTE_ALL,
            meta=ONLINE_MARK,
        )
        return message.id, self.conversation.id, message.sender, kind_of(content), meta.SerializeToString()

    def _senders(self, user: str) -> tuple[Any, Any]:
        senders = self._from.get(user)
        if senders is None:
            device = f"{BY_USER[user].device}_{user}"
            jid = schema.JID(appKey=self._app_key, name=user, domain=USER_DOMAIN, clientResource=device)
            senders = self._from[user] = (jid, schema.JID(name=user))
        return senders

    def _marks(self, message: DemoMessage) -> dict[str, Any]:
        edit = edit_mark_object(
            *(message.edits, message.sender, message.edited),
            sender=message.sender,
            send_time=message.time,
            chat_type="chat:group",
        )
        return {**self._thread_mark, **edit}
