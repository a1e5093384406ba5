"""Servers as processes: the private one, the shared one, and `imkit sandbox`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import imkit
from imkit.errors import IMError
from imkit.sandbox import process
from imkit.sandbox.process import Sandbox, SandboxAddress, shared
from imkit.sandbox.proven_calls import ProvenCalls
from imkit.sandbox.state import State, read_state, write_state
from tests.sandbox.server.raw_client import WAIT, Api, Device, TeaGroup, app_api, close_everything, token_of
from tests.waits import eventually

ROOT = Path(__file__).parents[2]
# A program in place of a kernel: it finds or starts the shared server, prints the address, and waits.
SHARED = """
import sys
from imkit.sandbox.process import shared
print(shared().rest_url, flush=True)
sys.stdin.read()
"""


def health(address: SandboxAddress | State) -> Any:
    return httpx.get(f"{address.rest_url}/imkit/health", timeout=WAIT, trust_env=False).json()


def await_end(state: State) -> None:
    """Wait until a server has ended."""
    while True:
        try:
            health(state)
        except httpx.TransportError:
            return


# ---------------------------------------------------------------- the private one


def test_a_private_server_ends_with_its_object() -> None:
    with Sandbox() as sandbox:
        assert sandbox.running
        assert f"<Sandbox {sandbox.rest_url}, running, data in memory>" == repr(sandbox)
        assert sandbox.secret not in repr(sandbox)
        assert sandbox.ws_url == sandbox.rest_url.replace("http", "ws") + "/websocket"
    assert f"<Sandbox {sandbox.rest_url}, stopped, data in memory>" == repr(sandbox)
    with pytest.raises(httpx.ConnectError):
        token_of(sandbox, "alice")
    sandbox.stop()
    held = Sandbox()
    url = held.rest_url
    del held
    with pytest.raises(httpx.TransportError):
        httpx.get(url, timeout=WAIT, trust_env=False)


def test_a_private_server_ends_with_the_process_that_holds_it() -> None:
    program = "from imkit.sandbox.process import Sandbox; s = Sandbox(); print(s.rest_url, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        url = holder.stdout.readline().strip()
        assert httpx.get(f"{url}/imkit/health", timeout=WAIT, trust_env=False).status_code == 200
        holder.kill()  # no atexit runs
    await_end(State("", url, "", "", 0, ""))


def test_a_port_in_use_is_an_error_of_one_line(sandbox: Sandbox) -> None:
    port = int(sandbox.rest_url.rpartition(":")[2])
    with pytest.raises(IMError, match="in use"):
        Sandbox(port=port)
    done = command("--memory", f"--port={port}")
    out, errors = done.communicate(timeout=WAIT)
    assert (done.returncode, out) == (2, "")
    assert errors.count("\n") == 1
    assert "Traceback" not in errors
    assert f"port {port}" in errors


def test_two_servers_never_share_one_file(imkit_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imkit_home.mkdir()
    crashed = State("imkit#sandbox", "http://127.0.0.1:9", "ws://127.0.0.1:9/websocket", "0", 4711, "old")
    write_state(imkit_home / "sandbox.json", crashed)
    with Sandbox(imkit_home / "sandbox.db"):
        with pytest.raises(IMError, match=r"by another sandbox\. End that one, or"):
            Sandbox(imkit_home / "sandbox.db")
        monkeypatch.setattr(process, "START_SECONDS", 0.1)
        with pytest.raises(IMError, match="A sandbox that is not the shared one uses them") as caught:
            shared()
        assert "4711" not in str(caught.value), "another program may have this number now"


# ---------------------------------------------------------------- the command line


def command(*arguments: str, **how: Any) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "imkit", "sandbox", *arguments]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_one_line_and_serves_until_a_signal(number: signal.Signals) -> None:
    server = command("--memory", "--open-registration")
    assert server.stdout is not None
    line = server.stdout.readline()
    address = json.loads(line)
    assert list(address) == ["app_key", "rest_url", "ws_url"]
    assert address["app_key"] == "imkit#sandbox"
    base = f"{address['rest_url']}/imkit/sandbox"
    reply = httpx.post(f"{base}/users", json={"username": "a", "password": "b"}, timeout=WAIT, trust_env=False)
    assert reply.status_code == 200
    server.send_signal(number)
    out, errors = server.communicate(timeout=WAIT)
    assert (server.returncode, out, errors) == (0, "", "")


def test_the_command_refuses_wrong_arguments() -> None:
    nonsense = [
        ["--fail", "nonsense:1"],
        ["--fail", "cut:often"],
        ["--port", "70000", "--memory"],
        ["--data", "/dev/null/x"],
    ]
    for arguments in nonsense:
        done = command(*arguments)
        out, errors = done.communicate(timeout=WAIT)
        assert (done.returncode, out, errors.count("\n")) == (2, "", 1)
        assert "Traceback" not in errors


def test_the_command_keeps_data_in_the_given_file(tmp_path: Path) -> None:
    for expected in (200, 400):
        server = command("--data", str(tmp_path / "deep" / "x.db"), "--open-registration")
        assert server.stdout is not None
        base = json.loads(server.stdout.readline())["rest_url"] + "/imkit/sandbox"
        body = {"username": "alice", "password": "b"}
        assert httpx.post(f"{base}/users", json=body, timeout=WAIT, trust_env=False).status_code == expected
        server.terminate()
        server.communicate(timeout=WAIT)
        assert server.returncode == 0


# ---------------------------------------------------------------- the shared one


@pytest.fixture
def home(imkit_home: Path) -> Iterator[Path]:
    """The folder of a shared server, which is ended after the test."""
    yield imkit_home
    state = read_state(imkit_home / "sandbox.json")
    if state is not None:
        ProvenCalls(state.rest_url, state.secret).retire()
        await_end(state)


def test_the_shared_server_is_found_again(home: Path) -> None:
    first = shared()
    assert shared() == first
    assert first.secret not in repr(first)
    state = read_state(home / "sandbox.json")
    assert state is not None
    assert (state.rest_url, state.secret, state.pid != os.getpid()) == (first.rest_url, first.secret, True)
    assert state.secret not in repr(state)
    if sys.platform != "win32":
        for name in ("sandbox.json", "sandbox.log", "sandbox.db"):
            assert (home / name).stat().st_mode & 0o077 == 0, name
    token_of(first, "alice")


def test_two_processes_at_once_make_one_server(home: Path) -> None:
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    urls = [holder.communicate(timeout=30)[0].strip() for holder in holders]
    assert len(set(urls)) == 1
    assert urls == [shared().rest_url] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's")
def test_stopping_the_kernel_does_not_stop_the_shared_server(home: Path) -> None:
    """JupyterLab interrupts the kernel's process group, and then kills it."""
    kernel = subprocess.Popen(
        [sys.executable, "-c", SHARED],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with kernel:
        assert kernel.stdout is not None
        url = kernel.stdout.readline().strip()
        os.killpg(kernel.pid, signal.SIGINT)
        kernel.wait(WAIT)
    assert shared().rest_url == url
    second = subprocess.Popen(
        [sys.executable, "-c", SHARED], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    with second:
        assert second.stdout is not None
        assert second.stdout.readline().decode().strip() == url
        os.killpg(second.pid, signal.SIGKILL)
    assert shared().rest_url == url


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_after_a_kill_a_new_server_has_the_data(home: Path) -> None:
    first = shared()
    token = token_of(first, "alice")
    state = read_state(home / "sandbox.json")
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    await_end(state)
    second = shared()
    assert second != first
    # The user and the token are still there.
    assert Api(second, token).ok("GET", "/users/alice")


NO_PROCESS = 2**30  # larger than any id: the fixtures end the process that a state file names


def test_a_stale_state_file_is_ignored(home: Path, sandbox: Sandbox) -> None:
    """Another server has its port now."""
    home.mkdir(parents=True, exist_ok=True)
    stale = State(sandbox.app_key, sandbox.rest_url, sandbox.ws_url, "0", NO_PROCESS, "old")
    write_state(home / "sandbox.json", stale)
    assert shared().rest_url != sandbox.rest_url
    wrong = (
        json.dumps(asdict(replace(stale, rest_url=url))).encode() for url in (7, None, "http://[", "http://x:99999")
    )
    odd: tuple[dict[str, Any], ...] = (
        {"pid": "\x1b[2J"},
        {"ws_url": "ws://\x1b[2J"},
        {"version": []},
        {"secret": "\ud800"},
        {"demo_password": 7},
    )
    acting = (json.dumps(asdict(stale) | change).encode() for change in odd)
    for nonsense in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, *wrong, *acting):
        (home / "broken.json").write_bytes(nonsense)
        assert read_state(home / "broken.json") is None
    with pytest.raises(OSError, match="not a host"):
        ProvenCalls(f"http://{'a' * 300}:9", "secret").health()


def stopped_while_it_starts(first: subprocess.Popen[str], state_path: Path) -> State:
    """Stop a server's process while it makes its community; return its state."""
    assert eventually(lambda: (state := read_state(state_path)) is not None and state.is_starting)
    os.kill(first.pid, signal.SIGSTOP)
    state = read_state(state_path)
    assert state is not None
    assert state.is_starting
    return state


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is POSIX's")
def test_two_terminals_a_notebook_and_an_export_share_one_sandbox(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command("--demo", "--demo-messages=20000")
    assert first.stdout is not None
    starting = stopped_while_it_starts(first, home / "sandbox.json")
    try:
        out, errors = command("--demo").communicate(timeout=WAIT)
        assert (out, errors.count("\n")) == ("", 1)
        assert f"is starting already (process {first.pid})" in errors
        with ThreadPoolExecutor() as executor:
            login = executor.submit(imkit.login, "reader")
            assert eventually(lambda: f"is starting (process {first.pid}); the login waits" in caplog.text)
            os.kill(first.pid, signal.SIGCONT)
            reader = login.result(WAIT)
        address = json.loads(first.stdout.readline())
        assert reader.app.rest_url == address["rest_url"] == starting.rest_url
        thread = next(iter(reader.threads()))
        line = [sys.executable, "-m", "imkit", "export", thread.id, f"--out={home / 'x.csv'}"]
        environment = os.environ | {"IMKIT_USER": "reader", "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as export:
            second = command("--demo", "--latency-ms=3")
            out, errors = second.communicate(timeout=WAIT)
            assert (second.returncode, out, errors.count("\n")) == (2, "", 1)
            for words in (address["rest_url"], address["ws_url"], f"process {first.pid}", "Ctrl-C", "imkit.login"):
                assert words in errors
            assert address["demo_password"] not in errors
            _, errors = export.communicate(timeout=WAIT)
        assert (export.returncode, "complete" in errors) == (0, True), errors
        # A login of another imkit uses it too: the user started it, so only the user ends it.
        reader.close()
        monkeypatch.setattr(process, "version", lambda: "another")
        assert shared().rest_url == address["rest_url"]
        alice = imkit.login("alice")
    finally:
        os.kill(first.pid, signal.SIGCONT)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=WAIT)
    assert first.returncode == 0
    with pytest.raises(imkit.ConnectionLost, match=r"the sandbox has ended.*Log in again with imkit.login"):
        list(alice.groups())
    monkeypatch.undo()
    monkeypatch.setenv("IMKIT_HOME", str(home))
    again = imkit.login("alice")
    assert not alice.connected
    with pytest.raises(imkit.ConnectionLost, match="the sandbox has ended"):  # that one has another address
        alice.group("1").send("hello?")
    again.close()
    alice.close()


def test_a_terminal_takes_over_from_an_idle_sandbox_in_the_background(home: Path) -> None:
    with imkit.login("alice") as alice:
        group = alice.create_group("tea")
        refused = command("--demo")
        out, errors = refused.communicate(timeout=WAIT)
        assert (refused.returncode, out, errors.count("\n")) == (2, "", 1)
        assert f"{alice.app.rest_url} and " in errors
        assert "clients are connected: close their sessions" in errors
    with command("--demo", "--demo-threads=10", "--demo-messages=500", "--host=0.0.0.0") as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())
        with imkit.login("alice") as alice:
            assert alice.app.rest_url == address["rest_url"]
            assert str(address["rest_url"]).startswith("http://127.0.0.1:")
            assert [each.id for each in alice.groups()] == [group.id]
        server.terminate()
        assert server.communicate(timeout=WAIT) == ("", "")


def test_a_sandbox_at_an_address_of_the_network_is_also_at_this_machines_own(home: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; the system chooses an address of its own
            host = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no network")
    with command(f"--host={host}") as server:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["rest_url"].startswith(f"http://{host}:")
        with imkit.login("alice") as alice:
            assert str(alice.app.rest_url).startswith("http://127.0.0.1:")
        server.terminate()


def test_a_folder_that_cannot_be_used_is_an_error_that_names_imkit_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for name in ("sandbox.start.lock", "sandbox.db.lock"):
        (tmp_path / "folder" / name).mkdir(parents=True)
    for folder in ("file/folder", "folder"):
        monkeypatch.setenv("IMKIT_HOME", str(tmp_path / folder))
        with pytest.raises(imkit.FileError, match=r"cannot be used: .*IMKIT_HOME names the folder"):
            imkit.login("alice")
    refused = command()
    out, errors = refused.communicate(timeout=WAIT)
    assert (refused.returncode, out, errors.count("\n"), "IMKIT_HOME" in errors) == (2, "", 1, True)


def test_a_server_of_another_version_is_used_until_it_is_idle(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shared()
    tea = TeaGroup(first)
    kept = tea.alice.send(tea.thread, "kept")
    monkeypatch.setattr(process, "version", lambda: "another")
    assert shared() == first  # clients are connected
    state = read_state(home / "sandbox.json")
    assert state is not None
    close_everything()
    await_end(state)  # no client is connected any more
    second = shared()
    assert second.secret != first.secret
    bob = Device(second, tea.bob.user)
    bob.until(lambda meta: meta.id == kept)
    # No client is connected and the version differs, so it ends at once.
    close_everything()
    monkeypatch.setattr(process, "version", lambda: "a third")
    thirds: list[SandboxAddress] = []
    thread = threading.Thread(target=lambda: thirds.append(shared()))
    thread.start()
    thread.join(WAIT)
    assert thirds
    app_api(thirds[0])
    close_everything()


def test_it_ends_after_the_idle_time(tmp_path: Path) -> None:
    server = command("--memory", "--idle-exit-minutes=0.001")
    out, errors = server.communicate(timeout=WAIT)
    assert (server.returncode, errors) == (0, "")
    assert json.loads(out)


def test_modules_in_the_notebooks_folder_do_not_break_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('a notebook of mine')")
    shutil.copy(tmp_path / "random.py", tmp_path / "socket.py")
    monkeypatch.chdir(tmp_path)
    with Sandbox() as sandbox:
        assert token_of(sandbox, "alice")


def test_the_servers_process_does_not_load_the_client() -> None:
    heavy = ("pandas", "pyarrow", "imkit.client", "imkit.session", "imkit.widgets")
    program = (
        "import sys; import imkit.sandbox.server.server, imkit.sandbox.state, imkit.cli; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_listens_on_the_loopback_address_only(sandbox: Sandbox) -> None:
    port = int(sandbox.rest_url.rpartition(":")[2])
    assert sandbox.rest_url.startswith("http://127.0.0.1:")
    with socket.socket() as elsewhere:  # another loopback address, in place of another network
        elsewhere.settimeout(1)
        assert elsewhere.connect_ex(("127.0.0.2", port)) != 0
