// Chromium: two tabs of the message bus's own chat, a cut, and a bus that is started anew. bus.mjs ENCKE-BUS DOCUMENTS WORK
import { chromium } from 'playwright-core';
import { spawn } from 'node:child_process';
import net from 'node:net';
import { check, finish, relay, same, until } from './relay.mjs';

const [program, documents, work] = process.argv.slice(2);
const free = await new Promise(done => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

// A bus that is ready, on that port.
async function start() {
  const bus = spawn(program, ['--listen', `127.0.0.1:${free}`, '-d', documents], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  bus.over = new Promise(done => bus.on('exit', done));
  bus.stdout.on('data', data => { said += data; });
  await until(() => /^ready$/m.test(said), 'the bus is ready');
  return bus;
}
const say = text => fetch(`http://127.0.0.1:${free}/msgbus/chatdemo`, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: text });
// What stands in the log of a page: "name: text", or the text of a note.
const log = page => page.locator('#log li').evaluateAll(lines => lines.map(line => {
  const name = line.querySelector('b'), text = [...line.childNodes].filter(node => node.nodeType === 3).map(node => node.data).join('');
  return name ? `${name.textContent}: ${text}` : text;
}));
const state = page => page.locator('#state').textContent();

const browser = await chromium.launchPersistentContext(`${work}/profile-bus`, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
let bus = await start();
const way = await relay(free), tabs = [], wanted = [];
const both = async what => {
  for (const page of tabs) {
    await until(async () => (await log(page)).length >= wanted.length, what);
    same(await log(page), wanted);
  }
};
const everywhere = async (text, what) => { for (const page of tabs) await until(async () => (await state(page)) === text, what); };
async function speak(page, name, text) {
  await page.locator('#name').fill(name);
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
}

await check('two tabs chat', async () => {
  for (let i = 0; i < 2; i++) {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${way.port}/`);
    tabs.push(page);
  }
  await everywhere('connected', 'both are connected');
  await speak(tabs[0], 'anna', 'hello: from <b>anna</b>');
  wanted.push('anna: hello: from <b>anna</b>');
  await both('the word of anna');
  await speak(tabs[1], 'bert', 'and from bert');
  wanted.push('bert: and from bert');
  await both('both words');
});

await check('nothing is missed over a cut', async () => {
  way.refuses = true;
  way.cut();
  await everywhere('lost, trying again', 'the cut is seen');
  for (let i = 0; i < 5; i++) {
    await say(`shell: while you were away ${i}`);
    wanted.push(`shell: while you were away ${i}`);
  }
  way.refuses = false;
  await both('what was missed');
});

await check('a bus that is started anew has kept nothing, and the page says so', async () => {
  bus.kill('SIGTERM');
  same(await bus.over, 0);
  await everywhere('lost, trying again', 'the end of the bus is seen');
  await speak(tabs[0], 'anna', 'to nobody');
  await until(async () => (await log(tabs[0])).some(line => line.startsWith('not sent: ')), 'it was not sent');
  same(await tabs[0].locator('#text').inputValue(), 'to nobody'); // nothing that was written is lost
  const notes = (await log(tabs[0])).length;
  bus = await start();
  for (const page of tabs) await until(async () => (await log(page)).includes('something may be missing here'), 'the page says so');
  await everywhere('connected', 'both are back');
  await tabs[0].locator('#text').press('Enter');
  for (let i = 0; i < 3; i++) await say(`shell: after it ${i}`);
  const after = ['anna: to nobody', 'shell: after it 0', 'shell: after it 1', 'shell: after it 2'];
  for (const page of tabs) {
    await until(async () => (await log(page)).length >= wanted.length + 5, 'what came after it');
    same((await log(page)).slice(-5).sort(), ['something may be missing here', ...after].sort());
    same((await log(page)).slice(-3), after.slice(-3));
  }
  same((await log(tabs[0])).length, notes + 5);
  await tabs[0].screenshot({ path: `${work}/bus-chat.png` });
});

await browser.close();
way.close();
bus.kill('SIGTERM');
await bus.over;
finish('bus');
