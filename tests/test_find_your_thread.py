"""The page "Find your thread" and the README's section: each block of code runs as printed, and leads to the thread."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import imkit
from tests.test_readme import section
from tests.waits import eventually

PAGE = (Path(__file__).parent.parent / "docs" / "find-your-thread.md").read_text(encoding="utf-8")


def run(code: str, names: dict[str, Any]) -> list[Any]:
    """Run a block of code, and return the values of its lines that are expressions."""
    values = []
    for node in ast.parse(code).body:
        source = ast.unparse(node)
        if isinstance(node, ast.Expr):
            values.append(eval(source, names))
        else:
            exec(source, names)
    return values


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def names(alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread) -> dict[str, Any]:
    """Bob's session, and what is in his group: a thread that he has joined, and one that he has not."""
    thread.send("Dong Ding, please 🍵")
    group = alice.group(thread.group_id or "")
    group.create_thread("Puer", group.send("Which puer?")).send("A cake")
    return {"imkit": imkit, "session": bob, "alice": alice}


def test_the_page_leads_to_the_thread(names: dict[str, Any], thread: imkit.Thread) -> None:
    form_code, form_values, by_name, lists, newest, history, archive, event, overviews, parent, others, opened = blocks(
        PAGE
    )
    (form,) = run(form_code, names)
    try:
        assert eventually(lambda: form.picker.tree.find(f"thread:{thread.id}") is not None)
        form.picker.list._handle_custom_msg({"do": "pick", "key": f"thread:{thread.id}"}, [])  # as a click does
        assert eventually(lambda: form.thread is not None)
        assert [value[1] for value in run(form_values, names)] == [thread.id]
    finally:
        form.close()
    assert run(by_name, names) == [thread.id]
    groups, of_group, joined, seen = run(lists, names)
    assert groups == [("tea", thread.group_id)]
    assert {name for name, *_ in of_group} == {name for name, _ in seen} == {"Oolong", "Puer"}
    assert joined == [("Oolong", thread.id)]
    assert run(newest, names) == [[thread.id]]
    (found,) = run(history, names)
    assert found["thread_id"].tolist() == [thread.id]
    assert run(archive, names)[-1]["thread_id"].tolist() == [thread.id]
    assert run(event, names) == [thread.id]
    (carried,) = run(overviews, names)
    assert dict(carried)["Which oolong?"] == thread.id
    run(parent, names)
    assert names["thread"].id == thread.id
    assert names["thread"].parent().text == "Which oolong?"
    run(others, names)
    assert [each.name for each in names["others"]] == ["Puer"]
    assert len(list(names["session"].threads())) == 2
    assert run(opened, names) == [thread.id]


def test_the_section_of_the_readme_leads_to_the_thread(names: dict[str, Any], thread: imkit.Thread) -> None:
    (code,) = blocks(section("Find your thread (找到子区)"))
    run(code, names)
    assert names["thread"].id == thread.id


def test_each_row_of_the_pages_table_has_its_section() -> None:
    titles = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", PAGE, re.M)}
    assert set(re.findall(r"\(#([\w-]+)\)", PAGE)) == titles
