import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountSid, app, from, start, waitStatus } from './server.js';

// The simulated numbers, and who answers there.
const numbers = {
  human: ['+15005551001', { machineDetection: 'Enable' }],
  machine_start: ['+15005551002', { machineDetection: 'Enable' }],
  machine_end_beep: ['+15005551002', { machineDetection: 'DetectMessageEnd' }],
  machine_end_silence: ['+15005551003', { machineDetection: 'DetectMessageEnd' }],
  fax: ['+15005551004', { machineDetection: 'Enable' }],
};

// A machine that stands still for a moment takes a piece out of what is said; then it is called again.
const attempts = 3;

test('who answered is known before the first instruction', { concurrency: true }, async (t) => {
  const { client } = await start(t);
  await Promise.all(Object.entries(numbers).map(([answeredBy, [to, params]]) => t.test(answeredBy, async (tt) => {
    const web = await app(tt, { '/voice': '<Response><Hangup/></Response>' });
    for (let i = 1; ; i += 1) {
      const call = await client.calls.create({ to, from, url: `${web.url}/voice`, statusCallback: `${web.url}/status`, ...params });
      const asked = (await web.waitFor('/voice', i))[i - 1];
      const told = (await web.waitFor('/status', i))[i - 1];
      const done = await waitStatus(client, call.sid, 'completed');
      assert.equal(asked.CallSid, call.sid);
      assert.match(asked.MachineDetectionDuration, /^\d+$/);
      assert.equal(told.AnsweredBy, asked.AnsweredBy);
      assert.equal(done.answeredBy, asked.AnsweredBy);
      if (done.answeredBy !== answeredBy && i < attempts) continue;
      assert.equal(done.answeredBy, answeredBy);
      break;
    }
    assert.deepEqual(web.refused, [], 'signatures the SDK refuses');
  })));
});

test('who answered is told meanwhile', { concurrency: true }, async (t) => {
  const { client } = await start(t);
  await Promise.all(Object.entries(numbers).map(([answeredBy, [to, params]]) => t.test(answeredBy, async (tt) => {
    const web = await app(tt, { '/voice': '<Response><Pause length="100"/></Response>' });
    for (let i = 1; ; i += 1) {
      const call = await client.calls.create({
        to, from, url: `${web.url}/voice`, asyncAmd: 'true', asyncAmdStatusCallback: `${web.url}/amd`, asyncAmdStatusCallbackMethod: 'POST', ...params,
      });
      assert.ok(!('AnsweredBy' in (await web.waitFor('/voice', i))[i - 1]));
      const told = (await web.waitFor('/amd', i))[i - 1];
      assert.deepEqual(Object.keys(told).sort(), ['AccountSid', 'AnsweredBy', 'CallSid', 'MachineDetectionDuration']);
      assert.equal(told.CallSid, call.sid);
      assert.equal(told.AccountSid, accountSid);
      assert.equal((await client.calls(call.sid).fetch()).answeredBy, told.AnsweredBy);
      await client.calls(call.sid).update({ status: 'completed' });
      await waitStatus(client, call.sid, 'completed');
      if (told.AnsweredBy !== answeredBy && i < attempts) continue;
      assert.equal(told.AnsweredBy, answeredBy);
      break;
    }
    assert.deepEqual(web.refused, [], 'signatures the SDK refuses');
  })));
});
