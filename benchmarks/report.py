"""Where figures go: printed, and kept in results.json with the machine and the versions they were measured on."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
PACKAGES = ("imkit", "websockets", "httpx", "protobuf", "pandas", "pyarrow", "uvicorn", "starlette")


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "packages": {name: version(name) for name in PACKAGES},
    }


def record(name: str, figures: dict[str, Any]) -> None:
    """Print the figures of one benchmark, and keep them in place of the last ones of that name."""
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
