"""The archive: requests of a sync without news, memory of a sync of a million messages, size on disk, speed of queries.

    python benchmarks/archive.py [MESSAGES]     # 1,000,000 by default

The messages come from the sandbox and pass through all of a sync: requests, pages, rows, files. The peak of memory is
that of the syncing process alone, above what it used after the login.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import record

ROOT = Path(__file__).parent.parent
MESSAGES = 1_000_000
THREADS = 1_000
ROUNDS = 5
QUERY = "select sender, day, count(*) as n from messages group by all"

SYNC = """
import json, resource, sys, threading, time
from datetime import timedelta
import pandas, pyarrow.dataset, pyarrow.parquet  # a notebook has loaded these anyway
import imkit
from imkit.sandbox.process import SandboxAddress
from imkit.archive import Archive

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

settings = json.loads(sys.argv[1])
app = SandboxAddress(settings["app_key"], settings["rest_url"], settings["ws_url"], settings["secret"]).app
with imkit.login("reader", app=app) as reader:
    archive = Archive(settings["path"])
    start = peak = resident()
    finished = threading.Event()
    def note_peak():
        global peak
        while not finished.wait(0.02):
            peak = max(peak, resident())
    threading.Thread(target=note_peak, daemon=True).start()
    began = time.perf_counter()
    report = archive.sync(reader, reader, workers=8)
    seconds = time.perf_counter() - began
    finished.set()
    print(json.dumps({"rows": report.rows_added, "seconds": seconds, "requests": report.requests,
                      "peak_mb_above_start": (peak - start) / 1e6, "start_mb": start / 1e6,
                      "reasons": report.reasons + list(report.forbidden)}))
