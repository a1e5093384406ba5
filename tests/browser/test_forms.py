"""The forms as a person uses them: real JupyterLab, real mouse and keys, another person in another kernel.

Each journey leaves pictures in `screenshots/`, for people to look at.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image as Picture
from playwright.sync_api import Page, expect

from tests.browser.forms import HOSTILE, button, log_in, open_cells, picture, prepare, reload, run
from tests.browser.jupyter import Lab, OpenNotebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
expect.set_options(timeout=30_000)

Open = Callable[..., OpenNotebook]


@pytest.fixture
def notebook(lab: Lab, page: Page) -> Open:
    return partial(open_cells, lab, page)


def set_theme(page: Page, name: str) -> None:
    page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })", name)
    light = "false" if "Dark" in name else "true"
    page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{light}'")
    page.wait_for_function("() => !document.querySelector('#jupyterlab-splash')")


# The contrast of every text in a form against what lies behind it; what fails AA, by its words.
CONTRAST = """
root => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const parse = colour => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const ground = node => {
        const layers = [];
        for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
        return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    };
    const light = colour => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
        const part = colour[i] / 255;
        return sum + weight * (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    }, 0);
    const poor = [];
    for (const node of root.querySelectorAll('*')) {
        const texts = [...node.childNodes].filter(child => child.nodeType === 3);
        const words = texts.map(child => child.data.trim()).join('');
        const style = getComputedStyle(node), box = node.getBoundingClientRect();
        if (!words || !box.width || !box.height || style.visibility === 'hidden' || node.closest(':disabled')) continue;
        const back = ground(node), [a, b] = [light(over(parse(style.color), back)), light(back)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) poor.push(`${words.slice(0, 30)} ${ratio.toFixed(2)}`);
    }
    return poor;
}
"""
# Controls that a screen reader could not name.
NAMELESS = """
root => [...root.querySelectorAll('input:not([type=hidden]):not([aria-hidden]), textarea, select, button')]
    .filter(node => node.getBoundingClientRect().width)
    .filter(node => !(node.labels?.length && [...node.labels].some(label => label.textContent.trim()))
        && !node.getAttribute('aria-label') && !node.textContent.trim() && !node.title)
    .map(node => node.outerHTML.slice(0, 120))
