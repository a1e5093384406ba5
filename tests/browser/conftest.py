"""Fixtures: one JupyterLab for all tests of this folder, one browser for each module, one page for each test.

JupyterLab and its kernels run in an environment that has the wheel of imkit and its dependencies, and nothing else.

Requests of a page to anything but 127.0.0.1 are refused and fail the test.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route

from tests.browser import chromium
from tests.browser.jupyter import Lab
from tests.installed_imkit import build_wheel, install


@pytest.fixture(scope="session")
def installed_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel is installed with its dependencies, and nothing else is."""
    place = tmp_path_factory.mktemp("installed")
    return install(build_wheel(place), place / "environment")


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, installed_python: Path) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), installed_python) as running:
        yield running


@pytest.fixture(autouse=True)
def _end_kernels_after_each_test(lab: Lab) -> Iterator[None]:
    yield
    lab.end_kernels()


# Scope "module": while Playwright runs, the main thread has a running event loop, so tests in other modules could not
# start their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.running() as running:
        yield running


@pytest.fixture
def outside_requests() -> list[str]:
    """URLs outside this machine that the page requested; all were refused."""
    return []


@pytest.fixture
def page(browser: Browser, outside_requests: list[str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that fails its test if it requests anything outside this machine, or if a script throws.

    Its language is English; a test sets another one by indirect parametrization.
    """
    context = browser.new_context(
        viewport={"width": 1100, "height": 900},
        locale=getattr(request, "param", "en-US"),
        timezone_id="Asia/Shanghai",
    )
    script_errors: list[str] = []

    def is_foreign(url: str) -> bool:
        address = urlsplit(url)
        return address.scheme in {"http", "https", "ws", "wss"} and address.hostname != "127.0.0.1"

    def note(request: Request) -> None:
        if is_foreign(request.url):
            outside_requests.append(request.url)

    def refuse(route: Route) -> None:
        if is_foreign(route.request.url):
            route.abort()
        else:
            route.continue_()

    context.on("request", note)
    context.route(is_foreign, refuse)
    opened = context.new_page()
    opened.on("pageerror", lambda error: script_errors.append(str(error)))
    yield opened
    context.close()
    assert not outside_requests, f"the page requested URLs outside this machine: {outside_requests}"
    assert not script_errors, f"errors in scripts of the page: {script_errors}"
