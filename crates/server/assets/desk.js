// The desk. Every page is whole without this file: it shows times in the reader's time zone, and adds keyboard shortcuts.

const SHORTCUTS_OFF = 'desk-shortcuts-off';

function showLocalTimes() {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
  for (const time of document.querySelectorAll('time[datetime]')) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.textContent = format.format(at);
  }
  const zone = document.querySelector('.zone');
  if (zone) zone.textContent = `Times are those of ${Intl.DateTimeFormat().resolvedOptions().timeZone}; point at one to see it in UTC.`;
}

function remembered(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function remember(name, value) {
  try { if (value === null) localStorage.removeItem(name); else localStorage.setItem(name, value); } catch { /* a browser without storage */ }
}

// The rows of a list: j and k move, x selects, Enter opens.
const list = {
  rows: () => [...document.querySelectorAll('tr[data-row]')],
  at: -1,
  move(by) {
    const rows = this.rows();
    if (rows.length === 0) return;
    rows[this.at]?.classList.remove('at');
    this.at = Math.min(Math.max(this.at + by, 0), rows.length - 1);
    rows[this.at].classList.add('at');
    rows[this.at].querySelector('th a')?.focus();
  },
  select() {
    const box = this.rows()[this.at]?.querySelector('input[type=checkbox]');
    if (box) box.checked = !box.checked;
  },
};

// What a key does: [key, what the help says, function that returns whether there is something to do].
const click = (selector) => () => { const found = document.querySelector(selector); found?.click(); return Boolean(found); };
const KEYS = [
  ['j', 'next row', () => { list.move(1); return true; }],
  ['k', 'row before', () => { list.move(-1); return true; }],
  ['x', 'select the row', () => { list.select(); return true; }],
  ['/', 'to the filter', () => { const field = document.querySelector('[data-filter]'); field?.focus(); return Boolean(field); }],
  ['v', 'inbox: Verified', click('[data-inbox] [data-act=verified]')],
  ['r', 'inbox: Retry', click('[data-inbox] [data-act=retried]')],
  ['e', 'inbox: open the item', click('[data-inbox] [data-open]')],
  ['a', 'inbox: In review', click('[data-inbox] [data-act=in-review]')],
  ['m', 'inbox: mine, or not', click('[data-key=m]')],
  ['n', 'inbox: next', click('[data-key=n]')],
  ['c', 'inbox: comment', () => { const field = document.querySelector('[data-key=c]'); field?.focus(); return Boolean(field); }],
];

function help() {
  document.querySelector('dialog')?.remove();
  const dialog = document.createElement('dialog');
  const title = document.createElement('h2');
  title.textContent = 'Keyboard shortcuts';
  const rows = document.createElement('ul');
  rows.className = 'rows';
  for (const [key, what] of [...KEYS, ['?', 'this help']]) {
    const row = document.createElement('li');
    const name = document.createElement('kbd');
    name.textContent = key;
    row.append(name, ` ${what}`);
    rows.append(row);
  }
  const toggle = document.createElement('button');
  const isOff = remembered(SHORTCUTS_OFF) !== null;
  toggle.textContent = isOff ? 'Switch the shortcuts on' : 'Switch all but ? off';
  toggle.addEventListener('click', () => { remember(SHORTCUTS_OFF, isOff ? null : '1'); dialog.close(); });
  const close = document.createElement('button');
  close.textContent = 'Close';
  close.addEventListener('click', () => dialog.close());
  dialog.append(title, rows, toggle, ' ', close);
  document.body.append(dialog);
  dialog.showModal();
}

function onKey(event) {
  const isInField = event.target.closest?.('input:not([type=checkbox]), select, textarea, dialog');
  if (isInField || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === '?') { event.preventDefault(); help(); return; }
  if (remembered(SHORTCUTS_OFF) !== null) return;
  const found = KEYS.find(([key]) => key === event.key);
  if (found && found[2]()) event.preventDefault();
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
document.addEventListener('keydown', onKey);
document.addEventListener('submit', onSubmit);
