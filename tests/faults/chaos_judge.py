"""Compares what the clients of a chaos schedule have noted with the server's own tables.

MSYNC has no checksum, and there is no TLS on a loopback: nobody can detect a flipped bit inside a text. So the proxies
tell which frames and answers they changed (`Noted`), and the judge allows exactly this:

- an item that stands in a changed frame, before or after the change, may be different, refused or missing;
- anything that no client has sent must stand, as it is, in what a proxy has made of a frame or an answer;
- if a changed key acknowledged more of a queue than the client had, those items may be missing in its events;
- a login that was changed may be refused, or be that of another device.

All else must be as in a schedule without flipped bits. When the faults are over, the histories must be the table.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from imkit.wire import schema
from imkit.wire.downlink import decode_roamed
from imkit.wire.enums import FrameCommand
from tests.faults.proxy import Noted

Note = dict[str, Any]
OUTAGES = {"ConnectionLost", "TimedOut", "ServiceBusy"}  # the errors that cuts, kills and stops may cause
_MSG = re.compile(rb'"msg":\s*"([^"]*)"')


@dataclass
class Said:
    """One send, and what came of it: sent, refused, not sent, unknown, or open if the process was killed meanwhile."""

    user: str
    to: str
    text: str
    verdict: str = "open"
    id: str = ""
    recall: str = ""  # done, or unknown
    edits: list[tuple[str, str]] = field(default_factory=list)  # texts; done, unknown or refused


@dataclass
class Tables:
    """The server's tables: of each conversation the messages (id, sender, text), in order; and the read receipts."""

    messages: dict[str, list[tuple[str, str, str]]]
    receipts: set[tuple[str, str]]