"""


def check_for_everybody(page: Page, selector: str = ".imkit-form") -> None:
    form = page.locator(selector).first
    assert form.evaluate(CONTRAST) == []
    assert form.evaluate(NAMELESS) == []
    # Nothing sticks out of the cell to the right.
    assert form.evaluate("form => form.scrollWidth - form.clientWidth") <= 2


def test_everything_from_one_cell(notebook: Open, page: Page, tmp_path: Path) -> None:
    """Log in, make a group and a thread, send each type, recall, edit, load, export: with the mouse and keys alone."""
    opened = notebook("forms-explorer", "import imkit", "explorer = imkit.explore(lang='en')\nexplorer", height=1150)
    run(opened, 0, 1)
    picture(page, "forms-1-login")
    page.get_by_label("Where").select_option(label="An Easemob app")
    page.get_by_label("App key").fill("no key")
    log_in(page, "ann")
    expect(page.get_by_text("InvalidMessage")).to_be_visible()
    check_for_everybody(page)
    picture(page, "forms-2-login-refused")
    page.get_by_label("Where").select_option(label="Local sandbox, no account needed")
    log_in(page, "ann")
    expect(page.get_by_text("ann is logged in")).to_be_visible()

    button(page, "New group").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("tea 茶")
    button(page, "Create").click()
    expect(page.get_by_role("option", name="tea 茶")).to_be_visible()
    button(page, "New thread").click()
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
    expect(feed.locator(".imkit-words", has_text="please 🍵")).to_have_text("Dong Ding,\nplease 🍵")
    box.fill("oops")
    box.press("Enter")
    oops = feed.locator(".imkit-message", has_text="oops")
    expect(oops.get_by_text(re.compile(r"1:\d\d left"))).to_be_visible()
    oops.get_by_role("button", name="Recall").click()
    expect(oops.get_by_text("ann recalled this")).to_be_visible()
    first = feed.locator(".imkit-message", has_text="please 🍵")
    first.get_by_role("button", name="Edit").click()
    picture(page, "forms-3-edit")
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
    check_for_everybody(page)
    picture(page, "forms-4-file")
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
        sent = page.locator(".imkit-outbox li", has_text=next(iter(fill.values())))
        expect(sent.get_by_text("✓ sent")).to_be_visible()
    feed.get_by_role("button", name="Open").click()
    expect(feed.locator(".imkit-inner")).to_contain_text("Lugu 鹿谷")
    expect(page.get_by_role("option", name="Oolong 乌龙")).to_contain_text(re.compile(r"\d messages"))
    picture(page, "forms-5-chat")

    page.get_by_role("tab", name="History", exact=True).click()
    button(page, "Load").click()
    expect(page.get_by_text("5 messages · complete")).to_be_visible()
    expect(page.locator(".imkit-form table.dataTable tbody tr")).to_have_count(5)
    button(page, "Show as code").click()
    expect(page.locator(".imkit-code pre")).to_contain_text(".history()")
    button(page, "Export").click()
    expect(page.get_by_text("Exported to history.csv")).to_be_visible()
    picture(page, "forms-6-history")
    button(page, "Put it in the next cell").click()
    page.wait_for_function("() => window.jupyterapp.shell.currentWidget.content.widgets.length === 3")
    run(opened, 2)
    assert "5 messages of" in opened.shown(2)

    page.get_by_role("tab", name="Wire", exact=True).click()
    expect(page.locator(".imkit-wire-list summary").last).to_be_visible()
    page.locator(".imkit-wire-list summary", has_text="messageroaming").first.click()
    picture(page, "forms-7-wire")
    button(page, "Log out").click()
    expect(page.get_by_text("Logged out.")).to_be_visible()
    expect(page.locator(".imkit-feed")).to_have_count(0)


def test_what_another_kernel_says_comes_and_stays_inert(notebook: Open, page: Page, lab: Lab) -> None:
    """Two kernels; live while a cell blocks; hostile words everywhere; the page reloaded; dark and light."""
    opened = notebook(
        "forms-live",
        prepare("mei", "lei"),
        "import imkit.widgets\nfeed = imkit.widgets.LiveFeed(me, hostile, lang='en', height=430)\nfeed",
        "import time\nend = time.monotonic() + 40\n"
        "while len(feed._rows) < 5 and time.monotonic() < end: time.sleep(0.1)",
        "imkit.widgets.ThreadPicker(me, lang='en', height=200)",
        "len(feed._rows)",
    )
    run(opened, 0, 1)
    other = f"""
