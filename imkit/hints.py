"""The hints of errors: what to do next, for each operation and each error that it can end in.

Every hint is a template with values, and all of them are in this module. A call names its operation where it asks the
service: `operation("join_thread", thread="42", user="bob")`. An error takes the hint that the operation has for its
class; if it has none, the hint of the class, which is true of every operation.

Source: docs/protocol.md#errors, docs/protocol.md#refusals-of-a-send, docs/protocol.md#thread-rights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# One text, or several: then the first one counts whose values are all known.
Template = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a program asked of the service, with the values that the texts about it name.

    Its `str` begins the message of an error: "joining thread 42 was refused".

    Args:
        name: a key of `OPERATIONS`.
        values: what the templates name. A value that is not known is left out.
    """

    name: str
    values: Mapping[str, str]

    def __str__(self) -> str:
        return _filled(OPERATIONS[self.name][""], self.values)


What = Operation | str  # what was asked for; of a text, errors have the hints of their classes


def operation(name: str, /, **values: object) -> Operation:
    """Return an operation with its values; `None` is a value that is not known.

    Raises:
        KeyError: `OPERATIONS` has no such name.

    Example:
        >>> str(operation("join_thread", thread="42", user="bob"))
        'joining thread 42'
    """
    OPERATIONS[name]
    return Operation(name, {key: str(value) for key, value in values.items() if value is not None})


def hint_for(kinds: Iterable[str], what: What | None = None) -> str:
    """Return the hint for an error.

    Args:
        kinds: the name of the error's class, then those of the classes above it, up to ``"IMError"``.
        what: the operation that ended in the error, if it is known.

    Returns:
        The hint of the first class that has one: of each class first what the operation says, then what is true of
        every operation. `OPERATIONS` and `ERRORS` have them. It is empty if no class has one.

    Example:
        >>> hint_for(["AlreadyExists", "IMError"], operation("join_thread", thread="42", user="bob"))
        'User bob is in thread 42 already: there is nothing to do.'
        >>> hint_for(["AlreadyExists", "IMError"])
        ''
    """
    special = OPERATIONS[what.name] if isinstance(what, Operation) else {}
    values = what.values if isinstance(what, Operation) else {}
    for number, kind in enumerate(kinds):
        if kind == "IMError" and number:
            break  # what an operation says of IMError is about an unknown refusal, not about every error
        for templates in (special, ERRORS):
            if kind in templates and (filled := _filled(templates[kind], values)):
                return filled
    return ""


def event_hint(kinds: Iterable[str]) -> str:
    """Return the hint for a wait in which no event of these classes came.

    Args:
        kinds: the names of the event classes.
    """
    return next((EVENTS[kind] for kind in kinds if kind in EVENTS), _NO_EVENT)


def _filled(template: Template, values: Mapping[str, str]) -> str:
    """Return the first text whose values are all known, with them; empty if there is none."""
    for text in (template,) if isinstance(template, str) else template:
        try:
            return text.format_map(values)
        except KeyError:
            continue
    return ""


# ---------------------------------------------------------------- errors, whatever the operation was

ERRORS: dict[str, Template] = {
    "AuthError": "Check the user, the password or token, and that they belong to this app key.",
    "TokenExpired": "Fetch a new token from your app server; give login() a callable and imkit does it by itself.",
    "KickedOff": "Log in again; two logins of one user can be open at the same time if each has its own resource=.",
    "ThreadNotFound": (
        "Check the id with group.threads(): each app and each sandbox has threads of its own, and a destroyed one "
        "cannot be restored."
    ),
    "GroupNotFound": "Check the id with session.groups(): each app and each sandbox has groups of its own.",
    "MessageNotFound": "It may have been recalled, or it may be older than the app keeps messages.",
    "Muted": "The group's owner and admins can lift the mute.",
    "Blocked": "The group's owner and admins can take the user off the block list (黑名单).",
    "Moderated": "Change the content; the moderation rules are in the app's console.",
    "GroupDisabled": "The app's console can enable the group again.",
    "RateLimited": "Wait and try again; App(max_requests_per_second=…) stays below the limit.",
    "ServiceBusy": "Try again later.",
    "ServiceNotEnabled": "The app's console, or Easemob's sales staff, can switch the feature on.",
    "LimitReached": "The app's plan sets the limit; Easemob's sales staff can raise it.",
    "TimedOut": "Check the network and the URLs of the app, then try again.",
    "ConnectionLost": "It is not known whether the service carried it out: look before you do it again.",
    "ConnectionLost, not sent": "Nothing was sent: check the network and the app's URLs, then try again.",
    "SessionClosed": (
        "Log in again with imkit.login(…). A group or a thread keeps to the session that it came from: get it from the "
        "new one, such as session.thread(id)."
    ),
    "ProtocolError": (
        "Check that the URLs belong to an Easemob IM service; session.wire() shows the frames and answers."
    ),
    "FileError": "Repair that, or choose another place; then run the same call again.",
    "ArchiveError": "archive.verify() says what is wrong with the archive.",
    "ArchiveLocked": "Wait until it has finished; reading needs no lock.",
}

