"""Read the fields of thousands of protobuf messages at once, as numpy arrays.

Each step reads one field of every message that has not ended, so all messages share the cost of the Python code.
`MessageBuffer.read` has a worked example.

Only plain messages are read: every field is known, has the expected wire type, occurs once and lies within its message.
For any other message only that is reported. The ordinary codec must read it, and the ordinary codec is always right.

Source: the protobuf wire format; the field numbers are those of `imkit.wire.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
_WordArray = npt.NDArray[np.uint64]

Kind = Literal["number", "double", "bytes", "span"]
_VARINT, _FIXED64, _SIZED = 0, 1, 2
_WIRE_TYPES: dict[Kind, int] = {"number": _VARINT, "double": _FIXED64, "bytes": _SIZED, "span": _SIZED}
_MAX_FIELDS = 64  # a message with more fields is not plain
_MAX_LENGTH_BYTES = 4  # a length of more bytes is not plain: decoders differ about it
_PADDING = bytes(24)  # so that eight bytes can be read at every position

_STOP_BITS = np.uint64(0x8080808080808080)
_ONE, _SEVEN, _EIGHT = np.uint64(1), np.uint64(7), np.uint64(8)
_BYTE, _LOW_7 = np.uint64(0xFF), np.uint64(0x7F)
# Each byte of a varint holds seven bits. Three rounds push them together: first pairs of bytes, then fours, then all.
_SQUEEZE_ROUNDS = [
    (np.uint64(high), np.uint64(low), np.uint64(shift))
    for high, low, shift in (
        (0x7F007F007F007F00, 0x007F007F007F007F, 1),
        (0x3FFF00003FFF0000, 0x00003FFF00003FFF, 2),
        (0x0FFFFFFF00000000, 0x000000000FFFFFFF, 4),
    )
]


class Layout:
    """The fields that a plain message may have. Each gets a slot, a number from 0 in the order given.

    Args:
        fields: name → the field's number and its kind: ``number`` (a varint), ``double``, ``bytes`` (also texts and
            nested messages), or ``span``: a repeated field of bytes, read as one piece from the first tag to the last
            value.
    """

    def __init__(self, fields: Mapping[str, tuple[int, Kind]]) -> None:
        self.slots = {name: slot for slot, name in enumerate(fields)}
        self.slot_of_tag = np.full(1 << 14, -1, np.int64)
        self.is_span = np.zeros(len(fields), np.bool_)
        self.wire_types = np.zeros(len(fields), np.int64)
        for slot, (number, kind) in enumerate(fields.values()):
            self.slot_of_tag[number << 3 | _WIRE_TYPES[kind]] = slot
            self.is_span[slot] = kind == "span"
            self.wire_types[slot] = _WIRE_TYPES[kind]


@dataclass(slots=True)
class Fields:
    """The result of reading: for each message, where the values of its fields are.

    Attributes:
        plain: which messages are plain. The values of the others must not be used.
    """

    layout: Layout
    plain: BoolArray
    _message_begins: IntArray
    _seen: _WordArray  # one bit a slot
    _begins: IntArray  # by slot and message
    _values: IntArray  # by slot and message: the number, or how many bytes

    @classmethod
    def unread(cls, layout: Layout, message_begins: IntArray) -> Fields:
        """Return the result before the first step: no message has a field."""
        count, slots = len(message_begins), len(layout.slots)
        return cls(
            layout,
            np.ones(count, np.bool_),
            message_begins,
            np.zeros(count, np.uint64),
            np.zeros((slots, count), np.int64),
            np.zeros((slots, count), np.int64),
        )

    def has(self, name: str) -> BoolArray:
        """Return which messages have a field."""
        return (self._seen >> np.uint64(self.layout.slots[name]) & _ONE).astype(np.bool_)

    def present(self) -> set[str]:
        """Return the names of the fields that any of the messages has."""
        seen_anywhere = int(np.bitwise_or.reduce(self._seen, initial=0))
        return {name for name, slot in self.layout.slots.items() if seen_anywhere >> slot & 1}

    def number(self, name: str) -> IntArray:
        """Return the values of a ``number``; 0 where a message has none."""
        value: IntArray = self._values[self.layout.slots[name]]
        return value

    def begins(self, name: str) -> IntArray:
        """Return where the value of a field begins (a span: its first tag); without the field, the message's begin."""
        begin: IntArray = np.maximum(self._begins[self.layout.slots[name]], self._message_begins)
        return begin

    def ends(self, name: str) -> IntArray:
        """Return where the value of a field ends, for any kind but ``number``; without the field, where it begins."""
        end: IntArray = self.begins(name) + self._values[self.layout.slots[name]]
        return end

    def clear_values(self, which: BoolArray) -> None:
        """Make all values of some messages empty, and their numbers 0, as if they did not have the fields."""
        self._values[:, which] = 0

    def merge_repeats(
        self,
        slot: IntArray,
        rows: IntArray,
        tag_begin: IntArray,
        begin: IntArray,
        value: IntArray,
        after: IntArray,
        good: BoolArray,
    ) -> tuple[IntArray, IntArray]:
        """Extend the spans that occur again. For any other field that occurs again `good` becomes false.

        Returns:
            `begin` and `value`; for a span from its first tag to the end of this value.
        """
        repeats = (self._seen[rows] & (_ONE << slot.view(np.uint64))) > 0
        is_span = self.layout.is_span[slot]
        if not is_span.any():
            good &= ~repeats
            return begin, value
        good &= ~repeats | is_span
        begin = np.where(is_span, np.where(repeats, self._begins[slot, rows], tag_begin), begin)
        return begin, np.where(is_span, after - begin, value)

    def store(self, slot: IntArray, rows: IntArray, begin: IntArray, value: IntArray) -> None:
        """Keep one field of each of some messages."""
        self._seen[rows] |= _ONE << slot.view(np.uint64)
        self._begins[slot, rows] = begin
        self._values[slot, rows] = value


