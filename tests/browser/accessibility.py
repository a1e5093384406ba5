"""Forms are for everybody: contrast, names for screen readers, the order of the Tab key; in every theme and width."""

from playwright.sync_api import Locator, Page

from tests.browser.forms import picture


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


# How a screen reader calls what has the focus.
FOCUSED = """
() => {
    const node = document.activeElement;
    const label = node.labels?.[0]?.textContent.trim() || node.getAttribute('aria-label');
    return label || node.textContent.trim().slice(0, 40);
}
"""


def check(page: Page) -> None:
    """Every form: enough contrast, a name for each control, and nothing that sticks out to the right."""
    for form in page.locator(".imkit-form:not(.imkit-form *)").all():
        found = [*form.evaluate(CONTRAST), *form.evaluate(NAMELESS)]
        assert not found, found
        assert form.evaluate("form => form.scrollWidth - form.clientWidth") <= 2, "it sticks out"


def check_in_every_light(page: Page, name: str, top: str = ".imkit-form") -> None:
    """`check` in light and dark, in a wide and a narrow window; a picture of each, with `top` at the upper edge."""
    before = page.viewport_size
    for theme in ("Dark", "Light"):
        set_theme(page, f"JupyterLab {theme}")
        for width in (900, 1280):
            page.set_viewport_size({"width": width, "height": before["height"]})
            page.locator(top).first.evaluate("node => node.scrollIntoView()")
            check(page)
            picture(page, f"{name}-{width}-{theme.lower()}")
    page.set_viewport_size(before)


def tab_through(page: Page, start: Locator, steps: int) -> list[str]:
    """What the Tab key comes to, one after the other."""
    start.focus()
    names = [page.evaluate(FOCUSED)]
    for _ in range(steps):
        page.keyboard.press("Tab")
        names.append(page.evaluate(FOCUSED))
    return names
