"""The sentences of the demo community, in Chinese and English, with gaps. All of them are written for imkit.

`talk` fills the gaps ``{tea}``, ``{place}``, ``{n}``, ``{who}``, ``{clock}``, ``{thing}`` and ``{link}``.
"""

from __future__ import annotations

TEAS = (
    "Dong Ding 冻顶",
    "Tie Guan Yin 铁观音",
    "Longjing 龙井",
    "Biluochun 碧螺春",
    "Da Hong Pao 大红袍",
    "Shou Mei 寿眉",
    "Bai Mudan 白牡丹",
    "Keemun 祁门",
    "Dian Hong 滇红",
    "Jin Jun Mei 金骏眉",
    "ripe Pu'er 熟普",
    "raw Pu'er 生普",
    "Mao Feng 毛峰",
    "Jasmine 茉莉",
    "Rou Gui 肉桂",
    "Shui Xian 水仙",
    "Oriental Beauty 东方美人",
    "Liu Bao 六堡",
)
PLACES = (
    ("Sheshan 佘山", 31.0958, 121.1958),
    ("Tianping Hill 天平山", 31.2760, 120.5090),
    ("Moganshan 莫干山", 30.6076, 119.8740),
    ("Longjing Village 龙井村", 30.2203, 120.0998),
    ("Jiuxi 九溪", 30.1987, 120.1106),
    ("Chongming 崇明", 31.6230, 121.3970),
    ("Dianshan Lake 淀山湖", 31.1200, 120.9600),
    ("Anji 安吉", 30.6386, 119.6803),
    ("Fuchun River 富春江", 29.8100, 119.6800),
    ("Lugu 鹿谷", 23.7465, 120.7527),
)
THINGS = (
    *(
        "kettle 水壶",
        "gaiwan 盖碗",
        "scale 电子秤",
        "tea tray 茶盘",
        "label printer 标签机",
        "fridge 冰柜",
        "till 收银机",
    ),
    *("shop window 橱窗", "strainer 茶漏", "door lock 门锁", "lamp 台灯", "card reader 刷卡机"),
)
EMOJI = ("🍵", "👍", "😄", "🙏", "😂", "🌿", "🔥", "🥳", "😅", "❤️", "🫖", "👏", "🤔", "☀️", "🌧️", "💪")
REACTIONS = ("👍", "❤️", "😂", "🍵", "👏", "🙏")
MOODS = ("relaxed", "curious", "tired", "excited", "好", "困", "开心")
LINKS = (
    "https://tea.example/spring-list",
    "https://tea.example/rota",
    "https://hikes.example/routes/17",
    "https://shop.example/stock?week=12",
    "https://tea.example/brewing",
    "https://pictures.example/a/terrace",
)

