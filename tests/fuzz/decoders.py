"""The decoders of bytes from the service, from other clients and from files of strangers, for a fuzzer.

Each decoder takes any bytes. It must return a value that can be shown, or raise one of imkit's documented errors, which
it takes itself. `tests/fuzz/run.py` gives them to atheris: `make fuzz`. `tests/fuzz/test_decoders.py` runs each once
over the first inputs (`seeds`), so that none rots.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import io
import json
import os
import tempfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

import imkit
from imkit.archive import catalogue, live_log
from imkit.client import discovery, environment
from imkit.client.account import Account
from imkit.client.attachments import upload_attachment
from imkit.client.credentials import Credentials
from imkit.client.discovery import Hosts, discover
from imkit.client.http import Answer, OpenAnswer, RequestFailed
from imkit.client.redaction import redacted
from imkit.client.rest import json_object
from imkit.client.rest_errors import refusal
from imkit.client.wire_log import decode_frame
from imkit.errors import ArchiveError, ConnectionLost, IMError, InvalidMessage, ProtocolError
from imkit.escape import file_name_for_disk
from imkit.events import Event
from imkit.history import bulk_decode, columns
from imkit.messages import Attachment, File, Message
from imkit.portal import portal
from imkit.sandbox import proven_calls
from imkit.sandbox.proof import PROOF_HEADER, same_proof, server_proof
from imkit.session import Session
from imkit.wire import bundle, schema
from imkit.wire.downlink import decode_meta, decode_roamed
from imkit.wire.enums import FrameCommand, NameSpace, StatusCode
from imkit.wire.envelope import GROUP_DOMAIN, Identity
from imkit.wire.protocol import ClientProtocol, Deliver
from imkit.wire.rest_message import message_from_json
from imkit.wire.roaming_page import parse_page
from imkit.wire.untrusted_json import json_value
from tests.sandbox.server.offline_server import OfflineServer
from tests.sandbox.server.raw_client import SYNC, frame

GOLDEN = Path(__file__).parents[1] / "golden"
Decoder = Callable[[bytes], None]


def check_message(message: Message | None) -> None:
    """Show a message, and convert it, in each way that imkit does."""
    if message is None:
        return
    repr(message).encode()
    message._repr_html_().encode()
    json.dumps(dict(message.ext), allow_nan=False).encode()
    columns.batch_of([message])
    if isinstance(message.body, Attachment):
        name = file_name_for_disk(message.body.file_name or "", "file")
        assert name
        assert not set(name) & {"/", "\\", "\0"}


def check_event(event: Event) -> None:
    repr(event).encode()
    for name in ("message", "last_message"):
        check_message(getattr(event, name, None))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine waits")


def chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks in `data`. Each has its length before it, as two bytes."""
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 2], "big")
        yield data[offset + 2 : offset + 2 + size]
        offset += 2 + size


