"""Ranges of time in ms since the epoch: how they are merged, and what they leave out."""

from __future__ import annotations

from collections.abc import Iterable

FAR = 2**62  # ms; the end of a range whose end is open: later than any message

Range = tuple[int, int]  # both ends included
Bounds = tuple[int | None, int | None]  # since, included, and until, excluded; None: open


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the same milliseconds in as few ranges as possible, in order. A range that ends before it begins is empty.

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
    """Return the parts of a range that are not covered, in order.

    Each part begins with the last millisecond of the covered range before it: another message may have come in that
    millisecond after it was read. Messages that are read twice must be recognised by their ids.

    Args:
        covered: ranges in ms since the epoch, both ends included, in order, with a gap between any two.
        since: ms since the epoch, included, or `None`.
        until: ms since the epoch, excluded, or `None`: then the last part has an open end, for what is newer than all.

    Example:
        >>> missing([(10, 19), (30, 39)], 5, 50)
        [(5, 10), (19, 30), (39, 50)]
        >>> missing([(0, 39)], None)
        [(39, None)]
        >>> missing([(0, 49)], None, 50)
        []
    """
    found: list[Bounds] = []
    position = since or 0
    for low, high in covered:
        if high < position:
            continue
        if until is not None and low >= until:
            break
        if low > position:
            found.append((position or None, low))
        position = max(position, high)
        if until is not None and position + 1 >= until:
            return found
    return [*found, (position or None, until)]
