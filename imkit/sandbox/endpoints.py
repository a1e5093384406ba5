"""The names of imkit's own doors, and the version: known to the server and to who looks for it."""

from __future__ import annotations

APP_SERVER_TOKEN = "/imkit/app-server/token"
HEALTH = "/imkit/health"
RETIRE = "/imkit/retire"


def version() -> str:
    """Return the version of imkit that is installed; "0" when it is run without being installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and asked for once

    try:
        return version("imkit")
    except PackageNotFoundError:
        return "0"
