"""What names a person in a row of an archive, and how the row is without it. Nothing here reads or writes a file.

A whole row is removed if the person sent it, or if imkit could not read it and its bytes hold the id. In the rows of
others:

| where the person is named | what becomes of it |
|---|---|
| a reaction | the person leaves its list of users and its count |
| a value of `ext` or `payload`, also in a list or in JSON text: a mention | the value becomes `ERASED` |
| an object inside of them with the id, or an id of the person's messages, as a value: a quote | all its values do |
| a bundle that holds messages of the person, or has the id in its preview | its texts do; it loses its file and link |
| a message with a file that the person uploaded: it was forwarded | it loses the file, the link and the file name |
| words of others | the id stays, and is counted; with `texts` it becomes `ERASED` |

`ERASED` is a constant, not a hash: whoever has the archive could compare the hash with those of all known ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from imkit.wire.keyvalues import json_text

ERASED = "(erased)"  # a user id cannot hold parentheses
TEXT_COLUMNS = ("text", "thread_name", "file_name", "url")
JSON_COLUMNS = ("ext", "payload", "reactions")
FILE_COLUMNS = ("url", "file_name", "file_size", "duration", "width", "height")  # they describe an attached file
# What imkit itself has written into an entry of the live log.
_LIVE_FACTS = frozenset(
    {"event", "at", "message_id", "target_id", "seconds_after", "time", "text", "edit_count", "since", "missed"}
)

_REACTION_FACTS: dict[str, type] = {"reaction": str, "count": int, "state": bool}  # values that name nobody

Row = dict[str, Any]


def upload_path(url: str | None) -> str | None:
    """Return the path of a file that was uploaded to the service. `None` for any other URL: it belongs to no sender.

    Example:
        >>> upload_path("https://a1.easemob.com/org/app/chatfiles/7")
        '/org/app/chatfiles/7'
    """
    try:
        path = urlsplit(url or "").path
    except ValueError:  # not a valid URL
        return None
    return path if "/chatfiles/" in path else None


class Traces:
    """Finds the traces of one person, and removes them.

    Args:
        user: the user id in lower case; upper and lower case are the same in user ids.
        texts: whether the id is replaced in the texts of others too, where it stands as a word.
        message_ids: the ids of the person's messages.
        uploads: the files that the person has uploaded, as `upload_path` gives them.
        conversations: the ids of groups and threads, which are no user ids.

    Example:
        >>> Traces("ann").without('{"em_at_list":["Ann","bob"],"tea":"oolong"}')
        '{"em_at_list":["(erased)","bob"],"tea":"oolong"}'
    """

    def __init__(
        self,
        user: str,
        *,
        texts: bool = False,
        message_ids: frozenset[str] = frozenset(),
        uploads: frozenset[str] = frozenset(),
        conversations: Collection[str] = (),
    ) -> None:
        self._user = user
        self._texts = texts
        self._message_ids = message_ids
        self._uploads = uploads
        self._conversations = conversations
        name = re.escape(user)
        # In an address, `org#app_ann@easemob.com/phone`, the app key stands before the id, with a line between them.
        before = r"(?P<before>(?<![A-Za-z0-9_])|#[A-Za-z0-9.\-]+_)"
        self._word = re.compile(rf"{before}{name}(?![A-Za-z0-9_])", re.IGNORECASE | re.ASCII)
        # In bytes, an id is a text of protobuf, whose length stands before it, or a text of JSON.
        length = re.escape(bytes([len(user)]))
        self._in_bytes = re.compile(b'%b%b|"%b(?=["\\\\])' % (length, name.encode(), name.encode()), re.IGNORECASE)

    def is_user(self, value: object) -> bool:
        """Return whether a value is the id: the text, or the number if the id is one."""
        if isinstance(value, str):
            return value.lower() == self._user
        return isinstance(value, int) and not isinstance(value, bool) and str(value) == self._user

    def are_in_bytes(self, data: bytes) -> bool:
        """Return whether bytes that nobody takes apart, such as a bundle's file, hold the id as a value."""
        return self._in_bytes.search(data) is not None

    def are_in_texts(self, row: Mapping[str, Any]) -> bool:
        """Return whether the id stands as a word in a text of a row, or of a JSON object."""
        return any(self._word.search(text) for text in _texts_of(list(row.values())))

    # ------------------------------------------------------------------------ rows

    def is_own(self, row: Row) -> bool:
        """Return whether a row of `messages` or `versions` must be removed."""
        return self.is_user(row["sender"]) or (row["type"] == "unknown" and self._is_in_unread(row["payload"]))

    def _is_in_unread(self, payload: str | None) -> bool:
        """Return whether the bytes of a message that imkit could not read hold the id."""
        try:
            return self.are_in_bytes(bytes.fromhex(json.loads(payload or "{}")["data"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    def without_row(self, row: Row, in_bundle: bool) -> Row:
        """Return a row of another person without the traces; an equal row if there are none.

        Args:
            row: the row, with its text, JSON and file columns and its type.
            in_bundle: whether the file of this bundle holds messages of the person.
        """
        clean = dict(row)
        if row["ext"]:
            clean["ext"] = self.without(row["ext"])
        if row["payload"]:
            clean["payload"] = self._without_payload(row["payload"])
        if row["reactions"]:
            clean["reactions"] = self._without_reactions(row["reactions"])
        preview = {name: row[name] for name in ("text", "payload")}
        if row["type"] == "combine" and (in_bundle or self.are_in_texts(preview)):
            clean |= {"text": ERASED, "payload": _all_erased(row["payload"]), **dict.fromkeys(FILE_COLUMNS)}
        elif upload_path(row["url"]) in self._uploads:
            clean |= dict.fromkeys(FILE_COLUMNS)
        return clean | {name: self.without_words(clean[name]) for name in TEXT_COLUMNS if clean[name]}

    def without_entry(self, entry: Row) -> Row | None:
        """Return an entry of the live log without the traces; `None` if it is about a message of the person."""
        sender, operator = entry.get("sender"), entry.get("operator")
        is_own = self.is_user(sender) or (not sender and self.is_user(operator))
        if is_own or entry.get("message_id") in self._message_ids:
            return None
        # Also in keys that a later version of imkit has added.
        clean = {name: each if name in _LIVE_FACTS else self._without_value(each) for name, each in entry.items()}
        target_id = entry.get("target_id")  # of a message to one user, that user
        if self.is_user(target_id) and target_id not in self._conversations:
            clean["target_id"] = ERASED
        return clean | ({"text": self.without_words(entry["text"])} if isinstance(entry.get("text"), str) else {})

    def without_words(self, text: str, *, always: bool = False) -> str:
        """Return a text with `ERASED` where the id stands as a word, if `texts` or `always` says so."""
        return self._word.sub(rf"\g<before>{ERASED}", text) if self._texts or always else text

    # ------------------------------------------------------------------------ JSON

    def without(self, text: str) -> str:
        """Return the JSON text of `ext` or `payload` without the traces; the same text if there are none."""
        return self._without_json(text, is_inside=False)

    def _without_json(self, text: str, *, is_inside: bool) -> str:
        try:
            value = parsed(text)
            clean = self._without_value(value, is_inside=is_inside)
            return text if clean == value else _json_of(clean)
        except (ValueError, RecursionError):  # not JSON
            return ERASED if self.are_in_bytes(text.encode(errors="replace")) else self.without_words(text)

    def _without_value(self, value: Any, *, is_inside: bool = True) -> Any:
        """Return a JSON value without the traces.

        Args:
            value: the value.
            is_inside: whether it lies inside of another one: only then a whole object can be about the person.
        """
        if self.is_user(value):
            return ERASED
        if isinstance(value, str):
            return (
                self._without_json(value, is_inside=True)
                if value.lstrip()[:1] in ("{", "[")
                else self.without_words(value)
            )
        if isinstance(value, list):
            return [self._without_value(each) for each in value]
        if not isinstance(value, dict):
            return value
        if is_inside and any(self.is_user(each) or self._is_own_message(each) for each in value.values()):
            return dict.fromkeys(map(self._without_value, value), ERASED)
        # The value of a key that is the id is about the person, such as a vote.
        return {
            self._without_value(key): ERASED if self.is_user(key) else self._without_value(each)
            for key, each in value.items()
        }

    def _is_own_message(self, value: object) -> bool:
        return isinstance(value, str | int) and str(value) in self._message_ids

    def _without_payload(self, text: str) -> str:
        """Return a payload without the traces. Its own keys and numbers are imkit's, and not an application's."""
        try:
            value = parsed(text)
            clean = {
                key: self._without_value(each) if isinstance(each, str | list | dict) else each
                for key, each in value.items()
            }
            return text if clean == value else _json_of(clean)
        except (ValueError, AttributeError, RecursionError):  # not a JSON object
            return self.without(text)

    def _without_reactions(self, text: str) -> str | None:
        """Return the reactions to a message without the person's; `None` if none are left."""
        try:
            reactions = parsed(text)
        except (ValueError, RecursionError):
            reactions = None
        if not isinstance(reactions, list):
            return self.without(text)
        left = [each for each in map(self._without_reaction, reactions) if each is not None]
        if left == reactions:
            return text
        return _json_of(left) if left else None

    def _without_reaction(self, reaction: Any) -> Any:
        """Return one reaction without the person; `None` if nobody else reacted so."""
        if not isinstance(reaction, dict):
            return self._without_value(reaction)
        facts = {key: each for key, each in reaction.items() if isinstance(each, _REACTION_FACTS.get(key, ()))}
        rest = {key: each for key, each in reaction.items() if key not in facts}
        clean = facts | self._without_value(rest, is_inside=False)
        users = reaction.get("userList")
        if not isinstance(users, list) or not any(map(self.is_user, users)):
            return clean
        others = [each for each in self._without_value(users) if each != ERASED]
        count = reaction.get("count")
        count = max(count - 1 if isinstance(count, int) else 0, len(others))
        clean.pop("state", None)  # whether the account that synced has reacted: it may be this person's
        return {**clean, "count": count, "userList": others} if count else None


def parsed(text: str | bytes) -> Any:
    """Return JSON text as a value that holds all that the text holds.

    Raises:
        ValueError: it is not JSON, or an object has a key twice: then the value would lack what the first one has.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object_of)


def _object_of(pairs: list[tuple[str, Any]]) -> Row:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json_of(value: Any) -> str:
    r"""Return a value as JSON; half a character, which UTF-8 cannot hold, is written as its escape."""
    return json_text(value).encode(errors="backslashreplace").decode()


def _all_erased(payload: str | None) -> str | None:
    """Return the payload of a bundle with `ERASED` for its texts."""
    if not payload:
        return payload
    try:
        value = parsed(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return _json_of({key: each if isinstance(each, int) else ERASED for key, each in value.items()})


def _texts_of(value: Any) -> Iterator[str]:
    """Yield all texts in a row or a JSON value, also those inside of JSON text."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield key
            yield from _texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts_of(each)
    elif isinstance(value, str):
        if value.lstrip()[:1] in ("{", "["):
            try:
                yield from _texts_of(parsed(value))
                return
            except (ValueError, RecursionError):
                pass
        yield value
