"""Divide one long history by time among several workers, so that several requests can be under way at once.

This module does no I/O: `Shards` is told what the pages hold, and answers where a worker reads next.

A gap is an unread interval; each worker reads one gap from one end. The whole range begins as one gap. One walk reads
it from its newest message on, another one from its oldest message on; a quiet interval costs no request. An idle worker
takes the free end of the gap with the most unread messages, as estimated. If both ends of that gap are taken, it is cut
in the middle, and the worker takes the older half.

No message is missed: a request asks for 1 ms more at each end, and the millisecond in which a page ended stays in the
gap. So it does not matter whether the service's bounds are inclusive, nor how many messages one millisecond holds.
Messages that come twice are recognised by their ids.

A service may differ from what is documented:

- If it ignores time bounds, only the two walks from the ends of the whole range go on, because they need no bounds.
- If it ignores the direction, one walk reads everything, and nothing counts as read before that walk ends.
- If messages on a page are out of order by some ms, every walk leaves that many ms more in its gap.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from imkit.client.roaming import PAGE_SIZE, PageChain, Query
from imkit.history.time_ranges import FAR, Range

WORTH_HELPING = PAGE_SIZE  # messages; fewer come with the page that is under way
BURST_GOES_ON = 2 * PAGE_SIZE  # messages; a burst at the end of a gap is assumed to go on for so many


@dataclass(slots=True, eq=False)
class Gap:
    """An unread interval: ms since the epoch, both ends included.

    Attributes:
        newest_walk, oldest_walk: the walks that read it from its newest and from its oldest end.
    """

    low: int
    high: int
    newest_walk: ShardWalk | None = None
    oldest_walk: ShardWalk | None = None

    @property
    def ms(self) -> int:
        """How many milliseconds it has."""
        return self.high - self.low + 1

    def cut_off(self, low: int, high: int) -> None:
        """Remove the interval from `low` to `high`, which reaches to an end of the gap or beyond it."""
        if low <= self.low:
            self.low = max(self.low, high + 1)
        if high >= self.high:
            self.high = min(self.high, low - 1)


@dataclass(slots=True, eq=False)
class ShardWalk:
    """A walk through a gap, one page after another, in one direction.

    Attributes:
        chain: the question and its cursor.
        start: where the walk began, in ms since the epoch.
        reached: the time of the last message that came; everything between it and `start` has been read.
        gap: what it reads.
        is_bounded: it asks for less than the whole range, so it needs a service that respects time bounds.
        is_busy: a worker is on it.
        ms_per_message: the mean distance of two messages on the last page.
        newest: the time of the newest message that came.
    """

    chain: PageChain
    start: int
    reached: int
    gap: Gap
    is_bounded: bool
    is_busy: bool = True
    ms_per_message: float = 0.0
    newest: int = 0

    @property
    def newest_first(self) -> bool:
        """Its direction."""
        return self.chain.newest_first


class Shards:
    """A time range of one history, and which parts of it have been read.

    Args:
        wanted: the range and the filters.

    Attributes:
        wanted: the same.
        respects_bounds: False once the service has ignored time bounds.
        respects_order: False once the service has ignored the direction.

    Example:
        >>> from imkit.client.roaming import RoamingPage
        >>> shards = Shards(Query(since=0, until=1000))
        >>> walk = shards.begin()
        >>> walk.chain.follow(RoamingPage([b"first", b"second"], "cursor", is_last=False, is_empty=False))
        >>> shards.add_page(walk, [950, 900])
        True
        >>> shards.covered  # without 900: the next page may hold another message of that millisecond
        ((901, 999),)
        >>> idle_worker = shards.walk_for_idle_worker()
        >>> idle_worker.start, idle_worker.newest_first
        (0, False)
    """

    def __init__(self, wanted: Query) -> None:
        self.wanted = wanted
        self._low = wanted.since or 0
        self._high = FAR if wanted.until is None else wanted.until - 1
        self._oldest = self._low if wanted.since is not None else None  # where messages begin
        self._newest: int | None = None
        self._gaps = [Gap(self._low, self._high)]  # the oldest first
        self._count = 0
        self._is_stuck = False  # the service ignores cursors, so no walk gets on
        self._confirmed_directions: set[bool] = set()  # newest_first of the pages whose times show their order
        self._disorder_ms = 0  # by how much messages were out of order, at the most
        self._walks_from_ends: dict[bool, ShardWalk] = {}  # through the whole range, by newest_first
        self.respects_bounds = self.respects_order = True

    # ------------------------------------------------------------------ which worker reads what

    def begin(self, newest_first: bool = True) -> ShardWalk:
        """Return the walk from one end of the whole range."""
        gap = self._gaps[-1] if newest_first else self._gaps[0]
        walk = _walk_from_end(PageChain(self.wanted, newest_first), gap, is_bounded=False)
        self._walks_from_ends[newest_first] = walk
        return walk

    def walk_for_idle_worker(self) -> ShardWalk | None:
        """Return the walk that is most useful for an idle worker; `None` if nothing is worth a request."""
        if not self._gaps or True not in self._walks_from_ends or self._is_stuck:
            return None
        if not self.respects_bounds or not self.respects_order:
            return self._released_walk()
        if False not in self._walks_from_ends:
            return self.begin(newest_first=False)
        if not self._knows_ends:
            return None
        density = self._density
        unread = [self._unread_in(gap, density) for gap in self._gaps]
        unread_per_worker = [
            messages / (1 + (gap.newest_walk is not None) + (gap.oldest_walk is not None))
            for gap, messages in zip(self._gaps, unread, strict=True)
        ]
        fullest = max(range(len(unread)), key=unread_per_worker.__getitem__)
        return self._join(self._gaps[fullest], unread[fullest])

    def _released_walk(self) -> ShardWalk | None:
        """Return a walk from an end of the whole range that no worker is on."""
        for walk in self._walks_from_ends.values():
            if not walk.is_busy and self.has_more(walk):
                walk.is_busy = True
                return walk
        return None

    @property
    def _knows_ends(self) -> bool:
        return not self.is_open and self._oldest is not None

    def _join(self, gap: Gap, unread: float) -> ShardWalk | None:
        """Return a new walk at the free end of a gap, or in its older half if no end is free."""
        has_no_free_end = gap.newest_walk is not None and gap.oldest_walk is not None
        needed = WORTH_HELPING * (2 if has_no_free_end else 1)
        if unread < needed or (has_no_free_end and gap.high - gap.low < 2):
            return None
        if has_no_free_end:
            gap = self._cut_in_two(gap)
        wanted = replace(self.wanted, since=gap.low, until=gap.high + 1)
        return _walk_from_end(PageChain(wanted, newest_first=gap.newest_walk is None), gap, is_bounded=True)

    def _cut_in_two(self, gap: Gap) -> Gap:
        """Cut a gap in the middle and return the older half, whose newest end is free."""
        middle = (gap.low + gap.high) // 2
        older = Gap(gap.low, middle, None, gap.oldest_walk)
        if gap.oldest_walk is not None:
            gap.oldest_walk.gap = older
        gap.low, gap.oldest_walk = middle + 1, None
        self._gaps.insert(self._gaps.index(gap), older)
        return older

    @property
    def _density(self) -> float:
        """Messages per millisecond in what has been read."""
        return self._count / max(self._whole_ms - self._unread_ms, 1)

    def _unread_in(self, gap: Gap, density: float) -> float:
        """Estimate how many messages are in a gap: as many per ms as elsewhere, and the rest of a burst at its ends."""
        walks = [walk for walk in (gap.newest_walk, gap.oldest_walk) if walk is not None and walk.ms_per_message]
        if not walks:
            return gap.ms * density
        return gap.ms * density + min(gap.ms / min(walk.ms_per_message for walk in walks), BURST_GOES_ON)

    @property
    def _unread_ms(self) -> int:
        return sum(gap.ms for gap in self._gaps)

    @property
    def _whole_ms(self) -> int:
        return self._high - (self._oldest or 0) + 1

    # ------------------------------------------------------------------ what has come

    def add_page(self, walk: ShardWalk, times: Sequence[int]) -> bool:
        """Note a page. The walk's chain must have followed it already.

        Args:
            walk: which walk asked for it.
            times: of the messages on it, in its order, in ms since the epoch.

        Returns:
            Whether its messages may be used. False for a page that a bounded walk got from outside its bounds: such a
            page says nothing about what lies between.
        """
        if times and _is_outside(walk, times):
            self.respects_bounds = False
            if walk.is_bounded:
                return False
        self._is_stuck = self._is_stuck or walk.chain.is_stuck
        self._count += len(times)
        if times and not walk.is_bounded:
            self._newest = max(times) if self._newest is None else max(self._newest, *times)
        if self.respects_order and is_reversed(times, walk.newest_first):
            self.respects_order = False
            self._gaps = [Gap(self._low, self._high)]  # what was noted as read relied on the order
        if self.respects_order:
            self._update_gaps(walk, times)
        elif self._only_walk.chain.is_over and not self._only_walk.chain.is_stuck:
            self._gaps = []
        if self.is_done and self._newest is not None:
            self.fix_end(self._newest)
        return True

    def _update_gaps(self, walk: ShardWalk, times: Sequence[int]) -> None:
        """Remove from the gaps what has been read with a page.

        For example, a walk began at 999, newest first, and a page holds the times 950, 940, 940, 900. Then 901 to 999
        have been read; 900 is left, because the next page may hold another message of that millisecond. If the page is
        the last one and the walk asked for everything since 0, then 0 to 999 have been read.
        """
        if times:
            self._advance(walk, times)
        is_at_end = walk.chain.is_over and not walk.chain.is_stuck
        if not is_at_end and walk.newest_first not in self._confirmed_directions:
            return  # all messages are of one millisecond, so the page may be from either end
        if walk.newest_first and not walk.is_bounded and walk.newest:
            self.fix_end(walk.newest)
        if is_at_end:
            self._mark_read(*self._all_that_was_asked_for(walk))
        elif walk.newest_first:
            self._mark_read(walk.reached + 1, walk.start)
        else:
            self._mark_read(walk.start, walk.reached - 1)

    def _advance(self, walk: ShardWalk, times: Sequence[int]) -> None:
        """Move a walk to the end of a page, and note what the page tells about the service."""
        first, last = times[0], times[-1]
        walk.newest = max(walk.newest, *times)
        walk.ms_per_message = abs(first - last) / len(times)
        if (first > last) if walk.newest_first else (first < last):
            self._confirmed_directions.add(walk.newest_first)
        self._disorder_ms = max(self._disorder_ms, _disorder(times, walk.newest_first))
        if walk.newest_first:
            walk.reached = min(walk.reached, last + self._disorder_ms)
        else:
            walk.reached = max(walk.reached, last - self._disorder_ms)
            if self._oldest is None:
                self._oldest = min(times)

    def _all_that_was_asked_for(self, walk: ShardWalk) -> Range:
        asked = walk.chain.wanted
        if walk.newest_first:
            return (self._low if asked.since is None else asked.since), walk.start
        return walk.start, (FAR if asked.until is None else asked.until - 1)

    def fix_end(self, newest: int) -> None:
        """End an open range at its newest message: messages that arrive from now on are not asked for."""
        if self.is_open:
            self._high = newest
            for gap in self._gaps:
                gap.high = min(gap.high, newest)
            self._drop_empty_gaps()

    def _mark_read(self, low: int, high: int) -> None:
        """Remove from the gaps the interval from `low` to `high`, both included."""
        for gap in list(self._gaps):
            if low > gap.low and high < gap.high:  # in its middle: only if the service ignores bounds
                self._gaps.insert(self._gaps.index(gap), Gap(gap.low, low - 1))
                gap.low = high + 1
            elif low <= gap.high and high >= gap.low:
                gap.cut_off(low, high)
        self._drop_empty_gaps()

    def _drop_empty_gaps(self) -> None:
        self._gaps = [gap for gap in self._gaps if gap.low <= gap.high]

    def has_more(self, walk: ShardWalk) -> bool:
        """Return whether a walk has anything left to read."""
        if walk.chain.is_over:
            return False
        if not self.respects_order:
            return walk is self._only_walk and bool(self._gaps)
        if not self.respects_bounds:
            return not walk.is_bounded and bool(self._gaps)
        return walk.gap.low <= walk.gap.high

    @property
    def _only_walk(self) -> ShardWalk:
        """The walk that goes on, through everything, if the service ignores the direction."""
        return self._walks_from_ends[True in self._walks_from_ends]

    def release(self, walk: ShardWalk) -> None:
        """Note that no worker is on a walk any more."""
        walk.is_busy = False
        if walk.gap.newest_walk is walk:
            walk.gap.newest_walk = None
        if walk.gap.oldest_walk is walk:
            walk.gap.oldest_walk = None

    # ------------------------------------------------------------------ how much has been read

    @property
    def is_open(self) -> bool:
        """Whether the end of the range is not known yet."""
        return self._high == FAR

    def contains(self, moment: int) -> bool:
        """Return whether a moment, in ms since the epoch, lies in the range."""
        return self._low <= moment <= self._high

    @property
    def unread_in_fullest_gap(self) -> float:
        """An estimate of how many unread messages the fullest gap has."""
        density = self._density
        return max((self._unread_in(gap, density) for gap in self._gaps), default=0.0)

    @property
    def is_done(self) -> bool:
        """Whether all of the range has been read."""
        return not self._gaps

    @property
    def covered(self) -> tuple[Range, ...]:
        """What has been read: ranges in ms since the epoch, both ends included, the oldest first.

        An open range ends at its newest message; while none is known, nothing is covered.
        """
        return tuple(self._between_gaps()) if not self.is_open else ()

    def _between_gaps(self) -> Iterator[Range]:
        low = self._low
        for gap in self._gaps:
            if gap.low > low:
                yield low, gap.low - 1
            low = gap.high + 1
        if low <= self._high:
            yield low, self._high

    @property
    def fraction(self) -> float:
        """How much of the time range has been read, from 0 to 1; 0 while its ends are not known."""
        if self.is_done:
            return 1.0
        if not self._knows_ends:
            return 0.0
        return 1 - self._unread_ms / max(self._whole_ms, 1)


def _walk_from_end(chain: PageChain, gap: Gap, *, is_bounded: bool) -> ShardWalk:
    """Return a new walk that takes one end of a gap."""
    start = gap.high if chain.newest_first else gap.low
    walk = ShardWalk(chain, start, start, gap, is_bounded)
    if walk.newest_first:
        gap.newest_walk = walk
    else:
        gap.oldest_walk = walk
    return walk


def _is_outside(walk: ShardWalk, times: Sequence[int]) -> bool:
    """Return whether a page holds messages from outside the bounds that were asked for: 1 ms more at each end."""
    asked = walk.chain.wanted
    is_before = asked.since is not None and min(times) < asked.since - 1
    return is_before or (asked.until is not None and max(times) > asked.until + 1)


def is_reversed(times: Sequence[int], newest_first: bool) -> bool:
    """Return whether a page came in the other direction than was asked for; two messages do not suffice to tell.

    Args:
        times: of the messages on it, in its order, in ms since the epoch.
        newest_first: the direction that was asked for.

    Example:
        >>> is_reversed([1, 2, 3], newest_first=True), is_reversed([1, 2], newest_first=True)
        (True, False)
    """
    return len(set(times)) > 2 and list(times) == sorted(times, reverse=not newest_first)


def _disorder(times: Sequence[int], newest_first: bool) -> int:
    """Return by how many ms the messages on a page are out of order, at the most.

    Example:
        >>> _disorder([9, 8, 5, 7, 2], newest_first=True), _disorder([1, 2, 2], newest_first=False)
        (2, 0)
    """
    if newest_first:
        return max(time - least for time, least in zip(times, accumulate(times, min), strict=True))
    return max(most - time for time, most in zip(times, accumulate(times, max), strict=True))