def chunk(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


# ---------------------------------------------------------------- the decoders

LOGIN = schema.MSync(
    command=FrameCommand.PROVISION,
    payload=schema.Provision(status=schema.Status(errorCode=StatusCode.OK), resource="web").SerializeToString(),
).SerializeToString()


def fuzz_frames(data: bytes) -> None:
    """Receive frames, with 7 s between them. The first byte of `data` says whether the login comes before them."""
    protocol = ClientProtocol(Identity("org#app", "alice", "web"), wall_clock=lambda: 1_795_390_333.0)
    protocol.connect("token", now=0.0)
    if data[:1] != b"\0":
        protocol.receive(LOGIN, now=0.0)
    now = 0.0
    for received in chunks(data[1:]):
        for output in protocol.receive(received, now):
            if isinstance(output, Deliver):
                for event in output.events:
                    check_event(event)
        now += 7.0
        protocol.tick(now)


def fuzz_meta(data: bytes) -> None:
    decoded = decode_meta(data)
    for event in decoded if isinstance(decoded, tuple) else (decoded,):
        if isinstance(event, Event):
            check_event(event)


def fuzz_notice(data: bytes) -> None:
    fuzz_meta(schema.Meta(id=7, ns=NameSpace.NOTIFY, payload=data).SerializeToString())


def fuzz_payload(data: bytes) -> None:
    for namespace in (NameSpace.CHAT, NameSpace.MUC, NameSpace.STATISTIC):
        fuzz_meta(schema.Meta(id=7, ns=namespace, payload=data).SerializeToString())


def fuzz_roamed(data: bytes) -> None:
    check_message(decode_roamed(data))


def fuzz_bulk(data: bytes) -> None:
    """Decode Metas in bulk and one by one, and compare the results."""
    metas = list(chunks(data))
    in_bulk = columns.to_batch(metas)
    in_bulk.validate(full=True)
    one_by_one = columns.batch_of(message for meta in metas if (message := decode_roamed(meta)) is not None)
    assert repr(in_bulk.to_pydict()) == repr(one_by_one.to_pydict())


def check_page(content: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for entry in parse_page(content).entries:
            check_message(decode_roamed(entry))


def fuzz_page(data: bytes) -> None:
    """Parse the bytes as a page of roaming history, and as the two entries of a valid page."""
    check_page(data)
    halves = [data[: len(data) // 2], data[len(data) // 2 :]]
    entries = [{"msg": base64.b64encode(half).decode()} for half in halves]
    check_page(json.dumps({"data": {"msgs": entries, "is_last": False, "next_key": "7"}}).encode())


def fuzz_bundle(data: bytes) -> None:
    with_magic = b"cm" + data
    for candidate in (data, with_magic, with_magic + bytes([bundle.check_byte(with_magic)])):
        with contextlib.suppress(ProtocolError):
            for message in bundle.unpack(candidate):
                check_message(message)


class FuzzedHttpClient:
    """An HTTP client that answers each request with `data`."""

    data = b""
    left = 1_000_000  # after so many requests it answers no more
    is_closed = False

    def __init__(self, *_: Any) -> None:
        pass

    async def __aenter__(self) -> FuzzedHttpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def request(self, *_: Any, **__: Any) -> Answer:
        FuzzedHttpClient.left -= 1
        if self.left < 0:
            raise RequestFailed("closed")
        return Answer(200, {}, self.data)


def fuzz_discovery(data: bytes) -> None:
    FuzzedHttpClient.data = data
    try:
        found = run(discover("org#app"))
    except ConnectionLost:
        return
    assert isinstance(found, Hosts)
    assert found.rest_url.startswith("https://")
    assert found.ws_url.startswith("wss://")


def fuzz_rest_refusal(data: bytes) -> None:
    body = json_object(data)
    for status in (200, 400, 401, 403, 404, 429, 500, 503):
        error = refusal("GET /x", status, body, ("chatgroups",))
        assert isinstance(error, IMError)
        assert "\n" not in str(error)
        str(error).encode()


def fuzz_wire_log(data: bytes) -> None:
    for direction in ("up", "down"):
        command, content = decode_frame(data, direction)
        json.dumps([command, redacted(content)]).encode()


# ------------------------------------------------------------------ REST answers


def fuzz_rest_message(data: bytes) -> None:
    check_message(message_from_json(json_value(data)) if data else None)


def fuzz_http_body(data: bytes) -> None:
    """Undo the coding of a body. The first byte says which coding the answer declares, the next the size of a piece."""
    codings = ["gzip", "", "identity", "x-gzip", "deflate", "gzip, gzip", "br"]
    size, most = (data[1] if len(data) > 1 else 0) + 1, 100_000

    async def parts() -> AsyncIterator[bytes]:
        for start in range(2, len(data), size):
            yield data[start : start + size]

    async def read() -> int:
        coding = codings[data[0] % len(codings) if data else 0]
        answer = httpx.Response(200, headers={"content-encoding": coding}, content=parts())
        return sum([len(chunk) async for chunk in OpenAnswer(answer, 5.0).chunks(most)])

    with contextlib.suppress(RequestFailed):
        assert runner().run(read()) <= most


def fuzz_token_answer(data: bytes) -> None:
    """Log in with a password: the answer has the token."""
    rest = mock.Mock()
    rest.request = rest.content = answered(data)
    rest.rest_url = rest.base_url = "https://a1.example.com"
    credentials = Credentials("alice", imkit.App("org#app"), rest, password="secret")
    try:
        token = runner().run(credentials.token())
    except IMError:
        return
    finally:
        credentials.close()
    assert token.isascii()
    assert token.isprintable()


def answered(data: bytes) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def answer(*_: Any, **__: Any) -> Any:
        found = json_object(data)
        if found is None:
            raise ProtocolError("the answer is not a JSON object")
        return found

    return answer


class _Received:
    """A connection on which the bytes of an answer have come."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)

    def getresponse(self) -> http.client.HTTPResponse:
        reply = http.client.HTTPResponse(self)
        reply.begin()
        return reply


def fuzz_sandbox_answer(data: bytes) -> None:
    """Read the whole answer of a program at the sandbox's address."""
    try:
        _, headers, content = proven_calls._read(_Received(data))
    except (proven_calls.NotProven, OSError, http.client.HTTPException):
        return
    same_proof(server_proof("secret", "1", "2", content), headers.get(PROOF_HEADER))
    assert isinstance(proven_calls._json_object(content), dict)


def fuzz_rest_answer(data: bytes) -> None:
    """Answer a call of a session with these bytes. The first byte selects the call."""
    if not data:
        return
    FuzzedHttpClient.data = data[1:]
    call = REST_CALLS[data[0] % len(REST_CALLS)]

    async def ask() -> None:
        with contextlib.suppress(IMError):
            # A service that goes on for ever is no matter of decoding: a call may ask at most so often.
            FuzzedHttpClient.left = 20
            found = await call(offline_session())
            repr(found).encode()

    portal().call(ask())


async def listed(listing: Any) -> list[Any]:
    return [item async for item in listing]


REST_CALLS: list[Callable[[Session], Awaitable[Any]]] = [
    lambda session: listed(session.groups()),
    lambda session: listed(session.threads()),
    lambda session: listed(session.group("42").threads()),
    lambda session: listed(session.group("42").members()),
    lambda session: listed(session.thread("42").members()),
    lambda session: listed(session.thread("42").messages(limit=5)),
    lambda session: session.last_messages.aio(["42", "43"]),
    lambda session: session.thread("42").refresh.aio(),
    lambda session: session.thread("42").join.aio(),
    lambda session: session.thread("42").rename.aio("tea"),
    lambda session: session.create_group.aio("tea"),
    lambda session: session.group("42").create_thread.aio("tea", "7"),
    lambda session: session.thread("42").history.aio(progress=False),
    lambda session: upload_attachment(session.account, "42", File(b"1", file_name="a")),
]
_sessions: list[Session] = []


def offline_session() -> Session:
    """Return a session without a connection, whose REST calls `FuzzedHttpClient` answers. Made on imkit's loop."""
    if not _sessions:
        hosts = Hosts("http://127.0.0.1:9", "ws://127.0.0.1:9")
        app = imkit.App("org#app", max_requests_per_second=None)
        account = Account("alice", app, hosts, token="t0ken")
        account.rest._http = FuzzedHttpClient()  # type: ignore[assignment]  # it has only what is called
        _sessions.append(Session(account))
    return _sessions[0]


# --------------------------------------------------------------- files of strangers


def fuzz_env_file(data: bytes) -> None:
    """Read a `.env` file, and make an app of it."""
    path = folder() / ".env"
    path.write_bytes(data)
    with contextlib.chdir(folder()):
        found = environment.settings()
    with contextlib.suppress(InvalidMessage):
        repr(imkit.App.of_settings(found)).encode()


class Files:
    """An archive's files, in memory."""

    place = "memory"

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def names(self, folder: str) -> list[str]:
        return sorted(name for name in self._files if name.startswith(f"{folder}/"))

    def read(self, name: str) -> bytes:
        try:
            return self._files[name]
        except KeyError:
            raise FileNotFoundError(name) from None


def fuzz_catalogue(data: bytes) -> None:
    """Load a catalogue: the bytes as a file, and as the content of one with a valid checksum."""
    found = json_object(data)
    for content in [data] if found is None else [data, catalogue._with_digest(found)]:
        for name in ("000000000001.commit.json", "000000000001.checkpoint.json"):
            files: Any = Files({f"{catalogue.FOLDER}/{name}": content})
            try:
                state = catalogue.load(files)
            except ArchiveError as error:
                str(error).encode()
                continue
            names = [file.name for kind in ("messages", "versions", "attachments") for file in state.files_of(kind)]
            assert all(".." not in name and name.isascii() for name in [*names, *state.retired])
            catalogue.orphans(files, state)


def fuzz_live_log(data: bytes) -> None:
    files: Any = Files({f"{live_log.FOLDER}/day=2026-11-27/1-missed.json": data})
    live_log.live_table(files).validate(full=True)
    for missed in live_log.missed_events(files):
        str(missed).encode()


# ------------------------------------------------------------- the sandbox's server


def server() -> OfflineServer:
    if not _servers:
        _servers.append(OfflineServer())
    return _servers[0]


_servers: list[OfflineServer] = []
_runners: list[asyncio.Runner] = []
_folders: list[Path] = []


def runner() -> asyncio.Runner:
    if not _runners:
        _runners.append(asyncio.Runner())
    return _runners[0]


def folder() -> Path:
    """Return a folder in memory, if there is such a place, above which no other `.env` file counts."""
    if not _folders:
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        _folders.append(Path(tempfile.mkdtemp(prefix="imkit-fuzz-", dir=memory)))
        (_folders[0] / ".git").mkdir()
    return _folders[0]


def fuzz_server_frames(data: bytes) -> None:
    """Give frames of a client that has logged in to the server: it may close the socket, but never fail itself."""
    check_closed(list(chunks(data)))


def fuzz_server_body(data: bytes) -> None:
    to = schema.JID(name=server().thread, domain=GROUP_DOMAIN)
    meta = schema.Meta(id=1, to=to, ns=NameSpace.CHAT, payload=data)
    check_closed([frame(SYNC, schema.CommSyncUL(meta=meta))])


def check_closed(frames: list[bytes]) -> None:
    connection = runner().run(server().receive(frames))
    assert connection._close is None or connection._close[0] != 1011


def fuzz_server_rest(data: bytes) -> None:
    """Ask the server. The first byte selects the call; the rest is the body."""
    if not data:
        return
    method, path = SERVER_CALLS[data[0] % len(SERVER_CALLS)]
    kind = "multipart/form-data; boundary=b" if path == "/chatfiles" else "application/json"

    async def ask() -> int:
        transport = httpx.ASGITransport(server().application)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/imkit/sandbox") as client:
            headers = {"Authorization": f"Bearer {server().token}", "Content-Type": kind}
            target = path.format(thread=server().thread)
            return (await client.request(method, target, content=data[1:], headers=headers)).status_code

    assert runner().run(ask()) < 500


SERVER_CALLS = [
    ("POST", "/users/alice/messageroaming"), ("POST", "/thread/message"), ("POST", "/thread"),
    ("PUT", "/thread/{thread}"), ("POST", "/thread/{thread}/users"), ("POST", "/chatgroups"), ("POST", "/token"),
    ("POST", "/users"), ("POST", "/messages/msg_recall"), ("POST", "/chatfiles"),
]  # fmt: skip

DECODERS: dict[str, Decoder] = {
    decoder.__name__.removeprefix("fuzz_"): decoder
    for decoder in (
        fuzz_frames, fuzz_meta, fuzz_notice, fuzz_payload, fuzz_roamed, fuzz_page, fuzz_bundle, fuzz_bulk,
        fuzz_discovery, fuzz_rest_refusal, fuzz_rest_message, fuzz_rest_answer, fuzz_http_body, fuzz_token_answer,
        fuzz_sandbox_answer, fuzz_wire_log, fuzz_env_file, fuzz_catalogue, fuzz_live_log, fuzz_server_frames,
        fuzz_server_body, fuzz_server_rest,
    )
}  # fmt: skip


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Let small inputs reach the bulk decoders, and let no request leave this machine."""
    with (
        mock.patch.object(columns, "_MIN_BULK_METAS", 0),
        mock.patch.object(bulk_decode, "_MIN_BULK_EXTS", 0),
        mock.patch.object(discovery, "HttpClient", FuzzedHttpClient),
        mock.patch.dict(os.environ),
    ):
        for name in [name for name in os.environ if name.startswith("IMKIT_")]:
            del os.environ[name]
        yield


# ------------------------------------------------------------------- the first inputs


def recorded(value: Any) -> Iterator[bytes]:
    """Yield the bytes of every frame in a recording, at any depth."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "hex":
            yield bytes.fromhex(item)
        elif isinstance(item, dict | list):
            yield from recorded(item)


def seeds() -> Iterator[tuple[Decoder, bytes]]:
    """Yield decoders with valid inputs: the recorded frames of the official SDK, and three REST answers."""
    for path in sorted(GOLDEN.glob("*.json")):
        for data in recorded(json.loads(path.read_text())):
            if data.startswith(b"cm"):
                yield fuzz_bundle, data
            else:
                yield fuzz_frames, b"\1" + chunk(data)
                yield fuzz_wire_log, data
                yield fuzz_server_frames, chunk(data)
                yield from seeds_of_metas(schema.MSync.FromString(data))
    host = {"protocol": "https", "domain": "a1.easemob.com", "port": 443}
    hosts = {"rest": {"hosts": [host]}, "msync-wx": {"hosts": [{**host, "ip": "10.0.0.1"}]}}
    yield fuzz_discovery, json.dumps(hosts).encode()
    page = {"data": {"msgs": [{"msg": "AA=="}], "is_last": True, "next_key": ""}}
    yield fuzz_page, json.dumps(page).encode()
    refused = {"error": "invalid_grant", "error_code": 40011, "error_description": "x"}
    yield fuzz_rest_refusal, json.dumps(refused).encode()


def seeds_of_metas(frame: Any) -> Iterator[tuple[Decoder, bytes]]:
    if frame.command != FrameCommand.SYNC:
        return
    metas = [bytes(meta) for meta in schema.LooseSyncDL.FromString(frame.payload).metas]
    metas.append(schema.CommSyncUL.FromString(frame.payload).meta.SerializeToString())
    for meta in filter(None, metas):
        for decoder in (fuzz_meta, fuzz_roamed, fuzz_page):
            yield decoder, meta
        yield fuzz_bulk, chunk(meta)
        parsed = schema.Meta.FromString(meta)
        yield fuzz_notice if parsed.ns == NameSpace.NOTIFY else fuzz_payload, parsed.payload
        yield fuzz_server_body, parsed.payload


def seeds_of_answers() -> Iterator[tuple[Decoder, bytes]]:
    """Yield valid answers, files and bodies."""
    message = {
        "id": "7", "from": "org#app_alice", "to": "org#app_42", "timestamp": 1_795_390_333_000,
        "payload": {"bodies": [{"type": "txt", "msg": "tea"}], "ext": {"a": 1}, "from": "alice", "to": "42"},
    }  # fmt: skip
    yield fuzz_rest_message, json.dumps(message).encode()
    thread = {
        "id": "42",
        "name": "tea",
        "groupId": "1",
        "msgId": "7",
        "owner": "alice",
        "created": 1,
        "thread_id": "42",
    }
    answers = [
        {"entities": [{**thread, "thread_id": "42", "groupid": "1", "last_message": message}], "count": 1},
        {"data": {**thread, "thread_id": "42", "affiliations": ["alice"]}, "properties": {"cursor": "c"}},
        {"data": [{"member": "alice"}, {"owner": "bob"}], "entities": [{"uuid": "u", "share-secret": "s"}]},
        {"data": {"msgs": [{"msg": "AA=="}], "is_last": True, "next_key": ""}},
    ]  # fmt: skip
    for answer in answers:
        for number in range(len(REST_CALLS)):
            yield fuzz_rest_answer, bytes([number]) + json.dumps(answer).encode()
    for number, compress in ((0, True), (1, False), (5, True)):
        body = b'{"tea": 1}' * 9
        compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        coded = compressor.compress(body) + compressor.flush() if compress else body
        yield fuzz_http_body, bytes([number, 20]) + coded
    yield fuzz_token_answer, json.dumps({"access_token": "YWMt", "expires_in": 3600}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nImkit-Proof: 00\r\n"
    yield fuzz_sandbox_answer, head + b'Content-Length: 11\r\n\r\n{"token":1}'
    yield fuzz_sandbox_answer, head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    yield fuzz_env_file, "# 茶\nIMKIT_APP_KEY=org#app\nexport IMKIT_REST_URL='https://a1.easemob.com' # x\n".encode()


def seeds_of_files() -> Iterator[tuple[Decoder, bytes]]:
    file = {
        "name": "messages/day=2026-11-27/1-0a.parquet", "kind": "messages", "day": "2026-11-27", "rows": 1, "size": 9,
        "sha256": "0" * 64, "first": 1_795_737_600_000, "last": 1_795_737_600_001,
    }  # fmt: skip
    conversation = {"id": "42", "name": "tea", "covered": [[1, 2]], "later": 1}
    commit = {
        "format": 1,
        "added": [file],
        "removed": [],
        "conversations": [conversation],
        "app_key": "org#app",
        "at": 9,
    }
    checkpoint = {"format": 1, "number": 1, "app_key": "", "files": [file], "conversations": [conversation]}
    for content in (commit, checkpoint):
        yield fuzz_catalogue, json.dumps(content).encode()
        yield fuzz_catalogue, catalogue._with_digest(content)
    entry = {"event": "recalled", "at": 1_795_737_600_000, "message_id": "7", "seconds_after": 1.5, "edit_count": 0}
    missed = {"event": "missed", "since": 1, "at": 2, "missed": 3}
    yield fuzz_live_log, b"\n".join(json.dumps(each).encode() for each in (entry, missed))


def seeds_of_requests() -> Iterator[tuple[Decoder, bytes]]:
    body = {
        "queue": f"{server().thread}@{GROUP_DOMAIN}", "start": -1, "end": -1, "pull_number": 5, "is_positive": True,
        "threadIds": [server().thread], "name": "tea", "msg_id": "7", "group_id": "1", "groupname": "tea",
        "members": [], "usernames": ["bob"], "grant_type": "password", "username": "alice", "password": "x", "to": "1",
    }  # fmt: skip
    for number in range(len(SERVER_CALLS)):
        yield fuzz_server_rest, bytes([number]) + json.dumps(body).encode()
    upload = SERVER_CALLS.index(("POST", "/chatfiles"))
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    yield fuzz_server_rest, bytes([upload]) + head + b"tea\r\n--b--\r\n"


def inputs(name: str) -> list[bytes]:
    """Return the first inputs of a decoder; all decoders get the empty one."""
    every: Iterable[tuple[Decoder, bytes]] = (
        pair for some in (seeds, seeds_of_answers, seeds_of_files, seeds_of_requests) for pair in some()
    )
    return [b"", *dict.fromkeys(data for decoder, data in every if decoder is DECODERS[name])]
