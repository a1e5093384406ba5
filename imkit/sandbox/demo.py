"""The demo community: what `Sandbox.demo()` and `imkit sandbox --demo` fill a sandbox with.

About three dozen friends of tea in Shanghai and elsewhere, six groups, and weeks of threads. All of it is written for
imkit and made from a seed: the same seed, number of threads and number of messages give the same messages, ids and
times. The community ends at midnight in Shanghai on Sunday, 29 March 2026, and begins eight weeks before. With more
than 20,000 messages it begins earlier, up to a year before.

To read everything, log in as `Facts.reader`: this user is in every group and thread and has written nothing. You can
also log in as any of the people: with the sandbox's app no credential is needed. Over REST all of them have one
password, drawn when the community is made: `Sandbox.demo_password` has it, and `imkit sandbox --demo` prints it.

`FACTS` has the facts that tutorials may rely on. Also: commands are delivered but not stored, so no history has any.
A reply's ``ext.reply_to`` is a message id. Recalled messages are gone, so replies to them name an id that no history
has. Of the other replies, three of ten quote the message (引用, ``ext.msgQuote``), and one of ten mentions its sender
(@提及, ``ext.em_at_list``). The owners and admins of the groups mention everybody now and then.
"""

from __future__ import annotations

from dataclasses import dataclass

SEED, THREADS, MESSAGES = 7, 40, 8000
_FEWEST_THREADS, _FEWEST_MESSAGES, _MOST_THREADS = 10, 500, 100_000


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The size and the seed of a demo community.

    Args:
        seed: any number; another seed gives another community with the same people and the same facts.
        threads: the number of threads, 10 to 100,000.
        messages: the number of messages in all groups and threads together; at least 500, and at least 15 a thread.

    Raises:
        ValueError: too few or too many threads, or too few messages.
    """

    seed: int = SEED
    threads: int = THREADS
    messages: int = MESSAGES

    def __post_init__(self) -> None:
        for name, value in (("seed", self.seed), ("threads", self.threads), ("messages", self.messages)):
            given: object = value
            if not isinstance(given, int):
                raise ValueError(f"{name} must be a whole number, not {given!r:.40}")
        if not _FEWEST_THREADS <= self.threads <= _MOST_THREADS:
            raise ValueError(f"a demo has {_FEWEST_THREADS} to {_MOST_THREADS:,} threads, not {self.threads}")
        fewest = max(_FEWEST_MESSAGES, 15 * self.threads)
        if self.messages < fewest:
            raise ValueError(f"a demo of {self.threads} threads has at least {fewest:,} messages, not {self.messages}")


@dataclass(frozen=True)
class Facts:
    """Facts that hold for every demo community of about 3,000 messages or more, whatever its seed.

    Attributes:
        reader: the user who is in every group and thread and has written nothing.
        busiest_writer: the user with the most messages.
        quickest_replier: the user with the shortest median time to a reply (``ext.reply_to``): about eight seconds.
        slowest_replier: the user with the longest median time to a reply: many hours.
        night_owl: the user who writes mostly between 22:00 and 6:00 in Shanghai (and lives in Berlin).
        best_marks: the user who gives the highest marks (``ext.score``, 1 to 5) on average.
        muted: the user who is muted in the group `muted_in`.
        muted_in: the name of that group.
        muted_since: the first day of the mute, in Shanghai.
        without_nickname: the user who has no nickname (昵称). The others have one, in 中文 or in another language.
        busiest_thread: the thread with the most messages; over a third of them are of `busiest_day`, its last day.
        busiest_day: the day with the most messages, in Shanghai.
        quiet_week: the Monday of the week with the fewest messages: Spring Festival (春节).
        unanswered_thread: the thread in which only its creator has written.
        revived_thread: the thread that was silent for more than two weeks and then continued.
        pictures_thread: the thread with the most pictures.
        edits_thread: the thread with the most edited messages.
        cards_thread: the thread where every person has sent one card, ``Custom("card", {"name": …, "city": …})``.
        digest_thread: the thread where a bundle (合并消息) arrives every Monday morning.
        shop_group: the group whose messages have an ``ext.priority``, 1 (now) to 3 (some day).
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
    without_nickname: str = "yan.mo"
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
