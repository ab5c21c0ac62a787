// The desk. Every page is whole without this file: it shows times in the reader's time zone, adds keyboard shortcuts, and keeps numbers
// up to date.

const SHORTCUTS_OFF = 'desk-shortcuts-off';
const find = (selector) => document.querySelector(selector);
const findAll = (selector) => [...document.querySelectorAll(selector)];

function element(name, text = '', properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text, ...properties });
}

// Times

function showLocalTimes() {
  const now = new Date();
  const format = (options) => new Intl.DateTimeFormat(undefined, options);
  const clock = { hour: '2-digit', minute: '2-digit' };
  const today = format({ ...clock, second: '2-digit' });
  const thisYear = format({ day: 'numeric', month: 'short', ...clock });
  const earlier = format({ day: 'numeric', month: 'short', year: 'numeric', ...clock });
  for (const time of findAll('time[datetime]')) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const isToday = at.toDateString() === now.toDateString() && time.dataset.short === undefined;
    const chosen = isToday ? today : at.getFullYear() === now.getFullYear() ? thisYear : earlier;
    time.textContent = chosen.format(at);
  }
  const zone = find('.zone');
  if (zone) zone.textContent = `Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}; point at one to see it in UTC.`;
}

function remembered(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function remember(name, value) {
  try { if (value === null) localStorage.removeItem(name); else localStorage.setItem(name, value); } catch { /* a browser without storage */ }
}

// The rows of a list

const list = {
  at: -1,
  rows: () => findAll('tr[data-row]'),
  boxes: () => findAll('tr[data-row] input[type=checkbox]'),
  move(by) {
    const rows = this.rows();
    if (rows.length === 0) return false;
    rows[this.at]?.classList.remove('at');
    this.at = Math.min(Math.max(this.at + by, 0), rows.length - 1);
    rows[this.at].classList.add('at');
    rows[this.at].querySelector('th a')?.focus();
    return true;
  },
  select() {
    const box = this.rows()[this.at]?.querySelector('input[type=checkbox]');
    if (box) box.click();
    return Boolean(box);
  },
  selectAll(are = this.boxes().some((box) => !box.checked)) {
    const boxes = this.boxes();
    for (const box of boxes) box.checked = are;
    this.showSelection();
    return boxes.length > 0;
  },
  showSelection() {
    const boxes = this.boxes();
    const count = boxes.filter((box) => box.checked).length;
    for (const box of boxes) box.closest('tr').classList.toggle('chosen', box.checked);
    const label = find('[data-selected]');
    if (label) label.textContent = count === 0 ? 'With the selected items:' : `${count} selected:`;
    const all = find('th.select input');
    if (all) [all.checked, all.indeterminate] = [count === boxes.length, count > 0 && count < boxes.length];
  },
  begin() {
    const head = find('thead th.select');
    if (!head || this.boxes().length === 0) return;
    const all = element('input', '', { type: 'checkbox', ariaLabel: 'Select all rows' });
    all.addEventListener('change', () => this.selectAll(all.checked));
    head.replaceChildren(all);
    document.addEventListener('change', (event) => { if (event.target.name === 'item') this.showSelection(); });
    this.showSelection(); // a browser keeps what was selected when a page is loaded again
  },
};

// Numbers that change while the page is open

const HELD_BACK = 'Numbers have changed; they are shown when you are done here.';

const live = {
  source: null,
  isPaused: false,
  /** What came while the reader was busy. */
  waiting: null,
  isFirst: true,
  announcedAt: -Infinity,
  /** Whether something would be disturbed: a selection, a form, a comparison. */
  isBusy() {
    return Boolean(find('tr[data-row] input:checked') || find('main .diff')
      || document.activeElement?.matches('main input:not([type=checkbox]), main select, main textarea'));
  },
  connect() {
    const address = document.body.dataset.events;
    if (!address || this.source || this.isPaused || document.hidden) return;
    const source = new EventSource(address);
    this.source = source;
    source.addEventListener('change', (event) => this.receive(JSON.parse(event.data)));
    source.addEventListener('end', () => { this.disconnect(); this.say('Your session has ended.'); });
    source.addEventListener('error', () => {
      // A stream that was refused is not opened again by the browser.
      if (source.readyState !== EventSource.CLOSED || this.source !== source) return;
      this.source = null;
      setTimeout(() => this.connect(), 60_000);
    });
  },
  disconnect() {
    this.source?.close();
    this.source = null;
  },
  toggle() {
    if (!document.body.dataset.events) return false;
    this.isPaused = !this.isPaused;
    if (this.isPaused) this.disconnect(); else this.connect();
    this.say(this.isPaused ? 'Live updates are paused; . goes on.' : '');
    return true;
  },
  receive(changes) {
    const before = this.waiting ?? { numbers: {} };
    this.waiting = { ...before, ...changes, numbers: { ...before.numbers, ...changes.numbers } };
    if (this.isBusy()) this.say(HELD_BACK);
    this.show();
  },
  show() {
    if (!this.waiting || this.isBusy()) return;
    const { numbers, newer } = this.waiting;
    this.waiting = null;
    if (find('[data-live-state]')?.textContent === HELD_BACK) this.say('');
    let hasChanged = false;
    for (const place of findAll('[data-live]')) {
      const number = numbers[place.dataset.live];
      if (number === undefined || number === place.textContent) continue;
      place.textContent = number;
      hasChanged = true;
    }
    if (newer !== undefined) this.showNewer(newer);
    if (!this.isFirst && !hasChanged && newer === undefined) this.say('Something has changed since.');
    this.isFirst = false;
  },
  showNewer(count) {
    const text = count === 0 ? '' : count >= 100 ? '99+ newer' : `${count} newer`;
    const link = find('[data-newer]');
    if (link) link.textContent = text;
    // A screen reader is not told of each of them.
    if (text !== '' && performance.now() - this.announcedAt > 10_000) {
      this.announcedAt = performance.now();
      const place = find('[data-announce]');
      if (place) place.textContent = `${text} items`;
    }
  },
  say(text) {
    const place = find('[data-live-state]');
    if (place) place.textContent = text;
  },
  begin() {
    this.connect();
    document.addEventListener('visibilitychange', () => { if (document.hidden) this.disconnect(); else this.connect(); });
    for (const event of ['focusout', 'change', 'keyup']) document.addEventListener(event, () => setTimeout(() => this.show(), 0));
  },
};

// Keys

const click = (selector) => () => { const found = find(selector); found?.click(); return Boolean(found); };
const focus = (selector) => () => { const found = find(selector); found?.focus(); return Boolean(found); };

/** One level up: to the list from which the reader came, or the one that the page names. */
function up() {
  const link = find('.path a');
  if (!link) return false;
  const cameFrom = document.referrer && new URL(document.referrer);
  const isList = cameFrom && cameFrom.origin === location.origin && /^\/desk(\/\w+)?$/.test(cameFrom.pathname);
  if (isList && history.length > 1) history.back(); else link.click();
  return true;
}

// After g: to a section, if the reader has it.
const SECTIONS = [
  ['h', '/desk', 'start'], ['u', '/desk/access', 'access'], ['r', '/desk/review', 'review'], ['i', '/desk/items', 'items'], ['q', '/desk/queues', 'queues'],
  ['e', '/desk/reasons', 'reasons'], ['o', '/desk/operations', 'operations'], ['d', '/desk/deadlines', 'deadlines'],
  ['j', '/desk/jobs', 'jobs'], ['a', '/desk/audit', 'audit'], ['s', '/desk/health', 'health'],
];
const sectionLink = (path) => findAll('nav.sections a').find((link) => link.pathname === path);

// What a key does: [key, what the help says, where it has a meaning, function that returns whether it did something].
const KEYS = [
  ['/', 'to the filter', '[data-filter]', focus('[data-filter]')],
  ['j', 'next row', 'tr[data-row]', () => list.move(1)],
  ['k', 'row before', 'tr[data-row]', () => list.move(-1)],
  ['x', 'select the row', '[name=item][type=checkbox]', () => list.select()],
  ['X', 'select all rows', '[name=item][type=checkbox]', () => list.selectAll()],
  ['u', 'up, to the list', '.path a', up],
  ['v', 'Verified', '[data-inbox]', click('[data-inbox] [data-act=verified]')],
  ['r', 'Retry', '[data-inbox]', click('[data-inbox] [data-act=retried]')],
  ['i', 'In review', '[data-inbox]', click('[data-inbox] [data-act=in-review]')],
  ['e', 'open the item', '[data-inbox]', click('[data-inbox] [data-open]')],
  ['m', 'mine, or not', '[data-inbox]', click('[data-key=m]')],
  ['a', 'choose a reviewer', '[data-inbox]', focus('[data-key=a]')],
  ['c', 'comment', '[data-inbox]', focus('[data-key=c]')],
  ['n', 'next', '[data-key=n]', click('[data-key=n]')],
  ['.', 'pause live updates, or go on', 'body[data-events]', () => live.toggle()],
  ['t', 'light, dark, or as the system', '.theme button', click('.theme button')],
];

function help() {
  find('dialog')?.remove();
  const dialog = element('dialog');
  const rows = element('ul', '', { className: 'rows' });
  const sections = SECTIONS.filter(([, path]) => sectionLink(path)).map(([key, , what]) => [`g ${key}`, what]);
  const keys = KEYS.filter(([, , where]) => find(where)).map(([key, what]) => [key === 'X' ? 'Shift X' : key, what]);
  for (const [name, what] of [...keys, ...sections, ['?', 'this help']]) {
    const row = element('li');
    row.append(element('kbd', name), what);
    rows.append(row);
  }
  const isOff = remembered(SHORTCUTS_OFF) !== null;
  const toggle = element('button', isOff ? 'Switch the shortcuts on' : 'Switch the shortcuts off');
  toggle.addEventListener('click', () => { remember(SHORTCUTS_OFF, isOff ? null : '1'); dialog.close(); });
  const close = element('button', 'Close', { className: 'primary' });
  close.addEventListener('click', () => dialog.close());
  const title = element('h2', 'Keyboard shortcuts', { id: 'help-title' });
  dialog.setAttribute('aria-labelledby', 'help-title');
  const bar = element('div', '', { className: 'bar-of-acts' });
  bar.append(close, toggle);
  dialog.append(title, rows, bar);
  document.body.append(dialog);
  dialog.showModal();
}

/** When g was pressed. */
let wentAt = -Infinity;

function onKey(event) {
  const isInField = event.target.closest?.('input:not([type=checkbox]), select, textarea, dialog');
  if (event.key === 'Escape' && isInField && !event.target.closest('dialog')) event.target.blur();
  if (isInField || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (remembered(SHORTCUTS_OFF) !== null) return;
  const isSection = performance.now() - wentAt < 1_500;
  wentAt = event.key === 'g' ? performance.now() : -Infinity;
  let isDone = event.key === 'g';
  if (event.key === '?') {
    help();
    isDone = true;
  } else if (isSection) {
    const [, path] = SECTIONS.find(([key]) => key === event.key) ?? [];
    const link = path && sectionLink(path);
    link?.click();
    isDone = Boolean(link);
  } else {
    const [, , , act] = KEYS.find(([key]) => key === event.key) ?? [];
    isDone ||= Boolean(act?.());
  }
  if (isDone) event.preventDefault();
}

function offerHelp() {
  const place = find('footer');
  const button = element('button', 'Keyboard shortcuts', { type: 'button', className: 'plain' });
  button.addEventListener('click', help);
  place?.append(button);
}

// A second press of a button that deletes or interrupts is asked for.
function onSubmit(event) {
  const button = event.submitter;
  if (!button?.classList.contains('danger') || button.dataset.asked) return;
  event.preventDefault();
  button.dataset.asked = '1';
  button.textContent = `Press again: ${button.textContent}`;
}

showLocalTimes();
offerHelp();
list.begin();
live.begin();
document.addEventListener('keydown', onKey);
document.addEventListener('submit', onSubmit);
