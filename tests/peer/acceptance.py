"""`make acceptance`: runs acceptance scenarios that others wrote against the sandbox.

`python -m tests.peer.acceptance FOLDER [ROUNDS]` runs FOLDER/scenario.mjs with the web and the mini-program build of
SDK 4, and then FOLDER/scenario5.mjs (in Node) or FOLDER/scenario5.py for SDK 5; without these the walk of this
repository. Each run has a new sandbox. The folder may be read-only: a copy of it runs, with the SDKs linked into it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser import chromium
from tests.file_server import FileServer
from tests.peer.node import HERE, install, ready

ROOT = HERE.parents[1]
SCENARIO, SCENARIOS_OF_SDK_5 = "scenario.mjs", ("scenario5.mjs", "scenario5.py")
SECONDS = 300  # for one run


def main() -> int:
    folder = Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if not any((folder / name).exists() for name in (SCENARIO, *SCENARIOS_OF_SDK_5)):
        print(f"there is no {SCENARIO} in {folder}", file=sys.stderr)
        return 2
    install()
    with tempfile.TemporaryDirectory(prefix="imkit-acceptance-") as place:
        copy = Path(place) / "peer"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
        copy.chmod(0o755)
        # The pinned SDKs of tests/peer.
        (copy / "node_modules").symlink_to((HERE / "node_modules").resolve())
        results = [result for _ in range(rounds) for result in one_round(copy, place)]
    return 0 if all(results) else 1


def one_round(folder: Path, home: str) -> list[bool]:
    """Run every scenario of the folder once, and the walk if there is none for SDK 5; return which passed."""
    results = []
    if (folder / SCENARIO).exists():
        results += [run(folder, SCENARIO, home, {"IM_SDK": build}) for build in ("", "mini")]
    own = [name for name in SCENARIOS_OF_SDK_5 if (folder / name).exists()]
    if not own:
        walk = [sys.executable, "-m", "pytest", "-q", "-s", "tests/peer/test_sdk5.py"]
        return [*results, subprocess.run(walk, cwd=ROOT, timeout=SECONDS, check=False).returncode == 0]
    with FileServer(folder) as files:
        variables = {"IM_PAGES": files.url, "CHROMIUM": chromium.find()}
        return results + [run(folder, name, home, variables) for name in own]


def run(folder: Path, scenario: str, home: str, more: dict[str, str]) -> bool:
    """Run a scenario once, with a new sandbox; return whether it passed."""
    command = [sys.executable, "-m", "imkit", "sandbox", "--memory", "--open-registration"]
    environment = os.environ | {"IMKIT_HOME": home}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as sandbox:
        try:
            assert sandbox.stdout is not None
            address = json.loads(sandbox.stdout.readline())
            variables = {"IM_REST": address["rest_url"], "IM_WS": address["ws_url"], "IM_APPKEY": address["app_key"]}
            program = sys.executable if scenario.endswith(".py") else ready().node
            environment = os.environ | variables | more
            command = [program, scenario]
            return subprocess.run(command, cwd=folder, env=environment, timeout=SECONDS, check=False).returncode == 0
        finally:
            sandbox.terminate()


if __name__ == "__main__":
    sys.exit(main())
