"""All texts that the forms show, in English and 中文, and the choice of the language.

A form holds one `Labels`; ``labels("login_user")`` returns a `Label`, which can be translated later.
"""

from __future__ import annotations

import locale
import os

from imkit.errors import InvalidMessage

LANGUAGES = ("en", "zh")

CATALOGUE: dict[str, tuple[str, str]] = {
    # several forms
    "refresh": ("Refresh", "刷新"),
    "cancel": ("Cancel", "取消"),
    "save": ("Save", "保存"),
    "retry": ("Try again", "重试"),
    "form_gone": (
        "The kernel behind this form has ended. Run the cell again.",
        "此表单背后的内核已结束，请重新运行该单元格。",
    ),
    # message types
    "type_txt": ("Text", "文本"),
    "type_img": ("Image", "图片"),
    "type_audio": ("Audio", "语音"),
    "type_video": ("Video", "视频"),
    "type_file": ("File", "文件"),
    "type_loc": ("Place", "位置"),
    "type_cmd": ("Command", "透传"),
    "type_custom": ("Custom", "自定义"),
    "type_combine": ("Bundle", "合并消息"),
    "type_unknown": ("Unknown", "未知类型"),
    # login
    "login_place": ("Where", "登录到"),
    "login_sandbox": ("Local sandbox, no account needed", "本地沙箱（无需账号）"),
    "login_app": ("An Easemob app", "环信应用"),
    "login_environment": ("The app in IMKIT_APP_KEY", "环境变量 IMKIT_APP_KEY 中的应用"),
    "login_app_key": ("App key", "App Key"),
    "login_rest_url": ("REST URL", "REST 地址"),
    "login_ws_url": ("WebSocket URL", "WebSocket 地址"),
    "login_found": ("optional: found by itself", "可不填，自动获取"),
    "login_user": ("User", "用户 ID"),
    "login_method": ("Log in with", "登录方式"),
    "login_password": ("Password", "密码"),
    "login_token": ("Token", "Token"),
    "login_app_server": ("App server URL", "应用服务器地址"),
    "login_server_tip": (
        'Is asked with ?user=… and answers JSON: {"token": "…"}',
        '以 ?user=… 请求，应返回 JSON：{"token": "…"}',
    ),
    "login_log_in": ("Log in", "登录"),
    "login_log_out": ("Log out", "退出登录"),
    "login_no_user": ("Who are you? Fill in the user.", "请填写用户 ID。"),
    "login_busy": ("Logging in …", "正在登录……"),
    "login_done": ("{user} is logged in · {where}", "{user} 已登录 · {where}"),
    "login_over": ("Logged out.", "已退出登录。"),
    # the feed
    "feed_title": ("Messages", "消息"),
    "feed_empty": ("No messages yet.", "还没有消息。"),
    "feed_earlier": ("Earlier messages", "更早的消息"),
    "feed_loading": ("Loading …", "正在加载……"),
    "feed_newer": ("{n} new below", "下方有 {n} 条新消息"),
    "feed_recalled": ("{who} recalled this", "{who} 已撤回"),
    "feed_edited": ("edited", "已编辑"),
    "feed_everybody": ("everybody", "所有人"),
    "feed_recall": ("Recall", "撤回"),
    "feed_edit": ("Edit", "编辑"),
    "feed_left": ("{left} left", "剩余 {left}"),
    "feed_parent": ("Parent message", "父消息"),
    "feed_download": ("Download", "下载"),
    "feed_open": ("Open", "展开"),
    "feed_saved": ("Saved as {path}", "已保存到 {path}"),
    "feed_ext": ("Attributes", "扩展字段"),
    "feed_no_picture": ("The picture cannot be shown: {why}", "图片无法显示：{why}"),
    "feed_connected": ("Live", "实时"),
    "feed_disconnected": ("The connection is lost; it is being restored …", "连接已断开，正在重连……"),
    "feed_ended": ("The sandbox has ended. {why}", "沙箱已停止。{why}"),
    "feed_over": ("The session is over: {why}", "登录已结束：{why}"),
    "feed_destroyed": ("The thread was destroyed.", "子区已被解散。"),
    "feed_all": ("All threads and groups", "全部子区和群组"),
    "feed_edit_label": ("New text", "新内容"),
    "feed_missed": ("{n} events came too fast and were passed over.", "有 {n} 个事件来得太快，已略过。"),
    # the picker
    "pick_title": ("Groups and threads", "群组与子区"),
    "pick_search": ("Search", "搜索"),
    "pick_search_tip": ("name, id, person or message", "名称、ID、用户或消息"),
    "pick_new_group": ("New group", "新建群组"),
    "pick_new_thread": ("New thread", "新建子区"),
    "pick_join": ("Join", "加入"),
    "pick_leave": ("Leave", "退出"),
    "pick_rename": ("Rename", "改名"),
    "pick_name": ("Name", "名称"),
    "pick_members": ("Members", "成员"),
    "pick_members_tip": ("user ids, with commas", "用户 ID，用逗号分隔"),
    "pick_parent": ("First message", "首条消息"),
    "pick_parent_tip": ("the thread will hang on it", "子区将挂在这条消息上"),
    "pick_create": ("Create", "创建"),
    "pick_count_members": ("{n} member|{n} members", "{n} 名成员"),
    "pick_count_messages": ("{n} message|{n} messages", "{n} 条消息"),
    "pick_count_threads": ("{n} thread|{n} threads", "{n} 个子区"),
    "pick_joined": ("joined", "已加入"),
    "pick_empty": ("No groups yet. Create one, or ask to be invited.", "还没有群组，请新建或等待邀请。"),
    "pick_nothing": ("Nothing goes by these words.", "没有匹配的结果。"),
    "pick_loading": ("Loading …", "正在加载……"),
    "pick_need_group": ("Pick a group first.", "请先选择群组。"),
    "pick_need_thread": ("Pick a thread first.", "请先选择子区。"),
    # the composer
    "send_text": ("Message", "消息"),
    "send_text_tip": ("Enter sends, Shift+Enter begins a line", "回车发送，Shift+回车换行"),
    "send_send": ("Send", "发送"),
    "send_size": ("{n} of {most} bytes", "{n} / {most} 字节"),
    "send_too_large": ("{n} of {most} bytes: too large", "{n} / {most} 字节：超出限制"),
    "send_drop": ("Drop a file here, or click to choose one", "拖放文件到此处，或点击选择"),
    "send_file_limit": ("up to 10 MB", "不超过 10 MB"),
    "send_file_large": ("{name} has {n} MB; at most 10 MB can be sent.", "{name} 有 {n} MB，最大 10 MB。"),
    "send_remove": ("Remove", "移除"),
    "send_reading": ("Reading", "读取"),
    "send_files": ("Image or file", "图片或文件"),
    "send_as": ("Send as", "发送类型"),
    "send_duration": ("Seconds", "时长（秒）"),
    "send_lat": ("Latitude", "纬度"),
    "send_lng": ("Longitude", "经度"),
    "send_address": ("Address", "地址"),
    "send_event": ("Event", "事件"),
    "send_params": ("Parameters (JSON)", "参数（JSON）"),
    "send_action": ("Action", "动作"),
    "send_title": ("Title", "标题"),
    "send_count": ("Newest messages", "最近消息数"),
    "send_ext": ("Attributes (JSON)", "扩展字段（JSON）"),
    "send_ext_show": ("Attributes …", "扩展字段……"),
    "send_json_good": ("JSON is fine: {n} key|JSON is fine: {n} keys", "JSON 有效：{n} 个键"),
    "send_json_bad": ("No JSON object yet: {why}", "不是有效的 JSON 对象：{why}"),
    "send_json_kind": ("it must be an object, {}", "必须是对象 {}"),
    "send_json_place": ("line {line}, column {column}", "第 {line} 行第 {column} 列"),
    "send_no_file": ("Choose a file first.", "请先选择文件。"),
    "send_waiting": ("waiting", "发送中"),
    "send_uploading": ("uploading {percent} %", "上传 {percent}%"),
    "send_sent": ("sent", "已发送"),
    "send_failed": ("failed", "发送失败"),
    "send_list": ("Sent from here", "从这里发送的消息"),
    "send_no_thread": ("Pick a thread to write in.", "请先选择子区再发送。"),
    "send_to": ("To {name}", "发送到 {name}"),
    # the history form
    "load_since": ("From", "从"),
    "load_until": ("To", "到"),
    "load_types": ("Types", "类型"),
    "load_sender": ("Sender", "发送者"),
    "load_limit": ("At most", "最多"),
    "load_limit_tip": ("0: no limit", "0：不限"),
    "load_order": ("First", "顺序"),
    "load_oldest": ("oldest first", "从旧到新"),
    "load_newest": ("newest first", "从新到旧"),
    "load_start": ("Load", "加载"),
    "load_stop": ("Stop", "停止"),
    "load_busy": ("{n} messages so far", "已加载 {n} 条消息"),
    "load_busy_of": ("{n} of about {total} messages", "已加载 {n} 条，共约 {total} 条"),
    "load_busy_counted": ("{n} of {total} messages", "已加载 {n} 条，共 {total} 条"),
    "load_done": ("{n} message · complete|{n} messages · complete", "{n} 条消息 · 完整"),
    "load_part": ("{n} message · not complete: {why}|{n} messages · not complete: {why}", "{n} 条消息 · 不完整：{why}"),
    "load_stopped": ("stopped", "已停止"),
    "load_none": ("Choose at least one thread or group.", "请至少选择一个子区或群组。"),
    "load_code": ("Show as code", "显示代码"),
    "load_copy": ("Copy", "复制"),
    "load_copied": ("Copied", "已复制"),
    "load_insert": ("Put it in the next cell", "放到下一个单元格"),
    "load_code_label": ("The same in Python", "等价的 Python 代码"),
    "load_export": ("Export as", "导出为"),
    "load_file": ("File", "文件"),
    "load_export_now": ("Export", "导出"),
    "load_exported": ("Exported to {path}", "已导出到 {path}"),
    "load_exists": ("{path} exists already. Choose another name.", "{path} 已存在，请换一个名称。"),
    "load_progress": ("Progress", "进度"),
    "load_shown": (
        "The table shows {n} of {total} rows; .frame holds all.",
        "表格显示 {total} 行中的 {n} 行；.frame 包含全部。",
    ),
    "load_entries": ("{n} rows a page", "每页 {n} 行"),
    "load_find": ("Find in the table", "在表格中查找"),
    "load_from_to": ("Rows {start} to {end} of {n}", "第 {start} 至 {end} 行，共 {n} 行"),
    "load_nothing": ("No rows", "没有数据"),
    "load_filtered": ("(of {n})", "（共 {n} 行）"),
    # the explorer and the wire view
    "explore_chat": ("Chat", "聊天"),
    "explore_history": ("History", "历史消息"),
    "explore_wire": ("Wire", "协议"),
    "explore_pick": ("Pick a thread on the left, or create one.", "请在左侧选择或新建子区。"),
    "wire_title": ("What is said on the wire", "协议往来"),
    "wire_pause": ("Pause", "暂停"),
    "wire_resume": ("Go on", "继续"),
    "wire_clear": ("Clear", "清空"),
    "wire_empty": ("Nothing was said yet. Tokens and secrets are never shown.", "尚无往来。Token 和密钥不会显示。"),
    "wire_up": ("sent", "发出"),
    "wire_down": ("received", "收到"),
    "wire_bytes": ("{n} bytes", "{n} 字节"),
}


