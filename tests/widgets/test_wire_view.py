"""`WireView`: the page gets the frames and REST calls, decoded, and no token."""

import json
from typing import Any

from imkit.widgets import WireView
from tests.widgets.conftest import FakePage, Tea, until


def entries_of(page: FakePage) -> list[dict[str, Any]]:
    """Return all entries that the page got."""
    return [entry for content in page.received if content["do"] == "entries" for entry in content["entries"]]


def test_an_open_page_gets_frames_and_calls_without_tokens(tea: Tea, forms: list[Any]) -> None:
    view = WireView(tea.alice, lang="en")
    forms.append(view)
    page = FakePage(view.list)
    tea.thread.send("before the page")
    page.send(do="open")
    tea.thread.send("Dong Ding 🍵")
    tea.thread.refresh()
    until(lambda: any(entry["command"].startswith("200 ") for entry in entries_of(page)))
    entries = entries_of(page)
    assert {entry["direction"] for entry in entries} == {"up", "down"}
    texts = json.dumps(entries, ensure_ascii=False)
    assert "before the page" in texts
    assert "Dong Ding 🍵" in texts
    token = tea.alice.account.credentials._token
    assert token
    assert token not in texts
