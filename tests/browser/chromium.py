"""Chromium for the browser tests: the installed one, else Debian's package. Nothing is downloaded from elsewhere.

`python tests/browser/chromium.py` installs what is missing; `make test` calls it.
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
MAC_PATHS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# Packages of fonts, each with a character to look for. Without them 中文 and 🍵 are drawn as empty boxes.
FONTS = {"fonts-noto-cjk": 0x8336, "fonts-noto-color-emoji": 0x1F375}
# With these flags it makes no requests of its own.
ARGUMENTS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-sandbox"),
)


class ChromiumMissing(RuntimeError):
    """There is no Chromium on this machine, and none could be installed."""


def find() -> str:
    """Return the path of the browser: `$CHROMIUM`, else the first on the PATH, else macOS's usual paths."""
    named = os.environ.get("CHROMIUM")
    for candidate in [named] if named else [*map(shutil.which, NAMES), *MAC_PATHS]:
        if candidate and Path(candidate).exists():
            return candidate
    raise ChromiumMissing(
        "no Chromium was found: `make test` installs Debian's where it can (root, or sudo without a password); "
        "else install Chromium or Chrome, or name it in $CHROMIUM"
    )


@contextmanager
def running(*more: str) -> Iterator[Browser]:
    """Run the browser during the block, with `more` arguments."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=[*ARGUMENTS, *more])
        yield browser
        browser.close()


def missing_packages() -> list[str]:
    """Return the Debian packages that this machine still needs."""
    packages = []
    try:
        find()
    except ChromiumMissing:
        packages.append("chromium")
    if shutil.which("fc-list") is None:
        # Without fontconfig this is macOS, which has both fonts, or a minimal Debian, which has none.
        return packages + (list(FONTS) if shutil.which("apt-get") else [])
    for package, character in FONTS.items():
        found = subprocess.run(["fc-list", f":charset={character:x}"], capture_output=True, text=True, check=False)
        if not found.stdout.strip():
            packages.append(package)
    return packages


def install() -> None:
    """Install the missing packages with apt; raise `ChromiumMissing` if there is still no browser."""
    packages = missing_packages()
    if not packages:
        return
    become_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not become_root or shutil.which("sudo")):
        print(f"installing {' '.join(packages)} with apt", flush=True)
        apt = [*become_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        # Package lists of a new machine are empty or old. If the update fails, so does the installation, and says why.
        subprocess.run([*apt, "update"], check=False, stdout=subprocess.DEVNULL)
        install_command = [*apt, "install", "-y", "--no-install-recommends", *packages]
        subprocess.run(install_command, check=False, stdout=subprocess.DEVNULL)
    find()
    for package in missing_packages():
        print(f"note: no font of {package} here; some characters in screenshots will be boxes", flush=True)


if __name__ == "__main__":
    try:
        install()
    except ChromiumMissing as error:
        sys.exit(f"tests/browser: {error}")
