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
