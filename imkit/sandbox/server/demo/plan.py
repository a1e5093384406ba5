"""Plans the conversations of the demo community: their names, sizes and people, and the days on which people write."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from imkit.sandbox.demo import FACTS, Demo
from imkit.sandbox.server.demo.cast import BY_USER, GROUP_PROFILES, NIGHT, PEOPLE, GroupProfile
from imkit.sandbox.server.demo.words import GAIWAN, PLACES, TEAS, THINGS, TOPICS
from imkit.sandbox.server.store import ID_BITS

DAY = 24 * 3600 * 1000
HOUR = 3600 * 1000
UTC_TO_SHANGHAI = 8 * HOUR
END = int(datetime(2026, 3, 29, 16, tzinfo=UTC).timestamp() * 1000)  # midnight in Shanghai, a Sunday's end
_WEEKS, _MOST_WEEKS = 8, 52
_DIGESTS = 7  # the Mondays after the tutorials' threads were created
_GROUP_SHARE = 0.12  # the share of messages that are in the groups themselves, not in threads
# The lower bits of an id are this plus the conversation's number. The ids of later messages begin at 0 in each
# millisecond, so they never reach the ids of the community.
_ID_BASE = 1 << (ID_BITS - 1)


def day_of(date: str) -> int:
    """Return the time at which a day begins in Shanghai, in ms."""
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() * 1000) - UTC_TO_SHANGHAI


MARKET_DAY = day_of(FACTS.busiest_day)
MUTED_SINCE = day_of(FACTS.muted_since)
_FESTIVAL = range(day_of("2026-02-15"), day_of("2026-02-24"), DAY)


@dataclass(slots=True)
class PlannedConversation:
    """The plan of a group or a thread.

    Attributes:
        number: its number among all conversations; part of the id of each message.
        id: its id.
        name: its name.
        group_id: the parent group of a thread; "" for a group.
        profile: the profile of the group or of the thread's group.
        created: when it was created, in ms.
        owner: the user who created it.
        opener: the text of a thread's parent message; "" for a group.
        parent_id: the id of a thread's parent message; 0 for a group.
        messages: the number of messages in its history.
        people: the users who write in it.
        days: the days on which people write in it, each as its begin in ms.
        weights: how busy each of these days is.
        hours: how busy each hour of a day in Shanghai is.
        kind: "" for usual talk, else the name of one of the tutorials' threads.
        parents: for a group: the parent messages of its threads, each as (ms, sender, text), in order.
    """

    number: int
    id: str
    name: str
    group_id: str
    profile: GroupProfile
    created: int
    owner: str
    opener: str
    parent_id: int
    messages: int
    people: Sequence[str]
    days: Sequence[int]
    weights: Sequence[float]
    hours: Sequence[int]
    kind: str = ""
    parents: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def is_thread(self) -> bool:
        """Whether it is a thread."""
        return bool(self.group_id)

    def message_id(self, time: int) -> int:
        """Return the id of the message that is sent here in this millisecond; there is one at most."""
        return (time << ID_BITS) | _ID_BASE | self.number


@dataclass(frozen=True)
class _TutorialThread:
    """A thread that the tutorials use.

    Attributes:
        name: its name.
        group: the key of its group.
        owner: the user who created it.
        opener: the text of its parent message.
        kind: how `talk` writes its messages.
        weight: its size, as a weight among all threads; 0 if `fixed` is the size.
        fixed: its number of messages; 0 if `weight` decides.
        people: the users who write in it; `()` for all of the group.
    """

    name: str
    group: str
    owner: str
    opener: str
    kind: str
    weight: float = 3.0
    fixed: int = 0
    people: tuple[str, ...] = ()


_CROWD = tuple(person.user for person in PEOPLE)
_TUTORIAL_THREADS = (
    _TutorialThread(
        FACTS.busiest_thread,
        "orders",
        "ma.ling",
        "Spring oolong: say how many bags, until Saturday the 14th. 春季乌龙，14号周六截止",
        "order",
        14.0,
    ),
    _TutorialThread(
        FACTS.unanswered_thread,
        "tasting",
        "gu.lan",
        "A blue gaiwan is missing. 少了一只蓝盖碗",
        "gaiwan",
        0.0,
        len(GAIWAN),
        ("gu.lan",),
    ),
    _TutorialThread(
        FACTS.cards_thread,
        "newcomers",
        "lin.xiaomei",
        "Put your card here: name and city. 请留下名字和城市",
        "cards",
        0.0,
        len(PEOPLE),
        _CROWD,
    ),
    _TutorialThread(
        FACTS.digest_thread,
        "newcomers",
        "tang.wen",
        "Mondays: what was said. 每周一：上周摘要",
        "digest",
        0.0,
        2 * _DIGESTS,
        ("tang.wen", "song.ning", "guo.yi", "emily.ross", "deng.ying"),
    ),
    _TutorialThread(
        "Night kettle 深夜水壶",
        "abroad",
        "nora.feld",
        "Who else is awake? 还有谁没睡？",
        "night",
        3.5,
        0,
        ("nora.feld", "xu.jia", "marc.p", "lena.brandt"),
    ),
    _TutorialThread(
        FACTS.revived_thread,
        "shop",
        "feng.rui",
        "The big kettle leaks. 大水壶漏水",
        "revived",
        2.0,
        0,
        ("feng.rui", "sun.hao", "peng.fei", "lin.xiaomei", "liu.fang"),
    ),
    _TutorialThread(
        FACTS.pictures_thread, "hikes", "bai.lu", "Pictures of the hills, please. 山里的照片放这里", "pictures", 5.0
    ),
    _TutorialThread(
        FACTS.edits_thread,
        "shop",
        "wu.tong",
        "Please read the new menu closely. 新菜单请仔细看",
        "edits",
        3.0,
        0,
        ("wu.tong", "guo.yi", "chen.yun", "ma.ling", "lin.xiaomei", "deng.ying"),
    ),
)


def plan(demo: Demo) -> tuple[list[PlannedConversation], list[PlannedConversation]]:
    """Return the groups and the threads of a community. Their messages add up to `demo.messages`."""
    rng = random.Random(f"{demo.seed}:plan")
    weeks = max(_WEEKS, min(_MOST_WEEKS, _WEEKS + (demo.messages - 20_000) // 12_000))
    begin = END - weeks * 7 * DAY
    groups = [_group(number, profile, begin) for number, profile in enumerate(GROUP_PROFILES)]
    threads = [_plan_tutorial_thread(thread, groups, rng) for thread in _TUTORIAL_THREADS]
    names = {thread.name for thread in threads}
    for turn in range(demo.threads - len(threads)):
        threads.append(_plan_usual_thread(turn, names, groups, begin, demo, rng))
    _set_parents(groups, threads)
    _set_message_counts(demo.messages, groups, threads, rng)
    return groups, threads


def _group(number: int, profile: GroupProfile, begin: int) -> PlannedConversation:
    created = begin - (30 + 5 * (len(GROUP_PROFILES) - number)) * DAY + 11 * HOUR + 7919 * number
    days, weights = _days_and_weights(begin, END, profile)
    return PlannedConversation(
        *(number, f"20{created:013d}", profile.name, "", profile, created, profile.owner, "", 0, 0),
        *(profile.members, days, weights, profile.hours),
    )


def _days_and_weights(
    begin: int, end: int, profile: GroupProfile, *, fade: float = 0.0
) -> tuple[Sequence[int], Sequence[float]]:
    """Return the days of a conversation and how busy each is.

    That depends on the day of the week, on Spring Festival and the market day, and on the age of the conversation:
    `fade` is how often the interest halves a day.
    """
    first = (begin + UTC_TO_SHANGHAI) // DAY * DAY - UTC_TO_SHANGHAI
    days = range(first, max(end, first + DAY), DAY)
    weights = []
    for age, day in enumerate(days):
        weight = profile.weekdays[((day + UTC_TO_SHANGHAI) // DAY + 3) % 7] * 0.5 ** (age * fade)
        weights.append(weight * (0.03 if day in _FESTIVAL else 4.5 if day == MARKET_DAY else 1.0))
    return days, weights


def _plan_tutorial_thread(
    wanted: _TutorialThread, groups: list[PlannedConversation], rng: random.Random
) -> PlannedConversation:
    group = next(group for group in groups if group.profile.key == wanted.group)
    created = END - 55 * DAY + rng.randrange(9 * HOUR, 17 * HOUR)  # in the first of the last eight weeks
    thread = _thread(group, wanted.name, wanted.owner, wanted.opener, created)
    thread.kind, thread.messages = wanted.kind, wanted.fixed
    thread.people = wanted.people or group.people
    thread.days, thread.weights = _days_and_weights(created + DAY, END, group.profile)
    if wanted.kind == "order":
        thread.weights = [_order_weight(day) for day in thread.days]
    elif wanted.kind == "revived":
        thread.weights = [1.0 if age < 4 or 24 <= age < 30 else 0.0 for age, _ in enumerate(thread.days)]
    elif wanted.kind == "night":
        thread.hours = NIGHT
    return thread


def _order_weight(day: int) -> float:
    """Return how busy the thread of the group order is on a day: by far the most on its last one, the market day."""
    if day == MARKET_DAY:
        return 20.0
    return 0.02 if day in _FESTIVAL else 0.6 if day < MARKET_DAY else 0.06


def _plan_usual_thread(
    turn: int, names: set[str], groups: list[PlannedConversation], begin: int, demo: Demo, rng: random.Random
) -> PlannedConversation:
    key, pattern, opener = TOPICS[turn % len(TOPICS)]
    group = next(group for group in groups if group.profile.key == key)
    words = {"tea": rng.choice(TEAS), "place": rng.choice(PLACES)[0], "thing": rng.choice(THINGS)}
    name = pattern.format(**words)
    if name in names:
        name = next(other for count in itertools.count(2) if (other := f"{name} #{count}") not in names)
    names.add(name)
    span = (END - begin) // DAY
    created = begin + int(rng.random() * 0.95 * span * DAY)
    created += rng.randrange(10 * HOUR, 21 * HOUR) - (created + UTC_TO_SHANGHAI) % DAY
    life = max(3, min(span, max(int(rng.lognormvariate(2.7, 0.6)), demo.messages // demo.threads // 60)))
    size = min(len(group.people), rng.randrange(5, 15))
    people = sorted(rng.sample(list(group.people), size))
    asleep = [user for user in people if not BY_USER[user].is_awake(created // HOUR % 24)]
    owner = rng.choice([user for user in people if user not in asleep] or people)
    thread = _thread(group, name, owner, opener.format(**words), max(created, begin + HOUR))
    thread.people = people
    end = min(END, thread.created + life * DAY)
    thread.days, thread.weights = _days_and_weights(thread.created, end, group.profile, fade=3 / life)
    return thread


def _thread(group: PlannedConversation, name: str, owner: str, opener: str, created: int) -> PlannedConversation:
    hours = group.profile.hours
    return PlannedConversation(0, "", name, group.id, group.profile, created, owner, opener, 0, 0, (), (), (), hours)


def _set_parents(groups: list[PlannedConversation], threads: list[PlannedConversation]) -> None:
    """Set the id, the number and the parent message of each thread; no two of them have the same millisecond."""
    taken: set[int] = set()
    threads.sort(key=lambda thread: thread.created)
    for number, thread in enumerate(threads, len(groups)):
        while thread.created in taken:
            thread.created += 1
        taken.add(thread.created)
        group = next(group for group in groups if group.profile is thread.profile)
        asked = thread.created - 20_000 - 1000 * (number % 60)
        while asked in taken:
            asked += 1
        taken.add(asked)
        thread.number, thread.id = number, f"21{thread.created:013d}"
        thread.parent_id = group.message_id(asked)
        group.parents.append((asked, thread.owner, thread.opener))
    for group in groups:
        group.parents.sort()


def _set_message_counts(
    messages: int, groups: list[PlannedConversation], threads: list[PlannedConversation], rng: random.Random
) -> None:
    """Set the number of messages of each conversation. The busiest thread gets the remainder after rounding."""
    weight_of = {thread.name: thread.weight for thread in _TUTORIAL_THREADS if not thread.fixed}
    fixed = sum(thread.messages for thread in threads) + len(threads)  # each parent is a message of its group
    talk = int(messages * _GROUP_SHARE)
    free = messages - fixed - talk
    weights = [
        0.0
        if thread.messages  # its number of messages is fixed
        else weight_of.get(thread.name) or (0.4 + 5 * rng.random() ** 2.5) * min(1, len(thread.days) / 7)
        for thread in threads
    ]
    for thread, weight in zip(threads, weights, strict=True):
        if weight:
            thread.messages = max(2, int(free * weight / sum(weights)))
    for number, group in enumerate(groups):
        share = talk * (number + 1) // len(groups) - talk * number // len(groups)
        group.messages = share + len(group.parents)
    busiest = next(thread for thread in threads if thread.name == FACTS.busiest_thread)
    busiest.messages += messages - sum(conversation.messages for conversation in (*groups, *threads))
