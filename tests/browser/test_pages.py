"""Forms on a page in another language, after a reload, and after a restart of the kernel."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.forms import button, open_cells, reload, run_cells, save, screenshot, setup_cell
from tests.browser.jupyter import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
expect.set_options(timeout=30_000)


@pytest.mark.parametrize("page", ["zh-CN"], indirect=True)
def test_forms_use_the_language_of_the_page(lab: Lab, page: Page, browser: Browser) -> None:
    opened = open_cells(
        lab,
        page,
        "forms-language",
        setup_cell("qing", "qiu"),
        "import imkit.widgets\nexplorer = imkit.explore(session=me)\nexplorer",
        "imkit.widgets.LoginForm(lang='en')",
        "import os\nos.environ['IMKIT_LANG'] = 'en'\nimkit.widgets.LoginForm()",
    )
    run_cells(opened, 0, 1)
    expect(button(page, "新建群组")).to_be_visible()
    page.get_by_role("option", name="乌龙").first.click()
    page.get_by_role("textbox", name="消息", exact=True).fill("铁观音！")
    run_cells(opened, 2, 3)
    expect(button(page, "Log in")).to_have_count(2)
    expect(button(page, "登录")).to_have_count(0)
    screenshot(page, "pages-chinese")

    # The same forms in a second, English browser, with the messages sent meanwhile.
    button(page, "发送").locator("visible=true").click()
    page.get_by_role("textbox", name="消息", exact=True).fill("not yet sent")
    save(page)
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, locale="en-US")
    english = context.new_page()
    english.goto(page.url)
    expect(button(english, "New group")).to_be_visible()
    expect(english.locator(".imkit-feed").get_by_text("铁观音！")).to_be_visible()
    expect(english.get_by_role("tab", name="History", exact=True)).to_be_visible()
    expect(english.get_by_text("2 members").first).to_be_visible()
    english.get_by_role("textbox", name="Message", exact=True).fill("in English")
    button(english, "Send").locator("visible=true").click()
    expect(english.locator(".imkit-sent-list").get_by_text("✓ sent")).to_have_count(2)
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("not yet sent")
    expect(button(page, "New group")).to_be_visible()  # a form has one language: that of the page opened last
    screenshot(english, "pages-english")
    context.close()


def test_forms_survive_a_reload_and_show_that_their_kernel_has_ended(lab: Lab, page: Page) -> None:
    opened = open_cells(
        lab,
        page,
        "forms-reload",
        setup_cell("rui", "rong"),
        "import imkit.widgets\nexplorer = imkit.explore(session=me, lang='en')\nexplorer",
        "imkit.widgets.LoginForm('rong', lang='en')",
    )
    run_cells(opened, 0, 1, 2)
    reload(page)
    page.get_by_role("option", name="Oolong 乌龙").first.click()
    page.get_by_role("textbox", name="Message", exact=True).fill("sent after the reload")
    button(page, "Send").locator("visible=true").click()
    expect(page.locator(".imkit-sent-list").get_by_text("✓ sent")).to_be_visible()
    reload(page)  # with a thread picked and something sent
    expect(page.locator(".imkit-sent-list").get_by_text("✓ sent")).to_be_visible()
    mine = page.locator(".imkit-message", has_text="sent after the reload")
    mine.get_by_role("button", name="Recall").click()
    expect(mine.get_by_text("rui recalled this")).to_be_visible()
    page.get_by_role("tab", name="History", exact=True).click()
    button(page, "Load").click()
    expect(page.get_by_text("0 messages · complete")).to_be_visible()
    button(page, "Log in").click()
    expect(page.get_by_text("rong is logged in")).to_be_visible()
    button(page, "Log out").click()
    reload(page)  # after a load
    page.get_by_role("tab", name="History", exact=True).click()
    expect(page.get_by_text("0 messages · complete")).to_be_visible()

    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    gone = page.get_by_text("The kernel behind this form has ended. Run the cell again.").locator("visible=true")
    expect(gone).to_have_count(2)
    screenshot(page, "pages-kernel-gone")
    run_cells(opened, 0, 1)
    expect(gone).to_have_count(1)  # the form whose cell was not run again
    page.get_by_role("option", name="Oolong 乌龙").first.click()
    page.get_by_role("textbox", name="Message", exact=True).fill("sent after the restart")
    button(page, "Send").locator("visible=true").click()
    expect(page.locator(".imkit-feed").get_by_text("sent after the restart")).to_be_visible()
