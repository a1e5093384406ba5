"""The forms in a real JupyterLab, with mouse and keys, and with another user in another kernel.

Each test leaves screenshots in `screenshots/`, for developers to look at.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from PIL import Image as Picture
from playwright.sync_api import Page, TimeoutError, expect

from imkit.sandbox.process import Sandbox
from tests.browser.accessibility import LOW_CONTRAST, check, check_in_all_themes_and_widths, set_theme, tab_through
from tests.browser.forms import (
    HOSTILE,
    button,
    log_in,
    open_cells,
    reload,
    run_cells,
    save,
    screenshot,
    setup_cell,
    start_cell,
    wait_for_cell,
)
from tests.browser.jupyter import Lab, OpenNotebook
from tests.stand_ins import Answer, Asked, http_stand_in, register, token_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
expect.set_options(timeout=30_000)

Open = Callable[..., OpenNotebook]


@pytest.fixture
def notebook(lab: Lab, page: Page) -> Open:
    return partial(open_cells, lab, page)


def test_all_forms_in_one_cell(notebook: Open, page: Page, lab: Lab, tmp_path: Path) -> None:
    """Log in, make a group and a thread, send each type, recall, edit, load and export, with mouse and keys only."""
    opened = notebook("forms-explorer", "import imkit", "explorer = imkit.explore(lang='en')\nexplorer", height=1150)
    run_cells(opened, 0, 1)
    screenshot(page, "forms-1-login")
    page.get_by_label("Where").select_option(label="An Easemob app")
    page.get_by_label("App key").fill("no key")
    log_in(page, "ann")
    expect(page.get_by_text("InvalidMessage")).to_be_visible()
    check_in_all_themes_and_widths(page, "forms-2-login-refused")
    page.get_by_label("Where").select_option(label="Local sandbox, no account needed")
    # Wait until the kernel has handled the choice: it may handle a later click first, in another thread.
    expect(page.get_by_label("App key")).to_have_count(0)
    log_in(page, "ann")
    expect(page.get_by_text("ann is logged in")).to_be_visible()

    button(page, "New group").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("tea 茶")
    button(page, "Create").click()
    expect(page.get_by_role("option", name="tea 茶")).to_be_visible()
    button(page, "New thread").click()
    check(page)
    page.get_by_role("textbox", name="Name", exact=True).fill("Oolong 乌龙")
    page.get_by_role("textbox", name="First message", exact=True).fill("Which oolong should we order?")
    button(page, "Create").click()
    feed = page.locator(".imkit-feed")
    expect(feed.get_by_text("Parent message")).to_be_visible()
    expect(feed.get_by_text("Which oolong should we order?")).to_be_visible()

    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill("Dong Ding,")
    box.press("Shift+Enter")
    box.press_sequentially("please 🍵")
    expect(page.get_by_text("of 5,120 bytes")).to_be_visible()
    box.press("Enter")
    expect(feed.locator(".imkit-text", has_text="please 🍵")).to_have_text("Dong Ding,\nplease 🍵")
    box.fill("oops")
    box.press("Enter")
    oops = feed.locator(".imkit-message", has_text="oops")
    expect(oops.get_by_text(re.compile(r"1:\d\d left"))).to_be_visible()
    oops.get_by_role("button", name="Recall").click()
    expect(oops.get_by_text("ann recalled this")).to_be_visible()
    first = feed.locator(".imkit-message", has_text="please 🍵")
    first.get_by_role("button", name="Edit").click()
    screenshot(page, "forms-3-edit")
    page.get_by_role("textbox", name="New text").fill("Dong Ding, two bags 🍵🍵")
    page.get_by_role("textbox", name="New text").press("Enter")
    expect(feed.get_by_text("(edited)")).to_be_visible()

    Picture.new("RGB", (300, 180), "#8a5a2b").save(tmp_path / "cup.png")
    (tmp_path / "big.bin").write_bytes(bytes(11 * 2**20))
    page.get_by_role("tab", name="Image or file").click()
    page.locator(".imkit-drop input[type=file]").set_input_files(tmp_path / "big.bin")
    expect(page.get_by_text("big.bin has 11.0 MB")).to_be_visible()
    page.locator(".imkit-drop input[type=file]").set_input_files(tmp_path / "cup.png")
    expect(page.locator(".imkit-drop img")).to_be_visible()
    button(page, "Attributes …").click()
    page.get_by_label("Attributes (JSON)").fill('{"mood": ')
    expect(page.get_by_text("No JSON object yet")).to_be_visible()
    check_in_all_themes_and_widths(page, "forms-4-file", ".imkit-composer")
    page.get_by_label("Attributes (JSON)").fill('{"mood": "好"}')
    expect(page.get_by_text("JSON is fine: 1 key")).to_be_visible()
    send = page.locator(".imkit-form .jupyter-button:visible", has_text="Send")
    send.click()
    expect(feed.locator("img")).to_be_visible()
    for tab, fill in (
        ("Place", {"Address": "Lugu 鹿谷"}),
        ("Custom", {"Event": "vote", "Parameters (JSON)": '{"tea": "Dong Ding"}'}),
        ("Command", {"Action": "typing"}),
        ("Bundle", {"Title": "What was said"}),
    ):
        page.get_by_role("tab", name=tab, exact=True).click()
        for label, value in fill.items():
            page.get_by_role("textbox", name=label, exact=True).fill(value)
        send.click()
        sent = page.locator(".imkit-sent-list li", has_text=next(iter(fill.values())))
        expect(sent.get_by_text("✓ sent")).to_be_visible()
    feed.get_by_role("button", name="Open").click()
    expect(feed.locator(".imkit-inner")).to_contain_text("Lugu 鹿谷")
    expect(page.get_by_role("option", name="Oolong 乌龙")).to_contain_text(re.compile(r"\d messages"))
    check_in_all_themes_and_widths(page, "forms-5-chat")

    # Times are shown in the browser's time zone.
    sent_at = feed.locator(".imkit-message time").last
    at = datetime.fromisoformat(sent_at.get_attribute("datetime"))
    expect(sent_at).to_have_text(at.astimezone(ZoneInfo("Asia/Shanghai")).strftime("%H:%M"))

    page.get_by_role("tab", name="History", exact=True).click()
    page.get_by_label("From", exact=True).fill("2020-01-01T08:00")
    button(page, "Load").click()
    expect(page.get_by_text("5 messages · complete")).to_be_visible()
    expect(page.locator(".imkit-form table.dataTable tbody tr")).to_have_count(5)
    button(page, "Show as code").click()
    expect(page.locator(".imkit-code pre")).to_contain_text(".history(since='2020-01-01T00:00:00+00:00')")
    for suffix in (".parquet", ".jsonl", ".html", ".csv"):
        page.get_by_label("Export as").select_option(label=suffix[1:])
        button(page, "Export").click()
        expect(page.get_by_text(f"Exported to history{suffix}")).to_be_visible()
    assert pd.read_parquet(lab.root / "history.parquet").text[0] == "Dong Ding, two bags 🍵🍵"
    assert len(pd.read_json(lab.root / "history.jsonl", lines=True)) == len(pd.read_csv(lab.root / "history.csv")) == 5
    assert "Dong Ding, two bags 🍵🍵" in (lab.root / "history.html").read_text(encoding="utf-8")
    check_in_all_themes_and_widths(page, "forms-6-history")
    button(page, "Put it in the next cell").click()
    page.wait_for_function("() => window.jupyterapp.shell.currentWidget.content.widgets.length === 3")
    run_cells(opened, 2)
    assert "5 messages of" in opened.shown(2)

    page.get_by_role("tab", name="Wire", exact=True).click()
    expect(page.locator(".imkit-wire-list summary").last).to_be_visible()
    page.locator(".imkit-wire-list summary", has_text="messageroaming").first.click()
    check(page)
    screenshot(page, "forms-7-wire")
    button(page, "Log out").click()
    expect(page.get_by_text("Logged out.")).to_be_visible()
    expect(page.locator(".imkit-feed")).to_have_count(0)


SECRET = "correct horse battery"


def test_credentials_log_in_and_are_not_saved(notebook: Open, page: Page, lab: Lab, sandbox: Sandbox) -> None:
    register(sandbox, "forms-carol", SECRET)
    tokens = []

    def app_server(asked: Asked) -> Answer:
        tokens.append(token_of(sandbox, asked.query["user"]))
        return Answer(200, {"token": tokens[-1]})

    opened = notebook("forms-login", "import imkit.widgets\nform = imkit.widgets.LoginForm(lang='en')\nform")
    # Switch on JupyterLab's option to save the widgets' state with the notebook.
    save_state = "() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    page.evaluate(save_state)
    run_cells(opened, 0)
    page.get_by_label("Where").select_option(label="An Easemob app")
    fields = ["App key", "REST URL", "WebSocket URL", "User", "Log in with", "Password"]
    expect(page.get_by_label("Password", exact=True)).to_be_visible()
    assert tab_through(page, page.get_by_label("Where"), 7) == ["Where", *fields, "Log in"]
    for field, value in zip(fields, (sandbox.app_key, sandbox.rest_url, sandbox.ws_url, "forms-carol"), strict=False):
        page.get_by_label(field, exact=True).fill(value)
    with http_stand_in(app_server) as server:
        for way, field, value in (
            ("Password", "Password", SECRET),
            ("Token", "Token", token_of(sandbox, "forms-carol")),
            ("App server URL", "App server URL", f"{server.url}/token"),
        ):
            page.get_by_label("Log in with").select_option(label=way)
            page.get_by_label(field, exact=True).fill(value)
            tokens.append(value if way == "Token" else "")
            page.get_by_label(field, exact=True).press("Enter")
            expect(page.get_by_text("forms-carol is logged in")).to_be_visible()
            save(page)
            button(page, "Log out").click()
            expect(page.get_by_text("Logged out.")).to_be_visible()
        page.get_by_label("Log in with").select_option(label="Password")
        expect(page.get_by_label("Password", exact=True)).to_have_value("")
        page.get_by_label("Password", exact=True).fill("typed but not used")
        save(page)
    saved = (lab.root / "forms-login.ipynb").read_text()
    assert "forms-carol" in saved  # the widgets' state is saved, without the secrets
    assert [secret for secret in (SECRET, "typed but not used", *filter(None, tokens)) if secret in saved] == []
    page.evaluate(save_state)


# Collect each text that the list of sent messages shows.
WATCH = """
() => {
    window.shown = [];
    const list = document.querySelector('.imkit-sent-list');
    new MutationObserver(() => window.shown.push(list.innerText)).observe(list, { childList: true, subtree: true });
}
"""


def test_a_dropped_file_a_retried_message_and_the_end_of_the_recall_time(notebook: Open, page: Page) -> None:
    opened = notebook(
        "forms-composer",
        setup_cell("fei", "feng"),
        "import imkit.widgets\nfrom ipywidgets import VBox\n"
        "feed = imkit.widgets.LiveFeed(me, thread, recall_seconds=12, lang='en', height=300)\n"
        "VBox([feed, imkit.widgets.Composer(thread, lang='en')])",
        "thread.leave()",
        "thread.join()",
    )
    run_cells(opened, 0, 1)
    feed, sent_list = page.locator(".imkit-feed"), page.locator(".imkit-sent-list li")
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill("茶" * 2000)
    expect(page.get_by_text("bytes: too large")).to_be_visible()
    expect(button(page, "Send").locator("visible=true")).to_be_disabled()
    box.press("Enter")
    expect(box).to_have_value("茶" * 2000)  # not sent
    check(page)
    screenshot(page, "forms-composer-1-too-large")
    box.fill("short enough")
    expect(button(page, "Send").locator("visible=true")).to_be_enabled()
    assert tab_through(page, box, 2) == ["Message", "Send", "Attributes …"]
    box.press("Enter")
    mine = feed.locator(".imkit-message", has_text="short enough")
    expect(mine.get_by_text(re.compile(r"0:\d\d left"))).to_be_visible()
    expect(mine.get_by_role("button", name="Edit")).to_be_visible()

    page.get_by_role("tab", name="Image or file").click()
    page.evaluate(WATCH)
    zone = page.locator(".imkit-drop-zone")
    # The page makes a picture of noise, which is as large as a photograph, and drops it like a file of the desktop.
    dragged = page.evaluate_handle(
        """async () => {
            const canvas = new OffscreenCanvas(1000, 800), pen = canvas.getContext('2d');
            const noise = pen.createImageData(1000, 800);
            for (let at = 0; at < noise.data.length; at += 65536)
                crypto.getRandomValues(noise.data.subarray(at, Math.min(at + 65536, noise.data.length)));
            pen.putImageData(noise, 0, 0);
            const transfer = new DataTransfer();
            transfer.items.add(new File([await canvas.convertToBlob()], '龙井.png', { type: 'image/png' }));
            return transfer;
        }"""
    )
    zone.dispatch_event("dragenter", {"dataTransfer": dragged})
    expect(zone).to_have_class(re.compile("over"))
    zone.dispatch_event("dragover", {"dataTransfer": dragged})
    zone.dispatch_event("drop", {"dataTransfer": dragged})
    expect(zone).not_to_have_class(re.compile("over"))
    expect(page.locator(".imkit-drop-chosen img")).to_be_visible()
    expect(page.get_by_label("Send as")).to_have_value("Image")
    expect(page.locator(".imkit-drop-chosen progress")).to_have_count(0)  # the file is complete
    page.locator(".imkit-form .jupyter-button:visible", has_text="Send").click()
    expect(sent_list.filter(has_text="龙井.png").get_by_text("✓ sent")).to_be_visible()
    percents = re.findall(r"uploading (\d+)", " ".join(page.evaluate("() => window.shown")))
    assert any(0 < int(percent) < 100 for percent in percents), percents
    expect(feed.locator(".imkit-bubble img")).to_be_visible()

    page.get_by_role("tab", name="Text", exact=True).click()
    run_cells(opened, 2)
    box.fill("am I still in?")
    box.press("Enter")
    failed = sent_list.filter(has_text="am I still in?")
    expect(failed.get_by_text("✕ failed")).to_be_visible()
    expect(failed.get_by_text("NotAMember")).to_be_visible()
    check_in_all_themes_and_widths(page, "forms-composer-2-failed", ".imkit-feed")
    run_cells(opened, 3)
    failed.get_by_role("button", name="Try again").click()
    expect(failed.get_by_text("✓ sent")).to_be_visible()
    expect(feed.get_by_text("am I still in?")).to_be_visible()
    expect(mine.get_by_role("button")).to_have_count(0)  # it can no longer be recalled


def test_messages_from_another_kernel_arrive_and_are_never_markup(notebook: Open, page: Page, lab: Lab) -> None:
    """Messages arrive while a cell blocks; hostile texts in all fields; both themes; a reload."""
    opened = notebook(
        "forms-live",
        setup_cell("mei", "lei"),
        "import imkit.widgets\nfeed = imkit.widgets.LiveFeed(me, hostile, lang='en', height=430)\nfeed",
        "import time\nend = time.monotonic() + 40\n"
        "while len(feed._rows) < 5 and time.monotonic() < end: time.sleep(0.1)",
        "imkit.widgets.ThreadPicker(me, lang='en', height=200)",
        "imkit.widgets.HistoryForm(me, [hostile], lang='en')",
        "imkit.widgets.Composer(hostile, lang='en')",
    )
    run_cells(opened, 0, 1)
    other = f"""
