"""Conversions between the service's times (milliseconds since the epoch), `datetime` and ISO text; and clocks.

No module compares this machine's wall clock with a time of the service: the wall clock may be wrong by hours, and it
may jump.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

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


def in_words(length: timedelta) -> str:
    """Return a length of time in its largest whole unit; what is below a second is ``"0 s"``.

    Example:
        >>> in_words(timedelta(seconds=150)), in_words(timedelta(days=3, hours=5))
        ('2 min', '3 d')
    """
    seconds = max(0, length // timedelta(seconds=1))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


# Names that are no zone of the IANA, or stand for several, and the zones that are meant.
_ZONES_OF_NAMES = {
    **dict.fromkeys(("beijing", "peking", "china", "shenzhen", "guangzhou", "hangzhou", "chengdu"), "Asia/Shanghai"),
    **dict.fromkeys(("北京", "北京时间", "上海", "中国", "深圳", "广州", "杭州", "成都"), "Asia/Shanghai"),
    "cst": "Asia/Shanghai America/Chicago",
    "ist": "Asia/Kolkata Europe/Dublin",
    "pst": "America/Los_Angeles",
    "jst": "Asia/Tokyo",
    "sgt": "Asia/Singapore",
    "bst": "Europe/London",
}


def zones_like(name: str) -> list[str]:
    """Return the time zones that a name may stand for; empty if none is like it.

    Args:
        name: what a user wrote, such as a city or an offset.

    Example:
        >>> zones_like("Beijing"), zones_like("asia/shangai"), zones_like("UTC+8")
        (['Asia/Shanghai'], ['Asia/Shanghai'], ['+08:00'])
    """
    import difflib
    import zoneinfo

    wanted = name[:60].strip().lower().replace(" ", "_")
    if wanted in _ZONES_OF_NAMES:
        return _ZONES_OF_NAMES[wanted].split()
    if offset := re.fullmatch(r"(?:utc|gmt)?([+-])(\d{1,2})(?::?(\d\d))?", wanted):
        sign, hours, minutes = offset.groups()
        return [f"{sign}{int(hours):02}:{minutes or '00'}"]
    zones = {each.lower(): each for each in zoneinfo.available_timezones()}
    cities = {key.rpartition("/")[2]: each for key, each in zones.items()}
    for known in (zones, cities):
        if near := difflib.get_close_matches(wanted, known, 1, 0.8):
            return [known[near[0]]]
    return []


def _clock_that_counts_suspends() -> Callable[[], float]:
    """Return a clock that only grows, and that also counts the time while the machine is suspended.

    `time.monotonic` stands meanwhile on Linux and on macOS: after a night it would take a token for fresh, and a dead
    connection for alive.
    """
    number: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    if number is None and sys.platform == "darwin":
        number = time.CLOCK_MONOTONIC  # not what `time.monotonic` reads there
    try:
        clock = time.monotonic if number is None else partial(time.clock_gettime, number)
        clock()
    except OSError:  # a container without this clock
        return time.monotonic
    return clock


steady_seconds = _clock_that_counts_suspends()
_START = time.time() - steady_seconds()


def wall_seconds() -> float:
    """Return the seconds since the epoch by this machine's clock, as if nobody set that clock after imkit was loaded.

    So it only grows. It may be wrong by hours: do not compare it with the service's times.
    """
    return _START + steady_seconds()
