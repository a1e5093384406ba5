"""A busy service: the client repeats a call after Retry-After, a limited number of times, and tells the user."""

import asyncio
import logging
from collections.abc import Callable

import pytest

import imkit
from imkit.client import http, rate_limit
from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.stand_ins import Answer, Asked, http_stand_in


def always(answer: Answer) -> Callable[[Asked], Answer]:
    """A service that gives the same answer to everything."""
    return lambda _: answer


def test_many_calls_against_a_rate_limit_all_succeed(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(requests_per_second=20) as limited, imkit.login(new_name("alice"), app=limited.app) as alice:
        group = alice.create_group("tea")
        parents = [group.send(f"parent {number}") for number in range(30)]

        async def main() -> list[imkit.Thread]:
            return list(
                await asyncio.gather(*(group.create_thread.aio(f"thread {parent.text}", parent) for parent in parents))
            )

        with caplog.at_level(logging.INFO, "imkit.client.rest"):
            threads = asyncio.run(main())
        assert len({thread.id for thread in threads}) == 30
        assert sum(1 for _ in group.threads()) == 30  # a call that got a 429 was not carried out
        slowed = [record.getMessage() for record in caplog.records if record.name == "imkit.client.rest"]
        assert slowed
        assert len(slowed) < 10  # the thirty calls share one log line
        assert all("requests a second" in line for line in slowed)


@pytest.mark.parametrize("status", [429, 503])
def test_after_the_last_attempt_the_error_is_raised(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(fail={str(status): 1.0}) as busy, imkit.login(new_name("alice"), app=busy.app) as alice:
        waits: list[float] = []

        class Module:
            def __getattr__(self, name: str) -> object:
                return getattr(asyncio, name)

            @staticmethod
            async def sleep(seconds: float) -> None:
                waits.append(seconds)

        monkeypatch.setattr(rate_limit, "asyncio", Module())
        with pytest.raises(imkit.RateLimited if status == 429 else imkit.ServiceBusy) as caught:
            list(alice.groups())
        told = [wait for wait in waits if wait > 0.9]  # the Retry-After of the service
        assert len(told) >= rate_limit.MAX_ATTEMPTS - 1
        if isinstance(caught.value, imkit.RateLimited):
            assert caught.value.retry_after == 1.0


@pytest.mark.parametrize("status", [429, 503])
def test_uploads_and_downloads_are_repeated_too(sandbox: Sandbox, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        if "chatfiles" not in request.path:
            return Answer(404, {"error": "not_found"})
        asked.append(request.method)
        if len(asked) in (1, 3):
            return Answer(status, {"error": "busy"}, {"Retry-After": "0"})
        if request.method == "POST":
            return Answer(200, {"entities": [{"uuid": "abc", "share-secret": "s"}]})
        return Answer(200, b"leaves", {"Content-Type": "text/plain"})

    with http_stand_in(answer) as server, imkit.login(new_name("alice"), app=sandbox.app) as alice:
        group = alice.create_group("tea")
        rest = alice.account.rest
        monkeypatch.setattr(rest, "base_url", f"{server.url}/{sandbox.app_key.replace('#', '/')}")
        monkeypatch.setattr(rest, "rest_url", server.url)
        sent = group.send(imkit.File(b"leaves", file_name="tea.txt"))
        assert isinstance(sent.body, imkit.File)
        assert alice.download(sent, "here").read_bytes() == b"leaves"
        assert asked == ["POST", "POST", "GET", "GET"]


def test_a_huge_or_deep_answer_is_refused_and_the_session_continues(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_BYTES", 2**20)
    bombs = {
        "large": (b'{"data": "' + b"x" * 2**21 + b'"}', imkit.ProtocolError, "larger than"),
        "deep": (b'{"data":' * 100_000, imkit.ProtocolError, "not a JSON object"),
        "wide": (b'{"data": [' + b"[]," * 300_000 + b"[]]}", None, ""),
        "long": (b'{"data": [' + b"9" * 100_000 + b"]}", None, ""),
    }
    with imkit.login(new_name("alice"), app=sandbox.app) as alice:
        group = alice.create_group("tea")
        for body, kind, words in bombs.values():
            with http_stand_in(always(Answer(200, body))) as server, monkeypatch.context() as patch:
                patch.setattr(alice.account.rest, "base_url", server.url)
                if kind is None:
                    assert list(alice.groups()) == []
                else:
                    with pytest.raises(kind, match=words):
                        list(alice.groups())
        assert group.send("still here").id
