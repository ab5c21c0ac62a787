// A person who has never seen the desk: finds yesterday's failures by their reason, retries five of them and then the rest, marks ten
// others Verified by keyboard, and exports what is left. Only what is written on the pages is used.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { context, launch, signIn, watched } from './desk.js';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

const numberIn = (text) => Number(text.replace(/\D/g, ''));

test('yesterday\'s failures are found, retried, reviewed and exported', async () => {
  const page = await watched(await context(browser));
  await page.goto('/desk');
  await signIn(page);

  // By reason: the ledger did not answer.
  await page.getByRole('navigation', { name: 'Sections' }).getByRole('link', { name: 'Reasons' }).click();
  await page.getByRole('link', { name: /^the ledger did not answer/ }).click();
  await page.locator('dt:text-is("To be settled") + dd a').click();
  await page.getByLabel('Ended', { exact: true }).fill('yesterday');
  await page.getByRole('button', { name: 'Filter' }).click();
  const rows = page.locator('tbody tr');
  const all = await rows.count();
  assert.ok(all > 5, `${all} failures of yesterday`);
  assert.match(await rows.first().innerText(), /the ledger did not answer/);

  // Five of them, as a trial.
  const boxes = page.getByRole('checkbox', { name: /^Select item/ });
  for (let at = 0; at < 5; at += 1) await boxes.nth(at).check();
  await page.getByText('5 selected').waitFor();
  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  await page.getByText('5 items are retried: a copy of each is New.').waitFor();
  assert.equal(await rows.count(), all - 5, 'the filter has stayed, and the five have left the list');

  // The rest.
  await page.getByRole('checkbox', { name: 'Select all rows' }).check();
  await page.getByText(`${all - 5} selected`).waitFor();
  await page.getByRole('button', { name: 'Retry', exact: true }).click();
  await page.getByText(/are retried: a copy of each is New|is retried/).waitFor();
  await page.getByText('No item matches').waitFor();

  // Ten others, by keyboard.
  await page.getByRole('navigation', { name: 'Sections' }).getByRole('link', { name: 'Review' }).click();
  await page.getByLabel('Queue').fill('Invoices');
  await page.getByRole('button', { name: 'Show' }).click();
  const left = page.getByText(/^Items to be settled here/);
  const before = numberIn(await left.innerText());
  assert.ok(before > 10, `${before} failures are left`);
  for (let count = 1; count <= 10; count += 1) {
    await page.keyboard.press('v');
    await page.getByText(`Items to be settled here: ${before - count}`, { exact: true }).waitFor();
  }

  // What is left, as a file.
  await page.getByRole('link', { name: 'performer desk' }).click();
  await page.locator('section', { hasText: 'Failures to be settled' }).getByRole('link', { name: 'Invoices' }).click();
  await page.getByText(`Items that match: ${before - 10}`).waitFor();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'CSV' }).click();
  const file = await (await download).path();
  const lines = (await readFile(file, 'utf8')).trim().split('\r\n');
  assert.equal(lines.length - 1, before - 10, lines.slice(0, 3).join('\n'));
  assert.deepEqual(page.problems, []);
});
