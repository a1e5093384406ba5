"""`Listing`: lists that fetch their pages while a program iterates them with `for` or `async for`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, NoReturn, TypeVar

from imkit.errors import InvalidMessage
from imkit.misuse import PublicObject
from imkit.portal import portal, short_tracebacks

T = TypeVar("T")


class Listing(PublicObject, Generic[T]):
    """A list at the service, to iterate with `for` or `async for`, or to pass to `list`.

    Each iteration asks the service again. It fetches a page when the loop needs it, so a loop that ends early saves the
    remaining requests.

    Args:
        pages: returns a new generator of pages.
        what: names the list in the repr.

    Example:
        >>> "alice" in list(thread.members())
        True
        >>> next(iter(thread.members())) in {"alice", "bob"}  # fetches one page
        True
    """

    def __init__(self, pages: Callable[[], AsyncGenerator[list[T], None]], what: str) -> None:
        self._pages = pages
        self._what = what

    def __iter__(self) -> Iterator[T]:
        pages = self._pages()
        try:
            with short_tracebacks:
                while (page := portal().call(_next_page(pages))) is not None:
                    yield from page
        finally:
            _close_later(pages)

    async def __aiter__(self) -> AsyncIterator[T]:
        pages = self._pages()
        try:
            with short_tracebacks:
                while (page := await portal().wait(_next_page(pages))) is not None:
                    for item in page:
                        yield item
        finally:
            _close_later(pages)

    def __getitem__(self, index: object) -> NoReturn:
        hint = f"Make a list of it first: list(…)[{_shown(index)}]."
        if index == 0:
            hint = "next(iter(…)) is the first one, with one request; list(…)[0] fetches all."
        raise InvalidMessage(f"{self._what}: a listing has no index", hint=hint)

    def __len__(self) -> NoReturn:
        raise InvalidMessage(f"{self._what}: a listing has no length", hint="Make a list of it first: len(list(…)).")

    def __bool__(self) -> bool:  # Python would ask for the length
        return True

    def __repr__(self) -> str:
        return f"<{self._what}: iterate it, or list(…) it>"


def _shown(index: object) -> str:
    """Return an index as it is written between brackets."""
    if not isinstance(index, slice):
        return f"{index!r:.40}"
    return ":".join("" if part is None else f"{part!r:.20}" for part in (index.start, index.stop))


async def collected(items: Iterable[T], example: str) -> list[T]:
    """Return the items of an iterable as a list. On imkit's loop this must be used for a `Listing`.

    Args:
        items: a list or another iterable; a text is none.
        example: what would be right, for the hint of the error.

    Raises:
        InvalidMessage: `items` is not such an iterable.
    """
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise InvalidMessage(f"{items!r:.80} is not a list", hint=f"Give a list, such as {example}.")
    if isinstance(items, Listing):
        return [item async for item in items]
    if isinstance(items, Iterator):  # such as a generator over a listing, which makes blocking calls of its own
        return await asyncio.to_thread(list, items)
    return list(items)


async def _next_page(pages: AsyncGenerator[list[T], None]) -> list[T] | None:
    return await anext(pages, None)


def _close_later(pages: AsyncGenerator[list[T], None]) -> None:
    # This does not wait for the end: it may run in a garbage collection on the loop itself, or after an interrupt
    # while the request is still being cancelled. After the interpreter's end there is no loop and nothing to close.
    with contextlib.suppress(RuntimeError):
        portal().submit(_close(pages))


async def _close(pages: AsyncGenerator[list[T], None]) -> None:
    with contextlib.suppress(RuntimeError):  # it is still running; cancelling its request ends it
        await pages.aclose()
