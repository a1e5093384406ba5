"""The catalogue of labels is complete in both languages; forms choose and change their language."""

import re
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit import messages
from imkit.portal import portal
from imkit.widgets import Composer, HistoryForm, LoginForm, ThreadPicker, base, labels
from imkit.widgets.labels import CATALOGUE, Labels, language
from tests.widgets.conftest import FakePage, Tea, until

FOLDER = Path(base.__file__).parent
SOURCE = "".join(path.read_text(encoding="utf-8") for path in [*FOLDER.glob("*.py"), *FOLDER.glob("static/*.js")])
SOURCE = SOURCE.replace(Path(labels.__file__).read_text(encoding="utf-8"), "")
TYPES = {one.type for one in vars(messages).values() if isinstance(one, type) and issubclass(one, messages.Body)}


def places(label: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", label))


@pytest.mark.parametrize("key", CATALOGUE)
def test_each_label_exists_in_both_languages(key: str) -> None:
    english, chinese = CATALOGUE[key]
    assert english
    assert chinese
    assert places(english) == places(chinese)
    assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", english)
    # Names such as "App Key" are not translated.
    assert re.search(r"[\u4e00-\u9fff]", chinese) or chinese in {"App Key", "Token"}


def test_each_label_that_the_forms_use_is_in_the_catalogue() -> None:
    used = set(re.findall(r"""labels?\(\s*["']([a-z_]+)["']""", SOURCE))
    assert used - CATALOGUE.keys() == set()
    assert len(used) > 60


def test_each_label_in_the_catalogue_is_used() -> None:
    words = set(re.findall(r"""["'](\w+)["']""", SOURCE)) | TYPES | {"up", "down"}  # directions on the wire
    prefixes = set(re.findall(r"""labels?\(f?["`](\w+_)\$?{""", SOURCE))  # of keys such as f"type_{kind}"
    assert prefixes
    used = words | {prefix + word for prefix in prefixes for word in words}
    assert CATALOGUE.keys() - used == set()


def test_singular_plural_and_braces_in_values() -> None:
    label = Labels("en")
    assert (label("pick_count_members", n=1), label("pick_count_members", n="1,000")) == ("1 member", "1,000 members")
    assert label("send_to", name="{name} {0}") == "To {name} {0}"


def test_the_order_in_which_the_language_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(labels, "_page_language", None)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert language() == "zh"
    assert Labels().follow_page("en-GB")  # what the page speaks is stronger than the system
    assert language() == "en"
    assert Labels().follow_page("zh-Hant-TW")
    assert not any(Labels().follow_page(spoken) for spoken in ("zh", "", None, 7))
    monkeypatch.setenv("IMKIT_LANG", "en")
    assert not Labels().follow_page("zh")
    assert not Labels("en").follow_page("zh")
    assert language() == "en"
    assert (language("zh"), language("zh-CN"), language("EN_us")) == ("zh", "zh", "en")
    with pytest.raises(imkit.InvalidMessage, match="no labels"):
        language("fr")


def test_forms_change_to_the_language_of_the_page(tea: Tea, forms: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_page_language", "en")
    login, fixed = LoginForm(), LoginForm(lang="en")
    composer, picker = Composer(tea.bobs_thread), ThreadPicker(tea.bob)
    history = HistoryForm(tea.bob, [tea.bobs_thread])
    forms += [login, fixed, composer, picker, history]
    portal().run(lambda: setattr(login.place, "value", "app"))
    for form in forms:
        FakePage(form.status).send(language="zh-CN")
    until(lambda: all(form.labels.language == "zh" for form in forms if form is not fixed))
    until(lambda: "发送到" in composer.status.text)
    assert (login.log_in_button.description, login.place.value, login.place.label) == ("登录", "app", "环信应用")
    assert (login.secret.label, login.rest_url.placeholder) == ("密码", "可不填，自动获取")
    assert composer.tabs.titles[:2] == ("文本", "图片或文件")
    assert (composer.text.language, composer.text.texts["send_send"]) == ("zh", "发送")
    assert (picker.buttons["join"].description, picker.name.description) == ("加入", "名称")
    assert (history.types["txt"].description, history.export.description) == ("文本", "导出")
    assert (fixed.labels.language, fixed.log_in_button.description) == ("en", "Log in")
    assert LoginForm().labels.language == "zh"  # a new form begins in the page's language
