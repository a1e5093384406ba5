"""The repository as a newcomer gets it: no trace of one machine, light to import, complete in its wheel."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.installed_imkit import build_wheel

ROOT = Path(__file__).parents[1]

# Written so that this file does not contain what it looks for.
TRACES = {
    "the host of a package registry": r"pypi[.]org|python[h]osted|registry[.]npmjs|deb[.]debian",
    "a path of one machine": r"/work/(?:main|steering|[.]library)|/ro[o]t/|/home/(?!you\b|user\b)\w+/",
    "a document outside the repository": r"(?i)fact s[h]eet|[.][.]/s[h]ared|\bissue \d+['’]s",
}
LOCK_FILES = {"package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "Pipfile.lock"}
HEAVY = {"ipywidgets", "pandas", "pyarrow", "starlette", "uvicorn", "itables", "altair", "jupyterlab", "IPython"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("trace", TRACES)
def test_names_no(trace: str) -> None:
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if re.search(TRACES[trace], line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_holds_no_lock_files() -> None:
    # They record where packages were downloaded from. constraints.txt pins without that.
    assert [path for path in tracked() if path.name in LOCK_FILES] == []


def test_holds_no_links() -> None:
    # A link to a folder on one machine replaces that folder on another: it must not come with a checkout.
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if line.startswith("120000")] == []


def canonical(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_pins_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [project["dependencies"], *project["optional-dependencies"].values()]
    pinned = {canonical(pin) for pin in pins}
    assert {canonical(one) for some in asked for one in some} - pinned == set()


def loaded(code: str) -> set[str]:
    """The modules that a fresh Python has loaded once it has run some code."""
    tell = "; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + tell], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_is_light() -> None:
    # A terminal command or a script that only sends must not pay for tables, forms and servers.
    modules = loaded("import imkit")
    of_accessor = {"imkit.insight", "imkit.insight.registration"}  # which waits for pandas
    assert {name for name in modules if name.startswith("imkit.")} == of_accessor
    assert HEAVY & modules == set()
    assert (
        HEAVY & {name.partition(".")[0] for name in loaded("import imkit; imkit.Session, imkit.MessageReceived")}
        == set()
    )


def test_the_sandboxs_own_process_loads_no_client() -> None:
    modules = loaded("import imkit.cli, imkit.sandbox.server.server")
    parts = {".".join(name.split(".")[:2]) for name in modules if name.startswith("imkit.")}
    assert parts <= {
        *("imkit.cli", "imkit.sandbox", "imkit.wire", "imkit.cards", "imkit.errors", "imkit.escape", "imkit.events"),
        *("imkit.hints", "imkit.messages", "imkit.times", "imkit.tracebacks", "imkit.insight"),
    }
    assert "imkit.insight.accessor" not in modules
    assert {"httpx", "pandas", "numpy", "pyarrow"} & modules == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the files of the wheel are called."""
    return set(zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))).namelist())


def test_the_wheel_holds_every_module_and_its_types(wheel: set[str]) -> None:
    assert "imkit/py.typed" in wheel
    modules = {path.relative_to(ROOT).as_posix() for path in tracked() if path.parts[len(ROOT.parts)] == "imkit"}
    assert modules - wheel == set()


def test_the_tutorials_travel_in_the_wheel(wheel: set[str]) -> None:
    notebooks = {f"imkit/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks - wheel == set()


def test_the_wheel_brings_nothing_else(wheel: set[str]) -> None:
    # Or an installed imkit would put its `tests` beside everyone else's.
    assert {name.partition("/")[0] for name in wheel if ".dist-info/" not in name} == {"imkit"}