_page_language: str | None = None  # of the page that showed a form of this kernel last


def language(lang: str | None = None) -> str:
    """Return the language of the labels: `lang`, else IMKIT_LANG, the page's, the system's, else English.

    The page's language is JupyterLab's if the reader has set one other than English, else the browser's. The kernel
    learns it when a page shows the first form; that form then changes its language.

    Args:
        lang: ``"en"`` or ``"zh"``, also with a region, such as ``"zh-CN"``.

    Raises:
        InvalidMessage: `lang` is another language.

    Example:
        >>> language("zh-CN")
        'zh'
    """
    if lang is not None:
        short = str(lang).lower().replace("_", "-").partition("-")[0]
        if short not in LANGUAGES:
            raise InvalidMessage(f"there are no labels in {lang!r:.40}", hint='There are "en" and "zh".')
        return short
    candidates = [os.environ.get("IMKIT_LANG"), _page_language, *_system_languages()]
    for name in candidates:
        if name:
            return "zh" if name.lower().startswith(("zh", "chinese")) else "en"
    return "en"


def _system_languages() -> list[str | None]:
    """Return the system's settings of the language, the strongest first."""
    return [*(os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG")), locale.getlocale()[0]]


class Label(str):
    """A text from the catalogue that remembers its key, so that `Labels.translate` can translate it.

    Attributes:
        key: in the catalogue.
        values: the values of its placeholders.
    """

    __slots__ = ("key", "values")
    key: str
    values: dict[str, object]


class Labels:
    """The labels in one language: ``labels("login_log_in")``.

    Args:
        lang: see `language`.

    Attributes:
        language: ``"en"`` or ``"zh"``.
        follows_page: whether `follow_page` may change the language: neither `lang` nor IMKIT_LANG sets one.

    Example:
        >>> Labels("zh")("login_log_in")
        '登录'
    """

    def __init__(self, lang: str | None = None) -> None:
        self.language = language(lang)
        self.follows_page = lang is None and not os.environ.get("IMKIT_LANG")

    def follow_page(self, page_language: object) -> bool:
        """Take over the page's language, unless another one was asked for. Return whether the language changed.

        Args:
            page_language: as the page names it, such as ``"zh-CN"``; anything but a text is ignored.
        """
        global _page_language
        if not self.follows_page or not isinstance(page_language, str) or not page_language:
            return False
        _page_language = page_language[:40]
        before, self.language = self.language, language()
        return before != self.language

    def __call__(self, key: str, **values: object) -> Label:
        """Return a label with its placeholders replaced; `n` also selects singular or plural."""
        text = CATALOGUE[key][LANGUAGES.index(self.language)]
        singular, _, plural = text.partition("|")
        text = singular if not plural or str(values.get("n")) == "1" else plural
        for name, value in values.items():  # not str.format: values come from other users and may contain braces
            text = text.replace(f"{{{name}}}", str(value))
        label = Label(text)
        label.key, label.values = key, values
        return label

    def translate(self, text: str) -> str:
        """Return a label in the present language; any other text unchanged."""
        if not isinstance(text, Label):
            return text
        values = {name: self.translate(v) if isinstance(v, str) else v for name, v in text.values.items()}
        return self(text.key, **values)

    def with_prefixes(self, *prefixes: str) -> dict[str, str]:
        """Return the labels whose keys begin with one of `prefixes`, for a script on the page."""
        return {key: self(key) for key in CATALOGUE if key.startswith(prefixes)} if prefixes else {}
