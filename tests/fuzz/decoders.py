"""Fuzzes, with atheris, every decoder that gets bytes from the service or from other clients.

`make fuzz` runs it for FUZZ_SECONDS. The first byte of an input selects the decoder. A decoder must return a value that
can be shown, or raise one of imkit's documented errors. Otherwise libFuzzer writes the input to a file, and
`python -m tests.fuzz.decoders FILE` runs it again.
"""

import base64
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import atheris

GOLDEN = Path(__file__).parents[1] / "golden"

with atheris.instrument_imports(include=["imkit"]):
    from imkit.client import discovery
    from imkit.client.discovery import Hosts, discover
    from imkit.client.http import Answer
    from imkit.client.redaction import redacted
    from imkit.client.rest import json_object
    from imkit.client.rest_errors import refusal
    from imkit.client.wire_log import decode_frame
    from imkit.errors import ConnectionLost, IMError, ProtocolError
    from imkit.escape import file_name_for_disk
    from imkit.events import Event
    from imkit.history import bulk_decode, columns
    from imkit.messages import Attachment, Message
    from imkit.wire import bundle, schema
    from imkit.wire.downlink import decode_meta, decode_roamed
    from imkit.wire.enums import FrameCommand, NameSpace, StatusCode
    from imkit.wire.envelope import Identity
    from imkit.wire.protocol import ClientProtocol, Deliver
    from imkit.wire.roaming_page import parse_page


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
    for frame in chunks(data[1:]):
        for output in protocol.receive(frame, now):
            if isinstance(output, Deliver):
                for event in output.events:
                    check_event(event)
        now += 7.0
        protocol.tick(now)


def fuzz_meta(data: bytes) -> None:
    event = decode_meta(data)
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

    def __init__(self, *_: Any) -> None:
        pass

    async def __aenter__(self) -> "FuzzedHttpClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def request(self, *_: Any, **__: Any) -> Answer:
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


DECODERS: list[Callable[[bytes], None]] = [
    fuzz_frames,
    fuzz_meta,
    fuzz_notice,
    fuzz_payload,
    fuzz_roamed,
    fuzz_page,
    fuzz_bundle,
    fuzz_discovery,
    fuzz_rest_refusal,
    fuzz_wire_log,
    fuzz_bulk,
]


def fuzz_one(data: bytes) -> None:
    if data:
        DECODERS[data[0] % len(DECODERS)](data[1:])


# ------------------------------------------------------------------- the first inputs


def recorded(value: Any) -> Iterator[bytes]:
    """Yield the bytes of every frame in a recording, at any depth."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "hex":
            yield bytes.fromhex(item)
        elif isinstance(item, dict | list):
            yield from recorded(item)


def seeds() -> Iterator[tuple[Callable[[bytes], None], bytes]]:
    """Yield decoders with valid inputs: the recorded frames of the official SDK, and three REST answers."""
    for path in sorted(GOLDEN.glob("*.json")):
        for data in recorded(json.loads(path.read_text())):
            if data.startswith(b"cm"):
                yield fuzz_bundle, data
            else:
                yield fuzz_frames, b"\1" + chunk(data)
                yield fuzz_wire_log, data
                yield from seeds_of_metas(schema.MSync.FromString(data))
    host = {"protocol": "https", "domain": "a1.easemob.com", "port": 443}
    hosts = {"rest": {"hosts": [host]}, "msync-wx": {"hosts": [{**host, "ip": "10.0.0.1"}]}}
    yield fuzz_discovery, json.dumps(hosts).encode()
    page = {"data": {"msgs": [{"msg": "AA=="}], "is_last": True, "next_key": ""}}
    yield fuzz_page, json.dumps(page).encode()
    refused = {"error": "invalid_grant", "error_code": 40011, "error_description": "x"}
    yield fuzz_rest_refusal, json.dumps(refused).encode()


def seeds_of_metas(frame: Any) -> Iterator[tuple[Callable[[bytes], None], bytes]]:
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


def write_seeds(folder: Path) -> None:
    for number, (decoder, data) in enumerate(seeds()):
        (folder / f"seed-{number:03}").write_bytes(bytes([DECODERS.index(decoder)]) + data)


def main() -> None:
    logging.disable(logging.CRITICAL)
    columns._MIN_BULK_METAS = bulk_decode._MIN_BULK_EXTS = 0
    mock.patch.object(discovery, "HttpClient", FuzzedHttpClient).start()
    arguments = sys.argv[1:]
    if not any(not argument.startswith("-") for argument in arguments):
        corpus = Path(os.environ.get("FUZZ_CORPUS") or tempfile.mkdtemp(prefix="imkit-fuzz-"))
        corpus.mkdir(parents=True, exist_ok=True)
        write_seeds(corpus)
        arguments = [str(corpus), "-max_len=8192", "-timeout=20", "-print_final_stats=1", *arguments]
    atheris.Setup([sys.argv[0], *arguments], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
