"""Writes the messages of one conversation of the demo community, in order of time.

People write in bursts: one asks, others answer, each after a time of their own. Slow repliers answer hours later, and
not while they sleep. Only the messages of the current burst are in memory.

Every choice comes from a generator with a fixed seed, so the order of the random draws must not change. Quotes and
mentions have a generator of their own.
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
from imkit.quotes import ALL, MENTIONS_KEY, QUOTE_KEY
from imkit.sandbox.demo import FACTS
from imkit.sandbox.server.demo.cast import BY_USER, PEOPLE, Person
from imkit.sandbox.server.demo.pictures import AttachmentMaker
from imkit.sandbox.server.demo.plan import DAY, END, HOUR, MUTED_SINCE, PlannedConversation
from imkit.sandbox.server.demo.words import (
    ANSWERS,
    ASKS,
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
    WORDS_OF_GROUP,
)

_SLOW = 600  # people whose usual time to a reply is longer (seconds) only answer after a burst
_KINDS = ("txt", "img", "audio", "file", "loc", "video", "custom", "combine")
_USUAL = tuple(itertools.accumulate((90.0, 3.4, 1.6, 1.0, 1.2, 0.4, 1.4, 0.6)))
_PICTURES = tuple(itertools.accumulate((50.0, 44.0, 0.5, 0.5, 3.0, 1.5, 0.5, 0.2)))
_MARKET = tuple(itertools.accumulate((66.0, 1.0, 1.0, 1.0, 0.3, 0.2, 30.0, 0.3)))
_ONLY_TEXT = tuple(itertools.accumulate((100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)))


@dataclass(slots=True)
class DemoMessage:
    """A message of the community.

    Attributes:
        time: its time, in ms.
        id: its id.
        sender: its sender.
        body: its content.
        ext: its attributes.
        edits: how often it was edited.
        edited: the time of the last edit, in ms; 0 for none.
        reactions: the users who reacted to it, by reaction.
    """

    time: int
    id: int
    sender: str
    body: Body
    ext: dict[str, Any] = field(default_factory=dict)
    edits: int = 0
    edited: int = 0
    reactions: dict[str, list[str]] = field(default_factory=dict)


class _Words(dict[str, str]):
    """Gives the words for the gaps of a sentence; a word is drawn when `str.format_map` asks for it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __missing__(self, gap: str) -> str:
        rng = self._rng
        match gap:
            case "tea":
                return rng.choice(TEAS)
            case "place":
                return rng.choice(PLACES)[0]
            case "thing":
                return rng.choice(THINGS)
            case "who":
                return rng.choice(PEOPLE).name
            case "n":
                return str(rng.randrange(2, 9))
            case "clock":
                return f"{rng.randrange(8, 22)}:{rng.choice(('00', '15', '30'))}"
        return rng.choice(LINKS)


