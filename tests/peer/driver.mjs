// The official SDK, driven line by line: JSON commands in on stdin, JSON answers and events out on stdout.
//
//   node driver.mjs web|mini
//   → {"ready":{"build":"web","version":"4.21.1"}}
//   ← {"id":1,"device":"d1","do":"connect","args":[{"appKey":…,"url":…,"apiUrl":…}]}      → {"id":1,"ok":null}
//   ← {"id":2,"device":"d1","do":"open","args":[{"user":…,"pwd":…}]}                      → {"id":2,"ok":{…}}
//   ← {"id":3,"device":"d1","do":"recallMessage","args":[{…}]}                            → {"id":3,"error":{"type":504,…}}
//   → {"device":"d1","event":"onTextMessage","data":{…}}
//
// A command is one of the few below or the name of a method of the SDK's connection. The process ends with its stdin.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { Console } from 'node:console';
import { enterBrowserWorld, Request } from './browser_world.mjs';
import { enterMiniProgramWorld } from './mini_program_world.mjs';

const EVENTS = [
  'onTextMessage', 'onStreamMessage', 'onImageMessage', 'onAudioMessage', 'onVideoMessage', 'onFileMessage', 'onLocationMessage',
  'onCmdMessage', 'onCustomMessage', 'onCombineMessage', 'onRecallMessage', 'onModifiedMessage', 'onReadMessage',
  'onReactionChange', 'onChannelMessage', 'onChatThreadChange', 'onGroupEvent', 'onMultiDeviceEvent', 'onConnected',
  'onDisconnected', 'onReconnecting', 'onMessagePinEvent',
  'onError', 'onTokenWillExpire', 'onTokenExpired', 'onOfflineMessageSyncStart', 'onOfflineMessageSyncFinish',
];

// stdout carries the protocol alone, so whatever the SDK logs goes to stderr.
globalThis.console = new Console(process.stderr, process.stderr);
const build = process.argv[2];
const require = createRequire(import.meta.url);
const loaded = require(build === 'mini' ? enterMiniProgramWorld() : enterBrowserWorld());
const sdk = loaded.default ?? loaded;
sdk.logger.disableAll();

function plain(value) {
  const above = [];
  return JSON.stringify(value, function replace(key, item) {
    if (typeof item === 'bigint') return item.toString();
    if (item === null || typeof item !== 'object') return item;
    if (item instanceof Request) return { status: item.status, body: item.responseText };
    if (item instanceof Blob) return { bytes: item.size };
    while (above.length && above.at(-1) !== this) above.pop();
    if (above.includes(item)) return undefined; // a circle: some SDK errors hold their own connection
    above.push(item);
    return item;
  });
}

const say = (line) => process.stdout.write(`${plain(line)}\n`);
const briefly = (error) => ({
  type: error?.type ?? null, message: String(error?.message ?? error), data: error?.data ?? null,
});

const devices = new Map();
const bytesOf = async (blob) => Buffer.from(await blob.arrayBuffer()).toString('base64');

// A message from its options; bytes arrive as `file.base64`.
function compose({ file, ...options }, upload) {
  if (!file) return sdk.message.create(options);
  const { base64, ...about } = file;
  const data = new Blob([Buffer.from(base64, 'base64')]);
  return sdk.message.create({
    ...options,
    file: { url: 'blob:of-the-test', ...about, data },
    onFileUploadComplete: (reply) => { upload.reply = reply; },
  });
}

const commands = {
  async connect(name, options) {
    const connection = new sdk.connection({ isHttpDNS: false, https: false, isFixedDeviceId: false, ...options });
    const tell = (event) => (data) => say({ device: name, event, data });
    connection.addEventHandler('driver', Object.fromEntries(EVENTS.map((event) => [event, tell(event)])));
    devices.set(name, connection);
  },
  async send(name, options) {
    const upload = {};
    const sent = await devices.get(name).send(compose(options, upload));
    return { ...sent, upload: upload.reply };
  },
  modify: (name, messageId, options) => devices.get(name).modifyMessage({ messageId, modifiedMessage: compose(options) }),
  download: (name, options) => new Promise((resolve, reject) => {
    sdk.utils.download.call(devices.get(name), {
      ...options, onFileDownloadComplete: (blob) => resolve(bytesOf(blob)), onFileDownloadError: reject,
    });
  }),
};

async function obey({ id, device, do: what, args }) {
  try {
    const connection = devices.get(device);
    const result = await (commands[what] ? commands[what](device, ...args) : connection[what](...args));
    say({ id, ok: result ?? null });
  } catch (error) {
    say({ id, error: briefly(error) });
  }
}

// The SDK leaves some promises of its own unhandled. A test that cares sees them; none ends the process.
process.on('unhandledRejection', (error) => say({ event: 'unhandledRejection', data: briefly(error) }));

createInterface({ input: process.stdin })
  .on('line', (line) => obey(JSON.parse(line)))
  .on('close', () => process.exit(0));
say({ ready: { build, version: require('easemob-websdk/package.json').version } });
