"""What is said in one conversation of the demo community, message by message, in order of time.

People talk in bursts: somebody asks, others answer, each in their own time. Slow repliers answer hours later, and not
in their sleep. Nothing but what is about to be said is kept in memory.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from imkit.messages import Body, Custom, Location, Text
from imkit.sandbox.demo import FACTS
from imkit.sandbox.server.demo.cast import BY_USER, PEOPLE, Person
from imkit.sandbox.server.demo.pictures import Studio
from imkit.sandbox.server.demo.plan import DAY, END, HOUR, MUTED_SINCE, Conversation
from imkit.sandbox.server.demo.words import (
    ANSWERS,
    ASKS,
    BY_CIRCLE,
    EMOJI,
    GAIWAN,
    LINKS,
    MOODS,
    NIGHT_TALK,
    PLACES,
    REACTIONS,
    SAYS,
    SHORT,
    TAKEN_BACK,
    TEAS,
    THINGS,
)

_SLOW = 600  # seconds: who takes longer does not take part in a burst, but answers afterwards
_KINDS = ("txt", "img", "audio", "file", "loc", "video", "custom", "combine")
_USUAL = tuple(itertools.accumulate((90.0, 3.4, 1.6, 1.0, 1.2, 0.4, 1.4, 0.6)))
_PICTURES = tuple(itertools.accumulate((50.0, 44.0, 0.5, 0.5, 3.0, 1.5, 0.5, 0.2)))
_MARKET = tuple(itertools.accumulate((66.0, 1.0, 1.0, 1.0, 0.3, 0.2, 30.0, 0.3)))
_ONLY_TEXT = tuple(itertools.accumulate((100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)))


@dataclass(slots=True)
class Line:
    """A message of the community."""

    moment: int
    id: int
    sender: str
    body: Body
    ext: dict[str, Any] = field(default_factory=dict)
    edits: int = 0
    edited: int = 0
    reactions: list[dict[str, Any]] = field(default_factory=list)


class _Words(dict[str, str]):
    """Fills the gaps of a sentence, each when it is asked for."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def __missing__(self, gap: str) -> str:
        dice = self._dice
        match gap:
            case "tea":
                return dice.choice(TEAS)
            case "place":
                return dice.choice(PLACES)[0]
            case "thing":
                return dice.choice(THINGS)
            case "who":
                return dice.choice(PEOPLE).name
            case "n":
                return str(dice.randrange(2, 9))
            case "clock":
                return f"{dice.randrange(8, 22)}:{dice.choice(('00', '15', '30'))}"
        return dice.choice(LINKS)


