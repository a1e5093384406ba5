// The official SDK for receive.py: logs in, receives all messages, and measures its own time.
//
//   node sdk_receive.mjs '{"appKey":…,"url":…,"apiUrl":…,"count":…}'   → {"seconds":…, "received":…}
import { createRequire } from 'node:module';
import { enterBrowserWorld } from '../tests/peer/browser_world.mjs';

const { count, ...where } = JSON.parse(process.argv[2]);
const require = createRequire(new URL('../tests/peer/driver.mjs', import.meta.url));
const loaded = require(enterBrowserWorld());
const sdk = loaded.default ?? loaded;
sdk.logger.disableAll();

const connection = new sdk.connection({ isHttpDNS: false, https: false, isFixedDeviceId: false, ...where });
let began;
let received = 0;
const everything = new Promise((resolve) => {
  connection.addEventHandler('benchmark', {
    onTextMessage: () => {
      began ??= performance.now();
      received += 1;
      if (received === count) resolve(performance.now());
    },
  });
});
await connection.open({ user: 'reader', accessToken: 'token' });
const ended = await everything;
process.stdout.write(JSON.stringify({ seconds: (ended - began) / 1000, received }), () => process.exit(0));
