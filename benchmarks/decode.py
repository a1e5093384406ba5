"""Decoding: the bytes of pages become a DataFrame, compared with the official SDK, which decodes the same pages.

100,000 texts, 50 a page, all in memory before the clock starts. The SDK's getHistoryMessages runs in one Node process
and drops what it has decoded; imkit keeps a DataFrame. They take turns, `ROUNDS` times after one round to warm up. The
same run also measures imkit's codec, which decodes message by message, and a plain loop over protobuf's C parser (upb)
that reads the fields of a text message into lists.

    python benchmarks/decode.py
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import pandas as pd
import pyarrow as pa

from benchmarks.report import record
from benchmarks.roaming_pages import pages
from imkit.history.columns import SCHEMA, batch_of, peek, sorted_table, to_batch
from imkit.history.fetch import ROWS_A_PART
from imkit.history.frames import frame_of_table
from imkit.wire import schema
from imkit.wire.downlink import decode_roamed
from imkit.wire.keyvalues import decode_ext, json_text
from imkit.wire.roaming_page import parse_page
from imkit.wire.untrusted_json import json_object, mapping
from tests.peer.node import ready

MESSAGES, ROUNDS = 100_000, 5
TARGET = 6.0


def decode_in_batches(content: list[bytes], *, peeking: bool = False) -> pd.DataFrame:
    """Decode as `history()` does: in parts of some thousand messages, then sort, then make a DataFrame."""
    waiting: list[bytes] = []
    batches = []
    for page in content:
        entries = parse_page(page).entries
        if peeking:
            for entry in entries:
                peek(entry)
        waiting += entries
        if len(waiting) >= ROWS_A_PART:
            batches.append(to_batch(waiting))
            waiting = []
    batches.append(to_batch(waiting))
    return frame_of_table(sorted_table(pa.Table.from_batches(batches, SCHEMA)))


def with_paging(content: list[bytes]) -> pd.DataFrame:
    """Decode as `decode_in_batches`, and read the id and time of each message first, as paging does."""
    return decode_in_batches(content, peeking=True)


def one_by_one(content: list[bytes]) -> pd.DataFrame:
    """Decode with the ordinary codec, which makes a `Message` of each."""
    messages = (decode_roamed(entry) for page in content for entry in parse_page(page).entries)
    return frame_of_table(pa.Table.from_batches([batch_of(message for message in messages if message is not None)]))


def upb_loop(content: list[bytes]) -> pd.DataFrame:
    """Decode with a loop over upb that is correct for plain texts only: the best that such a loop can do."""
    names = ("message_id", "time", "sender", "text", "thread_id", "thread_name", "group_id", "ext")
    columns: list[list[Any]] = [[] for _ in names]
    ids, times, senders, texts, threads, titles, groups, exts = columns
    marks: dict[str, dict[str, Any]] = {}
    for page in content:
        for entry in parse_page(page).entries:
            meta = schema.Meta.FromString(entry)
            body = schema.MessageBody.FromString(meta.payload)
            ids.append(str(meta.id))
            times.append(meta.timestamp)
            senders.append(getattr(body, "from").name)
            texts.append(body.contents[0].text)
            threads.append(meta.to.name)
            mark = marks.get(body.meta)
            if mark is None:
                mark = marks[body.meta] = mapping(json_object(body.meta), "thread")
            titles.append(mark["thread_name"])
            groups.append(mark["muc_parent_id"])
            exts.append(json_text(decode_ext(body.ext)))
    return pa.table(dict(zip(names, columns, strict=True))).to_pandas()


class OfficialSdk:
    """The official SDK in a Node process that has read the pages."""

    def __init__(self, content: list[bytes]) -> None:
        self._file = tempfile.NamedTemporaryFile(suffix=".pages")
        self._file.writelines(page + b"\n" for page in content)
        self._file.flush()
        command = [ready().node, str(Path(__file__).with_name("sdk_decode.mjs")), self._file.name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def round(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        self._process.communicate("end\n")
        self._file.close()


def seconds(way: Callable[[list[bytes]], pd.DataFrame], content: list[bytes]) -> tuple[float, pd.DataFrame]:
    began = time.perf_counter()
    frame = way(content)
    return time.perf_counter() - began, frame


def side_by_side(what: str, *, own_ext: bool) -> None:
    content = list(pages(MESSAGES, own_ext=own_ext))
    ways = {"imkit": decode_in_batches, "with_paging": with_paging, "codec": one_by_one, "upb_loop": upb_loop}
    rates: dict[str, list[float]] = {name: [] for name in ("sdk", *ways)}
    sdk = OfficialSdk(content)
    for number in range(ROUNDS + 1):
        theirs = sdk.round()
        rates["sdk"].append(MESSAGES / theirs["seconds"])
        assert theirs["messages"] == MESSAGES
        for name, way in ways.items():
            took, frame = seconds(way, content)
            rates[name].append(MESSAGES / took)
            row = frame.iloc[-1]
            last = [row["message_id"], row["sender"], row["text"], json.loads(row["ext"])]
            assert last == [theirs["last"][key] for key in ("id", "from", "msg", "ext")], name
        if number == 0:
            rates = {name: [] for name in rates}
    sdk.close()
    ratios = {name: [mine / other for mine, other in zip(rates[name], rates["sdk"], strict=True)] for name in ways}
    ratio = statistics.median(ratios["imkit"])
    record(
        f"decode: {MESSAGES:,} texts to a DataFrame, {what}",
        {
            **{f"{name}_messages_per_second": statistics.median(found) for name, found in rates.items()},
            "ratio": ratio,
            **{f"ratio_{name}": statistics.median(ratios[name]) for name in ways if name != "imkit"},
            "spread": {
                "ratio": [min(ratios["imkit"]), max(ratios["imkit"])],
                **{f"ratio_{name}": [min(ratios[name]), max(ratios[name])] for name in ways if name != "imkit"},
            },
            "target": f">= {TARGET:g}x the official SDK, try for 15x",
            "met": ratio >= TARGET,
        },
    )


def main() -> None:
    side_by_side("an ext key with few values", own_ext=False)
    side_by_side("an ext key with its own value in each", own_ext=True)


if __name__ == "__main__":
    main()
