// Owns a way to a server that can be cut: connections die, and new ones are refused for a while.
import net from 'node:net';

export function relay(target) {
  const open = new Set();
  const way = { refuses: false, port: 0 };
  const server = net.createServer(client => {
    if (way.refuses) return client.destroy();
    const end = net.connect(target, '127.0.0.1');
    for (const [from, to] of [[client, end], [end, client]]) {
      open.add(from);
      from.on('data', data => to.write(data));
      from.on('end', () => to.end());
      from.on('error', () => {});
      from.on('close', () => { open.delete(from); to.destroy(); });
    }
  });
  way.cut = () => { for (const socket of open) socket.resetAndDestroy(); };
  way.close = () => { way.refuses = true; way.cut(); server.close(); };
  return new Promise(done => server.listen(0, '127.0.0.1', () => { way.port = server.address().port; done(way); }));
}

let failed = 0, passed = 0;
export async function check(name, f) {
  const late = new Promise((_, fail) => setTimeout(() => fail(new Error('not within a minute')), 60000).unref());
  try {
    await Promise.race([f(), late]);
    passed++;
  } catch (why) {
    failed++;
    console.log(`FAILED ${name}: ${why.stack || why}`);
  }
}
export function finish(what) {
  console.log(`${what}: ${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}
export function same(found, wanted) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${a} instead of ${b}`);
}
export async function until(condition, what) {
  for (let n = 0; n < 3000; n++) {
    if (await condition()) return;
    await new Promise(done => setTimeout(done, 10));
  }
  throw new Error(`not in time: ${what}`);
}
