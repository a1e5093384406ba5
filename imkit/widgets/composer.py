"""`Composer`: a form that sends each of the nine kinds of message to a thread or a group, and shows the outcome."""

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
from imkit.session import checked_conversation
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Status, button, describe_error, row
from imkit.widgets.composer_parts import DropZone, SentItem, SentList, TextBox
from imkit.widgets.labels import Labels
from imkit.wire.uplink import Address, encode_message

_FILE_BODIES: dict[str, type[Any]] = {"img": Image, "audio": Audio, "video": Video, "file": File}
_MAX_BUNDLE_MESSAGES = 300


class Composer(Form):
    """Send messages to a thread or a group: text with Enter, the other kinds in tabs; sent messages show their state.

    Args:
        thread: the thread or group; `None`: set `.thread` later.
        draft: initial text in the text box.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        ```python
        imkit.widgets.Composer(thread, draft="Dong Ding, please")
        ```
    """

    def __init__(self, thread: Thread | Group | None, *, draft: str = "", lang: str | None = None) -> None:
        if thread is not None:
            checked_conversation(thread)
        super().__init__(lang)
        labels = self.labels
        self._conversation: Thread | Group | None = None
        self.text = TextBox(labels, draft)
        self.drop = DropZone(labels)
        self.sent_list = SentList(labels)
        self.send_buttons = {
            name: button(labels("send_send"), kind="primary", label_width=self.LABEL_WIDTH)
            for name in ("file", "place", "custom", "command", "bundle")
        }
        self.tabs = self._make_tabs()
        self.ext = ipywidgets.Textarea(
            description=labels("send_ext"),
            placeholder='{"mood": "good"}',
            rows=3,
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(width="calc(100% - 4px)"),
        )
        self.ext_shown = ipywidgets.ToggleButton(
            description=labels("send_ext_show"),
            value=False,
            layout=ipywidgets.Layout(width="auto"),
        )
        self.ext_status = Status(labels)
        self._ext_box = ipywidgets.VBox([self.ext_shown])
        self.children = (self.status, self.tabs, self._ext_box, self.sent_list)
        self._connect_controls()
        self.add_class("imkit-composer")
        self.thread = thread

    def _make_tabs(self) -> Any:
        """Create the controls of each kind of message, one tab a kind."""
        kinds = [(self.labels(f"type_{kind}"), kind) for kind in _FILE_BODIES]
        self.kind = self.field(ipywidgets.Dropdown, "send_as", options=kinds, value="file")
        self.seconds = self.field(ipywidgets.BoundedIntText, "send_duration", min=0, max=86_400)
        self.seconds.layout.display = "none"
        self.lat = self.field(ipywidgets.BoundedFloatText, "send_lat", min=-90, max=90, step=0.001)
        self.lng = self.field(ipywidgets.BoundedFloatText, "send_lng", min=-180, max=180, step=0.001)
        self.address = self.field(ipywidgets.Text, "send_address")
        self.event = self.field(ipywidgets.Text, "send_event", placeholder="vote")
        self.params = self.field(ipywidgets.Textarea, "send_params", placeholder='{"tea": "Dong Ding"}', rows=3)
        self.params_status = Status(self.labels)
        self.action = self.field(ipywidgets.Text, "send_action", placeholder="typing")
        self.title = self.field(ipywidgets.Text, "send_title")
        self.count = self.field(ipywidgets.BoundedIntText, "send_count", min=1, max=_MAX_BUNDLE_MESSAGES, value=10)
        buttons = self.send_buttons
        pages = {
            "type_txt": self.text,
            "send_files": ipywidgets.VBox([self.drop, row(self.kind, self.seconds), buttons["file"]]),
            "type_loc": ipywidgets.VBox([self.lat, self.lng, self.address, buttons["place"]]),
            "type_custom": ipywidgets.VBox([self.event, self.params, self.params_status, buttons["custom"]]),
            "type_cmd": ipywidgets.VBox([self.action, buttons["command"]]),
            "type_combine": ipywidgets.VBox([self.title, self.count, buttons["bundle"]]),
        }
        tabs = ipywidgets.Tab(children=list(pages.values()))
        for number, label_key in enumerate(pages):
            tabs.set_title(number, self.labels(label_key))
        return tabs

    def _connect_controls(self) -> None:
        self.on_page_message(self.text, self._on_text_message)
        self.on_page_message(self.drop, self._on_drop_message)
        self.on_page_message(self.sent_list, self._on_sent_list_message)
        for name, control in self.send_buttons.items():
            self.on_click(control, getattr(self, f"_send_{name}"))
        for control, name in ((self.address, "place"), (self.event, "custom"), (self.action, "command")):
            self.on_enter(control, getattr(self, f"_send_{name}"), self.send_buttons[name])
        self.on_change(self.ext_shown, self._show_ext)
        self.on_change(self.ext, self._check_ext)
        self.on_change(self.params, self._check_params)
        self.on_change(self.kind, self._show_seconds)

    @property
    def thread(self) -> Thread | Group | None:
        """The thread or group that messages go to; may be set."""
        return self._conversation

    @thread.setter
    def thread(self, conversation: Thread | Group | None) -> None:
        self._conversation = conversation
        self.text.disabled = conversation is None
        for control in self.send_buttons.values():
            control.disabled = conversation is None
        if conversation is None:
            self.status.show(self.labels("send_no_thread"))
        else:
            name = for_terminal(conversation.name or conversation.id, 64)
            self.status.show(self.labels("send_to", name=name))

    # ------------------------------------------------------------------ messages from the page

    async def _on_text_message(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        text = content.get("text")
        if not isinstance(text, str) or self._conversation is None:
            return
        try:
            body = Text(text, ext=self._ext())
        except InvalidMessage:  # the attributes are not valid JSON yet
            if content.get("do") == "send":
                self.text.restore(text)
                raise
            body = Text(text)
        if content.get("do") == "typed":
            self.text.show_size(self._size(body), MESSAGE_BYTES)
        elif content.get("do") == "send":
            self.text.draft = ""  # so that a reloaded page does not show the draft again
            await self._send_body(body, text)

    def _size(self, body: Body) -> int:
        """Return the size of an encoded message in bytes."""
        conversation = self._conversation
        if conversation is None:
            return 0
        account = conversation.account
        address = Address(account.app.app_key, conversation.id, is_thread=isinstance(conversation, Thread))
        return len(encode_message(address, account.user, body, 1).payload)

    async def _on_drop_message(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        self.drop.receive(content, buffers)
        if content.get("do") == "begin":
            kind = (mimetypes.guess_type(str(content.get("name")))[0] or "").partition("/")[0]
            self.kind.value = {"image": "img", "audio": "audio", "video": "video"}.get(kind, "file")

    async def _on_sent_list_message(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        if content.get("do") == "open":
            self.sent_list.show()
        elif content.get("do") == "retry" and (item := self.sent_list.get(content.get("number"))) is not None:
            if item.state == "failed":
                await self._send_item(item)

    # ------------------------------------------------------------------ sending

    async def _send_file(self) -> None:
        file = await self.drop.wait_for_file()
        if file is None:
            raise InvalidMessage(self.labels("send_no_file"), hint="")
        options: dict[str, Any] = {"file_name": for_terminal(file.name, 120), "ext": self._ext()}
        if self.kind.value in ("audio", "video"):
            options["duration"] = self.seconds.value
        body = _FILE_BODIES[self.kind.value](bytes(file.data), **options)
        self.drop.clear()
        await self._send_body(body, file.name)

    async def _send_place(self) -> None:
        body = Location(self.lat.value, self.lng.value, self.address.value, ext=self._ext())
        await self._send_body(body, self.address.value or f"{body.lat}, {body.lng}")

    async def _send_custom(self) -> None:
        params = _parse_object(self.labels, self.params.value)
        body = Custom(self.event.value.strip(), params, ext=self._ext())
        await self._send_body(body, self.event.value)

    async def _send_command(self) -> None:
        await self._send_body(Command(self.action.value.strip(), ext=self._ext()), self.action.value)

    async def _send_bundle(self) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        newest = [message async for message in conversation.messages(order="newest", limit=self.count.value)]
        title = self.title.value or self.labels("type_combine")
        await self._send_body(Combine(title, newest[::-1], ext=self._ext()), title)

    async def _send_body(self, body: Body, summary: str) -> None:
        if self._conversation is None:
            raise InvalidMessage(self.labels("send_no_thread"), hint="")
        await self._send_item(self.sent_list.add(body, summary, self._conversation))

    async def _send_item(self, item: SentItem) -> None:
        """Send an item of the sent list and show its progress and its outcome there."""
        item.state, item.error = "waiting", ""
        self.sent_list.show()

        async def on_progress(done: int, total: int | None) -> None:
            percent = 100 * done // total if total else 0
            if percent != item.percent:
                item.percent = percent
                self.sent_list.show()

        try:
            await item.to.send.aio(item.body, progress=on_progress)
        except Exception as error:
            text, _, hint = describe_error(error)
            item.state, item.error, item.percent = "failed", " · ".join(filter(None, (text, hint))), None
            if isinstance(error, TooLarge | InvalidMessage) and isinstance(item.body, Text):
                self.text.restore(item.body.text)
            if not isinstance(error, IMError):
                self.show_error(error)
        else:
            item.state = "sent"
        finally:
            self.sent_list.show()

    # ------------------------------------------------------------------ JSON fields

    async def _show_ext(self) -> None:
        shown = [self.ext_shown, self.ext, self.ext_status] if self.ext_shown.value else [self.ext_shown]
        self._ext_box.children = shown

    def _ext(self) -> Mapping[str, Any]:
        return _parse_object(self.labels, self.ext.value) if self.ext_shown.value else {}

    async def _check_ext(self) -> None:
        self._show_json_status(self.ext.value, self.ext_status)

    async def _check_params(self) -> None:
        self._show_json_status(self.params.value, self.params_status)

    def _show_json_status(self, text: str, status: Status) -> None:
        try:
            parsed = _parse_object(self.labels, text)
        except InvalidMessage as error:
            status.show(str(error.args[0]), "bad")
        else:
            status.show(self.labels("send_json_good", n=len(parsed)) if text.strip() else "", "good")

    async def _show_seconds(self) -> None:
        self.seconds.layout.display = None if self.kind.value in ("audio", "video") else "none"

    def hidden_controls(self) -> Sequence[Any]:
        """Return the attributes' controls, which are on the page only when the toggle is on."""
        return (self.ext, self.ext_status)


def _parse_object(labels: Labels, text: str) -> Mapping[str, Any]:
    """Return the JSON object in `text`; blank text is an empty object.

    Raises:
        InvalidMessage: `text` is not a JSON object; the message says where.
    """
    if not text.strip():
        return {}

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        parsed = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = labels("send_json_place", line=error.lineno, column=error.colno)
        raise InvalidMessage(labels("send_json_bad", why=f"{error.msg}, {place}"), hint="") from error
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(labels("send_json_bad", why=error), hint="") from error
    if not isinstance(parsed, dict):
        raise InvalidMessage(labels("send_json_bad", why=labels("send_json_kind")), hint="")
    return parsed
