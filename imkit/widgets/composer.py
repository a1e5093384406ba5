"""`Composer`: write into a thread, each of the nine kinds of message, and see what becomes of it."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets

from imkit.client.send import MESSAGE_BYTES
from imkit.errors import IMError, InvalidMessage, TooLarge
from imkit.escape import for_terminal
from imkit.messages import Audio, Body, Combine, Command, Custom, File, Image, Location, Text, Video
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Status, button, problem, row
from imkit.widgets.composer_parts import DropZone, Item, Outbox, TextBox
from imkit.wire.uplink import Address, encode_message

_FIELD = {"description_width": "10.5em"}
_FILES: dict[str, type[Any]] = {"img": Image, "audio": Audio, "video": Video, "file": File}
_BUNDLE_MOST = 300


class Composer(Form):
    """Write into a thread or a group: text by Enter, the other kinds by tabs; what was sent shows its state.

    Args:
        thread: where to.
        draft: a text that stands in the box to begin with.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        >>> Composer(thread)  # doctest: +SKIP
    """

    def __init__(self, thread: Thread | Group | None, *, draft: str = "", lang: str | None = None) -> None:
        super().__init__(lang)
        say = self.say
        self._room: Thread | Group | None = None
        self.text = TextBox(say, draft)
        self.drop = DropZone(say)
        self.outbox = Outbox(say)
        kinds = [(say(f"type_{kind}"), kind) for kind in _FILES]
        self.kind = self._field(ipywidgets.Dropdown, "send_as", options=kinds, value="file")
        self.seconds = self._field(ipywidgets.BoundedIntText, "send_duration", min=0, max=86_400)
        self.lat = self._field(ipywidgets.BoundedFloatText, "send_lat", min=-90, max=90, step=0.001)
        self.lng = self._field(ipywidgets.BoundedFloatText, "send_lng", min=-180, max=180, step=0.001)
        self.address = self._field(ipywidgets.Text, "send_address")
        self.event = self._field(ipywidgets.Text, "send_event", placeholder="vote")
        self.params = self._field(ipywidgets.Textarea, "send_params", placeholder='{"tea": "Dong Ding"}', rows=3)
        self.params_status = Status(say)
        self.action = self._field(ipywidgets.Text, "send_action", placeholder="typing")
        self.title = self._field(ipywidgets.Text, "send_title")
        self.count = self._field(ipywidgets.BoundedIntText, "send_count", min=1, max=_BUNDLE_MOST, value=10)
        self.ext = ipywidgets.Textarea(
            description=say("send_ext"),
            placeholder='{"mood": "good"}',
            rows=3,
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(width="calc(100% - 4px)"),
        )
        self.ext_shown = ipywidgets.ToggleButton(
            description=say("send_ext_show"),
            value=False,
            layout=ipywidgets.Layout(width="auto"),
        )
        self.ext_status = Status(say)
        self.send_buttons = {
            name: button(say("send_send"), kind="primary", under=_FIELD["description_width"])
            for name in ("file", "place", "custom", "command", "bundle")
        }
        self.tabs = ipywidgets.Tab(children=self._pages())
        for number, name in enumerate(
            ("type_txt", "send_files", "type_loc", "type_custom", "type_cmd", "type_combine")
        ):
            self.tabs.set_title(number, say(name))
        self.seconds.layout.display = "none"
        self._ext_box = ipywidgets.VBox([self.ext_shown])
        self.children = (self.status, self.tabs, self._ext_box, self.outbox)
        self._wire_up()
        self.add_class("imkit-composer")
        self.thread = thread

    def _field(self, kind: Any, label: str, **options: Any) -> Any:
        layout = ipywidgets.Layout(width="calc(100% - 4px)", max_width="32em")
        return kind(description=self.say(label), style=_FIELD, layout=layout, **options)

    def _pages(self) -> list[Any]:
        buttons = self.send_buttons
        return [
            self.text,
            ipywidgets.VBox([self.drop, row(self.kind, self.seconds), buttons["file"]]),
            ipywidgets.VBox([self.lat, self.lng, self.address, buttons["place"]]),
            ipywidgets.VBox([self.event, self.params, self.params_status, buttons["custom"]]),
            ipywidgets.VBox([self.action, buttons["command"]]),
            ipywidgets.VBox([self.title, self.count, buttons["bundle"]]),
        ]

    def _wire_up(self) -> None:
        self.on_word(self.text, self._text_said)
        self.on_word(self.drop, self._drop_said)
        self.on_word(self.outbox, self._outbox_said)
        for name, control in self.send_buttons.items():
            self.on_click(control, getattr(self, f"_send_{name}"))
        for control, action in ((self.address, "place"), (self.event, "custom"), (self.action, "command")):
            self.on_enter(control, getattr(self, f"_send_{action}"), self.send_buttons[action])
        self.on_change(self.ext_shown, self._show_ext)
        self.on_change(self.ext, self._check_ext)
        self.on_change(self.params, self._check_params)
        self.on_change(self.kind, self._arrange_file)

    @property
    def thread(self) -> Thread | Group | None:
        """Where it writes to; may be set."""
        return self._room

    @thread.setter
    def thread(self, room: Thread | Group | None) -> None:
        self._room = room
        self.text.disabled = room is None
        for control in self.send_buttons.values():
            control.disabled = room is None
        if room is None:
            self.status.tell(self.say("send_no_thread"))
        else:
            self.status.tell(self.say("send_to", name=for_terminal(room.name or room.id, 64)))

    # ------------------------------------------------------------------ what is said

    async def _text_said(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        text = said.get("text")
        if not isinstance(text, str) or self._room is None:
            return
        try:
            body = Text(text, ext=self._ext())
        except InvalidMessage:
            if said.get("do") == "send":
                self.text.give_back(text)
                raise
            body = Text(text)
        if said.get("do") == "typed":
            self.text.show_size(self._size(body), MESSAGE_BYTES)
        elif said.get("do") == "send":
            self.text.draft = ""  # a page that is loaded anew does not offer it again
            await self._post(body, text)

    def _size(self, body: Body) -> int:
        room = self._room
        if room is None:
            return 0
        address = Address(room.account.app.app_key, room.id, is_thread=isinstance(room, Thread))
        return len(encode_message(address, room.account.user, body, 1).payload)

    async def _drop_said(self, said: dict[str, Any], buffers: Sequence[Any]) -> None:
        self.drop.take_piece(said, buffers)
        if said.get("do") == "begin":
            kind = (mimetypes.guess_type(str(said.get("name")))[0] or "").partition("/")[0]
            self.kind.value = {"image": "img", "audio": "audio", "video": "video"}.get(kind, "file")

    async def _outbox_said(self, said: dict[str, Any], _: Sequence[Any]) -> None:
        if said.get("do") == "open":
            self.outbox.show()
        elif said.get("do") == "again" and (item := self.outbox.get(said.get("number"))) is not None:
            if item.state == "failed":
                await self._deliver(item)

    # ------------------------------------------------------------------ what is sent

    async def _send_file(self) -> None:
        chosen = await self.drop.whole()  # whoever is quick may send before all of it has been read
        if chosen is None:
            raise InvalidMessage(self.say("send_no_file"), hint="")
        options: dict[str, Any] = {"file_name": for_terminal(chosen.name, 120), "ext": self._ext()}
        if self.kind.value in ("audio", "video"):
            options["duration"] = self.seconds.value
        body = _FILES[self.kind.value](bytes(chosen.data), **options)
        self.drop.clear()
        await self._post(body, chosen.name)

    async def _send_place(self) -> None:
        body = Location(self.lat.value, self.lng.value, self.address.value, ext=self._ext())
        await self._post(body, self.address.value or f"{body.lat}, {body.lng}")

    async def _send_custom(self) -> None:
        params = _json_object(self.say, self.params.value)
        body = Custom(self.event.value.strip(), params, ext=self._ext())
        await self._post(body, self.event.value)

    async def _send_command(self) -> None:
        await self._post(Command(self.action.value.strip(), ext=self._ext()), self.action.value)

    async def _send_bundle(self) -> None:
        room = self._room
        if room is None:
            return
        newest = [message async for message in room.messages(order="newest", limit=self.count.value)]
        title = self.title.value or self.say("type_combine")
        await self._post(Combine(title, newest[::-1], ext=self._ext()), title)

    async def _post(self, body: Body, what: str) -> None:
        if self._room is None:
            raise InvalidMessage(self.say("send_no_thread"), hint="")
        await self._deliver(self.outbox.add(body, what, self._room))

    async def _deliver(self, item: Item) -> None:
        item.state, item.why = "waiting", ""
        self.outbox.show()

        async def told(done: int, total: int | None) -> None:
            percent = 100 * done // total if total else 0
            if percent != item.percent:
                item.percent = percent
                self.outbox.show()

        try:
            await item.to.send.aio(item.body, progress=told)
        except Exception as error:
            text, _, hint = problem(error)
            item.state, item.why, item.percent = "failed", " · ".join(filter(None, (text, hint))), None
            if isinstance(error, TooLarge | InvalidMessage) and isinstance(item.body, Text):
                self.text.give_back(item.body.text)
            if not isinstance(error, IMError):
                self.show_error(error)
        else:
            item.state = "sent"
        finally:
            self.outbox.show()

    # ------------------------------------------------------------------ attributes

    async def _show_ext(self) -> None:
        shown = [self.ext_shown, self.ext, self.ext_status] if self.ext_shown.value else [self.ext_shown]
        self._ext_box.children = shown

    def _ext(self) -> Mapping[str, Any]:
        return _json_object(self.say, self.ext.value) if self.ext_shown.value else {}

    async def _check_ext(self) -> None:
        self._tell_json(self.ext.value, self.ext_status)

    async def _check_params(self) -> None:
        self._tell_json(self.params.value, self.params_status)

    def _tell_json(self, text: str, status: Status) -> None:
        try:
            found = _json_object(self.say, text)
        except InvalidMessage as error:
            status.tell(str(error.args[0]), "bad")
        else:
            status.tell(self.say("send_json_good", n=len(found)) if text.strip() else "", "good")

    async def _arrange_file(self) -> None:
        self.seconds.layout.display = None if self.kind.value in ("audio", "video") else "none"

    def hidden(self) -> Sequence[Any]:
        """Return the controls that are not on the page just now."""
        return (self.ext, self.ext_status)


def _json_object(say: Any, text: str) -> Mapping[str, Any]:
    """Return the JSON object that somebody typed; nothing typed is an empty one."""
    if not text.strip():
        return {}

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    try:
        found = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = say("send_json_place", line=error.lineno, column=error.colno)
        raise InvalidMessage(say("send_json_bad", why=f"{error.msg}, {place}"), hint="") from error
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(say("send_json_bad", why=error), hint="") from error
    if not isinstance(found, dict):
        raise InvalidMessage(say("send_json_bad", why=say("send_json_kind")), hint="")
    return found
