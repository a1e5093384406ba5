"""What a newcomer types wrong ends in a sentence that shows the way; Tab and Shift+Tab show what there is.

Each slip runs as a cell would run it, against the sandbox. A call that cannot be right has asked the service for
nothing.
"""

import ast
import asyncio
import contextlib
import datetime
import inspect
import pickle
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter
from IPython.core.oinspect import Inspector

import imkit
from imkit import hints, misuse

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names(_isolated_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names that a cell may use."""
    sandbox = imkit.Sandbox()
    with contextlib.ExitStack() as stack:
        stack.enter_context(sandbox)
        earlier = imkit.login("dave", app=sandbox.app)
        alice, bob, dave = (  # dave again, as by a cell that was run twice
            stack.enter_context(imkit.login(name, app=sandbox.app)) for name in ("alice", "bob", "dave")
        )
        closed = imkit.login("carol", app=sandbox.app)
        closed.close()
        group = alice.create_group("tea", members=["bob"])
        parent = group.send("Which oolong?")
        thread = group.create_thread("Oolong", parent)
        message = thread.send("Dong Ding")
        yield {
            "imkit": imkit,
            "numpy": numpy,
            "pandas": pandas,
            "Path": Path,
            "sandbox": sandbox,
            "session": alice,
            "bob": bob,
            "closed": closed,
            "earlier": earlier,
            "dave": dave,
            "group": group,
            "parent": parent,
            "thread": thread,
            "message": message,
            "event": imkit.MessageReceived(message),
            "stream": bob.events(),
            "frame": thread.history(),
            "archive": imkit.Archive(tmp_path_factory.mktemp("archive") / "tea"),
        }


# A cell, and a part of the sentence that its error ends in.
SLIPS = {
    # ------------------------------------------------------------ logging in
    "imkit.login()": 'needs user · Give a user id, such as imkit.login("alice").',
    'imkit.login("ada", "secret")': 'Write password="…" or token="…" with its name.',
    'imkit.login("ada", passwort="x")': "has no argument 'passwort' · Write password=.",
    'imkit.login(username="ada")': "Write user=.",
    'imkit.login(user="")': "A user id has up to 64 characters",
    "imkit.login(None)": "such as 'carol'",
    'imkit.login({"user": "ada", "pwd": "s3cret"})': 'a dict is not a user id · Write imkit.login("alice", password=',
    "imkit.login(42)": "A user id is a text: '42'.",
    'imkit.login("王芳")': "can be the nickname",
    'imkit.login(" ada ")': "Leave out the blanks: 'ada'.",
    'imkit.login("ada", app="org")': 'looks like "org#app"',
    'imkit.login("ada", app={"app_key": "org#app"})': 'app="org#app"',
    'imkit.login("ada", app=imkit.App)': 'app="org#app"',
    'imkit.login("ada", app=sandbox)': "Give its app",
    'imkit.login("ada", app=sandbox.app, resource=3)': "the name of a device",
    'imkit.login("ada", app=" org#app ")': "Leave out the blanks: 'org#app'.",
    'imkit.login("ada", app="org＃app")': "is the one of ASCII: 'org#app'.",
    'imkit.login("ada", app=imkit.App("org#app", rest_url="127.0.0.1:8080"))': "on this machine with http://",
    'imkit.login("ada", password="x", app=imkit.App("tea#house", rest_url=sandbox.rest_url, ws_url=sandbox.ws_url))': (
        "Check the app key"
    ),
    'imkit.App("org#app", "https://a1.easemob.com")': "Name the others, such as rest_url=.",
    'imkit.App("org#app", max_requests_per_second="10")': "a number above 0",
    # ------------------------------------------------------------ sandboxes
    'imkit.Sandbox(port="8080")': "port must be a number, not '8080'",
    "imkit.Sandbox(recall_limit=2)": "has no argument 'recall_limit'",
    'imkit.Sandbox(fail="html-502")': 'such as {"html-502": 0.1}',
    'imkit.Sandbox(fail={"html-503": 0.1})': "there are: 429, 500",
    'imkit.Sandbox(fail={"html-502": "often"})': "between 0 and 1, not 'often'",
    'imkit.Sandbox.demo(messages="many")': "messages must be a whole number",
    "imkit.Sandbox.demo(threads=3)": "10 to 100,000 threads",
    'imkit.Thread("42")': "session.thread(id)",
    'imkit.Group("42", "7")': "session.group(id)",
    'imkit.Session("ada")': 'imkit.login("alice") returns one.',
    # ------------------------------------------------------------ await
    "await thread.history()": "Write `await thread.history.aio(…)`, or leave out await",
    'await imkit.login("bob", app=sandbox.app)': "imkit.login.aio(…)",
    'await thread.send("sent twice?")': "Nothing was done.",
    "await thread.recall(message)": "thread.recall.aio(…)",
    "await stream.next(timeout=1)": "stream.next.aio(…)",
    "await session.groups()": "Leave out await",
    "[each async for each in thread.history()]": "messages(…) of a thread",
    # ------------------------------------------------------------ listings
    "thread.messages()[0]": "next(iter(…)) is the first one",
    "group.members()[-1]": "list(…)[-1]",
    "session.groups()[:3]": "list(…)[:3]",
    "len(thread.messages())": "len(list(…))",
    "session.groups().name": "There is group.name and thread.name.",
    'session.groups("tea")': "session.group(id) is one of them",
    # ------------------------------------------------------------ ids and names
    "session.thread(123)": 'An id is a text: "123".',
    "session.thread(numpy.int64(123))": 'An id is a text: "123".',
    "session.thread(1.2e18)": "has lost digits",
    'session.thread("1.2E+18")': "has lost digits",
    'session.thread("327446352134146.0")': "has lost digits",
    "session.thread(None)": "It is a text of digits",
    'session.thread("Oolong")': "The id of 'Oolong' is '{thread.id}'.",
    'session.thread("Puer")': "[t for t in group.threads() if t.name == 'Puer']",
    "session.thread(message)": "message.to is the id",
    "session.thread(thread)": "Give its id, thread.id",
    "session.group(thread)": "thread.group_id",
    'session.group("tea")': "The id of 'tea' is '{group.id}'.",
    "thread.recall(12345678901234567890)": 'An id is a text: "12345678901234567890".',
    "thread.recall(frame.message_id.astype(float)[0])": "has lost digits",
    'thread.recall("Dong Ding")': "frame.message_id.iloc[0]",
    "thread.recall([message])": "for message in …: thread.recall(message)",
    "thread.recall(frame.iloc[0])": "row.message_id, here '{message.id}'",
    # ------------------------------------------------------------ sending
    "thread.send(123)": "Send str(…) of it.",
    "thread.send(None)": "returned nothing",
    'thread.send(b"tea")': ".decode()",
    "thread.send(frame)": "imkit.File(path)",
    'thread.send(["a", "b"])': "one by one",
    'thread.send({"a": 1})': "ext={…}",
    'thread.send(Path("cup.png"))': "imkit.Image(path)",
    "thread.send(imkit.Image)": "Call the class",
    "thread.send(thread)": "session.send(thread, …)",
    'thread.send(thread, "tea")': "session.send(thread, …) takes the thread first",
    'thread.send("tea", ext={"a": 1})': 'send(imkit.Text("…", ext={…}))',
    "thread.send(imkit.Location(121.5, 25.0))": "The latitude comes first",
    'thread.send(imkit.Location("Taipei"))': 'imkit.Location(25.03, 121.56, "Taipei")',
    'thread.send(imkit.Custom("vote", "Dong Ding"))': "params must be a dict, not 'Dong Ding'",
    'thread.send(text="tea")': "Write body=.",
    'thread.send(imkit.Image("missing.png"))': "Check the path",
    'session.send(thread.id, "tea")': "session.thread(id)",
    'thread.react("👍")': "Give the message first",
    # ------------------------------------------------------------ histories
    'thread.history(since="yesterday")': 'Write the date, such as "2026-11-23"',
    'thread.history(since="03/01/2026")': "Write the year first",
    'thread.history(since="2026/3/1")': 'Write "2026-03-01".',
    'thread.history(since="2026-02-30")': 'such as "2026-11-23"',
    'thread.history(since="2026年3月1日")': 'Write "2026-03-01".',
    "thread.history(since=20260301)": 'Write "2026-03-01".',
    "thread.history(since=1795390333491)": "datetime.fromtimestamp(… / 1000, UTC)",
    'thread.history(since=pandas.Timestamp("NaT"))': "not a time",
    "thread.history(thread)": "thread.history() needs no thread",
    "session.history(thread, group)": "several, in one list",
    "thread.history(10)": "write limit=10",
    'thread.history(since="2026-02-01", until="2026-01-01")': "the earlier one",
    'thread.history(limit="10")': "a whole number from 1",
    'thread.history(types="text")': 'types=["txt"]',
    'thread.history(types=["image"])': 'Write "img".',
    "thread.history(types=[imkit.Text])": 'Write "txt".',
    "thread.history(sender=message)": "….sender, here 'alice'",
    "thread.history(sender=bob)": "….user, here 'bob'",
    'thread.history(order="desc")': '"newest" descending',
    'thread.history(start="2026-01-01")': "Write since=.",
    "thread.history(n=10)": "Write limit=.",
    "thread.history(progress=True)": "a function",
    "session.history(thread.id)": "session.thread(id)",
    # ------------------------------------------------------------ groups and threads
    'group.create_thread("Puer")': 'group.create_thread("Oolong", group.send("Which oolong?"))',
    'group.create_thread(parent, "Puer")': "The name comes first",
    'session.create_group("tea", "bob")': 'Give a list, such as ["bob"].',
    'session.create_group(["bob"])': 'session.create_group("tea", members=["bob"])',
    'session.create_group("tea", "bob", "carol")': 'members=["bob", "carol"]',
    "group.invite()": 'Write group.invite("carol").',
    "group.invite(bob)": "….user, here 'bob'",
    "thread.join(bob)": "thread.join() got 1 argument, and takes none",
    # ------------------------------------------------------------ events, archives, forms
    'session.on("message", print)': "imkit.MessageReceived",
    "session.on(imkit.MessageReceived)": "session.on(imkit.MessageReceived, print)",
    "session.on(imkit.MessageReceived, None)": "without parentheses",
    'session.events("message")': "Give the classes themselves",
    'stream.next(timeout="10")': "a number of seconds",
    'session.wire("x")': "a whole number",
    "imkit.Archive()": "imkit.Archive(path",
    "imkit.Archive(thread)": 'imkit.Archive("community")',
    "archive.sync(group)": "archive.sync(session, session.groups())",
    "archive.sync(session, thread.id)": "such as session.thread(id)",
    "archive.sync(group, session)": "is not a session",
    "imkit.explore(session)": "imkit.explore(session=alice)",
    "imkit.widgets.Composer(session)": "session.thread(id)",
    'imkit.widgets.LiveFeed("bob")': "is not a session",
    "list(closed.groups())": "get it from the new one, such as session.thread(id)",
    "earlier.thread(thread.id).send('tea')": "has replaced it. Use that session",
    "earlier.thread(thread.id).history()": "has replaced it. Use that session",
    "earlier.on(imkit.MessageReceived, print)": "has replaced it. Use that session",
    # ------------------------------------------------------------ tables
    'frame.im.local("Beijing")': "Write 'Asia/Shanghai'.",
    'frame.im.local("北京")': "Write 'Asia/Shanghai'.",
    'frame.im.local("asia/shangai")': "Write 'Asia/Shanghai'.",
    'frame.im.local("UTC+8")': "Write '+08:00'.",
    'frame.im.local("CST")': "Write 'Asia/Shanghai' or 'America/Chicago'.",
    'frame.im.local("Teatime")': "Give an IANA name",
    'frame.im.ext(["mood"])': 'frame.im.ext("mood", "tea")',
    "frame.im.mention()": "Write frame.im.mentions.",
    'pandas.DataFrame({"tea": [1]}).im': "works on imkit's history frames",
    'frame[["time", "text"]].im': "Use .im on the whole frame",
}
# Names that do not exist: an AttributeError, so that hasattr() is false.
NAMES = {
    'imkit.Login("ada")': "Write imkit.login.",
    'imkit.connect("ada")': 'imkit.login("alice")',
    "imkit.thread('42')": "session.threads()",
    "imkit.chat": "A session does that",
    "message.content": "Write message.text.",
    "message.from_": "Write message.sender.",
    "message.timestamp": "Write message.time.",
    "message.recall()": "There is session.recall and group.recall and thread.recall.",
    "message.bodi": "Write message.body.",
    "message.body.content": "Write body.text.",
    "event.text": "Write event.message.text.",
    "thread.title": "Write thread.name.",
    "thread.delete()": "destroy() removes it",
    'group.add("bob")': 'group.invite("bob")',
    "session.username": "Write session.user.",
    "session.logout()": "Write session.close().",
    "session.create_groups": "Write session.create_group.",
    "session.getHistoryMessages()": "imkit calls it thread.history() or thread.messages().",
    "thread.recallMessage": "imkit calls it thread.recall(message).",
    "imkit.onTextMessage": "imkit calls it the event imkit.MessageReceived.",
    "session.whatever": "A Tab after `session.` shows what there is.",
    "archive.search('tea')": "where contains(text, 'tea')",
    "thread.messages().aio": "with async for",
    "thread.messages().to_frame()": "thread.history(…) returns a DataFrame.",
    "imkit.set_language('zh')": "A Tab after `imkit.`",
    "archive.history()": "Write archive.frame().",
}


def error_of(cell: str, names: dict[str, Any]) -> Exception:
    """Run a cell as a notebook does, so that it may contain `await`, and return its error."""
    code = compile(cell, "<cell>", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    try:
        result = eval(code, dict(names))
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Exception as error:
        return error
    raise AssertionError(f"{cell} was accepted")


def test_each_slip_ends_in_a_sentence(names: dict[str, Any]) -> None:
    before = [message.id for message in names["thread"].messages()]
    wrong = []
    for cell, part in {**SLIPS, **NAMES}.items():
        error = error_of(cell, names)
        wanted = re.sub(r"\{(\w+)\.id\}", lambda found: names[found[1]].id, part)
        kind = AttributeError if cell in NAMES or cell.endswith((".im", ").name", "mention()")) else imkit.IMError
        assert "s3cret" not in str(error)
        if not isinstance(error, kind) or wanted not in str(error):
            wrong.append((cell, type(error).__name__, str(error)))
    assert wrong == []
    assert [message.id for message in names["thread"].messages()] == before  # nothing was sent or recalled


def test_what_a_newcomer_writes_and_is_right(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    thread, session = names["thread"], names["session"]
    # A time of pandas without a zone is local time; numpy's whole numbers are numbers.
    naive = thread.history(since=pandas.Timestamp("2026-01-01"), limit=numpy.int64(5))
    assert len(naive) == len(thread.history(since=datetime.datetime(2026, 1, 1))) == 1
    assert list(session.groups())  # although a listing has no length
    assert bool(session.groups())
    assert "alice" in names["group"].members()

    # An app key is as good as its App.
    asked: list[str] = []

    async def hosts(app: imkit.App) -> None:
        asked.append(app.app_key)
        raise imkit.ConnectionLost("no network here")

    monkeypatch.setattr(imkit.App, "hosts", hosts)
    with pytest.raises(imkit.ConnectionLost):
        imkit.login("ada", app="org#app", password="x")
    assert asked == ["org#app"]

    # In async code a plain call blocks, as before, if it is not awaited; what it returns may be anything.
    async def main() -> list[Any]:
        direct = thread.history()
        later = await asyncio.to_thread(thread.history)
        return [len(direct), len(await thread.history.aio()), len(later)]

    assert asyncio.run(main()) == [1, 1, 1]


def test_a_call_keeps_nothing_alive() -> None:
    class Kettle(misuse.PublicObject):
        def boil(self) -> None:
            pass

    kettle = Kettle()
    kettle.boil()
    gone = weakref.ref(kettle)
    del kettle
    assert gone() is None  # without the garbage collector


def test_a_wrong_call_in_async_code_is_explained_too(names: dict[str, Any]) -> None:
    with pytest.raises(imkit.InvalidMessage, match="Write limit="):
        asyncio.run(names["thread"].history.aio(count=3))


def test_a_type_error_of_the_callers_own_stays() -> None:
    class Iced(misuse.PublicObject):
        def brew(self, minutes: int) -> int:
            return minutes + "ice"

        @property
        def strength(self) -> int:
            return self.leaves.grams  # type: ignore[attr-defined]  # wrong on purpose

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        Iced().brew(3)
    assert not isinstance(caught.value, imkit.IMError)
    with pytest.raises(AttributeError, match="'leaves'"):  # and not: there is no 'strength'
        _ = Iced().strength


def test_what_the_service_said_cannot_be_changed(names: dict[str, Any]) -> None:
    for thing, name, words in (
        (names["message"], "text", r"thread\.edit\(message"),
        (names["message"], "edit_count", r"thread\.edit\(message"),
        (names["message"].body, "text", r"imkit\.Text\("),
        (names["event"], "message", "what the service has told"),
    ):
        with pytest.raises(AttributeError, match=f"cannot be changed · .*{words}"):
            setattr(thing, name, "new")
        with pytest.raises(AttributeError, match="cannot be changed"):
            delattr(thing, name)


def test_objects_with_explained_names_can_still_be_copied(names: dict[str, Any]) -> None:
    message = names["message"]
    assert pickle.loads(pickle.dumps(message)) == message
    assert not hasattr(message, "content")
    assert not hasattr(message, "__dict__")  # it has slots, which save memory
    with pytest.raises(AttributeError) as caught:
        message._repr_markdown_  # noqa: B018  # notebooks look for such names
    assert "·" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_names_of_the_official_sdk_are_those_of_the_readme() -> None:
    section = README.split("## The official SDK and imkit")[1]
    table = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.*?)\|$", section, re.MULTILINE)
    listed: dict[str, set[str]] = {}
    for *official, ours, _ in table[1:]:
        for cell in official:
            if "send` of" not in cell and "`utils`" not in cell and "with" not in cell:
                for name in re.findall(r"`(\w+)`", cell):
                    listed.setdefault(name, set()).update(re.findall(r"`(?:\w+\.)?(\w+)`", ours))
    public = {"login", "close", "send"}  # names of imkit's own as well
    assert set(hints.OFFICIAL_NAMES) == set(listed) - public
    for name, right in hints.OFFICIAL_NAMES.items():
        assert set(re.findall(r"\w+", right)) & listed[name], (name, right)


def test_the_sentences_name_only_what_exists(names: dict[str, Any]) -> None:
    objects = {key: value for key, value in names.items() if isinstance(value, misuse.PublicObject)} | {"imkit": imkit}
    texts = [text for each in hints.ATTRIBUTES.values() for text in each.values()]
    texts += [*hints.OFFICIAL_NAMES.values(), *hints.ARGUMENTS.values(), *hints.MADE_BY.values()]
    for text in texts:
        for variable, name in re.findall(r"\b([a-z]+)\.([A-Za-z_]+)", text):
            if variable in objects:
                assert hasattr(objects[variable], name), text
    for kind, others in hints.ATTRIBUTES.items():
        for thing in objects.values():
            if kind in [each.__name__ for each in type(thing).__mro__]:
                assert [name for name in others if hasattr(type(thing), name)] == [], kind


# What a Tab shows, and nothing besides.
SHOWN = {
    "session": """app close connected conversations create_group download edit events group groups history last_messages
        on recall report send stopped thread threads unpack update_profile user users wire""",
    "thread": """acknowledge created destroy edit forget group_id history id join last_message leave mark_read
        member_count members messages name owner parent parent_id react reactions readers recall refresh remove rename
        send unreact""",
    "group": """acknowledge create_thread destroy edit forget history id invite is_muted mark_read members messages name
        pin pinned react reactions readers recall remove send threads unpin unreact""",
    "stream": "next",
    "frame.im": "edits ext local mentions named quotes reactions source",
    "event": "message",
    "imkit.widgets": "Composer Explorer HistoryForm LiveFeed LoginForm ThreadPicker WireView explore",
}


def test_a_tab_shows_what_a_user_wants(names: dict[str, Any]) -> None:
    completer = IPCompleter(namespace=dict(names), use_jedi=True)
    for code, wanted in {**SHOWN, "imkit": " ".join(imkit.__all__)}.items():
        with provisionalcompleter():
            found = {each.text for each in completer.completions(f"{code}.", len(code) + 1)}
        assert {name for name in found if not name.startswith("_")} == set(wanted.split()), code


def test_shift_tab_shows_the_signature_and_an_example(names: dict[str, Any]) -> None:
    inspector = Inspector(theme_name="nocolor")
    for code in ("imkit.login", "imkit.Archive", "thread.history", "thread.send", "session.groups", "frame.im.local"):
        inspected = inspector.info(eval(code, dict(names)), oname=code)
        assert "Example:" in inspected["docstring"], code
        assert inspected["type_name"] in ("function", "method", "type"), code
        shown = inspected["definition"] or inspected["init_definition"]
        assert shown.startswith((code, code.rpartition(".")[2])), shown
    assert repr(names["frame"].im).startswith("<frame.im with edits, ext, local,")
