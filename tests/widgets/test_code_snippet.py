"""`code_for`: the code that a history form shows."""

from typing import Any

import pytest

from imkit.widgets.code_snippet import code_for
from tests.widgets.conftest import Tea


@pytest.mark.parametrize("many", [False, True])
def test_the_code_compiles_and_is_short_for_one_conversation(tea: Tea, many: bool) -> None:
    conversations: list[Any] = [tea.thread, tea.group] if many else [tea.thread]
    code = code_for(tea.alice, conversations, {"limit": 3, "types": ["txt"]})
    compile(code, "cell", "exec")
    assert ("history(limit=3, types=['txt'])" in code) != many
