"""Lists that page by themselves: `for` and `async for` over what the service hands out a page at a time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, TypeVar

from imkit.portal import portal

T = TypeVar("T")


class Listing(Generic[T]):
    """Something to iterate, as often as wanted; each time it is asked for anew, a page at a time.

    Args:
        pages: starts a new walk over the pages.
        what: names the list, for the repr.

    Example:
        >>> for user in thread.members():  # doctest: +SKIP
        ...     print(user)
    """

    def __init__(self, pages: Callable[[], AsyncGenerator[list[T], None]], what: str) -> None:
        self._pages = pages
        self._what = what

    def __iter__(self) -> Iterator[T]:
        pages = self._pages()
        try:
            while (page := portal().call(_next_page(pages))) is not None:
                yield from page
        finally:
            _end(pages)

    async def __aiter__(self) -> AsyncIterator[T]:
        pages = self._pages()
        try:
            while (page := await portal().wait(_next_page(pages))) is not None:
                for item in page:
                    yield item
        finally:
            _end(pages)

    def __repr__(self) -> str:
        return f"<{self._what}: iterate it, or list(…) it>"


async def collected(items: Iterable[T]) -> list[T]:
    """Return what is in a list of any kind, also in a `Listing`, from within imkit's loop."""
    return [item async for item in items] if isinstance(items, Listing) else list(items)


async def _next_page(pages: AsyncGenerator[list[T], None]) -> list[T] | None:
    return await anext(pages, None)


def _end(pages: AsyncGenerator[list[T], None]) -> None:
    # Not waited for: this may run in a garbage collection on the loop itself, or behind an interrupt whose
    # cancelling is still under way. Not needed where the loop has ended with the interpreter.
    with contextlib.suppress(RuntimeError):
        portal().submit(_close(pages))


async def _close(pages: AsyncGenerator[list[T], None]) -> None:
    with contextlib.suppress(RuntimeError):  # it is running still, and ends by the cancelling of its page
        await pages.aclose()
