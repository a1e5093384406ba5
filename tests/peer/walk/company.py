"""The company of a walk: SDK 5 in Chromium and imkit go through a conversation together, one named step after another.

Alice uses SDK 5, in a page, and later also a tablet, which is a second page. Bob, Carol and Dave use imkit. Alice owns
the group "tea", Bob the group "coffee". A step may use what earlier steps have made, so the first failure ends a walk.

This module has the people and what the steps ask; the steps of a subject are in the module of its name, and `walk` has
their order.
"""

import json
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import imkit
from imkit.sandbox.process import Sandbox
from tests.faults.proxy import Proxy
from tests.peer.peer import SdkError
from tests.peer.sdk5 import Sdk5, Sdk5Device
from tests.waits import WAIT

PASSWORD = "tea-for-two"
RECALL_SECONDS = 8  # the walk recalls at once what may be recalled; its last steps come later than this
# The error codes of SDK 5.
INVALID, TOKEN_EXPIRED, AUTHENTICATION, FORBIDDEN, NO_MEMBER, NOT_FOUND = 110, 108, 202, 210, 602, 606
PASSWORD_CHANGED, SENT_AWAY, MUTED, GROUP_DISABLED = 216, 217, 215, 607
REFUSED = 1  # actions (recalls, edits) are rejected with the status of the answer, and its reason


@dataclass
class Walk:
    """The people, and what the steps have made so far."""

    sandbox: Sandbox
    sdk: Sdk5
    proxy: Proxy
    alice: Sdk5Device
    bob: imkit.Session
    carol: imkit.Session
    dave: imkit.Session
    folder: Path  # for downloads
    held: ExitStack  # closed at the end of the walk
    # What the steps make.
    tea: str = field(init=False)  # Alice's group
    coffee: str = field(init=False)  # Bob's group
    parent: str = field(init=False)  # the message of Alice's on which Oolong hangs
    free_parent: str = field(init=False)  # a message in "tea" without a thread
    oolong: str = field(init=False)  # Alice's thread in "tea"
    mocha: str = field(init=False)  # Bob's thread in "coffee"
    early: imkit.Message = field(init=False)  # what Alice first wrote in Mocha
    liked: str = field(init=False)  # a message with reactions
    tablet: Sdk5Device = field(init=False)  # Alice's second page
    laptop: imkit.Session = field(init=False)  # Alice's login with imkit

    @property
    def thread(self) -> imkit.Thread:
        """Oolong, for Bob."""
        return self.bob.thread(self.oolong)

    def says(self, content: str, **options: Any) -> str:
        """Let Alice send a text to Oolong; return its id."""
        message_id = self.alice.send(self.oolong, content=content, **options)["msgServerId"]
        assert isinstance(message_id, str)
        return message_id


Act = Callable[[Walk], None]
E = TypeVar("E", bound=imkit.Event)


@dataclass(frozen=True)
class Step:
    """One step: what happens in it, in words, and the function that does it."""

    words: str
    act: Act


class Steps(list[Step]):
    """The steps of one subject, in order."""

    def add(self, act: Act) -> Act:
        """Make a function the next step; its docstring says what happens."""
        assert act.__doc__
        self.append(Step(act.__doc__, act))
        return act


@contextmanager
def people(sandbox: Sandbox, sdk: Sdk5) -> Iterator[Walk]:
    """Log the people of imkit in, and open Alice's page, whose socket leads through a proxy."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(sandbox))
        alice = sdk.device(sandbox, ws_url=proxy.ws_url)
        alice.call("register", "alice", PASSWORD)
        bob, carol, dave = (
            stack.enter_context(imkit.login(name, app=sandbox.app)) for name in ("bob", "carol", "dave")
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield Walk(sandbox, sdk, proxy, alice, bob, carol, dave, folder, stack)


# ---------------------------------------------------------------- what steps ask


def heard(session: imkit.Session, message_id: str) -> imkit.Message:
    """Return a message that a session receives, or has received."""
    events = session.events(imkit.MessageReceived)
    return events.next(timeout=WAIT, where=lambda event: event.message.id == message_id).message


def told(session: imkit.Session, kind: type[E], **fields: object) -> E:
    """Return an event that a session gets, or has got."""

    def fits(event: E) -> bool:
        return all(getattr(event, name) == value for name, value in fields.items())

    found = session.events(kind).next(timeout=WAIT, where=fits)
    assert isinstance(found, kind)
    return found


def refused(device: Sdk5Device, method: str, *args: Any) -> SdkError:
    """Make a call that must be refused; return the error."""
    try:
        answer = device.call(method, *args)
    except SdkError as error:
        return error
    raise AssertionError(f"{method} was not refused; it answered {answer}")


def in_thread(thread: str) -> dict[str, str]:
    return {"conversationId": thread, "conversationType": "groupChat"}


def all_pages(device: Sdk5Device, method: str, **asked: Any) -> list[dict[str, Any]]:
    """Return the items of all pages of a list."""
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(20):
        page = device.call(method, {**asked, "cursor": cursor})
        found += page["items"]
        cursor = page["cursor"]
        if not cursor or not page.get("hasMore", True):
            return found
    raise AssertionError(f"{method} does not end")


def ask(sandbox: Sandbox, method: str, path: str, body: object, token: str) -> dict[str, Any]:
    """Make a REST call that the SDK has no method for."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = f"{sandbox.rest_url}/{sandbox.app_key.replace('#', '/')}{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=WAIT) as reply:
        answer = json.load(reply)
    assert isinstance(answer, dict)
    return answer


def app_token(walk: Walk) -> str:
    credentials = {"grant_type": "client_credentials", "client_id": "app", "client_secret": walk.sandbox.secret}
    return str(ask(walk.sandbox, "POST", "/token", credentials, "")["access_token"])


def token_for(walk: Walk, user: str, seconds: float) -> str:
    """Return a token that the app server issues."""
    wanted = {"grant_type": "inherit", "username": user, "ttl": seconds}
    return str(ask(walk.sandbox, "POST", "/token", wanted, app_token(walk))["access_token"])


def online_devices(walk: Walk, user: str) -> int:
    """Return how many devices of a user the server holds for online."""
    return len(ask(walk.sandbox, "GET", f"/users/{user}/resources", None, app_token(walk))["data"])