# Why a session is over, where that leads to something else than a new login.
SESSION_ENDED = {
    "replaced": (
        "A later login of this user in this program has replaced it. Use that session, and get groups and threads "
        "from it, such as session.thread(id). Or give each login its own resource=."
    ),
}

# ---------------------------------------------------------------- the sandbox

SANDBOX_ENDED = {
    "in memory": "sandbox.start() starts an empty one; then log in again, with imkit.login(…, app=sandbox.app).",
    "in a file": "sandbox.start() starts it again with its data, and its sessions go on.",
    "forgotten": (
        "A sandbox ends with the last reference to its object. Keep the new one in a variable: "
        "sandbox = imkit.Sandbox(), and then imkit.login(…, app=sandbox.app)."
    ),
    "shared": (
        "Log in again with imkit.login(…): imkit starts it again with the same data. Get groups and threads from the "
        "new session, such as session.thread(id)."
    ),
}
SANDBOX_SILENT = "Has the sandbox ended? Log in again with imkit.login(…): imkit starts the shared one if none runs."
SANDBOX_DOES_NOT_ANSWER = "Wait until it is less busy, or end it (process {pid}); its data stay."
SANDBOX_WITHOUT_ADDRESS = (
    "A sandbox that is not the shared one uses them, such as imkit.Sandbox(path=…): end it, or give it another file."
)

SANDBOX_DATA_IN_USE = "End that one, or give this one another file: --data FILE, in Python imkit.Sandbox(path)."

# What a second `imkit sandbox` says. It has no user of its own, so the words name one.
SANDBOX_RUNS_ALREADY = {
    "starting": (
        "the sandbox is starting already (process {pid}), and prints its address soon. imkit.login(…) waits for it. "
        "For a separate sandbox add --memory or --data FILE."
    ),
    "where": (
        "the sandbox runs already: {rest_url} and {ws_url} (process {pid}). "
        'In Python imkit.login("alice") uses it, and so does imkit export.'
    ),
    "in a terminal": "To start it with other options, first end it with Ctrl-C in its terminal.",
    "in the background": (
        "A login has started it, and clients are connected: close their sessions or kernels, and run this again to "
        "take it into this terminal."
    ),
    "community": (
        'It has the demo community: imkit.login("reader"). For a separate sandbox add --memory or --data FILE.'
    ),
    "no community": "For a separate sandbox add --memory or --data FILE.",
}
FOLDER_OF_IMKIT = (
    "IMKIT_HOME names the folder where imkit keeps its files: set it to a folder that is your own and that you may "
    "write to."
)

# ---------------------------------------------------------------- operations

_NOT_IN_GROUP_OF_THREAD = 'User {user} is not in that group: one of its members can call group.invite("{user}").'
_NOT_IN_GROUP = 'User {user} is not in group {group}: one of its members can call group.invite("{user}").'
_NOT_IN_CONVERSATION = (
    'User {user} has not joined the thread: session.thread("{thread}").join(). Only members of its group can join.',
    _NOT_IN_GROUP,
)
_NOT_IN_NAMED = (
    'User {user} is not in {conversation}. A thread is joined with session.thread("{conversation}").join(); '
    'into a group a member invites with group.invite("{user}").'
)
_NO_CONVERSATION = (
    "There is no thread or group {conversation} here: it was destroyed, the id is wrong, or it is of another app or "
    "sandbox. See session.threads() and session.groups()."
)
_ADMINS = "the group's owner and admins"
_READ = "Nothing was changed by it: check the network, then call it again."
_NO_USER = "Check the user ids. In the sandbox a user exists after the first login, in an app after the registration."
_NO_PINS = "Pinning (置顶) is off for this app: Easemob's sales staff can switch it on."
_NO_REACTIONS = "Reactions (表情回复) are off for this app: its console can switch them on."
_GONE = "It was recalled, it is older than the app keeps messages, or it was sent to another group or thread."


def _operation(words: Template, *, lost: str = "", **hints: Template) -> dict[str, Template]:
    """Return the texts of an operation.

    Args:
        words: what was asked for; begins the message of an error.
        lost: what to do if no answer came, so that nobody knows whether the service carried it out.
        **hints: what to do, by the class of the error.
    """
    unanswered = {"TimedOut": lost, "ConnectionLost": lost} if lost else {}
    return {"": words, **unanswered, **hints}


