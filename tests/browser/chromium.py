"""Chromium for the browser tests: the machine's own, else Debian's package; nothing is downloaded from elsewhere.

`python tests/browser/chromium.py` prepares it; `make test` calls that.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# Without them 中文 and 🍵 are drawn as empty boxes. Per font: a character that only such a font has.
FONTS = {"fonts-noto-cjk": 0x8336, "fonts-noto-color-emoji": 0x1F375}
_QUIET = (
    *("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage", "no-sandbox"),
)


class ChromiumMissing(RuntimeError):
    """There is no Chromium here, and none could be installed."""


def find() -> str:
    """The path of the browser: `$CHROMIUM`, else the first on the PATH, else macOS's usual places."""
    named = os.environ.get("CHROMIUM")
    for candidate in [named] if named else [*map(shutil.which, NAMES), *ELSEWHERE]:
        if candidate and Path(candidate).exists():
            return candidate
    raise ChromiumMissing(
        "no Chromium was found: `make test` installs Debian's where it can (root, or sudo without a password); "
        "else install Chromium or Chrome, or name it in $CHROMIUM"
    )


@contextmanager
def running() -> Iterator[Browser]:
    """The browser, for as long as the block lasts; by itself it asks nobody for anything."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=[f"--{flag}" for flag in _QUIET])
        yield browser
        browser.close()


def lacking() -> list[str]:
    """The Debian packages that would complete this machine."""
    packages = []
    try:
        find()
    except ChromiumMissing:
        packages.append("chromium")
    if shutil.which("fc-list") is None:
        # No fontconfig: a Mac, whose own fonts have both, or a bare Debian, which lacks everything.
        return packages + (list(FONTS) if shutil.which("apt-get") else [])
    for package, character in FONTS.items():
        found = subprocess.run(["fc-list", f":charset={character:x}"], capture_output=True, text=True, check=False)
        if not found.stdout.strip():
            packages.append(package)
    return packages


def install() -> None:
    """Install what is lacking, with apt; raise `ChromiumMissing` where that leaves no browser."""
    packages = lacking()
    if not packages:
        return
    become_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not become_root or shutil.which("sudo")):
        print(f"installing {' '.join(packages)} with apt", flush=True)
        quietly = [*become_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        # The lists of a fresh machine are empty or old. A mirror that fails here fails below too, with a clear message.
        subprocess.run([*quietly, "update"], check=False, stdout=subprocess.DEVNULL)
        wanted = [*quietly, "install", "-y", "--no-install-recommends", *packages]
        subprocess.run(wanted, check=False, stdout=subprocess.DEVNULL)
    find()
    for package in lacking():
        print(f"note: no font of {package} here; some characters in screenshots will be boxes", flush=True)


if __name__ == "__main__":
    try:
        install()
    except ChromiumMissing as error:
        sys.exit(f"tests/browser: {error}")
