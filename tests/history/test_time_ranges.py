"""Ranges of time put together: the same milliseconds, in as few ranges as can be."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from imkit.history.time_ranges import merged

moments = st.integers(0, 60)
ranges = st.lists(st.tuples(moments, moments))


@given(ranges)
def test_merged_ranges_have_the_same_milliseconds_in_few_ranges(some: list[tuple[int, int]]) -> None:
    found = merged(some)
    assert [m for first, last in found for m in range(first, last + 1)] == sorted(
        {m for first, last in some for m in range(first, last + 1)}
    )
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))
