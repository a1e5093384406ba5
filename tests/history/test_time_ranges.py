"""Ranges of time: put together, the same milliseconds in as few as can be; and what they leave out."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from imkit.history.time_ranges import merged, missing

moments = st.integers(0, 60)
ranges = st.lists(st.tuples(moments, moments))


@given(ranges)
def test_merged_ranges_have_the_same_milliseconds_in_few_ranges(some: list[tuple[int, int]]) -> None:
    found = merged(some)
    assert [m for first, last in found for m in range(first, last + 1)] == sorted(
        {m for first, last in some for m in range(first, last + 1)}
    )
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))


@given(ranges, st.none() | st.integers(0, 70), st.none() | st.integers(1, 80))
def test_covered_and_missing_make_the_whole(some: list[tuple[int, int]], since: int | None, until: int | None) -> None:
    low, high = since or 0, until or 99
    covered = merged((max(first, low), min(last, high - 1)) for first, last in some)
    found = missing(covered, since, until)
    asked = {moment for first, last in found for moment in range(first or 0, last or 99)}
    held = {moment for first, last in covered for moment in range(first, last + 1)}
    assert asked | held >= set(range(low, high))
    assert asked <= set(range(low, high)) | held
    assert asked & held <= {last for _, last in covered}  # read again: the millisecond at which a range ends
    assert until is not None or found[-1][1] is None


@given(ranges, moments)
def test_what_is_covered_outside_the_range_does_not_matter(some: list[tuple[int, int]], since: int) -> None:
    covered = merged(some)
    asked = {m for first, last in missing(covered, since) for m in range(first or 0, last or 99)}
    inside = {m for first, last in covered for m in range(first, last + 1)}
    assert {m for m in range(since, 99) if m not in inside} <= asked <= set(range(since, 99))
