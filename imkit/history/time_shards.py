"""Who reads which part of a long history: its time range in gaps, eaten from both ends, split where the messages are.

No I/O here: `Shards` is told what the pages hold and answers who should go on where. The range begins as one gap. A
walk eats a gap from its newest message down, another from its oldest up, and skips what is quiet in one step. Whoever
has nothing left to do joins at the free end of the fullest gap, or where there is none takes its older half. What is
asked for reaches a millisecond beyond each end, and a gap keeps the millisecond in which a page ended, so nothing is
missed, whatever the service thinks of its bounds, and however many messages one millisecond holds; messages that come
twice are told apart by id. Where the service turns out to overlook bounds, only the walks from the two ends of the
whole range go on: they need none. Where it overlooks which end is asked for, one walk goes to its end, and nothing is
known to be complete before; where times go back and forth within a page, every walk keeps as much before it.

Source: fact sheet section 8; the argument for exactness is in the design, "Sharding by time".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from imkit.client.roaming import PAGE, Chain, Query
from imkit.history.time_ranges import FAR, Range

WORTH_HELPING = PAGE  # messages; fewer come with the page that is under way
AHEAD = 2 * PAGE  # so many messages a burst is taken to go on for


@dataclass(slots=True, eq=False)
class Gap:
    """A part of the range that has not been gone through: ms since the epoch, both ends included.

    Attributes:
        down, up: who eats it from its newest and from its oldest message.
    """

    low: int
    high: int
    down: ShardWalk | None = None
    up: ShardWalk | None = None

    def shrink(self, low: int, high: int) -> None:
        """Take out what is between two moments, one of which lies beyond an end."""
        if low <= self.low:
            self.low = max(self.low, high + 1)
        if high >= self.high:
            self.high = min(self.high, low - 1)


@dataclass(slots=True, eq=False)
class ShardWalk:
    """A walk through the range, one page after another.

    Attributes:
        chain: what is asked for.
        start: where it set out, in ms since the epoch.
        reached: the time of the last message that came; everything between it and `start` has been gone through.
        gap: what it eats.
        is_bounded: it asks for a part of what is wanted, so the service's keeping to bounds matters.
        is_busy: somebody is at it.
        pace: ms between two messages on the last page.
        newest: the time of the newest message that came.
    """

    chain: Chain
    start: int
    reached: int
    gap: Gap
    is_bounded: bool
    is_busy: bool = True
    pace: float = 0.0
    newest: int = 0

    @property
    def newest_first(self) -> bool:
        """Its direction."""
        return self.chain.newest_first


class Shards:
    """A range of one history, and what of it has been gone through.

    Args:
        wanted: the range and the filters.

    Attributes:
        wanted: likewise.
        keeps_bounds: False once the service was seen to overlook bounds.
        keeps_order: False once it was seen to overlook which end is asked for.
    """

    def __init__(self, wanted: Query) -> None:
        self.wanted = wanted
        self._bottom = wanted.since or 0
        self._top = FAR if wanted.until is None else wanted.until - 1
        self._oldest = self._bottom if wanted.since is not None else None  # where messages begin
        self._gaps = [Gap(self._bottom, self._top)]
        self._count = 0
        self._newest: int | None = None
        self._is_stuck = False  # the service overlooks keys: there is no getting on
        self._directions: set[bool] = set()  # those in which pages were seen to come, newest first or not
        self._slack = 0  # ms by which messages were seen to stand out of their order
        self._ends: dict[bool, ShardWalk] = {}  # the walks from the two ends, by direction
        self.keeps_bounds = self.keeps_order = True

    # ------------------------------------------------------------------ who goes where

    def begin(self, newest_first: bool = True) -> ShardWalk:
        """Return the walk from one end of the range."""
        gap = self._gaps[-1] if newest_first else self._gaps[0]
        start = gap.high if newest_first else gap.low
        chain = Chain(self.wanted, newest_first)
        walk = self._ends[newest_first] = ShardWalk(chain, start, start, gap, is_bounded=False)
        self._place(walk)
        return walk

    def help(self) -> ShardWalk | None:
        """Return what somebody who is idle can do best, or `None` where nothing is worth a request."""
        if not self._gaps or True not in self._ends or self._is_stuck:
            return None
        if not self.keeps_bounds or not self.keeps_order:
            walk = next((walk for walk in self._ends.values() if not walk.is_busy and self.goes_on(walk)), None)
            if walk is not None:
                walk.is_busy = True
            return walk
        if False not in self._ends:
            return self.begin(newest_first=False)
        if not self._knows_ends:
            return None
        density = self._density
        left = [self._left(gap, density) for gap in self._gaps]
        shares = [
            number / (1 + (gap.down is not None) + (gap.up is not None))
            for gap, number in zip(self._gaps, left, strict=True)
        ]
        fullest = max(range(len(shares)), key=shares.__getitem__)
        return self._join(self._gaps[fullest], left[fullest])

    @property
    def _knows_ends(self) -> bool:
        return not self.is_open and self._oldest is not None

    def _join(self, gap: Gap, left: float) -> ShardWalk | None:
        is_full = gap.down is not None and gap.up is not None
        helpers = 2 if is_full else 1
        if left < WORTH_HELPING * helpers or (is_full and gap.high - gap.low < 2):
            return None
        if is_full:
            gap = self._split(gap)
        newest_first = gap.down is None
        start = gap.high if newest_first else gap.low
        wanted = replace(self.wanted, since=gap.low, until=gap.high + 1)
        walk = ShardWalk(Chain(wanted, newest_first), start, start, gap, is_bounded=True)
        self._place(walk)
        return walk

    def _split(self, gap: Gap) -> Gap:
        """Cut a gap in two and return the older part, which has a free end."""
        middle = (gap.low + gap.high) // 2
        older = Gap(gap.low, middle, None, gap.up)
        if gap.up is not None:
            gap.up.gap = older
        gap.low, gap.up = middle + 1, None
        self._gaps.insert(self._gaps.index(gap), older)
        return older

    def _place(self, walk: ShardWalk) -> None:
        if walk.newest_first:
            walk.gap.down = walk
        else:
            walk.gap.up = walk

    @property
    def _density(self) -> float:
        """Messages a millisecond in what has been gone through."""
        return self._count / max(self._whole - sum(gap.high - gap.low + 1 for gap in self._gaps), 1)

    def _left(self, gap: Gap, density: float) -> float:
        """How many messages are estimated to be in a gap: as many as elsewhere, and the rest of a burst at its ends."""
        span = gap.high - gap.low + 1
        paces = [walk.pace for walk in (gap.down, gap.up) if walk is not None and walk.pace]
        return span * density + (min(span / min(paces), AHEAD) if paces else 0.0)

    @property
    def _whole(self) -> int:
        return self._top - (self._oldest or 0) + 1

    # ------------------------------------------------------------------ what came

    def came(self, walk: ShardWalk, times: Sequence[int]) -> bool:
        """Note a page, whose chain has been followed.

        Args:
            walk: who asked for it.
            times: of the messages on it, in its order, in ms since the epoch.

        Returns:
            Whether it may be taken: one from outside the bounds of a shard tells nothing.
        """
        if times and self._strays(walk, times):
            self.keeps_bounds = False
            if walk.is_bounded:
                return False
        self._is_stuck = self._is_stuck or walk.chain.is_stuck
        self._count += len(times)
        if times and not walk.is_bounded:
            self._newest = max(times) if self._newest is None else max(self._newest, *times)
        if self.keeps_order and is_reversed(times, walk.newest_first):
            self.keeps_order = False
            self._gaps = [Gap(self._bottom, self._top)]  # what seemed to be gone through was not
        if self.keeps_order:
            self._note(walk, times)
        elif self._only.chain.is_over and not self._only.chain.is_stuck:
            self._gaps = []
        if self.is_done and self._newest is not None:
            self.end_at(self._newest)
        return True

    def _note(self, walk: ShardWalk, times: Sequence[int]) -> None:
        """Note what has been gone through with a page."""
        if times:
            last = times[-1]
            walk.newest = max(walk.newest, *times)
            if times[0] > last if walk.newest_first else times[0] < last:
                self._directions.add(walk.newest_first)
            self._slack = max(self._slack, _disorder(times, walk.newest_first))
            walk.reached = (
                min(walk.reached, last + self._slack) if walk.newest_first else max(walk.reached, last - self._slack)
            )
            if self._oldest is None and not walk.newest_first:
                self._oldest = min(times)
            walk.pace = abs(times[0] - last) / len(times)
        ends = walk.chain.is_over and not walk.chain.is_stuck
        if not ends and walk.newest_first not in self._directions:
            return  # all in one millisecond: who knows from which end it is
        if walk.newest_first and not walk.is_bounded and walk.newest:
            self.end_at(walk.newest)
        if ends:
            low = self._bottom if walk.chain.wanted.since is None else walk.chain.wanted.since
            high = FAR if walk.chain.wanted.until is None else walk.chain.wanted.until - 1
            self._close(*((low, walk.start) if walk.newest_first else (walk.start, high)))
        elif walk.newest_first:
            self._close(walk.reached + 1, walk.start)
        else:
            self._close(walk.start, walk.reached - 1)

    def _strays(self, walk: ShardWalk, times: Sequence[int]) -> bool:
        asked = walk.chain.wanted
        # Asked for is 1 ms more at each end.
        before = asked.since is not None and min(times) < asked.since - 1
        return before or (asked.until is not None and max(times) > asked.until + 1)

    def end_at(self, newest: int) -> None:
        """Fix where an open range ends, by its newest message: what arrives from now on is not asked for."""
        if self.is_open:
            self._top = newest
            for gap in self._gaps:
                gap.high = min(gap.high, newest)
            self._gaps = [gap for gap in self._gaps if gap.low <= gap.high]

    def _close(self, low: int, high: int) -> None:
        """Note that everything between two moments, both included, has been gone through."""
        for gap in list(self._gaps):
            if low > gap.low and high < gap.high:  # in its middle: only where bounds are overlooked
                self._gaps.insert(self._gaps.index(gap), Gap(gap.low, low - 1))
                gap.low = high + 1
            elif low <= gap.high and high >= gap.low:
                gap.shrink(low, high)
        self._gaps = [gap for gap in self._gaps if gap.low <= gap.high]

    def goes_on(self, walk: ShardWalk) -> bool:
        """Whether a walk has anything left to do."""
        if walk.chain.is_over:
            return False
        if not self.keeps_order:
            return walk is self._only and bool(self._gaps)
        if not self.keeps_bounds:
            return not walk.is_bounded and bool(self._gaps)
        return walk.gap.low <= walk.gap.high

    @property
    def _only(self) -> ShardWalk:
        """Who goes on where the service keeps to no order: through everything, in whichever."""
        return self._ends[True in self._ends]

    def leave(self, walk: ShardWalk) -> None:
        """Note that nobody is at a walk any more."""
        walk.is_busy = False
        if walk.gap.down is walk:
            walk.gap.down = None
        if walk.gap.up is walk:
            walk.gap.up = None

    # ------------------------------------------------------------------ how far it is

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet where the range ends."""
        return self._top == FAR

    def holds(self, moment: int) -> bool:
        """Whether a moment, in ms since the epoch, lies in the range."""
        return self._bottom <= moment <= self._top

    @property
    def most_left(self) -> float:
        """How many messages are estimated to be in the fullest gap."""
        density = self._density
        return max((self._left(gap, density) for gap in self._gaps), default=0.0)

    @property
    def is_done(self) -> bool:
        """Whether all of the range has been gone through."""
        return not self._gaps

    @property
    def covered(self) -> tuple[Range, ...]:
        """What has been gone through: ranges in ms since the epoch, both ends included, the oldest first.

        An open range ends at its newest message; while none is known, nothing is covered.
        """
        return tuple(self._between_gaps()) if not self.is_open else ()

    def _between_gaps(self) -> Iterator[Range]:
        low = self._bottom
        for gap in self._gaps:
            if gap.low > low:
                yield low, gap.low - 1
            low = gap.high + 1
        if low <= self._top:
            yield low, self._top

    @property
    def fraction(self) -> float:
        """How much of the time range is done, from 0 to 1; 0 while its ends are not known."""
        if self.is_done:
            return 1.0
        if not self._knows_ends:
            return 0.0
        return 1 - sum(gap.high - gap.low + 1 for gap in self._gaps) / max(self._whole, 1)


def is_reversed(times: Sequence[int], newest_first: bool) -> bool:
    """Whether a page came the other way round than was asked for; of two messages nobody can tell.

    Args:
        times: of the messages on it, in its order, in ms since the epoch.
        newest_first: what was asked for.

    Example:
        >>> is_reversed([1, 2, 3], newest_first=True), is_reversed([1, 2], newest_first=True)
        (True, False)
    """
    return len(set(times)) > 2 and list(times) == sorted(times, reverse=not newest_first)


def _disorder(times: Sequence[int], newest_first: bool) -> int:
    """Return by how many ms the messages on a page stand out of their order, at the most.

    Example:
        >>> _disorder([9, 8, 5, 7, 2], newest_first=True), _disorder([1, 2, 2], newest_first=False)
        (2, 0)
    """
    if newest_first:
        return max(at - least for at, least in zip(times, accumulate(times, min), strict=True))
    return max(most - at for at, most in zip(times, accumulate(times, max), strict=True))
