"""`imkit.doctor` and `imkit doctor`: against the sandbox every line is as assumed, and nothing is left behind."""

import _thread
import asyncio
import datetime
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.cli import main
from imkit.client.rate_limit import RateBucket
from imkit.errors import ConnectionLost
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.service_check import CHECKS, examination, own_groups
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.report import Finding, TextReport, exit_code
from imkit.service_check.run import examine
from imkit.session import Session
from tests.people import new_name
from tests.service_check.deviating_sandbox import NOTES, deviating_sandbox
from tests.stand_ins import register, token_of
from tests.test_secrets import forms
from tests.waits import WAIT, eventually

ROOT = Path(__file__).parents[2]
COLUMNS = ["check", "assumed", "seen", "agrees", "follows"]
NAMES = [*(check.name for check in CHECKS), "removal"]
READING = ("GET ", "POST /imkit/sandbox/messageroaming", "POST /imkit/sandbox/metadata/user/get")
OF_LOGIN = ("GET /imkit/", "POST /imkit/app-server/", "POST /imkit/challenge", "META of")


class CountingBucket(RateBucket):
    """Counts how often a request or a send has waited for its turn."""

    turns = 0

    async def take(self) -> float:
        CountingBucket.turns += 1
        return await super().take()


def test_against_the_sandbox_every_line_is_as_assumed(imkit_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "RateBucket", CountingBucket)
    imkit_home.mkdir(parents=True, exist_ok=True)
    notes = imkit_home / NOTES

    def noted(number: int) -> list[str]:
        return notes.read_text(encoding="utf-8").splitlines()[number:]

    with (
        deviating_sandbox("each request is noted") as sandbox,
        imkit.login("alice", app=sandbox.app) as alice,
        imkit.login("bob", app=sandbox.app) as bob,
    ):
        portal().call(alice.account.now_ms())  # what a login sends has been sent
        portal().call(bob.account.now_ms())
        begun = len(noted(0))
        without = imkit.doctor(alice)
        read = noted(begun)
        CountingBucket.turns = 0
        report = imkit.doctor(alice, write=True, second=bob)
        assert CountingBucket.turns >= len(noted(begun + len(read)))
        assert list(alice.groups()) == []

    # Nothing is written without `write`.
    assert [line for line in read if not line.startswith(READING)] == []
    seen = without.set_index("check")["seen"]
    assert "lives 59 d more" in seen["token life"]
    not_asked = without.loc[without["seen"].str.startswith("not asked"), "check"].tolist()
    assert not_asked == [check.name for check in CHECKS if check.needs != "login"]
    assert not without["agrees"].eq(False).fillna(False).any()

    assert list(report.columns) == COLUMNS
    assert report["check"].tolist() == NAMES
    assert report[~report["agrees"].fillna(False)].to_dict("records") == []
    json.dumps(report.attrs)


def test_a_run_stays_below_20_requests_a_second(monkeypatch: pytest.MonkeyPatch, alice: Session) -> None:
    monkeypatch.undo()
    assert Examination(alice).pace.rate == 15


# ---------------------------------------------------------------- arguments


def test_wrong_arguments_end_in_an_error_that_says_so(sandbox: Sandbox, alice: Session, bob: Session) -> None:
    with pytest.raises(imkit.InvalidMessage, match="write=True"):
        imkit.doctor(alice, second=bob)
    with pytest.raises(imkit.InvalidMessage, match="as well"):
        imkit.doctor(alice, write=True, second=alice)
    with pytest.raises(imkit.InvalidMessage, match="not a session"):
        imkit.doctor("alice")
    with Sandbox() as other, imkit.login("carol", app=other.app) as carol:
        with pytest.raises(imkit.InvalidMessage, match="another app"):
            imkit.doctor(alice, write=True, second=carol)
    with pytest.raises(imkit.SessionClosed):
        imkit.doctor(carol)
    with pytest.raises(imkit.SessionClosed):
        imkit.doctor(alice, write=True, second=carol)


# ---------------------------------------------------------------- what goes wrong on the way