OPERATIONS: dict[str, dict[str, Template]] = {
    "log_in": _operation(
        "the login of {user}",
        lost="Nothing was changed by it: log in again.",
        NotFound="Check the app key, and that rest_url and ws_url belong to it: this server does not know the app.",
    ),
    # ---------------------------------------------------------------- users
    "read_users": _operation("asking for the attributes of {count} users", lost=_READ),
    "update_profile": _operation(
        "changing {changed} of {user}",
        lost="Change it again: the second call does no harm.",
        TooLarge=(
            "A nickname has up to 64 characters, the URL of an avatar 256, and all attributes of a user have 2 KB "
            "together."
        ),
    ),
    "report": _operation(
        "reporting message {message}",
        lost="Report it again: the second call does no harm.",
        MessageNotFound="There is no message {message} any more, or user {user} is not in its conversation.",
        LimitReached="User {user} has reported as many messages as a user may report.",
        IMError="Check the kind and the reason: their lengths are limited. The app's console must switch reports on.",
    ),
    # ---------------------------------------------------------------- groups
    "list_groups": _operation("asking for the groups of {user}", lost=_READ),
    "create_group": _operation(
        "creating a group",
        lost="Look at session.groups() before you create it again: there may be two groups then.",
        NotFound=_NO_USER,
        LimitReached=f"User {{user}} has as many groups as one user may have. {ERRORS['LimitReached']}",
        IMError="Check the name and the members: their lengths and numbers are limited.",
    ),
    "list_group_members": _operation(
        "asking for the members of group {group}",
        lost=_READ,
        Forbidden=_NOT_IN_GROUP,
    ),
    "invite": _operation(
        "inviting to group {group}",
        lost="Look at group.members() before you invite again.",
        AlreadyExists="Invite only users who are not in group.members().",
        Forbidden=f"Members of group {{group}} can invite; its settings may leave that to {_ADMINS} alone.",
        LimitReached="Group {group} has as many members as it may have: group.remove(…) makes room.",
        NotFound=_NO_USER,
        IMError="Invite fewer users at once, 60 at the most.",
    ),
    "remove_group_member": _operation(
        "removing {member} from group {group}",
        lost="Remove the user again: it does no harm if the first call was carried out.",
        Forbidden=f"Only {_ADMINS} can remove members of group {{group}}, and nobody can remove its owner.",
        NotAMember="User {member} is not in group {group}: look at group.members().",
    ),
    "destroy_group": _operation(
        "destroying group {group}",
        lost="Look at session.groups(): if the group is there, destroy it again.",
        Forbidden="Only the owner of group {group} can destroy it.",
    ),
    "is_muted": _operation(
        "asking whether {user} is muted in group {group}",
        lost=_READ,
        Forbidden=_NOT_IN_GROUP,
    ),
    "pin": _operation(
        "pinning message {message} of group {group}",
        lost="Pin it again: the second call does no harm.",
        MessageNotFound=f"Group {{group}} has no message {{message}}. {_GONE}",
        LimitReached="Group {group} has as many pinned messages as it may have: group.unpin(…) makes room.",
        Forbidden=_NOT_IN_GROUP,
        ServiceNotEnabled=_NO_PINS,
    ),
    "unpin": _operation(
        "unpinning message {message} of group {group}",
        lost="Unpin it again: if the first call was carried out, that is refused as MessageNotFound.",
        MessageNotFound="Message {message} is not pinned in group {group}: group.pinned() lists those that are.",
        Forbidden=_NOT_IN_GROUP,
        ServiceNotEnabled=_NO_PINS,
    ),
    "list_pinned": _operation(
        "asking for the pinned messages of group {group}",
        lost=_READ,
        Forbidden=_NOT_IN_GROUP,
        ServiceNotEnabled=_NO_PINS,
    ),
    # ---------------------------------------------------------------- threads
    "create_thread": _operation(
        "creating a thread on message {message}",
        lost="Look at group.threads() before you try again: message {message} can have one thread only.",
        AlreadyExists=(
            "Message {message} has a thread already, and can have one only: find it with group.threads(), or choose "
            "another message."
        ),
        Forbidden=_NOT_IN_GROUP,
        NotFound=f"Group {{group}} has no message {{message}}. {_GONE}",
        LimitReached="The group or the app has as many threads as it may have: thread.destroy() makes room.",
        ServiceNotEnabled="Threads (子区) are off for this app: Easemob's sales staff can switch them on.",
    ),
    "list_threads": _operation(
        (
            "asking for the threads that {user} joined in group {group}",
            "asking for the threads that {user} joined",
        ),
        lost=_READ,
        Forbidden=_NOT_IN_GROUP,
    ),
    "list_threads_of_group": _operation(
        "asking for the threads of group {group}",
        lost=_READ,
        Forbidden=_NOT_IN_GROUP,
    ),
    "join_thread": _operation(
        "joining thread {thread}",
        lost="Join again: if the first call was carried out, that is refused as AlreadyExists, which does no harm.",
        AlreadyExists="User {user} is in thread {thread} already: there is nothing to do.",
        Forbidden='Only members of its group can join thread {thread}: one of them can call group.invite("{user}").',
        LimitReached="Thread {thread} has as many members as it may have.",
    ),
    "leave_thread": _operation(
        "leaving thread {thread}",
        lost="Look at session.threads(): if the thread is in it, leave again.",
        Forbidden="User {user} is not in thread {thread}, so there is nothing to leave: see session.threads().",
    ),
    "rename_thread": _operation(
        "renaming thread {thread}",
        lost="Rename it again: the second call does no harm.",
        Forbidden=f"Only the thread's creator, and {_ADMINS}, can rename thread {{thread}}.",
        IMError="A name has 64 characters at the most.",
    ),
    "destroy_thread": _operation(
        "destroying thread {thread}",
        lost="Look at group.threads(): if the thread is in it, destroy it again.",
        Forbidden=f"Only {_ADMINS} can destroy thread {{thread}}; its creator cannot.",
    ),
    "read_thread": _operation("asking for thread {thread}", lost=_READ, Forbidden=_NOT_IN_GROUP_OF_THREAD),
    "list_thread_members": _operation(
        "asking for the members of thread {thread}", lost=_READ, Forbidden=_NOT_IN_GROUP_OF_THREAD
    ),
    "remove_thread_member": _operation(
        "removing {member} from thread {thread}",
        lost="Look at thread.members(): if the user is in it, remove the user again.",
        Forbidden=(f"Only {_ADMINS} can remove members of thread {{thread}}, and only those in thread.members()."),
    ),
    "last_messages": _operation(
        ("asking for the last message of thread {thread}", "asking for last messages"),
        lost=_READ,
        Forbidden=(
            f"{_NOT_IN_GROUP_OF_THREAD[:-1]} (thread {{thread}}).",
            "User {user} is not in the groups of all these threads: session.threads() lists those of this user.",
        ),
        ThreadNotFound=(
            "Thread {thread} was destroyed, or the id is wrong: group.threads() lists the threads of a group.",
            "One of these threads was destroyed, or its id is wrong: group.threads() lists the threads of a group.",
        ),
    ),
    # ---------------------------------------------------------------- messages
    "read_history": _operation(
        "asking for the history of {conversation}",
        lost="Nothing was changed by it: load the rest with history(resume=session.stopped).",
        Forbidden=_NOT_IN_NAMED,
        NotFound=_NO_CONVERSATION,
        ServiceNotEnabled="Roaming history (消息漫游) is off for this app: its console can switch it on.",
    ),
    "send": _operation(
        ("the {type} message to thread {thread}", "the {type} message to group {group}"),
        lost="It may have arrived: look at the history() of the conversation before you send it again.",
        NotAMember=_NOT_IN_CONVERSATION,
        TooLarge=(
            "A message holds 3 to 5 KB with its ext, quote and mentions: shorten it, or send it as a file with "
            "imkit.File(…)."
        ),
    ),
    "send_command": _operation(
        ("the command to thread {thread}", "the command to group {group}"),
        lost="It may have arrived, and no history shows a command: send it again only if twice does no harm.",
        NotAMember=_NOT_IN_CONVERSATION,
        TooLarge="A command holds 3 to 5 KB with its ext: shorten it.",
    ),
    "recall": _operation(
        ("the recall of message {message} in thread {thread}", "the recall of message {message} in group {group}"),
        lost="Recall it again: if the first call was carried out, that is refused as MessageNotFound.",
        RecallExpired=(
            f"The message is {{age}} old, and the app's limit for its sender is shorter. Past the limit, {_ADMINS} can "
            "recall it, and edit(…) can still change its text.",
            f"The app's limit for its sender is over. Past it, {_ADMINS} can recall the message, and edit(…) can still "
            "change its text.",
        ),
        NotAMember=_NOT_IN_CONVERSATION,
        Forbidden=f"Only the sender of message {{message}}, and {_ADMINS}, can recall it.",
        MessageNotFound=_GONE,
        ServiceNotEnabled="Recalling (撤回) is off for this app: its console can switch it on.",
    ),
    "edit": _operation(
        ("the edit of message {message} in thread {thread}", "the edit of message {message} in group {group}"),
        lost="Look at the history() of the conversation: if the text is the old one, edit it again.",
        NotAMember=_NOT_IN_CONVERSATION,
        Forbidden=f"Only the sender of message {{message}}, and {_ADMINS}, can edit it.",
        MessageNotFound=_GONE,
        LimitReached="A message can be edited 10 times: send a new message instead.",
        InvalidMessage=(
            "A text stays a text, and a custom message one of its kind; of other messages only the ext can change."
        ),
        TooLarge="A message holds 3 to 5 KB with its ext: shorten it.",
        ServiceNotEnabled="Editing is off for this app: its console can switch it on.",
    ),
    "acknowledge": _operation(
        ("the read ack of message {message} in thread {thread}", "the read ack of message {message} in group {group}"),
        lost="Acknowledge it again: the second call does no harm.",
        NotAMember=_NOT_IN_CONVERSATION,
        MessageNotFound=_GONE,
        Forbidden="The service does not let user {user} acknowledge message {message}.",
        LimitReached="Message {message} has as many read receipts as it may have.",
        TooLarge="A message holds 3 to 5 KB with its ext: shorten the words.",
        ServiceNotEnabled="Read receipts of groups (群组已读回执) are off for this app: its console switches them on.",
    ),
    "mark_read": _operation(
        ("marking thread {thread} as read", "marking group {group} as read"),
        lost="Call mark_read() again: it does no harm twice.",
        NotAMember=_NOT_IN_CONVERSATION,
    ),
    # ---------------------------------------------------------------- this user's own view
    "list_conversations": _operation("asking for the conversations of {user}", lost=_READ),
    "forget": _operation(
        "forgetting messages of {conversation}",
        lost="Forget them again: it does no harm twice.",
        NotAMember=_NOT_IN_NAMED,
        Forbidden=_NOT_IN_NAMED,
        NotFound=_NO_CONVERSATION,
        IMError="One of the messages is not in {conversation}, or this user has forgotten it already.",
    ),
    "list_readers": _operation(
        "asking for the readers of message {message}",
        lost=_READ,
        MessageNotFound=_GONE,
        GroupNotFound=_NO_CONVERSATION,
        Forbidden=_NOT_IN_NAMED,
    ),
    # ---------------------------------------------------------------- reactions
    "react": _operation(
        "reacting to message {message}",
        lost="Look at reactions(…) of the conversation before you react again.",
        AlreadyExists="User {user} has reacted to message {message} with {reaction} already: there is nothing to do.",
        LimitReached="A message takes 20 different reactions, by default: use one that it has already.",
        NotAMember=(
            "User {user} is not in the message's group or thread: join the thread, or ask a member of the group for "
            'group.invite("{user}").'
        ),
        Forbidden="The message is not here any more, or user {user} is not in its conversation.",
        ServiceNotEnabled=_NO_REACTIONS,
    ),
    "unreact": _operation(
        "taking back the reaction to message {message}",
        lost="Look at reactions(…) of the conversation before you take it back again.",
        Forbidden="User {user} has not reacted with {reaction}, or the message is not here any more.",
        ServiceNotEnabled=_NO_REACTIONS,
    ),
    "list_reactions": _operation(
        "asking for the reactions to message {message}",
        lost=_READ,
        GroupNotFound=_NO_CONVERSATION,
        NotAMember=_NOT_IN_NAMED,
        Forbidden="The message is not here any more, or user {user} is not in its conversation.",
        ServiceNotEnabled=_NO_REACTIONS,
    ),
    "list_users_of_reaction": _operation(
        "asking for the users who reacted to message {message} with {reaction}",
        lost=_READ,
        Forbidden="The message or the reaction was taken back meanwhile: ask again.",
    ),
    # ---------------------------------------------------------------- attachments
    "upload": _operation(
        "the upload of {name}",
        lost="Nothing was sent to the conversation: send it again.",
        TooLarge="An attachment holds 10 MB unless the app's plan says otherwise: make the file smaller.",
        LimitReached="The service keeps no more files of this user now: a recall removes the files of a message.",
    ),
    "download": _operation(
        "the download of an attachment",
        lost="Nothing was changed by it: download it again.",
        NotFound="The file is gone: a recall removes it, and the app keeps files for a limited time, often 7 days.",
        Forbidden="The file opens only with the share-secret of its message: give the Message as it was received.",
    ),
}

