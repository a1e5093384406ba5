"""The page for contributors is true: its make targets, paths and tests exist, and its lists of steps are held."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

import imkit
from imkit.history.arguments import query
from imkit.messages import Attachment, Body, Command, Streamed, Unknown
from imkit.sandbox.server.message_record import kind_of
from imkit.widgets import history_form, labels
from imkit.wire.codec import encode_content
from tests.history import test_frames
from tests.test_repository import ROOT
from tests.wire.strategies import NINE_BODIES

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE)
MADE = {".venv", "dist/"}  # by make, so not in a clone
PATHS = sorted({code for code in CODE if re.fullmatch(r"[\w.-]*/[\w./-]*|[\w-]+\.(?:md|toml|txt)", code)} - MADE)
TESTS = sorted({code for code in CODE if "::" in code or code.startswith("test_")})
BODIES = [
    kind
    for kind in vars(imkit.messages).values()
    if isinstance(kind, type) and issubclass(kind, Body) and kind not in (Body, Attachment, Streamed, Unknown)
]


def test_each_make_target_exists() -> None:
    targets = set(re.findall(r"\bmake ([a-z]+)", " ".join(code for code in CODE if "make " in code)))
    assert len(targets) > 10
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_variables_of_make_exist() -> None:
    variables = set(re.findall(r"\b([A-Z]{4,})=", " ".join(CODE))) - {"PYTHON"}
    assert variables == {"ACCEPTANCE", "ROUNDS"}
    for variable in variables:
        assert re.search(rf"^{variable} \?=", MAKEFILE, re.MULTILINE), variable


@pytest.mark.parametrize("path", PATHS)
def test_each_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", TESTS)
def test_each_test_exists(name: str) -> None:
    path, _, function = name.rpartition("::")
    sources = [ROOT / path] if path else sorted((ROOT / "tests").rglob("test_*.py"))
    assert any(re.search(rf"^def {function}\(", file.read_text(encoding="utf-8"), re.MULTILINE) for file in sources)


def test_the_patterns_find_enough() -> None:
    assert len(PATHS) > 60
    assert len(TESTS) > 10


def test_the_versions_of_python_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [re.search(r"Python :: (3\.\d+)$", name) for name in project["classifiers"]]
    assert set(re.findall(r"\b3\.\d\d\b", PAGE)) == {version[1] for version in versions if version}


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
def test_each_message_type_is_known_everywhere(kind: type[Body]) -> None:
    assert kind.__name__ in imkit.__all__
    assert kind in NINE_BODIES
    assert kind in {type(body) for body in test_frames.BODIES}
    assert encode_content(kind()).HasField("type")
    assert query(types=[kind.type]).types == {kind.type}
    assert kind_of(encode_content(kind())) == kind.type  # in the sandbox's server
    assert f"type_{kind.type}" in labels.CATALOGUE
    assert kind.type in history_form._TYPES or kind is Command  # the service does not keep commands


def test_each_form_is_tested_for_leaks() -> None:
    tested = ast.parse((ROOT / "tests" / "widgets" / "test_base.py").read_text(encoding="utf-8"))
    used = {node.func.id for node in ast.walk(tested) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert set(imkit.widgets.__all__) - {"explore"} <= used


def test_each_term_of_the_glossary_has_its_chinese() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.split("## Glossary\n", 1)[1], re.MULTILINE)[1:]
    terms = [term.lower() for term, _, _ in rows]
    assert terms == sorted(terms)
    assert len(terms) > 25
    for term, chinese, _ in rows[1:]:
        assert re.search(r"[\u4e00-\u9fff]", chinese) or chinese == "App Key", term
