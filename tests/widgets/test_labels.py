"""The catalogue of labels is complete in both languages, and the language is chosen as it says."""

import re
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit import messages
from imkit.portal import portal
from imkit.widgets import Composer, HistoryForm, LoginForm, ThreadPicker, base, labels
from imkit.widgets.labels import CATALOGUE, Labels, language
from tests.widgets.conftest import Page, Tea, until

ROOM = Path(base.__file__).parent
SOURCE = "".join(path.read_text(encoding="utf-8") for path in [*ROOM.glob("*.py"), *ROOM.glob("static/*.js")])
SOURCE = SOURCE.replace(Path(labels.__file__).read_text(encoding="utf-8"), "")
TYPES = {one.type for one in vars(messages).values() if isinstance(one, type) and issubclass(one, messages.Body)}


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
    said = set(re.findall(r"""say\(\s*["']([a-z_]+)["']""", SOURCE))
    assert said - CATALOGUE.keys() == set()
    assert len(said) > 60


def test_whatever_is_in_the_catalogue_is_said() -> None:
    words = set(re.findall(r"""["'](\w+)["']""", SOURCE)) | TYPES | {"up", "down"}  # directions on the wire
    families = set(re.findall(r"""say\(f?["`](\w+_)\$?{""", SOURCE))  # of which a word makes a label
    assert families
    said = words | {family + word for family in families for word in words}
    assert CATALOGUE.keys() - said == set()


def test_one_and_many_and_strangers_braces() -> None:
    say = Labels("en")
    assert (say("pick_count_members", n=1), say("pick_count_members", n="1,000")) == ("1 member", "1,000 members")
    assert say("send_to", name="{name} {0}") == "To {name} {0}"


def test_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(labels, "_of_the_page", None)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert language() == "zh"
    assert Labels().turn("en-GB")  # what the page speaks is stronger than the system
    assert language() == "en"
    assert Labels().turn("zh-Hant-TW")
    assert not any(Labels().turn(spoken) for spoken in ("zh", "", None, 7))
    monkeypatch.setenv("IMKIT_LANG", "en")
    assert not Labels().turn("zh")
    assert not Labels("en").turn("zh")
    assert language() == "en"
    assert (language("zh"), language("zh-CN"), language("EN_us")) == ("zh", "zh", "en")
    with pytest.raises(imkit.InvalidMessage, match="no labels"):
        language("fr")


def test_forms_turn_to_the_language_of_the_page(tea: Tea, forms: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_of_the_page", "en")
    login, fixed = LoginForm(), LoginForm(lang="en")
    composer, picker = Composer(tea.at_bob), ThreadPicker(tea.bob)
    history = HistoryForm(tea.bob, [tea.at_bob])
    forms += [login, fixed, composer, picker, history]
    portal().run(lambda: setattr(login.place, "value", "app"))
    for form in forms:
        Page(form.status).say(language="zh-CN")
    until(lambda: all(form.say.language == "zh" for form in forms if form is not fixed))
    until(lambda: "发送到" in composer.status.text)
    assert (login.enter.description, login.place.value, login.place.label) == ("登录", "app", "环信应用")
    assert (login.secret.label, login.rest_url.placeholder) == ("密码", "可不填，自动获取")
    assert composer.tabs.titles[:2] == ("文本", "图片或文件")
    assert (composer.text.language, composer.text.words["send_send"]) == ("zh", "发送")
    assert (picker.buttons["join"].description, picker.name.description) == ("加入", "名称")
    assert (history.types["txt"].description, history.export.description) == ("文本", "导出")
    assert (fixed.say.language, fixed.enter.description) == ("en", "Log in")
    assert LoginForm().say.language == "zh"  # the next one knows from the start
