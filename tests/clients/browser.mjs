// Chromium: two tabs of the chat by each transport, a cut in between, and a picture that changes. browser.mjs CHAT CAMERA WORK
import { chromium } from 'playwright-core';
import { createHash } from 'node:crypto';
import { check, finish, relay, same, until } from './relay.mjs';

const [chat, camera, work] = process.argv.slice(2);
const browser = await chromium.launchPersistentContext(`${work}/profile`, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const say = (room, text) => fetch(`http://127.0.0.1:${chat}/room/${room}?name=host`, { method: 'POST', body: text });
const log = page => page.locator('#log p').allTextContents();

for (const by of ['sse', 'ws']) {
  await check(`chat by ${by}`, async () => {
    const way = await relay(Number(chat)), room = `browser-${by}`;
    const tabs = [];
    for (const name of ['anna', 'bert']) {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${way.port}/?name=${name}&room=${room}&by=${by}`);
      tabs.push(page);
    }
    for (const page of tabs) await until(async () => (await page.locator('#who').textContent()) === 'anna, bert' || (await page.locator('#who').textContent()) === 'bert, anna', 'both are here');
    await tabs[0].locator('#text').fill('hello from anna');
    await tabs[0].locator('#text').press('Enter');
    await until(async () => (await log(tabs[1])).length === 1, 'the word of anna');
    await tabs[1].locator('#text').fill('and from bert');
    await tabs[1].locator('#text').press('Enter');
    for (const page of tabs) await until(async () => (await log(page)).length === 2, 'both words');
    way.refuses = true;
    way.cut();
    for (const page of tabs) await until(async () => (await page.locator('#state').textContent()) === 'reconnecting', 'the cut is seen');
    for (let i = 0; i < 5; i++) await say(room, `while you were away ${i}`);
    way.refuses = false;
    const wanted = ['anna: hello from anna', 'bert: and from bert', ...Array.from({ length: 5 }, (_, i) => `host: while you were away ${i}`)];
    for (const page of tabs) {
      await until(async () => (await log(page)).length >= 7, 'what was missed');
      same(await log(page), wanted);
    }
    await tabs[0].screenshot({ path: `${work}/chat-${by}.png` });
    for (const page of tabs) await page.close();
    way.close();
  });
}

await check('the picture changes', async () => {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${camera}/`, { waitUntil: 'commit' });
  const image = page.locator('img');
  await until(() => image.evaluate(img => img.naturalWidth === 160 && img.naturalHeight === 120), 'a frame');
  const seen = new Set();
  await until(async () => seen.add(createHash('md5').update(await image.screenshot({ timeout: 10000 })).digest('hex')).size >= 3, 'three different frames');
  await image.screenshot({ path: `${work}/camera.png` });
  await page.close();
});

await browser.close();
finish('browser');
