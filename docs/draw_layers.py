"""Draws docs/pictures/layers.svg: the layers of imkit, as import-linter checks them.

The layers come from the contracts in `pyproject.toml`; only the captions stand here. After a change of the contracts
run `python docs/draw_layers.py`: `tests/test_architecture.py` fails until the picture is the new one.
"""

from __future__ import annotations

import re
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "layers.svg"

# What stands beside a module's name; each module must have an entry, which may be empty.
CAPTIONS = {
    "__main__": "python -m imkit",
    "cli": "imkit lab, sandbox, export, doctor",
    "widgets": "forms for JupyterLab",
    "archive": "many threads on disk",
    "service_check": "imkit.doctor",
    "log_in": "login",
    "session": "Session",
    "threads": "Group, Thread",
    "conversation": "what a group and a thread share",
    "insight": "questions put to a frame or an archive",
    "history": "pages → columns → DataFrames",
    "sandbox": "starts and finds the server",
    "client": "one login: socket, REST, tokens, pace",
    "wire": "bytes ⇄ messages, without I/O",
    "events": "what a session is told",
    "file_errors": "disks",
    "messages": "with bodies",
    "pictures": "redrawn",
    "cards": "HTML of a card",
    "errors": "one tree",
    "misuse": "what a call that cannot be right ends in",
    "kernels": "of imkit lab",
    "tutorials": "copied",
    "escape": "safe text",
    "hints": "of errors",
    "portal": "event loop",
    "quotes": "and mentions",
    "repeated_warnings": "counted",
    "tracebacks": "short ones",
    "times": "ms ⇄ dates",
    "users": "User",
    "whole_files": "all or nothing",
}

WIDTH, MARGIN, GAP = 860, 20, 8
ROW_HEIGHT = 34
LEFT = 130  # of the boxes; on their left stand the names of the groups
STYLE = """
    svg { color-scheme: light dark }
    text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
    .name { font-weight: 600; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
    .note { font-size: 12px; fill: #59636e }
    .page { fill: #ffffff; stroke: #d1d9e0 }
    .box { fill: #eef4fb; stroke: #7a9cc6 }
    .ground { fill: #f3f3ee; stroke: #b3b09a }
    .server { fill: #fdf3e7; stroke: #c9954f; stroke-dasharray: 5 3 }
    .arrow { stroke: #59636e; fill: none; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 }
        .note { fill: #a6b0ba }
        .page { fill: #0d1117; stroke: #3d444d }
        .box { fill: #16263a; stroke: #4f7cb0 }
        .ground { fill: #22231d; stroke: #75735f }
        .server { fill: #2d2315; stroke: #b98a4a }
        .arrow { stroke: #a6b0ba }
    }
""".strip("\n")


def contracts() -> list[dict[str, object]]:
    """Return the contracts of import-linter, as `pyproject.toml` has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, object]] = settings["tool"]["importlinter"]["contracts"]
    return found


def layers() -> list[list[str]]:
    """Return the layers, the highest first; each is a list of modules that import nothing from each other."""
    (contract,) = (contract for contract in contracts() if contract["type"] == "layers")
    lines = contract["layers"]
    assert isinstance(lines, list)
    return [re.findall(r"\w+", line) for line in lines]


def picture() -> str:
    """Return the picture as SVG."""
    rows = layers()
    ground_begins = rows.index(["wire"]) + 1
    parts: list[str] = []
    top = MARGIN
    for number, row in enumerate(rows):
        if number == ground_begins:
            parts += _arrow(top - 2 * GAP)
            top += GAP
            parts.append(_text(MARGIN, top + 14, "ground", "note"))
            parts.append(_text(MARGIN, top + 30, "used everywhere", "note"))
        parts += _row(row, top, is_ground=number >= ground_begins)
        top += ROW_HEIGHT + GAP
    top += GAP
    parts.append(f'<rect class="server" x="{LEFT}" y="{top}" width="{WIDTH - LEFT - MARGIN}" height="52" rx="5"/>')
    parts.append(_text(LEFT + 12, top + 21, "sandbox.server", "name"))
    parts.append(_text(LEFT + 142, top + 21, "a process of its own; tests/peer judges it with the official SDK"))
    parts.append(
        _text(LEFT + 12, top + 41, "imports wire, the ground, and the settings in sandbox; never client", "note")
    )
    height = top + 52 + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            ' role="img" aria-labelledby="title">',
            '<title id="title">The layers of imkit: a module imports from the layers below its own</title>',
            f"<style>\n{STYLE}\n</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _row(modules: list[str], top: int, *, is_ground: bool) -> list[str]:
    """Return the boxes of one layer, side by side."""
    parts = []
    width = (WIDTH - LEFT - MARGIN - GAP * (len(modules) - 1)) / len(modules)
    for number, module in enumerate(modules):
        left = LEFT + number * (width + GAP)
        kind = "ground" if is_ground else "box"
        box = f'x="{left:.0f}" y="{top}" width="{width:.0f}" height="{ROW_HEIGHT}"'
        parts.append(f'<rect class="{kind}" {box} rx="5"/>')
        parts.append(_text(left + 12, top + 22, module, "name"))
        if CAPTIONS[module]:
            begin = 30 + 8 * len(module)
            assert begin + 7 * len(CAPTIONS[module]) < width, f"the caption of {module} is too long for its box"
            parts.append(_text(left + begin, top + 22, CAPTIONS[module]))
    return parts


def _arrow(end: int) -> list[str]:
    """Return the arrow on the left: imports lead down."""
    x, top = 60, MARGIN + 50
    return [
        _text(MARGIN, MARGIN + 18, "imports", "note"),
        _text(MARGIN, MARGIN + 34, "lead down", "note"),
        f'<path class="arrow" d="M{x} {top} V{end} M{x - 5} {end - 8} L{x} {end} L{x + 5} {end - 8}"/>',
    ]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
