"""The catalogue of labels is complete in both languages, and the language is chosen as it says."""

import re
from pathlib import Path

import pytest

import imkit
from imkit.widgets import base
from imkit.widgets.labels import CATALOGUE, Labels, language

ROOM = Path(base.__file__).parent
FAMILIES = ("type_", "send_", "pick_", "load_", "feed_", "explore_", "wire_", "login_")


def places(label: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", label))


@pytest.mark.parametrize("key", CATALOGUE)
def test_each_label_is_there_in_both_languages(key: str) -> None:
    english, chinese = CATALOGUE[key]
    assert english
    assert chinese
    assert places(english) == places(chinese)
    assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", english)
    # A name such as "App Key" stays what it is; all else says something in 中文.
    assert re.search(r"[\u4e00-\u9fff]", chinese) or chinese in {"App Key", "Token"}


def test_what_the_forms_say_is_in_the_catalogue() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in [*ROOM.glob("*.py"), *ROOM.glob("static/*.js")])
    said = set(re.findall(r"""say\(\s*["']([a-z_]+)["']""", source))
    assert said - CATALOGUE.keys() == set()
    assert len(said) > 60


def test_one_and_many_and_strangers_braces() -> None:
    say = Labels("en")
    assert (say("pick_count_members", n=1), say("pick_count_members", n="1,000")) == ("1 member", "1,000 members")
    assert say("send_to", name="{name} {0}") == "To {name} {0}"


def test_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert language() == "zh"
    monkeypatch.setenv("IMKIT_LANG", "en")
    assert language() == "en"
    assert (language("zh"), language("zh-CN"), language("EN_us")) == ("zh", "zh", "en")
    with pytest.raises(imkit.InvalidMessage, match="no labels"):
        language("fr")
