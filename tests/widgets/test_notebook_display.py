"""A history frame in a notebook: the line above the table."""

import subprocess
import sys

from imkit.history.summary import as_html, line_above
from tests.widgets.conftest import Tea


def test_a_history_frame_shows_whether_it_is_complete(tea: Tea) -> None:
    tea.thread.send("<script>")
    frame = tea.thread.history()
    assert line_above(frame) == f"1 message of {tea.thread.id}: complete"
    assert line_above(frame.head(0)) == f"0 rows, made from 1 message of {tea.thread.id}: complete"
    assert line_above(frame[["text"]]) is None
    html = as_html(frame)
    assert html is not None
    assert html.index("complete") < html.index("<table")
    frame.attrs["imkit"]["reason"] = "<script>"
    assert "<script>" not in (as_html(frame) or "")


def test_ipython_shows_that_line_and_other_frames_unchanged() -> None:
    code = """if True:
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        import imkit, sys
        assert "pandas" not in sys.modules
        from imkit.history.frames import frame_of
        import pandas
        show = shell.display_formatter.format
        data, _ = show(frame_of([], {"rows": 0, "thread_ids": ["42"], "complete": True}))
        assert "0 messages of 42: complete" in data["text/html"] and "complete" in data["text/plain"], data
        plain = pandas.DataFrame({"a": [1]})
        assert show(plain)[0]["text/html"] == plain._repr_html_()
        assert show(plain)[0]["text/plain"] == repr(plain)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
