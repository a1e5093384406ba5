"""The protocol page and the links of the documentation: each link leads to a tracked file and to a heading in it."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from tests.test_repository import ROOT, tracked

PAGE = "docs/protocol.md"
CITATION = re.compile(re.escape(PAGE) + r"#([\w-]+)")
CITING = ("imkit/", "tests/", "docs/", "benchmarks/", "notebooks/", "README.md", "CONTRIBUTING.md")
LINK = re.compile(r"\]\(([^()\s]+)(?: \"[^\"]*\")?\)")
TRACKED = {path.relative_to(ROOT).as_posix() for path in tracked()}
DOCUMENTS = sorted(name for name in TRACKED if re.fullmatch(r"docs/[^/]+\.md|README\.md|CONTRIBUTING\.md", name))


def without_code(markdown: str) -> str:
    """Return Markdown without code blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL))


def anchors(markdown: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them.

    GitHub writes a heading in lower case, drops all but letters, digits, spaces, hyphens and underscores, and turns
    each space into a hyphen. The second heading with the same anchor gets "-1", the third "-2".
    """
    found: set[str] = set()
    markdown = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", markdown, flags=re.MULTILINE):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = 0
        while (candidate := f"{anchor}-{count}" if count else anchor) in found:
            count += 1
        found.add(candidate)
    return found


def citations() -> dict[str, set[str]]:
    """Return the sections of the protocol page that each tracked file cites."""
    found = {}
    for name in sorted(TRACKED):
        if name.startswith(CITING) and (cited := CITATION.findall(read(name))):
            found[name] = set(cited)
    return found


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# Roaming history", {"roaming-history"}),
        ("## `Meta.ns`, and more", {"metans-and-more"}),
        ("## 子区 a/b_c", {"子区-ab_c"}),
        ("# Same\n\n# Same", {"same", "same-1"}),
        ("```\n# code\n```\n### [Linked](#x) heading", {"linked-heading"}),
    ],
)
def test_anchors_follow_the_rule_of_github(markdown: str, expected: set[str]) -> None:
    assert anchors(markdown) == expected


def test_each_cited_section_of_the_protocol_page_exists() -> None:
    sections = anchors(read(PAGE))
    missing = {name: cited - sections for name, cited in citations().items() if cited - sections}
    assert len(citations()) > 10
    assert missing == {}


def test_the_list_of_what_is_unknown_names_each_section_that_has_something_inferred() -> None:
    _, *parts = re.split(r"^#{2,6} +(.+)$", read(PAGE), flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    listed = set(re.findall(r"\]\(#([\w-]+)\)", sections["What is inferred or unknown"]))
    about_marks = ("How to read this page", "What is inferred or unknown")
    unsure = re.compile(r"\[(\w+, )*inferred|(is|are) not documented|(is|are) (not known|unknown)")
    told = {anchor for title, text in sections.items() if unsure.search(text) for anchor in anchors(f"# {title}")}
    assert told - listed - {anchor for title in about_marks for anchor in anchors(f"# {title}")} == set()


def test_each_module_of_the_wire_cites_the_protocol_page() -> None:
    modules = {name for name in TRACKED if re.fullmatch(r"imkit/wire/\w+\.py", name)}
    assert "imkit/wire/schema.py" in modules
    assert modules - citations().keys() == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_relative_link_leads_somewhere(document: str) -> None:
    broken = []
    for link in LINK.findall(without_code(read(document))):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = unquote(link).partition("#")
        target = (ROOT / document).parent.joinpath(place).resolve() if place else ROOT / document
        if not target.is_relative_to(ROOT):
            broken.append(f"{link}: outside the repository")
            continue
        name = target.relative_to(ROOT).as_posix()
        is_folder = any(tracked_name.startswith(f"{name}/") for tracked_name in TRACKED)
        if name not in TRACKED and not is_folder:
            broken.append(f"{link}: no tracked file")
        elif anchor and (not name.endswith(".md") or anchor not in anchors(read(name))):
            broken.append(f"{link}: no such heading")
    assert broken == []


def test_the_documents_are_found() -> None:
    assert {"README.md", PAGE} <= set(DOCUMENTS)
