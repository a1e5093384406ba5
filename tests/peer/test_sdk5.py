"""SDK 5 in Chromium and imkit, each as the other's partner, against the sandbox."""

import pytest

from imkit.sandbox.process import Sandbox
from tests.peer.node import HERE
from tests.peer.sdk5 import Sdk5
from tests.peer.walk.company import RECALL_SECONDS
from tests.peer.walk.walk import STEPS, walk

pytestmark = [pytest.mark.peer, pytest.mark.browser]


def test_the_pinned_kit_has_the_sdk_that_is_named() -> None:
    assert f'"{Sdk5.build}"' in (HERE / "node_modules/easemob-chat-uikit/ChatUI.umd.js").read_text()


@pytest.mark.timeout(180)
def test_sdk_5_and_imkit_walk_through_a_conversation() -> None:
    assert len(STEPS) >= 60
    with Sandbox(open_registration=True, recall_seconds=RECALL_SECONDS) as sandbox, Sdk5() as sdk:
        walk(sandbox, sdk)
        assert (sdk.unhandled, sdk.outside) == ([], [])