class Contents:
    """What stands in frames: texts, ids, client ids; and in Metas whole messages."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self.ids: set[str] = set()
        self.client_ids: set[int] = set()
        self.messages: set[tuple[str, str]] = set()  # text and conversation

    def add(self, other: Contents) -> None:
        self.texts |= other.texts
        self.ids |= other.ids
        self.client_ids |= other.client_ids
        self.messages |= other.messages

    def take_send(self, payload: bytes) -> None:
        sync = schema.CommSyncUL.FromString(schema.MSync.FromString(payload).payload)
        self.client_ids.add(sync.meta.id)
        self._take_body(sync.meta)

    def take_down(self, payload: bytes) -> None:
        frame = schema.MSync.FromString(payload)
        if frame.command != FrameCommand.SYNC:
            return
        page = schema.LooseSyncDL.FromString(frame.payload)
        if page.metaId:
            self.client_ids.add(page.metaId)
            self.ids.add(str(page.serverId))
        for data in page.metas:
            self.take_meta(data)

    def take_meta(self, data: bytes) -> None:
        try:
            meta = schema.Meta.FromString(data)
        except DecodeError:
            self.ids.add("")  # imkit shows it as a message without an id
            return
        self.ids.add(str(meta.id or ""))
        self._take_body(meta)

    def _take_body(self, meta: Any) -> None:
        try:
            body = schema.MessageBody.FromString(meta.payload)
        except DecodeError:
            return
        self.ids |= {str(number) for number in (body.ackMessageId, body.editMessageId) if number}
        text = shown_text(meta.SerializeToString())
        if text is not None:
            self.texts.add(text)
            self.messages.add((text, meta.to.name.lower()))


class Changes:
    """What the proxy of one user has changed."""

    def __init__(self, noted: Iterable[Noted]) -> None:
        self.noted = list(noted)
        # By direction (down or not): what stood in changed frames and answers before or after the change; and after it.
        self.hit = {True: Contents(), False: Contents()}
        self.made = {True: Contents(), False: Contents()}
        self.skipped: list[tuple[str, int]] = []  # acknowledged unseen: conversation, and up to which id
        self.times: list[float] = []
        self.logins: list[float] = []  # when a login, or an answer that may hold its token, was changed
        self.other_devices = False  # whether a login has become that of another device, which has queues of its own
        clients: dict[int, Contents] = defaultdict(Contents)
        for note in self.noted:
            if note.kind == "send":
                self._take(clients[_client_id(note.before)], note, note.before)
        for note in self.noted:
            if note.is_changed:
                self._take_change(note)
        for hit in self.hit.values():
            for number in list(hit.client_ids):
                hit.add(clients[number])

    def _take_change(self, note: Noted) -> None:
        self.times.append(note.at)
        if note.kind == "rest" and _MSG.search(note.before):
            self.made[True].ids.add("")  # an entry that imkit cannot read is a message without an id
        if note.kind in ("provision", "welcome", "rest"):
            self.logins.append(note.at)
        if note.kind == "provision":
            self.other_devices = True
        self._take(self.hit[note.down], note, note.before)
        if note.after is not None:
            self._take(self.hit[note.down], note, note.after)
            self._take(self.made[note.down], note, note.after)
            self._take_keys(note, note.after)

    def _take(self, contents: Contents, note: Noted, payload: bytes) -> None:
        try:
            if note.kind == "rest":
                for meta in _metas_in_answer(payload):
                    contents.take_meta(meta)
            elif note.down:
                contents.take_down(payload)
            elif note.kind == "send":
                contents.take_send(payload)
        except (DecodeError, UnicodeDecodeError):
            pass  # the receiver cannot read it either

    def _take_keys(self, note: Noted, payload: bytes) -> None:
        try:
            frame = schema.MSync.FromString(payload)
            if frame.command != FrameCommand.SYNC:
                return
            sync = (schema.LooseSyncDL if note.down else schema.CommSyncUL).FromString(frame.payload)
            key = sync.nextKey if note.down else sync.key
            if key:
                self.skipped.append((sync.queue.name.lower(), key))
        except (DecodeError, UnicodeDecodeError):
            pass

    def may_have_skipped(self, conversation: str, message: str) -> bool:
        return any(name == conversation and int(message) <= key for name, key in self.skipped)

    def any_between(self, began: float, ended: float) -> bool:
        return any(began <= at <= ended for at in self.times)


def shown_text(meta: bytes) -> str | None:
    """Return the text that a history shows of a stored Meta; `None`: it is not a message there.

    The judge reads as the client does, because one flipped bit of a type makes an image of a text, which has no text.
    """
    message = decode_roamed(meta)
    return None if message is None else message.text or ""


def _client_id(payload: bytes) -> int:
    number: int = schema.CommSyncUL.FromString(schema.MSync.FromString(payload).payload).meta.id
    return number


def _metas_in_answer(data: bytes) -> Iterator[bytes]:
    for found in _MSG.findall(data):
        with contextlib.suppress(binascii.Error):
            yield base64.b64decode(found)


class Judge:
    """Holds the notes of one schedule against the server's tables; `problems` are what must not be.

    Args:
        lives: by user, the notes of each process, one after the other; the last one was not killed.
        noted: by user, what the proxy has noted.
        tables: the server's.
        conversations: the ids.
        said: what was sent before the faults began.
    """

    def __init__(
        self,
        lives: dict[str, list[list[Note]]],
        noted: dict[str, list[Noted]],
        tables: Tables,
        conversations: list[str],
        said: list[Said],
    ) -> None:
        self.lives = lives
        self.changes = {user: Changes(notes) for user, notes in noted.items()}
        self.tables = tables
        self.conversations = conversations
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self.said = said
        self.earlier = {one.id for one in said}
        self.receipts: list[tuple[str, str, str]] = []  # user, message, verdict
        self.made = Contents()  # what the server may have got that no client has sent
        for changes in self.changes.values():
            self.made.add(changes.made[False])
        self.hit = {user: Contents() for user in self.changes}  # what a user may see otherwise, or not at all
        for user, hit in self.hit.items():
            hit.add(self.changes[user].hit[True])
            for changes in self.changes.values():
                hit.add(changes.hit[False])
        self.place = {
            message: (conversation, sender, text)
            for conversation, rows in tables.messages.items()
            for message, sender, text in rows
        }

    def bad(self, what: str) -> None:
        self.problems.append(what)

    def judge(self) -> list[str]:
        for user, lives in self.lives.items():
            for notes in lives:
                self._read_steps(user, notes)
        self._check_table()
        for user, lives in self.lives.items():
            for notes in lives:
                self._check_life(user, notes, is_last=notes is lives[-1])
        for user in self.lives:
            self._check_events(user)
            self._check_end(user, self.lives[user][-1])
        return self.problems

    # ------------------------------------------------------------- the steps

    def _read_steps(self, user: str, notes: list[Note]) -> None:
        began = {note["n"]: note for note in notes if "do" in note and "n" in note and "raw" not in note}
        ended = {note["n"]: note for note in notes if "n" in note and ("do" not in note or "raw" in note)}
        for number, step in began.items():
            verdict, end = "open", ended.get(number)
            if end is not None:
                verdict = self._verdict(user, step, end)
            match step["do"]:
                case "send":
                    said = Said(user, step["to"], step["said"], verdict, (end or {}).get("done") or "")
                    self.said.append(said)
                    self.counts[f"sends: {verdict}"] += 1
                case "recall":
                    self._note_on(step["id"], "recall", verdict)
                case "edit":
                    self._note_on(step["id"], "edit", verdict, step["said"])
                case "receipt":
                    self.receipts.append((user, step["id"], verdict))
            self.counts[step["do"]] += 1

    def _note_on(self, message: str, what: str, verdict: str, text: str = "") -> None:
        said = next((said for said in self.said if said.id == message), None)
        if said is None:
            self.bad(f"a {what} of a message that was not sent: {message}")
        elif what == "recall":
            if verdict in ("sent", "unknown", "open"):
                said.recall = "done" if verdict == "sent" else said.recall or "unknown"
        else:
            said.edits.append((text, verdict))

    def _verdict(self, user: str, step: Note, end: Note) -> str:
        if "raw" in end:
            self.bad(f"{user}: {step['do']} ended in an exception that is none of imkit's:\n{end['raw']}")
            return "unknown"
        if end.get("abandoned"):
            return "open"
        if "error" not in end:
            return "sent"
        error = end["error"]
        self.counts[f"errors: {error}"] += 1
        if not self._may_fail(user, step, end):
            self.bad(f"{user}: {step['do']} failed with {error}: {end['text']} ({step})")
        if error == "ConnectionLost":
            return str(end["outcome"])
        if error == "SessionClosed":
            return "not sent" if "nothing was sent" in end["text"] else "unknown"
        return "refused" if end["status"] is not None else "unknown"

    def _may_fail(self, user: str, step: Note, end: Note) -> bool:
        error, changes = end["error"], self.changes[user]
        if error in OUTAGES:
            return True
        if error == "MessageNotFound" and step["do"] in ("receipt", "recall", "edit"):
            # It was recalled, perhaps by a call whose answer was lost; or its id or thread was changed on the way here.
            return step["id"] not in self.place or step["id"] in self.hit[user].ids
        if error == "InvalidMessage" and step["do"] == "edit":
            # A changed bit has made an image of the text: it can no longer be edited.
            if any(said.id == step["id"] and said.text in self.hit[user].texts for said in self.said):
                return True
        if error == "SessionClosed":
            return any(at <= end["at"] for at in changes.logins)
        return changes.any_between(step["at"], end["at"])

    # -------------------------------------------------------- each process

    def _check_life(self, user: str, notes: list[Note], *, is_last: bool) -> None:
        if is_last and not any(note.get("over") for note in notes):
            self.bad(f"{user}: the process did not come to its end; its last note: {notes[-1:]}")
        stored: Counter[int] = Counter(note["session"] for note in notes if "session" in note)
        for note in notes:
            if note.get("do") == "consume":
                self.bad(f"{user}: the events ended in {note['raw']}")
            if "unheard" in note:
                if not all(self._may_be_missing(user, message) for message in note["unheard"]):
                    self.bad(f"{user}: never heard the last messages: {note}")
            if "consumed" in note and note["taken"] + note["missed"] != stored[note["consumed"]]:
                self.bad(f"{user}: of {stored[note['consumed']]} events a consumer got {note}")
            if note.get("kind") == "logged out" and note["reason"] not in ("closed", "replaced"):
                if not any(at <= note["at"] for at in self.changes[user].logins):
                    self.bad(f"{user}: the session ended: {note['reason']}")
            if "frame" in note:
                self._check_frame(user, note)

    def _check_frame(self, user: str, note: Note) -> None:
        """Check a history that was loaded while others wrote."""
        self.counts["frames compared"] += 1
        rows, conversation = note["rows"], note["frame"]
        ids = [int(message or 0) for message, _ in rows]
        changed = self.changes[user].any_between(note["first"], note["at"])
        if len(set(ids)) != len(ids) or sorted(ids) != ids:
            if not changed:
                self.bad(f"{user}: a history has messages twice or out of order: {ids}")
        if changed:
            return  # a changed cursor may leave out any page
        self._check_rows(user, conversation, rows)
        shown = {str(number) for number in ids}
        for message, _, _ in self.tables.messages[conversation]:
            if message not in shown and int(message) >> 20 < note["began"] * 1000 - 1 and note["complete"]:
                self.bad(
                    f"{user}: a complete history of {conversation} lacks {message}, which was sent before it began"
                )

    def _check_rows(self, user: str, conversation: str, rows: list[tuple[str, str]]) -> None:
        known = self._texts_by_id()
        for message, text in rows:
            if message in self.hit[user].ids or text in self.hit[user].texts:
                continue
            if message not in known or text not in known[message][1] or known[message][0] != conversation:
                self.bad(f"{user}: a history has {(conversation, message, text)}, but {known.get(message)} was sent")

    def _texts_by_id(self) -> dict[str, tuple[str, set[str]]]:
        """Return, of each message that ever was, where it was sent and which texts it can have had."""
        if not hasattr(self, "_known"):
            known = {message: (place, {text}) for message, (place, _, text) in self.place.items()}
            for said in self.said:
                if said.id:
                    texts = known.setdefault(said.id, (said.to, set()))[1]
                    texts |= {said.text, *(text for text, _ in said.edits)}
            self._known = known
        return self._known

    # ------------------------------------------------------------- the table

    def _check_table(self) -> None:
        stored = Counter((place, sender, text) for place, sender, text in self.place.values())
        edited_texts = {text for said in self.said for text, _ in said.edits}
        sends: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        ids = [said.id for said in self.said if said.id and said.id not in self.hit[said.user].ids]
        if len(ids) != len(set(ids)):
            self.bad("two sends were given one id")
        for said in self.said:
            key = (said.to, said.user, said.text)
            sends[key][said.verdict] += 1
            if not self._is_hit(said, said.user):
                self._check_send(said)
        for (place, sender, text), count in stored.items():
            may = sends[place, sender, text]
            most = may["sent"] + may["unknown"] + may["open"]
            if text in edited_texts or (text, place) in self.made.messages or sender not in self.lives:
                continue
            is_hit = text in self.hit[sender].texts
            if count > most and not is_hit:
                self.bad(f"{(place, sender, text)} is stored {count} times, of {dict(may)}")
            if is_hit and count > 1:
                self.bad(f"{(place, sender, text)} is stored {count} times")
        for user, message, verdict in self.receipts:
            if verdict == "sent" and (message, user) not in self.tables.receipts and message in self.place:
                if message not in self.hit[user].ids:
                    self.bad(f"the receipt of {user} for {message} was acknowledged and is not there")

    def _is_hit(self, said: Said, user: str) -> bool:
        hit = self.hit[user]
        return said.id in hit.ids or not hit.texts.isdisjoint([said.text, *(text for text, _ in said.edits)])

    def _check_send(self, said: Said) -> None:
        found = self.place.get(said.id)
        if said.verdict == "sent":
            if said.recall == "done" and found is not None:
                self.bad(f"recalled, and still there: {said}")
            if not said.recall and found is None:
                self.bad(f"acknowledged, and not there: {said}")
            if found is not None:
                self._check_text(said, found)
            return
        count = sum(text == said.text for _, _, text in self.place.values())
        if said.verdict in ("not sent", "refused") and count and not said.text.startswith("ditto"):
            self.bad(f"{said.verdict}, and there: {said}")
        self.counts[f"{said.verdict}, and there"] += count > 0

    def _check_text(self, said: Said, found: tuple[str, str, str]) -> None:
        may = {said.text}
        for text, verdict in said.edits:
            may = {text} if verdict == "sent" else may if verdict in ("refused", "not sent") else may | {text}
        if found[:2] != (said.to, said.user) or found[2] not in may:
            self.bad(f"stored as {found}: {said}")

    # ------------------------------------------------------------- the events

    def _check_events(self, user: str) -> None:
        heard: set[str] = set()
        told: set[str] = set()
        edits: set[tuple[str, str]] = set()
        for notes in self.lives[user]:
            sessions: defaultdict[int, list[Note]] = defaultdict(list)
            for note in notes:
                if "session" in note:
                    sessions[note["session"]].append(note)
            for events in sessions.values():
                heard |= self._check_session(user, events)
                told |= {event["id"] for event in events if event["kind"] == "recall"}
                edits |= {(event["id"], event["text"]) for event in events if event["kind"] == "edit"}
        for message, (conversation, sender, _) in self.place.items():
            if sender != user and sender in self.lives and message not in heard and message not in self.earlier:
                if not self._may_be_missing(user, message):
                    self.bad(f"{user} never heard {message} in {conversation}: {self.place[message]}")
        self.counts["deliveries compared"] += len(heard)
        for said in self.said:
            if said.user == user or self._is_hit(said, user) or self._is_hit(said, said.user):
                continue
            if self._may_be_missing(user, said.id):
                continue
            if said.recall == "done" and said.id not in told:
                self.bad(f"{user} was not told of a recall: {said}")
            if said.recall:  # it has taken along the edits that were not received yet
                continue
            for text, verdict in said.edits:
                if verdict == "sent" and (said.id, text) not in edits:
                    self.bad(f"{user} was not told of an edit: {said}")

    def _may_be_missing(self, user: str, message: str) -> bool:
        changes = self.changes[user]
        if message in self.hit[user].ids or changes.other_devices:
            return True
        places = [self.place[message][0]] if message in self.place else self.conversations
        return any(changes.may_have_skipped(place, message or "0") for place in places)

    def _check_session(self, user: str, events: list[Note]) -> set[str]:
        known = self._texts_by_id()
        by_place: defaultdict[str, list[int]] = defaultdict(list)
        gone: set[str] = set()
        for event in events:
            if event["kind"] == "message":
                message, text = event["id"], event["text"] or ""
                if message in gone and message not in self.hit[user].ids:
                    self.bad(f"{user}: {message} came back after its recall")
                expected = known.get(message)
                if (expected is None or text not in expected[1]) and not self._is_made(message, text, user):
                    self.bad(f"{user}: heard {(message, text)}, but {expected} was sent")
                by_place[event["to"]].append(int(message or 0))
            elif event["kind"] == "recall":
                gone.add(event["id"])
        unreadable = 0 if "" in self.changes[user].made[True].ids else None  # two of them are not one message twice
        for place, ids in by_place.items():
            if twice := [message for message, count in Counter(ids).items() if count > 1 and message != unreadable]:
                self.bad(f"{user}: came twice in {place}: {twice}")
            stand = [number for number in ids if str(number) in self.place and str(number) not in self.hit[user].ids]
            early = [(before, after) for before, after in itertools.pairwise(stand) if before > after]
            if early:
                self.bad(f"{user}: out of order in {place}: {early}")
        return {str(number) for ids in by_place.values() for number in ids}

    def _is_made(self, message: str, text: str, user: str) -> bool:
        made = self.changes[user].made[True]
        return message in made.ids or text in made.texts or text in self.made.texts

    # --------------------------------------------------------------- the end

    def _check_end(self, user: str, notes: list[Note]) -> None:
        """Compare what a user reads when the faults are over."""
        seen: Counter[str] = Counter()
        for note in notes:
            if "history" in note:
                seen["history"] += 1
                for what in ("rows", "listed"):
                    self._check_history(f"{user}: the {what} of {note['history']}", note["history"], note[what])
            if "archived" in note:
                seen["archive"] += 1
                self._check_archive(user, note["archived"], note["rows"])
            if "complete" in note and ("history" in note or "archived" in note) and not note["complete"]:
                self.bad(f"{user}: not complete in the end: {note}")
            if "verified" in note:
                seen["verify"] += 1
                if not note["verified"]:
                    self.bad(f"{user}: the archive is not sound: {note['problems']}")
            if "live" in note:
                seen["live"] += 1
                self._check_live(user, notes, note["live"])
        if seen != Counter(history=len(self.conversations), archive=len(self.conversations), verify=1, live=1):
            self.bad(f"{user}: not all was compared: {dict(seen)}")

    def _rows_of(self, conversation: str) -> list[list[str]]:
        return [[message, text] for message, _, text in self.tables.messages[conversation]]

    def _check_history(self, what: str, conversation: str, rows: list[list[str]]) -> None:
        expected = self._rows_of(conversation)
        if rows != expected:
            alien = [row for row in rows if row not in expected]
            missing = [row for row in expected if row not in rows]
            self.bad(f"{what} are not the table: too much {alien}, missing {missing}")

    def _check_archive(self, user: str, conversation: str, rows: list[list[str]]) -> None:
        expected, made = self._rows_of(conversation), self.changes[user].made[True]
        alien = [row for row in rows if row not in expected and row[0] not in made.ids and row[1] not in made.texts]
        missing = [row for row in expected if row not in rows]
        if alien or missing:
            self.bad(f"{user}: the archive of {conversation} has {alien}, and lacks {missing}")

    def _check_live(self, user: str, notes: list[Note], live: list[list[str]]) -> None:
        """Compare the log of edits and recalls with the events of the last session, from the beginning of the log."""
        names = {"recall": "recalled", "edit": "edited"}
        watch = [note for note in notes if "watches" in note][-1]
        session, began = watch["watches"], watch["at"]
        expected = Counter(
            (names[note["kind"]], note["id"])
            for note in notes
            if note.get("session") == session and note["at"] > began and note["kind"] in names
        )
        if lost := expected - Counter((event, message) for event, message in live):
            self.bad(f"{user}: the live log lacks {dict(lost)}")
