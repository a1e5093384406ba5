"""The demo community into a sandbox's store: users, groups, threads, members, and every message in order of time."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from imkit.messages import Text
from imkit.sandbox.demo import FACTS, PASSWORD, Demo
from imkit.sandbox.server.addresses import PEOPLE as PEOPLE_DOMAIN
from imkit.sandbox.server.addresses import ROOMS
from imkit.sandbox.server.demo.cast import BY_USER, PEOPLE, READER, READER_NAME
from imkit.sandbox.server.demo.pictures import Studio
from imkit.sandbox.server.demo.plan import DAY, END, Conversation, plan
from imkit.sandbox.server.demo.talk import Line, Talk
from imkit.sandbox.server.message_record import Record, kind_of
from imkit.sandbox.server.notices import CHAT, compact
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.users import People
from imkit.wire import schema
from imkit.wire.codec import encode_content
from imkit.wire.keyvalues import encode_ext

_BATCH = 5000
_GROUP_CHAT = 2  # MessageBody.Type
_ONLINE = b'{"is_online":1}'
_MARK = "demo"  # the counter that says which community the data hold
_FOR_GOOD = 3650 * DAY


def fill(
    store: Store,
    people: People,
    record: Record,
    app_key: str,
    demo: Demo,
    progress: Callable[[int], None] = lambda messages: None,
) -> bool:
    """Put a community into the store, all of it or nothing; nobody gets a pending item from it.

    Args:
        store: where to; what it holds already stays.
        people: registers the users that are not there yet.
        record: takes the messages.
        app_key: the app of the sandbox.
        demo: which community.
        progress: told now and then how many messages are made.

    Returns:
        False if the data hold a community already; nothing is changed then.
    """
    if store.row("SELECT 1 FROM counters WHERE name = ?", (_MARK,)):
        return False
    groups, threads = plan(demo)
    studio = Studio(app_key, demo.seed)
    with store.transaction():
        store.insert("INSERT INTO counters VALUES (?, ?)", (_MARK, demo.seed))
        for user, name in ((READER, READER_NAME), *((person.user, person.name) for person in PEOPLE)):
            if not people.exists(user):
                people.register(user, PASSWORD, name)
        for group in groups:
            _add_group(store, group)
        for thread in threads:
            _add_thread(store, thread)
        store.keep_clear(max(room.message_id(END) for room in (*groups, *threads)))
        _write(store, record, app_key, demo, (*groups, *threads), studio, progress)
    return True


def _add_group(store: Store, group: Conversation) -> None:
    circle = group.circle
    settings: dict[str, Any] = {"public": False, "allowinvites": True, "maxusers": 300}
    store.insert(
        "INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?, 0)",
        (group.id, group.name, circle.description, group.owner, group.created, json.dumps(settings)),
    )
    members = dict.fromkeys((circle.owner, *circle.admins, *circle.members, READER))
    for place, user in enumerate(members):
        role = "owner" if user == circle.owner else "admin" if user in circle.admins else "member"
        muted = END + _FOR_GOOD if user == FACTS.muted and circle.name == FACTS.muted_in else 0
        _add_member(store, group.id, user, role, group.created + 1000 * place, muted)


def _add_thread(store: Store, thread: Conversation) -> None:
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


def _add_member(store: Store, room: str, user: str, role: str, joined: int, muted: int = 0) -> None:
    store.insert("INSERT INTO members VALUES (?, ?, ?, ?, ?)", (room, user, role, joined, muted))


def _write(
    store: Store,
    record: Record,
    app_key: str,
    demo: Demo,
    rooms: tuple[Conversation, ...],
    studio: Studio,
    progress: Callable[[int], None],
) -> None:
    by_number = {room.number: _Wording(app_key, room) for room in rooms}
    talks = (_numbered(room.number, Talk(room, demo.seed, studio)) for room in rooms)
    lines = heapq.merge(*talks, key=_by_id)
    made = 0
    while batch := list(itertools.islice(lines, _BATCH)):
        record.add_many(
            (line.id, by_number[number].room.id, line.sender, *by_number[number].meta(line)) for number, line in batch
        )
        for _, line in batch:
            if line.edits:
                store.insert("UPDATE messages SET edits = ? WHERE id = ?", (line.edits, line.id))
        for file in studio.fresh:
            store.insert(
                "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?)",
                (file.uuid, file.secret, "", file.file_name, file.content_type, batch[0][1].moment, file.body),
            )
        studio.fresh.clear()
        made += len(batch)
        progress(made)
    for wording in by_number.values():
        if wording.room.is_thread:
            store.insert("UPDATE threads SET updated = ? WHERE id = ?", (wording.updated, wording.room.id))


def _numbered(number: int, talk: Talk) -> Iterator[tuple[int, Line]]:
    return ((number, line) for line in talk.lines())


def _by_id(numbered: tuple[int, Line]) -> int:
    return numbered[1].id


class _Wording:
    """Turns the messages of one conversation into the downlink form, as a send would (fact sheet section 5)."""

    def __init__(self, app_key: str, room: Conversation) -> None:
        self.room = room
        self.updated = room.created
        self._app_key = app_key
        self._mark: dict[str, Any] = {}
        if room.is_thread:
            mark = {"msg_parent_id": str(room.parent_id), "muc_parent_id": room.group_id, "thread_name": room.name}
            self._mark = {"thread": mark}
        self._usual = compact(self._mark) if self._mark else None
        self._to = schema.JID(appKey=app_key, name=room.id, domain=ROOMS)
        self._bare_to = schema.JID(name=room.id)
        self._from: dict[str, tuple[Any, Any]] = {}

    def meta(self, line: Line) -> tuple[str, bytes]:
        """Return the kind of a message and its Meta."""
        self.updated = line.moment
        senders = self._from.get(line.sender)
        if senders is None:
            device = f"{BY_USER[line.sender].device}_{line.sender}"
            jid = schema.JID(appKey=self._app_key, name=line.sender, domain=PEOPLE_DOMAIN, clientResource=device)
            senders = self._from[line.sender] = (jid, schema.JID(name=line.sender))
        said = line.body
        content = schema.Content(type=0, text=said.text) if type(said) is Text else encode_content(said)
        body = schema.MessageBody(
            **{"from": senders[1]},
            to=self._bare_to,
            type=_GROUP_CHAT,
            contents=[content],
            ext=encode_ext(line.ext),
            meta=self._usual if not line.edits and not line.reactions else compact(self._marks(line)),
        )
        meta = schema.Meta(
            **{"from": senders[0]},
            id=line.id,
            to=self._to,
            timestamp=line.moment,
            ns=CHAT,
            payload=body.SerializeToString(),
            routetype=0,
            meta=_ONLINE,
        )
        return kind_of(content), meta.SerializeToString()

    def _marks(self, line: Line) -> dict[str, Any]:
        marks = dict(self._mark)
        if line.edits:
            marks["edit_msg"] = {
                "count": line.edits,
                "operator": line.sender,
                "edit_time": line.edited,
                "sender": line.sender,
                "send_time": line.moment,
                "chat_type": "chat:group",
            }
        if line.reactions:
            marks["reaction"] = line.reactions
        return marks
