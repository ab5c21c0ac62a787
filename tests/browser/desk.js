// What the tests of this folder share: a browser, pages that remember what went wrong on them, and the API to make items with.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const setting = (name) => {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run these tests with scripts/test, or with cargo test --test command desk`);
  return value;
};

export const URL_OF_SERVER = setting('PERFORMER_DESK_URL');
export const USER = setting('PERFORMER_DESK_USER');
export const PASSWORD = setting('PERFORMER_DESK_PASSWORD');
const CLIENT = setting('PERFORMER_DESK_CLIENT');
const SECRET = setting('PERFORMER_DESK_SECRET');

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const AXE_TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** How long anything may take on a busy machine, in milliseconds. */
export const PATIENCE = 30_000;

/** Starts a browser. Whoever starts one closes it. */
export function launch() {
  // Chromium has no sandbox for root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: setting('PERFORMER_DESK_CHROMIUM'), args });
}

/** Opens a context of the browser: cookies of its own. */
export async function context(browser, options = {}) {
  const opened = await browser.newContext({ baseURL: URL_OF_SERVER, timezoneId: 'Europe/Berlin', locale: 'en-GB', ...options });
  opened.setDefaultTimeout(PATIENCE);
  return opened;
}

/** Signs in, and returns the state that makes other contexts signed in too. */
export async function signedIn(browser) {
  const opened = await context(browser);
  const page = await opened.newPage();
  await page.goto('/desk/login');
  await signIn(page);
  const state = await opened.storageState();
  await opened.close();
  return state;
}

export async function signIn(page) {
  await page.getByLabel('User').fill(USER);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
}

/** A page that remembers in `problems` what the browser complained about: errors of scripts, and all that its security policy refused. */
export async function watched(opened) {
  const page = await opened.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(`script: ${error.message}`));
  page.on('console', (message) => {
    // The page of an error is loaded with the status of that error.
    const isOfStatus = message.text().startsWith('Failed to load resource: the server responded with a status of 4');
    if (['error', 'warning'].includes(message.type()) && !isOfStatus) page.problems.push(`console: ${message.text()}`);
  });
  page.on('requestfailed', (request) => {
    // What ends with its page, or becomes a download, is no failure.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') page.problems.push(`request: ${request.url()} ${request.failure()?.errorText}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(URL_OF_SERVER) && !request.url().startsWith('data:')) page.problems.push(`foreign: ${request.url()}`);
  });
  return page;
}

/** What is wrong with the accessibility of a page, a line each; of these rules alone, if some are named. */
export async function violations(page, rules) {
  // Evaluated from outside the page, which its security policy does not forbid.
  if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(AXE);
  const found = await page.evaluate((runOnly) => globalThis.axe.run(document, { runOnly, resultTypes: ['violations'] }),
    rules ? { type: 'rule', values: rules } : { type: 'tag', values: AXE_TAGS });
  return found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html} (${node.failureSummary})`));
}

/** By how many pixels a page is wider than its window. */
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

let token;

/** A call of the API. */
export async function api(method, path, body) {
  if (!token) {
    const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: CLIENT, client_secret: SECRET });
    const answer = await fetch(`${URL_OF_SERVER}/identity_/connect/token`, { method: 'POST', body: form });
    token = (await answer.json()).access_token;
  }
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'x-uipath-folderpath': 'Shared' };
  const answer = await fetch(`${URL_OF_SERVER}${path}`, { method, headers, body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text === '' ? null : JSON.parse(text);
}

/** Creates a queue, whose failures are not retried by themselves. Returns its number. */
export async function createQueue(name) {
  return (await api('POST', '/odata/QueueDefinitions', { Name: name, AcceptAutomaticallyRetry: false, MaxNumberOfRetries: 0 })).Id;
}

/** Adds an item. Returns its number. */
export async function addItem(queue, reference, content = {}) {
  const itemData = { Name: queue, Reference: reference, SpecificContent: content };
  return (await api('POST', '/odata/Queues/UiPathODataSvc.AddQueueItem', { itemData })).Id;
}

/** Adds an item, and lets the first of the queue fail. Returns the number of that one. */
export async function addFailure(queue, reference, reason, content = {}) {
  await addItem(queue, reference, content);
  const { Id: id } = await api('POST', '/odata/Queues/UiPathODataSvc.StartTransaction', { transactionData: { Name: queue } });
  const ProcessingException = { Reason: reason, Type: 'BusinessException' };
  await api('POST', `/odata/Queues(${id})/UiPathODataSvc.SetTransactionResult`, { transactionResult: { IsSuccessful: false, ProcessingException } });
  return id;
}

export const reviewStatus = async (id) => (await api('GET', `/odata/QueueItems(${id})`)).ReviewStatus;

/** Starts a job on the queue Invoices, whose robots are idle, and two transactions, so that something is InProgress. */
export async function startWork() {
  await api('POST', '/api/Performer/StartJob', { queue: 'Invoices', machine: 'robots-2', processId: 812, version: '1.4.3', robots: 2, lease: 3_600_000 });
  for (let at = 0; at < 2; at += 1) await api('POST', '/odata/Queues/UiPathODataSvc.StartTransaction', { transactionData: { Name: 'Invoices' } });
}