class Talk:
    """Writes the messages of one conversation.

    Args:
        conversation: the plan of the conversation.
        seed: the seed of the community.
        attachments: makes the attachments.
    """

    def __init__(self, conversation: PlannedConversation, seed: int, attachments: AttachmentMaker) -> None:
        self.conversation = conversation
        self._rng = random.Random(f"{seed}:{conversation.number}")
        self._words = _Words(self._rng)
        self._marks_rng = random.Random(f"{seed}:{conversation.number}:quotes and mentions")
        self._attachments = attachments
        self._written: list[tuple[int, DemoMessage]] = []  # a heap by time: written, but not yet yielded
        self._taken: set[int] = set()  # the times of the messages in it
        self._yielded_until = 0  # the time of the last yielded message
        self._recent: deque[DemoMessage] = deque(maxlen=6)
        people = [BY_USER[user] for user in conversation.people]
        self._quick = [person for person in people if person.reply < _SLOW] or people
        self._slow = [person for person in people if person.reply >= _SLOW]
        self._awake: dict[int, tuple[list[Person], list[float]]] = {}
        self._managers = (conversation.profile.owner, *conversation.profile.admins)
        self._own = WORDS_OF_GROUP[conversation.profile.key]
        self._kinds = {"pictures": _PICTURES, "order": _MARKET, "edits": _ONLY_TEXT, "night": _ONLY_TEXT}.get(
            conversation.kind, _USUAL
        )

    def messages(self) -> Iterator[DemoMessage]:
        """Yield all messages of the conversation, the oldest first."""
        conversation = self.conversation
        for time, sender, opener in conversation.parents:
            self._write(time, sender, Text(opener))
        scripts = {"gaiwan": self._write_gaiwan, "cards": self._write_cards, "digest": self._write_digest}
        if conversation.kind in scripts:
            scripts[conversation.kind]()
        else:
            left = conversation.messages - len(conversation.parents)
            sizes = self._burst_sizes(left)
            for size, start in zip(sizes, self._burst_starts(len(sizes)), strict=True):
                # A burst writes nothing before its start, so all earlier messages are in their final order.
                yield from self._written_before(start)
                self._write_burst(start, size)
        yield from self._written_before(END * 2)

    def _written_before(self, time: int) -> Iterator[DemoMessage]:
        written = self._written
        while written and written[0][0] < time:
            self._yielded_until, message = heapq.heappop(written)
            self._taken.discard(self._yielded_until)
            self._recent.append(message)
            yield message

    def _free_time(self, time: float) -> int:
        """Return a millisecond at or after a time that has no message yet; all are before the community's end."""
        free = max(int(time), self._yielded_until + 1)
        if free >= END:
            free = max(self._yielded_until + 1, END - self._rng.randrange(1, 3 * HOUR))
        while free in self._taken:
            free += 1
        return free

    def _write(self, time: float, sender: str, body: Body, **more: Any) -> DemoMessage:
        free = self._free_time(time)
        message = DemoMessage(free, self.conversation.message_id(free), sender, body, **more)
        self._taken.add(free)
        heapq.heappush(self._written, (free, message))
        return message

    # ---------------------------------------------------------------- times of bursts

    def _burst_sizes(self, total: int) -> list[int]:
        sizes = []
        while total > 0:
            size = min(total, 2 + min(40, int(self._rng.expovariate(1 / 7))))
            sizes.append(size)
            total -= size
        return sizes

    def _burst_starts(self, count: int) -> list[int]:
        rng, conversation = self._rng, self.conversation
        days = rng.choices(conversation.days, conversation.weights, k=count)
        hours = rng.choices(range(24), conversation.hours, k=count)
        starts = []
        for day, hour in zip(days, hours, strict=True):
            start = day + hour * HOUR + int(rng.random() * HOUR)
            if start <= conversation.created + 60_000:  # on its first day, before it was created
                start = conversation.created + 60_000 + int(rng.expovariate(1 / (2 * HOUR)))
            starts.append(min(start, END - HOUR))
        return sorted(starts)

    def _people_awake(self, time: float) -> tuple[list[Person], list[float]]:
        hour = int(time) // HOUR % 24
        known = self._awake.get(hour)
        if known is None:
            awake = [person for person in self._quick if person.is_awake(hour)] or self._quick
            known = self._awake[hour] = (awake, list(itertools.accumulate(person.talk for person in awake)))
        return known

    # ---------------------------------------------------------------- a burst

    def _write_burst(self, start: int, size: int) -> None:
        """Write a burst: a first message, and then answers to it and further messages of a few people."""
        rng = self._rng
        awake, weights = self._people_awake(start)
        present = list(dict.fromkeys(rng.choices(awake, cum_weights=weights, k=rng.randrange(2, 7))))
        burst = [self._write_as(present[0], start, None, first=True)]
        while len(burst) < size:
            last = burst[-1]
            if self._slow and rng.random() < 0.05:
                burst.insert(0, self._write_late_answer(burst))
                continue
            person = rng.choice(present)
            if person.user == last.sender and len(present) > 1 and rng.random() < 0.8:
                person = next(other for other in present if other.user != last.sender)
            if person.user == last.sender or rng.random() >= 0.6:
                burst.append(self._write_as(person, last.time + 12_000 + 1000 * rng.expovariate(1 / 70), None))
            elif rng.random() < 0.015:
                burst.append(self._write_answer_to_recalled(person, last))
            else:
                time = last.time + 1000 * person.reply * rng.lognormvariate(0, 0.4)
                burst.append(self._write_as(person, time, last))

    def _write_late_answer(self, burst: list[DemoMessage]) -> DemoMessage:
        """Write the answer of a slow replier to a message of the burst."""
        person = self._rng.choice(self._slow)
        answered = self._rng.choice(burst)
        time = answered.time + 1000 * person.reply * self._rng.lognormvariate(0, 0.45)
        return self._write_as(person, _after_sleep(person, time, self._rng), answered)

    def _write_answer_to_recalled(self, person: Person, last: DemoMessage) -> DemoMessage:
        """Write an answer to a message that was recalled: its id is in no history."""
        rng = self._rng
        recalled_at = last.time + 4000 + int(rng.random() * 9000)
        words = rng.choice(TAKEN_BACK)[0 if rng.random() < person.chinese else 1]
        ext = {"reply_to": str(self.conversation.message_id(self._free_time(recalled_at)))}
        time = recalled_at + 1000 * person.reply * rng.lognormvariate(0, 0.4)
        return self._write(time, self._not_muted(person, time).user, Text(words), ext=ext)

    def _not_muted(self, person: Person, time: float) -> Person:
        """Return this person, or another one if this one is muted at that time."""
        muted_here = self.conversation.profile.name == FACTS.muted_in
        if muted_here and person.user == FACTS.muted and time >= MUTED_SINCE:
            return next(other for other in (*self._quick, *PEOPLE) if other.user != FACTS.muted)
        return person

    def _write_as(
        self, person: Person, time: float, answered: DemoMessage | None, *, first: bool = False
    ) -> DemoMessage:
        """Write a message of a person.

        Args:
            person: the sender.
            time: when, in ms.
            answered: the message that it answers; None for none.
            first: it is the first of a burst.
        """
        rng = self._rng
        person = self._not_muted(person, time)
        ext: dict[str, Any] = {}
        if answered is not None and answered.sender != person.user:
            ext["reply_to"] = str(answered.id)
        kind = "txt" if first else rng.choices(_KINDS, cum_weights=self._kinds)[0]
        body = self._body(kind, person, answered is not None, first)
        key = self.conversation.profile.key
        if key == "tasting" and rng.random() < 0.35:
            best = person.user == FACTS.best_marks
            mark = rng.gauss(4.7, 0.25) if best else rng.gauss(3.4, 0.6)
            ext["score"] = max(1.0, min(5.0, round(mark * 2) / 2))
        elif key == "shop":
            ext["priority"] = rng.choices((1, 2, 3), (1, 4, 5))[0]
        if rng.random() < 0.05:
            ext["mood"] = rng.choice(MOODS)
        if "reply_to" in ext and answered is not None:
            body = self._quote_or_mention(body, ext, answered)
        elif first and person.user in self._managers:
            body = self._mention_everybody(body, ext)
        message = self._write(time, person.user, body, ext=ext)
        if isinstance(body, Text) and rng.random() < (0.3 if self.conversation.kind == "edits" else 0.012):
            message.edits = rng.choices((1, 2, 3), (8, 2, 1))[0]
            message.edited = message.time + int(1000 * rng.uniform(15, 400))
        if rng.random() < (0.3 if self.conversation.kind == "pictures" else 0.035):
            message.reactions = self._reactions(person)
        return message

    def _quote_or_mention(self, body: Body, ext: dict[str, Any], answered: DemoMessage) -> Body:
        """Let an answer quote the message that it answers, or mention its sender, or neither."""
        chance = self._marks_rng.random()
        if chance < 0.3:
            said = answered.body
            ext[QUOTE_KEY] = {
                "msgID": str(answered.id),
                "msgPreview": said.text if isinstance(said, Text) else f"[{said.type}]",
                "msgSender": answered.sender,
                "msgType": said.type,
            }
        elif chance < 0.4 and isinstance(body, Text):
            ext[MENTIONS_KEY] = [answered.sender]
            return Text(f"@{BY_USER[answered.sender].name} {body.text}")
        return body

    def _mention_everybody(self, body: Body, ext: dict[str, Any]) -> Body:
        """Let an owner or admin of the group mention everybody in a few of the messages that begin a talk."""
        if isinstance(body, Text) and self._marks_rng.random() < 0.15:
            ext[MENTIONS_KEY] = ALL
            return Text(f"@All {body.text}")
        return body

    def _reactions(self, sender: Person) -> dict[str, list[str]]:
        rng, users = self._rng, [user for user in self.conversation.people if user != sender.user]
        reactions = {}
        for reaction in rng.sample(REACTIONS, rng.choices((1, 2, 3), (7, 2, 1))[0]):
            reacted = sorted(rng.sample(users, min(len(users), rng.randrange(1, 5))))
            if reacted:
                reactions[reaction] = reacted
        return reactions

    # ---------------------------------------------------------------- contents

    def _body(self, kind: str, person: Person, is_answer: bool, first: bool) -> Body:
        rng, attachments = self._rng, self._attachments
        match kind:
            case "img":
                return attachments.picture(rng)
            case "audio":
                return attachments.recording(rng)
            case "video":
                return attachments.film(rng)
            case "file":
                return attachments.document(rng)
            case "loc":
                name, lat, lng = rng.choice(PLACES)
                return Location(round(lat + rng.gauss(0, 0.004), 6), round(lng + rng.gauss(0, 0.004), 6), name)
            case "custom" if self.conversation.kind == "order":
                tea, bags = rng.choice(TEAS), rng.choices((1, 2, 3, 4, 5, 8), (6, 5, 3, 2, 1, 1))[0]
                return Custom("order", {"tea": tea, "bags": bags})
            case "custom":
                return Custom("vote", {"tea": rng.choice(TEAS), "yes": rng.random() < 0.7})
            case "combine" if len(self._recent) > 2:
                return attachments.bundle(
                    rng, "Earlier here 之前聊的", [self._quoted(message) for message in self._recent]
                )
        return Text(self._sentence(person, is_answer, first))

    def _quoted(self, message: DemoMessage) -> tuple[int, int, str, str]:
        return message.id, message.time, message.sender, message.body.summary_text or f"[{message.body.type}]"

    def _sentence(self, person: Person, is_answer: bool, first: bool) -> str:
        rng = self._rng
        chance = rng.random()
        if self.conversation.kind == "night" and chance < 0.6:
            pairs: tuple[tuple[str, str], ...] = NIGHT_TALK
        elif first:
            pairs = ASKS if chance < 0.55 else self._own
        elif is_answer:
            pairs = ANSWERS if chance < 0.45 else SHORT if chance < 0.75 else self._own
        else:
            pairs = SAYS if chance < 0.5 else self._own
        text = rng.choice(pairs)[0 if rng.random() < person.chinese else 1]
        if "{" in text:
            text = text.format_map(self._words)
        if rng.random() < person.emoji:
            text = f"{text} {rng.choice(EMOJI)}"
        return text

    # ---------------------------------------------------------------- the tutorials' threads

    def _write_gaiwan(self) -> None:
        for text, days in zip(GAIWAN, (0, 5, 15), strict=True):
            time = self.conversation.created + 90_000 + days * DAY
            self._write(time, self.conversation.owner, Text(text), ext={"mood": "sad"})

    def _write_cards(self) -> None:
        rng = self._rng
        for person in PEOPLE:
            time = self.conversation.created + int(rng.expovariate(1 / (1.3 * DAY)))
            card = Custom("card", {"name": person.name, "city": person.city})
            self._write(_after_sleep(person, time + 60_000, rng), person.user, card)

    def _write_digest(self) -> None:
        rng = self._rng
        monday = END - 49 * DAY
        for week in range(self.conversation.messages // 2):
            time = monday + week * 7 * DAY + 9 * HOUR + rng.randrange(20 * 60_000)
            quoted = []
            for _ in range(rng.randrange(4, 9)):
                person = rng.choice(PEOPLE)
                said = time - rng.randrange(DAY, 7 * DAY)
                text = self._sentence(person, False, False)
                quoted.append((self.conversation.message_id(said), said, person.user, text))
            title = f"Week {week + 1} 第{week + 1}周"
            digest = self._write(time, self.conversation.owner, self._attachments.bundle(rng, title, sorted(quoted)))
            person = self._quick[1 + week % (len(self._quick) - 1)]
            thanks = Text(f"谢谢！{rng.choice(EMOJI)}")
            self._write(time + 1000 * person.reply, person.user, thanks, ext={"reply_to": str(digest.id)})


def _after_sleep(person: Person, time: float, rng: random.Random) -> float:
    """Return a time at which the person is awake: the given one, or in the next morning."""
    if person.is_awake(int(time) // HOUR % 24):
        return time
    local = int(time) + person.utc * HOUR
    hours = (15 if person.after_work else 7) - local // HOUR % 24
    return time + (hours % 24) * HOUR + rng.random() * HOUR
