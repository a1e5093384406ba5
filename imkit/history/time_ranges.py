"""Ranges of time, in ms since the epoch, and how they are put together."""

from __future__ import annotations

from collections.abc import Iterable

FAR = 2**62  # ms; later than any message, for a range that is open

Range = tuple[int, int]  # both ends included
Bounds = tuple[int | None, int | None]  # since, included, and until, excluded; None: open


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return ranges as few as can be, in order; one that ends before it begins is empty.

    Example:
        >>> merged([(7, 9), (1, 3), (2, 5), (10, 11), (20, 15)])
        ((1, 5), (7, 11))
    """
    found: list[Range] = []
    for low, high in sorted(ranges):
        if high < low:
            continue
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return tuple(found)


def missing(covered: Iterable[Range], since: int | None, until: int | None = None) -> list[Bounds]:
    """Return what of a range is not covered: the gaps, in order, and without `until` also what is newer than all.

    The last millisecond of a covered range is in the gap after it too: when it was read it may have been now, and
    another message may have come in it since. Ids tell what is read twice.

    Args:
        covered: ranges in ms since the epoch, both ends included, in order, none touching another.
        since: ms since the epoch, included, or `None`.
        until: ms since the epoch, excluded, or `None`: the last gap is open then.

    Example:
        >>> missing([(10, 19), (30, 39)], 5, 50)
        [(5, 10), (19, 30), (39, 50)]
        >>> missing([(0, 39)], None)
        [(39, None)]
        >>> missing([(0, 49)], None, 50)
        []
    """
    found: list[Bounds] = []
    at = since or 0
    for low, high in covered:
        if high < at:
            continue
        if until is not None and low >= until:
            break
        if low > at:
            found.append((at or None, low))
        at = max(at, high)
        if until is not None and at + 1 >= until:
            return found
    return [*found, (at or None, until)]
