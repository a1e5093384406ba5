"""The arguments of `history()` and `messages()`, checked and turned into a `Query`.

Source: fact sheet section 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from imkit.client.app import user_id
from imkit.client.roaming import Order, Query
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
        InvalidMessage: one of them is out of bounds; it says which and what would do.
    """
    kinds = _kinds(types)
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InvalidMessage(f"limit must be a whole number from 1, not {limit!r:.40}")
    if order not in ("oldest", "newest"):
        raise InvalidMessage(f'order must be "oldest" or "newest", not {order!r:.40}')
    wanted = Query(
        since=moment_of(since, "since"),
        until=moment_of(until, "until"),
        types=kinds,
        sender=None if sender is None else user_id(sender),
        limit=limit,
        order=order,
    )
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InvalidMessage(f"since ({since}) is not before until ({until}): no message can be in between")
    return wanted


def _kinds(types: Iterable[str] | None) -> frozenset[str]:
    if types is None:
        return frozenset()
    if isinstance(types, str) or not isinstance(types, Iterable):
        raise InvalidMessage(f'types must be a list, such as ["{types!s:.40}"]')
    kinds = list(types)
    for kind in kinds:
        if kind not in _TYPES:
            raise InvalidMessage(f"{kind!r:.40} is no message type", hint=f"The types are {', '.join(_TYPES)}.")
    return frozenset(kinds)


def moment_of(moment: Moment | None, name: str) -> int | None:
    """Return a moment in ms since the epoch: what has no zone is local time, a date is its local midnight."""
    if moment is None:
        return None
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            hint = 'Give an ISO time, such as "2026-11-23" or "2026-11-23T10:00:00+08:00".'
            raise InvalidMessage(f"{name}: {moment!r:.60} is no time", hint=hint) from error
    elif isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if not isinstance(moment, datetime):
        raise InvalidMessage(f"{name} must be a datetime, a date or an ISO string, not {type(moment).__name__}")
    # Rounded up: no millisecond before a moment belongs to what is since it.
    try:
        aware = moment.astimezone(UTC)
        return to_milliseconds(aware) + (1 if aware.microsecond % 1000 else 0)
    except (ValueError, OverflowError, TypeError) as error:  # the edge of the calendar in another zone; pandas' NaT
        raise InvalidMessage(f"{name}: {moment} is no time that can be asked for") from error
