"""Conversions between the service's times (milliseconds since the epoch), `datetime` and ISO text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MILLISECOND = 253_402_300_799_999  # the end of the year 9999, the last time that datetime can hold


def from_milliseconds(milliseconds: int) -> datetime:
    """Return an aware UTC datetime. A number that `datetime` cannot hold becomes the nearest one that it can.

    Example:
        >>> from_milliseconds(1_795_390_333_491).isoformat()
        '2026-11-22T23:32:13.491000+00:00'
    """
    return _EPOCH + timedelta(milliseconds=min(max(milliseconds, 0), LAST_MILLISECOND))


def to_milliseconds(time: datetime) -> int:
    """Return the milliseconds from the epoch to an aware `time`, rounded down.

    Example:
        >>> to_milliseconds(from_milliseconds(1_795_390_333_491))
        1795390333491
    """
    return (time - _EPOCH) // timedelta(milliseconds=1)


def iso(milliseconds: int | None) -> str | None:
    """Return a time in ms since the epoch as UTC text, the form of ``DataFrame.attrs``; `None` stays `None`.

    Example:
        >>> iso(1_795_390_333_491)
        '2026-11-22T23:32:13.491+00:00'
    """
    if milliseconds is None:
        return None
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")
