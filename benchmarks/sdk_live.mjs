// The official SDK for live.py: sends and receives the same messages in one Node process, and measures its own time.
//
//   node sdk_live.mjs '{"appKey":…,"url":…,"apiUrl":…,"sender":[user,token],"receiver":[user,token],
//                       "thread":…,"rounds":[[count, inFlight],…]}'   → one JSON line a round
import { createRequire } from 'node:module';
import { enterBrowserWorld } from '../tests/peer/browser_world.mjs';

const { sender, receiver, thread, rounds, ...where } = JSON.parse(process.argv[2]);
const require = createRequire(new URL('../tests/peer/driver.mjs', import.meta.url));
const loaded = require(enterBrowserWorld());
const sdk = loaded.default ?? loaded;
sdk.logger.disableAll();

async function login([user, accessToken], events = {}) {
  const connection = new sdk.connection({ isHttpDNS: false, https: false, isFixedDeviceId: false, ...where });
  connection.addEventHandler('benchmark', events);
  await connection.open({ user, accessToken });
  return connection;
}

const sentAt = new Map();
let arrived = () => {};
const there = await login(receiver, { onTextMessage: (message) => arrived(message.msg) });
const here = await login(sender);

for (const [count, inFlight] of rounds) {
  const toAck = [];
  const toReceipt = [];
  const everything = new Promise((resolve) => {
    arrived = (words) => {
      if (!sentAt.has(words)) return;
      toReceipt.push(performance.now() - sentAt.get(words));
      if (toReceipt.length === count) resolve(performance.now());
    };
  });
  let next = 0;
  const began = performance.now();
  const lane = async () => {
    while (next < count) {
      const words = `sdk ${count} ${next += 1}`;
      const message = sdk.message.create({
        type: 'txt', chatType: 'groupChat', to: thread, isChatThread: true, msg: words,
      });
      const at = performance.now();
      sentAt.set(words, at);
      await here.send(message);
      toAck.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  const acknowledged = performance.now();
  const received = await everything;
  const figures = {
    seconds: (acknowledged - began) / 1000, received_seconds: (received - began) / 1000, toAck, toReceipt,
  };
  await new Promise((written) => { process.stdout.write(`${JSON.stringify(figures)}\n`, written); });
}
there.close();
here.close();
process.exit(0);
