"""The screens of the official UI kit for SDK 5 in Chromium, as a user sees and uses them.

The names of its elements are those of the style sheet that comes with it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, Page

from tests.file_server import FileServer
from tests.peer.node import HERE, ready
from tests.peer.peer import WAIT_SECONDS
from tests.sandbox.server.raw_client import Server, token_of

# A pattern, and not a function: the browser would ask a function about every request, and this thread often waits for
# imkit. Sockets are not stopped; they go where the app's address says.
ELSEWHERE = re.compile(r"^https?://(?!127\.0\.0\.1:)")


class Screen:
    """One list of messages with its input: the chat of a group, or the thread beside it."""

    def __init__(self, page: Page, at: str) -> None:
        self._page = page
        self.all = page.locator(at)
        self.title = self.all.locator(".cui-header-content").first

    def message(self, text: str) -> Locator:
        """Return the message, or the notice, that shows this text."""
        return self.all.locator(".cui-messageList-msgItem", has_text=text).first

    def type(self, text: str, *, mention: str = "") -> None:
        """Type a text and press Enter; `mention` is a user whom to choose from the list that an `@` opens."""
        keyboard = self._page.keyboard
        self.all.locator(".cui-textarea-input").click()
        keyboard.type(text)
        if mention:
            keyboard.type(" @")
            # The list begins with "All"; typing narrows it down.
            self._page.locator(".cui-suggest-item").first.wait_for()
            keyboard.type(mention)
            self._page.locator(".cui-suggest-item.active", has_text=mention).wait_for()
            keyboard.press("Enter")
        keyboard.press("Enter")

    def send_picture(self, picture: bytes, file_name: str) -> None:
        """Send a picture from the user's disk."""
        with self._page.expect_file_chooser() as chooser:
            self.all.get_by_title("More").click()
            self._page.locator(".cui-moreAction:visible").get_by_text("Image").click()
        chooser.value.set_files({"name": file_name, "mimeType": "image/png", "buffer": picture})

    def choose(self, message: str, action: str) -> None:
        """Choose an action in the menu of a message, such as Reply or Recall."""
        self._hover(message).locator(".cui-message-base-body-action").first.click()
        self._page.locator(".cui-moreAction:visible").get_by_text(action, exact=True).click()

    def react(self, message: str, emoji: str) -> None:
        """Add a reaction to a message, from the kit's small keyboard of emoji."""
        self._hover(message).locator(".cui-reaction-icon").click()
        self._page.locator(f'img[alt="{emoji}"]:visible').click()

    def begin_thread(self, message: str) -> None:
        """Begin to create a thread on a message; the thread's screen then asks for its name and first message."""
        self._hover(message).locator(".cui-message-base-body-action").last.click()

    def _hover(self, message: str) -> Locator:
        found = self.message(message)
        found.locator(".cui-message-base-content").hover()
        return found


class Kit:
    """A page with the kit's screens."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.conversations = page.locator(".cui-conversationList")
        self.chat = Screen(page, ".cui-chat")
        self.thread = Screen(page, ".cui-thread")


@contextmanager
def kit_of(browser: Browser, app: Server, user: str) -> Iterator[Kit]:
    """Open the kit's screens for a user, on another origin than the sandbox's.

    At the end no request may have left this machine, and no error may have been left unhandled in the page.
    """
    problems: list[str] = []
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-US", timezone_id="Asia/Shanghai")
    context.set_default_timeout(WAIT_SECONDS * 1000)
    context.route(ELSEWHERE, lambda route: (problems.append(route.request.url), route.abort()))
    ready()
    with FileServer(HERE) as files:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{files.url}/uikit.html?kit.mjs")
        named = {"appKey": app.app_key, "restUrl": app.rest_url, "msyncUrl": app.ws_url}
        page.evaluate("show", named | {"userId": user, "token": token_of(app, user)})
        yield Kit(page)
        context.close()
    assert problems == []
