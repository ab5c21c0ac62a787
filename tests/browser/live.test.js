// Numbers change while a page is open, and nothing that a person is doing is disturbed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { addFailure, addItem, api, context, createQueue, launch, signedIn, watched } from './desk.js';

let browser;
let state;
before(async () => {
  browser = await launch();
  state = await signedIn(browser);
});
after(() => browser?.close());

const facet = (page, status) => page.locator('ul.counts a', { hasText: status }).locator('b');
const rows = (page) => page.locator('tbody tr th').allInnerTexts();

test('numbers change in place, and rows stay where they are', async () => {
  await createQueue('Live');
  for (let at = 0; at < 30; at += 1) await addItem('Live', `L-${at}`);
  const page = await watched(await context(browser, { storageState: state, viewport: { width: 1000, height: 500 } }));
  await page.goto('/desk/items?queue=Live');
  await page.evaluate(() => { globalThis.isSamePage = true; });
  const before = await rows(page);
  await page.locator('tbody tr').nth(12).getByRole('link').first().focus();
  await page.evaluate(() => scrollTo(0, 300));
  const place = () => page.evaluate(() => [scrollY, document.activeElement.textContent, document.querySelector('tbody tr').getBoundingClientRect().top]);
  const placed = await place();
  await addFailure('Live', 'L-last', 'wrong');
  const queueItems = Array.from({ length: 60 }, (_, at) => ({ Name: 'Live', Reference: `M-${at}`, SpecificContent: {} }));
  await api('POST', '/odata/Queues/UiPathODataSvc.BulkAddQueueItems', { queueName: 'Live', commitType: 'StopOnFirstFailure', queueItems });
  await page.getByRole('link', { name: '61 newer' }).waitFor();
  await page.waitForFunction(() => document.querySelector('ul.counts b').textContent === '90');
  assert.equal(await facet(page, 'Failed').innerText(), '1');
  assert.deepEqual(await place(), placed, 'scroll, focus and rows');
  assert.deepEqual(await rows(page), before);
  assert.equal(await page.evaluate(() => globalThis.isSamePage), true);
  await page.getByRole('link', { name: '61 newer' }).click();
  assert.equal((await rows(page)).length, 50);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test('a selection, a form and the reader hold changes back', async () => {
  await createQueue('Busy');
  await addItem('Busy', 'B-0');
  const page = await watched(await context(browser, { storageState: state }));
  await page.goto('/desk/items?queue=Busy');
  const isSaid = async (count) => {
    await page.waitForFunction((wanted) => document.querySelector('ul.counts b').textContent === wanted, String(count));
  };
  const heldBack = page.getByText('Numbers have changed; they are shown when you are done here.');
  /** Adds an item, and waits until the page has heard of it and holds it back. */
  const change = async (count) => {
    await addItem('Busy', `B-${count}`);
    await heldBack.waitFor();
  };
  await isSaid(1);
  await page.getByRole('checkbox', { name: /^Select item/ }).check();
  await change(1);
  assert.equal(await facet(page, 'New').innerText(), '1', 'a selection holds it back');
  await page.getByRole('checkbox', { name: /^Select item/ }).uncheck();
  await isSaid(2);
  await page.getByLabel('Reference', { exact: true }).fill('B-');
  await change(2);
  assert.equal(await facet(page, 'New').innerText(), '2', 'a form holds it back');
  assert.equal(await page.getByLabel('Reference', { exact: true }).inputValue(), 'B-');
  await page.keyboard.press('Escape');
  await isSaid(3);
  await heldBack.waitFor({ state: 'hidden' });
  const closed = page.waitForEvent('requestfailed', (request) => request.url().includes('/desk/events'));
  await page.keyboard.press('.');
  await page.getByText('Live updates are paused').waitFor();
  await closed;
  const other = await watched(page.context());
  await other.goto('/desk/items?queue=Busy');
  await addItem('Busy', 'B-3');
  await other.waitForFunction(() => document.querySelector('ul.counts b').textContent === '4');
  assert.equal(await facet(page, 'New').innerText(), '3', 'the reader holds it back');
  await page.keyboard.press('.');
  await isSaid(4);
  await page.context().close();
});

test('a hidden tab has no stream', async () => {
  const page = await watched(await context(browser, { storageState: state }));
  const isStream = (request) => request.url().includes('/desk/events');
  const opened = page.waitForRequest(isStream);
  await page.goto('/desk');
  await opened;
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  const closed = page.waitForEvent('requestfailed', isStream);
  await hide(true);
  await closed;
  const again = page.waitForRequest(isStream);
  await hide(false);
  await again;
  await page.context().close();
});
