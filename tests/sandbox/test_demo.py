"""The demo community: its `FACTS` are true, it is the same each time, and it does not disturb other data."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from PIL import Image

import imkit
from imkit.sandbox.demo import FACTS, MESSAGES, THREADS, Demo
from imkit.sandbox.server.demo.cast import GROUP_PROFILES, PEOPLE
from imkit.sandbox.server.demo.fill import fill
from imkit.sandbox.server.demo.plan import END
from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.store import Store, id_time, now_ms
from imkit.sandbox.server.users import Users
from tests.sandbox.server.raw_client import WAIT

ROOT = Path(__file__).parents[2]
SMALL = Demo(threads=12, messages=900)


@pytest.fixture(scope="module")
def community(_isolated_session: None) -> Iterator[imkit.Sandbox]:
    with imkit.Sandbox.demo() as running:
        yield running


@pytest.fixture(scope="module")
def reader(community: imkit.Sandbox) -> Iterator[imkit.Session]:
    with imkit.login(FACTS.reader, app=community.app) as session:
        yield session


@pytest.fixture(scope="module")
def frame(reader: imkit.Session) -> pd.DataFrame:
    """All messages, with Shanghai times and the attributes as columns."""
    everything = reader.history([*reader.groups(), *reader.threads()])
    assert everything.im.source["complete"]
    shanghai = everything.im.local("Asia/Shanghai")
    return shanghai.join(everything.im.ext("reply_to", "score", "priority", "mood"))


def said_in(frame: pd.DataFrame, thread: str) -> pd.DataFrame:
    return frame[frame.thread_name == thread]


# ---------------------------------------------------------------- size and kinds


def test_it_has_the_wanted_size(reader: imkit.Session, frame: pd.DataFrame) -> None:
    threads, groups = list(reader.threads()), list(reader.groups())
    assert (len(frame), len(threads), len(groups)) == (MESSAGES, THREADS, len(GROUP_PROFILES))
    assert {group.name for group in groups} == {profile.name for profile in GROUP_PROFILES}
    assert max(len(thread.name or "") for thread in threads) <= 64
    assert frame.message_id.is_unique
    assert frame.sender.nunique() == len(PEOPLE)


def test_it_has_every_kind_of_message_that_is_stored(frame: pd.DataFrame) -> None:
    assert set(frame.type) == {"txt", "img", "audio", "video", "file", "loc", "custom", "combine"}
    assert frame.edit_count.sum() > 50
    assert frame.reactions.notna().sum() > 100
    (one, *_) = json.loads(frame.reactions.dropna().iloc[0])
    assert set(one) == {"reaction", "count", "userList", "state"}
    assert min(one["count"], 3) == len(one["userList"])  # the service names the first three
    assert frame.text.str.contains("https://").sum() > 50
    assert frame.text.str.contains("[\u4e00-\u9fff]").mean() > 0.3
    assert frame.text.str.contains("[\U0001f300-\U0001faff]").mean() > 0.1


def test_the_users_of_a_reaction_can_be_listed(reader: imkit.Session, frame: pd.DataFrame) -> None:
    row = frame[frame.reactions.str.contains('"count":4').fillna(False)].iloc[0]
    conversation = reader.group(row.group_id) if pd.isna(row.thread_id) else reader.thread(row.thread_id)
    found = {each.reaction: each for each in conversation.reactions(row.message_id)}
    for shown in json.loads(row.reactions):
        listed = found[shown["reaction"]]
        assert (listed.count, len(listed.users), listed.mine) == (shown["count"], shown["count"], False)
        assert list(listed.users[:3]) == shown["userList"]


def test_people_quote_and_mention_each_other(frame: pd.DataFrame) -> None:
    attributes = frame.im.ext("msgQuote", "em_at_list", "reply_to")
    quotes = attributes.dropna(subset="msgQuote")
    texts = frame.set_index("message_id").text.fillna("")
    assert 0.2 < len(quotes) / attributes.reply_to.notna().sum() < 0.4
    for quote, reply_to in zip(quotes.msgQuote, quotes.reply_to, strict=True):
        assert set(quote) == {"msgID", "msgPreview", "msgSender", "msgType"}
        assert quote["msgID"] == reply_to
        is_text = quote["msgType"] == "txt"
        assert quote["msgPreview"] == (texts[reply_to] if is_text else f"[{quote['msgType']}]")
    mentions = attributes.em_at_list.dropna()
    everybody = mentions.map(lambda mentioned: mentioned == "ALL")
    assert everybody.sum() > 10
    assert mentions[~everybody].map(len).eq(1).all()
    assert frame.text[mentions.index].str.startswith("@").all()


def test_all_but_one_have_a_nickname(reader: imkit.Session, frame: pd.DataFrame) -> None:
    known = reader.users([person.user for person in PEOPLE])
    assert {user.id for user in known.values() if user.nickname is None} == {FACTS.without_nickname}
    assert known[FACTS.quickest_replier].nickname == "林晓梅"
    named = frame.im.named(reader)
    assert set(named.sender[named.sender_name.isna()]) == {FACTS.without_nickname}


def test_ids_contain_their_time(frame: pd.DataFrame) -> None:
    times = frame.time.astype("datetime64[ms, UTC]").astype("int64")
    assert (frame.message_id.astype("int64").map(id_time) == times).all()
    assert times.max() < END


def test_people_write_by_day(frame: pd.DataFrame) -> None:
    hours = frame.time.dt.hour.value_counts()
    assert hours[[1, 2, 3, 4, 5]].mean() < hours[[10, 15, 16, 21]].mean() / 5
    assert hours[[12, 13]].mean() < hours[[10, 11, 15, 16]].mean() * 0.7
    hikes = frame[frame.group_id == frame.group_id[frame.thread_name == FACTS.pictures_thread].iloc[0]]
    assert (hikes.time.dt.day_of_week >= 4).mean() > 0.5


# ---------------------------------------------------------------- the facts


def test_everybody_has_a_card_and_the_reader_is_silent(frame: pd.DataFrame) -> None:
    cards = said_in(frame, FACTS.cards_thread)
    assert set(cards.type) == {"custom"}
    assert set(cards.text) == {"card"}
    found = {row.sender: json.loads(str(row.payload))["params"] for row in cards.itertuples()}
    assert found == {person.user: {"name": person.name, "city": person.city} for person in PEOPLE}
    assert FACTS.reader not in set(frame.sender)


def test_the_busiest_writer_and_the_quickest_and_slowest_repliers(frame: pd.DataFrame) -> None:
    assert frame.sender.value_counts().index[0] == FACTS.busiest_writer
    asked = frame[["message_id", "time"]].rename(columns={"message_id": "reply_to", "time": "asked"})
    replies = frame.dropna(subset="reply_to").merge(asked, how="left", on="reply_to")
    recalled = replies.asked.isna()
    assert 10 < recalled.sum() < len(replies) / 20  # answers to recalled messages
    seconds = (replies.time - replies.asked).dt.total_seconds()
    medians = seconds.groupby(replies.sender.astype(str)).median().sort_values()
    assert (medians.index[0], medians.index[-1]) == (FACTS.quickest_replier, FACTS.slowest_replier)
    assert medians.iloc[0] < 12 < 30 < medians.iloc[1]
    assert medians.iloc[-1] > 4 * 3600
    assert (seconds.dropna() > 0).all()


def test_the_night_owl_and_the_best_marks(frame: pd.DataFrame) -> None:
    senders = frame.sender.astype(str)
    late = ~frame.time.dt.hour.between(6, 21)
    assert late.groupby(senders).mean().idxmax() == FACTS.night_owl
    assert late[senders == FACTS.night_owl].mean() > 0.9
    marks = frame.score.groupby(senders).agg(["mean", "count"])
    assert marks[marks["count"] >= 5]["mean"].idxmax() == FACTS.best_marks
    assert frame.score.dropna().between(1, 5).all()


def test_the_busiest_day_and_the_quiet_week(frame: pd.DataFrame) -> None:
    days = frame.time.dt.strftime("%Y-%m-%d")
    assert days.value_counts().index[0] == FACTS.busiest_day
    mondays = (frame.time - pd.to_timedelta(frame.time.dt.day_of_week, unit="D")).dt.strftime("%Y-%m-%d")
    assert mondays.value_counts().index[-1] == FACTS.quiet_week
    orders = days[frame.thread_name == FACTS.busiest_thread]
    assert (orders == FACTS.busiest_day).mean() > 1 / 3


def test_the_tutorials_threads(frame: pd.DataFrame) -> None:
    named = frame.dropna(subset="thread_name")
    names = named.thread_name.astype(str)
    assert names.value_counts().index[0] == FACTS.busiest_thread
    speakers = named.sender.astype(str).groupby(names).nunique()
    assert list(speakers[speakers == 1].index) == [FACTS.unanswered_thread]
    silences = named.sort_values("time").groupby("thread_name", observed=True).time.diff()
    assert silences[names == FACTS.revived_thread].max() > pd.Timedelta(days=14)
    assert names[named.type == "img"].value_counts().index[0] == FACTS.pictures_thread
    assert names[named.edit_count > 0].value_counts().index[0] == FACTS.edits_thread
    digests = named[(names == FACTS.digest_thread) & (named.type == "combine")]
    assert set(digests.time.dt.day_of_week) == {0}
    assert len(digests) == 7


def test_the_muted_user(community: imkit.Sandbox, reader: imkit.Session, frame: pd.DataFrame) -> None:
    group = next(group for group in reader.groups() if group.name == FACTS.muted_in)
    his = frame[frame.sender == FACTS.muted]
    since = pd.Timestamp(FACTS.muted_since, tz="Asia/Shanghai")
    assert his.time[his.group_id == group.id].max() < since < his.time.max()
    with imkit.login(FACTS.muted, app=community.app) as muted, pytest.raises(imkit.Muted):
        muted.group(group.id).send("May I?")


def test_only_the_shops_messages_have_priorities(reader: imkit.Session, frame: pd.DataFrame) -> None:
    shop = next(group for group in reader.groups() if group.name == FACTS.shop_group)
    assert set(frame.group_id[frame.priority.notna()]) == {shop.id}
    assert set(frame.priority.dropna()) == {1, 2, 3}


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_have_the_same_facts(seed: int) -> None:
    store, demo = Store(None), Demo(seed=seed, threads=30, messages=6000)
    assert fill(store, Users(store), MessageRecord(store), "imkit#sandbox", demo)
    talk = store.rows(
        "SELECT threads.name, sender, (messages.id >> 20) FROM messages LEFT JOIN threads ON threads.id = conversation"
    )
    frame = pd.DataFrame(talk, columns=["thread", "sender", "ms"])
    days = pd.to_datetime(frame.ms, unit="ms", utc=True).dt.tz_convert("Asia/Shanghai").dt.strftime("%Y-%m-%d")
    tops = [column.value_counts().index[0] for column in (frame.thread, frame.sender, days)]
    assert tops == [FACTS.busiest_thread, FACTS.busiest_writer, FACTS.busiest_day]
    speakers = frame.groupby("thread").sender.nunique()
    assert list(speakers[speakers == 1].index) == [FACTS.unanswered_thread]


# ---------------------------------------------------------------- using it


def test_threads_have_parent_messages(reader: imkit.Session) -> None:
    thread = next(thread for thread in reader.threads() if thread.name == FACTS.unanswered_thread)
    parent = thread.parent()
    assert parent is not None
    assert parent.sender == thread.owner == "gu.lan"
    assert parent.overview is not None
    assert (parent.overview.thread_id, parent.overview.message_count) == (thread.id, 3)
    assert {FACTS.reader, "gu.lan"} <= set(thread.members())


def test_attachments_are_real(reader: imkit.Session, tmp_path: Path) -> None:
    thread = next(thread for thread in reader.threads() if thread.name == FACTS.pictures_thread)
    message = next(iter(thread.messages(types=["img"], limit=1)))
    assert isinstance(message.body, imkit.Image)
    data = reader.download(message, tmp_path).read_bytes()
    assert len(data) == message.body.file_size
    assert Image.open(io.BytesIO(data)).size == (message.body.width, message.body.height)


def test_bundles_open(reader: imkit.Session) -> None:
    thread = next(thread for thread in reader.threads() if thread.name == FACTS.digest_thread)
    message = next(iter(thread.messages(types=["combine"], limit=1)))
    assert 4 <= len(reader.unpack(message)) <= 8


def test_new_messages_come_after_the_communitys(community: imkit.Sandbox, reader: imkit.Session) -> None:
    thread = next(thread for thread in reader.threads() if thread.name == FACTS.revived_thread)
    last = thread.last_message()
    with imkit.login("sun.hao", app=community.app) as sun:
        waiting = sun.events(imkit.MessageReceived)
        sent = sun.thread(thread.id).send("It leaks again. 又漏了")
        assert last is not None
        assert int(sent.id) > int(last.id)
        assert sent.time > last.time
        sun.thread(thread.id).recall(sent)
        # No old message of the community was in his queue.
        with pytest.raises(imkit.TimedOut):
            waiting.next(timeout=0.2)


# ---------------------------------------------------------------- making it


def everything(demo: Demo, store: Store) -> list[Any]:
    assert fill(store, Users(store), MessageRecord(store), "imkit#sandbox", demo)
    tables = ("messages", "threads", "groups", "members", "attachments")
    return [store.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_it_is_the_same_each_time() -> None:
    once, again = everything(SMALL, Store(None)), everything(SMALL, Store(None))
    assert once == again
    assert everything(Demo(seed=8, threads=12, messages=900), Store(None)) != once


def test_queues_are_empty_and_message_counts_are_right() -> None:
    store = Store(None)
    everything(SMALL, store)
    assert store.row("SELECT count(*) FROM pending") == (0,)
    assert store.row("SELECT count(*) FROM passing") == (0,)
    wrong = (
        "SELECT count(*) FROM threads WHERE messages != (SELECT count(*) FROM messages WHERE conversation = threads.id)"
    )
    assert store.row(wrong) == (0,)


def test_later_ids_are_larger_although_the_clock_is_behind() -> None:
    store = Store(None, clock=lambda: int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000))
    everything(SMALL, store)
    assert store.new_id() > store.row("SELECT max(id) FROM messages")[0]
    assert END < now_ms()  # with a right clock they are larger anyway


def test_it_is_added_once_and_other_data_stay(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    with imkit.Sandbox(path) as sandbox, imkit.login("reader", app=sandbox.app) as reader:
        mine = reader.create_group("mine").id
    with imkit.Sandbox.demo(threads=12, messages=900, path=path) as sandbox:
        with imkit.login("reader", app=sandbox.app) as reader:
            assert mine in {group.id for group in reader.groups()}
            assert len(list(reader.threads())) == 12
        sandbox.stop()
        sandbox.start()
        with imkit.login("reader", app=sandbox.app) as reader:
            assert len(list(reader.threads())) == 12


@pytest.mark.parametrize("wrong", [{"threads": 9}, {"messages": 499, "threads": 10}, {"threads": 100, "messages": 900}])
def test_a_too_small_demo_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a demo"):
        imkit.Sandbox.demo(**wrong)


def test_the_command_makes_it_and_prints_the_password_of_its_users() -> None:
    line = [sys.executable, "-m", "imkit", "sandbox", "--memory", "--demo", "--demo-seed=3", "--demo-threads=10"]
    with subprocess.Popen(
        [*line, "--demo-messages=600"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())
        login = {"grant_type": "password", "username": "lin.xiaomei", "password": address["demo_password"]}
        base = f"{address['rest_url']}/imkit/sandbox"
        token = httpx.post(f"{base}/token", json=login, timeout=WAIT, trust_env=False).json()["access_token"]
        listed = httpx.get(
            f"{base}/threads/user/lin.xiaomei",
            headers={"Authorization": f"Bearer {token}"},
            timeout=WAIT,
            trust_env=False,
        ).json()
        assert FACTS.cards_thread in {thread["name"] for thread in listed["entities"]}
        server.terminate()
        assert server.communicate(timeout=WAIT) == ("", "")


def test_the_commands_demo_options_need_demo() -> None:
    line = [sys.executable, "-m", "imkit", "sandbox", "--memory", "--demo-threads=12"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=WAIT, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert "go with --demo" in done.stderr
