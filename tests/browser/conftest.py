"""One JupyterLab for the run, one browser a module, one page a test, and no way out of 127.0.0.1."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route

from tests.browser import chromium
from tests.browser.jupyter import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_kernel_outlives_its_test(lab: Lab) -> Iterator[None]:
    yield
    lab.end_kernels()


# Not for the whole session: as long as Playwright is up, an event loop counts as running in the main thread, and
# every later test that starts one of its own would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.running() as running:
        yield running


@pytest.fixture
def asked_outside() -> list[str]:
    """What the page asked for that is not on this machine; it got none of it."""
    return []


@pytest.fixture
def page(browser: Browser, asked_outside: list[str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that fails its test when it asks for anything outside this machine, or when its scripts throw.

    It speaks English; a test may ask for another language by parametrizing it.
    """
    context = browser.new_context(
        viewport={"width": 1100, "height": 900},
        locale=getattr(request, "param", "en-US"),
        timezone_id="Asia/Shanghai",
    )
    thrown: list[str] = []

    def is_foreign(url: str) -> bool:
        address = urlsplit(url)
        return address.scheme in {"http", "https", "ws", "wss"} and address.hostname != "127.0.0.1"

    def note(request: Request) -> None:
        if is_foreign(request.url):
            asked_outside.append(request.url)

    def refuse(route: Route) -> None:
        if is_foreign(route.request.url):
            route.abort()
        else:
            route.continue_()

    context.on("request", note)
    context.route(is_foreign, refuse)
    opened = context.new_page()
    opened.on("pageerror", lambda error: thrown.append(str(error)))
    yield opened
    context.close()
    assert not asked_outside, f"the page asked for what is not on this machine: {asked_outside}"
    assert not thrown, f"scripts of the page threw: {thrown}"