import imkit, io
from PIL import Image
other = imkit.login("lei")
thread = [one for one in other.threads() if "img" in one.name][-1]
thread.send({HOSTILE!r})
quote = {{"msgID": "7", "msgSender": "lei", "msgPreview": {HOSTILE!r}}}
attributes = {{{HOSTILE!r}: {HOSTILE!r}, "msgQuote": quote, "em_at_list": ["all", {HOSTILE!r}]}}
thread.send(imkit.Text("with attributes", ext=attributes))
thread.send(imkit.File(b"x", file_name={HOSTILE!r}))
thread.send(imkit.Image(url="http://images.invalid/x.png", file_name={HOSTILE!r}))
thread.send(imkit.Location(1, 2, {HOSTILE!r}))
thread.send(imkit.Custom("vote", {{"tea": {HOSTILE!r}}}))
thread.send(imkit.Text("\\u202eright to left\\x1b[2J"))
other.close()
"""
    (lab.root / "other.py").write_text(other)
    # The cell blocks its kernel until the feed has the messages: the feed works on imkit's own event loop.
    start_cell(page, 2)
    page.evaluate(
        """async source => {
            const kernel = await window.jupyterapp.serviceManager.kernels.startNew({ name: 'python3' });
            await kernel.requestExecute({ code: source }).done;
            await kernel.shutdown();
        }""",
        other,
    )
    feed = page.locator(".imkit-feed")
    expect(feed.locator(".imkit-message")).to_have_count(7)
    wait_for_cell(page)
    expect(feed.get_by_text("The picture cannot be shown")).to_be_visible()
    expect(feed.get_by_text("\\u202eright to left")).to_be_visible()
    expect(feed.locator(".imkit-quote")).to_contain_text("lei: <")
    expect(feed.locator(".imkit-mentions")).to_contain_text("@everybody @<")
    feed.locator("summary").first.click()
    run_cells(opened, 3)
    expect(page.get_by_role("option", name="<img src=x")).to_be_visible()
    run_cells(opened, 4, 5)
    button(page, "Load").click()
    expect(page.get_by_text("7 messages · complete")).to_be_visible()
    expect(page.locator("table.dataTable tbody tr")).to_have_count(7)
    button(page, "Show as code").click()
    page.get_by_role("tab", name="Image or file").click()
    named = {"name": HOSTILE, "mimeType": "image/png", "buffer": b"x"}
    page.locator(".imkit-drop input[type=file]").set_input_files([named])
    expect(page.locator(".imkit-drop-chosen progress")).to_have_count(0)
    page.locator(".imkit-form .jupyter-button:visible", has_text="Send").click()
    expect(page.locator(".imkit-sent-list li").get_by_text("✓ sent")).to_be_visible()
    expect(feed.locator(".imkit-message")).to_have_count(8)
    assert page.title() != "stolen"
    # The hostile text is on the page more than eight times, always as text.
    assert page.locator(".imkit-form").get_by_text("<script>").count() > 8
    assert page.locator(".imkit-form img[src='x'], .imkit-form script").count() == 0
    page.locator("table.dataTable").first.scroll_into_view_if_needed()
    screenshot(page, "forms-live-hostile-history")
    page.locator(".imkit-feed").scroll_into_view_if_needed()
    for theme in ("Light", "Dark"):
        set_theme(page, f"JupyterLab {theme}")
        for form in range(4):
            assert page.locator(".imkit-form").nth(form).evaluate(LOW_CONTRAST) == [], theme
        screenshot(page, f"forms-live-{theme.lower()}")
    set_theme(page, "JupyterLab Light")
    reload(page)
    expect(page.locator(".imkit-message")).to_have_count(8, timeout=60_000)
    assert "images.invalid" not in (lab.root / "forms-live.ipynb").read_text()  # the notebook file contains no messages


def pick(page: Page, name: str) -> None:
    """Pick a conversation in the list; a failure tells what the form shows instead."""
    try:
        page.get_by_role("option", name=name).first.click()
    except TimeoutError as error:
        pytest.fail(
            f"{name} is not in the list ({error}); the form shows: {page.locator('.imkit-form').first.inner_text()}"
        )


def test_in_chinese(notebook: Open, page: Page) -> None:
    opened = notebook("forms-zh", setup_cell("hua", "hong"), "import imkit.widgets\nimkit.explore(lang='zh')")
    run_cells(opened, 0, 1)
    page.get_by_label("登录到").select_option(label="环信应用")
    log_in(page, "hong", "登录", "用户 ID")
    expect(page.get_by_text("InvalidMessage")).to_be_visible()
    check_in_all_themes_and_widths(page, "forms-zh-1-login")
    page.get_by_label("登录到").select_option(label="本地沙箱（无需账号）")
    expect(page.get_by_label("App Key")).to_have_count(0)
    button(page, "登录").click()
    pick(page, "乌龙")
    page.get_by_role("textbox", name="消息", exact=True).fill("铁观音！")
    page.get_by_role("textbox", name="消息", exact=True).press("Enter")
    expect(page.get_by_text("✓ 已发送")).to_be_visible()
    button(page, "改名").click()
    check_in_all_themes_and_widths(page, "forms-zh-2-chat")
    page.get_by_role("tab", name="历史消息").click()
    button(page, "加载").click()
    expect(page.get_by_text("1 条消息 · 完整")).to_be_visible()
    button(page, "显示代码").click()
    check_in_all_themes_and_widths(page, "forms-zh-3-history")
    page.get_by_role("tab", name="协议").click()
    expect(page.locator(".imkit-wire-list summary").last).to_be_visible()
    check_in_all_themes_and_widths(page, "forms-zh-4-wire")
    words = page.locator(".imkit-form").first.inner_text()
    assert not re.search(r"\b(Load|Send|Join|Refresh|Recall|Rename|messages|joined)\b", words)


def test_a_full_feed_shows_250_messages_a_second_and_a_load_is_stopped(notebook: Open, page: Page) -> None:
    opened = notebook(
        "forms-stop",
        "import imkit, imkit.widgets\nfrom imkit.portal import portal\n"
        "slow = imkit.Sandbox(latency_ms=200, open_registration=True).__enter__()\n"
        "alice, bob = imkit.login('alice', app=slow.app), imkit.login('bob', app=slow.app)\n"
        "group = alice.create_group('tea', members=['bob'])\n"
        "thread = group.create_thread('flood', group.send('?'))\n"
        "bobs_thread = bob.thread(thread.id).join()\n"
        "import asyncio\n"
        "async def flood(count):\n"
        "    async with asyncio.TaskGroup() as sends:\n"
        "        for number in range(count):\n"
        "            sends.create_task(bobs_thread.send.aio(f'message {number}'))\n"
        "            await asyncio.sleep(1 / 250)",
        # Fill the feed to its limit with old messages.
        "from imkit.messages import Message\nfrom imkit.times import from_milliseconds\n"
        "def old(n):\n"
        "    at = from_milliseconds(1_700_000_000_000 + n)\n"
        "    return Message(str(n + 1), 'bob', thread.id, at, imkit.Text(f'old {n}'))\n"
        "feed = imkit.widgets.LiveFeed(alice, thread, lang='en', height=250)\n"
        "portal().run(lambda: feed._rows.add(map(old, range(10_000))))\n"
        "feed",
        "portal().call(flood(1500))\nprint(len(feed._rows))",
        "form = imkit.widgets.HistoryForm(alice, [thread], lang='en')\nform",
        "source = form.frame.attrs['imkit']\nprint(0 < len(form.frame) < 1400, source['complete'], source['reason'])",
    )
    run_cells(opened, 0, 1)
    feed = page.locator(".imkit-feed")
    expect(feed.get_by_text("old 9999", exact=True)).to_be_in_viewport()
    run_cells(opened, 2)
    expect(feed.get_by_text("message 1499", exact=True)).to_be_in_viewport(timeout=15_000)
    assert opened.shown(2).strip() == "10000"
    assert feed.locator(".imkit-message").count() <= 400  # the page shows only a part
    feed.locator(".imkit-feed-list").evaluate("list => { list.scrollTop = 0; }")
    expect(feed.get_by_text("message 1250", exact=True)).to_be_visible()
    run_cells(opened, 3)
    page.get_by_role("spinbutton", name="At most").fill(
        "1400"
    )  # a limit is loaded page by page, which is slow enough to stop
    # Like a JupyterLab that does not give scripts its application object.
    page.evaluate("() => { window.savedApp = window.jupyterapp; window.jupyterapp = undefined; }")
    button(page, "Load").click()
    expect(page.get_by_text(re.compile(r"[\d,]+ of (about )?[\d,]+ messages"))).to_be_visible()
    screenshot(page, "forms-stop-1-under-way")
    button(page, "Stop").click()
    expect(page.get_by_text("not complete: stopped")).to_be_visible()
    expect(page.locator("table.dataTable tbody tr").first).to_be_visible()
    screenshot(page, "forms-stop-2-stopped")
    button(page, "Show as code").click()
    expect(page.locator(".imkit-code pre")).to_contain_text(".history(limit=1400)")
    expect(button(page, "Copy")).to_be_visible()
    expect(button(page, "Put it in the next cell")).to_be_hidden()
    page.evaluate("() => { window.jupyterapp = window.savedApp; }")
    ran = opened.run_cell(4)
    assert ran is not None
    assert ran.text == "True False stopped\n"
    run_cells(opened, 4)
