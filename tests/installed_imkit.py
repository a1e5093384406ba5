"""The wheel, installed with what it depends on and nothing else, as `pip install imkit` would do it elsewhere.

The packages are not downloaded: they are links to those of the running Python's environment, file by file. Which ones,
the metadata of the wheel and of each package say. A package that imkit uses but does not name is therefore missing.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def variables_for(python: Path | None) -> dict[str, str]:
    """Return the environment variables for a Python: for another than the running one without its PYTHONPATH."""
    return {name: value for name, value in os.environ.items() if python is None or name != "PYTHONPATH"}


def install(wheel: Path, place: Path) -> Path:
    """Make a virtual environment with the wheel and its dependencies, and return the path of its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    paths = sysconfig.get_paths(vars={"base": str(place), "platbase": str(place)})
    packages = Path(paths["purelib"])
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "--python", str(python)]
    variables = variables_for(python)
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], env=variables, check=True)
    (imkit,) = importlib.metadata.distributions(name="imkit", path=[str(packages)])
    for package in _closure(imkit):
        _link(package, packages)
    # pip knows the rule by which a dependency is fulfilled, and names those that are not.
    subprocess.run([*pip, "check"], env=variables, check=True)
    return python


def _closure(package: importlib.metadata.Distribution) -> Iterable[importlib.metadata.Distribution]:
    """Return what a package depends on, and what that depends on, and so on; each once."""
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(package, "")]
    while todo:
        wanting, extra = todo.pop()
        for requirement in map(Requirement, wanting.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            found[name] = found.get(name) or importlib.metadata.distribution(name)
            todo += [(found[name], wanted) for wanted in ("", *requirement.extras) if (name, wanted) not in seen]
            seen.update((name, wanted) for wanted in ("", *requirement.extras))
    return found.values()


def _link(package: importlib.metadata.Distribution, packages: Path) -> None:
    """Link a package's files, but not its commands: they name the Python that they were installed for.

    JupyterLab does not serve what a symbolic link leads to, so these are hard links; between two disks, copies.
    """
    for file in package.files or ():
        target = Path(os.path.normpath(packages / file))
        if target.parent.name != "bin" and Path(file.locate()).is_file():  # its bytecode may have been removed
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.locate(), target)
            except OSError:
                shutil.copyfile(file.locate(), target)
