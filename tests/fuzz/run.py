"""Fuzzes the decoders with atheris (`tests/fuzz/decoders.py`), which watches which lines an input reaches.

    python -m tests.fuzz.run                      all, each for FUZZ_SECONDS, FUZZ_JOBS at a time: `make fuzz`
    python -m tests.fuzz.run NAME OPTIONS…        one, with options of libFuzzer
    python -m tests.fuzz.run NAME FILE            one input, again

The input of a decoder that fails is kept in build/fuzz, and printed with the command that repeats it.
"""

import logging
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import atheris

BUILD = Path(__file__).parents[2] / "build" / "fuzz"

with atheris.instrument_imports(include=["imkit"]):
    from tests.fuzz.decoders import DECODERS, inputs, prepared


def fuzz_one(name: str, arguments: list[str]) -> None:
    logging.disable(logging.CRITICAL)
    with prepared():
        atheris.Setup([sys.argv[0], *arguments], DECODERS[name])
        atheris.Fuzz()  # ends the process


def fuzz_for(name: str, seconds: int) -> tuple[str, bool, str]:
    """Fuzz one decoder in a process of its own; return its name, whether nothing was found, and what it printed."""
    with tempfile.TemporaryDirectory(prefix=f"imkit-fuzz-{name}-") as corpus:
        with prepared():
            first = inputs(name)
        for number, data in enumerate(first):
            (Path(corpus) / f"seed-{number:03}").write_bytes(data)
        options = [f"-max_total_time={seconds}", "-max_len=8192", "-timeout=20", "-print_final_stats=1"]
        command = [sys.executable, "-m", "tests.fuzz.run", name, *options, f"-artifact_prefix={BUILD}/{name}-", corpus]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return name, done.returncode == 0, done.stdout + done.stderr


def main() -> None:
    name, *arguments = sys.argv[1:] or [""]
    if name:
        fuzz_one(name, arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    seconds, jobs = int(os.environ.get("FUZZ_SECONDS", "60")), int(os.environ.get("FUZZ_JOBS", "2"))
    found = []
    with ThreadPoolExecutor(jobs) as pool:
        for name, is_sound, printed in pool.map(lambda one: fuzz_for(one, seconds), DECODERS):
            runs = re.search(r"number_of_executed_units: *(\d+)", printed)
            count = int(runs[1]) if runs else 0
            print(f"{name:>15}  {count:>12,} inputs  {'nothing found' if is_sound else 'FAILED'}", flush=True)
            if not is_sound:
                found.append(name)
                print(printed[printed.find("=== Uncaught Python exception") :][-4000:])
                print(f"Again: python -m tests.fuzz.run {name} FILE, with the file in {BUILD}")
    print(f"{len(DECODERS)} decoders, {seconds} s each: {', '.join(found) or 'nothing'} found")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
