"""Each decoder of `make fuzz` takes its first inputs, and some that are broken, without a fuzzer."""

import random

import pytest

from tests.fuzz.decoders import DECODERS, inputs, prepared


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_takes_its_first_inputs(name: str) -> None:
    rng = random.Random(name)
    first = inputs(name)
    assert len(first) > 1, "a fuzzer needs a valid input to begin with"
    with prepared():
        for data in first:
            DECODERS[name](data)
        whole = [data for data in first[1:] if data]  # a frame without a Meta has an empty payload
        for data in rng.sample(whole, min(5, len(whole))):
            broken = bytearray(data)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            DECODERS[name](bytes(broken))
            DECODERS[name](data[: rng.randrange(len(data))])