# ---------------------------------------------------------------- waits for an event

_NO_EVENT = "Is this user in the group or the thread? What came before events(…) was called needs replay=True."
_CONNECTION = "It did not happen in this time; session.connected says how the connection is now."
_OTHER_DEVICE = "It tells what another device of this user did: log in a second time with its own resource=."
EVENTS: dict[str, str] = {
    "MessageReceived": f"Was it sent, and by another device than this one? {_NO_EVENT}",
    "MessageRead": "It tells that another user has acknowledged a message of this user. Was it acknowledged?",
    "UserChanged": "It tells what this user or one of its contacts changed; changes of other users are not told.",
    **dict.fromkeys(("DeviceChanged", "ConversationChanged", "HistoryForgotten"), _OTHER_DEVICE),
    **dict.fromkeys(("Connected", "Disconnected", "TokenExpiring", "LoggedOut", "Dropped"), _CONNECTION),
}

# ---------------------------------------------------------------- calls and names that cannot be right

# What Python does with the result of a call: the words for it, and what to do if the call has an .aio, and if not.
AWAITED: dict[str, tuple[str, str, str]] = {
    "GET_AWAITABLE": (
        "cannot be awaited",
        "Write `await {call}.aio(…)`, or leave out await: {call}(…) waits by itself. Nothing was done.",
        "Leave out await: {call}(…) returns at once. Loop over a listing or over events with for, or with async for.",
    ),
    "GET_AITER": (
        "cannot be looped over with async for",
        "Write `await {call}.aio(…)` and loop over the result with for. Nothing was done. messages(…) of a thread, "
        "lists such as members(), and session.events(…) work with async for.",
        "",
    ),
}

