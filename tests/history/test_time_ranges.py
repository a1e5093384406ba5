"""Ranges of time: merging keeps their milliseconds; what is missing and what is covered make the whole."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from imkit.history.time_ranges import merged, missing

moments = st.integers(0, 60)
ranges = st.lists(st.tuples(moments, moments))


@given(ranges)
def test_merged_ranges_have_the_same_milliseconds(pairs: list[tuple[int, int]]) -> None:
    found = merged(pairs)
    assert [m for first, last in found for m in range(first, last + 1)] == sorted(
        {m for first, last in pairs for m in range(first, last + 1)}
    )
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))


@given(ranges, st.none() | st.integers(0, 70), st.none() | st.integers(1, 80))
def test_covered_and_missing_make_the_whole(pairs: list[tuple[int, int]], since: int | None, until: int | None) -> None:
    low, high = since or 0, until or 99
    covered = merged((max(first, low), min(last, high - 1)) for first, last in pairs)
    found = missing(covered, since, until)
    asked = {moment for first, last in found for moment in range(first or 0, last or 99)}
    inside = {moment for first, last in covered for moment in range(first, last + 1)}
    assert asked | inside >= set(range(low, high))
    assert asked <= set(range(low, high)) | inside
    assert asked & inside <= {last for _, last in covered}  # the last millisecond of a range is read again
    assert until is not None or found[-1][1] is None


@given(ranges, moments)
def test_what_is_covered_outside_the_range_does_not_matter(pairs: list[tuple[int, int]], since: int) -> None:
    covered = merged(pairs)
    asked = {m for first, last in missing(covered, since) for m in range(first or 0, last or 99)}
    inside = {m for first, last in covered for m in range(first, last + 1)}
    assert {m for m in range(since, 99) if m not in inside} <= asked <= set(range(since, 99))
