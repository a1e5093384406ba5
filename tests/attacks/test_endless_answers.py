"""A hostile service sends what grows without end: compressed bombs, drips, endless lists, histories and notices."""

import gzip
import itertools
import json
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

import imkit
from imkit.client import account, http, list_pages, pins, reactions, receipts, roaming
from imkit.client.attachments import fetch_attachment
from imkit.client.credentials import app_server_token
from imkit.client.discovery import discover
from imkit.client.event_store import EventStore, EventStream
from imkit.client.http import HttpClient, RequestFailed
from imkit.client.roaming import PageChain, Query, RoamingPage
from imkit.events import Dropped, MessageReceived, ThreadChanged
from imkit.messages import Message, Text
from imkit.portal import portal
from imkit.repeated_warnings import RepeatedWarnings
from imkit.times import from_milliseconds
from imkit.wire import bundle, protocol, schema
from imkit.wire.envelope import Identity
from imkit.wire.protocol import ClientProtocol, Transmit
from tests.people import new_name
from tests.stand_ins import (
    Answer,
    envelope,
    http_stand_in,
    odd_session,
    read_command,
    roamed,
    socket_stand_in,
    text_meta,
    welcome,
)
from tests.timing import set_timing
from tests.waits import WAIT

MEGABYTE = 2**20
BOMB = gzip.compress(bytes(64 * MEGABYTE))  # 64 KB


async def ask(url: str, max_bytes: int | None = None) -> bytes:
    async with HttpClient(url) as client:
        return (await client.request("GET", url, max_bytes=max_bytes)).content


# ---------------------------------------------------------------- compression


def test_one_gzip_is_read() -> None:
    with http_stand_in(lambda _: Answer(200, gzip.compress(b"tea" * 100_000), {"Content-Encoding": "gzip"})) as server:
        assert portal().call(ask(server.url)) == b"tea" * 100_000
        assert server.asked[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "coding", ["gzip, gzip", "gzip,gzip,gzip,gzip", "deflate", "br", "zstd", "gzip, br", "x" * 9_000]
)
def test_a_chain_of_codings_is_not_undone(coding: str) -> None:
    body = BOMB
    for _ in range(coding.count(",")):
        body = gzip.compress(body)
    with http_stand_in(lambda _: Answer(200, body, {"Content-Encoding": coding})) as server:
        with pytest.raises(RequestFailed) as caught:
            portal().call(ask(server.url))
    assert caught.value.kind == "unreadable"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"tea")[:-6],
        gzip.compress(b"tea") + b"more",
        gzip.compress(b"a") + gzip.compress(b"b"),
        b"no gzip",
    ],
    ids=["cut", "more", "two", "none"],
)
def test_damaged_gzip_is_refused(body: bytes) -> None:
    with http_stand_in(lambda _: Answer(200, body, {"Content-Encoding": "gzip"})) as server:
        with pytest.raises(RequestFailed) as caught:
            portal().call(ask(server.url))
    assert caught.value.kind in ("unreadable", "broken")


def test_a_bomb_is_stopped_while_it_is_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []

    class Watched:
        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def decompress(self, part: bytes, limit: int) -> bytes:
            piece: bytes = self._real.decompress(part, limit)
            pieces.append(len(piece))
            return piece

    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda bits: Watched(real(bits)))
    with http_stand_in(lambda _: Answer(200, BOMB, {"Content-Encoding": "gzip"})) as server:
        with pytest.raises(RequestFailed, match="larger than 1,048,576 bytes"):
            portal().call(ask(server.url, MEGABYTE))
    assert max(pieces) <= http.CHUNK
    assert sum(pieces) <= MEGABYTE + http.CHUNK


def test_bombs_are_refused_by_every_call_that_reads_a_body() -> None:
    bomb = Answer(200, BOMB, {"Content-Encoding": "gzip"})
    with odd_session(lambda _: bomb) as (session, server):
        thread = session.thread("42")
        url = f"{server.url}/org/app/chatfiles/7"
        file = message(1, imkit.File(url=url, file_name="tea.txt"))
        bundled = message(2, imkit.Combine("title", url=url))
        calls: list[Callable[[], Any]] = [
            thread.refresh,
            thread.history,
            thread.last_message,
            lambda: list(thread.members()),
            lambda: list(thread.messages()),
            lambda: list(session.groups()),
            lambda: session.unpack(bundled),
            lambda: portal().call(fetch_attachment(session.account, file, MEGABYTE)),
        ]
        for call in calls:
            with pytest.raises(imkit.ProtocolError, match="larger than"):
                call()
        with pytest.raises(imkit.ProtocolError, match="larger than 1,048,576 bytes"):
            portal().call(app_server_token(server.url, "alice"))
        with pytest.raises(imkit.ConnectionLost, match="larger than 1,048,576 bytes"):
            portal().call(discover("org#app", (server.url,)))


