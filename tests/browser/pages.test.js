// Each page, light and dark, on a phone and on a desk: accessible, no wider than its window, and without a complaint of the browser.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { api, context, launch, overflow, signedIn, startWork, violations, watched } from './desk.js';

const SIZES = [{ width: 360, height: 740 }, { width: 1280, height: 900 }];

let browser;
let state;
before(async () => {
  browser = await launch();
  state = await signedIn(browser);
});
after(() => browser?.close());

/** All pages, by what is on them. */
async function paths() {
  const queue = (await api('GET', "/odata/QueueDefinitions?$filter=Name eq 'Invoices'")).value[0].Id;
  const items = async (filter) => (await api('GET', `/odata/QueueItems?$filter=QueueDefinitionId eq ${queue} and ${filter}&$top=1`)).value[0].Id;
  const [failed, waiting, retried] = await Promise.all([
    items("Status eq 'Failed' and ProcessingExceptionType eq 'ApplicationException'"),
    items("Status eq 'New'"),
    items("Status eq 'Retried'"),
  ]);
  const page = await (await context(browser, { storageState: state })).newPage();
  const first = async (path, prefix) => {
    await page.goto(path);
    return page.locator(`main a[href^="${prefix}"]`).first().getAttribute('href');
  };
  const [job, reason] = [await first('/desk/jobs', '/desk/jobs/'), await first('/desk/reasons', '/desk/reasons/')];
  const user = await first('/desk/access', '/desk/access/users/');
  const compared = await first(`/desk/items/${failed}`, `/desk/items/${failed}?diff=`);
  await page.context().close();
  return {
    start: '/desk', queues: '/desk/queues', queue: `/desk/queues/${queue}`, 'queue of a week': `/desk/queues/${queue}?range=7d`,
    // Some rows are as good as many, and looked through sooner.
    items: '/desk/items?queue=Payments', 'items that failed': '/desk/items?queue=Invoices&status=Failed&ref=70010*', 'no items': '/desk/items?ref=nothing',
    'failed item': `/desk/items/${failed}`, 'item that waits': `/desk/items/${waiting}`, 'item that was retried': `/desk/items/${retried}`,
    comparison: compared, edit: `/desk/items/${waiting}/edit`, reasons: '/desk/reasons', reason, review: '/desk/review',
    'end of the review': '/desk/review?queue=Letters', jobs: '/desk/jobs', job, health: '/desk/health', error: '/desk/items/999999999',
    operations: '/desk/operations', deadlines: '/desk/deadlines', audit: '/desk/audit', access: '/desk/access', 'a user': user, 'a folder': '/desk/access/folders/1',
    views: '/desk/views',
  };
}

/** What is wrong with a page, a line each; of these rules alone, if some are named. */
async function faults(page, what, rules) {
  const wide = await overflow(page);
  const found = [...await violations(page, rules), ...(wide > 0 ? [`${wide} px too wide`] : []), ...page.problems.splice(0)];
  return found.map((fault) => `${what}: ${fault}`);
}

test('each page is sound, light and dark, small and large', async () => {
  await startWork();
  const all = await paths();
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    const opened = await context(browser, { storageState: state, colorScheme });
    const page = await watched(opened);
    for (const [name, path] of Object.entries(all)) {
      assert.ok(path, `there is no page: ${name}`);
      await page.setViewportSize(SIZES[0]);
      await page.goto(path);
      for (const size of SIZES) {
        await page.setViewportSize(size);
        // In the dark it is the same page in other colours.
        const rules = colorScheme === 'dark' ? ['color-contrast'] : undefined;
        found.push(...await faults(page, `${name} (${path}), ${colorScheme}, ${size.width} px`, rules));
      }
    }
    await opened.close();
    const stranger = await context(browser, { colorScheme, viewport: SIZES[0] });
    const login = await watched(stranger);
    await login.goto('/desk/items');
    assert.match(login.url(), /\/desk\/login\?next=/);
    found.push(...await faults(login, `login, ${colorScheme}`));
    await stranger.close();
  }
  assert.deepEqual(found, []);
});

test('what is seeded is found', async () => {
  const opened = await context(browser, { storageState: state });
  const page = await watched(opened);
  // Into the real page with its real headers.
  const seed = (html) => page.route('**/desk/health', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: (await answer.text()).replace('</main>', `${html}</main>`) });
  });
  for (const [html, rule] of [
    ['<img src="/desk/static/x.svg">', 'image-alt'],
    ['<button></button>', 'button-name'],
    ['<input name="x">', 'label'],
  ]) {
    await seed(html);
    await page.goto('/desk/health');
    const found = await violations(page);
    assert.ok(found.some((line) => line.startsWith(`${rule}:`)), `${html}: ${found.join('\n')}`);
    await page.unroute('**/desk/health');
  }
  page.problems.length = 0;
  await seed('<script>globalThis.seeded = true;</script><p style="color: red" id="styled">x</p>');
  await page.goto('/desk/health');
  assert.equal(await page.evaluate(() => globalThis.seeded), undefined, 'a script within a page never runs');
  assert.notEqual(await page.locator('#styled').evaluate((styled) => getComputedStyle(styled).color), 'rgb(255, 0, 0)');
  assert.equal(page.problems.filter((line) => line.includes('Content Security Policy')).length, 2, page.problems.join('\n'));
  await page.unroute('**/desk/health');
  await page.setViewportSize(SIZES[0]);
  await seed(`<pre class="wide">${'x'.repeat(400)}</pre><table><tr><td>${'<input size=90>'.repeat(2)}</td></tr></table>`);
  await page.goto('/desk/health');
  await page.evaluate(() => document.querySelector('main').append(Object.assign(document.createElement('img'), { width: 900, alt: '' })));
  assert.ok(await overflow(page) > 0, 'a page that is too wide is found');
  await opened.close();
});
