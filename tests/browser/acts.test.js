// What people do without a mouse and without JavaScript, what an item may bring, and what happens when something changes meanwhile.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  PASSWORD, USER, addFailure, addItem, api, context, createQueue, launch, overflow, reviewStatus, signIn, signedIn, violations, watched,
} from './desk.js';

let browser;
let state;
before(async () => {
  browser = await launch();
  state = await signedIn(browser);
});
after(() => browser?.close());

const failures = async (queue, count) => {
  const ids = [];
  for (let at = 0; at < count; at += 1) ids.push(await addFailure(queue, `${queue}-${at}`, `customer ${at} is unknown`));
  return ids;
};

test('without JavaScript every page reads and every act works', async () => {
  const queue = await createQueue('NoScript');
  const [first, second] = await failures('NoScript', 2);
  const waiting = await addItem('NoScript', 'NoScript-new', { Total: 1 });
  const page = await watched(await context(browser, { javaScriptEnabled: false, viewport: { width: 360, height: 740 } }));
  await page.goto('/desk');
  await signIn(page);
  for (const path of ['/desk', '/desk/queues', `/desk/queues/${queue}`, '/desk/items?queue=NoScript', `/desk/items/${first}`,
    '/desk/reasons', '/desk/review?queue=NoScript', '/desk/jobs', '/desk/health']) {
    const answer = await page.goto(path);
    assert.equal(answer.status(), 200, path);
    assert.ok(await page.getByRole('heading', { level: 1 }).isVisible(), path);
  }
  const item = async (id) => page.goto(`/desk/items/${id}`);
  await item(first);
  await page.getByLabel('Comment').first().fill('seen without a script');
  // Enter in a field sends no form.
  await page.getByLabel('Comment').first().press('Enter');
  assert.equal(await reviewStatus(first), 'None', 'Enter in a comment reviews nothing');
  await page.getByRole('button', { name: 'Verified' }).click();
  await page.getByText('1 item is verified.').waitFor();
  assert.ok(await page.locator('blockquote', { hasText: 'seen without a script' }).isVisible());
  await item(second);
  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  assert.equal(await reviewStatus(second), 'Retried');
  await item(waiting);
  await page.getByRole('link', { name: 'Edit' }).click();
  await page.getByLabel('Content, as JSON').fill('{"Total": 2}');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('1 item is changed.').waitFor();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByText('1 item is deleted.').waitFor();
  await page.goto(`/desk/queues/${queue}`);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('The queue is paused').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByLabel('Most items InProgress').fill('3');
  await page.getByRole('button', { name: 'Set the limits' }).click();
  assert.equal(await page.getByLabel('Most items InProgress').inputValue(), '3');
  await page.getByRole('button', { name: /Dark/ }).click();
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  await page.getByRole('button', { name: 'Sign out' }).click();
  assert.match(page.url(), /\/desk\/login$/);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test('by keyboard alone: sign in, find, review ten', async () => {
  await createQueue('Keyboard');
  const ids = await failures('Keyboard', 12);
  const page = await watched(await context(browser));
  const { keyboard } = page;
  const press = async (...keys) => { for (const key of keys) await keyboard.press(key); };
  await page.goto('/desk/login');
  // The first field has the focus.
  await keyboard.type(USER);
  await press('Tab');
  await keyboard.type(PASSWORD);
  await press('Enter');
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  await page.waitForLoadState(); // a key that comes before the script of the page is lost
  await press('g', 'i');
  await page.waitForURL('**/desk/items');
  await press('/');
  await keyboard.type('Keyboard');
  await press('Enter');
  await page.getByText('Items that match: 12').waitFor();
  await page.waitForLoadState();
  // Two by selection in the list …
  await press('j', 'x', 'j', 'x', 'k');
  await page.getByText('2 selected').waitFor();
  const [, second] = await page.locator('tbody tr').all();
  assert.equal(await second.getByRole('checkbox').isChecked(), true);
  // … and one is opened and left again.
  await press('Enter');
  await page.waitForURL('**/desk/items/*');
  await press('u');
  await page.waitForURL('**/desk/items?**');
  // Ten in the inbox.
  await page.goto('/desk/review?queue=Keyboard');
  await press('c');
  await keyboard.type('known');
  await press('Escape', 'v');
  for (let left = 11; left > 2; left -= 1) {
    await page.getByText(`Items to be settled here: ${left}`, { exact: true }).waitFor();
    await page.waitForLoadState();
    await press(left % 2 === 0 ? 'v' : 'r');
  }
  await page.getByText('Items to be settled here: 2', { exact: true }).waitFor();
  await page.waitForLoadState();
  await press('m');
  await page.getByText('1 item is assigned.').waitFor();
  await page.waitForLoadState();
  const here = page.url();
  await press('n');
  await page.waitForURL((url) => url.href !== here && url.searchParams.has('after'));
  await press('e');
  await page.waitForURL('**/desk/items/*');
  const settled = await Promise.all(ids.map(reviewStatus));
  assert.equal(settled.filter((status) => status === 'Verified').length, 5);
  assert.equal(settled.filter((status) => status === 'Retried').length, 5);

  // A key has no meaning while a text is written, nor when shortcuts are switched off.
  await page.goto('/desk/review?queue=Keyboard');
  await press('?');
  await page.getByRole('dialog').waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'Switch the shortcuts off' }).click();
  await press('v', 'r', 'g', 'h');
  await page.getByText('Items to be settled here: 2', { exact: true }).waitFor();
  assert.match(page.url(), /\/desk\/review/);
  await page.getByRole('button', { name: 'Keyboard shortcuts' }).focus();
  await press('Enter');
  await page.getByRole('button', { name: 'Switch the shortcuts on' }).click();
  await press('t');
  await page.locator('html[data-theme=dark]').waitFor();
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test('whatever an item brings is shown as a text', async () => {
  await createQueue('Content');
  const evil = '"\'><script>globalThis.ran = 1</script><img src=x onerror="globalThis.ran = 1">';
  const content = JSON.stringify({
    script: evil, '<script>alert(3)</script>': 'name', rtl: 'שלום \u202egnp.exe', control: 'a\u0000b\u001b[31m', big: 0,
    long: 'x'.repeat(5000), lines: 'one\ntwo', huge: 'Lorem ipsum dolor sit amet. '.repeat(8_000), // nearly as much as an item may have
  }).replace('"big":0', '"big":9007199254740993');
  const itemData = `{"itemData":{"Name":"Content","Reference":${JSON.stringify(evil.slice(0, 100))},"SpecificContent":${content}}}`;
  const { Id: id } = await api('POST', '/odata/Queues/UiPathODataSvc.AddQueueItem', itemData);
  await api('POST', '/odata/Queues/UiPathODataSvc.StartTransaction', { transactionData: { Name: 'Content' } });
  const ProcessingException = { Reason: evil, Details: `${evil}\n  at <b>x</b>`, Type: 'BusinessException' };
  await api('POST', `/odata/Queues(${id})/UiPathODataSvc.SetTransactionResult`, { transactionResult: { IsSuccessful: false, ProcessingException } });
  const page = await watched(await context(browser, { storageState: state, viewport: { width: 360, height: 740 } }));
  for (const path of [`/desk/items/${id}`, '/desk/items?queue=Content', '/desk/review?queue=Content', '/desk/reasons', '/desk']) {
    await page.goto(path);
    assert.equal(await page.evaluate(() => globalThis.ran), undefined, path);
    assert.equal(await page.locator('img').count(), 0, path);
    assert.ok(await overflow(page) <= 0, `${path}: ${await overflow(page)} px too wide`);
  }
  await page.goto(`/desk/items/${id}`);
  const members = await page.locator('table.members').first().innerText();
  for (const shown of ['9007199254740993', 'a␀b␛[31m', '⟨U+202E⟩', '<script>globalThis.ran = 1</script>', 'שלום']) {
    assert.ok(members.includes(shown), shown);
  }
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test('what changed between the page and the act is refused, and the rest is done', async () => {
  await createQueue('Race');
  const [first, second] = await failures('Race', 2);
  const [mine, other] = [await context(browser, { storageState: state }), await context(browser, { storageState: state })];
  const [page, colleague] = [await watched(mine), await watched(other)];
  await page.goto('/desk/items?queue=Race');
  for (const id of [first, second]) await page.getByRole('checkbox', { name: `Select item ${id}` }).check();
  await colleague.goto(`/desk/items/${first}`);
  await colleague.getByRole('button', { name: 'In review' }).click();
  await colleague.getByText('1 item is in review.').waitFor();
  await page.getByRole('button', { name: 'Verified' }).click();
  await page.getByText('1 done, 1 refused').waitFor();
  assert.ok(await page.getByText('It has changed since you opened the page').isVisible());
  assert.deepEqual(await violations(page), []);
  await page.getByRole('link', { name: 'Back' }).click();
  await page.waitForURL('**/desk/items?queue=Race');
  assert.deepEqual([await reviewStatus(first), await reviewStatus(second)], ['InReview', 'Verified']);
  await mine.close();
  await other.close();
});

test('an act after the end of the session changes nothing, and the way back is shown', async () => {
  await createQueue('Session');
  const [id] = await failures('Session', 1);
  const opened = await context(browser);
  const page = await watched(opened);
  await page.goto('/desk/login');
  await signIn(page);
  await page.goto(`/desk/items/${id}`);
  const elsewhere = await watched(opened);
  await elsewhere.goto('/desk');
  await elsewhere.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Verified' }).click();
  await page.getByText('Your session has ended').waitFor();
  assert.equal(await reviewStatus(id), 'None');
  assert.deepEqual(await violations(page), []);
  await page.getByRole('link', { name: 'Sign in' }).click();
  await signIn(page);
  await opened.close();
});
