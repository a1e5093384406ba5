"""A sandbox that differs from what imkit assumes, in the ways that a test names.

It is the real server in a process of its own, with real sockets; each deviation replaces one decision of it. So a test
can see the doctor notice what it is made for: a service that is not like our sandbox.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from imkit.sandbox import launch
from imkit.sandbox.process import Sandbox
from imkit.sandbox.server.permissions import SendRefused
from imkit.sandbox.server.rest_replies import RestError
from imkit.sandbox.server.store import now_ms
from imkit.wire import schema
from imkit.wire.enums import ContentType, StatusCode

# What the server's process runs, in place of the program in imkit.sandbox.launch.
_PROGRAM = (
    "import sys; root = sys.argv.pop(1); sys.path.insert(0, root); "
    "from tests.service_check.deviating_sandbox import DEVIATIONS; "
    "[DEVIATIONS[name]() for name in {names!r}]; from imkit.cli import main; sys.exit(main())"
)
NOTES = "requests.txt"
_LATE_MS = 200
DEVIATIONS: dict[str, Callable[[], None]] = {}


@contextmanager
def deviating_sandbox(*names: str, **options: Any) -> Iterator[Sandbox]:
    """Run a sandbox with the deviations of these names; the options are those of `Sandbox`."""
    assert set(names) <= set(DEVIATIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_PROGRAM", _PROGRAM.format(names=names))
        sandbox = Sandbox(**options)
    with sandbox:
        yield sandbox


def _deviation(function: Callable[[], None]) -> Callable[[], None]:
    DEVIATIONS[function.__name__.replace("_", " ")] = function
    return function


def _replace(module: str, name: str, replaced: Callable[[Any], Any]) -> None:
    """Replace an attribute of a module of the server; `replaced` is called with what it usually is."""
    *owners, attribute = name.split(".")
    owner: Any = importlib.import_module(f"imkit.sandbox.server.{module}")
    for each in owners:
        owner = getattr(owner, each)
    setattr(owner, attribute, replaced(getattr(owner, attribute)))


def _refuse_call(module: str, name: str, *refusal: Any) -> None:
    """Let a REST handler refuse each call; `refusal` has the arguments of `RestError`."""

    def refuse(_backend: Any, _call: Any) -> NoReturn:
        raise RestError(*refusal)

    _replace(module, name, lambda usual: refuse)


def _refuse_send(module: str, name: str, reason: str) -> None:
    """Let a function that a send passes through refuse it."""

    def refuse(*_: object) -> NoReturn:
        raise SendRefused(StatusCode.FAIL, reason)

    _replace(module, name, lambda usual: refuse)


# ---------------------------------------------------------------- roaming history


def _change_query(change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the arguments of each query for a page of the record."""

    def replaced(usual: Any) -> Any:
        def page(self: Any, conversation: str, **arguments: Any) -> Any:
            change(arguments)
            return usual(self, conversation, **arguments)

        return page

    _replace("message_record", "MessageRecord.page", replaced)


def _change_page(change: Callable[[dict[str, Any]], Any]) -> None:
    """Change each page before it is sent."""

    def replaced(usual: Any) -> Any:
        def roaming(backend: Any, call: Any) -> dict[str, Any]:
            answer: dict[str, Any] = usual(backend, call)
            change(answer["data"])
            return answer

        return roaming

    _replace("rest_history", "roaming", replaced)


def _shift(name: str, by: int) -> None:
    def change(arguments: dict[str, Any]) -> None:
        if arguments.get(name) is not None:
            arguments[name] += by

    _change_query(change)


@_deviation
def since_is_exclusive() -> None:
    _shift("since", 1)


@_deviation
def until_is_exclusive() -> None:
    _shift("until", -1)


@_deviation
def time_bounds_are_ignored() -> None:
    _change_query(lambda arguments: arguments.update(since=None, until=None))


@_deviation
def filters_are_ignored() -> None:
    _change_query(lambda arguments: arguments.update(kinds=(), senders=()))


@_deviation
def pages_hold_20() -> None:
    _change_query(lambda arguments: arguments.update(limit=min(20, arguments["limit"])))


