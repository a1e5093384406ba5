"""`Explorer` and `explore`: all forms together, in the output of one cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets

from imkit.errors import InvalidMessage
from imkit.portal import portal
from imkit.session import Session, checked_session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Status, close_widget
from imkit.widgets.composer import Composer
from imkit.widgets.feed import LiveFeed
from imkit.widgets.history_form import HistoryForm
from imkit.widgets.login import LoginForm
from imkit.widgets.picker import ThreadPicker
from imkit.widgets.wire_view import WireView


class Explorer(Form):
    """Log in, pick a thread, read and write in it, load its history, watch the frames on the wire.

    Args:
        session: use this session; `None` shows the login form.
        user: initial user id in the login form.
        draft: initial text in the composer.
        recall_seconds: how long after sending the app allows a recall, in seconds. It only controls which buttons are
            shown; the service decides.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Attributes:
        login, picker, composer, feed, history, wire: the forms; all but `login` are `None` before the login.

    Example:
        ```python
        explorer = imkit.widgets.Explorer()
        explorer  # shows it; then, in a later cell:
        explorer.thread, explorer.frame
        ```
    """

    def __init__(
        self,
        session: Session | None = None,
        *,
        user: str = "",
        draft: str = "",
        recall_seconds: float = 120,
        lang: str | None = None,
    ) -> None:
        given: object = user
        if not isinstance(given, str):
            hint = "With a session write imkit.explore(session=alice)."
            raise InvalidMessage(f"user must be a user id, not {given!r:.60}", hint=hint)
        if session is not None:
            checked_session(session)
        super().__init__(lang)
        self._lang = lang
        self._draft = draft
        self._recall_seconds = recall_seconds
        self._session = session
        self.picker: ThreadPicker | None = None
        self.composer: Composer | None = None
        self.feed: LiveFeed | None = None
        self.history: HistoryForm | None = None
        self.wire: WireView | None = None
        self._forms_box = ipywidgets.VBox([])  # all forms but the login form
        self._feed_box = ipywidgets.VBox([])  # the feed of the picked thread, or a note before
        self.login: LoginForm | None = None
        if session is None:
            self.login = LoginForm(user, on_login=self._open_forms, on_logout=self._close_forms, lang=self._lang)
            self.children = [self.status, self.login, self._forms_box]
        else:
            self.children = [self.status, self._forms_box]
            portal().run(lambda: self._open_forms(session))

    @property
    def session(self) -> Session | None:
        """The session; `None` before the login."""
        return self._session if self.login is None else self.login.session

    @property
    def thread(self) -> Thread | None:
        """The picked thread; `None` before one is picked."""
        return None if self.picker is None else self.picker.thread

    @property
    def frame(self) -> Any:
        """The history that was loaded last, a DataFrame; `None` before."""
        return None if self.history is None else self.history.frame

    def _open_forms(self, session: Session) -> None:
        lang = self._lang
        self.picker = ThreadPicker(session, on_pick=self._show_conversation, height=560, lang=lang)
        self.composer = Composer(None, draft=self._draft, lang=lang)
        self.history = HistoryForm(session, tree=self.picker.tree, lang=lang)
        self.wire = WireView(session, height=560, lang=lang)
        note = Status(self.labels)
        note.show(self.labels("explore_pick"))
        self._feed_box.children = [note]
        # One composer for all threads, so that a typed text survives the change to another thread.
        self.composer.layout.display = "none"
        tabs = ipywidgets.Tab(children=[ipywidgets.VBox([self._feed_box, self.composer]), self.history, self.wire])
        for number, name in enumerate(("chat", "history", "wire")):
            tabs.set_title(number, self.labels(f"explore_{name}"))
        panes = ipywidgets.Box([self.picker, tabs])
        panes.add_class("imkit-panes")
        self.picker.add_class("imkit-pane")
        tabs.add_class("imkit-pane")
        self._forms_box.children = [panes]

    def _show_conversation(self, conversation: Thread | Group) -> None:
        if self._closed or self.picker is None or self.composer is None or self.history is None:
            return
        (replaced,) = self._feed_box.children
        options: dict[str, Any] = {"recall_seconds": self._recall_seconds, "height": 330, "lang": self._lang}
        self.feed = LiveFeed(self.picker.session, conversation, **options)
        self.composer.thread = conversation
        self._feed_box.children = [self.feed]
        self.composer.layout.display = None
        close_widget(replaced)
        self.history.choose(conversation)

    def _close_forms(self) -> None:
        self.picker = self.composer = self.feed = self.history = self.wire = None
        closing, self._feed_box = self._forms_box.children, ipywidgets.VBox([])
        self._forms_box.children = []
        for widget in closing:
            close_widget(widget)

    def hidden_controls(self) -> Sequence[Any]:
        """Return the feed's box, which is not on the page before the login."""
        return (self._feed_box,)

    def close(self) -> None:
        """Close all forms and remove them from the page. The session stays open."""
        if not self._closed:
            self._close_forms()
        super().close()


def explore(user: str = "", *, session: Session | None = None, draft: str = "", lang: str | None = None) -> Explorer:
    """Show all forms: log in, pick a thread, read, write, recall, load its history, watch the frames on the wire.

    Args:
        user: initial user id in the login form.
        session: use this session and show no login form.
        draft: initial text in the composer.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        ```python
        imkit.explore()
        imkit.explore(session=alice)
        ```
    """
    return Explorer(session, user=user, draft=draft, lang=lang)
