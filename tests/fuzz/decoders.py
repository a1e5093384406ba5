"""Everything a stranger's bytes reach, fuzzed with atheris: `make fuzz`, FUZZ_SECONDS long.

The first byte of an input picks the decoder. What may come out is a value, or the errors imkit promises; and what came
out must show itself. Anything else is a finding: libFuzzer writes the input to a file, and
`python -m tests.fuzz.decoders FILE` plays it again.
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
    from imkit.wire.envelope import Identity
    from imkit.wire.protocol import ClientProtocol, Deliver
    from imkit.wire.roaming_page import parse_page


def look_at(message: Message | None) -> None:
    """Show a message everywhere a reader might see it."""
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


def look_at_event(event: Event) -> None:
    repr(event).encode()
    for name in ("message", "last_message"):
        look_at(getattr(event, name, None))


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


# ---------------------------------------------------------------- the decoders

LOGIN = schema.MSync(
    command=3, payload=schema.Provision(status=schema.Status(errorCode=0), resource="web").SerializeToString()
).SerializeToString()


def frames(data: bytes) -> None:
    """Frames, one behind the other, each with its length in front; then time passes."""
    protocol = ClientProtocol(Identity("org#app", "alice", "web"), wall_clock=lambda: 1_795_390_333.0)
    protocol.connect("token", now=0.0)
    if data[:1] != b"\0":
        protocol.receive(LOGIN, now=0.0)
    place, now = 1, 0.0
    while place < len(data):
        size = int.from_bytes(data[place : place + 2], "big")
        for output in protocol.receive(data[place + 2 : place + 2 + size], now):
            if isinstance(output, Deliver):
                for event in output.events:
                    look_at_event(event)
        place += 2 + size
        now += 7.0
        protocol.tick(now)


def metas(data: bytes) -> None:
    event = decode_meta(data)
    if isinstance(event, Event):
        look_at_event(event)


def notices(data: bytes) -> None:
    metas(bytes(schema.Meta(id=7, ns=5, payload=data).SerializeToString()))


def bodies(data: bytes) -> None:
    for space in (1, 2, 0):
        metas(bytes(schema.Meta(id=7, ns=space, payload=data).SerializeToString()))


def roamed(data: bytes) -> None:
    look_at(decode_roamed(data))


def together(data: bytes) -> None:
    """Metas, each with its length in front: many at once are read as one by one."""
    some, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 2], "big")
        some.append(data[place + 2 : place + 2 + size])
        place += 2 + size
    quick = columns.to_batch(some)
    quick.validate(full=True)
    slow = columns.batch_of(message for meta in some if (message := decode_roamed(meta)) is not None)
    assert repr(quick.to_pydict()) == repr(slow.to_pydict())


def page(content: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for entry in parse_page(content).entries:
            look_at(decode_roamed(entry))


def pages(data: bytes) -> None:
    """Roaming pages: these bytes, and one whose entries hold them."""
    page(data)
    halves = [data[: len(data) // 2], data[len(data) // 2 :]]
    entries = [{"msg": base64.b64encode(half).decode()} for half in halves]
    page(json.dumps({"data": {"msgs": entries, "next_key": "7"}}).encode())


def bundles(data: bytes) -> None:
    packed = b"cm" + data
    for candidate in (data, packed, packed + bytes([bundle._check_byte(packed)])):
        with contextlib.suppress(ProtocolError):
            for message in bundle.unpack(candidate):
                look_at(message)


class FuzzedHttpClient:
    """Stands for an HTTP client whose every answer is these bytes."""

    data = b""

    def __init__(self, *_: Any) -> None:
        pass

    async def __aenter__(self) -> "FuzzedHttpClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def request(self, *_: Any, **__: Any) -> Answer:
        return Answer(200, {}, self.data)


def hosts(data: bytes) -> None:
    FuzzedHttpClient.data = data
    try:
        found = done(discover("org#app"))
    except ConnectionLost:
        return
    assert isinstance(found, Hosts)
    assert found.rest_url.startswith("https://")
    assert found.ws_url.startswith("wss://")


def refusals(data: bytes) -> None:
    body = json_object(data)
    for status in (200, 400, 401, 403, 404, 429, 500, 503):
        error = refusal("GET /x", status, body, ("chatgroups",))
        assert isinstance(error, IMError)
        assert "\n" not in str(error)
        str(error).encode()


def wire(data: bytes) -> None:
    for direction in ("up", "down"):
        command, said = decode_frame(data, direction)
        json.dumps([command, redacted(said)]).encode()


DECODERS: list[Callable[[bytes], None]] = [
    frames, metas, notices, bodies, roamed, pages, bundles, hosts, refusals, wire, together,
]  # fmt: skip


def one(data: bytes) -> None:
    if data:
        DECODERS[data[0] % len(DECODERS)](data[1:])


# ------------------------------------------------------------------- the start


def recorded(value: Any) -> Iterator[bytes]:
    """Yield the bytes of every frame in a record, wherever they stand."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "hex":
            yield bytes.fromhex(item)
        elif isinstance(item, dict | list):
            yield from recorded(item)


def seeds(folder: Path) -> None:
    """Write the recorded frames of the official SDK as the first inputs."""
    inputs: list[bytes] = []
    for path in sorted(GOLDEN.glob("*.json")):
        for data in recorded(json.loads(path.read_text())):
            if data.startswith(b"cm"):
                inputs.append(bytes([6]) + data)
                continue
            inputs += [b"\0\1" + len(data).to_bytes(2, "big") + data, bytes([9]) + data]
            frame = schema.MSync.FromString(data)
            if frame.command:
                continue
            found = [bytes(meta) for meta in schema.LooseSyncDL.FromString(frame.payload).metas]
            found.append(schema.CommSyncUL.FromString(frame.payload).meta.SerializeToString())
            for meta in filter(None, found):
                parsed = schema.Meta.FromString(meta)
                inputs += [bytes([number]) + meta for number in (1, 4, 5)]
                inputs.append(bytes([10]) + len(meta).to_bytes(2, "big") + meta)
                inputs.append(bytes([2 if parsed.ns == 5 else 3]) + parsed.payload)
    host = {"protocol": "https", "domain": "a1.easemob.com", "port": 443}
    told = {"rest": {"hosts": [host]}, "msync-wx": {"hosts": [{**host, "ip": "10.0.0.1"}]}}
    inputs.append(bytes([7]) + json.dumps(told).encode())
    inputs.append(
        bytes([5]) + json.dumps({"data": {"msgs": [{"msg": "AA=="}], "is_last": True, "next_key": ""}}).encode()
    )
    inputs.append(
        bytes([8]) + json.dumps({"error": "invalid_grant", "error_code": 40011, "error_description": "x"}).encode()
    )
    for number, data in enumerate(inputs):
        (folder / f"seed-{number:03}").write_bytes(data)


def main() -> None:
    logging.disable(logging.CRITICAL)
    columns._MIN_BULK_METAS = bulk_decode._MIN_BULK_EXTS = 0
    discovery.HttpClient = FuzzedHttpClient
    arguments = sys.argv[1:]
    if not any(not argument.startswith("-") for argument in arguments):
        corpus = Path(os.environ.get("FUZZ_CORPUS") or tempfile.mkdtemp(prefix="imkit-fuzz-"))
        corpus.mkdir(parents=True, exist_ok=True)
        seeds(corpus)
        arguments = [str(corpus), "-max_len=8192", "-timeout=20", "-print_final_stats=1", *arguments]
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