class MessageBuffer:
    """Many messages in one piece of memory. A position is the index of a byte in it.

    Args:
        messages: less than 2 GiB together.

    Attributes:
        begins, ends: the positions at which each message begins and ends.
    """

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._data = b"".join([*messages, _PADDING])
        self._bytes = np.frombuffer(self._data, np.uint8)
        # The eight bytes at every position, also at unaligned ones, without a copy.
        self._words: _WordArray = np.ndarray((len(self._data) - 8,), np.dtype("<u8"), buffer=self._data, strides=(1,))
        sizes = np.fromiter(map(len, messages), np.int64, len(messages))
        self.ends = np.cumsum(sizes)
        self.begins = self.ends - sizes

    def words(self, positions: IntArray) -> _WordArray:
        """Return the eight bytes at each position as one number, little-endian."""
        return self._words[positions]

    def read(self, layout: Layout, begins: IntArray, ends: IntArray) -> Fields:
        """Read the messages that lie from `begins` to `ends`.

        Here step 1 reads field 1 of both messages (tag ``08``), and the second message ends. Step 2 reads field 2 of
        the first message alone (tag ``12``, length 2), and the loop is over.

        Example:
            >>> buffer = MessageBuffer([bytes.fromhex("0805 1202 6869"), bytes.fromhex("0807")])
            >>> layout = Layout({"id": (1, "number"), "text": (2, "bytes")})
            >>> fields = buffer.read(layout, buffer.begins, buffer.ends)
            >>> fields.number("id").tolist(), fields.has("text").tolist()
            ([5, 7], [True, False])
            >>> fields.begins("text").tolist(), fields.ends("text").tolist()
            ([4, 6], [6, 6])
        """
        fields = Fields.unread(layout, begins)
        rows = np.flatnonzero(begins < ends)  # the messages that have not ended; the arrays below go with it
        position, end = begins[rows], ends[rows]
        for _ in range(_MAX_FIELDS):
            if not len(rows):
                break
            slot, after_tag, good = self._read_tags(layout, position)
            begin, value, after = self._read_values(layout.wire_types[slot], after_tag, good)
            good &= after <= end
            begin, value = fields.merge_repeats(slot, rows, position, begin, value, after, good)
            if not good.all():
                fields.plain[rows[~good]] = False
                slot = slot[good] if slot.ndim else slot
                rows, begin, value, after, end = rows[good], begin[good], value[good], after[good], end[good]
            fields.store(slot, rows, begin, value)
            goes_on = after < end
            if goes_on.all():
                position = after
            else:
                rows, position, end = rows[goes_on], after[goes_on], end[goes_on]
        fields.plain[rows] = False
        return fields

    def _read_tags(self, layout: Layout, positions: IntArray) -> tuple[IntArray, IntArray, BoolArray]:
        """Read a tag of one or two bytes at each position.

        Returns:
            The slots of the fields: one number instead of an array where they are all the same, as in nearly every
            step, which makes all that follows quicker; the positions after the tags; which tags the layout knows.
        """
        word = self._words[positions]
        tag = word & _BYTE
        after_tag = positions + 1
        if (has_two_bytes := tag > _LOW_7).any():
            second = word >> _EIGHT & _BYTE
            good = ~has_two_bytes | (second <= _LOW_7)
            tag = np.where(has_two_bytes, tag & _LOW_7 | (second & _LOW_7) << _SEVEN, tag)
            after_tag += has_two_bytes
            slot = layout.slot_of_tag[tag.view(np.int64)]
            good &= slot >= 0
        else:
            slot = layout.slot_of_tag[tag.view(np.int64)]
            good = slot >= 0
        return (slot[0] if (slot == slot[0]).all() else slot), after_tag, good

    def _read_values(
        self, wire_type: IntArray, after_tag: IntArray, good: BoolArray
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Read what follows each tag. Where it is not plain, `good` becomes false.

        Returns:
            Where the value begins (a number: where it ends); the number, or how many bytes the value has; where the
            field ends.
        """
        value, after = self._read_varints(after_tag, good)
        if (is_double := wire_type == _FIXED64).any():
            after = np.where(is_double, after_tag, after)
            value = np.where(is_double, 8, value)
        begin = after
        has_bytes = wire_type != _VARINT
        good &= ~has_bytes | (after <= after_tag + _MAX_LENGTH_BYTES)
        return begin, value, np.where(has_bytes & good, after + value, after)

    def split(self, number: int) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
        """Find the values in messages that hold nothing but one repeated field of bytes.

        Args:
            number: of the field.

        Returns:
            For each value, in the order of their positions: the index of its message, where it begins and where it
            ends. For each message: whether all of it was read.

        Example:
            >>> rows, begins, ends, whole = MessageBuffer([bytes.fromhex("0a0161 0a026263"), b"?"]).split(1)
            >>> rows.tolist(), begins.tolist(), ends.tolist(), whole.tolist()
            ([0, 0], [2, 5], [3, 7], [True, False])
        """
        tag = number << 3 | _SIZED
        tag_bytes, tag_size = (tag, 1) if tag < 0x80 else (tag & 0x7F | 0x80 | tag >> 7 << 8, 2)
        tag_mask = np.uint64((1 << 8 * tag_size) - 1)
        whole = np.ones(len(self.begins), np.bool_)
        rows = np.flatnonzero(self.begins < self.ends)
        position, end = self.begins[rows], self.ends[rows]
        steps = [(rows[:0], position[:0], end[:0])]
        for _ in range(_MAX_FIELDS):
            if not len(rows):
                break
            good = self._words[position] & tag_mask == tag_bytes
            length, begin = self._read_varints(position + tag_size, good)
            good &= begin <= position + tag_size + _MAX_LENGTH_BYTES
            after = np.where(good, begin + length, end)
            good &= after <= end
            whole[rows[~good]] = False
            steps.append((rows[good], begin[good], after[good]))
            goes_on = good & (after < end)
            rows, position, end = rows[goes_on], after[goes_on], end[goes_on]
        whole[rows] = False
        value_rows, begins, ends = (np.concatenate(arrays) for arrays in zip(*steps, strict=True))
        order = np.argsort(begins, kind="stable")
        return value_rows[order], begins[order], ends[order], whole

    def _read_varints(self, positions: IntArray, good: BoolArray) -> tuple[IntArray, IntArray]:
        """Read a varint of up to nine bytes at each position. For a longer one `good` becomes false.

        Returns:
            The numbers, and the positions after them.
        """
        word = self._words[positions]
        stops = ~word & _STOP_BITS  # the highest bit of each byte that no other byte follows
        inside = stops ^ (stops - _ONE)  # all bits up to the first stop
        value = word & inside & ~_STOP_BITS
        for high, low, shift in _SQUEEZE_ROUNDS:
            value = (value & high) >> shift | value & low
        after = positions + (np.bitwise_count(inside) >> 3)
        if (is_long := stops == 0).any():
            ninth = self._bytes[positions + 8]
            value = np.where(is_long, value | ninth.astype(np.uint64) << np.uint64(56), value)
            after += is_long
            good &= ~is_long | (ninth < 0x80)
        return value.view(np.int64), after

    def slices(self, begins: IntArray, ends: IntArray) -> pa.Array:
        """Copy the bytes from `begins` to `ends`, which must ascend, into an Arrow array of binaries.

        Raises:
            ValueError: they do not ascend, or lie outside the buffer.
        """
        count = len(begins)
        if not count:
            return pa.array([], pa.binary())
        offsets = np.empty(2 * count, np.int32)
        offsets[0::2], offsets[1::2] = begins, ends
        # Arrow does not check offsets: wrong ones would read memory outside the buffer.
        if offsets[0] < 0 or offsets[-1] > len(self._data) or (np.diff(offsets) < 0).any():
            raise ValueError("slices must lie in the data, one after the other")
        # A view without a copy: slice, the bytes between, slice, … `take` then copies only the slices.
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._data)]
        slices_and_between = pa.Array.from_buffers(pa.binary(), 2 * count - 1, buffers)
        return slices_and_between.take(pa.array(np.arange(0, 2 * count, 2, dtype=np.int32)))