@contextmanager
def checks(patch: pytest.MonkeyPatch, *asked: Callable[[Examination], Any]) -> Iterator[None]:
    """Let a run ask these checks only."""
    from imkit.service_check import run

    made = [Check(f"check {n}", "It works.", ask, "go on", "stop", "errors", "write") for n, ask in enumerate(asked)]
    with patch.context() as context:
        context.setattr(run, "CHECKS", made)
        context.setattr("imkit.service_check.sample.MESSAGES", 2)
        yield


async def agrees(_: Examination) -> Seen:
    return Seen("yes", True)


def test_what_could_not_be_made_is_a_line_of_the_report(alice: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with checks(monkeypatch, agrees, agrees), monkeypatch.context() as patch:
        patch.setattr("imkit.client.send.MESSAGE_BYTES", 8)  # each send is refused
        report = imkit.doctor(alice, write=True)
    assert report["check"].tolist() == ["check 0", "check 1", "removal"]
    assert report["seen"].str.startswith("could not be asked: ").tolist() == [True, True, False]
    assert report["agrees"].fillna(False).tolist() == [False, False, True]
    assert list(alice.groups()) == []


def test_a_stop_removes_what_was_made(alice: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop(given: Examination) -> Seen:
        assert len(given.own_groups.made) == 1
        _thread.interrupt_main()
        await asyncio.Event().wait()
        return Seen("never", True)

    with checks(monkeypatch, stop):
        with pytest.raises(KeyboardInterrupt):
            imkit.doctor(alice, write=True)
    assert eventually(lambda: not list(alice.groups()))


def test_a_second_stop_during_the_removal_does_not_hide_what_became_of_it(
    alice: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, removing, goes_on = threading.Event(), threading.Event(), threading.Event()
    destroy = own_groups._destroy

    async def wait(given: Examination) -> Seen:
        asking.set()
        await asyncio.Event().wait()
        return Seen("never", True)

    async def destroy_later(group: imkit.Group) -> None:
        removing.set()
        await asyncio.to_thread(goes_on.wait, WAIT)
        await destroy(group)

    told: list[Finding] = []
    monkeypatch.setattr(own_groups, "_destroy", destroy_later)
    with checks(monkeypatch, wait):
        run = portal().submit(examine(alice, write=True, tell=told.append))
        assert asking.wait(WAIT)
        (task,) = portal().run(lambda: [task for task in asyncio.all_tasks() if task.get_coro().__name__ == "examine"])
        portal().run(task.cancel)
        assert removing.wait(WAIT)
        portal().run(task.cancel)
        goes_on.set()
        assert eventually(lambda: bool(told))
    assert eventually(run.cancelled)
    assert [(finding.check, finding.agrees) for finding in told] == [("removal", True)]
    assert list(alice.groups()) == []


def test_a_session_that_is_closed_meanwhile_waits_for_the_removal(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = new_name("alice")

    async def close(given: Examination) -> Seen:
        closing = portal().submit(given.session.account.close())
        assert not closing.done()
        return Seen("closing", True)

    with imkit.login(user, app=sandbox.app) as session, checks(monkeypatch, close, agrees):
        report = imkit.doctor(session, write=True)
    assert report["agrees"].fillna(False).tolist()[2:] == [True]
    with imkit.login(user, app=sandbox.app) as again:
        assert list(again.groups()) == []


def test_a_check_and_a_sample_that_do_not_end_are_left(alice: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(_: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr("imkit.service_check.run._CHECK_SECONDS", 0.05)
    with checks(monkeypatch, endless, agrees):
        report = imkit.doctor(alice, write=True)
    assert report["agrees"].fillna(False).tolist() == [False, True, True]
    assert "did not come to an end" in report.loc[0, "seen"]
    monkeypatch.setattr("imkit.service_check.examination._SAMPLE_SECONDS", 0.05)
    monkeypatch.setattr("imkit.service_check.sample._Sends.all", endless)
    with checks(monkeypatch, agrees, agrees):
        report = imkit.doctor(alice, write=True)
    assert report["seen"].str.contains("were not sent").tolist() == [True, True, False]
    assert list(alice.groups()) == []


def test_what_cannot_be_removed_is_named(
    alice: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ConnectionLost("the connection broke")

    with checks(monkeypatch, agrees), monkeypatch.context() as patch:
        patch.setattr("imkit.service_check.own_groups._destroy", fail)
        report = imkit.doctor(alice, write=True)
    [group] = alice.groups()
    left = report.iloc[-1]
    assert (left["check"], left["agrees"]) == ("removal", False)
    assert group.id in left["seen"]
    assert "imkit doctor" in left["seen"]
    assert [record.levelno for record in caplog.records if group.id in record.getMessage()] == [logging.WARNING]
    group.destroy()


def test_a_service_that_answers_no_more_is_asked_three_times(alice: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def lose(_: Examination) -> Seen:
        asked.append("silence")
        raise imkit.TimedOut("no answer")

    async def fail(_: Examination) -> Seen:
        raise KeyError("secret")

    with checks(monkeypatch, lose, fail, lose, lose, lose, lose, agrees):
        report = imkit.doctor(alice, write=True)
    assert len(asked) == 4
    assert report["agrees"].isna().tolist() == [True] * 7 + [False]
    assert report["seen"].str.startswith("could not be asked: ").sum() == 7
    assert "KeyError" in report["seen"][1]
    assert "secret" not in report["seen"][1]


def test_a_group_that_the_answer_does_not_name_is_told_as_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        deviating_sandbox("a new group is not named") as sandbox,
        imkit.login("alice", app=sandbox.app) as alice,
        checks(monkeypatch, agrees),
    ):
        report = imkit.doctor(alice, write=True)
        assert [group.name for group in alice.groups()] == ["imkit doctor"]
    left = report.iloc[-1]
    assert (left["check"], left["agrees"]) == ("removal", False)
    assert "'imkit doctor'" in left["seen"]


def test_a_group_of_the_user_is_never_taken_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        deviating_sandbox("a new group is the first one") as sandbox,
        imkit.login("alice", app=sandbox.app) as alice,
        checks(monkeypatch, agrees),
    ):
        mine = alice.create_group("tea")
        report = imkit.doctor(alice, write=True)
        assert [group.id for group in alice.groups()] == [mine.id]
    assert f"named group {mine.id}" in report["seen"][0]


# ---------------------------------------------------------------- from a shell


def environment_of(sandbox: Sandbox, patch: pytest.MonkeyPatch, user: str, second: str) -> list[str]:
    """Set the environment as for a real app; return the tokens."""
    tokens = [token_of(sandbox, user), token_of(sandbox, second)]
    values = [sandbox.app_key, sandbox.rest_url, sandbox.ws_url, user, *tokens]
    names = ("APP_KEY", "REST_URL", "WS_URL", "USER", "TOKEN", "SECOND_TOKEN")
    for name, value in zip(names, values, strict=True):
        patch.setenv(f"IMKIT_{name}", value)
    return tokens


def test_the_command_prints_lines_or_json_and_no_secret(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    user, second = new_name("alice"), new_name("bob")
    tokens = environment_of(sandbox, monkeypatch, user, second)
    assert main(["doctor", "--write", "--second", second, "--json"]) == 0
    printed = capfd.readouterr()
    told = json.loads(printed.out)
    lines = told.pop("checks")
    assert [list(line) for line in lines] == [COLUMNS] * len(NAMES)
    assert {line["agrees"] for line in lines} == {True}
    assert datetime.datetime.fromisoformat(told.pop("began")).tzinfo is not None
    assert told == {
        "imkit": imkit.__version__,
        "python": platform.python_version(),
        "app_key": sandbox.app_key,
        "write": True,
        "second": True,
    }
    assert main(["doctor"]) == 0
    text = capfd.readouterr()
    assert max(map(len, text.out.splitlines())) <= 80
    assert " ".join(text.out.split()).startswith(
        f"imkit {imkit.__version__} asks {sandbox.app_key} as {user}. as assumed"
    )
    assert len(text.out.splitlines()) < 45  # also with all that was not asked
    assert "not asked: it needs write=True (--write)" in " ".join(text.out.split())
    everything = "\n".join([*printed, *text, caplog.text])
    assert "chatgroups" in everything  # the log was captured
    looks = [form for secret in (*tokens, sandbox.secret) for form in forms(secret)]
    assert [line for line in everything.splitlines() if any(look in line for look in looks)] == []
    shared = [part for part in everything.split() if "share-secret" in part and "•••" not in part]
    assert [part for part in shared if "=" in part] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--second", "bob"], 2, "--write"),
        (["--write", "--second", "ALICE"], 2, "another user"),
        (["--write", "--second", "nobody here"], 2, "user id"),
        (["--write", "--second", "bob"], 1, "bob"),
    ],
)
def test_what_is_wrong_with_a_second_user_is_said_in_one_line(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    environment_of(sandbox, monkeypatch, "alice", "bob")
    monkeypatch.setenv("IMKIT_SECOND_TOKEN", "wrong")
    assert main(["doctor", *arguments]) == code
    printed = capfd.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert words in printed.err


def test_the_password_of_the_second_user_is_asked_for_at_a_terminal(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    user, second = new_name("alice"), new_name("bob")
    register(sandbox, second, "hunter2-hunter2")
    environment_of(sandbox, monkeypatch, user, second)
    monkeypatch.delenv("IMKIT_SECOND_TOKEN")
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "hunter2-hunter2"

    async def greet(given: Examination) -> Seen:
        return Seen("hello", given.second_user.user == second)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", answer)
    with checks(monkeypatch, greet):
        assert main(["doctor", "--write", "--second", second]) == 0
    assert asked == [f"Password of {second} at {sandbox.app_key} ({sandbox.rest_url}): "]
    assert "hunter2" not in "".join(capfd.readouterr())


def started(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "imkit", "doctor", *arguments]
    return subprocess.Popen(
        command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_leaves_nothing_behind(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    user = new_name("alice")
    environment_of(sandbox, monkeypatch, user, "bob")
    with imkit.login(user, app=sandbox.app, resource="watching") as watching:
        with started(tmp_path, "--write") as doctor:
            try:
                assert eventually(lambda: bool(list(watching.groups())))
                doctor.send_signal(sent)
                out, err = doctor.communicate(timeout=WAIT)
            finally:
                doctor.kill()
        assert (doctor.returncode, list(watching.groups())) == (130, [])
    assert "as assumed  removal: " in out
    assert err == "imkit: stopping, and removing what was made\nimkit: stopped\n"


def test_a_reader_that_has_ended_ends_the_command(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment_of(sandbox, monkeypatch, new_name("alice"), "bob")
    with started(tmp_path) as doctor:
        assert doctor.stdout is not None
        assert doctor.stderr is not None
        doctor.stdout.close()
        try:
            assert (doctor.stderr.read(), doctor.wait(WAIT)) == ("", 1)
        finally:
            doctor.kill()


# ---------------------------------------------------------------- the report


def test_each_check_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


def finding(name: str, agrees: bool | None, seen: str = "this", **more: Any) -> Finding:
    return Finding(name, "That.", seen, agrees, "" if agrees is None else "So.", **more)


def test_whatever_a_service_says_a_line_is_short_and_does_not_act() -> None:
    check = Check("check", "It works.", agrees, "go on", "stop", "errors")
    said = "\x1b[2J\nDIFFERS     forged: line" + "x" * 100_000
    for answer in (Seen(said, False), ConnectionLost("no connection", reason=said, hint="")):
        seen = Finding.of(check, answer).seen
        assert seen.isprintable()
        assert len(seen) < 2_100
        assert seen.endswith("…")


def test_the_text_report_groups_what_was_not_asked_and_counts() -> None:
    lines: list[str] = []
    report = TextReport(lines.append, coloured=False)
    why = "not asked: it needs a second user (--second)"
    findings = [
        finding("one", True),
        finding("two", None, why, was_not_asked=True),
        finding("three", None, why, was_not_asked=True),
        finding("four", False, "a word " * 20),
        finding("five", None, "could not be asked: no", failed=True),
    ]
    for each in findings:
        report.add(each)
    report.end()
    text = "\n".join(lines)
    assert "as assumed  one: this\nnot asked   two, three: not asked: it needs" in text
    assert "            assumed: That.\n            → So." in text
    assert "1 as assumed, 1 differs, 1 not known, 2 not asked." in text
    assert "--json" in text
    assert max(map(len, text.splitlines())) <= 80
    assert [exit_code(findings[:3]), exit_code(findings[:4]), exit_code([findings[0], findings[4]])] == [0, 3, 1]