class Talk:
    """One conversation being held.

    Args:
        conversation: where.
        seed: the community's.
        studio: makes the attachments.
    """

    def __init__(self, conversation: Conversation, seed: int, studio: Studio) -> None:
        self._room = conversation
        self._dice = random.Random(f"{seed}:{conversation.number}")  # drawn to be repeated
        self._words = _Words(self._dice)
        self._studio = studio
        self._waiting: list[tuple[int, Line]] = []  # a heap: said, but not yet told
        self._taken: set[int] = set()  # their milliseconds
        self._now = 0
        self._recent: deque[Line] = deque(maxlen=6)
        people = [BY_USER[user] for user in conversation.people]
        self._quick = [person for person in people if person.reply < _SLOW] or people
        self._slow = [person for person in people if person.reply >= _SLOW]
        self._awake: dict[int, tuple[list[Person], list[float]]] = {}
        self._own = BY_CIRCLE[conversation.circle.key]
        self._kinds = {"pictures": _PICTURES, "order": _MARKET, "edits": _ONLY_TEXT, "night": _ONLY_TEXT}.get(
            conversation.kind, _USUAL
        )

    def lines(self) -> Iterator[Line]:
        """Yield every message of the conversation, the oldest first."""
        room = self._room
        for moment, sender, opener in room.parents:
            self._say(moment, sender, Text(opener))
        scripts = {"gaiwan": self._gaiwan, "cards": self._cards, "digest": self._digest}
        if room.kind in scripts:
            scripts[room.kind]()
        else:
            left = room.messages - len(room.parents)
            sizes = self._burst_sizes(left)
            for size, start in zip(sizes, self._starts(len(sizes)), strict=True):
                yield from self._told_before(start)
                self._burst(start, size)
        yield from self._told_before(END * 2)

    def _told_before(self, moment: int) -> Iterator[Line]:
        waiting = self._waiting
        while waiting and waiting[0][0] < moment:
            self._now, line = heapq.heappop(waiting)
            self._taken.discard(self._now)
            self._recent.append(line)
            yield line

    def _place(self, moment: float) -> int:
        """Return a free millisecond at or after a moment: one message each, all of them before the end."""
        at = max(int(moment), self._now + 1)
        if at >= END:
            at = max(self._now + 1, END - self._dice.randrange(1, 3 * HOUR))
        while at in self._taken:
            at += 1
        return at

    def _say(self, moment: float, sender: str, body: Body, **more: Any) -> Line:
        at = self._place(moment)
        line = Line(at, self._room.message_id(at), sender, body, **more)
        self._taken.add(at)
        heapq.heappush(self._waiting, (at, line))
        return line

    # ---------------------------------------------------------------- when

    def _burst_sizes(self, total: int) -> list[int]:
        sizes = []
        while total > 0:
            size = min(total, 2 + min(40, int(self._dice.expovariate(1 / 7))))
            sizes.append(size)
            total -= size
        return sizes

    def _starts(self, count: int) -> list[int]:
        dice, room = self._dice, self._room
        days = dice.choices(room.days, (list(itertools.accumulate(room.weights)) and None) or room.weights, k=count)
        hours = dice.choices(range(24), room.hours, k=count)
        starts = []
        for day, hour in zip(days, hours, strict=True):
            start = day + hour * HOUR + int(dice.random() * HOUR)
            if start <= room.created + 60_000:  # on its first day a thread is not there in the morning
                start = room.created + 60_000 + int(dice.expovariate(1 / (2 * HOUR)))
            starts.append(min(start, END - HOUR))
        return sorted(starts)

    def _people_awake(self, moment: float) -> tuple[list[Person], list[float]]:
        hour = int(moment) // HOUR % 24
        known = self._awake.get(hour)
        if known is None:
            awake = [person for person in self._quick if person.is_awake(hour)] or self._quick
            known = self._awake[hour] = (awake, list(itertools.accumulate(person.talk for person in awake)))
        return known

    # ---------------------------------------------------------------- a burst

    def _burst(self, start: int, size: int) -> None:
        dice = self._dice
        awake, weights = self._people_awake(start)
        about = list(dict.fromkeys(dice.choices(awake, cum_weights=weights, k=dice.randrange(2, 7))))
        moment: float = start
        said = [self._turn(about[0], moment, None, first=True)]
        while len(said) < size:
            last = said[-1]
            if self._slow and dice.random() < 0.05:
                late = dice.choice(self._slow)
                answered = dice.choice(said)
                when = answered.moment + 1000 * late.reply * dice.lognormvariate(0, 0.45)
                said.insert(0, self._turn(late, _after_sleep(late, when, dice), answered))
                continue
            person = dice.choice(about)
            if person.user == last.sender and len(about) > 1 and dice.random() < 0.8:
                person = next(other for other in about if other.user != last.sender)
            if person.user != last.sender and dice.random() < 0.6:
                if dice.random() < 0.015:  # the sender thought better of it: the answer is all that is left
                    ghost = last.moment + 4000 + int(dice.random() * 9000)
                    words = dice.choice(TAKEN_BACK)[0 if dice.random() < person.chinese else 1]
                    gone = {"reply_to": str(self._room.message_id(self._place(ghost)))}
                    moment = ghost + 1000 * person.reply * dice.lognormvariate(0, 0.4)
                    said.append(self._say(moment, self._allowed(person, moment).user, Text(words), ext=gone))
                else:
                    moment = last.moment + 1000 * person.reply * dice.lognormvariate(0, 0.4)
                    said.append(self._turn(person, moment, last))
            else:
                moment = last.moment + 12_000 + 1000 * dice.expovariate(1 / 70)
                said.append(self._turn(person, moment, None))
            moment = said[-1].moment

    def _allowed(self, person: Person, moment: float) -> Person:
        if person.user == FACTS.muted and moment >= MUTED_SINCE and self._room.circle.name == FACTS.muted_in:
            return next(other for other in (*self._quick, *PEOPLE) if other.user != FACTS.muted)
        return person

    def _turn(self, person: Person, moment: float, answered: Line | None, *, first: bool = False) -> Line:
        """Let somebody say something: in answer to a message, or of their own accord."""
        dice = self._dice
        person = self._allowed(person, moment)
        ext: dict[str, Any] = {}
        if answered is not None and answered.sender != person.user:
            ext["reply_to"] = str(answered.id)
        kind = "txt" if first else dice.choices(_KINDS, cum_weights=self._kinds)[0]
        body = self._body(kind, person, answered is not None, first)
        key = self._room.circle.key
        if key == "tasting" and dice.random() < 0.35:
            best = person.user == FACTS.best_marks
            mark = dice.gauss(4.7, 0.25) if best else dice.gauss(3.4, 0.6)
            ext["score"] = max(1.0, min(5.0, round(mark * 2) / 2))
        elif key == "shop":
            ext["priority"] = dice.choices((1, 2, 3), (1, 4, 5))[0]
        if dice.random() < 0.05:
            ext["mood"] = dice.choice(MOODS)
        line = self._say(moment, person.user, body, ext=ext)
        often = self._room.kind == "edits"
        if isinstance(body, Text) and dice.random() < (0.3 if often else 0.012):
            line.edits = dice.choices((1, 2, 3), (8, 2, 1))[0]
            line.edited = line.moment + int(1000 * dice.uniform(15, 400))
        if dice.random() < (0.3 if self._room.kind == "pictures" else 0.035):
            line.reactions = self._reactions(person)
        return line

    def _reactions(self, sender: Person) -> list[dict[str, Any]]:
        dice, users = self._dice, [user for user in self._room.people if user != sender.user]
        found = []
        for reaction in dice.sample(REACTIONS, dice.choices((1, 2, 3), (7, 2, 1))[0]):
            by = sorted(dice.sample(users, min(len(users), dice.randrange(1, 5))))
            if by:
                found.append({"reaction": reaction, "count": len(by), "userList": by, "state": False})
        return found

    # ---------------------------------------------------------------- what

    def _body(self, kind: str, person: Person, is_answer: bool, first: bool) -> Body:
        dice, studio = self._dice, self._studio
        match kind:
            case "img":
                return studio.picture(dice)
            case "audio":
                return studio.recording(dice)
            case "video":
                return studio.film(dice)
            case "file":
                return studio.document(dice)
            case "loc":
                name, lat, lng = dice.choice(PLACES)
                return Location(round(lat + dice.gauss(0, 0.004), 6), round(lng + dice.gauss(0, 0.004), 6), name)
            case "custom" if self._room.kind == "order":
                tea, bags = dice.choice(TEAS), dice.choices((1, 2, 3, 4, 5, 8), (6, 5, 3, 2, 1, 1))[0]
                return Custom("order", {"tea": tea, "bags": bags})
            case "custom":
                return Custom("vote", {"tea": dice.choice(TEAS), "yes": dice.random() < 0.7})
            case "combine" if len(self._recent) > 2:
                return studio.bundle(dice, "Earlier here 之前聊的", [self._quoted(line) for line in self._recent])
        return Text(self._sentence(person, is_answer, first))

    def _quoted(self, line: Line) -> tuple[int, int, str, str]:
        return line.id, line.moment, line.sender, line.body.summary_text or f"[{line.body.type}]"

    def _sentence(self, person: Person, is_answer: bool, first: bool) -> str:
        dice = self._dice
        chance = dice.random()
        if self._room.kind == "night" and chance < 0.6:
            pairs: tuple[tuple[str, str], ...] = NIGHT_TALK
        elif first:
            pairs = ASKS if chance < 0.55 else self._own
        elif is_answer:
            pairs = ANSWERS if chance < 0.45 else SHORT if chance < 0.75 else self._own
        else:
            pairs = SAYS if chance < 0.5 else self._own
        text = dice.choice(pairs)[0 if dice.random() < person.chinese else 1]
        if "{" in text:
            text = text.format_map(self._words)
        if dice.random() < person.emoji:
            text = f"{text} {dice.choice(EMOJI)}"
        return text

    # ---------------------------------------------------------------- the tutorials' own threads

    def _gaiwan(self) -> None:
        for text, days in zip(GAIWAN, (0, 5, 15), strict=True):
            moment = self._room.created + 90_000 + days * DAY
            self._say(moment, self._room.owner, Text(text), ext={"mood": "sad"})

    def _cards(self) -> None:
        dice = self._dice
        for person in PEOPLE:
            day = self._room.created + int(dice.expovariate(1 / (1.3 * DAY)))
            card = Custom("card", {"name": person.name, "city": person.city})
            self._say(_after_sleep(person, day + 60_000, dice), person.user, card)

    def _digest(self) -> None:
        dice = self._dice
        monday = END - 49 * DAY
        for week in range(self._room.messages // 2):
            moment = monday + week * 7 * DAY + 9 * HOUR + dice.randrange(20 * 60_000)
            quoted = []
            for _ in range(dice.randrange(4, 9)):
                person = dice.choice(PEOPLE)
                said = moment - dice.randrange(DAY, 7 * DAY)
                quoted.append((self._room.message_id(said), said, person.user, self._sentence(person, False, False)))
            title = f"Week {week + 1} 第{week + 1}周"
            digest = self._say(moment, self._room.owner, self._studio.bundle(dice, title, sorted(quoted)))
            person = self._quick[1 + week % (len(self._quick) - 1)]
            thanks = Text(f"谢谢！{dice.choice(EMOJI)}")
            self._say(moment + 1000 * person.reply, person.user, thanks, ext={"reply_to": str(digest.id)})


def _after_sleep(person: Person, moment: float, dice: random.Random) -> float:
    """Return the moment, or the next morning of a person who sleeps then."""
    if person.is_awake(int(moment) // HOUR % 24):
        return moment
    local = int(moment) + person.utc * HOUR
    hours = (15 if person.after_work else 7) - local // HOUR % 24
    return moment + (hours % 24) * HOUR + dice.random() * HOUR