# For every group. Each pair is (Chinese, English); one need not be a translation of the other.
SHORT = (
    ("好的", "ok"),
    ("收到", "got it"),
    ("可以", "works for me"),
    ("哈哈", "haha"),
    ("对", "right"),
    ("没问题", "no problem"),
    ("谢谢！", "thank you!"),
    ("真的吗？", "really?"),
    ("同意", "agreed"),
    ("我看看", "let me see"),
    ("稍等", "one moment"),
    ("辛苦了", "well done"),
    ("太好了", "lovely"),
    ("不急", "no hurry"),
    ("明白", "understood"),
    ("+1", "+1"),
    ("有道理", "fair enough"),
    ("晚点说", "later, I'm on the train"),
    ("来了来了", "coming"),
    ("我也是", "me too"),
)
ASKS = (
    ("{who}，你那边怎么样？", "{who}, how is it on your side?"),
    ("有人试过{tea}吗？", "Has anybody tried the {tea}?"),
    ("{clock}大家方便吗？", "Would {clock} suit everybody?"),
    ("这个{thing}还能用吗？", "Is that {thing} still any good?"),
    ("谁有{n}克的小袋子？", "Who has small bags, the ones for {n} grams?"),
    ("去{place}怎么走最方便？", "What is the easiest way to {place}?"),
    ("要不要{n}个人一起？", "Shall we do it with {n} people?"),
    ("上次说的事定下来了吗？", "Did we ever settle what we talked about last time?"),
    ("{who}，你什么时候有空？", "{who}, when do you have time?"),
    ("哪一款更适合早上喝？", "Which one would you have in the morning?"),
)
SAYS = (
    ("刚到{place}，风有点大。", "Just got to {place}, rather windy."),
    ("今天只喝了{n}杯。", "Only {n} cups today."),
    ("我觉得{tea}今年比去年好。", "I find the {tea} better this year than last."),
    ("{clock}之前我都在。", "I'm here until {clock}."),
    ("资料放这里了：{link}", "I put it here: {link}"),
    ("先这样定，周末再看。", "Let's leave it like that and look again at the weekend."),
    ("{who}说得对，慢慢来。", "What {who} says: slowly."),
    ("水温降到九十度试试。", "Try it with the water at ninety degrees."),
    ("我带{n}个杯子过去。", "I'll bring {n} cups."),
    ("下雨了，路上慢一点。", "It has begun to rain, take care on the way."),
    ("昨天那泡{tea}，香气到第{n}道还在。", "Yesterday's {tea}: the scent was still there in infusion {n}."),
    ("{thing}我放在柜台后面了。", "The {thing} is behind the counter now."),
    ("价格我问过了，{n}十一斤。", "I asked for the price: {n}0 a jin."),
    ("写在表里了，大家看一眼。", "It's in the list now, have a look."),
    ("我下周去{place}，顺便带一点回来。", "I'm in {place} next week and will bring some back."),
    ("今天客人比平时多。", "More people than usual today."),
    ("这段太长了，留着慢慢看：{link}", "Too long for today, for later: {link}"),
    ("忘了说，{clock}改到后门集合。", "I forgot: at {clock} we meet at the back door."),
)
ANSWERS = (
    ("有的，还剩{n}份。", "Yes, {n} left."),
    ("没有，{who}那边可能有。", "No, but {who} may have one."),
    ("{clock}可以。", "{clock} is fine."),
    ("试过，偏淡，多放一克。", "I have; rather light, take a gram more."),
    ("我建议{tea}。", "I'd go for the {tea}."),
    ("坐{n}号线，再走十分钟。", "Line {n}, then ten minutes on foot."),
    ("修好了，昨天就能用。", "It's mended, it worked yesterday."),
    ("还没有，我今晚问一下。", "Not yet, I'll ask tonight."),
    ("算我一个，{n}份。", "Count me in, {n} of them."),
    ("这次不行，下次一定。", "Not this time. Next time."),
    ("我这边是半夜，明天回。", "It's the middle of the night here, tomorrow."),
    ("看这里：{link}", "See here: {link}"),
)
# More sentences for one group each, by its key.
WORDS_OF_GROUP: dict[str, tuple[tuple[str, str], ...]] = {
    "tasting": (
        ("第一道有花香，第三道才出甜味。", "Flowers in the first infusion, the sweetness comes with the third."),
        ("{tea}：汤色很亮，尾韵短。", "{tea}: bright in the cup, and a short finish."),
        ("{n}克，盖碗，快出汤。", "{n} grams, gaiwan, poured off quickly."),
        ("闻着像烤栗子。", "It smells of roast chestnuts."),
        ("这一泡我给高分。", "I give this one high marks."),
        ("有点涩，可能水太热。", "A little rough; the water may have been too hot."),
        ("冷了以后反而更甜。", "It is sweeter once it has gone cold."),
        ("盲品，我猜是{tea}。", "Blind: my guess is {tea}."),
    ),
    "orders": (
        ("我要{n}包{tea}。", "{n} bags of {tea} for me."),
        ("截止前再加{n}包，可以吗？", "May I add {n} bags before we close?"),
        ("运费平摊，每人{n}元。", "Postage is shared: {n} yuan each."),
        ("茶农说明天发货。", "The farmer ships tomorrow."),
        ("少了一包，我去问。", "One bag is missing, I'll ask."),
        ("已付款，请查收。", "Paid, please check."),
        ("到货了！{clock}可以来拿。", "It's here! Come and fetch it at {clock}."),
    ),
    "shop": (
        ("{thing}又坏了。", "The {thing} is broken again."),
        ("早班{n}点到，钥匙在老地方。", "The early shift starts at {n}, the key is where it always is."),
        ("库存少了{n}盒，我再数一遍。", "{n} boxes short, I'll count again."),
        ("师傅{clock}来修{thing}。", "Somebody comes for the {thing} at {clock}."),
        ("周五我和{who}换班。", "I swap Friday with {who}."),
        ("请把{thing}擦干净再走。", "Please wipe the {thing} before you leave."),
        ("今天的账对上了。", "Today's till is right."),
    ),
    "hikes": (
        ("{place}，{n}公里，爬升不大。", "{place}, {n} kilometres, not much of a climb."),
        ("集合时间{clock}，地铁口。", "We meet at {clock}, by the metro."),
        ("带雨衣，山上会变天。", "Bring a raincoat, it changes quickly up there."),
        ("我在山顶了，风景很好。", "I'm on the top. What a view."),
        ("保温杯里是{tea}。", "The flask holds {tea}."),
        ("腿有点酸，值得。", "My legs ache. Worth it."),
        ("谁有多的手套？", "Who has a spare pair of gloves?"),
    ),
    "newcomers": (
        ("第一次买，{tea}适合新手吗？", "My first time: is {tea} good for beginners?"),
        ("盖碗总是烫手，怎么办？", "I always burn my fingers on the gaiwan. What now?"),
        ("欢迎！先从{n}克开始。", "Welcome! Begin with {n} grams."),
        ("不用买贵的，先喝习惯。", "Don't buy expensive ones, get used to it first."),
        ("茶叶放冰箱吗？", "Does tea belong in the fridge?"),
        ("绿茶放，岩茶不用。", "Green tea does, rock tea does not."),
        ("刚加入，大家好！", "New here, hello everybody!"),
    ),
    "abroad": (
        ("这里才早上{n}点。", "It is only {n} in the morning here."),
        ("包裹在海关停了{n}天。", "The parcel has been with customs for {n} days."),
        ("有人知道哪里能买到{tea}吗？", "Does anyone know where to get {tea} over here?"),
        ("这边的水太硬了。", "The water here is too hard for it."),
        ("下雪了，泡一壶{tea}。", "Snow. A pot of {tea}, then."),
        ("下次回上海一定来。", "I'll come by when I'm in Shanghai next."),
    ),
}