@_deviation
def is_last_is_never_true() -> None:
    _change_page(lambda data: data.update(is_last=False))


@_deviation
def is_last_is_always_true() -> None:
    _change_page(lambda data: data.update(is_last=True))


@_deviation
def cursors_are_numbers() -> None:
    _change_page(lambda data: data.update(next_key=int(data["next_key"] or 0)))


@_deviation
def commands_are_in_the_history() -> None:
    # A command is not stored because it is of the kind "cmd".
    def replaced(usual: Any) -> Any:
        return lambda content: "command" if usual(content) == "cmd" else usual(content)

    _replace("uplink", "kind_of", replaced)


@_deviation
def recalled_messages_stay_in_the_history() -> None:
    _replace("uplink", "Uplink._withdraw", lambda usual: lambda self, stored, target: None)


@_deviation
def messages_have_no_thread_mark() -> None:
    _replace("uplink", "thread_mark", lambda usual: lambda thread: "")


@_deviation
def the_history_is_late() -> None:
    def change(arguments: dict[str, Any]) -> None:
        arguments["until"] = min(arguments.get("until") or now_ms(), now_ms() - _LATE_MS)

    _change_query(change)


@_deviation
def the_history_is_empty() -> None:
    _change_query(lambda arguments: arguments.update(until=1))


@_deviation
def filters_apply_to_each_page() -> None:
    def replaced(usual: Any) -> Any:
        def page(self: Any, conversation: str, **arguments: Any) -> Any:
            found = usual(self, conversation, **{**arguments, "kinds": (), "senders": ()})
            wanted = usual(self, conversation, **{**arguments, "limit": 1000, "after": None})
            ids = {id for id, _ in wanted.messages}
            kept = [each for each in found.messages if each[0] in ids]
            return type(found)(kept, found.next_key, found.is_last)

        return page

    _replace("message_record", "MessageRecord.page", replaced)


@_deviation
def notices_of_threads_are_late() -> None:
    def replaced(usual: Any) -> Any:
        def tell(self: Any, *arguments: Any, **options: Any) -> None:
            def late() -> None:
                with self.unit():
                    usual(self, *arguments, **options)

            asyncio.get_running_loop().call_later(_LATE_MS / 1000, late)

        return tell

    _replace("delivery", "Delivery.tell_thread_changed", replaced)


@_deviation
def roaming_is_off() -> None:
    _refuse_call("rest_history", "roaming", 403, "forbidden_op", "message roaming is not open", 15002)


# ---------------------------------------------------------------- groups and threads


@_deviation
def threads_are_off() -> None:
    for name in ("create", "joined", "of_group", "detail", "join"):
        _refuse_call("rest_threads", name, 403, "forbidden_op", "thread is not open", 40000)


@_deviation
def the_creator_is_not_in_its_thread() -> None:
    def replaced(usual: Any) -> Any:
        def create_thread(self: Any, group_id: str, parent_id: str, owner: str, name: str) -> Any:
            thread = usual(self, group_id, parent_id, owner, name)
            self.remove_member(thread.id, owner)
            return thread

        return create_thread

    _replace("groups", "Groups.create_thread", replaced)


def _group_of(groups: Any, conversation: str) -> str:
    group = groups.group_of_conversation(conversation)
    return conversation if group is None else str(group.id)


@_deviation
def members_of_the_group_read_its_threads() -> None:
    def replaced(usual: Any) -> Any:
        return lambda groups, call, user, name: usual(groups, call, user, _group_of(groups, name))

    _replace("rest_history", "check_may_read", replaced)


@_deviation
def members_of_the_group_write_in_its_threads() -> None:
    def replaced(usual: Any) -> Any:
        return lambda groups, user, name: usual(groups, user, _group_of(groups, name))

    _replace("permissions", "check_is_in", replaced)


@_deviation
def a_missing_right_is_a_401() -> None:
    def no_permission(description: str, error: str = "group_authorization") -> RestError:
        return RestError(401, error, description, 40001)

    _replace("permissions", "no_permission", lambda usual: no_permission)


@_deviation
def names_have_32_characters() -> None:
    _replace("rest_threads", "_NAME_LENGTH", lambda usual: 32)


