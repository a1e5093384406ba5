"""Shorter waits of the client, for tests."""

from dataclasses import replace
from typing import Any

import pytest

from imkit.client import account


def set_timing(patch: pytest.MonkeyPatch, **waits: Any) -> None:
    """Set waits of the connections that are made from now on; the names are the fields of `Timing`."""
    patch.setattr(account, "TIMING", replace(account.TIMING, **waits))
