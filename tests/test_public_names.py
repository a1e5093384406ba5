"""What imkit offers is what the contract names; the examples in its docstrings are true."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import imkit
from tests.public_docstrings import documented

ROOT = Path(__file__).parents[1]
FRONT = "App Archive ConversationInfo Group Sandbox Session Thread User doctor explore login widgets"
BODIES = "Text Streamed Image Audio Video File Location Command Custom Combine Unknown"
MESSAGES = "Message Quote Reaction Reader ThreadRef ALL"
EVENTS = """
    Event MessageReceived MessageEdited MessageRecalled MessageRead ReactionChanged ThreadChanged DeviceChanged
    GroupChanged ConversationChanged HistoryForgotten
    Connected Disconnected TokenExpiring LoggedOut Dropped UserChanged PinChanged
"""
ERRORS = """
    IMError AuthError TokenExpired KickedOff NotFound ThreadNotFound GroupNotFound MessageNotFound Forbidden NotAMember
    Muted Blocked Moderated GroupDisabled RecallExpired AlreadyExists LimitReached TooLarge InvalidMessage RateLimited
    ServiceBusy ServiceNotEnabled Unsupported TimedOut ConnectionLost SessionClosed ProtocolError
    FileError ArchiveError ArchiveLocked
"""
CONTRACT = {
    imkit.Session: """user app connected thread group threads groups create_group send recall edit history download
        conversations unpack events on close users update_profile report""",
    imkit.Group: """id name send history messages threads create_thread members invite remove is_muted forget pin
        unpin pinned""",
    imkit.Thread: """id name group_id parent_id owner created member_count join leave rename destroy members remove
        refresh last_message parent send recall edit history messages forget""",
    imkit.Message: "id type sender to time body text ext thread edited_at edit_count reactions quote mentions",
    imkit.IMError: "code status reason hint",
    imkit.App: "app_key rest_url ws_url from_env",
    imkit.Archive: "sync frame sql dask threads compact verify erase",
}


def test_exactly_the_names_of_the_contract() -> None:
    named = {name for names in (FRONT, BODIES, MESSAGES, EVENTS, ERRORS) for name in names.split()}
    assert set(imkit.__all__) == named
    assert len(set(imkit.__all__)) == len(imkit.__all__)
    for name in imkit.__all__:
        assert getattr(imkit, name) is not None
    assert set(dir(imkit)) == set(imkit.__all__)


def test_every_name_is_loaded_when_it_is_asked_for() -> None:
    # One process for each name: another name that was asked for before must not help.
    for name in imkit.__all__:
        vars(imkit).pop(name, None)
        thing = getattr(imkit, name)
        assert thing == name if isinstance(thing, str) else thing.__name__.rpartition(".")[2] == name
        assert name in vars(imkit)


def test_a_type_checker_knows_every_name(tmp_path: Path) -> None:
    uses = "\n".join(f"reveal_type(imkit.{name})" for name in imkit.__all__ if name != "widgets")
    (tmp_path / "uses.py").write_text(f'import imkit\n{uses}\nreveal_type(imkit.login("alice"))\n')
    # In the repository, where `make lint` has left what mypy knows of imkit: from nothing it takes 15 seconds.
    command = [sys.executable, "-m", "mypy", str(tmp_path / "uses.py")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    revealed = re.findall(r'Revealed type is "(.*)"', told)
    assert len(revealed) == len(imkit.__all__), told
    assert revealed[-1] == "imkit.session.Session"
    assert not [kind for kind in revealed if kind in ("Any", "object")]


def test_the_things_have_what_the_contract_says() -> None:
    for thing, names in CONTRACT.items():
        instance = thing("x") if thing is imkit.IMError else thing
        fields = getattr(thing, "__dataclass_fields__", {})
        known = {*dir(instance), *fields, *getattr(thing, "__annotations__", {})}
        if thing is imkit.App:
            known |= set(vars(imkit.App("org#app")))
        assert set(names.split()) - known == set(), thing


def test_errors_are_one_tree() -> None:
    for name in ERRORS.split():
        kind = getattr(imkit, name)
        assert issubclass(kind, imkit.IMError)
        assert isinstance(kind("what happened").hint, str)
    assert issubclass(imkit.InvalidMessage, ValueError)
    assert issubclass(imkit.TimedOut, TimeoutError)
    assert issubclass(imkit.FileError, OSError)


def test_every_public_method_is_documented() -> None:
    for thing in (imkit.Session, imkit.Group, imkit.Thread, imkit.App, imkit.Sandbox, imkit.Archive):
        for name, member in inspect.getmembers(thing):
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert member.__doc__, f"{thing.__name__}.{name}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tea'"):
        imkit.tea  # noqa: B018  # to ask for it is the test


def modules() -> Iterator[ModuleType]:
    yield imkit
    for found in pkgutil.walk_packages(imkit.__path__, "imkit."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_the_examples_in_docstrings_are_true() -> None:
    # The examples of public calls need a session, a thread and so on: test_docstring_examples.py runs them.
    public = {found.docstring for found in documented()}
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    for module in modules():
        for examples in doctest.DocTestFinder().find(module):
            if inspect.cleandoc(examples.docstring or "") not in public:
                runner.run(examples)
    assert runner.failures == 0
    assert runner.tries > 30
