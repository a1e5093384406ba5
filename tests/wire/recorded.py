"""Valid frames and Metas, recorded from the official SDK or built by tests; and a strategy that damages them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from imkit.wire import schema
from imkit.wire.enums import FrameCommand, NameSpace
from tests.wire import service

GOLDEN = Path(__file__).parent.parent / "golden"
BUNDLE = GOLDEN / "combine-file.json"


def valid_frames() -> list[bytes]:
    """Return valid frames of every kind: those in `tests/golden`, and some that the tests build."""
    frames = []
    for path in sorted({*GOLDEN.glob("*.json")} - {BUNDLE}):
        recorded = json.loads(path.read_text())
        parts = [recorded, *recorded.get("frames", []), *(recorded.get("up", []))]
        frames += [bytes.fromhex(part["hex"]) for part in parts if "hex" in part]
    frames += [
        service.login_reply(authToken='{"expires_in":1795390333491}'),
        service.notice(),
        service.unread({"a": 2}),
    ]
    frames += [service.answer(7, 8), service.page([service.message_meta(3), service.message_meta(4)], 4)]
    return frames


FRAMES = valid_frames()
METAS = [
    bytes(meta)
    for data in FRAMES
    for frame in [schema.MSync.FromString(data)]
    if frame.command == FrameCommand.SYNC
    for meta in schema.LooseSyncDL.FromString(frame.payload).metas
]


@st.composite
def damaged(draw: st.DrawFn, intact: list[bytes]) -> bytes:
    """Draw one of `intact` with damage: cut off, bits flipped, bytes inserted or swapped, another one appended."""
    data = bytearray(draw(st.sampled_from(intact)))
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(["cut", "flip", "insert", "join", "swap"]))
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        if how == "cut":
            del data[place:]
        elif how == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=6))
        elif how == "join":
            data += draw(st.sampled_from(intact))
        elif how == "swap":
            data[place : place + 4] = data[place : place + 4][::-1]
    return bytes(data)


def chat_meta(body: Any, **fields: Any) -> bytes:
    meta = schema.Meta(**{"id": 5, "ns": NameSpace.CHAT, "timestamp": 1, "payload": body.SerializeToString(), **fields})
    encoded: bytes = meta.SerializeToString()
    return encoded
