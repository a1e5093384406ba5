"""The peak of resident memory while 1,000,000 messages become a DataFrame, above what the process used before.

Another process makes the pages and sends them through a pipe, so that only the memory of imkit is measured. The pages
take the steps of `history()`: drop entries whose id was seen, make batches, join them to a table, sort it, make a
DataFrame.

    python benchmarks/memory.py
"""

import gc
import json
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import record
from benchmarks.roaming_pages import pages

MESSAGES = 1_000_000
TARGET = 900  # bytes a message


def send(count: int) -> None:
    """Write pages to standard output, each after its length in 4 bytes."""
    for page in pages(count):
        sys.stdout.buffer.write(len(page).to_bytes(4, "big") + page)


def peak() -> int:
    """Return the peak of this process's resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def load(count: int) -> dict[str, float]:
    """Make a DataFrame of `count` messages, and return the memory that it took, in bytes a message."""
    import pyarrow as pa

    from imkit.history.columns import SCHEMA, batch_of, peek, sorted_table, to_batch
    from imkit.history.fetch import ROWS_A_PART
    from imkit.history.frames import frame_of_table
    from imkit.wire.roaming_page import parse_page

    frame_of_table(
        sorted_table(pa.Table.from_batches([batch_of([])]))
    )  # import everything, and run it once, before measuring
    command = [sys.executable, __file__, "send", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        gc.collect()
        before = peak()
        waiting: list[bytes] = []
        seen: set[int] = set()
        batches = []
        while size := int.from_bytes(sender.stdout.read(4), "big"):
            for entry in parse_page(sender.stdout.read(size)).entries:
                if (id_and_time := peek(entry)) is not None and id_and_time[0] not in seen:
                    seen.add(id_and_time[0])
                    waiting.append(entry)
            if len(waiting) >= ROWS_A_PART:
                batches.append(to_batch(waiting))
                waiting = []
        batches.append(to_batch(waiting))
    loaded = peak()
    frame = frame_of_table(sorted_table(pa.Table.from_batches(batches, SCHEMA)))
    assert len(frame) == count
    assert frame["time"].is_monotonic_increasing
    return {
        "peak_bytes_a_message": (peak() - before) / count,
        "of_them_until_loaded": (loaded - before) / count,
        "frame_bytes_a_message": int(frame.memory_usage(deep=True).sum()) / count,
    }


def main() -> None:
    command = [sys.executable, __file__, "load", str(MESSAGES)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    record(
        f"memory: {MESSAGES:,} messages to a frame",
        {**found, "target": f"<= {TARGET} bytes a message", "met": found["peak_bytes_a_message"] <= TARGET},
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", count]:
            send(int(count))
        case ["load", count]:
            print(json.dumps(load(int(count))))
        case _:
            main()
