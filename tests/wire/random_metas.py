"""Writes random Metas, valid and malformed, to compare two decoders with each other.

Most of the Metas are valid messages, with their fields in any order. Some have one or two defects, at any depth.
"""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

Value = int | float | bytes
Field = tuple[int, Value]

NAMES = ["alice", "bob", "茶", "210000033222000"]
WORDS = ["tea?", '"q', "茶 🍵", "", 'a "quoted" \\ line\n', "\u2028<b>", "x" * 300]
URLS = ["http://h/a?share-secret=x#y", "http://[/?x", "//h\t/?", "https://h/org/app/chatfiles/7", "http://h/茶?y", "#"]
INVALID_UTF8 = [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"ab\xe8\x8c"]
NUMBERS = [0, 1, 2, 5, 8, 9, 127, 128, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**56, 2**63 - 1, 2**63, 2**64 - 1]
DOUBLES = [0.0, -0.0, 1.5, 640.0, -1e300, float("nan"), float("inf"), -float("inf")]
PAIRS = ["1", '{"a":[1,null]}', "[", "NaN", '"\\ud800"', "[" * 70 + "]" * 70, "1e999", "{}"]


def varint(value: int, longer: int = 0) -> bytes:
    """Return a varint. `longer` adds bytes that do not change its value."""
    parts = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)] + [0] * longer
    return bytes([*(part | 0x80 for part in parts[:-1]), parts[-1]])


