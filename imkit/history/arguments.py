"""The arguments of `history()` and `messages()`, checked and turned into a `Query`.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from imkit.client.roaming import Order, Query
from imkit.client.user_ids import user_id
from imkit.errors import InvalidMessage
from imkit.times import to_milliseconds

Moment = datetime | date | str
_TYPES = ("txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "combine")


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
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InvalidMessage(f"limit must be a whole number from 1, not {limit!r:.40}")
    if order not in ("oldest", "newest"):
        raise InvalidMessage(f'order must be "oldest" or "newest", not {order!r:.40}')
    wanted = Query(
        since=moment_of(since, "since"),
        until=moment_of(until, "until"),
        types=checked_types,
        sender=None if sender is None else user_id(sender),
        limit=limit,
        order=order,
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InvalidMessage(f"since ({since}) must be before until ({until})")
    return wanted


def _checked_types(types: Iterable[str] | None) -> frozenset[str]:
    if types is None:
        return frozenset()
    if isinstance(types, str) or not isinstance(types, Iterable):
        raise InvalidMessage(f'types must be a list, such as ["{types!s:.40}"]')
    names = list(types)
    for name in names:
        if name not in _TYPES:
            raise InvalidMessage(f"{name!r:.40} is not a message type", hint=f"The types are {', '.join(_TYPES)}.")
    return frozenset(names)


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
            hint = 'Give an ISO time, such as "2026-11-23" or "2026-11-23T10:00:00+08:00".'
            raise InvalidMessage(f"{name}: {moment!r:.60} is not an ISO time", hint=hint) from error
    elif isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if not isinstance(moment, datetime):
        raise InvalidMessage(f"{name} must be a datetime, a date or an ISO string, not {type(moment).__name__}")
    # Rounded up to a millisecond: rounded down, `since` would include messages from before the moment.
    try:
        aware = moment.astimezone(UTC)
        return to_milliseconds(aware) + (1 if aware.microsecond % 1000 else 0)
    except (ValueError, OverflowError, TypeError) as error:  # the last days of the calendar in another zone; NaT
        raise InvalidMessage(f"{name}: {moment} is outside the calendar, or not a time") from error
