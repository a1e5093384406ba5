"""A made-up community to look at: `Sandbox.demo()` and `imkit sandbox --demo`.

Some three dozen friends of tea in Shanghai and elsewhere, six groups, weeks of threads. Everything is written for
imkit and drawn from a seed: the same seed, number of threads and number of messages give the same messages, ids and
times. The community ends on Sunday, 29 March 2026, midnight in Shanghai, and goes back eight weeks; above 20,000
messages it goes back further, up to a year.

Who wants to read all of it logs in as `Facts.reader`, who is in every group and thread and has never said a word. The
people themselves can be logged in as, too: with an app of a sandbox without credentials, over REST with the password
``demo``.

What tutorials may rely on stands in `Facts`. Besides: commands are delivered and not kept, so no history has any; what
was recalled is gone, and replies to it (``ext.reply_to``) point to nothing; a reply's ``reply_to`` is a message id.
"""

from __future__ import annotations

from dataclasses import dataclass

SEED, THREADS, MESSAGES = 7, 40, 8000
PASSWORD = "demo"
_FEWEST_THREADS, _FEWEST_MESSAGES, _MOST_THREADS = 10, 500, 100_000


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Which community.

    Args:
        seed: any number; another one, another community with the same people and the same facts.
        threads: how many threads, 10 to 100,000.
        messages: how many messages all histories hold, groups and threads together; at least 500, and 15 a thread.

    Raises:
        ValueError: too few or too many.
    """

    seed: int = SEED
    threads: int = THREADS
    messages: int = MESSAGES

    def __post_init__(self) -> None:
        if not _FEWEST_THREADS <= self.threads <= _MOST_THREADS:
            raise ValueError(f"a demo has {_FEWEST_THREADS} to {_MOST_THREADS:,} threads, not {self.threads}")
        fewest = max(_FEWEST_MESSAGES, 15 * self.threads)
        if self.messages < fewest:
            raise ValueError(f"a demo of {self.threads} threads has at least {fewest:,} messages, not {self.messages}")


@dataclass(frozen=True)
class Facts:
    """What is true of the community, whatever the seed (from some 3,000 messages on: the small ones are too few).

    Attributes:
        reader: the user id that is in every group and thread and says nothing.
        busiest_writer: who writes the most.
        quickest_replier: whose replies (``ext.reply_to``) come soonest, by the median: some eight seconds.
        slowest_replier: whose replies come last: many hours later.
        night_owl: who writes mostly between 22:00 and 6:00 in Shanghai (and lives in Berlin).
        best_marks: who gives the highest marks (``ext.score``, 1 to 5) on average.
        muted: who may not speak any more in the group `muted_in`.
        muted_in: that group's name.
        muted_since: the day from which on, in Shanghai.
        busiest_thread: the thread with the most messages; over a third of them on its last day, `busiest_day`.
        busiest_day: the day with the most messages, in Shanghai.
        quiet_week: the Monday of the week with the fewest: Spring Festival (春节).
        unanswered_thread: the thread in which only the one who opened it has spoken.
        revived_thread: silent for more than two weeks, and then taken up again.
        pictures_thread: the thread with the most pictures.
        edits_thread: the thread with the most edited messages.
        cards_thread: where everybody has put a card, ``Custom("card", {"name": …, "city": …})``, once.
        digest_thread: where a bundle (合并消息) comes every Monday morning.
        shop_group: the group whose messages carry ``ext.priority``, 1 (now) to 3 (some day).
    """

    reader: str = "reader"
    busiest_writer: str = "chen.yun"
    quickest_replier: str = "lin.xiaomei"
    slowest_replier: str = "zhou.bo"
    night_owl: str = "nora.feld"
    best_marks: str = "ayumi.sato"
    muted: str = "wei.ke"
    muted_in: str = "Group orders 团购"
    muted_since: str = "2026-03-10"
    busiest_thread: str = "Spring oolong order 春季乌龙团购"
    busiest_day: str = "2026-03-14"
    quiet_week: str = "2026-02-16"
    unanswered_thread: str = "Blue gaiwan, lost 谁看到蓝盖碗"
    revived_thread: str = "Kettle repair 修水壶"
    pictures_thread: str = "Photo wall 照片墙"
    edits_thread: str = "Menu in two languages 双语菜单"
    cards_thread: str = "Who is who 认识一下"
    digest_thread: str = "Weekly digest 每周摘要"
    shop_group: str = "Shop floor 门店"


FACTS = Facts()