class MetaWriter:
    """Writes random Metas. The same seed gives the same Metas."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._defects_left = 0

    def metas(self, count: int) -> list[bytes]:
        """Return `count` Metas."""
        return [self._meta() for _ in range(count)]

    def _maybe(self, share: float) -> bool:
        return self._random.random() < share

    def _subset(self, *fields: Field, share: float = 0.9) -> list[Field]:
        return [field for field in fields if self._maybe(share)]

    def _message(self, fields: list[Field]) -> bytes:
        if self._maybe(0.3):
            self._random.shuffle(fields)
        written = []
        for number, value in fields:
            if self._defects_left and self._maybe(0.08):
                self._defects_left -= 1
                written += self._with_defect(number, value)
            else:
                written.append(_field(number, value))
        return b"".join(written)

    def _with_defect(self, number: int, value: Value) -> list[bytes]:
        pick = self._random.choice
        kind, longer, plain = self._random.randrange(10), self._random.randrange(1, 9), _field(number, value)
        if kind == 0:
            return []
        if kind == 1:
            return [plain, plain]
        if kind == 2:
            return [plain, _field(9, b"{}"), plain]
        if kind == 3:
            return [_field(number, value, longer_tag=longer)]
        if kind == 4:
            return [_field(number, value, longer=longer)]
        if kind == 5:
            return [_field(number, value, length_error=pick([-1, 1, 200, 2**31, 2**63]))]
        if kind == 6:
            return [_field(pick([0, 10, 13, 15, 16, 26, 99, 5000, 2**20]), value), plain]
        if kind == 7:
            other_kinds: list[Value] = [0, 1.5, b"x"]
            return [_field(number, pick(other_kinds))]
        if kind == 8:
            return [plain, pick([b"\x0b", b"\x0c", b"\x0b\x0c", b"\x0d1234", b"\x80", b"\x0f", b"\x08", b"\x09123"])]
        if isinstance(value, bytes):
            return [_field(number, pick([b"", *INVALID_UTF8, value[:-1], value + b"\0"]))]
        return [_field(number, pick(NUMBERS) if isinstance(value, int) else pick(DOUBLES))]

    # ---------------------------------------------------------------- the messages

    def _meta(self) -> bytes:
        pick = self._random.choice
        self._defects_left = pick([0, 0, 1, 1, 2])
        notice = self._maybe(0.02)
        fields: list[Field] = [
            (1, self._random.randrange(2 ** pick([20, 61, 63, 64]))),
            (2, self._jid()),
            (3, self._jid()),
            (4, self._random.randrange(1_700_000_000_000, 1_800_000_000_000) if self._maybe(0.9) else pick(NUMBERS)),
            *self._subset((5, 5 if notice else 1), share=0.99),
            *self._subset((6, b'{"type":"thread"}' if notice else self._body()), share=0.99),
            *self._subset((7, pick([0, 1, 2, 9])), (9, b"online"), share=0.4),
            *self._subset((8, self._pair()), (10, b"bob"), (13, b"test"), share=0.01),
        ]
        return self._message(fields)

    def _jid(self) -> bytes:
        name = self._subset((2, self._random.choice(NAMES).encode()))
        return self._message([*self._subset((1, b"org#app"), (3, b"easemob.com"), (4, b"web_1"), share=0.5), *name])

    def _body(self) -> bytes:
        pick = self._random.choice
        return self._message(
            [
                *self._subset((1, pick([2] * 16 + [0, 1, 3, 4, 6, 8])), share=0.99),
                *self._subset((2, self._jid()), (3, self._jid())),
                *self._subset((4, self._content()), share=0.98),
                *self._subset((4, self._content()), share=0.02),
                *((5, self._pair()) for _ in range(pick([0, 1, 1, 1, 2, 3]))),
                *self._subset((7, pick([b"", b"\x08\x01", b"\x08\x00", b"\x08", b"\x0a\x05", b"\x10\x01"])), share=0.5),
                *self._subset((9, self._marks()), share=0.8),
                *self._subset((6, 7), (11, 8), (12, pick([1, 2, 9])), share=0.05),
                *self._subset((8, b"read"), (13, b""), (13, b"\x10\x07\x18\x02"), (17, b"\x07"), (17, 7), share=0.01),
                *self._subset((14, pick(NUMBERS)), (15, 1), (16, 1), (18, pick(NUMBERS)), share=0.03),
            ]
        )

    def _content(self) -> bytes:
        pick, kind = self._random.choice, self._random.choice([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8])
        text = {number: (number, pick(WORDS).encode()) for number in (2, 5, 6, 8, 10, 14, 15, 16, 19, 21, 23, 24)}
        attached: list[Field] = [
            text[6],
            (7, pick(URLS).encode()),
            text[8],
            (9, self._random.randrange(2**24)),
            text[16],
        ]
        size = (13, self._size())
        fields_by_kind: dict[int, list[Field]] = {
            0: [text[2]],
            1: [*attached, size],
            2: [*attached, (12, 60), text[14], text[15], (18, self._size())],
            3: [(3, pick(DOUBLES)), (4, pick(DOUBLES)), text[5], text[21]],
            4: [*attached, (12, pick(NUMBERS))],
            5: attached,
            6: [text[10]],
            7: [text[19], *((20, self._pair()) for _ in range(pick([0, 1, 2])))],
            8: [],
        }
        unexpected = self._subset(
            *text.values(), size, (11, self._pair()), (17, 5), (22, 1), (25, 2), (26, 2), share=0.01
        )
        subtype = self._subset((22, pick([0, 1, 10, 11])), share=0.1)
        return self._message(
            [*self._subset((1, kind), share=0.99), *self._subset(*fields_by_kind[kind]), *subtype, *unexpected]
        )

    def _size(self) -> bytes:
        if self._maybe(0.05):
            return b"\x09\x01"
        return self._message(self._subset((1, self._random.choice(DOUBLES)), (2, 480.0)))

    def _pair(self) -> bytes:
        pick, kind = self._random.choice, self._random.choice([7, 7, 7, 1, 2, 3, 4, 5, 6, 8, 9])
        value: Field = (6, pick(WORDS).encode()) if kind in (7, 9) else (6, pick(PAIRS).encode()) if kind == 8 else (
            (5, pick(DOUBLES)) if kind == 6 else (3, pick(NUMBERS))
        )  # fmt: skip
        keys = INVALID_UTF8 if self._maybe(0.02) else [b"mood", b"n", "茶".encode(), b""]
        both = self._subset((3, 5), (6, b"x"), share=0.03)
        return self._message(self._subset((1, pick(keys)), (2, kind), value, *both, share=0.95))

    def _marks(self) -> bytes:
        pick = self._random.choice
        marks: dict[str, Any] = {}
        if self._maybe(0.8):
            marks["thread"] = {"thread_name": pick([*WORDS, 5]), "muc_parent_id": pick(NAMES), "msg_parent_id": "7"}
        if self._maybe(0.2):
            marks["edit_msg"] = {"count": pick([1, "2", 2.5, None]), "edit_time": pick([0, -5, 1.5, 10**13, 2**63])}
        if self._maybe(0.1):
            marks["reaction"] = [{"reaction": "👍\ud800", "count": 1}, 5]
        if self._maybe(0.1):
            marks["translations"] = pick([[], [{"code": "en", "text": "tea"}]])
        if self._maybe(0.1):
            marks["thread_overview"] = {"id": "42", "last_message": pick([{}, {"id": "7", "payload": {}}, 5])}
        return pick([b"{", b"", b"[]"]) if self._maybe(0.05) else json.dumps(marks, ensure_ascii=True).encode()


def _field(number: int, value: Value, *, longer_tag: int = 0, longer: int = 0, length_error: int = 0) -> bytes:
    kind = 0 if isinstance(value, int) else 1 if isinstance(value, float) else 2
    tag = varint(number << 3 | kind, longer_tag)
    if isinstance(value, int):
        return tag + varint(value, longer)
    if isinstance(value, float):
        return tag + struct.pack("<d", value)
    return tag + varint(max(len(value) + length_error, 0), longer) + value


def damaged(data: bytes, seed: int) -> bytes:
    """Return `data` with one to three defects: bytes changed, removed, inserted, or cut off."""
    random, bad = Random(seed), bytearray(data)
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(bad) + 1)
        kind = random.randrange(8)
        if kind < 4:
            bad[place : place + 1] = random.randbytes(1)
        elif kind < 6:
            del bad[place : place + random.randrange(1, 5)]
        elif kind < 7:
            bad[place:place] = random.randbytes(random.randrange(1, 5))
        else:
            del bad[place:]
    return bytes(bad)
