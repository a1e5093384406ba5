"""Which conversations the demo community has: their names, sizes, people, and the days on which they are alive."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from imkit.sandbox.demo import FACTS, Demo
from imkit.sandbox.server.demo.cast import BY_USER, CIRCLES, NIGHT, PEOPLE, Circle
from imkit.sandbox.server.demo.words import GAIWAN, PLACES, TEAS, THINGS, TOPICS
from imkit.sandbox.server.store import ID_BITS

DAY = 24 * 3600 * 1000
HOUR = 3600 * 1000
UTC_TO_SHANGHAI = 8 * HOUR
END = int(datetime(2026, 3, 29, 16, tzinfo=UTC).timestamp() * 1000)  # midnight in Shanghai, a Sunday's end
_WEEKS, _MOST_WEEKS = 8, 52
_DIGESTS = 7  # the Mondays after the tutorials' own threads were made
_GROUP_SHARE = 0.12  # of the messages: what is said in the groups themselves
# Above the counts that live ids have (they begin at 0 in each millisecond), and one number for each conversation: an
# id of the community never meets another one.
_ID_BASE = 1 << (ID_BITS - 1)


def day_of(date: str) -> int:
    """Return the midnight, in Shanghai, with which a day begins, in ms."""
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() * 1000) - UTC_TO_SHANGHAI


MARKET_DAY = day_of(FACTS.busiest_day)
MUTED_SINCE = day_of(FACTS.muted_since)
_FESTIVAL = range(day_of("2026-02-15"), day_of("2026-02-24"), DAY)


@dataclass(slots=True)
class Conversation:
    """A group or a thread that is to be filled.

    Attributes:
        number: counts the conversations; part of each message's id.
        id: the room's id.
        name: its name.
        group_id: the group a thread belongs to; "" for a group.
        circle: what the group is like, also for a thread.
        created: when it was made, in ms.
        owner: who made it.
        opener: what the parent message says; "" for a group.
        parent_id: the message it hangs on; 0 for a group.
        messages: how many its history will hold.
        people: who speaks in it.
        days: midnights of the days on which it is alive.
        weights: how alive on each of them.
        hours: how busy each hour of a Shanghai day is.
        kind: how it is talked: "" as usual, else one of the tutorials' own threads.
        parents: of a group: the parent messages, (ms, sender, text), in order.
    """

    number: int
    id: str
    name: str
    group_id: str
    circle: Circle
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

    def message_id(self, moment: int) -> int:
        """Return the id of what is said here at that millisecond."""
        return message_id(self.number, moment)


def message_id(conversation: int, moment: int) -> int:
    """Return an id in the sandbox's scheme: time above, then what makes it the only one."""
    return (moment << ID_BITS) | _ID_BASE | conversation


@dataclass(frozen=True)
class _Special:
    """A thread that the tutorials tell of."""

    name: str
    circle: str
    owner: str
    opener: str
    kind: str
    weight: float = 3.0
    fixed: int = 0
    people: tuple[str, ...] = ()


