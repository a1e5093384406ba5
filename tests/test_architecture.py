"""The page on the architecture is true: its names exist, its picture is new, and it tells what `make lint` checks."""

from __future__ import annotations

import importlib
import re
import runpy
from types import ModuleType

import pytest

from tests.test_repository import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DRAWING = runpy.run_path(str(ROOT / "docs" / "draw_layers.py"))
DOTTED = sorted(set(re.findall(r"`(imkit(?:\.\w+)+)`", PAGE)))
IN_SCRIPTS = sorted(set(re.findall(r"`(imkit/widgets/static/[\w.]+):(\w+)`", PAGE)))
PATHS = sorted(set(re.findall(r"`([\w./-]+/[\w./-]*)`", PAGE)))


def section(title: str) -> str:
    return re.split(r"^#{2,3} ", PAGE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def resolve(name: str) -> object:
    """Return the module, class or function that a dotted name means."""
    parts = name.split(".")
    found: object = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            importlib.import_module(".".join(parts[:number]))
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", DOTTED)
def test_each_dotted_name_exists(name: str) -> None:
    assert resolve(name) is not None


@pytest.mark.parametrize(("path", "function"), IN_SCRIPTS)
def test_each_function_of_a_script_exists(path: str, function: str) -> None:
    assert re.search(rf"\b(?:const|let|function) {function}\b", (ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PATHS)
def test_each_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_page_names_enough_of_each_kind() -> None:
    # The tests above check what their patterns find. A page in another form must not pass as an empty one.
    assert (len(DOTTED) > 90, len(IN_SCRIPTS) > 5, len(PATHS) > 10) == (True, True, True)


def test_the_picture_is_what_the_script_makes() -> None:
    hint = "run: python docs/draw_layers.py"
    assert (ROOT / "docs" / "pictures" / "layers.svg").read_text(encoding="utf-8") == DRAWING["picture"](), hint


def test_the_picture_shows_each_layer_and_group() -> None:
    for row in DRAWING["layers"]():
        for module in row:
            assert f">{module}</text>" in DRAWING["picture"]()


def test_the_page_has_each_layer_in_its_table() -> None:
    table = section("Layers")
    for row in DRAWING["layers"]():
        for module in row:
            assert f"`imkit/{module}.py`" in table or f"`imkit/{module}/`" in table, module


def test_the_page_tells_each_contract() -> None:
    told = section("What `make lint` checks")
    assert told.count("(import-linter)") == len(DRAWING["contracts"]())
    forbidden = [contract for contract in DRAWING["contracts"]() if contract["type"] == "forbidden"]
    assert forbidden
    for contract in forbidden:
        for module in (*contract["source_modules"], *contract["forbidden_modules"]):
            assert f"`{module}`" in told, f"{contract['name']}: {module}"


def test_each_journey_has_numbered_steps_with_a_name() -> None:
    for number in range(1, 5):
        (title,) = re.findall(rf"^## (Journey {number}: .*)$", PAGE, re.MULTILINE)
        steps = re.findall(r"^\d+\. (.*)$", section(title), re.MULTILINE)
        assert len(steps) > 7
        for step in steps:
            assert re.search(r"`imkit[./]\w", step), step
