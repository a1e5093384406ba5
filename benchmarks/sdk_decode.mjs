// The official SDK for decode.py: calls getHistoryMessages page by page; the pages are in memory already.
//
//   node sdk_decode.mjs PAGES   with one page a line in that file; each line of stdin is a round
//   → {"seconds":…, "messages":…} a line
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { enterBrowserWorld, Request } from '../tests/peer/browser_world.mjs';

const pages = readFileSync(process.argv[2], 'utf8').trimEnd().split('\n');
let next = 0;

class RequestInMemory extends Request {
  send() {
    this.status = 200;
    this.response = pages[next];
    this.responseText = pages[next];
    next += 1;
    this.readyState = 4;
    queueMicrotask(() => this.announce('readystatechange', 'load', 'loadend'));
  }
}

const require = createRequire(new URL('../tests/peer/driver.mjs', import.meta.url));
const loaded = require(enterBrowserWorld());
const sdk = loaded.default ?? loaded;
sdk.logger.disableAll();
globalThis.XMLHttpRequest = RequestInMemory;

// A connection in the state after a login, without a server.
function connected() {
  const where = { appKey: 'org#app', url: 'ws://127.0.0.1:1', apiUrl: 'http://127.0.0.1:1' };
  const connection = new sdk.connection({ isHttpDNS: false, https: false, isFixedDeviceId: false, ...where });
  Object.assign(connection, { token: 'token', user: 'reader' });
  Object.assign(connection.context, {
    root: connection.root, orgName: 'org', appName: 'app', accessToken: 'token', userId: 'reader' });
  return connection;
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line !== 'round') break;
  const connection = connected(); // a new connection, which has not seen these messages
  next = 0;
  let messages = 0;
  let last;
  let cursor = -1;
  let isLast = false;
  const began = performance.now();
  while (!isLast) {
    const page = await connection.getHistoryMessages({
      targetId: '210000033222000', chatType: 'groupChat', pageSize: 50, cursor,
    });
    messages += page.messages.length;
    last = page.messages.at(-1);
    ({ cursor, isLast } = page);
  }
  const seconds = (performance.now() - began) / 1000;
  process.stdout.write(`${JSON.stringify({ seconds, messages, last })}\n`);
}
process.exit(0);
