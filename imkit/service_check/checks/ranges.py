"""Checks of what limits a roaming history (消息漫游): time ranges, types of messages, senders.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from dataclasses import replace

from imkit.client.roaming import PAGE_SIZE
from imkit.messages import Message
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.history_pages import Asked, ids, milliseconds, page_of, reading
from imkit.service_check.observation import Refusal, answer_of

_IGNORED = "the service ignores time ranges"
_NOBODY = "imkit_doctor_nobody"  # sends nothing; whether such a user exists does not matter
_NO_TYPE = "imkit_doctor"
_RARE = ("img", "audio", "video", "file")  # the sample has one of each, among its first messages
_EARLY = 20
_UNFILTERED = "Load without types= and sender=, and filter the frame."


async def _range(examination: Examination) -> tuple[int, int, list[Message]]:
    """Return a time range in the middle of the sample, both ends included, and the messages in it.

    It has a message at each end, and others before and after it.
    """
    messages = (await reading(examination)).messages
    if len(messages) < 8:
        return 0, 0, []
    since, until = (milliseconds(messages[len(messages) * part // 8]) for part in (3, 5))
    return since, until, [message for message in messages if since <= milliseconds(message) <= until]


async def _time_range(examination: Examination) -> Seen:
    """Ask for a range and 1 ms more at each end, as imkit does: it must have at least what is in the range."""
    since, until, inside = await _range(examination)
    if not inside:
        return Seen("the history has too few messages", None)
    page = await page_of(examination, Asked(since=since - 1, until=until + 1))
    found = page.messages
    seen = f"{len(found)} messages for a range of {len(inside)}"
    outside = sum(not since - 1 <= milliseconds(message) <= until + 1 for message in found)
    if outside:
        return Seen(f"{seen}, {outside} of them outside", False)
    if found and len(found) >= len(
        (await reading(examination)).pages[0].messages
    ):  # the rest would be on the next page
        inside = [message for message in inside if message.time < found[-1].time]
    missing = len(set(ids(inside)) - set(ids(found)))
    if missing:
        return Seen(f"{seen}; {missing} are missing", False, "Load without since= and until=, and filter the frame.")
    return Seen(f"{seen}; is_last = {str(page.is_last).lower()}", True)


async def _start_of_range(examination: Examination) -> Seen:
    return await _end_of_range(examination, Asked(newest_first=False))


async def _last_of_range(examination: Examination) -> Seen:
    return await _end_of_range(examination, Asked(newest_first=True))


async def _end_of_range(examination: Examination, asked: Asked) -> Seen:
    """Ask for a range that begins or ends in the very millisecond of a message, from that end."""
    since, until, inside = await _range(examination)
    if not inside:
        return Seen("the history has too few messages", None)
    page = await page_of(examination, replace(asked, since=since, until=until))
    edge = until if asked.newest_first else since
    times = [milliseconds(message) for message in page.messages]
    if any(not since <= time <= until for time in times):
        return Seen(_IGNORED, None)
    is_in = edge in times
    end = "end" if asked.newest_first else "start"
    return Seen(f"a message in the millisecond of the {end} is {'in' if is_in else 'not in'} the range", is_in)


async def _one_sided(examination: Examination) -> Seen:
    since, until, inside = await _range(examination)
    if not inside:
        return Seen("the history has too few messages", None)
    seen, agrees = [], True
    for name, asked in {
        "startTime": Asked(since=since - 1),
        "endTime": Asked(until=until + 1, newest_first=True),
    }.items():
        page = await answer_of(examination.session, page_of(examination, asked))
        first = [] if isinstance(page, Refusal) else [milliseconds(message) for message in page.messages[:1]]
        is_held = bool(first) and (since - 1 <= first[0] if name == "startTime" else first[0] <= until + 1)
        words = page if isinstance(page, Refusal) else "held" if is_held else "ignored"
        seen.append(f"{name} alone: {words}")
        agrees = agrees and is_held
    return Seen("; ".join(seen), agrees)


async def _range_and_cursor(examination: Examination) -> Seen:
    """Ask with the cursor of the first page of everything, and a range that lies after that page."""
    read = await reading(examination)
    cursor, messages = read.pages[0].cursor, read.messages
    later = messages[len(read.pages[0].messages) :]
    if cursor is None or len(later) < 4:
        return Seen("the first page has no cursor", None)
    since, until = milliseconds(later[len(later) // 2]), milliseconds(later[-1])
    asked = Asked(start=cursor, since=since - 1, until=until + 1)
    page = await answer_of(examination.session, page_of(examination, asked))
    if isinstance(page, Refusal):
        return Seen(str(page), False)
    found = page.messages
    outside = sum(not since - 1 <= milliseconds(message) <= until + 1 for message in found)
    if found and not outside:
        return Seen("only messages of the range, after the cursor", True)
    return Seen(f"{len(found)} messages, {outside} of them outside the range", False)


async def _by_type(examination: Examination) -> Seen:
    messages = (await reading(examination)).messages
    wanted = [message for message in messages if message.type in ("custom", "loc")]
    if not wanted or len(wanted) == len(messages):
        return Seen("the history has no messages of these types", None)
    seen = _filtered((await page_of(examination, Asked(types="custom,loc"))).messages, wanted)
    early = next((message for message in messages[:_EARLY] if message.type in _RARE), None)
    if seen.agrees and early is not None and len(messages) > _EARLY + PAGE_SIZE:
        page = await page_of(examination, Asked(types=early.type, newest_first=True))
        if page.is_empty:  # imkit takes an empty page for the end
            told = f"{seen.text}; but the newest page has no {early.type}, and an older page has one"
            return Seen(told, False, _UNFILTERED)
    return seen


def _filtered(found: list[Message], wanted: list[Message]) -> Seen:
    others = len(set(ids(found)) - set(ids(wanted)))
    if others:
        return Seen(f"{others} of {len(found)} messages were not asked for", False)
    if ids(found) != ids(wanted)[: len(found)] or not found:
        return Seen(f"{len(found)} messages, but there are {len(wanted)}", False, _UNFILTERED)
    return Seen(f"{len(found)} messages, and no others", True)


async def _bundles(examination: Examination) -> Seen:
    bundle = examination.made.first("combine")
    if bundle is None:
        return Seen("no bundle was taken", None)
    await reading(examination)
    found = (await page_of(examination, Asked(types="txt"))).messages
    if any(message.type not in ("txt", "combine") for message in found):
        return Seen("the service ignores types", None)
    is_in = bundle.id in ids(found)
    return Seen(f"a bundle is {'among' if is_in else 'not among'} the messages of type txt", is_in)


async def _by_sender(examination: Examination) -> Seen:
    user = examination.session.user
    await reading(examination)
    own = (await page_of(examination, Asked(sender=user))).messages
    others = await answer_of(examination.session, page_of(examination, Asked(sender=_NOBODY)))
    of_others = str(others) if isinstance(others, Refusal) else f"{len(others.messages)} messages"
    seen = f"{len(own)} messages of {user}; of a user who sent none: {of_others}"
    if own:
        return Seen(seen, isinstance(others, Refusal) or others.is_empty)
    return Seen(seen, False, "Load without sender=, and filter the frame.")


async def _by_type_and_sender(examination: Examination) -> Seen:
    user, messages = examination.session.user, (await reading(examination)).messages
    wanted = [message for message in messages if message.type == "custom"]
    if not wanted or len(wanted) == len(messages):
        return Seen("the history has no messages of this type", None)
    return _filtered((await page_of(examination, Asked(types="custom", sender=user))).messages, wanted)


async def _unknown_type(examination: Examination) -> Seen:
    await reading(examination)  # if that is refused, too, it is not because of the type
    page = await answer_of(examination.session, page_of(examination, Asked(types=_NO_TYPE)))
    if isinstance(page, Refusal):
        return Seen(str(page), False)
    return Seen(f"{len(page.messages)} messages", page.is_empty)


RANGE_CHECKS = (
    Check(
        name="time range",
        assumed="startTime and endTime limit a history.",
        ask=_time_range,
        follows="history(since=…, until=…) loads only that time.",
        otherwise="imkit then reads all pages, and leaves out what is outside: it is right, but slow.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="start of a range",
        assumed="A message in the very millisecond of startTime is in the range.",
        ask=_start_of_range,
        follows="imkit asks for 1 ms more all the same, and leaves out what is too much.",
        otherwise="imkit asks for 1 ms more, so history() has that message all the same.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="end of a range",
        assumed="A message in the very millisecond of endTime is in the range.",
        ask=_last_of_range,
        follows="imkit asks for 1 ms more all the same, and leaves out what is too much.",
        otherwise="imkit asks for 1 ms more, so history() has that message all the same.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="one end of a range alone",
        assumed="startTime or endTime can be given alone.",
        ask=_one_sided,
        follows="imkit gives both all the same.",
        otherwise="imkit always gives both.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="cursor and time range",
        assumed="A cursor of another query can be given with a time range: both count.",
        ask=_range_and_cursor,
        follows="imkit does not need it.",
        otherwise="imkit gives a cursor only with the query that it came from.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="filter by type",
        assumed="msgType limits a history to the types that it lists.",
        ask=_by_type,
        follows="history(types=…) loads only these.",
        otherwise="imkit then loads all types, and leaves out the others.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="type of bundles",
        assumed="A bundle (合并消息) counts as the type txt.",
        ask=_bundles,
        follows='history(types=["combine"]) asks for txt.',
        otherwise='history(types=["combine"]) finds none: load without types=, and filter the frame.',
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="filter by sender",
        assumed="userId limits a history to one sender.",
        ask=_by_sender,
        follows="history(sender=…) loads only that user's messages.",
        otherwise="imkit then loads the messages of all users, and leaves out the others.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="filter by type and sender",
        assumed="msgType and userId can be given together.",
        ask=_by_type_and_sender,
        follows="history(types=…, sender=…) loads only what fits both.",
        otherwise="imkit then loads more, and leaves out the others.",
        source="roaming-history",
        needs="write",
    ),
    Check(
        name="unknown type",
        assumed="For a type that does not exist the history is empty.",
        ask=_unknown_type,
        follows="imkit refuses such a type before it asks.",
        otherwise="imkit refuses such a type before it asks.",
        source="roaming-history",
        needs="write",
    ),
)