@_deviation
def members_may_join_again() -> None:
    def joining(usual: Any) -> Any:
        def join(backend: Any, call: Any) -> Any:
            backend.groups.remove_member(call.path["id"], call.user)
            return usual(backend, call)

        return join

    _replace("rest_threads", "join", joining)


@_deviation
def everybody_uses_threads() -> None:
    """Users outside the group read and join its threads, and destroy them."""
    permissions = importlib.import_module("imkit.sandbox.server.permissions")

    def thread_of(groups: Any, call: Any) -> Any:
        thread = groups.thread(call.path["id"])
        if thread is None:
            raise permissions.no_such_thread()
        return thread

    _replace("rest_threads", "thread_of", lambda usual: thread_of)
    _replace("rest_threads", "manager_of", lambda usual: lambda groups, call, group: call.operator)


@_deviation
def an_invitation_must_be_accepted() -> None:
    _replace("rest_group_members", "invite", lambda usual: lambda backend, call: {"data": []})


@_deviation
def nobody_is_told_of_mutes() -> None:
    _replace("rest_group_members", "_tell_mutes", lambda usual: lambda *_: None)


@_deviation
def groups_cannot_be_destroyed() -> None:
    _refuse_call("rest_groups", "destroy", 403, "forbidden_op", "only the console removes groups")


# ---------------------------------------------------------------- messages


@_deviation
def messages_cannot_be_edited() -> None:
    _refuse_send("permissions", "check_may_edit", "Sorry, You do not have permission")


@_deviation
def only_the_sender_recalls() -> None:
    def replaced(usual: Any) -> Any:
        return lambda options, groups, user, message, group_id, now: usual(options, groups, user, message, None, now)

    _replace("permissions", "check_may_recall", replaced)


@_deviation
def a_message_holds_3_kilobytes() -> None:
    def replaced(usual: Any) -> Any:
        def init(self: Any, options: Any, *parts: Any) -> None:
            usual(self, type(options)(**{**vars(options), "message_bytes": 3072}), *parts)

        return init

    _replace("uplink", "Uplink.__init__", replaced)


@_deviation
def reactions_are_off() -> None:
    _refuse_call("rest_reactions", "add", 403, "forbidden_op", "message reaction is not open", 15002)


@_deviation
def read_receipts_are_off() -> None:
    _refuse_send("uplink", "Uplink._ack", "group ack not open")


@_deviation
def pins_are_off() -> None:
    _refuse_call("rest_pins", "pin", 403, "forbidden_op", "message pin is not open", 15002)


@_deviation
def edits_have_no_end() -> None:
    _replace("permissions", "MAX_EDITS", lambda usual: 1000)


@_deviation
def everybody_recalls() -> None:
    _replace("permissions", "check_may_recall", lambda usual: lambda *_: None)


@_deviation
def a_message_takes_10_reactions() -> None:
    _replace("rest_reactions", "_KINDS", lambda usual: 10)


@_deviation
def receipts_must_be_asked_for() -> None:
    def replaced(usual: Any) -> Any:
        def ack(self: Any, device: Any, meta: Any, body: Any, target: Any) -> Any:
            stored = self._record.find(body.ackMessageId)
            if stored is not None:
                asked = schema.MessageBody.FromString(schema.Meta.FromString(stored.meta).payload).msgConfig
                if not asked.allowGroupAck:
                    raise SendRefused(StatusCode.FAIL, "group ack msg permission denied")
            return usual(self, device, meta, body, target)

        return ack

    _replace("uplink", "Uplink._ack", replaced)


@_deviation
def each_fourth_message_is_too_many() -> None:
    def replaced(usual: Any) -> Any:
        numbers = itertools.count(1)

        def message(*arguments: Any) -> Any:
            if next(numbers) % 4 == 0:
                raise SendRefused(StatusCode.PERMISSION_DENIED, "traffic limit")
            return usual(*arguments)

        return message

    _replace("uplink", "Uplink._message", replaced)


