"""A real Jupyter kernel: what stop and restart do to a session, to waiting cells and to the sandbox."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from imkit.sandbox.state import read_state
from tests.waits import eventually

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(180)]

WAIT = 60
# A stop while ipykernel prints can break ipykernel itself: its messages then have wrong signatures. So a stop comes
# when the main thread has stood at one place for some looks.
TELL_WHEN_WAITING = """
import pathlib, sys, threading
def tell_when_waiting(path):
    def look():
        places = []
        while len(places) < 10 or len(set(places[-10:])) > 1:
            frame = sys._current_frames()[threading.main_thread().ident]
            places.append((id(frame), frame.f_lasti))
            threading.Event().wait(0.01)
        pathlib.Path(path).touch()
    threading.Thread(target=look, daemon=True).start()
"""


class Kernel:
    """A running kernel that runs one cell after another."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WAIT)
        self.shown: list[str] = []  # what cells displayed
        self.traceback = ""  # what the last error showed, without colours

    def run(self, code: str) -> str:
        """Run a cell; return what it printed and the name of its error."""
        return self.finish(self.begin(code))

    def begin(self, code: str) -> str:
        request: str = self.client.execute(code)
        return request

    def printed(self, request: str, words: str) -> None:
        """Wait until a running cell has printed something."""
        while True:
            message = self.client.get_iopub_msg(timeout=WAIT)
            if message["parent_header"].get("msg_id") == request and message["msg_type"] == "stream":
                if words in message["content"]["text"]:
                    return

    def stop_waiting(self, code: str, place: Path) -> str:
        """Run a cell that waits, press the stop button, and return the name of the error; `place` is a free path."""
        assert self.run(TELL_WHEN_WAITING) == ""
        request = self.begin(f"tell_when_waiting({str(place)!r})\n{code}")
        assert eventually(place.exists), "the cell does not wait"
        self.manager.interrupt_kernel()
        return self.finish(request)

    def finish(self, request: str) -> str:
        said = ""
        while True:
            message = self.client.get_iopub_msg(timeout=WAIT)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                said += content["text"]
            elif message["msg_type"] in ("display_data", "update_display_data"):
                self.shown.append(content["data"]["text/plain"])
            elif message["msg_type"] == "error":
                said += content["ename"]
                self.traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(content["traceback"]))
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return said.strip()

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    for folder in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(folder, str(tmp_path / folder.lower()))
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    running = Kernel(manager)
    yield running
    running.close()


def sandbox_process(home: Path) -> int:
    """Return the process id of the shared sandbox."""
    state = read_state(home / "sandbox.json")
    assert state is not None
    return state.pid


def test_the_sandbox_survives_stop_and_restart_of_the_kernel(kernel: Kernel, imkit_home: Path, tmp_path: Path) -> None:
    begin = "import imkit; alice = imkit.login('alice'); group = alice.create_group('g'); "
    assert kernel.run(begin + "sent = group.send('before the restart'); print(group.id)").isdigit()
    group_id = kernel.run("print(group.id)")
    first = sandbox_process(imkit_home)

    assert kernel.stop_waiting("import time; time.sleep(60)", tmp_path / "waits") == "KeyboardInterrupt"
    assert kernel.run("print(alice.connected, len(group.history()))") == "True 1"

    kernel.manager.restart_kernel(now=True)  # as the button does it; the sandbox gets no notice
    kernel.client.wait_for_ready(timeout=WAIT)
    again = f"import imkit; alice = imkit.login('alice'); print(alice.group('{group_id}').history().text[0])"
    assert kernel.run(again) == "before the restart"
    assert sandbox_process(imkit_home) == first


