"""The paths of imkit's own REST endpoints, and imkit's version, for the server and for its clients."""

from __future__ import annotations

APP_SERVER_TOKEN = "/imkit/app-server/token"
HEALTH = "/imkit/health"
RETIRE = "/imkit/retire"


def version() -> str:
    """Return the version of the installed imkit; "0" if imkit runs without being installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and used once

    try:
        return version("imkit")
    except PackageNotFoundError:
        return "0"
