"""The arguments of `history()` and `messages()`, checked and turned into a `Query`.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from imkit.client.roaming import Order, Query
from imkit.client.user_ids import user_id
from imkit.errors import InvalidMessage
from imkit.hints import (
    A_DAY_IN_CODE,
    DAY_AND_MONTH,
    ISO_TIME,
    THREAD_IN_PLACE_OF_A_TIME,
    TYPES_MEANT,
    UNTIL_IS_EXCLUSIVE,
)
from imkit.times import to_milliseconds

Moment = datetime | date | str
_TYPES = ("txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "combine")
_YEAR_FIRST = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(.*)")
_YEAR_LAST = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}.*")


def query(
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    types: Sequence[str] | None = None,
    sender: str | None = None,
    limit: int | None = None,
    order: Order = "oldest",
) -> Query:
    """Return the checked query for the arguments of `history()`.

    Raises:
        InvalidMessage: an argument is out of bounds; the error names it and says what it must be.

    Example:
        >>> query("2026-03-01T00:00:00Z", types=["txt"]).since
        1772323200000
    """
    checked_types = _checked_types(types)
    if limit is not None and (not hasattr(limit, "__index__") or limit < 1):  # numpy's whole numbers are good too
        raise InvalidMessage(f"limit must be a whole number from 1, not {limit!r:.40}")
    if order not in ("oldest", "newest"):
        hint = 'It says which messages come first: "oldest" is ascending, "newest" descending.'
        raise InvalidMessage(f'order must be "oldest" or "newest", not {order!r:.40}', hint=hint)
    wanted = Query(
        since=moment_of(since, "since"),
        until=moment_of(until, "until"),
        types=checked_types,
        sender=None if sender is None else user_id(sender),
        limit=None if limit is None else limit.__index__(),
        order=order,
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        hint = UNTIL_IS_EXCLUSIVE if wanted.since == wanted.until else "since is the earlier one of the two."
        raise InvalidMessage(f"since ({since}) must be before until ({until})", hint=hint)
    return wanted


def _checked_types(types: Iterable[str] | None) -> frozenset[str]:
    if types is None:
        return frozenset()
    if isinstance(types, str | type) or not isinstance(types, Iterable):
        raise InvalidMessage("types must be a list", hint=f'Write types=["{_type_meant_by(types) or "txt"}"].')
    names = list(types)
    for name in names:
        if not isinstance(name, str) or name not in _TYPES:
            meant = _type_meant_by(name)
            hint = f'Write "{meant}".' if meant else f"The types are {', '.join(_TYPES)}."
            raise InvalidMessage(f"{name!r:.40} is not a message type", hint=hint)
    return frozenset(names)


def _type_meant_by(name: object) -> str | None:
    """Return the type that a name, or a class of bodies, stands for; `None` if it is not known."""
    found = getattr(name, "type", None) if isinstance(name, type) else name
    found = TYPES_MEANT.get(found.lower(), found.lower()) if isinstance(found, str) else None
    return found if found in _TYPES else None


def moment_of(moment: Moment | None, name: str) -> int | None:
    """Return a moment in ms since the epoch.

    Args:
        moment: without a time zone it is local time; a date is its local midnight.
        name: of the argument, for the error.

    Raises:
        InvalidMessage: it is not a moment.
    """
    if moment is None:
        return None
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise InvalidMessage(f"{name}: {moment!r:.60} is not an ISO time", hint=_hint_for(moment)) from error
    elif isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    found: object = moment
    if not isinstance(found, datetime):
        what = f"{name} must be a datetime, a date or an ISO string, not {moment!r:.40}"
        raise InvalidMessage(what, hint=_hint_for(found))
    # Rounded up to a millisecond: rounded down, `since` would include messages from before the moment.
    try:
        if moment.tzinfo is None:  # a Timestamp of pandas without a zone cannot be converted itself
            moment = datetime.combine(moment.date(), moment.time())
        aware = moment.astimezone(UTC)
        return to_milliseconds(aware) + (1 if aware.microsecond % 1000 else 0)
    except (ValueError, OverflowError, TypeError) as error:  # the last days of the calendar in another zone; NaT
        raise InvalidMessage(f"{name}: {moment} is outside the calendar, or not a time") from error


def _hint_for(found: object) -> str:
    """Return what to give in place of something that is not a moment."""
    if isinstance(found, str):
        if found.strip().lower() in ("now", "today", "yesterday", "今天", "昨天"):
            return A_DAY_IN_CODE
        if (parts := _YEAR_FIRST.fullmatch(found.strip())) is not None:
            year, month, day, rest = parts.groups()
            return _written(f"{year}-{int(month):02}-{int(day):02}{rest}")
        return DAY_AND_MONTH if _YEAR_LAST.fullmatch(found.strip()) else ISO_TIME
    if isinstance(found, int) and not isinstance(found, bool):
        if 1900_01_01 <= found <= 9999_12_31:
            return _written(f"{found // 10_000}-{found // 100 % 100:02}-{found % 100:02}")
        if found >= 10**9:
            unit, seconds = ("ms", "… / 1000") if found >= 10**12 else ("s", "…")
            return f"A number of {unit} since 1970 becomes a time with datetime.fromtimestamp({seconds}, UTC)."
        return f"For a number of messages write limit={found}."
    if type(found).__name__ in ("Thread", "Group"):
        return THREAD_IN_PLACE_OF_A_TIME
    return A_DAY_IN_CODE if isinstance(found, timedelta) else ISO_TIME


def _written(moment: str) -> str:
    """Return the hint to write a moment so, if there is such a day."""
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        return ISO_TIME
    return f'Write "{moment}".'
