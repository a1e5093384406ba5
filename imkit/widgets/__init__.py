"""Forms for JupyterLab: the whole job without a line of code. Loaded when they are asked for.

Example:
    >>> imkit.explore()  # doctest: +SKIP
    >>> form = imkit.widgets.LoginForm()  # doctest: +SKIP
"""

from imkit.widgets.composer import Composer
from imkit.widgets.explorer import Explorer, explore
from imkit.widgets.feed import LiveFeed
from imkit.widgets.history_form import HistoryForm
from imkit.widgets.login import LoginForm
from imkit.widgets.picker import ThreadPicker
from imkit.widgets.wire_view import WireView

__all__ = ["Composer", "Explorer", "HistoryForm", "LiveFeed", "LoginForm", "ThreadPicker", "WireView", "explore"]
