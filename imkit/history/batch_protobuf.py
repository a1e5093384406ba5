"""Reading the fields of thousands of protobuf messages at once, in lock-step, as numpy arrays.

Each step reads one field of every message that has not ended, so that Python's own work is shared by all of them.
Only the plain case is read: known fields with their own wire types, none of them twice, all within their message.
Whatever is not plain is said to be so, and is for the ordinary codec, which is the truth.

Source: the protobuf wire format; the field numbers are those of `imkit.wire.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

Kind = Literal["number", "double", "bytes", "span"]
_WIRE_TYPES: dict[Kind, int] = {"number": 0, "double": 1, "bytes": 2, "span": 2}
_STEPS = 64  # a message with more fields than this is not plain
_LENGTH_BYTES = 4  # a length that is written with more is not plain: decoders differ about it
_PADDING = bytes(24)  # so that a word may be read at every byte

_STOPS = np.uint64(0x8080808080808080)
_ONE, _SEVEN, _EIGHT = np.uint64(1), np.uint64(7), np.uint64(8)
_BYTE, _LOW_7 = np.uint64(0xFF), np.uint64(0x7F)
# Seven bits of each of eight bytes are moved together in three rounds: pairs, quads, all.
_SQUEEZE = [
    (np.uint64(high), np.uint64(low), np.uint64(shift))
    for high, low, shift in (
        (0x7F007F007F007F00, 0x007F007F007F007F, 1),
        (0x3FFF00003FFF0000, 0x00003FFF00003FFF, 2),
        (0x0FFFFFFF00000000, 0x000000000FFFFFFF, 4),
    )
]


class Layout:
    """Which fields a message may have to be plain.

    Args:
        fields: by name, the field's number and its kind: ``number`` (a varint), ``double``, ``bytes`` (also texts and
            messages), or ``span``: bytes that may be repeated; what is read is all from the first to the last.
    """

    def __init__(self, fields: Mapping[str, tuple[int, Kind]]) -> None:
        self.slots = {name: slot for slot, name in enumerate(fields)}
        self.slot_of_tag = np.full(1 << 14, -1, np.int64)
        self.spans = np.zeros(len(fields), np.bool_)
        self.wire_types = np.zeros(len(fields), np.int64)
        for slot, (number, kind) in enumerate(fields.values()):
            self.slot_of_tag[number << 3 | _WIRE_TYPES[kind]] = slot
            self.spans[slot] = kind == "span"
            self.wire_types[slot] = _WIRE_TYPES[kind]


@dataclass(slots=True)
class Fields:
    """What was read: for each message, where the values of its fields are.

    Attributes:
        plain: which messages were read to their ends; of the others nothing is said.
    """

    layout: Layout
    plain: Truths
    _starts: Numbers
    _seen: npt.NDArray[np.uint64]
    _begins: Numbers
    _values: Numbers

    def has(self, name: str) -> Truths:
        """Which messages have a field."""
        return (self._seen >> np.uint64(self.layout.slots[name]) & _ONE).astype(np.bool_)

    def present(self) -> set[str]:
        """Which fields any of the messages has."""
        anywhere = int(np.bitwise_or.reduce(self._seen, initial=0))
        return {name for name, slot in self.layout.slots.items() if anywhere >> slot & 1}

    def number(self, name: str) -> Numbers:
        """The values of a ``number``; 0 where there is none."""
        value: Numbers = self._values[self.layout.slots[name]]
        return value

    def begins(self, name: str) -> Numbers:
        """Where the value of a field begins (a span: the first one's tag); where there is none, the message."""
        begin: Numbers = np.maximum(self._begins[self.layout.slots[name]], self._starts)
        return begin

    def ends(self, name: str) -> Numbers:
        """Where the value of a field that is no ``number`` ends; nothing lies between where there is none."""
        end: Numbers = self.begins(name) + self._values[self.layout.slots[name]]
        return end

    def empty(self, which: Truths) -> None:
        """Take what is not a number out of some messages, as if they did not have it."""
        self._values[:, which] = 0


class Joined:
    """Many messages in one piece of memory.

    Args:
        parts: the messages; less than 2 GiB together.
    """

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._data = b"".join([*parts, _PADDING])
        self._bytes = np.frombuffer(self._data, np.uint8)
        # One word at every byte, whatever its alignment.
        self._words: npt.NDArray[np.uint64] = np.ndarray(
            (len(self._data) - 8,), np.dtype("<u8"), buffer=self._data, strides=(1,)
        )
        sizes = np.fromiter(map(len, parts), np.int64, len(parts))
        self.ends = np.cumsum(sizes)
        self.begins = self.ends - sizes

    def words(self, places: Numbers) -> npt.NDArray[np.uint64]:
        """The eight bytes at each place, as a number, the first byte lowest."""
        return self._words[places]

    def read(self, layout: Layout, begins: Numbers, ends: Numbers) -> Fields:
        """Read the messages that lie from `begins` to `ends`."""
        count, slots = len(begins), len(layout.slots)
        found_begins = np.zeros((slots, count), np.int64)
        found_values = np.zeros((slots, count), np.int64)
        seen = np.zeros(count, np.uint64)
        plain = np.ones(count, np.bool_)
        who = np.flatnonzero(begins < ends)
        place, end = begins[who], ends[who]
        for _ in range(_STEPS):
            if not len(who):
                break
            word = self._words[place]
            tag = word & _BYTE
            after_tag = place + 1
            if (wide := tag > _LOW_7).any():
                second = word >> _EIGHT & _BYTE
                good = ~wide | (second <= _LOW_7)
                tag = np.where(wide, tag & _LOW_7 | (second & _LOW_7) << _SEVEN, tag)
                after_tag += wide
                slot = layout.slot_of_tag[tag.view(np.int64)]
                good &= slot >= 0
            else:
                slot = layout.slot_of_tag[tag.view(np.int64)]
                good = slot >= 0
            if (slot == slot[0]).all():  # as in nearly every step: what follows is told once for all
                slot = slot[0]
            value, after = self._varints(after_tag, good)
            wire_type = layout.wire_types[slot]
            if (doubles := wire_type == 1).any():
                after = np.where(doubles, after_tag, after)
                value = np.where(doubles, 8, value)
            begin = after
            sized = wire_type > 0
            good &= ~sized | (after <= after_tag + _LENGTH_BYTES)
            after = np.where(sized & good, after + value, after)
            good &= after <= end
            bit = _ONE << slot.view(np.uint64)
            again = (seen[who] & bit) > 0
            if (span := layout.spans[slot]).any():
                begin = np.where(span, np.where(again, found_begins[slot, who], place), begin)
                value = np.where(span, after - begin, value)
                good &= ~again | span
            else:
                good &= ~again
            if not good.all():
                plain[who[~good]] = False
                if slot.ndim:
                    slot, bit = slot[good], bit[good]
                who, begin, value, after, end = who[good], begin[good], value[good], after[good], end[good]
            seen[who] |= bit
            found_begins[slot, who] = begin
            found_values[slot, who] = value
            going_on = after < end
            if going_on.all():
                place = after
            else:
                who, place, end = who[going_on], after[going_on], end[going_on]
        plain[who] = False
        return Fields(layout, plain, begins, seen, found_begins, found_values)

    def split(self, number: int) -> tuple[Numbers, Numbers, Numbers, Truths]:
        """Take apart messages that are nothing but one field of bytes, repeated.

        Returns:
            For each field, in their order: which message it is of, where its value begins and where it ends; and for
            each message whether it was taken apart to its end.
        """
        tag = number << 3 | 2
        head, size = (tag, 1) if tag < 0x80 else (tag & 0x7F | 0x80 | tag >> 7 << 8, 2)
        whole = np.ones(len(self.begins), np.bool_)
        who = np.flatnonzero(self.begins < self.ends)
        place, end = self.begins[who], self.ends[who]
        found = [(who[:0], place[:0], end[:0])]
        for _ in range(_STEPS):
            if not len(who):
                break
            good = self._words[place] & np.uint64((1 << 8 * size) - 1) == head
            value, begin = self._varints(place + size, good)
            good &= begin <= place + size + _LENGTH_BYTES
            after = np.where(good, begin + value, end)
            good &= after <= end
            whole[who[~good]] = False
            found.append((who[good], begin[good], after[good]))
            going_on = good & (after < end)
            who, place, end = who[going_on], after[going_on], end[going_on]
        whole[who] = False
        owners, begins, ends = (np.concatenate(each) for each in zip(*found, strict=True))
        order = np.argsort(begins, kind="stable")
        return owners[order], begins[order], ends[order], whole

    def _varints(self, places: Numbers, good: Truths) -> tuple[Numbers, Numbers]:
        """The varints of up to nine bytes at some places, and where they end; `good` becomes false for longer ones."""
        word = self._words[places]
        stops = ~word & _STOPS
        inside = stops ^ (stops - _ONE)  # all bits up to the first byte that has no other after it
        value = word & inside & ~_STOPS
        for high, low, shift in _SQUEEZE:
            value = (value & high) >> shift | value & low
        after = places + (np.bitwise_count(inside) >> 3)
        if (long := stops == 0).any():
            ninth = self._bytes[places + 8]
            value = np.where(long, value | ninth.astype(np.uint64) << np.uint64(56), value)
            after += long
            good &= ~long | (ninth < 0x80)
        return value.view(np.int64), after

    def slices(self, begins: Numbers, ends: Numbers) -> pa.Array:
        """Return the bytes from `begins` to `ends`, which ascend, as an Arrow array of binaries of its own.

        Raises:
            ValueError: they do not ascend, or lie outside.
        """
        count = len(begins)
        if not count:
            return pa.array([], pa.binary())
        offsets = np.empty(2 * count, np.int32)
        offsets[0::2], offsets[1::2] = begins, ends
        # Arrow believes its offsets: wrong ones would be reads of foreign memory.
        if offsets[0] < 0 or offsets[-1] > len(self._data) or (np.diff(offsets) < 0).any():
            raise ValueError("slices must lie in the data, one after the other")
        # What is wanted and what lies between take turns; only the wanted is copied.
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._data)]
        everything = pa.Array.from_buffers(pa.binary(), 2 * count - 1, buffers)
        return everything.take(pa.array(np.arange(0, 2 * count, 2, dtype=np.int32)))
