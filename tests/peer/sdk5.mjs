// The driver of SDK 5 in a page: sdk5.py calls `driver.run(…)`, and gets the events through `tell(event, data)`.
//
// A command is one of the few below or `<manager>.<method>`, such as `chatThread.joinChatThread`; `client.<method>` is
// one of the client itself. Results pass as JSON text, so that both drivers give the same kinds of values.
const { ChatClient, ...MANAGERS } = ChatUI.useSDK().ChatSDK;
const NAMES = { ChatManager: 'chat', ChatThreadManager: 'chatThread', GroupManager: 'group', UserInfoManager: 'userInfo' };
const KINDS = {
  text: 'Text', image: 'Image', file: 'File', voice: 'Voice', video: 'Video', location: 'Location', cmd: 'Cmd',
  custom: 'Custom', combine: 'Combine',
};

let app; // { appKey, restUrl }
const objects = {};
const sent = new Map(); // by id, for bundles

const plain = (value) => JSON.stringify(value, (key, item) => {
  if (typeof item === 'bigint') return item.toString();
  if (item instanceof Blob) return { bytes: item.size };
  return item;
});
const briefly = (error) => ({
  type: error?.code ?? null, message: String(error?.message ?? error), data: error?.details ?? null,
});

async function post(path, body) {
  const reply = await fetch(`${app.restUrl}/${app.appKey.replace('#', '/')}${path}`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  const answer = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(answer.error_description), { code: reply.status });
  return answer;
}

// A message from its options; bytes arrive as `base64`, or as a number of zeros.
function compose(kind, { base64, zeros, ...options }) {
  const bytes = base64 ? Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)) : new Uint8Array(zeros ?? 0);
  if (base64 || zeros) options.data = new File([bytes], options.filename, { type: options.filetype });
  return objects.chat[`create${KINDS[kind]}Message`](options);
}

const commands = {
  init({ wsUrl, config, ...named }) {
    app = named;
    const client = ChatClient.init({
      appKey: app.appKey, serviceConfig: { serverUrls: { restApiUrl: app.restUrl, wsUrl } },
      managers: Object.keys(NAMES).map((name) => MANAGERS[name]), ...config,
    });
    objects.client = client;
    for (const [name, key] of Object.entries(NAMES)) objects[key] = client[MANAGERS[name].key];
    // The SDK looks a handler up by the event's name: this object has one for each name but that of its log.
    const handlers = new Proxy({}, {
      get: (_, event) => (event === 'onLog' ? undefined : (data) => { tell(event, plain(data ?? null)); }),
    });
    client.addEventHandler('driver', handlers);
  },
  register: (username, password) => post('/users', { username, password }),
  async token(username, password) {
    const issued = await post('/token', { grant_type: 'password', username, password });
    return issued.access_token;
  },
  async send(kind, { messageIds, ...options }) {
    if (messageIds) options.messageList = messageIds.map((id) => sent.get(id));
    const message = await objects.chat.sendMessage(compose(kind, options));
    sent.set(message.msgServerId, message);
    return message;
  },
  modify: (kind, options, where) => objects.chat.modifyMessage({ ...where, message: compose(kind, options) }),
  async download(message) {
    const { data } = await objects.chat.downloadAttachment({ message });
    return btoa(String.fromCharCode(...data));
  },
};

async function run(what, args) {
  if (commands[what]) return commands[what](...args);
  const [object, method] = what.split('.');
  return objects[object][method](...args);
}

globalThis.driver = {
  run: (what, args) => run(what, args).then(
    (result) => plain({ ok: result ?? null }),
    (error) => plain({ error: briefly(error) }),
  ),
};
