// The clients of npm that programs use: eventsource and ws. node.mjs CHAT TESTBED (ports)
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { check, finish, relay, same, until } from './relay.mjs';

const [chat, testbed] = process.argv.slice(2).map(Number);
const say = (room, text) => fetch(`http://127.0.0.1:${chat}/room/${room}?name=host`, { method: 'POST', body: text });
const numbered = n => Array.from({ length: n }, (_, i) => `host: ${i}`);

await check('eventsource: nothing is missed over a cut', async () => {
  const way = await relay(chat), got = [], told = [];
  const source = new EventSource(`http://127.0.0.1:${way.port}/room/node-sse?name=node`);
  source.onmessage = event => got.push(event.data);
  source.addEventListener('recovered', event => told.push(event.data));
  await until(() => source.readyState === 1, 'open');
  await say('node-sse', '0');
  await until(() => got.length === 1, 'the first message');
  way.refuses = true;
  way.cut();
  for (let i = 1; i < 6; i++) await say('node-sse', `${i}`);
  way.refuses = false;
  await until(() => got.length === 6, 'all messages');
  same(got, numbered(6));
  same(told, ['yes']);
  source.close();
  way.close();
});

await check('ws: nothing is missed over a cut', async () => {
  const way = await relay(chat), got = [], told = [];
  let position, socket, open = 0;
  const connect = () => {
    socket = new WebSocket(`ws://127.0.0.1:${way.port}/room/node-ws?name=node${position ? `&since=${position}` : ''}`, 'encke.json');
    socket.on('open', () => open++);
    socket.on('error', () => {});
    socket.on('message', data => {
      const message = JSON.parse(data);
      position = message.position;
      if ('recovered' in message) told.push(message.recovered);
      if (message.data !== undefined && message.event !== 'who') got.push(message.data);
    });
  };
  connect();
  await until(() => open === 1 && position, 'open');
  await say('node-ws', '0');
  await until(() => got.length === 1, 'the first message');
  way.cut();
  for (let i = 1; i < 6; i++) await say('node-ws', `${i}`);
  connect();
  await until(() => got.length === 6, 'all messages');
  same(got, numbered(6));
  same(told, [true]);
  socket.terminate();
  way.close();
});

await check('ws: echo, compressed and not, pings, codes', async () => {
  for (const perMessageDeflate of [true, false]) {
    const socket = new WebSocket(`ws://127.0.0.1:${testbed}/echo`, { perMessageDeflate: perMessageDeflate && { threshold: 0 } });
    const got = [], pongs = [];
    socket.on('message', (data, binary) => got.push(binary ? data.length : data.toString()));
    socket.on('pong', data => pongs.push(data.toString()));
    await new Promise((done, fail) => socket.on('open', done).on('error', fail));
    same(socket.extensions, perMessageDeflate ? 'permessage-deflate' : '');
    for (const text of ['', 'grüße', 'x'.repeat(200000)]) socket.send(text);
    socket.send(Buffer.alloc(70000));
    socket.ping('are you there');
    await until(() => got.length === 4 && pongs.length === 1, 'the echo');
    same([got[0], got[1], got[2].length, got[3], pongs[0]], ['', 'grüße', 200000, 70000, 'are you there']);
    const closed = new Promise(done => socket.on('close', code => done([code])));
    socket.close(4000, 'bye');
    same((await closed)[0], 4000);
  }
});

await check('ws: a page of another server', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${testbed}/echo`, { origin: 'http://evil.example' });
  const answer = await new Promise((done, fail) => socket.on('unexpected-response', (_, response) => done(response)).on('open', fail).on('error', () => {}));
  same(answer.statusCode, 403);
  answer.destroy();
});

finish('node');