# Topics of threads: the key of the group, the name, the parent message. They are used in turn, again and again, with
# other teas, places and things.
TOPICS: tuple[tuple[str, str, str], ...] = (
    ("tasting", "{tea}, side by side 对比", "Two {tea} from two hills. 两座山的同一种茶，哪个更好？"),
    ("hikes", "{place} on foot 徒步", "Who comes along to {place}? 谁一起去？"),
    ("newcomers", "First gaiwan 第一只盖碗", "Which size should a first gaiwan have? 第一只盖碗买多大的？"),
    ("shop", "{thing}: mend or replace 修还是换", "The {thing} again. 修还是换新的？"),
    ("orders", "{tea}: who wants some 拼单", "The farmer has {tea} left. 还有一批，谁要？"),
    ("abroad", "{tea} far from home 在外面喝", "How do you get your {tea} over there? 你们在外面怎么买？"),
    ("tasting", "Blind tasting: {tea}? 盲品", "Three cups, one of them {tea}. 三杯里有一杯是，猜猜看"),
    ("newcomers", "Storing {tea} 怎么存", "Tin, bag or fridge for {tea}? 用罐子、袋子还是冰箱？"),
    ("shop", "Stock: {tea} 库存", "How much {tea} is left on the shelf? 架子上还有多少？"),
    ("hikes", "Rain plan for {place} 下雨方案", "If it rains at {place}: where to? 下雨的话去哪儿？"),
    ("abroad", "Hard water 硬水", "Anyone else with hard water? 水太硬怎么办？"),
    ("orders", "Postage and packing: {tea} 运费", "Who packs the {tea} this time? 这次谁来打包？"),
    ("tasting", "Cold brew {tea} 冷泡", "Cold brew {tea}: how long? 冷泡多久合适？"),
    ("newcomers", "How much leaf? {tea} 投茶量", "How many grams of {tea} for a mug? 马克杯放几克？"),
    ("shop", "New shelf label: {tea} 新标签", "The label for {tea} has a typo. 标签有错字"),
    ("hikes", "Train to {place} 坐车", "Tickets for {place} are on sale. 车票开售了"),
)

# For the tutorials' threads; see `imkit.sandbox.demo.Facts`.
GAIWAN = (
    "Has anyone seen my blue gaiwan? It stood by the window. 有人看到我的蓝盖碗吗？",
    "Still looking for it. 还在找……",
    "Two weeks now. It was my grandmother's. 那是外婆的。",
)
NIGHT_TALK = (
    ("睡不着，烧水。", "Can't sleep, kettle on."),
    ("夜里喝{tea}会不会太浓？", "Is {tea} too strong at this hour?"),
    ("隔壁的灯也亮着。", "The neighbours' light is on, too."),
    ("再一道就睡。", "One more infusion, then bed."),
    ("你那边几点？", "What time is it with you?"),
    ("夜里的水声最好听。", "Water sounds best at night."),
)
PICTURE_TITLES = ("terrace", "cup", "morning", "shelf", "leaves", "kettle", "path", "window")
TAKEN_BACK = (
    ("你刚撤回了什么？", "What did you just take back?"),
    ("我看到了哈哈", "I saw that, haha"),
    ("撤回也没用😂", "Too late to take it back 😂"),
    ("发错群了吧？", "Wrong thread, was it?"),
    ("刚要回，就没了", "I was about to answer, and now it's gone"),
    ("没关系，我当没看见", "Never mind, I saw nothing"),
)