# How a program names an object of a class.
VARIABLES: dict[str, str] = {
    "Session": "session",
    "Group": "group",
    "Thread": "thread",
    "Message": "message",
    "Archive": "archive",
    "App": "app",
    "Sandbox": "sandbox",
    "Listing": "listing",
    "EventStream": "stream",
    "Subscription": "subscription",
    "InsightAccessor": "frame.im",
    "ImAccessor": "frame.im",
    "Event": "event",
    "Body": "body",
}

# What to write for an argument, by call and argument; "" stands for arguments without a name, of which there are too
# many.
ARGUMENTS: dict[tuple[str, str], str] = {
    ("login", "user"): 'Give a user id, such as imkit.login("alice").',
    ("login", ""): 'Write password="…" or token="…" with its name.',
    ("create_thread", "parent"): (
        'A thread hangs on a message of the group: group.create_thread("Oolong", group.send("Which oolong?")).'
    ),
    ("create_group", ""): 'Give the members as one list: session.create_group("tea", members=["bob", "carol"]).',
    ("send", "ext"): 'Attributes are a part of the body: send(imkit.Text("…", ext={…})).',
    ("send", "thread"): "A thread sends itself: thread.send(…). session.send(thread, …) takes the thread first.",
    ("send", ""): "thread.send(…) sends to this thread. session.send(thread, …) takes the thread first.",
    ("history", "of"): "Give a thread, a group, or a list of them; thread.history() needs no such argument.",
    ("history", "days"): "Write since=datetime.now() - timedelta(days=…).",
    ("sync", "of"): "Give the session first, then what it reads: archive.sync(session, session.groups()).",
    ("on", "callback"): "Give a function of one argument: session.on(imkit.MessageReceived, print).",
    ("download", "folder"): 'Name the folder: session.download(message, ".").',
    ("edit", "body"): 'Give the message first, then its new text: thread.edit(message, "…").',
    ("react", "reaction"): 'Give the message first: thread.react(message, "👍").',
    ("report", "kind"): 'Write report(message, "spam", "why it is spam").',
    ("groups", ""): "It lists all groups of this user; session.group(id) is one of them.",
}