"""


def unchanged(folder: Path) -> None:
    """Sync a thousand threads without new messages, as a list and as a whole group."""
    import imkit
    from imkit.archive import Archive

    with imkit.Sandbox(folder / "quiet.db") as sandbox, imkit.login("alice", app=sandbox.app) as alice:
        group = alice.create_group("tea")
        threads = []
        for number in range(THREADS):
            thread = group.create_thread(f"Tea {number}", group.send(f"tea {number}?"))
            thread.send("hello")
            threads.append(thread)
        archive = Archive(folder / "quiet")
        archive.sync(alice, group)
        by_list = archive.sync(alice, threads, lookback=timedelta(0))
        by_group = archive.sync(alice, group, lookback=timedelta(0))
        assert (by_list.unchanged, by_group.unchanged) == (THREADS, THREADS + 1), (by_list, by_group)
        record(
            "archive: sync of 1,000 unchanged threads",
            {
                "requests_for_a_list": by_list.requests,
                "requests_for_the_group": by_group.requests,
                "seconds_for_a_list": by_list.seconds,
                "seconds_for_the_group": by_group.seconds,
                "target": "<= 55 / <= 75 requests",
                "met": by_list.requests <= 55 and by_group.requests <= 75,
            },
        )


def filled(folder: Path, messages: int) -> Path:
    """Sync a made-up community in another process that notes its peak of memory."""
    import imkit

    with imkit.Sandbox.demo(threads=THREADS, messages=messages, path=folder / "demo.db") as sandbox:
        settings = {
            "app_key": sandbox.app_key,
            "rest_url": sandbox.rest_url,
            "ws_url": sandbox.ws_url,
            "secret": sandbox.secret,
            "path": str(folder / "archive"),
        }
        done = subprocess.run(
            [sys.executable, "-c", SYNC, json.dumps(settings)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
    figures = json.loads(done.stdout)
    assert (figures["rows"], figures.pop("reasons")) == (messages, []), figures
    figures["messages_per_second"] = figures["rows"] / figures["seconds"]
    met = figures["peak_mb_above_start"] <= 500
    record(f"archive: {messages:,} messages from the service", {**figures, "target": "<= 500 MB", "met": met})
    return folder / "archive"


def busy_month(path: Path, messages: int) -> None:
    """Write a month of messages: 2 to 30 words, 60 senders, 200 threads, in batches as a sync does."""
    import numpy as np
    import pyarrow as pa

    from imkit.archive import parquet
    from imkit.archive.batching import ROWS_A_COMMIT
    from imkit.archive.catalogue import CatalogueWriter
    from imkit.archive.merge import CommitBatch, merge_batch
    from imkit.archive.storage import storage_at
    from imkit.history.columns import SCHEMA

    random = np.random.default_rng(5)
    words = np.array(["".join(map(chr, random.integers(97, 123, random.integers(2, 11)))) for _ in range(5000)])
    storage = storage_at(path)
    start, step = 1_795_392_000_000, 31 * 86_400_000 // messages
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        for first in range(0, messages, ROWS_A_COMMIT):
            count = min(ROWS_A_COMMIT, messages - first)
            # A batch of a sync holds some threads, each over the whole month.
            places = np.sort(random.choice(messages, count, replace=False))
            threads = random.integers(0, 20, count) + 20 * (first // ROWS_A_COMMIT)
            drawn = random.choice(words, int((lengths := random.integers(2, 31, count)).sum()))
            texts = [" ".join(message) for message in np.split(drawn, np.cumsum(lengths)[:-1])]
            columns = {
                "message_id": [str(10**18 + int(place) * 4096 + first // ROWS_A_COMMIT) for place in places],
                "time": pa.array(start + places * step, pa.timestamp("ms", "UTC")),
                "sender": [f"user{number:02}" for number in random.integers(0, 60, count)],
                "type": ["txt"] * count,
                "text": texts,
                "thread_id": [f"2100000000{number:05}" for number in threads],
                "thread_name": [f"Thread number {number}" for number in threads],
                "group_id": ["201000000000001"] * count,
                "parent_message_id": [f"1880000000000{number:06}" for number in threads],
                "ext": [f'{{"mood": {number}}}' for number in random.integers(0, 5, count)],
                "edit_count": [0] * count,
            }
            arrays = [pa.array(columns.get(field.name, [None] * count)).cast(field.type) for field in SCHEMA]
            table = parquet.archive_rows(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA), "210000000000001", start)
            merge_batch(storage, writer, CommitBatch([table]), start)


def sizes(path: Path) -> dict[str, float]:
    """Compact an archive, and compare the size of its files with that of one file of the same rows."""
    import pyarrow.parquet as pq

    from imkit.archive import Archive, parquet
    from imkit.archive.catalogue import load
    from imkit.archive.storage import storage_at

    before = len(Archive(path).files())
    began = time.perf_counter()
    Archive(path).compact()
    compacting = time.perf_counter() - began
    files = load(storage_at(path)).files_of("messages")
    size = sum(file.size for file in files)
    one = path.parent / "one.parquet"
    order = [("target_id", "ascending"), ("time", "ascending"), ("message_id", "ascending")]
    table = parquet.read(storage_at(path), files).sort_by(order)
    pq.write_table(table, one, **parquet.write_options(table.column_names))
    return {
        "files_before_compacting": before,
        "files": len(files),
        "compacting_seconds": compacting,
        "bytes_a_message": size / table.num_rows,
        "size_over_one_file": size / one.stat().st_size,
    }


def query_times(path: Path) -> dict[str, Any]:
    """Count messages of each sender and day, with DuckDB and with pandas on the same files, taking turns."""
    import pandas as pd

    from imkit.archive import Archive

    archive = Archive(path)

    def duckdb() -> Any:
        return archive.sql(QUERY)

    def pandas() -> Any:
        paths: Any = archive.files()  # pandas takes a list of files; its stubs do not know
        frame = pd.read_parquet(paths, columns=["sender", "time", "gone_at"])
        frame = frame[frame.gone_at.isna()]
        return frame.groupby([frame.sender, frame.time.dt.floor("D")], observed=True).size()

    assert sorted(duckdb().n) == sorted(pandas())
    seconds: dict[str, list[float]] = {"duckdb": [], "pandas": []}
    for _, query in itertools.product(range(ROUNDS), (duckdb, pandas)):
        began = time.perf_counter()
        query()
        seconds[query.__name__].append(time.perf_counter() - began)
    return {
        "duckdb_seconds": median(seconds["duckdb"]),
        "pandas_seconds": median(seconds["pandas"]),
        "duckdb_times_pandas": median(seconds["pandas"]) / median(seconds["duckdb"]),
        "spread": {name: [min(rounds), max(rounds)] for name, rounds in seconds.items()},
    }


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    with tempfile.TemporaryDirectory() as folder:
        unchanged(Path(folder))
        quiet_year = filled(Path(folder), messages)
        record("archive: by day, the demo's quiet year", {**sizes(quiet_year), **query_times(quiet_year)})
        busy_month(Path(folder) / "month", messages)
        figures = {**sizes(Path(folder) / "month"), **query_times(Path(folder) / "month")}
        met = figures["size_over_one_file"] <= 1.1 and figures["duckdb_times_pandas"] > 1
        record("archive: by day, a busy month", {**figures, "target": "size <= 1.1; faster than pandas", "met": met})


if __name__ == "__main__":
    main()