@pytest.mark.parametrize(
    "waiting",
    [
        "stream.next()",
        "for event in stream: pass",
        "portal().call(asyncio.Event().wait())",
    ],
)
def test_the_stop_button_ends_a_waiting_cell_and_keeps_the_session(
    kernel: Kernel, waiting: str, tmp_path: Path
) -> None:
    prepare = "import asyncio, imkit; from imkit.portal import portal; alice = imkit.login('alice'); "
    assert kernel.run(prepare + "stream = alice.events(imkit.MessageReceived); print('in')") == "in"
    assert kernel.stop_waiting(waiting, tmp_path / "waits") == "KeyboardInterrupt"
    assert waiting in kernel.traceback
    assert "futures" not in kernel.traceback or waiting.startswith("portal")  # the portal is no call of a user's
    assert kernel.run("print(alice.create_group('g').send('still here').text)") == "still here", kernel.traceback


def test_a_long_load_shows_progress_and_can_be_resumed_after_a_stop(kernel: Kernel) -> None:
    prepare = """
import asyncio, imkit
from imkit.portal import portal
async def fill(thread):
    await asyncio.gather(*(thread.send.aio(f"message {number}") for number in range(310)))
with imkit.Sandbox("tea.db") as quick, imkit.login("alice", app=quick.app) as alice:
    thread = (group := alice.create_group("g")).create_thread("long", group.send("?"))
    portal().call(fill(thread))
slow = imkit.Sandbox("tea.db", latency_ms=300)
alice = imkit.login("alice", app=slow.app)
thread = alice.thread(thread.id)
print("in")
"""
    assert kernel.run(prepare) == "in"
    request = kernel.begin("thread.history(parallel=False, progress=lambda done, _: print(done, flush=True))")
    kernel.printed(request, "50")
    kernel.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in kernel.finish(request)
    assert kernel.run("print(0 < len(alice.stopped) < 310)") == "True"
    assert kernel.shown == []
    assert kernel.run("print(len(thread.history(resume=alice.stopped, parallel=False)))") == "310"
    assert " messages" in kernel.shown[0]  # the progress line below the waiting cell
    assert kernel.shown[-1].startswith("310 messages · ")
    assert kernel.run("print(alice.stopped); alice.close(); slow.stop()") == "None"


def test_aio_works_on_the_kernels_own_loop(kernel: Kernel) -> None:
    code = """
import imkit
alice = await imkit.login.aio("alice")
group = await alice.create_group.aio("g")
sent = await group.send.aio("awaited")
async for message in group.messages():
    print(message.text)
await alice.close.aio()
print(alice)
"""
    assert kernel.run(code) == "awaited\n<Session alice at imkit#sandbox, closed>"


