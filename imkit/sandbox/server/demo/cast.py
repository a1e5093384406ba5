"""The people of the demo community, their groups, and the hours at which each group is busy.

All of it is made up. Hours are those of Asia/Shanghai, which is UTC+8 all year. The other time zones have their winter
offset.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the community.

    Attributes:
        user: the user id.
        name: the name.
        city: the city where the person lives.
        utc: the offset from UTC, in hours.
        chinese: the share of messages in Chinese, 0 to 1.
        talk: how much the person writes; 1 is usual.
        reply: the usual time to a reply, in seconds.
        emoji: the share of messages with an emoji, 0 to 1.
        device: the kind of device.
        after_work: the person writes only in the late afternoon and in the evening.
    """

    user: str
    name: str
    city: str
    utc: int
    chinese: float
    talk: float
    reply: float
    emoji: float
    device: str
    after_work: bool = False

    def is_awake(self, hour_utc: int) -> bool:
        """Return whether the person may write at this hour of a UTC day."""
        hour = (hour_utc + self.utc) % 24
        return 15 <= hour < 22 if self.after_work else 7 <= hour < 24


_S, _T, _SG, _B, _V = (("Shanghai", 8), ("Taipei", 8), ("Singapore", 8), ("Berlin", 1), ("Vancouver", -8))
_K, _H, _L = (("Kyoto", 9), ("Hangzhou", 8), ("London", 0))


def _person(
    user: str,
    name: str,
    home: tuple[str, int],
    chinese: float,
    talk: float,
    reply: float,
    emoji: float,
    device: str,
    after_work: bool = False,
) -> Person:
    return Person(user, name, home[0], home[1], chinese, talk, reply, emoji, device, after_work)


PEOPLE = (
    _person("chen.yun", "陈云", _S, 0.7, 5.0, 70, 0.25, "ios"),  # writes the most
    _person("lin.xiaomei", "林晓梅", _S, 0.8, 1.6, 8, 0.4, "android"),  # answers first
    _person("zhou.bo", "周伯", _S, 0.95, 0.9, 6 * 3600, 0.02, "android"),  # answers last
    _person("wei.ke", "魏可", _S, 0.6, 1.3, 60, 0.3, "android"),  # muted among the group orders
    _person("nora.feld", "Nora Feld", _B, 0.05, 1.4, 90, 0.2, "web", after_work=True),  # writes while Shanghai sleeps
    _person("ayumi.sato", "佐藤歩美", _K, 0.3, 1.2, 120, 0.35, "ios"),  # gives the best marks
    _person("gu.lan", "顾岚", _S, 0.8, 0.7, 150, 0.1, "ios"),  # has lost a gaiwan
    _person("tang.wen", "唐雯", _H, 0.7, 1.0, 200, 0.15, "web"),  # writes the digest
    _person("sun.hao", "孙昊", _S, 0.8, 1.4, 60, 0.2, "android"),
    _person("ma.ling", "马玲", _S, 0.9, 1.1, 80, 0.45, "ios"),
    _person("he.qing", "何青", _H, 0.85, 0.8, 160, 0.1, "android"),
    _person("xu.jia", "Jia Xu", _V, 0.4, 1.0, 110, 0.2, "ios"),
    _person("liu.fang", "刘芳", _S, 0.9, 1.2, 95, 0.3, "android"),
    _person("zhao.min", "赵敏", _S, 0.85, 0.9, 2400, 0.1, "android"),
    _person("wu.tong", "吴桐", _S, 0.75, 1.0, 75, 0.2, "web"),
    _person("guo.yi", "郭怡", _S, 0.8, 0.8, 210, 0.3, "ios"),
    _person("shen.lu", "Lulu Shen", _SG, 0.4, 1.1, 55, 0.5, "ios"),
    _person("tan.weiming", "Tan Wei Ming", _SG, 0.2, 0.9, 140, 0.15, "android"),
    _person("hsu.peishan", "許佩珊", _T, 0.9, 1.0, 85, 0.35, "ios"),
    _person("kao.jen", "高仁", _T, 0.85, 0.7, 5400, 0.05, "web"),
    _person("lena.brandt", "Lena Brandt", _B, 0.05, 1.0, 100, 0.25, "web"),
    _person("jonas.k", "Jonas Keller", _B, 0.0, 0.8, 180, 0.1, "android"),
    _person("emily.ross", "Emily Ross", _L, 0.1, 1.0, 65, 0.3, "ios"),
    _person("david.okoro", "David Okoro", _L, 0.0, 0.8, 130, 0.2, "android"),
    _person("marc.p", "Marc Petit", _V, 0.1, 0.6, 240, 0.1, "web"),
    _person("feng.rui", "冯睿", _S, 0.8, 1.0, 50, 0.15, "android"),
    _person("deng.ying", "邓颖", _S, 0.85, 0.9, 170, 0.25, "ios"),
    _person("cao.yang", "曹阳", _H, 0.8, 0.7, 190, 0.1, "android"),
    _person("peng.fei", "彭飞", _S, 0.7, 1.1, 45, 0.2, "android"),
    _person("jiang.nan", "江楠", _H, 0.9, 0.9, 105, 0.2, "ios"),
    _person("qian.duo", "钱多", _S, 0.75, 0.8, 115, 0.3, "android"),
    _person("yan.mo", "颜墨", _S, 0.9, 0.5, 3600, 0.0, "web"),
    _person("luo.xi", "罗曦", _S, 0.7, 0.8, 88, 0.4, "ios"),
    _person("song.ning", "宋宁", _S, 0.85, 0.6, 220, 0.15, "android"),
    _person("bai.lu", "白露", _S, 0.8, 0.9, 72, 0.5, "ios"),
    _person("tom.harding", "Tom Harding", _S, 0.15, 0.9, 98, 0.2, "web"),
)
BY_USER = {person.user: person for person in PEOPLE}