def _by_name(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the text for each name, from the names for each text."""
    return {name: text for text, names in texts.items() for name in names.split()}


# Other words for an argument: those that a call may have in place of it, the likeliest first.
ARGUMENT_NAMES: dict[str, str] = _by_name(
    {
        "user nickname name": "username user_id userid userId uid name id",
        "password": "pwd pw passwd passphrase",
        "token": "access_token accessToken",
        "app": "app_key appkey appKey key",
        "resource": "device device_id",
        "since": "start begin after from_ start_time startTime",
        "until": "end stop before to end_time endTime",
        "limit": "n count size max number page_size pageSize",
        "types kind": "type kind kinds",
        "sender": "user from_user author by",
        "order": "direction sort reverse ascending searchDirection",
        "body message": "text content message",
        "message parent": "msg message_id msg_id messageId parent_id",
        "reply_to": "quote reply replyTo",
        "mention": "mentions at",
        "members ids": "users usernames",
    }
)

# What to write in place of a name that a class or the package does not have.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "imkit": _by_name(
        {
            'imkit.login("alice") logs in and returns the session.': "connect open Client Connection client connection",
            'A session does that, and its threads: session = imkit.login("alice"), session.threads().': (
                "send chat recall join groups threads thread group"
            ),
        }
    ),
    "Session": _by_name(
        {
            "Write session.user. session.users([…]) tells nicknames.": "username user_id name id nickname me",
            "Write session.close().": "logout log_out disconnect quit stop",
            "Write thread.messages(…), or session.history([thread, …]).": "messages",
            ARGUMENTS["create_thread", "parent"]: "create_thread new_thread",
            "Write session.thread(id).join().": "join join_thread",
            "Write session.create_group(name, members).": "new_group add_group",
        }
    ),
    "Group": _by_name(
        {
            'Write group.invite("bob"), as a member of the group.': "add add_member add_members add_user join",
            'Write group.remove("bob").': "kick remove_member",
            "Write group.name.": "title",
        }
    ),
    "Thread": _by_name(
        {
            "Write thread.name.": "title topic subject",
            "Write thread.group_id; session.group(thread.group_id) is the group.": "group",
            "Users join a thread themselves: bob.thread(thread.id).join().": "invite add add_member",
            'Write thread.remove("bob").': "kick remove_member",
            "len(thread.history()) counts them.": "count message_count",
        }
    ),
    "Conversation": _by_name(
        {
            "Write send(…, reply_to=message).": "reply quote",
            "Write recall(message).": "delete_message remove_message",
            "Write send(…).": "send_text send_message post say",
            'Write send(imkit.Image("…")).': "send_image send_file",
            "destroy() removes it for all its members.": "delete close dissolve disband",
        }
    ),
    "Message": _by_name(
        {
            "Write message.text.": "content msg message data",
            "Write message.sender.": "from_ author user sender_id username",
            "Write message.time.": "timestamp ts date created created_at sent_at",
            "Write message.id.": "message_id msg_id mid",
            "Write message.edit_count > 0.": "is_edited edited",
            "Write thread.send(…, reply_to=message).": "reply",
            "Write thread.recall(message).": "delete",
            'Write session.download(message, ".").': "download",
            "Write message.body.url; session.download(message, …) saves the file.": "url",
        }
    ),
    "Body": _by_name({"Write body.text.": "content msg message", "Write body.type.": "kind"}),
    "Listing": _by_name(
        {
            "Loop over it with for, in async code with async for, or write list(…).": "aio head first",
            "thread.history(…) returns a DataFrame.": "to_frame to_pandas frame",
        }
    ),
    "Archive": _by_name(
        {
            "Write archive.frame().": "history messages load read to_pandas",
            "Write archive.sync(session, …).": "update add write save",
            'Write archive.sql("select …").': "query",
            "Write archive.sql(\"select * from messages where contains(text, 'tea')\").": "search find",
        }
    ),
}

# What to do in place of changing an attribute.
CHANGES: dict[str, str] = {
    "Message": 'thread.edit(message, "…") changes its text for all readers.',
    "Body": 'Make a new one, such as imkit.Text("…").',
    "object": "It tells what the service has told.",
}

A_TAB = "A Tab after `{variable}.` shows what there is."

# Attributes that are one step further in: event.text is event.message.text.
INNER_NAMES: dict[str, str] = {
    "message": "text sender id time to type body ext thread quote mentions",
    "thread": "thread_id group_id parent_id",
    "body": "url file_name file_size width height duration lat lng address action params",
}

# What to write with imkit for a name of the official SDK for JavaScript, version 4 or 5. README.md has them as a table.
OFFICIAL_NAME = "imkit calls it {right}."
OFFICIAL_NAMES: dict[str, str] = _by_name(
    {
        "imkit.login(user)": "open",
        "session.close()": "logout",
        "session.create_group(name, members)": "createGroup",
        "group.invite(user)": "inviteUsersToGroup",
        "group.remove(user)": "removeGroupMember removeGroupMembers",
        "group.members()": "listGroupMembers getGroupMemberList",
        "session.groups()": "getJoinedGroups getJoinedGroupList",
        "group.is_muted()": "isInGroupMutelist checkIfInGroupMuteList",
        "group.destroy()": "destroyGroup",
        "group.create_thread(name, parent)": "createChatThread",
        "thread.join()": "joinChatThread",
        "thread.leave()": "leaveChatThread",
        "thread.destroy()": "destroyChatThread",
        "thread.rename(name)": "changeChatThreadName updateChatThreadName",
        "thread.refresh()": "getChatThreadDetail getChatThreadInfo",
        "thread.members()": "getChatThreadMembers getChatThreadMemberList",
        "thread.remove(user)": "removeChatThreadMember",
        "session.threads()": "getJoinedChatThreads getJoinedChatThreadList",
        "group.threads()": "getChatThreads getChatThreadList",
        "thread.last_message() or session.last_messages(threads)": (
            "getChatThreadLastMessage getChatThreadLastMessageList"
        ),
        "thread.send(…), group.send(…) or session.send(to, …)": "sendMessage",
        "thread.recall(message)": "recallMessage",
        "thread.edit(message, body)": "modifyMessage",
        "thread.react(message, reaction)": "addReaction",
        "thread.unreact(message, reaction)": "deleteReaction removeReaction",
        "thread.reactions(message)": "getReactionList getReactionDetail",
        "thread.acknowledge(message)": "sendMessageReadReceipts",
        "thread.readers(message)": "getGroupMsgReadUser getGroupMessageReadUsers",
        "group.pin(message)": "pinMessage",
        "group.unpin(message)": "unpinMessage",
        "group.pinned()": "getServerPinnedMessages getPinnedMessageList",
        "session.report(message, kind, reason)": "reportMessage",
        "thread.history() or thread.messages()": "getHistoryMessages",
        "thread.forget(messages)": "removeHistoryMessages",
        "session.conversations()": "getServerConversations getConversationList",
        "thread.mark_read()": "clearConversationUnreadMessageCount",
        "session.users(ids)": "fetchUserInfoById getUserInfoByUserId",
        "session.update_profile(nickname=…)": "updateUserInfo updateOwnInfo",
        "session.unpack(message)": "downloadAndParseCombineMessage",
        "session.download(message, folder)": "downloadAttachment",
        "session.events(…) or session.on(kind, callback)": "addEventHandler",
        "the event imkit.MessageReceived": "onTextMessage onMessage",
        "the event imkit.MessageEdited": "onModifiedMessage onMessageUpdated onStreamMessage",
        "the event imkit.MessageRecalled": "onRecallMessage onMessageRecalled",
        "the event imkit.MessageRead": "onReadMessage onMessageReadReceipts",
        "the event imkit.ReactionChanged": "onReactionChange onReactionChanged",
        "the event imkit.PinChanged": "onMessagePinEvent onPinnedMessageChanged",
        "the event imkit.ThreadChanged": (
            "onChatThreadChange onChatThreadCreated onChatThreadUpdated onChatThreadDestroyed onChatThreadUserRemoved"
        ),
        "the event imkit.DeviceChanged": "onMultiDeviceEvent onMultiDeviceThread",
        "the event imkit.ConversationChanged": "onChannelMessage onMultiDeviceConversation",
        "the event imkit.HistoryForgotten": "onMultiDeviceMessageRemoved",
        "the event imkit.GroupChanged": "onGroupEvent onMembersJoined",
        "the event imkit.UserChanged": "onOwnInfoUpdated",
        "the event imkit.Connected": "onConnected",
        "the event imkit.Disconnected": "onDisconnected",
        "the event imkit.TokenExpiring": "onTokenWillExpire",
        "imkit.login(user, token=function), which renews by itself": "renewToken",
    }
)

# What is given in place of a user id, or of the id of a message, a group or a thread.
USER_ID_CHARACTERS = "A user id has up to 64 characters: letters (a to z), digits, dots, _ and -."
USER_AND_PASSWORD = 'Write imkit.login("alice", password="…", app="org#app").'
EACH_USER_ID = "Give each user id as a text of its own, such as 'carol'."
MESSAGE_OR_ID = "Give the Message, or its id: a text of digits, such as message.id or frame.message_id.iloc[0]."
ONE_BY_ONE = "Give one message: for message in …: thread.recall(message)."
MESSAGE_ID_OF_ROW = "Give the id in the row: row.message_id, here {id!r}."
GROUP_OR_THREAD_ID = "It is a text of digits: group.id, thread.id."
ID_OF_OBJECT: dict[str, str] = {
    "Group": "Give its id, group.id; group.threads() lists its threads.",
    "Thread": "Give its id, thread.id; the id of its group is thread.group_id.",
    "Message": "message.to is the id of the thread or the group that it was sent to.",
}
AN_ID_IS_A_TEXT = 'An id is a text: "{id}". Tables read it as a number, and may lose digits: read the column as text.'
DIGITS_ARE_LOST = (
    "This number has lost digits of the id. Read the column as text, such as "
    'pd.read_csv(…, dtype={"message_id": "string"}).'
)
A_NAME_IS_NO_ID: dict[str, str] = {
    "Group": "Several groups may have one name: [g for g in session.groups() if g.name == {name!r}] finds them.",
    "Thread": "Several threads may have one name: [t for t in group.threads() if t.name == {name!r}] finds them.",
}
THE_ID_OF_THIS_NAME = "The id of {name!r} is {id!r}."

# What is given in place of an app, a session, a time zone, the class of an event.
EVENT_CLASSES = "Give the classes themselves, such as imkit.MessageReceived, imkit.ThreadChanged."
A_SESSION = "Give what imkit.login(…) returned."
A_GROUP_OR_THREAD = "Get one with session.thread(id) or session.group(id)."
COLUMNS_WERE_CHOSEN = "Use .im on the whole frame, and choose columns of what it returns: frame.im.local(…)[columns]."
A_ZONE = 'Give an IANA name, such as "Asia/Shanghai" or "UTC".'
AN_APP_KEY = 'An app key looks like "org#app", with exactly one #.'
APP_KEY_WITHOUT_BLANKS = "Leave out the blanks: {app_key!r}."
APP_KEY_WITH_ASCII = "The # of an app key is the one of ASCII: {app_key!r}."
AN_APP = 'Give its key, such as app="org#app", or imkit.App("org#app", rest_url=…).'

# What is given in place of a body, by the class of it.
NOT_A_BODY: dict[str, str] = {
    "object": "Send a str, or a body such as imkit.Text(…).",
    "class": "Call the class to make a body of it, such as imkit.Text(…) or imkit.Image(…).",
    "path": "Send a picture with imkit.Image(path), another file with imkit.File(path).",
    **dict.fromkeys(
        ("bytes", "bytearray"), 'Send bytes with imkit.File(…, file_name="…") or imkit.Image(…), text with .decode().'
    ),
    **dict.fromkeys(("int", "float", "int64", "float64", "bool", "datetime", "Timestamp"), "Send str(…) of it."),
    **dict.fromkeys(("DataFrame", "Series"), "Send str(…) of it, or save it and send imkit.File(path)."),
    **dict.fromkeys(("list", "tuple", "set"), "Send its parts one by one: for text in …: thread.send(text)."),
    "dict": 'Send data as attributes of a text, imkit.Text("…", ext={…}), or with imkit.Custom("event", {…}).',
    "NoneType": "The value is None: the call that it comes from returned nothing.",
    "Message": "Send its body again: message.body. imkit.Combine(…) forwards messages.",
    **dict.fromkeys(("Thread", "Group", "Session"), "session.send(thread, …) takes the thread first."),
}

# What a part of a body should be.
PARAMS_OF_CUSTOM = 'Give a dict of texts: imkit.Custom("vote", {"tea": "Dong Ding"}).'
A_PLACE = (
    "The latitude comes first, from -90 to 90, then the longitude, from -180 to 180, then the address: "
    'imkit.Location(25.03, 121.56, "Taipei").'
)

# What is given in place of a time, or of a type.
THREAD_IN_PLACE_OF_A_TIME = (
    "thread.history() needs no thread; session.history([thread, group]) takes several, in one list."
)
ISO_TIME = 'Give an ISO time, such as "2026-11-23" or "2026-11-23T10:00:00+08:00".'
A_DAY_IN_CODE = (
    'Write the date, such as "2026-11-23"; in Python also date.today() - timedelta(days=1), of the module datetime.'
)
DAY_AND_MONTH = 'Write the year first, so that day and month are clear: "2026-11-23".'
UNTIL_IS_EXCLUSIVE = "until itself does not belong to the range: for one day give the next day as until."
TYPES_MEANT: dict[str, str] = _by_name(
    {
        "txt": "text texts string str streamed 文本",
        "img": "image images picture photo pic 图片",
        "audio": "voice sound recording 语音",
        "video": "videos movie 视频",
        "file": "files attachment document 文件",
        "loc": "location place geo 位置",
        "cmd": "command 透传",
        "custom": "自定义",
        "combine": "bundle merged forward 合并",
    }
)

# Classes whose objects imkit makes, and what returns one.
MADE_BY: dict[str, str] = {
    "Session": 'imkit.login("alice") returns one.',
    "Group": "session.group(id), session.groups() and session.create_group(name) return one.",
    "Thread": "session.thread(id), session.threads() and group.create_thread(name, parent) return one.",
}
