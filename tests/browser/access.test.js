// Personal fields and access: what is masked is shown for a reason and once, and people manage who may do what. All pages of that are
// accessible, light and dark, on a phone and on a desk.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { addFailure, api, context, launch, overflow, signedIn, violations, watched } from './desk.js';

const SIZES = [{ width: 360, height: 740 }, { width: 1280, height: 900 }];
const IBAN = 'DE89370400440532013000';

let browser;
let state;
before(async () => {
  browser = await launch();
  state = await signedIn(browser);
});
after(() => browser?.close());

/** Fails unless what a page shows now is sound in both themes and sizes. */
async function assertSound(page, what) {
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const size of SIZES) {
      await page.setViewportSize(size);
      const wide = await overflow(page);
      found.push(...await violations(page), ...(wide > 0 ? [`${wide} px too wide`] : []), ...page.problems.splice(0));
    }
  }
  assert.deepEqual(found, [], what);
}

async function signInAs(page, user, password) {
  await page.getByLabel('User').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** A failed item of a queue with a personal field. Returns its number. */
async function personalItem(queue) {
  const schema = JSON.stringify({ properties: { Iban: { 'x-personal': true }, Total: { type: 'number' } } });
  await api('POST', '/odata/QueueDefinitions', { Name: queue, MaxNumberOfRetries: 0, SpecificDataJsonSchema: schema });
  return addFailure(queue, `${queue}-1`, 'wrong', { Iban: IBAN, Total: 17.5 });
}

test('personal fields are masked, revealed for a reason, and masked again', async () => {
  const item = await personalItem('Salaries');
  const page = await watched(await context(browser, { storageState: state }));
  const isShown = async () => (await page.content()).includes(IBAN);
  for (const path of [`/desk/items/${item}`, `/desk/items/${item}/correct`, '/desk/items?queue=Salaries', '/desk/review?queue=Salaries']) {
    await page.goto(path);
    assert.equal(await isShown(), false, path);
  }
  await page.goto(`/desk/items/${item}`);
  await page.getByText('Personal fields are masked: SpecificContent.Iban').waitFor();
  await assertSound(page, 'masked item');
  // Without a reason the browser does not even send it.
  await page.getByRole('button', { name: 'Reveal' }).click();
  assert.equal(await page.getByLabel('Why you need to see them').evaluate((field) => field.validity.valueMissing), true);
  await page.getByLabel('Why you need to see them').fill('the employee asked');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'with its personal fields' }).waitFor();
  assert.equal(await isShown(), true);
  await assertSound(page, 'revealed item');
  await page.getByRole('link', { name: 'Back to the masked item' }).click();
  await page.getByRole('heading', { name: `Item ${item}` }).waitFor();
  assert.equal(await isShown(), false, 'what was shown once is masked again');
  await page.goto('/desk/audit?act=PersonalRevealed');
  await page.getByText('the employee asked').waitFor();
  assert.equal(await isShown(), false);
  await page.context().close();
});

test('reading works without JavaScript, and so does a reveal', async () => {
  const item = await personalItem('Pensions');
  const page = await watched(await context(browser, { storageState: state, javaScriptEnabled: false }));
  await page.goto(`/desk/items/${item}`);
  await page.getByLabel('Why you need to see them').fill('a test');
  await page.getByRole('button', { name: 'Reveal' }).click();
  await page.getByText(IBAN).waitFor();
  await page.context().close();
});

