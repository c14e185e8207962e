import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountSid, as, authToken, from, start, waitStatus } from './server.js';

const busy = '+15005551486';
const call = { to: busy, from, twiml: '<Response/>' };

test('120 calls are paged through both ways', async (t) => {
  const { client } = await start(t);
  const made = [];
  for (let i = 0; i < 120; i += 1) made.unshift((await client.calls.create(call)).sid);
  const sids = (page) => page.instances.map((c) => c.sid);

  const first = await client.calls.page({ pageSize: 50 });
  const second = await first.nextPage();
  const third = await second.nextPage();
  assert.deepEqual([first, second, third].map(sids), [made.slice(0, 50), made.slice(50, 100), made.slice(100)]);
  assert.equal(third.nextPageUrl, undefined);
  const back = await third.previousPage();
  assert.deepEqual(sids(back), made.slice(50, 100));
  const start0 = await back.previousPage();
  assert.deepEqual(sids(start0), made.slice(0, 50));
  assert.equal(start0.previousPageUrl, undefined);

  assert.deepEqual((await client.calls.list({ pageSize: 50 })).map((c) => c.sid), made);
  assert.deepEqual((await client.calls.list({ limit: 70 })).map((c) => c.sid), made.slice(0, 70));
});

test('a subaccount is made, used, suspended and closed', async (t) => {
  const { client, url } = await start(t);
  const sub = await client.api.v2010.accounts.create({ friendlyName: 'shop' });
  assert.equal(sub.ownerAccountSid, accountSid);
  assert.equal(sub.status, 'active');
  const bySelf = as(url, sub.sid, sub.authToken);
  const byParent = as(url, accountSid, authToken, { accountSid: sub.sid });
  const calls = [];
  for (const sdk of [bySelf, byParent]) calls.unshift(await sdk.calls.create(call));
  calls.unshift(await client.api.v2010.accounts(sub.sid).calls.create(call));
  for (const made of calls) assert.equal(made.accountSid, sub.sid);
  assert.deepEqual((await bySelf.calls.list()).map((c) => c.sid), calls.map((c) => c.sid));
  assert.deepEqual(await client.calls.list(), []);
  await assert.rejects(client.calls(calls[0].sid).fetch(), { code: 20404, status: 404 });
  await assert.rejects(as(url, sub.sid, sub.authToken, { accountSid }).calls.list(), { code: 20003, status: 401 });
  await assert.rejects(bySelf.api.v2010.accounts.create(), { code: 21101, status: 400 });
  assert.deepEqual((await client.api.v2010.accounts.list({ friendlyName: 'shop' })).map((a) => a.sid), [sub.sid]);

  const become = async (status) => assert.equal((await client.api.v2010.accounts(sub.sid).update({ status })).status, status);
  await become('suspended');
  await assert.rejects(bySelf.calls(calls[0].sid).fetch(), { code: 20005, status: 403 });
  await assert.rejects(byParent.calls.create(call), { code: 20005, status: 403 });
  assert.equal((await byParent.calls(calls[0].sid).fetch()).sid, calls[0].sid);
  await become('active');
  await bySelf.calls.create(call);
  await become('closed');
  await assert.rejects(bySelf.calls.create(call), { code: 20005, status: 403 });
  await assert.rejects(byParent.calls.create(call), { code: 20005, status: 403 });
  assert.equal((await client.api.v2010.accounts(sub.sid).fetch()).status, 'closed');
});

test('an API key opens its account until it is deleted', async (t) => {
  const { client, url } = await start(t);
  const key = await client.newKeys.create({ friendlyName: 'ci' });
  const byKey = as(url, key.sid, key.secret, { accountSid });
  const made = await byKey.calls.create(call);
  assert.equal(made.accountSid, accountSid);
  await waitStatus(byKey, made.sid, 'busy');
  await assert.rejects(byKey.api.v2010.accounts(accountSid).fetch(), { code: 20003, status: 401 });
  await assert.rejects(byKey.keys.list(), { code: 20003, status: 401 });
  await assert.rejects(as(url, key.sid, 'wrong', { accountSid }).calls.list(), { code: 20003, status: 401 });
  assert.equal((await client.keys(key.sid).update({ friendlyName: 'build' })).friendlyName, 'build');
  assert.deepEqual((await client.keys.list()).map((k) => [k.sid, k.friendlyName]), [[key.sid, 'build']]);
  assert.equal(await client.keys(key.sid).remove(), true);
  await assert.rejects(byKey.calls(made.sid).fetch(), { code: 20003, status: 401 });
});
