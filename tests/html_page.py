"""A page of HTML as a browser would read it, and a text that tries to break out of one."""

from html.parser import HTMLParser

HOSTILE = "</div><img src=x onerror=alert(1)>\x1b[2J\u202e\ud83c'\"&"


class HtmlPage(HTMLParser):
    """The tags and the names of the attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
