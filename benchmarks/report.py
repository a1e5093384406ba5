"""Records figures: prints them and writes them to results.json, with the machine and the package versions.

python benchmarks/report.py     # writes the table in README.md from results.json
"""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.peer.node import find

RESULTS = Path(__file__).with_name("results.json")
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"
_NOT_FIGURES = ("measured_at", "spread", "target", "met")  # shown beside the figures, or not at all
PACKAGES = ("imkit", "websockets", "httpx", "protobuf", "pandas", "pyarrow", "uvicorn", "starlette")


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "node": _node(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _node() -> str | None:
    node = find()
    if node is None:
        return None
    return subprocess.run([node.node, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def record(name: str, figures: dict[str, Any]) -> None:
    """Print the figures of one benchmark, and write them over the earlier ones of the same name."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found[name] = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), **_rounded(figures)}
    found["machine"] = machine()
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    print(json.dumps({name: found[name]}, indent=1, ensure_ascii=False))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


# -------------------------------------------------------------------- the table


def table(found: dict[str, Any]) -> str:
    """Return the figures as a Markdown table, those with a target first."""
    rows = sorted((name, figures) for name, figures in found.items() if name != "machine")
    lines = ["| what | asked for | measured | met |", "|---|---|---|---|"]
    for name, figures in sorted(rows, key=lambda row: "target" not in row[1]):
        met = {True: "yes", False: "**no**", None: ""}[figures.get("met")]
        measured = "<br>".join(_figure_texts(figures, figures.get("spread")))
        lines.append(f"| {name} | {figures.get('target', '')} | {measured} | {met} |")
    about = found["machine"]
    packages = ", ".join(f"{package} {number}" for package, number in about["packages"].items())
    where = f"{about['cores']} cores, {about['system']}, Python {about['python']}, Node {about.get('node')}"
    return "\n".join(
        [
            *lines,
            "",
            f"Measured on {where}; {packages}. In brackets: the smallest and the largest figure of the rounds.",
        ]
    )


def _figure_texts(figures: dict[str, Any], spread: Any) -> list[str]:
    """Return the figures of one benchmark as texts, one for each figure or client."""
    texts = []
    for name, value in figures.items():
        if name in _NOT_FIGURES:
            continue
        words = name.replace("_", " ")
        if isinstance(value, dict):
            texts.append(f"{words}: {', '.join(_figure_texts(value, None))}")
        else:
            between = spread.get(name) if isinstance(spread, dict) else spread if name == "ratio" else None
            around = f" [{_number(between[0])} to {_number(between[1])}]" if between else ""
            texts.append(f"{words} {_number(value)}{around}")
    return texts


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def write_table() -> None:
    """Write the table of the figures in results.json into README.md, between the two marks."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n\n{table(json.loads(RESULTS.read_text()))}\n\n{END}{after}")


if __name__ == "__main__":
    write_table()