_QUICK = tuple(person.user for person in PEOPLE if person.reply < 600)
_CROWD = tuple(person.user for person in PEOPLE)
_SPECIALS = (
    _Special(FACTS.busiest_thread, "orders", "ma.ling",
             "Spring oolong: say how many bags, until Saturday the 14th. 春季乌龙，14号周六截止", "order", 14.0),
    _Special(FACTS.unanswered_thread, "tasting", "gu.lan", "A blue gaiwan is missing. 少了一只蓝盖碗", "gaiwan", 0.0,
             len(GAIWAN), ("gu.lan",)),
    _Special(FACTS.cards_thread, "newcomers", "lin.xiaomei",
             "Put your card here: name and city. 请留下名字和城市", "cards", 0.0, len(PEOPLE), _CROWD),
    _Special(FACTS.digest_thread, "newcomers", "tang.wen", "Mondays: what was said. 每周一：上周摘要", "digest", 0.0,
             2 * _DIGESTS, ("tang.wen", "song.ning", "guo.yi", "emily.ross", "deng.ying")),
    _Special("Night kettle 深夜水壶", "abroad", "nora.feld", "Who else is awake? 还有谁没睡？", "night", 3.5, 0,
             ("nora.feld", "xu.jia", "marc.p", "lena.brandt")),
    _Special(FACTS.revived_thread, "shop", "feng.rui", "The big kettle leaks. 大水壶漏水", "revived", 2.0, 0,
             ("feng.rui", "sun.hao", "peng.fei", "lin.xiaomei", "liu.fang")),
    _Special(FACTS.pictures_thread, "hikes", "bai.lu", "Pictures of the hills, please. 山里的照片放这里", "pictures",
             5.0),
    _Special(FACTS.edits_thread, "shop", "wu.tong", "Please read the new menu closely. 新菜单请仔细看", "edits", 3.0, 0,
             ("wu.tong", "guo.yi", "chen.yun", "ma.ling", "lin.xiaomei", "deng.ying")),
)  # fmt: skip


