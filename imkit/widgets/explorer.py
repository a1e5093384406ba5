"""`Explorer`: all forms on one page, for who opens one cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets

from imkit.portal import portal
from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form, Status, discard
from imkit.widgets.composer import Composer
from imkit.widgets.feed import LiveFeed
from imkit.widgets.history_form import HistoryForm
from imkit.widgets.login import LoginForm
from imkit.widgets.picker import ThreadPicker
from imkit.widgets.wire_view import WireView


class Explorer(Form):
    """Log in, pick a thread, read and write in it, load its history, watch the wire: all on one page.

    Args:
        session: begins logged in; `None` shows the login form.
        user: fills the login form's user.
        draft: a text that stands in the composer's box to begin with.
        recall_seconds: for how long the app lets a message be recalled.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Attributes:
        login, picker, composer, feed, history, wire: the forms; all but the first are `None` before the login.

    Example:
        >>> explorer = Explorer()  # doctest: +SKIP
        >>> explorer.thread, explorer.frame  # doctest: +SKIP
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
        self._place = ipywidgets.VBox([])
        self._reading = ipywidgets.VBox([])
        self.login: LoginForm | None = None
        if session is None:
            self.login = LoginForm(user, on_login=self._open, on_logout=self._shut, lang=self._lang)
            self.children = [self.status, self.login, self._place]
        else:
            self.children = [self.status, self._place]
            portal().run(lambda: self._open(session))

    @property
    def session(self) -> Session | None:
        """The session, once logged in."""
        return self._session if self.login is None else self.login.session

    @property
    def thread(self) -> Thread | None:
        """The thread that is picked."""
        return None if self.picker is None else self.picker.thread

    @property
    def frame(self) -> Any:
        """The history that was loaded last, a DataFrame; `None` before."""
        return None if self.history is None else self.history.frame

    def _open(self, session: Session) -> None:
        lang = self._lang
        self.picker = ThreadPicker(session, on_pick=self._show, height=560, lang=lang)
        self.composer = Composer(None, draft=self._draft, lang=lang)
        self.history = HistoryForm(session, rooms=self.picker.rooms, lang=lang)
        self.wire = WireView(session, height=560, lang=lang)
        note = Status(self.say)
        note.tell(self.say("explore_pick"))
        self._reading.children = [note]
        # The composer stays as it is from one thread to the next, with what stands in it.
        self.composer.layout.display = "none"
        tabs = ipywidgets.Tab(children=[ipywidgets.VBox([self._reading, self.composer]), self.history, self.wire])
        for number, name in enumerate(("chat", "history", "wire")):
            tabs.set_title(number, self.say(f"explore_{name}"))
        panes = ipywidgets.Box([self.picker, tabs])
        panes.add_class("imkit-panes")
        self.picker.add_class("imkit-pane")
        tabs.add_class("imkit-pane")
        self._place.children = [panes]

    def _show(self, room: Thread | Group) -> None:
        if self._closed or self.picker is None or self.composer is None or self.history is None:
            return
        (replaced,) = self._reading.children  # the note that says to pick something, or the feed before
        options: dict[str, Any] = {"recall_seconds": self._recall_seconds, "height": 330, "lang": self._lang}
        self.feed = LiveFeed(self.picker.session, room, **options)
        self.composer.thread = room
        self._reading.children = [self.feed]
        self.composer.layout.display = None
        discard(replaced)
        self.history.choose(room)

    def _shut(self) -> None:
        self.picker = self.composer = self.feed = self.history = self.wire = None
        before, self._reading = self._place.children, ipywidgets.VBox([])
        self._place.children = []
        for widget in before:
            discard(widget)

    def hidden(self) -> Sequence[Any]:
        """Return the chat's place, which is on no page before the login."""
        return (self._reading,)

    def close(self) -> None:
        """Take everything off the page and end what it does. The session stays open."""
        if not self._closed:
            self._shut()
        super().close()


def explore(user: str = "", *, session: Session | None = None, draft: str = "", lang: str | None = None) -> Explorer:
    """Open everything on one page: log in, pick a thread, read, write, recall, load its history, watch the wire.

    Args:
        user: fills the login form's user.
        session: begins logged in, without a login form.
        draft: a text that stands in the composer's box to begin with.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        >>> imkit.explore()  # doctest: +SKIP
    """
    return Explorer(session, user=user, draft=draft, lang=lang)
