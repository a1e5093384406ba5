"""`make acceptance`: runs an acceptance scenario that others wrote against the sandbox.

`python -m tests.peer.acceptance FOLDER [ROUNDS]` runs FOLDER/scenario.mjs with the web and the mini-program build,
each with a new sandbox. The folder may be read-only: a copy of it runs, with the SDK linked into the copy.
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
        print(f"there is no scenario.mjs in {folder}", file=sys.stderr)
        return 2
    install()
    with tempfile.TemporaryDirectory(prefix="imkit-acceptance-") as place:
        copy = Path(place) / "peer"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
        copy.chmod(0o755)
        # The pinned SDK of tests/peer.
        (copy / "node_modules").symlink_to(Path(__file__).parent.joinpath("node_modules").resolve())
        results = [run(copy, build, place) for _ in range(rounds) for build in ("", "mini")]
    return 0 if all(results) else 1


def run(folder: Path, build: str, home: str) -> bool:
    """Run the scenario once, with a new sandbox; return whether it passed."""
    command = [sys.executable, "-m", "imkit", "sandbox", "--memory", "--open-registration"]
    environment = os.environ | {"IMKIT_HOME": home}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as sandbox:
        try:
            assert sandbox.stdout is not None
            address = json.loads(sandbox.stdout.readline())
            variables = {"IM_REST": address["rest_url"], "IM_WS": address["ws_url"], "IM_APPKEY": address["app_key"]}
            scenario = [ready().node, "scenario.mjs"]
            environment = os.environ | variables | {"IM_SDK": build}
            return subprocess.run(scenario, cwd=folder, env=environment, timeout=300, check=False).returncode == 0
        finally:
            sandbox.terminate()


if __name__ == "__main__":
    sys.exit(main())