def test_the_largest_page_is_read() -> None:
    """A streamed text has up to 128 KB, and a page has 50 messages."""
    metas = [text_meta(number, "x" * 128 * 1024) for number in range(1, 51)]
    page = json.dumps({"data": {"msgs": roamed(*metas), "is_last": True}}).encode()
    assert len(page) > 8 * MEGABYTE
    with odd_session(lambda _: Answer(200, page)) as (session, _):
        assert len(list(session.thread("42").messages())) == 50


def test_the_body_of_a_redirect_is_not_read(tmp_path: Any) -> None:
    def answer(asked: Any) -> Answer:
        if asked.path.endswith("/7"):
            return Answer(302, BOMB, {"Content-Encoding": "gzip, gzip", "Location": "/org/app/chatfiles/8"})
        if asked.path.endswith("/9"):
            return Answer(302, b"", {"Location": "/org/app/chatfiles/9"})
        return Answer(200, b"leaves")

    with odd_session(answer) as (session, server):
        file, circle = (message(n, imkit.File(url=f"{server.url}/org/app/chatfiles/{n}")) for n in (7, 9))
        assert session.download(file, tmp_path).read_bytes() == b"leaves"
        with pytest.raises(imkit.IMError):
            session.download(circle, tmp_path)
        assert len(server.asked) < 10


def test_cookies_do_not_pile_up() -> None:
    numbers = itertools.count()

    def answer(_: Any) -> Answer:
        return Answer(200, {"data": []}, {"Set-Cookie": f"c{next(numbers)}={'x' * 4_000}; Path=/"})

    with odd_session(answer) as (session, server):
        for _ in range(3):
            list(session.groups())
        assert all("cookie" not in asked.headers for asked in server.asked)


# ---------------------------------------------------------------- slow drips


@contextmanager
def dripping(head: bytes, drop: bytes) -> Iterator[str]:
    """Run a server that sends a head, and then a drop every 20 ms, for ever; yield its URL."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(head)
            while not over.wait(0.02):
                connection.sendall(drop)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        over.set()
        listening.shutdown(socket.SHUT_RDWR)


DRIPS = {
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n{", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "no answer yet": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_a_slow_drip_ends_with_the_time_of_the_whole_request(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)
    with dripping(*DRIPS[kind]) as url:
        with pytest.raises(imkit.TimedOut, match="no whole answer"):
            portal().call(app_server_token(url, "alice"))
        if kind == "a body":
            with pytest.raises(imkit.ConnectionLost, match="not complete"):
                portal().call(discover("org#app", (url,)))


def test_a_dripping_download_ends_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with odd_session(lambda _: Answer(200, {})) as (session, _), dripping(*DRIPS["a body"]) as url:
        monkeypatch.setattr(session.account.rest, "rest_url", url)
        monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)
        with pytest.raises(imkit.TimedOut, match="no whole answer"):
            session.download(message(1, imkit.File(url=f"{url}/org/app/chatfiles/7")), tmp_path)
        assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- lists and histories


def test_lists_that_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_pages, "MAX_LIST_PAGES", 7)
    numbers = itertools.count(1)

    def answer(_: Any) -> Answer:
        number = next(numbers)
        entry = {"id": str(number), "groupid": str(number), "member": f"user{number}"}
        return Answer(200, {"entities": [entry] * 20, "data": [entry] * 20, "properties": {"cursor": f"c{number}"}})

    with odd_session(answer) as (session, server):
        listings: list[Any] = [session.threads(), session.groups(), session.group("1").members()]
        for listing in listings:
            with pytest.raises(imkit.ProtocolError, match="does not end"):
                list(listing)
        assert len(server.asked) == 24


def test_users_of_a_message_that_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are collected before the call returns, so their number, their names and their words have limits."""
    for module, name in ((reactions, "MAX_USERS"), (receipts, "MAX_READERS"), (pins, "MAX_PINNED")):
        monkeypatch.setattr(module, name, 7 * list_pages.LIST_PAGE_SIZE)
    numbers = itertools.count(1)
    ends = False

    def answer(asked: Any) -> Answer:
        number = next(numbers)
        users = [f"user{number}", "x" * 100_000]
        named = [{"username": user, "ack_content": "x" * 100_000} for user in users]
        acks = {"userlist": named, "is_last": ends, "next_key": f"c{number}"}
        listed = [{"reaction": emoji, "count": 2**60, "userList": [], "state": False} for emoji in "👍🍵"]
        data: Any = {"userList": users, "cursor": "" if ends else f"c{number}", "group_ack": acks}
        data["msg_infos"] = [{"message": {"id": str(number), "payload": {}}}]
        if asked.path.endswith("/reaction/user/alice"):
            data = [{"msgId": "7", "reactionList": listed}]
        return Answer(200, {"data": data})

    with odd_session(answer) as (session, server):
        group = session.group("1")
        calls: list[Callable[[], Any]] = [lambda: group.reactions("7"), lambda: group.readers("7"), group.pinned]
        for call in calls:
            with pytest.raises(imkit.ProtocolError, match="does not end"):
                call()
        assert len(server.asked) == 25
        ends = True
        for reaction in group.reactions("7"):
            assert len(reaction.users) == 1
        assert [len(reader.words) for reader in group.readers("7")] == [5 * 1024]


