// What the mini-program build of the SDK expects of WeChat: the host object `wx` with sockets, requests and a little
// disk. A bundle (合并消息) travels over that disk, so it is here too, in memory.
import WebSocketOfNode from 'ws';

function connectSocket({ url, success }) {
  const socket = new WebSocketOfNode(url);
  socket.binaryType = 'arraybuffer';
  const on = (type, translate) => (callback) => socket.addEventListener(type, (event) => callback(translate(event)));
  const task = {
    onOpen: on('open', () => ({})),
    onMessage: on('message', ({ data }) => ({ data })),
    onClose: on('close', ({ code, reason }) => ({ code, reason })),
    onError: on('error', ({ message }) => ({ errMsg: message })),
    send({ data, success: sent, fail }) {
      if (socket.readyState === WebSocketOfNode.OPEN) socket.send(data, (error) => (error ? fail?.({ errMsg: error.message }) : sent?.({})));
      else fail?.({ errMsg: 'sendSocketMessage:fail SocketTask.readyState is not OPEN' });
    },
    close() { socket.close(); },
    get readyState() { return socket.readyState; },
  };
  task.onError(() => {}); // WeChat goes on after a failed socket; Node would not
  success?.({});
  return task;
}

// Every wx call ends in `success` or `fail`, and then in `complete`.
function settle(work, { success, fail, complete }) {
  work().then(
    (result) => success?.(result),
    (error) => fail?.({ errMsg: `request:fail ${error.message}` }),
  ).finally(() => complete?.({}));
}

async function answerOf(url, options) {
  const answer = await fetch(url, options);
  return { statusCode: answer.status, text: await answer.text(), header: Object.fromEntries(answer.headers) };
}

function request(options) {
  settle(async () => {
    const { url, data, method = 'POST', header = {} } = options;
    const bare = method === 'GET' || data === undefined || data === null;
    const isForm = header['Content-Type'] === 'application/x-www-form-urlencoded';
    const encode = isForm ? (fields) => new URLSearchParams(fields).toString() : JSON.stringify;
    const body = typeof data === 'string' ? data : encode(data);
    const { text, ...rest } = await answerOf(url, { method, headers: header, body: bare ? undefined : body });
    let parsed = text;
    try { parsed = JSON.parse(text); } catch { /* wx hands over the text, and the SDK never settles */ }
    return { ...rest, data: parsed };
  }, options);
}

const disk = new Map();
const fileSystem = {
  writeFile({ filePath, data, success }) {
    disk.set(filePath, new Blob([data]));
    success?.({});
  },
  readFile(options) {
    // The SDK reads its answer as `target.result` in browsers and as `data` here.
    settle(async () => ({ data: await disk.get(options.filePath).arrayBuffer() }), options);
  },
};

function uploadFile(options) {
  settle(async () => {
    const form = new FormData();
    form.append(options.name, disk.get(options.filePath), 'combine');
    const headers = { Authorization: options.header.Authorization };
    const { text, ...rest } = await answerOf(options.url, { method: 'POST', headers, body: form });
    return { ...rest, data: text };
  }, options);
}

function downloadFile(options) {
  settle(async () => {
    const answer = await fetch(options.url);
    const tempFilePath = `wxfile://tmp/${disk.size}`;
    disk.set(tempFilePath, await answer.blob());
    return { statusCode: answer.status, tempFilePath };
  }, options);
}

export function enterMiniProgramWorld() {
  const storage = new Map();
  const nothing = () => {};
  globalThis.self = globalThis;
  globalThis.wx = {
    env: { USER_DATA_PATH: 'wxfile://usr' },
    canIUse: () => true,
    getFileSystemManager: () => fileSystem,
    getNetworkType: ({ success } = {}) => success?.({ networkType: 'wifi' }),
    getStorageSync: (key) => storage.get(key) ?? '',
    getSystemInfo: ({ success } = {}) => success?.({ platform: 'devtools' }),
    offAppHide: nothing,
    offAppShow: nothing,
    offNetworkStatusChange: nothing,
    onAppHide: nothing,
    onAppShow: nothing,
    onNetworkStatusChange: nothing,
    setStorage({ key, data, success }) {
      storage.set(key, data);
      success?.({});
    },
    connectSocket,
    downloadFile,
    request,
    uploadFile,
  };
  return 'easemob-websdk/miniProgram/Easemob-chat.js';
}
