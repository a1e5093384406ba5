"""`Source`: where a frame comes from, a dict that a notebook shows in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from imkit.cards import Tone, card
from imkit.escape import for_terminal

_NAMES = 5  # of threads and groups; more are counted
_NAME, _VALUE = 64, 300  # characters


class Source(dict[str, Any]):
    """Where a frame comes from: a copy of ``frame.attrs["imkit"]``, plain JSON, that is shown in a few lines.

    Args:
        facts: what the frame's ``attrs`` say.
        names: the names of threads by their ids, as far as they are known.
        group_ids: the ids that are those of groups.

    Example:
        >>> source = Source({"rows": 2, "thread_ids": ["42"], "complete": True}, {"42": "Oolong"})
        >>> source
        2 messages of Oolong, complete
        thread: Oolong (42)
        range: the whole history until it was fetched
        a dict with the keys rows, thread_ids, complete
        >>> source["complete"], source == {"rows": 2, "thread_ids": ["42"], "complete": True}
        (True, True)
    """

    def __init__(
        self, facts: Mapping[str, Any] = {}, names: Mapping[str, str] = {}, group_ids: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(facts)
        self._names = names
        self._group_ids = group_ids

    def __repr__(self) -> str:
        facts = [f"{name}: {fact}" for name, fact in self._facts()]
        return "\n".join([f"{self._title()}, {self._state()}", *facts, *self._keys()] if self else [self._title()])

    def _repr_html_(self) -> str:
        text = "\n".join(f"{name}: {fact}" for name, fact in self._facts())
        state = self._state() if self else ""
        tone: Tone = "good" if state == "complete" else "busy"
        return card("Source", self._title(), self._keys(), state=state, tone=tone, text=text)

    # ------------------------------------------------------------------ the parts, each on one line of plain text

    def _title(self) -> str:
        if not self:
            return "a frame that does not say where it comes from"
        rows, places = self.get("rows"), self._places()
        title = f"{rows:,} message{'' if rows == 1 else 's'}" if isinstance(rows, int) else "messages"
        if len(places) == 1:
            title += f" of {places[0][1]}"
        elif places:
            title += f" of {len(places):,} threads and groups"
        insight = self.get("insight")
        return title if insight is None else f"{_shown(insight, _NAME)}, made from {title}"

    def _state(self) -> str:
        if self.get("complete") is True:
            return "complete"
        reason = self.get("reason")
        return "not complete" + (f" ({_shown(reason)})" if reason else "")

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Yield the other facts, each with its name."""
        if self.get("app_key"):
            yield "app", _shown(self["app_key"])
        places = self._places()
        for kind in ("thread", "group"):
            named = [(each, name) for each, name in places if (each in self._group_ids) == (kind == "group")]
            listed = [name if name == each else f"{name} ({each})" for each, name in named[:_NAMES]]
            more = [f"and {len(named) - _NAMES:,} more"] if len(named) > _NAMES else []
            if named:
                yield kind + ("s" if len(named) > 1 else ""), ", ".join([*listed, *more])
        since, until = self.get("since"), self.get("until")
        begin = f"from {_local(since)}" if since else "the whole history"
        if self:
            yield "range", f"{begin} until {_local(until) if until else 'it was fetched'}"
        filters = [f"{name} {_shown(value)}" for name in ("types", "sender", "limit") if (value := self.get(name))]
        if filters:
            yield "only", ", ".join(filters)
        if fetched := self.get("fetched_at"):
            yield "fetched", _local(fetched)
        if isinstance(count := self.get("server_count"), int):
            yield "the service counts", f"{count:,}"
        if self.get("note"):
            yield "note", _shown(self["note"])

    def _keys(self) -> list[str]:
        return [f"a dict with the keys {_shown(', '.join(map(str, self)))}"] if self else []

    def _places(self) -> list[tuple[str, str]]:
        """Return the id and the name of each thread and group; a name that is not known is the id."""
        ids = self.get("thread_ids")
        shown = [_shown(each, _NAME) for each in ids] if isinstance(ids, list | tuple) else []
        return [(each, _shown(self._names.get(each) or each, _NAME)) for each in shown]


def source_of(frame: pd.DataFrame) -> Source:
    """Return where a frame comes from; an empty `Source` if it does not say it."""
    facts = frame.attrs.get("imkit")
    if not isinstance(facts, dict):
        return Source()
    try:
        return Source(facts, _names_in(frame), _groups_in(frame))
    except TypeError:  # a stranger's file may have lists in its cells
        return Source(facts)


def _names_in(frame: pd.DataFrame) -> dict[str, str]:
    if not ({"thread_id", "thread_name"} <= set(frame.columns) and frame.columns.is_unique):
        return {}
    last = frame.loc[~frame["thread_id"].duplicated(keep="last"), ["thread_id", "thread_name"]].dropna()
    return dict(zip(map(str, last["thread_id"]), map(str, last["thread_name"]), strict=True))


def _groups_in(frame: pd.DataFrame) -> frozenset[str]:
    return frozenset(map(str, frame["group_id"].dropna().unique())) if "group_id" in frame else frozenset()


def _shown(value: object, limit: int = _VALUE) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return for_terminal(text, limit)


def _local(moment: object) -> str:
    """Return a time of ``attrs``, ISO text, as local time with its offset from UTC, to the second."""
    try:
        return datetime.fromisoformat(str(moment)).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):  # a stranger's file may say anything
        return _shown(moment)