def test_a_saved_notebook_holds_no_secret(imkit_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_PASSWORD", "a-password-to-hide")
    monkeypatch.setenv("SECRET_TOKEN", "a-token-to-hide")
    told = """
import imkit, logging, os
logging.basicConfig(level=logging.DEBUG)
alice = imkit.login("alice")
alice.wire()
print(alice, repr(alice), alice.app, vars(alice))
display(alice, alice.app, alice.create_group("g"))
print(alice.wire().decoded.to_list())
try:
    imkit.login("alice", app=alice.app, password=os.environ["SECRET_PASSWORD"], resource="x")
except imkit.IMError:
    import traceback; traceback.print_exc()
try:
    imkit.login("alice", app=alice.app, token=os.environ["SECRET_TOKEN"], resource="y")
except imkit.IMError:
    import traceback; traceback.print_exc()
imkit.login("alice", app=alice.app, password=os.environ["SECRET_PASSWORD"], resource="z")
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(told)])
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    saved = nbformat.writes(notebook)
    outputs = json.dumps([cell.outputs for cell in notebook.cells])
    state = read_state(imkit_home / "sandbox.json")
    assert state is not None
    assert "AuthError" in outputs  # the outputs show the failed logins
    assert state.secret not in saved
    assert "to-hide" not in saved
    assert not re.search(r"\$t\$\w", saved)  # the form of a token in a frame


# A cell, the words of each line at which its traceback points, and its error.
REFUSED = [
    ("bob.thread('999').history()", ["bob.thread('999').history()"], "NotFound"),
    ("await bob.thread('999').history.aio()", ["await bob.thread('999').history.aio()"], "NotFound"),
    ("for message in bob.thread('999').messages(): pass", ["for message in"], "NotFound"),
    ("import reminders; reminders.remind(bob.thread('999'))", ["import reminders", "thread.send("], "ThreadNotFound"),
    ("imkit.login('ada', password='s3cret', app=bob.app)", ["imkit.login('ada'"], "AuthError"),
    ("imkit.App('no key')", ["imkit.App('no key')"], "InvalidMessage"),
    ("group.history().im.local('Beijing')", ["group.history()"], "InvalidMessage"),  # raised below compiled code
    ("bob.thread('999').send(txt='hi')", ["bob.thread('999').send(txt='hi')"], "InvalidMessage"),
    ("await bob.thread('999').history()", ["await bob.thread('999').history()"], "InvalidMessage"),
    ("bob.groups('tea')", ["bob.groups('tea')"], "InvalidMessage"),
    ("bob.username", ["bob.username"], "UnknownName"),
    ("sent = group.send('hi'); sent.text = 'ho'", ["sent.text = 'ho'"], "Unchangeable"),
    ("imkit.Login('ada')", ["imkit.Login('ada')"], "UnknownName"),
    (
        "try: bob.thread('999').refresh()\nexcept imkit.NotFound as error: raise LookupError('none') from error",
        ["raise LookupError", "raise LookupError"],
        "LookupError",
    ),
]
RENDER_EACH = """
import imkit.errors
rendered = []
for kind in vars(imkit.errors).values():
    if isinstance(kind, type) and issubclass(kind, imkit.IMError):
        error = kind("\\x1b]0;owned\\x07 \\x9b2J \\u202e", reason="\\x1b[2J\\r\\nline")
        rendered.append((kind.__name__, "\\n".join(error._render_traceback_())))
print(len(rendered) > 25, all(name in text for name, text in rendered))
print(any(character in text for _, text in rendered for character in "\\x07\\r\\x9b\\u202e"))
print(any(hostile in text for _, text in rendered for hostile in ("\\x1b]", "\\x1b[2J")))
"""


def test_an_error_shows_the_users_lines_and_verbose_shows_all(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "reminders.py").write_text("def remind(thread):\n    thread.send('Dong Ding')\n", encoding="utf-8")
    prepare = f"""
import sys, imkit
sys.path.append({str(tmp_path)!r})
bob = imkit.login("bob")
group = bob.create_group("tea")
password = "s3cret"
print("in")
"""
    assert kernel.run(prepare) == "in"
    inside = re.compile(r"imkit/|asyncio|concurrent|httpx|pandas|zoneinfo")
    for cell, lines, error in REFUSED:
        assert kernel.run(cell) == error, cell  # and nothing else: IPython had no trouble with it
        pointed = re.findall(r"^-+> \d+ (.*)", kernel.traceback, re.MULTILINE)
        assert (len(pointed), [words in line for words, line in zip(lines, pointed, strict=False)]) == (
            len(lines),
            [True] * len(lines),
        ), kernel.traceback
        assert re.search(rf"^{error}: .+", kernel.traceback, re.MULTILINE)
        assert not inside.search(kernel.traceback), kernel.traceback
    assert kernel.run(RENDER_EACH) == "True True\nFalse\nFalse"

    assert kernel.run("imkit.login('ada', password=password, app=bob.app)") == "AuthError"
    last_line = kernel.traceback.splitlines()[-1]
    kernel.run("%tb Verbose")
    assert "password=password" in kernel.traceback  # imkit's frames, as lines of code
    assert "client/connection.py" in kernel.traceback
    assert "s3cret" not in kernel.traceback
    assert kernel.traceback.splitlines()[-1].endswith(last_line)
    for mode in ("Plain", "Minimal"):
        kernel.run(f"%tb {mode}")
        assert last_line in kernel.traceback
        assert not inside.search(kernel.traceback)