def plan(demo: Demo) -> tuple[list[Conversation], list[Conversation]]:
    """Return the groups and the threads of a community; what they hold adds up to the number of messages asked for."""
    dice = random.Random(f"{demo.seed}:plan")  # drawn to be repeated
    weeks = max(_WEEKS, min(_MOST_WEEKS, _WEEKS + (demo.messages - 20_000) // 12_000))
    begin = END - weeks * 7 * DAY
    groups = [_group(number, circle, begin) for number, circle in enumerate(CIRCLES)]
    threads = [_special(special, groups, begin, dice) for special in _SPECIALS]
    names = {thread.name for thread in threads}
    for turn in range(demo.threads - len(threads)):
        threads.append(_regular(turn, names, groups, begin, demo, dice))
    _hang_on_parents(groups, threads)
    _share_out(demo.messages, groups, threads, dice)
    return groups, threads


def _group(number: int, circle: Circle, begin: int) -> Conversation:
    created = begin - (30 + 5 * (len(CIRCLES) - number)) * DAY + 11 * HOUR + 7919 * number
    days, weights = _alive(begin, END, circle)
    return Conversation(
        *(number, f"20{created:013d}", circle.name, "", circle, created, circle.owner, "", 0, 0),
        *(circle.members, days, weights, circle.hours),
    )


def _alive(begin: int, end: int, circle: Circle, *, fade: float = 0.0) -> tuple[Sequence[int], Sequence[float]]:
    """Return days and their weights: weekdays, Spring Festival, market day, and interest that fades."""
    first = (begin + UTC_TO_SHANGHAI) // DAY * DAY - UTC_TO_SHANGHAI
    days = range(first, max(end, first + DAY), DAY)
    weights = []
    for age, day in enumerate(days):
        weight = circle.weekdays[((day + UTC_TO_SHANGHAI) // DAY + 3) % 7] * 0.5 ** (age * fade)
        weights.append(weight * (0.03 if day in _FESTIVAL else 4.5 if day == MARKET_DAY else 1.0))
    return days, weights


def _special(special: _Special, groups: list[Conversation], begin: int, dice: random.Random) -> Conversation:
    group = next(group for group in groups if group.circle.key == special.circle)
    created = END - 55 * DAY + dice.randrange(9 * HOUR, 17 * HOUR)  # in the first of the last eight weeks
    thread = _thread(group, special.name, special.owner, special.opener, created)
    thread.kind, thread.messages = special.kind, special.fixed
    thread.people = special.people or group.people
    thread.days, thread.weights = _alive(created + DAY, END, group.circle)
    if special.kind == "order":  # a little all the time, and everybody at the end
        thread.weights = [_rush(day) for day in thread.days]
    elif special.kind == "revived":
        thread.weights = [1.0 if age < 4 or 24 <= age < 30 else 0.0 for age, _ in enumerate(thread.days)]
    elif special.kind == "night":
        thread.hours = NIGHT
    return thread


def _rush(day: int) -> float:
    if day == MARKET_DAY:
        return 20.0
    return 0.02 if day in _FESTIVAL else 0.6 if day < MARKET_DAY else 0.06


def _regular(
    turn: int, names: set[str], groups: list[Conversation], begin: int, demo: Demo, dice: random.Random
) -> Conversation:
    key, pattern, opener = TOPICS[turn % len(TOPICS)]
    group = next(group for group in groups if group.circle.key == key)
    words = {"tea": dice.choice(TEAS), "place": dice.choice(PLACES)[0], "thing": dice.choice(THINGS)}
    name = pattern.format(**words)
    if name in names:
        name = next(other for count in itertools.count(2) if (other := f"{name} #{count}") not in names)
    names.add(name)
    span = (END - begin) // DAY
    created = begin + int(dice.random() * 0.95 * span * DAY)
    created += dice.randrange(10 * HOUR, 21 * HOUR) - (created + UTC_TO_SHANGHAI) % DAY
    life = max(3, min(span, max(int(dice.lognormvariate(2.7, 0.6)), demo.messages // demo.threads // 60)))
    size = min(len(group.people), dice.randrange(5, 15))
    people = sorted(dice.sample(list(group.people), size))
    asleep = [user for user in people if not BY_USER[user].is_awake(created // HOUR % 24)]
    owner = dice.choice([user for user in people if user not in asleep] or people)
    thread = _thread(group, name, owner, opener.format(**words), max(created, begin + HOUR))
    thread.people = people
    end = min(END, thread.created + life * DAY)
    thread.days, thread.weights = _alive(thread.created, end, group.circle, fade=3 / life)
    return thread


def _thread(group: Conversation, name: str, owner: str, opener: str, created: int) -> Conversation:
    hours = group.circle.hours
    return Conversation(0, "", name, group.id, group.circle, created, owner, opener, 0, 0, (), (), (), hours)


def _hang_on_parents(groups: list[Conversation], threads: list[Conversation]) -> None:
    """Give each thread its id, its number and its parent message; no two parents of a group in one millisecond."""
    taken: set[int] = set()
    threads.sort(key=lambda thread: thread.created)
    for number, thread in enumerate(threads, len(groups)):
        while thread.created in taken:
            thread.created += 1
        taken.add(thread.created)
        group = next(group for group in groups if group.circle is thread.circle)
        asked = thread.created - 20_000 - 1000 * (number % 60)
        while asked in taken:
            asked += 1
        taken.add(asked)
        thread.number, thread.id = number, f"21{thread.created:013d}"
        thread.parent_id = group.message_id(asked)
        group.parents.append((asked, thread.owner, thread.opener))
    for group in groups:
        group.parents.sort()


def _share_out(messages: int, groups: list[Conversation], threads: list[Conversation], dice: random.Random) -> None:
    """Say how many messages each history holds. The busiest thread takes what rounding leaves over."""
    weight_of = {special.name: special.weight for special in _SPECIALS if not special.fixed}
    fixed = sum(thread.messages for thread in threads) + len(threads)  # each parent is a message of its group
    talk = int(messages * _GROUP_SHARE)
    free = messages - fixed - talk
    weights = [
        0.0
        if thread.messages  # says what it says, and no more
        else weight_of.get(thread.name) or (0.4 + 5 * dice.random() ** 2.5) * min(1, len(thread.days) / 7)
        for thread in threads
    ]
    for thread, weight in zip(threads, weights, strict=True):
        if weight:
            thread.messages = max(2, int(free * weight / sum(weights)))
    for number, group in enumerate(groups):
        share = talk * (number + 1) // len(groups) - talk * number // len(groups)
        group.messages = share + len(group.parents)
    busiest = next(thread for thread in threads if thread.name == FACTS.busiest_thread)
    busiest.messages += messages - sum(room.messages for room in (*groups, *threads))
