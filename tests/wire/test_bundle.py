"""Bundle files (合并消息): damaged bytes raise nothing but ProtocolError."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from imkit.errors import ProtocolError
from imkit.wire.bundle import unpack
from tests.wire.checks import check_message
from tests.wire.recorded import BUNDLE, damaged
from tests.wire.strategies import often


@often(150)
@given(data=st.binary(max_size=120) | damaged([bytes.fromhex(json.loads(BUNDLE.read_text())["hex"])]))
def test_damaged_bundles_raise_protocol_errors_only(data: bytes) -> None:
    try:
        messages = unpack(data)
    except ProtocolError:
        return
    for message in messages:
        check_message(message)