import imkit, io
from PIL import Image
other = imkit.login("lei")
room = [thread for thread in other.threads() if "img" in thread.name][-1]
room.send({HOSTILE!r})
room.send(imkit.Text("with attributes", ext={{{HOSTILE!r}: {HOSTILE!r}}}))
room.send(imkit.File(b"x", file_name={HOSTILE!r}))
room.send(imkit.Image(url="http://images.invalid/x.png", file_name={HOSTILE!r}))
room.send(imkit.Location(1, 2, {HOSTILE!r}))
room.send(imkit.Custom("vote", {{"tea": {HOSTILE!r}}}))
room.send(imkit.Text("\\u202eright to left\\x1b[2J"))
other.close()
"""
    (lab.root / "other.py").write_text(other)
    # The cell in front blocks its kernel until the messages are there: the feed moves meanwhile, on its own loop.
    page.evaluate(
        """source => {
            const app = window.jupyterapp, notebook = app.shell.currentWidget.content;
            notebook.activeCellIndex = 2;
            window.blocked = app.commands.execute('notebook:run-cell');
            return app.serviceManager.kernels.startNew({ name: 'python3' }).then(async kernel => {
                await kernel.requestExecute({ code: source }).done;
                await kernel.shutdown();
            });
        }""",
        other,
    )
    feed = page.locator(".imkit-feed")
    expect(feed.locator(".imkit-message")).to_have_count(7)
    page.evaluate("() => window.blocked")
    expect(feed.get_by_text("The picture cannot be shown")).to_be_visible()
    expect(feed.get_by_text("\\u202eright to left")).to_be_visible()
    feed.locator("summary").first.click()
    run(opened, 3)
    expect(page.get_by_role("option", name="<img src=x")).to_be_visible()
    assert page.title() != "stolen"
    assert page.locator(".imkit img[src='x'], .imkit script").count() == 0
    page.locator(".imkit-feed").scroll_into_view_if_needed()
    for theme in ("Light", "Dark"):
        set_theme(page, f"JupyterLab {theme}")
        for form in (0, 1):
            assert page.locator(".imkit-form").nth(form).evaluate(CONTRAST) == [], theme
        picture(page, f"forms-live-{theme.lower()}")
    set_theme(page, "JupyterLab Light")
    reload(page)
    expect(page.locator(".imkit-message")).to_have_count(7, timeout=60_000)
    assert "images.invalid" not in (lab.root / "forms-live.ipynb").read_text()  # no message is saved with a notebook


def test_in_chinese_in_the_dark_in_a_narrow_window(notebook: Open, page: Page) -> None:
    opened = notebook(
        "forms-zh", prepare("hua", "hong"), "import imkit.widgets\nimkit.explore(lang='zh')", width=900, height=1000
    )
    set_theme(page, "JupyterLab Dark")
    run(opened, 0, 1)
    check_for_everybody(page)
    log_in(page, "hong", "登录", "用户 ID")
    page.get_by_role("option", name="乌龙").first.click()
    page.get_by_role("textbox", name="消息", exact=True).fill("铁观音！")
    page.get_by_role("textbox", name="消息", exact=True).press("Enter")
    expect(page.get_by_text("✓ 已发送")).to_be_visible()
    page.locator(".imkit-panes").evaluate("panes => panes.scrollIntoView()")
    check_for_everybody(page)
    picture(page, "forms-zh-900-chat")
    page.get_by_role("tab", name="历史消息").click()
    button(page, "加载").click()
    expect(page.get_by_text("1 条消息 · 完整")).to_be_visible()
    check_for_everybody(page)
    picture(page, "forms-zh-900-history")
    words = page.locator(".imkit-form").first.inner_text()
    assert not re.search(r"\b(Load|Send|Join|Refresh|Recall|Rename|messages|joined)\b", words)
    set_theme(page, "JupyterLab Light")


def test_a_load_is_stopped_half_way_and_a_flood_is_kept_up_with(notebook: Open, page: Page) -> None:
    opened = notebook(
        "forms-stop",
        "import imkit, imkit.widgets\nfrom imkit.portal import portal\n"
        "slow = imkit.Sandbox(latency_ms=200, open_registration=True).__enter__()\n"
        "alice, bob = imkit.login('alice', app=slow.app), imkit.login('bob', app=slow.app)\n"
        "group = alice.create_group('tea', members=['bob'])\n"
        "thread = group.create_thread('flood', group.send('?'))\n"
        "at_bob = bob.thread(thread.id).join()\n"
        "import asyncio\n"
        "async def flood(count):\n"
        "    async with asyncio.TaskGroup() as sends:\n"
        "        for number in range(count):\n"
        "            sends.create_task(at_bob.send.aio(f'message {number}'))\n"
        "            await asyncio.sleep(1 / 250)",
        "feed = imkit.widgets.LiveFeed(alice, thread, lang='en', height=250)\nfeed",
        "portal().call(flood(1500))",
        "form = imkit.widgets.HistoryForm(alice, [thread], lang='en')\nform",
        "source = form.frame.attrs['imkit']\nprint(0 < len(form.frame) < 1400, source['complete'], source['reason'])",
    )
    run(opened, 0, 1, 2)
    feed = page.locator(".imkit-feed")
    expect(feed.get_by_text("message 1499", exact=True)).to_be_in_viewport(timeout=15_000)
    assert feed.locator(".imkit-message").count() <= 400  # the page holds some; the feed holds all
    feed.locator(".imkit-feed-list").evaluate("list => { list.scrollTop = 0; }")
    expect(feed.get_by_text("message 1250", exact=True)).to_be_visible()
    run(opened, 3)
    page.get_by_role("spinbutton", name="At most").fill("1400")  # one page after another, so there is time to stop
    button(page, "Load").click()
    expect(page.get_by_text(re.compile(r"[\d,]+ of (about )?[\d,]+ messages"))).to_be_visible()
    picture(page, "forms-stop-1-under-way")
    button(page, "Stop").click()
    expect(page.get_by_text("not complete: stopped")).to_be_visible()
    expect(page.locator("table.dataTable tbody tr").first).to_be_visible()
    picture(page, "forms-stop-2-stopped")
    ran = opened.run_cell(4)
    assert ran is not None
    assert ran.text == "True False stopped\n"
    run(opened, 4)
