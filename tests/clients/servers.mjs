// encke-dump against servers of Node: the package ws, and server-sent events. servers.mjs ENCKE-DUMP
import http from 'node:http';
import { execFile } from 'node:child_process';
import { WebSocketServer } from 'ws';
import { check, finish, same, until } from './relay.mjs';

const dump = process.argv[2];
const run = (...arguments_) => new Promise(done => execFile(dump, arguments_, { timeout: 30000 }, (why, out, err) =>
  done({ code: why ? why.code : 0, err, messages: out.split('\n').filter(line => line).map(line => JSON.parse(line)) })));
const listening = server => new Promise(done => server.listen(0, '127.0.0.1', () => done(server.address().port)));

await check('a WebSocket of ws', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: true }), seen = [];
  await new Promise(done => server.on('listening', done));
  server.on('connection', (socket, request) => {
    seen.push(request.url);
    socket.on('pong', data => seen.push(`pong ${data}`));
    socket.on('close', code => seen.push(code));
    socket.send('he', { fin: false });
    socket.ping('between');
    socket.send('llo', { fin: true });
    socket.send(Buffer.alloc(70000, 1));
  });
  const { code, messages } = await run('-j', '-n', '2', `ws://127.0.0.1:${server.address().port}/feed?x=y`);
  same(code, 0);
  same(messages[0], { channel: 'feed', type: 'text/plain; charset=utf-8', data: 'hello' });
  same(messages[1].data, '\x01'.repeat(70000));
  await until(() => seen.includes(1001), 'it says that it leaves');
  same(seen, ['/feed?x=y', 'pong between', 1001]);
  server.close();
});

await check('server-sent events, cut and resumed', async () => {
  const asked = [];
  const server = http.createServer((request, response) => {
    const since = Number(request.headers['last-event-id'] || 0);
    asked.push(since);
    if (since >= 6) return response.writeHead(204).end();
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write('retry: 10\n\n');
    for (let i = since + 1; i <= since + 2; i++) response.write(`: comment\r\nid: ${i}\r\nevent: number\r\ndata: ${i}\r\ndata\r\n\r\n`);
    response.write(`id: ${since + 3}\ndata: cut`, () => request.socket.destroySoon());
  });
  const port = await listening(server);
  const { code, messages } = await run('-j', '-q', `http://127.0.0.1:${port}/`);
  same(code, 0);
  same(messages.map(message => `${message.event} ${message.data}`), [1, 2, 3, 4, 5, 6].map(i => `number ${i}\n`));
  same(asked, [0, 2, 4, 6]);
  server.close();
});

finish('servers');