def test_a_page_of_a_million_items_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_pages, "MAX_LIST_ENTRIES", 100_000)
    body = b'{"entities": [' + b"{}," * 1_000_000 + b"{}]}"
    with odd_session(lambda _: Answer(200, body)) as (session, _):
        with pytest.raises(imkit.ProtocolError, match="at most 100,000 entries"):
            list(session.threads())


def test_a_list_whose_pages_repeat_ends() -> None:
    entries = [{"groupid": str(number)} for number in range(20)]
    with odd_session(lambda _: Answer(200, {"data": entries})) as (session, server):
        assert len(list(session.groups())) == 20
        assert len(server.asked) == 2


def test_a_cursor_that_fits_into_no_url() -> None:
    body = {"entities": [{"id": "42"}], "properties": {"cursor": "c" * 70_000}}
    with odd_session(lambda _: Answer(200, body)) as (session, _):
        with pytest.raises(imkit.ProtocolError, match="the cursor has 70,000 characters"):
            list(session.threads())


def test_a_history_whose_pages_do_not_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(roaming, "MAX_PAGES", 10)
    chain = PageChain(Query(), newest_first=True)
    for number in range(20):
        chain.follow(RoamingPage([b"%d" % number], f"c{number}", is_last=False, is_empty=False))
        if chain.is_over:
            break
    assert chain.is_stuck  # so it is not complete
    assert number == 9
    assert "more than 10 pages" in caplog.text


def test_a_bundle_of_millions_of_messages_is_refused() -> None:
    data = b"cm" + b"\0\0\0\1\xff" * (bundle.MAX_UNPACKED + 1)
    with pytest.raises(imkit.ProtocolError, match="more than 3,000 messages"):
        bundle.unpack(data + bytes([bundle.check_byte(data)]))


# ---------------------------------------------------------------- notices, events, facts, warnings


def queue(number: int) -> Any:
    return schema.JID(appKey="org#app", name=f"{number}", domain="conference.easemob.com")