test('a user is added, given roles in a folder, disabled, and sees no more than it may', async () => {
  const page = await watched(await context(browser, { storageState: state }));
  await page.goto('/desk');
  await page.getByRole('link', { name: 'Access' }).click();
  await assertSound(page, 'access');
  await page.getByText('New user').click();
  await assertSound(page, 'the form of a new user');
  await page.getByLabel('Name to sign in with').fill('carl');
  await page.getByLabel('Password, at least 8 characters').fill('a password of carl');
  const form = page.locator('form[action="/desk/access/users"]');
  await form.getByLabel('Roles in').selectOption({ label: 'Shared' });
  await form.getByLabel('Automation User').uncheck();
  await form.getByLabel('Viewer').check();
  await page.getByRole('button', { name: 'Add the user' }).click();
  await page.getByRole('heading', { name: 'carl' }).waitFor();
  await assertSound(page, 'user');
  const own = page.url();

  const his = await watched(await context(browser));
  await his.goto('/desk/login');
  await signInAs(his, 'carl', 'a password of carl');
  await his.getByRole('link', { name: 'Access' }).click();
  await his.getByRole('heading', { name: 'What you may do, carl' }).waitFor();
  assert.equal(await his.getByRole('heading', { name: 'Users' }).count(), 0);
  await his.getByRole('link', { name: 'Shared' }).first().click();
  await his.getByRole('heading', { name: 'Folder Shared' }).waitFor();
  assert.equal(await his.getByRole('button', { name: 'Set the roles' }).count(), 0);
  await assertSound(his, 'folder, for a reader');

  await page.goto('/desk/access/folders/1');
  await page.getByText('Change the roles of carl').click();
  await assertSound(page, 'folder');
  await page.goto(own);
  await page.getByRole('button', { name: 'Disable' }).click();
  await page.getByText('Disabled').first().waitFor();
  // Wherever he goes now, he is not signed in.
  await his.goto('/desk/items');
  await his.getByRole('heading', { name: 'Sign in' }).waitFor();
  await his.context().close();
  await page.context().close();
});

test('a token is shown once, and a session ends from another one', async () => {
  // Sessions of a user of its own: other tests are signed in too.
  await api('POST', '/odata/Users', { UserName: 'dora', Password: 'a password of dora', RolesList: ['Viewer'] });
  const [page, other] = [await watched(await context(browser)), await watched(await context(browser))];
  for (const one of [other, page]) {
    await one.goto('/desk/login?next=/desk/access');
    await signInAs(one, 'dora', 'a password of dora');
    await one.getByRole('heading', { name: 'What you may do, dora' }).waitFor();
  }
  await page.reload();
  await page.getByText('New token').click();
  await page.getByLabel('Name', { exact: true }).first().fill('of a browser');
  await page.getByRole('button', { name: 'Make the token' }).click();
  const token = await page.locator('dd code').innerText();
  assert.match(token, /^pf_/);
  await assertSound(page, 'the token');
  await page.getByRole('link', { name: 'Done' }).click();
  assert.equal((await page.content()).includes(token), false);
  await page.getByRole('button', { name: 'Revoke of a browser' }).click();
  await page.getByText('Done: revoked.').waitFor();
  await page.getByRole('button', { name: 'End all others' }).click();
  await page.getByText('Done: the session is ended.').waitFor();
  await other.goto('/desk/access');
  await other.getByRole('heading', { name: 'Sign in' }).waitFor();
  await other.context().close();
  await page.context().close();
});

test('a view is saved, opened, renamed and deleted', async () => {
  const page = await watched(await context(browser, { storageState: state }));
  await page.goto('/desk/items?status=Failed&queue=Payments');
  await page.getByText('More: status').click();
  await page.getByRole('group', { name: 'Columns' }).getByLabel('queue').uncheck();
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  await page.waitForURL(/columns=/);
  await page.getByText('Save this as a view').click();
  const form = page.locator('form[action="/desk/views"]');
  await form.getByLabel('Name').fill('Payments that failed');
  await form.getByLabel('Seen by').selectOption({ label: 'Everybody in Shared' });
  await form.getByRole('button').click();
  const link = page.getByRole('link', { name: 'Payments that failed' });
  await link.waitFor();
  await assertSound(page, 'items with a view');
  await page.goto('/desk/items');
  await link.click();
  await page.waitForURL(/status=Failed/);
  assert.equal(await page.locator('table.items .of-queue').first().isVisible(), false);
  assert.equal(await page.locator('table.items .of-status').first().isVisible(), true);
  await page.getByRole('link', { name: 'Saved views' }).click();
  await page.getByText('Change Payments that failed').click();
  await assertSound(page, 'views');
  await page.getByLabel('Name').fill('Open payments');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Change Open payments').click();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Done: the view is deleted.').waitFor();
  await page.context().close();
});
