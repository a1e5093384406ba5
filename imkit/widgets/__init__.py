"""Forms for JupyterLab: the whole job without a line of code. Loaded when they are asked for.

Example:
    >>> imkit.explore()  # doctest: +SKIP
    >>> form = imkit.widgets.LoginForm()  # doctest: +SKIP
"""

from imkit.widgets.composer import Composer
from imkit.widgets.feed import LiveFeed
from imkit.widgets.login import LoginForm
from imkit.widgets.picker import ThreadPicker

__all__ = ["Composer", "LiveFeed", "LoginForm", "ThreadPicker"]
