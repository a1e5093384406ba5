"""Accessibility checks of forms: contrast, names for screen readers, order of the Tab key, in all themes and widths."""

from playwright.sync_api import Locator, Page

from tests.browser.forms import screenshot


def set_theme(page: Page, name: str) -> None:
    page.evaluate("name => window.jupyterapp.commands.execute('apputils:change-theme', { theme: name })", name)
    light = "false" if "Dark" in name else "true"
    page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{light}'")
    page.wait_for_function("() => !document.querySelector('#jupyterlab-splash')")


# Texts in a form whose contrast with their background is below WCAG AA (4.5:1), each with its ratio.
LOW_CONTRAST = """
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
# Controls without a name for screen readers.
UNNAMED_CONTROLS = """
root => [...root.querySelectorAll('input:not([type=hidden]):not([aria-hidden]), textarea, select, button')]
    .filter(node => node.getBoundingClientRect().width)
    .filter(node => !(node.labels?.length && [...node.labels].some(label => label.textContent.trim()))
        && !node.getAttribute('aria-label') && !node.textContent.trim() && !node.title)
    .map(node => node.outerHTML.slice(0, 120))
"""


# The name, for screen readers, of the element that has the focus.
FOCUSED_NAME = """
() => {
    const node = document.activeElement;
    const label = node.labels?.[0]?.textContent.trim() || node.getAttribute('aria-label');
    return label || node.textContent.trim().slice(0, 40);
}
"""


def check(page: Page) -> None:
    """Check all forms: contrast, a name for each control, nothing wider than the form."""
    for form in page.locator(".imkit-form:not(.imkit-form *)").all():
        assert [*form.evaluate(LOW_CONTRAST), *form.evaluate(UNNAMED_CONTROLS)] == []
        assert form.evaluate("form => form.scrollWidth - form.clientWidth") <= 2, "something is wider than the form"


def check_in_all_themes_and_widths(page: Page, name: str, top: str = ".imkit-form") -> None:
    """Run `check` in both themes and two widths, and take a screenshot of each, with `top` at the upper edge."""
    before = page.viewport_size
    for theme in ("Dark", "Light"):
        set_theme(page, f"JupyterLab {theme}")
        for width in (900, 1280):
            page.set_viewport_size({"width": width, "height": before["height"]})
            page.locator(top).first.evaluate("node => node.scrollIntoView()")
            check(page)
            screenshot(page, f"{name}-{width}-{theme.lower()}")
    page.set_viewport_size(before)


def tab_through(page: Page, start: Locator, steps: int) -> list[str]:
    """Return the names of the elements that the Tab key reaches, in order."""
    start.focus()
    names = [page.evaluate(FOCUSED_NAME)]
    for _ in range(steps):
        page.keyboard.press("Tab")
        names.append(page.evaluate(FOCUSED_NAME))
    return names