@_deviation
def empty_texts_are_refused() -> None:
    def replaced(usual: Any) -> Any:
        def message(self: Any, device: Any, meta: Any, body: Any, target: Any) -> Any:
            if body.contents[0].type == ContentType.TEXT and not body.contents[0].text:
                raise SendRefused(StatusCode.FAIL, "Sorry, format is incorrect")
            return usual(self, device, meta, body, target)

        return message

    _replace("uplink", "Uplink._message", replaced)


@_deviation
def a_repeated_send_is_one_message() -> None:
    def replaced(usual: Any) -> Any:
        accepted: dict[tuple[Any, int], Any] = {}

        def accept(self: Any, device: Any, meta: Any) -> Any:
            sent = device, meta.id  # the server changes the id of the Meta
            if sent not in accepted:
                accepted[sent] = usual(self, device, meta)
            return accepted[sent]

        return accept

    _replace("uplink", "Uplink.accept", replaced)


@_deviation
def all_messages_come_in_one_queue() -> None:
    _replace("uplink", "conversation_queue", lambda usual: lambda conversation: "all@conference.easemob.com")


def _tell_others_only(name: str, operator: Callable[..., str]) -> None:
    """Let a notice of `Delivery` leave out the user who did it; `operator` finds that user in the arguments."""

    def replaced(usual: Any) -> Any:
        def tell(self: Any, *arguments: Any, **options: Any) -> None:
            groups, members = self._groups, self._groups.members
            groups.members = lambda name: [user for user in members(name) if user != operator(*arguments)]
            try:
                usual(self, *arguments, **options)
            finally:
                groups.members = members

        return tell

    _replace("delivery", f"Delivery.{name}", replaced)


@_deviation
def only_others_are_told() -> None:
    """A user gets no notice of its own changes of threads, and of its own reactions."""
    _tell_others_only("tell_thread_changed", lambda thread, operation, operator, *_: operator)
    _tell_others_only("tell_reaction", lambda message, operator, *_: operator)


@_deviation
def the_end_of_a_thread_is_not_told() -> None:
    def replaced(usual: Any) -> Any:
        def tell(self: Any, thread: Any, operation: str, *more: Any) -> None:
            if operation != "delete":
                usual(self, thread, operation, *more)

        return tell

    _replace("delivery", "Delivery.tell_thread_changed", replaced)


@_deviation
def a_new_group_is_not_named() -> None:
    """The group is made, and the answer has another form than imkit knows."""

    def replaced(usual: Any) -> Any:
        def create(backend: Any, call: Any) -> dict[str, Any]:
            return {"data": {"group": usual(backend, call)["data"]["groupid"]}}

        return create

    _replace("rest_groups", "create", replaced)


@_deviation
def a_new_group_is_the_first_one() -> None:
    """Only the first call makes a group; the later ones name it again."""

    def replaced(usual: Any) -> Any:
        answers: list[Any] = []

        def create(backend: Any, call: Any) -> Any:
            answers.append(answers[0] if answers else usual(backend, call))
            return answers[0]

        return create

    _replace("rest_groups", "create", replaced)


@_deviation
def the_clock_is_5_minutes_slow() -> None:
    def replaced(usual: Any) -> Any:
        def init(self: Any, *arguments: Any, **options: Any) -> None:
            usual(self, *arguments, **options)
            self.clock = lambda: now_ms() - 300_000

        return init

    _replace("store", "Store.__init__", replaced)


@_deviation
def each_request_is_noted() -> None:
    """Write a line for each REST request, and one for each Meta on a socket, into `NOTES` of IMKIT_HOME."""
    notes = Path(os.environ["IMKIT_HOME"], NOTES)

    def note(line: str) -> None:
        with notes.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def noting_rest(usual: Any) -> Any:
        async def serve(self: Any, scope: Any, receive: Any, reply: Any) -> None:
            note(f"{scope['method']} {scope['path']}")
            await usual(self, scope, receive, reply)

        return serve

    def noting_socket(usual: Any) -> Any:
        def accept(self: Any, device: Any, meta: Any) -> Any:
            note(f"META of {device.user}")
            return usual(self, device, meta)

        return accept

    _replace("middleware", "Middleware._serve", noting_rest)
    _replace("uplink", "Uplink.accept", noting_socket)
