// Pictures of all pages, light and dark, small and large: for people to look at. PERFORMER_SCREENSHOTS names the folder. With
// PERFORMER_PICTURES only those of the documentation, beside each the same picture as a data URL, for docs.rs.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { context, launch, signedIn, startWork } from './desk.js';
import { smallPng } from './small_png.js';

const folder = process.env.PERFORMER_SCREENSHOTS;
await mkdir(folder, { recursive: true });
if (!process.env.PERFORMER_SCREENSHOTS_STORE) await startWork();
const browser = await launch();
const storageState = await signedIn(browser);

/** The first link of a page that begins with a path. */
async function first(page, path, prefix) {
  await page.goto(path);
  const link = page.locator(`main a[href^="${prefix}"]`).first();
  return await link.count() > 0 ? link.getAttribute('href') : null;
}

/** The oldest job of the list: it has done something. */
async function lastJob(page) {
  await page.goto('/desk/jobs');
  const link = page.locator('tbody tr', { hasText: 'Successful' }).getByRole('link').first();
  return await link.count() > 0 ? link.getAttribute('href') : first(page, '/desk/jobs', '/desk/jobs/');
}

const opened = await context(browser, { storageState });
const page = await opened.newPage();
const failed = await first(page, '/desk/items?status=Failed&type=Application', '/desk/items/');
const pages = {
  login: null,
  start: '/desk', queues: '/desk/queues', queue: await first(page, '/desk/queues', '/desk/queues/'),
  items: '/desk/items', failures: '/desk/items?status=Failed&ended=yesterday', 'no-items': '/desk/items?ref=nothing',
  item: failed, new: await first(page, '/desk/items?status=New', '/desk/items/'),
  comparison: failed && await first(page, failed, `${failed}?diff=`),
  reasons: '/desk/reasons', reason: await first(page, '/desk/reasons', '/desk/reasons/'), review: '/desk/review',
  'review-end': '/desk/review?whose=mine', jobs: '/desk/jobs', job: await lastJob(page), health: '/desk/health',
  operations: '/desk/operations', deadlines: '/desk/deadlines', audit: '/desk/audit', views: '/desk/views',
  access: '/desk/access', user: await first(page, '/desk/access', '/desk/access/users/'), folder: '/desk/access/folders/1',
  error: '/desk/items/999999999',
};
await opened.close();

/** The pictures of the documentation: name, page, theme, width and height. */
const PICTURES = [
  ['desk-start', pages.start, 'light', 1280, 660], ['desk-items', pages.failures, 'dark', 1280, 660],
  ['desk-queue', pages.queue, 'light', 1280, 720], ['desk-review', pages.review, 'dark', 360, 720],
];

if (process.env.PERFORMER_PICTURES) {
  for (const [name, path, colorScheme, width, height] of PICTURES) {
    const reader = await context(browser, { storageState, colorScheme, viewport: { width, height } });
    const shown = await reader.newPage();
    await shown.goto(path);
    const png = await smallPng(browser, await shown.screenshot());
    await writeFile(join(folder, `${name}.png`), png);
    await writeFile(join(folder, `${name}.png.url`), `data:image/png;base64,${png.toString('base64')}`);
    await reader.close();
  }
  await browser.close();
  process.exit();
}

for (const colorScheme of ['light', 'dark']) {
  for (const width of [360, 1280]) {
    const viewport = { width, height: width === 360 ? 780 : 800 };
    const options = { colorScheme, viewport };
    const reader = await context(browser, { ...options, storageState });
    const stranger = await context(browser, options);
    for (const [name, path] of Object.entries(pages)) {
      if (path === null && name !== 'login') continue;
      const shown = await (name === 'login' ? stranger : reader).newPage();
      await shown.goto(path ?? '/desk/login');
      await shown.screenshot({ path: join(folder, `${name}-${colorScheme}-${width}.png`) });
      await shown.close();
    }
    await reader.close();
    await stranger.close();
  }
}
await browser.close();
