"""Each row of the README's table "The official SDK and imkit" names what both SDKs have, and what a test tries."""

import re
from pathlib import Path

import pytest

from tests.peer.node import HERE, ready
from tests.test_readme import parity

pytestmark = pytest.mark.peer

SDK_4 = ("node_modules/easemob-websdk/Easemob-chat.js", ("*.py", "*.mjs"))
SDK_5 = ("node_modules/easemob-chat-uikit/ChatUI.umd.js", ("walk/*.py", "sdk5.*", "test_kit.py"))


@pytest.mark.parametrize(("column", "bundle", "tests"), [(0, *SDK_4), (1, *SDK_5)], ids=["SDK 4", "SDK 5"])
def test_each_name_of_the_parity_table_is_in_the_sdk_and_in_a_test(
    column: int, bundle: str, tests: tuple[str, ...]
) -> None:
    ready()
    own = Path(__file__)
    sdk = set(re.findall(r"\w+", (HERE / bundle).read_text(encoding="utf-8")))
    tried = {
        word
        for pattern in tests
        for path in HERE.glob(pattern)
        if path != own
        for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))
    }
    named = {name for row in parity() for name in re.findall(r"`(\w+)`", row[column])}
    assert len(named) > 50
    assert sorted(named - sdk) == []
    assert sorted(named - tried) == []
