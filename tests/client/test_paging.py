"""`Listing` fetches a page when a loop needs it, and closes its pages when the loop ends."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator

import pytest

from imkit.client.paging import Listing, collected
from imkit.portal import portal


class Book:
    """Pages of numbers; notes which pages were fetched."""

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


def test_for_async_for_and_a_second_loop_give_all_pages() -> None:
    book = Book()
    listing = Listing(book.pages, "numbers")
    expected = [0, 1, 20, 21, 30, 31]

    async def main() -> list[int]:
        return [number async for number in listing]

    assert list(listing) == asyncio.run(main()) == list(listing) == expected
    assert portal().call(collected(listing, "[1]")) == portal().call(collected(iter(expected), "[1]")) == expected
    assert repr(listing) == "<numbers: iterate it, or list(…) it>"


def test_a_generator_over_a_listing_is_a_list_too() -> None:
    listing = Listing(Book().pages, "numbers")
    assert portal().call(collected((number + 1 for number in listing), "[1]")) == [1, 2, 21, 22, 31, 32]

    def fails() -> Iterator[int]:
        yield from listing
        raise ValueError("it is the program's own")

    with pytest.raises(ValueError, match="program's own"):
        portal().call(collected(fails(), "[1]"))


def test_a_page_is_fetched_when_it_is_needed() -> None:
    book = Book()
    for number in Listing(book.pages, "numbers"):
        if number == 1:
            break
    assert book.asked == [0]
    assert book.closed.wait(5)


def test_an_async_loop_closes_the_pages_where_it_ends() -> None:
    book = Book()

    async def main() -> None:
        async for number in Listing(book.pages, "numbers"):
            if number == 20:
                return

    asyncio.run(main())
    assert book.asked == [0, 1, 2]
    assert book.closed.wait(5)


def test_a_loop_that_is_garbage_collected_on_imkits_loop_ends_quietly() -> None:
    book = Book()
    walk = iter(Listing(book.pages, "numbers"))
    assert next(walk) == 0
    ring: list[object] = [walk]
    ring.append(ring)
    del walk, ring
    portal().run(gc.collect)
    assert book.closed.wait(5)


def test_an_error_in_a_page_reaches_the_caller() -> None:
    async def pages() -> AsyncGenerator[list[int], None]:
        yield [1]
        raise ValueError("torn")

    walk = iter(Listing(pages, "numbers"))
    assert next(walk) == 1
    with pytest.raises(ValueError, match="torn"):
        next(walk)


def test_an_open_loop_does_not_disturb_the_end_of_the_interpreter() -> None:
    code = """if True:
        from imkit.client.paging import Listing
        async def pages():
            yield [1, 2]
        walk = iter(Listing(pages, "numbers"))
        print(next(walk))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
