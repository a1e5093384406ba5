// The official SDK for fetch.py: logs in, loads a thread's history page by page, and measures its own time.
//
//   node sdk_fetch.mjs '{"appKey":…,"url":…,"apiUrl":…,"thread":…}'   → {"seconds":…, "messages":…}
import { createRequire } from 'node:module';
import { enterBrowserWorld } from '../tests/peer/browser_world.mjs';

const { thread, ...where } = JSON.parse(process.argv[2]);
const require = createRequire(new URL('../tests/peer/driver.mjs', import.meta.url));
const loaded = require(enterBrowserWorld());
const sdk = loaded.default ?? loaded;
sdk.logger.disableAll();

const connection = new sdk.connection({ isHttpDNS: false, https: false, isFixedDeviceId: false, ...where });
await connection.open({ user: 'reader', accessToken: 'token' });
const began = performance.now();
const ids = new Set();
let cursor = -1;
let isLast = false;
while (!isLast) {
  const page = await connection.getHistoryMessages({ targetId: thread, chatType: 'groupChat', pageSize: 50, cursor });
  for (const message of page.messages) ids.add(message.id);
  ({ cursor, isLast } = page);
}
const seconds = (performance.now() - began) / 1000;
process.stdout.write(JSON.stringify({ seconds, messages: ids.size }), () => process.exit(0));
