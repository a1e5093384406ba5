"""Gives every DataFrame the accessor ``.im`` as soon as there is pandas. Loads neither pandas nor Arrow itself.

A history frame may come from imkit, or from `pandas.read_parquet` in a program that has only imported imkit. So
``import imkit`` calls `register`, and the accessor is loaded when it is first used on a frame of imkit.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

HISTORY_COLUMNS = frozenset({"message_id", "time", "ext"})  # without these a frame is no history


def register() -> None:
    """Register the accessor: now if pandas is loaded, else at the end of its import. A second call does no harm."""
    if "pandas" in sys.modules:
        _register(sys.modules["pandas"])
    elif not any(isinstance(finder, _AfterPandas) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterPandas())


class _AfterPandas:
    """Finds no module itself. It lets the loader of pandas register the accessor after it has run the module."""

    def __init__(self) -> None:
        self._is_looking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "pandas" or self._is_looking:
            return None
        self._is_looking = True
        try:
            spec = importlib.util.find_spec(name)  # with the other finders
        finally:
            self._is_looking = False
        loader: Any = spec and spec.loader

        def run_and_register(module: ModuleType) -> None:
            del loader.exec_module  # the method of its class is there again
            loader.exec_module(module)
            _register(module)
            sys.meta_path.remove(self)

        with contextlib.suppress(AttributeError):  # there is no pandas, or a loader that cannot be changed
            loader.exec_module = run_and_register
        return spec


def _register(pandas: Any) -> None:
    if not hasattr(pandas.DataFrame, "im"):
        pandas.api.extensions.register_dataframe_accessor("im")(_accessor_of)


def _accessor_of(frame: Any) -> Any:
    """Return what ``frame.im`` is; pandas calls this once for each frame."""
    source = frame.attrs.get("imkit")
    is_insight = isinstance(source, dict) and "insight" in source
    missing = HISTORY_COLUMNS - set(frame.columns)
    if missing and not is_insight:
        from imkit.hints import COLUMNS_WERE_CHOSEN
        from imkit.misuse import UnknownName

        error = f".im works on imkit's history frames; this one has no {', '.join(sorted(missing))}"
        is_part = isinstance(source, dict) and "complete" in source  # of a history frame
        hint = f" · {COLUMNS_WERE_CHOSEN}" if is_part else ""
        raise UnknownName(error + hint, "im")
    from imkit.insight.accessor import ImAccessor, InsightAccessor  # loads pandas' and Arrow's parts

    return InsightAccessor(frame) if is_insight else ImAccessor(frame)
