"""Lists that page by themselves: asked for a page at a time, ended wherever one stops."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator

import pytest

from imkit.client.paging import Listing, collected
from imkit.portal import portal


class Book:
    """Pages of numbers, that notes which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.closed = threading.Event()

    async def pages(self) -> AsyncGenerator[list[int], None]:
        try:
            for number in range(4):
                self.asked.append(number)
                await asyncio.sleep(0)
                yield [] if number == 1 else [number * 10, number * 10 + 1]
        finally:
            self.closed.set()


def test_all_pages_in_both_faces_as_often_as_wanted() -> None:
    book = Book()
    listing = Listing(book.pages, "numbers")
    expected = [0, 1, 20, 21, 30, 31]

    async def main() -> list[int]:
        return [number async for number in listing]

    assert list(listing) == asyncio.run(main()) == list(listing) == expected
    assert portal().call(collected(listing)) == portal().call(collected(iter(expected))) == expected
    assert repr(listing) == "<numbers: iterate it, or list(…) it>"


def test_pages_are_asked_for_when_they_are_needed() -> None:
    book = Book()
    for number in Listing(book.pages, "numbers"):
        if number == 1:
            break
    assert book.asked == [0]
    assert book.closed.wait(5)


def test_an_async_walk_ends_where_it_stops() -> None:
    book = Book()

    async def main() -> None:
        async for number in Listing(book.pages, "numbers"):
            if number == 20:
                return

    asyncio.run(main())
    assert book.asked == [0, 1, 2]
    assert book.closed.wait(5)


def test_a_walk_collected_on_the_loop_itself_ends_quietly() -> None:
    book = Book()
    walk = iter(Listing(book.pages, "numbers"))
    assert next(walk) == 0
    ring: list[object] = [walk]
    ring.append(ring)
    del walk, ring
    portal().run(gc.collect)
    assert book.closed.wait(5)


def test_an_error_in_a_page_comes_through() -> None:
    async def pages() -> AsyncGenerator[list[int], None]:
        yield [1]
        raise ValueError("torn")

    walk = iter(Listing(pages, "numbers"))
    assert next(walk) == 1
    with pytest.raises(ValueError, match="torn"):
        next(walk)


def test_a_walk_left_open_does_not_trouble_the_end_of_the_interpreter() -> None:
    code = """if True:
        from imkit.client.paging import Listing
        async def pages():
            yield [1, 2]
        walk = iter(Listing(pages, "numbers"))
        print(next(walk))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