def test_queues_above_the_limit_are_asked_for_later_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service tells of 25 queues; imkit keeps 10 at a time, and empties all."""
    monkeypatch.setattr(protocol, "MAX_QUEUES", 10)
    full = {str(number) for number in range(25)}
    fetched: list[str] = []
    most = 0
    client = ClientProtocol(Identity("org#app", "alice", "web"))
    client.connect("token", now=0.0)
    outputs = client.receive(envelope("PROVISION", schema.Provision(status=schema.Status(errorCode=0))), 0.0)
    for _ in range(500):
        if not outputs:
            break
        output = outputs.pop(0)
        if not isinstance(output, Transmit):
            continue
        command, frame = read_command(output.data)
        asked = schema.CommSyncUL.FromString(frame.payload)
        if command == "UNREAD":
            unread = schema.CommUnreadDL(
                unread=[schema.MetaQueue(queue=queue(int(each)), n=1) for each in sorted(full)]
            )
            outputs += client.receive(envelope("UNREAD", unread), 0.0)
        elif command == "SYNC" and asked.HasField("queue") and not asked.HasField("key"):
            fetched.append(asked.queue.name)
            full.discard(asked.queue.name)
            page = schema.LooseSyncDL(queue=asked.queue, isLast=True)
            outputs += client.receive(envelope("SYNC", page), 0.0)
        most = max(most, len(client._socket.waiting))
    assert not full
    assert len(fetched) == 25
    assert most == 10


def test_a_queue_with_a_huge_name_is_ignored() -> None:
    client = ClientProtocol(Identity("org#app", "alice", "web"))
    client.connect("token", now=0.0)
    client.receive(envelope("PROVISION", schema.Provision(status=schema.Status(errorCode=0))), 0.0)
    name = schema.JID(name="x" * MEGABYTE, domain="d")
    assert client.receive(envelope("NOTICE", schema.CommNotice(queue=name)), 0.0) == []


def message(number: int, body: Any) -> Message:
    return Message(str(number), "mallory", "42", from_milliseconds(number), body)


def test_huge_events_push_the_oldest_ones_out() -> None:
    async def main() -> tuple[int, list[Any]]:
        store = EventStore(kept=1_000, kept_bytes=100)
        stream: Any = EventStream(store, (), replay=True)
        store.add([MessageReceived(message(number, Text("x"))) for number in range(10)], size_bytes=500)
        store.close()
        return store.end, [await stream.next_or_end() for _ in range(3)]

    end, events = portal().call(main())
    assert end == 10
    assert isinstance(events[0], Dropped)
    assert events[0].count == 8
    assert [event.message.id for event in events[1:]] == ["8", "9"]


def test_facts_about_too_many_threads_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "KNOWN_CONVERSATIONS", 3)
    known = account.KnownConversations()
    at = from_milliseconds(1)
    for thread_id in ["1", "2", "x" * 10**6, "3", "4", "5", "no digits"]:
        known.learn([ThreadChanged("update", thread_id, "n" * 10**6, "7", "mallory", at=at)])
        known.learn_group(thread_id, "n" * 10**6)
    assert list(known.threads) == ["3", "4", "5"]
    assert len(known.group_names) == 3
    assert all(len(facts.name or "") < 1_000 for facts in known.threads.values())


def test_a_warning_that_repeats_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limited = RepeatedWarnings()
    shown = []

    def warn(number: int) -> None:
        record = logging.makeLogRecord({"levelno": logging.WARNING, "msg": "item %d is bad", "args": (number,)})
        if limited.filter(record):
            shown.append(record.getMessage())

    for number in range(1_000):
        warn(number)
    now = 61.0
    warn(1_000)
    assert len(shown) == 6
    assert "only counted" in shown[4]
    assert shown[5] == "item 1000 is bad (and 995 more before)"


def test_a_page_of_unreadable_messages_is_a_few_lines_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def serve(sock: ServerConnection) -> None:
        welcome(sock)
        page = schema.LooseSyncDL(metas=[b"\xff%d" % number for number in range(300)], queue=queue(42), isLast=True)
        sock.send(envelope("SYNC", page))
        for _ in sock:
            pass

    with socket_stand_in(serve) as url:
        app = imkit.App("org#app", rest_url="http://127.0.0.1:9", ws_url=url)
        with imkit.login(new_name("alice"), app=app, token="t0ken") as session:
            heard = session.events(imkit.MessageReceived)
            for _ in range(300):
                assert isinstance(heard.next(timeout=WAIT), MessageReceived)
    assert len([record for record in caplog.records if "could not be read" in record.getMessage()]) <= 6


def test_a_message_of_endless_empty_fragments_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    set_timing(monkeypatch, close=0.2, delays=lambda: itertools.repeat(0.02))
    logins: list[int] = []

    def serve(sock: ServerConnection) -> None:
        welcome(sock)
        logins.append(1)
        if len(logins) == 1:
            ready.wait(WAIT)
            with suppress(OSError):
                sock.socket.sendall(b"\x02\x00" + b"\x00\x00" * 100_000)  # begins a message that has no end
        for _ in sock:
            pass

    ready = threading.Event()
    with socket_stand_in(serve) as url:
        app = imkit.App("org#app", rest_url="http://127.0.0.1:9", ws_url=url)
        with imkit.login(new_name("alice"), app=app, token="t0ken") as session:
            events = session.events(imkit.Connected, imkit.Disconnected, replay=False)
            ready.set()
            assert isinstance(events.next(timeout=WAIT), imkit.Disconnected)
            assert isinstance(events.next(timeout=WAIT), imkit.Connected)