READER = "reader"
READER_NAME = "读者 the reader"

# How busy each hour of a day in Shanghai is: quiet at night, at lunch (12) and at dinner (18).
_EVERYDAY = (2, 1, 0, 0, 0, 1, 4, 14, 34, 60, 70, 62, 22, 26, 58, 64, 60, 52, 26, 34, 62, 72, 48, 16)
_SHOP = (0, 0, 0, 0, 0, 0, 6, 24, 60, 72, 66, 50, 16, 30, 62, 60, 58, 46, 24, 20, 26, 18, 6, 1)
_WEEKENDS = (1, 0, 0, 0, 0, 4, 18, 40, 62, 60, 48, 40, 22, 30, 44, 52, 50, 44, 26, 40, 58, 50, 26, 6)
_ABROAD = (30, 16, 8, 5, 4, 5, 8, 14, 18, 20, 18, 16, 8, 12, 20, 36, 48, 56, 50, 52, 60, 66, 60, 44)
NIGHT = (60, 66, 64, 52, 30, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 16, 40)


@dataclass(frozen=True, slots=True)
class GroupProfile:
    """A group of the community: its members, and when they write.

    Attributes:
        key: the name of the group in the code.
        name: its name.
        description: its description.
        owner: its owner.
        admins: its admins.
        members: its other members; owner and admins may be among them.
        hours: how busy each hour of a day in Shanghai is.
        weekdays: how busy each day of the week is, from Monday on.
    """

    key: str
    name: str
    description: str
    owner: str
    admins: tuple[str, ...]
    members: tuple[str, ...]
    hours: tuple[int, ...]
    weekdays: tuple[float, ...]


_EVEN = (1.0, 1.0, 1.0, 1.0, 1.1, 0.75, 0.7)
_AT_HOME = tuple(person.user for person in PEOPLE if person.utc in (8, 9))
_FAR = ("nora.feld", "xu.jia", "lena.brandt", "jonas.k", "emily.ross", "david.okoro", "marc.p", "ayumi.sato")
_SHOP_PEOPLE = (
    *("lin.xiaomei", "sun.hao", "ma.ling", "he.qing", "liu.fang", "wu.tong", "feng.rui", "peng.fei", "deng.ying"),
    *("guo.yi", "chen.yun", "zhao.min"),
)

GROUP_PROFILES = (
    GroupProfile(
        "tasting", "Tea tasting 品茶", "What is in the cup, and how it was. 喝了什么，怎么样", "chen.yun",
        ("hsu.peishan",), tuple(person.user for person in PEOPLE), _EVERYDAY, _EVEN,
    ),
    GroupProfile(
        "orders", "Group orders 团购", "We buy together, four times a year. 一起买，一年四次", "ma.ling",
        ("chen.yun", "sun.hao"), _AT_HOME, _EVERYDAY, _EVEN,
    ),
    GroupProfile(
        "shop", "Shop floor 门店", "Rota, stock, repairs. 排班、库存、维修", "sun.hao",
        ("lin.xiaomei",), _SHOP_PEOPLE, _SHOP, (1.1, 1.0, 1.0, 1.0, 1.2, 0.5, 0.35),
    ),
    GroupProfile(
        "hikes", "Weekend hikes 周末徒步", "Up a hill, with a flask. 带上保温杯，上山", "peng.fei",
        ("bai.lu",), tuple(user for user in _AT_HOME if user not in ("zhou.bo", "yan.mo")), _WEEKENDS,
        (0.35, 0.35, 0.45, 0.7, 1.3, 3.2, 2.6),
    ),
    GroupProfile(
        "newcomers", "Newcomers 新人问答", "No question is too small. 问什么都行", "lin.xiaomei",
        ("tang.wen", "shen.lu"), tuple(person.user for person in PEOPLE), _EVERYDAY, _EVEN,
    ),
    GroupProfile(
        "abroad", "Friends abroad 海外茶友", "Tea in other time zones. 有时差的茶友", "emily.ross",
        ("xu.jia",), (*_FAR, "chen.yun", "shen.lu", "tan.weiming", "tom.harding", "hsu.peishan", "lin.xiaomei"),
        _ABROAD, (1.0, 1.0, 1.0, 1.0, 1.0, 1.1, 1.1),
    ),
)  # fmt: skip
