"""Start-up times: the import, a first login that starts the sandbox, a second login that finds it running.

For comparison the same run imports pandas, which most notebooks do anyway.

    python benchmarks/startup.py
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import record
from imkit.sandbox.state import read_state

ROOT = Path(__file__).parent.parent
ROUNDS = 5
CODE = """
import json, time
began = time.perf_counter()
import imkit
imported = time.perf_counter()
imkit.login("alice").close()
first = time.perf_counter()
imkit.login("bob").close()
second = time.perf_counter()
import pandas
print(json.dumps({
    "import_seconds": imported - began,
    "first_login_seconds": first - imported,
    "second_login_seconds": second - first,
    "import_pandas_seconds": time.perf_counter() - second,
}))
"""


def one_round() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"IMKIT_HOME": home, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", CODE], env=environment, check=True, capture_output=True, text=True)
        state = read_state(Path(home) / "sandbox.json")
        if state is not None:
            os.kill(state.pid, signal.SIGTERM)
        found: dict[str, float] = json.loads(done.stdout)
        return found


def main() -> None:
    rounds = [one_round() for _ in range(ROUNDS)]
    figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    spread = {name: [min(each[name] for each in rounds), max(each[name] for each in rounds)] for name in rounds[0]}
    record("startup", {**figures, "spread": spread})


if __name__ == "__main__":
    main()
