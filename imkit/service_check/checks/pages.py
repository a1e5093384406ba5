"""Checks of the pages of a roaming history (消息漫游): their size, their cursors, and how they end.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from imkit.client.roaming import PAGE_SIZE
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.history_pages import Asked, ids, page_of, reading
from imkit.service_check.observation import Refusal, answer_of
from imkit.service_check.sample import Reading

_TOO_MANY = 100


async def _page_sizes(examination: Examination) -> Seen:
    read = await reading(examination)
    found = {PAGE_SIZE: len(read.pages[0].entries)}
    for size in (1, 20):
        found[size] = len((await page_of(examination, Asked(size=size))).entries)
    seen = ", ".join(f"{count} for {size}" for size, count in sorted(found.items()))
    return Seen(
        f"messages on a page: {seen}", all(count == min(size, len(read.messages)) for size, count in found.items())
    )


async def _larger_pages(examination: Examination) -> Seen:
    await reading(examination)  # if that is refused, too, it is not because of the size
    page = await answer_of(examination.session, page_of(examination, Asked(size=_TOO_MANY)))
    if isinstance(page, Refusal):
        return Seen(f"{_TOO_MANY} were refused: {page}", True)
    return Seen(f"{len(page.entries)} messages for {_TOO_MANY}", len(page.entries) <= PAGE_SIZE)


async def _short_pages(examination: Examination) -> Seen:
    sizes = [len(page.entries) for page in (await reading(examination)).pages]
    return Seen(f"pages of {_listed(sizes)} messages", len(set(sizes[:-1])) <= 1)


async def _last_page(examination: Examination) -> Seen:
    return judged_end(await reading(examination))


def judged_end(read: Reading) -> Seen:
    """Return what the marks of a history's pages tell about its end."""
    marked = [number for number, page in enumerate(read.pages, 1) if page.is_last]
    last = len(read.pages)
    if not marked:
        return Seen(
            f"none of {last} pages is marked as the last", False, "imkit reads on to an empty page: one request more."
        )
    if marked[0] < last:
        return Seen(f"page {marked[0]} of {last} is marked as the last, and more messages follow", False)
    return Seen(f"page {last} of {last} is marked as the last, and no other", True)


async def _full_last_page(examination: Examination) -> Seen:
    read = await reading(examination)
    if len(read.pages) < 2 or (cursor := read.pages[-2].cursor) is None:
        return Seen("the history has one page only", None)
    size = len(read.pages[-1].entries)
    page = await page_of(examination, Asked(start=cursor, size=size))
    if page.entries != read.pages[-1].entries:
        return Seen(f"with a page size of {size} came other messages than the last {size}", None)
    return Seen(f"a last page of {size} messages for {size} has is_last = {str(page.is_last).lower()}", page.is_last)


async def _after_the_end(examination: Examination) -> Seen:
    read = await reading(examination)
    match read.beyond:
        case None:
            return Seen("the last page has no cursor", True)
        case str(words):
            return Seen(words, False)
        case page if page.is_empty:
            return Seen(f"an empty page, is_last = {str(page.is_last).lower()}", True)
        case page if page.entries == read.pages[-1].entries:
            return Seen("the last page again", False)
        case _:
            return Seen("pages go on", False, "imkit reads up to a page that is empty or marked as the last.")


async def _cursors(examination: Examination) -> Seen:
    read = await reading(examination)
    cursors = [page.cursor for page in read.pages[:-1]]
    kinds = sorted({"a text" if isinstance(cursor, str) else "a number" for cursor in cursors if cursor is not None})
    if not cursors or cursors[0] is None:
        return Seen("the first page has no cursor", None)
    page = await page_of(examination, Asked(start=cursors[0]))
    seen = f"a cursor is {' or '.join(kinds)} of {len(str(cursors[0]))} characters; asked twice, it gives"
    if page.entries != read.pages[1].entries:
        return Seen(f"{seen} another page", False)
    return Seen(f"{seen} the same page", kinds == ["a text"], "imkit sends each cursor back as it came.")


async def _other_direction(examination: Examination) -> Seen:
    read = await reading(examination)
    cursor, first = read.pages[0].cursor, ids(read.pages[0].messages)
    if cursor is None or len(read.pages) < 2:
        return Seen("the first page has no cursor", None)
    page = await answer_of(examination.session, page_of(examination, Asked(start=cursor, newest_first=True)))
    if isinstance(page, Refusal):
        return Seen(str(page), False)
    found = ids(page.messages)
    if found == first[-2::-1]:
        return Seen("the messages before the one of the cursor", True)
    if found == first[::-1]:
        return Seen("the messages before the cursor, and its own message again", False)
    return Seen(f"{len(found)} other messages", False)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


PAGE_CHECKS = (
    Check(
        name="page size",
        assumed="A page holds as many messages as are asked for: 1, 20 or 50.",
        ask=_page_sizes,
        follows="A history of n messages takes n / 50 requests.",
        otherwise="imkit follows pages of any size; a history takes more requests.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="larger pages",
        assumed=f"A page holds at most {PAGE_SIZE} messages.",
        ask=_larger_pages,
        follows=f"imkit asks for {PAGE_SIZE}.",
        otherwise=f"imkit still asks for {PAGE_SIZE}; it could load faster here.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="pages before the end",
        assumed="Only the last page of a history is shorter than the others.",
        ask=_short_pages,
        follows="A history of n messages takes n / 50 requests.",
        otherwise="imkit reads on after a short page; a history takes more requests.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="last page",
        assumed="is_last is true on the last page, and on no other.",
        ask=_last_page,
        follows="imkit ends there.",
        otherwise="Do not trust history(), messages() and archives: they may end too early. The note in "
        'frame.attrs["imkit"] says how many messages are missing.',
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="full last page",
        assumed="is_last is true on the last page also when it is full.",
        ask=_full_last_page,
        follows="imkit asks for no page more.",
        otherwise="imkit asks for one page more, which is empty.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="after the end",
        assumed="After the last page comes an empty one.",
        ask=_after_the_end,
        follows="imkit ends there as well.",
        otherwise="imkit does not ask after a page that is marked as the last.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="cursors",
        assumed="A cursor is a text, and gives the same page each time.",
        ask=_cursors,
        follows="imkit sends each cursor back as it came, and can repeat a request.",
        otherwise="After a lost answer imkit repeats the request, and may then miss messages: compare the counts.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="cursor in the other direction",
        assumed="A cursor of oldest first also works newest first: the messages before it follow.",
        ask=_other_direction,
        follows="imkit does not need it.",
        otherwise="imkit never turns a cursor round.",
        source="roaming-history",
        needs="write",
    ),
)
