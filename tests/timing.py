"""Waits of the client, made short for a test."""

from dataclasses import replace
from typing import Any

import pytest

from imkit.client import account


def set_timing(patch: pytest.MonkeyPatch, **waits: Any) -> None:
    """Change some waits of the connections that are made from now on; the names are those of `Timing`."""
    patch.setattr(account, "TIMING", replace(account.TIMING, **waits))
