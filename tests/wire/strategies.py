"""Hypothesis strategies: JSON values, extension attributes, the nine message bodies, and JSON of any form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from imkit.messages import (
    Audio,
    Body,
    Combine,
    Command,
    Custom,
    File,
    Image,
    Location,
    Text,
    Video,
)

HALF = "\ud83c"  # a lone surrogate: the first half of an emoji, which UTF-8 cannot encode


def often(examples: int) -> Callable[[Any], Any]:
    """Return Hypothesis settings with so many examples, which are the same in every run."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, derandomize=True, database=None, suppress_health_check=quiet)


INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | INT64 | FLOATS | st.text(max_size=20)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EXT = st.dictionaries(st.text(max_size=8), JSON, max_size=5)
WORDS = st.text(min_size=1, max_size=30)
COUNTS = st.integers(1, 2**31 - 1)
LENGTHS = st.floats(min_value=1e-3, max_value=1e12)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


ATTACHED: dict[str, Any] = {
    "url": optional(WORDS),
    "file_name": optional(WORDS),
    "file_size": optional(COUNTS),
    "secret": optional(WORDS),
    "ext": EXT,
}
THUMBNAIL = {"thumbnail_url": optional(WORDS), "thumbnail_secret": optional(WORDS)}
IMAGE_SIZE = {"width": optional(LENGTHS), "height": optional(LENGTHS)}
NINE_BODIES: dict[type[Body], st.SearchStrategy[Any]] = {
    Text: st.builds(Text, st.text(), ext=EXT),
    Image: st.builds(Image, **ATTACHED, **IMAGE_SIZE, animated=st.booleans()),
    Audio: st.builds(Audio, **ATTACHED, duration=optional(COUNTS)),
    Video: st.builds(Video, **ATTACHED, duration=optional(COUNTS), **THUMBNAIL),
    File: st.builds(File, **ATTACHED),
    Location: st.builds(Location, FLOATS, FLOATS, st.text(), building_name=st.text(), ext=EXT),
    Command: st.builds(Command, st.text(), ext=EXT),
    Custom: st.builds(Custom, st.text(), EXT, ext=EXT),
    Combine: st.builds(Combine, st.text(), summary=st.text(), fallback=st.text(), level=COUNTS, **ATTACHED),
}

# JSON of any form, with the keys that the service uses, and values that are not valid JSON.
ODD_LEAVES = LEAVES | st.sampled_from(
    [math.nan, math.inf, HALF, 2**64, -(2**70), 10**400, "9" * 20, "thread", "create", "txt"]
)
KNOWN_KEYS = st.sampled_from(
    "id from to timestamp payload bodies type msg ext meta thread thread_name muc_parent_id msg_parent_id size width "
    "height length file_length lat lng addr customEvent customExts subType title url filename secret combineLevel data "
    "operation message_count last_message name action count thread_overview edit_msg reaction".split()
)
ODD_JSON = st.recursive(
    ODD_LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KNOWN_KEYS | st.text(max_size=3), inner, max_size=6),
    max_leaves=25,
)
BODY_TYPES = st.sampled_from(
    ["txt", "img", "audio", "video", "file", "loc", "cmd", "custom", "sub_combine", "new", 5, None]
)
OBJECTS = st.dictionaries(KNOWN_KEYS, ODD_JSON, max_size=8)
# Objects in the form of `last_message`, with any values.
REST_MESSAGES = st.builds(
    lambda kind, part, payload, outer: {
        **outer,
        "payload": {**payload, "bodies": [{**part, "type": kind, "subType": kind}]},
    },
    BODY_TYPES,
    OBJECTS,
    OBJECTS,
    OBJECTS,
)
