import assert from 'node:assert/strict';
import { test } from 'node:test';
import { app, dial, from, phone, start, waitStatus } from './server.js';

const person = '+15005551001'; // simulated: says hello, then listens
const busy = '+15005551486'; // simulated
const own = '+15557654321';

test('create takes every parameter', async (t) => {
  const { client, url, sip } = await start(t);
  client.voice.baseUrl = url;
  const web = await app(t, {
    '/voice': 'not TwiML', '/fallback': '<Response><Pause length="60"/></Response>',
    '/app': '<Response><Hangup/></Response>', '/in': '<Response><Pause length="60"/></Response>',
  });
  const given = new Set();
  const create = (params) => {
    const all = { from, ...params };
    for (const name of Object.keys(all)) given.add(name);
    return client.calls.create(all);
  };

  const call = await create({
    to: person, callerId: '+15005550007', callReason: 'Your order', timeout: 30, timeLimit: 600,
    url: `${web.url}/voice?a=1`, method: 'GET', fallbackUrl: `${web.url}/fallback`, fallbackMethod: 'GET',
    statusCallback: `${web.url}/status`, statusCallbackMethod: 'POST', statusCallbackEvent: ['initiated', 'ringing', 'answered', 'completed'],
    record: true, recordingChannels: 'dual', recordingTrack: 'both', trim: 'do-not-trim', recordingStatusCallback: `${web.url}/recording`,
    recordingStatusCallbackMethod: 'GET', recordingStatusCallbackEvent: ['in-progress', 'completed'],
    machineDetection: 'Enable', machineDetectionTimeout: 20, machineDetectionSpeechThreshold: 2500,
    machineDetectionSpeechEndThreshold: 1100, machineDetectionSilenceTimeout: 4000,
    asyncAmd: 'true', asyncAmdStatusCallback: `${web.url}/amd`, asyncAmdStatusCallbackMethod: 'POST',
  });
  const [fallback] = await web.waitFor('/fallback');
  assert.equal(fallback.ErrorUrl, `${web.url}/voice?a=1`);
  const [amd] = await web.waitFor('/amd');
  assert.ok(amd.AnsweredBy);
  await client.calls(call.sid).update({ status: 'completed' });
  const callbacks = await web.waitFor('/status', 4);
  assert.deepEqual(callbacks.map((c) => c.CallStatus), ['initiated', 'ringing', 'in-progress', 'completed']);
  const recording = await web.waitFor('/recording', 2);
  assert.deepEqual(recording.map((r) => [r.RecordingStatus, r.RecordingChannels]), [['in-progress', '2'], ['completed', '2']]);
  assert.equal((await client.calls(call.sid).recordings.list())[0].source, 'OutboundAPI');

  const sipPhone = await phone(t, 'answer; expect digits 42; expect hangup');
  await create({ to: sipPhone.uri, sipAuthUsername: 'alice', sipAuthPassword: 'secret', sendDigits: 'w42', twiml: '<Response><Pause length="2"/></Response>' });
  await sipPhone.line(/^ended by the far end: 200/);

  const sleeper = await create({ to: 'client:alice', clientNotificationUrl: `${web.url}/wake`, timeout: 1, twiml: '<Response/>' });
  assert.equal((await web.waitFor('/wake'))[0].CallSid, sleeper.sid);
  await waitStatus(client, sleeper.sid, 'no-answer');

  const desk = await phone(t, 'answer; expect hangup');
  const policy = await client.voice.v1.connectionPolicies.create({ friendlyName: 'desk' });
  await client.voice.v1.connectionPolicies(policy.sid).targets.create({ target: desk.uri });
  const trunk = await client.voice.v1.byocTrunks.create({ connectionPolicySid: policy.sid });
  const carried = await create({ to: '+15551234567', byoc: trunk.sid, twiml: '<Response><Hangup/></Response>' });
  await desk.line(/^ended by the far end: 200/);
  assert.equal((await waitStatus(client, carried.sid, 'completed')).trunkSid, trunk.sid.replace('BY', 'TK'));

  const application = await client.applications.create({ friendlyName: 'Desk', voiceUrl: `${web.url}/app`, statusCallback: `${web.url}/ended` });
  const applied = await create({ to: person, applicationSid: application.sid });
  assert.equal((await web.waitFor('/ended'))[0].CallSid, applied.sid);

  await client.incomingPhoneNumbers.create({ phoneNumber: own, voiceUrl: `${web.url}/in` });
  dial(t, sip, own, '+15551112222', 'wait answer; expect hangup');
  const [incoming] = await web.waitFor('/in');
  const forwarded = await create({ to: busy, from: incoming.From, callToken: incoming.CallToken, twiml: '<Response/>' });
  assert.equal(forwarded.forwardedFrom, own);

  assert.equal(given.size, 36, 'parameters that Twilio describes');
  assert.deepEqual(web.refused, []);
});

test('update takes every parameter', async (t) => {
  const { client } = await start(t);
  const web = await app(t, { '/other': 'not TwiML', '/fallback': '<Response><Pause length="60"/></Response>' });
  const { sid } = await client.calls.create({ to: person, from, twiml: '<Response><Pause length="60"/></Response>' });
  await waitStatus(client, sid, 'in-progress');
  await client.calls(sid).update({
    url: `${web.url}/other`, method: 'GET', fallbackUrl: `${web.url}/fallback`, fallbackMethod: 'GET',
    statusCallback: `${web.url}/status`, statusCallbackMethod: 'GET', timeLimit: 600,
  });
  assert.equal((await web.waitFor('/fallback'))[0].ErrorUrl, `${web.url}/other`);
  await client.calls(sid).update({ twiml: '<Response><Pause length="60"/></Response>' });
  await client.calls(sid).update({ status: 'completed' });
  assert.equal((await web.waitFor('/status'))[0].CallStatus, 'completed');
  assert.equal(await client.calls(sid).remove(), true);
  assert.deepEqual(web.refused, []);
});

test('list takes every filter', async (t) => {
  const { client } = await start(t);
  const parent = await client.calls.create({ to: person, from, twiml: `<Response><Dial><Number>${busy}</Number></Dial></Response>` });
  await waitStatus(client, parent.sid, 'completed');
  const last = await client.calls.create({ to: busy, from, twiml: '<Response/>' });
  await waitStatus(client, last.sid, 'busy');
  const [child] = await client.calls.list({ parentCallSid: parent.sid });
  assert.equal(child.to, busy);
  const days = (n) => new Date(Date.now() + n * 86_400_000);
  for (const [filter, want] of [
    [{ to: person }, [parent]],
    [{ from: '+15005550007' }, []],
    [{ status: 'busy' }, [last, child]],
    [{ parentCallSid: parent.sid, status: 'completed' }, []],
    [{ startTime: days(-7) }, []],
    [{ startTimeBefore: days(-7) }, []],
    [{ startTimeBefore: days(2), pageSize: 1 }, [last, child, parent]],
    [{ startTimeAfter: days(-7), limit: 2 }, [last, child]],
    [{ startTimeAfter: days(2) }, []],
    [{ endTime: days(-7) }, []],
    [{ endTimeBefore: days(-7) }, []],
    [{ endTimeBefore: days(2), to: person }, [parent]],
    [{ endTimeAfter: days(-7), to: person }, [parent]],
    [{ endTimeAfter: days(2) }, []],
  ]) {
    assert.deepEqual((await client.calls.list(filter)).map((c) => c.sid), want.map((c) => c.sid), JSON.stringify(filter));
  }
});
