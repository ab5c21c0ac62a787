// What the vendor's own TypeScript SDK has of queues, assets, jobs and tasks, against `performer serve`.
//
// scripts/typescript-sdk starts the server and calls this with its address, an id and a secret.

import assert from "node:assert/strict";

const [url, clientId, secret] = process.argv.slice(2);

// The SDK reports its use to its vendor: nothing but the server is reached from here.
const reach = globalThis.fetch;
globalThis.fetch = (target, options) => {
  const address = typeof target === "string" || target instanceof URL ? String(target) : target.url;
  if (!address.startsWith(url)) return Promise.reject(new Error(`not reached from this test: ${address}`));
  return reach(target, options);
};

const { UiPath } = await import("@uipath/uipath-typescript/core");
const { Queues } = await import("@uipath/uipath-typescript/queues");
const { Assets } = await import("@uipath/uipath-typescript/assets");
const { Jobs } = await import("@uipath/uipath-typescript/jobs");
const { Buckets } = await import("@uipath/uipath-typescript/buckets");
const { Tasks, TaskType, TaskPriority } = await import("@uipath/uipath-typescript/tasks");

const said = (what) => console.log(`  ${what}`);

const form = new URLSearchParams({
  grant_type: "client_credentials",
  client_id: clientId,
  client_secret: secret,
  scope: "OrchestratorApiUserAccess",
});
const login = await fetch(`${url}/identity_/connect/token`, { method: "POST", body: form });
const token = (await login.json()).access_token;
assert.ok(token, "a token");

/** A call that the SDK has no method for. */
async function call(method, path, body) {
  const answer = await fetch(`${url}/acme/default/orchestrator_${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "x-uipath-organizationunitid": "1",
    },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

const sdk = new UiPath({ baseUrl: url, orgName: "acme", tenantName: "default", secret: token });
const folder = 1;

await call("POST", "/odata/QueueDefinitions", { Name: "Invoices" });
const item = { itemData: { Name: "Invoices", Reference: "a", SpecificContent: { amount: 7 } } };
await call("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", item);
const queues = new Queues(sdk);
const [queue] = (await queues.getAll({ folderId: folder })).items;
assert.equal(queue.name, "Invoices");
assert.equal((await queues.getById(queue.id, folder)).name, "Invoices");
assert.equal((await queues.getAll()).items.length, 1);
said("queues are listed and read");

const asset = { Name: "Threshold", ValueScope: "Global", ValueType: "Integer", IntValue: 5 };
await call("POST", "/odata/Assets", asset);
const assets = new Assets(sdk);
const [threshold] = (await assets.getAll({ folderId: folder })).items;
assert.equal(threshold.name, "Threshold");
assert.equal((await assets.getById(threshold.id, folder)).value, "5");
said("assets are listed and read");

const started = { queue: "Invoices", machine: "m", processId: 1, version: "1", robots: 1, lease: 30_000 };
const { job } = await call("POST", "/api/Performer/StartJob", started);
const jobs = new Jobs(sdk);
const listed = (await jobs.getAll({ folderId: folder })).items;
assert.equal(listed.length, 1);
assert.equal(listed[0].key, job);
said("jobs are listed");

const tasks = new Tasks(sdk);
const created = await tasks.create(
  { title: "Approve", data: { amount: 7 }, priority: TaskPriority.High },
  folder,
);
assert.equal(created.title, "Approve");
const users = (await tasks.getUsers(folder)).items;
assert.ok(users.length > 0, "somebody can do tasks");
const me = users[0];
const assigned = await tasks.assign({ taskId: created.id, userId: me.id });
assert.equal(assigned.success, true, JSON.stringify(assigned));
const twice = await tasks.assign({ taskId: created.id, userId: me.id });
assert.equal(twice.success, false, "it is assigned already");
assert.equal((await tasks.reassign({ taskId: created.id, userNameOrEmail: me.userName })).success, true);
assert.equal((await tasks.unassign(created.id)).success, true);
assert.equal((await tasks.unassign([created.id, 999])).success, false);
const read = await tasks.getById(created.id);
assert.equal(read.title, "Approve");
assert.equal((await tasks.getAll()).items.length, 1);
assert.equal((await tasks.getAll({ folderId: folder, asTaskAdmin: true })).items.length, 1);
const completion = { type: TaskType.External, taskId: created.id, action: "approve", data: { amount: 8 } };
assert.equal((await tasks.complete(completion, folder)).success, true);
await assert.rejects(tasks.complete(completion, folder), "it is completed already");
const done = await tasks.getById(created.id, { taskType: TaskType.External }, folder);
assert.equal(done.action, "approve");
assert.deepEqual(done.data, { amount: 8 });
said("a task is made, assigned, reassigned, unassigned and completed");

assert.deepEqual((await new Buckets(sdk).getAll({ folderId: folder })).items, []);
said("buckets are listed");
process.exit(0);
