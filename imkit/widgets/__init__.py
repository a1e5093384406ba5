"""Forms for JupyterLab: log in, pick a thread, read, write, recall, load and export, without code.

imkit imports this package when it is first used, because ipywidgets and anywidget take time to import.

Example:
    ```python
    imkit.explore()
    form = imkit.widgets.LoginForm()
    ```
"""

from imkit.widgets.composer import Composer
from imkit.widgets.explorer import Explorer, explore
from imkit.widgets.feed import LiveFeed
from imkit.widgets.history_form import HistoryForm
from imkit.widgets.login import LoginForm
from imkit.widgets.picker import ThreadPicker
from imkit.widgets.wire_view import WireView

__all__ = ["Composer", "Explorer", "HistoryForm", "LiveFeed", "LoginForm", "ThreadPicker", "WireView", "explore"]


def __dir__() -> list[str]:
    return __all__  # and not the modules, which a Tab would show too
