"""`make acceptance`: an acceptance run of someone else's writing (../shared/peer) against our sandbox.

`python -m tests.peer.acceptance FOLDER [ROUNDS]` walks through FOLDER/scenario.mjs with the web and the mini-program
build, each against a sandbox of its own. The folder may be read-only: it is copied, and the SDK installed in the copy.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.peer.node import install, ready


def main() -> int:
    folder = Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if not (folder / "scenario.mjs").exists():
        print(f"no acceptance run at {folder}: nothing to do here (tests/peer is part of `make test` always)")
        return 0
    install()
    with tempfile.TemporaryDirectory(prefix="imkit-acceptance-") as place:
        copy = Path(place) / "peer"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
        copy.chmod(0o755)
        # The SDK is the same pinned one that tests/peer has.
        (copy / "node_modules").symlink_to(Path(__file__).parent.joinpath("node_modules").resolve())
        results = [run(copy, build, place) for _ in range(rounds) for build in ("", "mini")]
    return 0 if all(results) else 1


def run(folder: Path, build: str, home: str) -> bool:
    """One walk through the scenario, against a fresh sandbox of its own."""
    command = [sys.executable, "-m", "imkit", "sandbox", "--memory", "--open-registration"]
    environment = os.environ | {"IMKIT_HOME": home}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as sandbox:
        try:
            said = json.loads(sandbox.stdout.readline())
            told = {"IM_REST": said["rest_url"], "IM_WS": said["ws_url"], "IM_APPKEY": said["app_key"], "IM_SDK": build}
            scenario = [ready().node, "scenario.mjs"]
            return subprocess.run(scenario, cwd=folder, env=os.environ | told, timeout=300, check=False).returncode == 0
        finally:
            sandbox.terminate()


if __name__ == "__main__":
    sys.exit(main())
