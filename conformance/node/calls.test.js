import assert from 'node:assert/strict';
import { test } from 'node:test';
import twilio from 'twilio';
import { app, dial, from, peer, phone, start, waitStatus } from './server.js';

const { VoiceResponse } = twilio.twiml;

test('a call of the SDK reaches a phone, and its keys the application', async (t) => {
  const { client } = await start(t);
  const menu = new VoiceResponse();
  menu.gather({ numDigits: 1, action: '/key' }).say('Press five');
  const thanks = new VoiceResponse();
  thanks.say('Thank you');
  thanks.hangup();
  const web = await app(t, { '/voice': menu.toString(), '/key': thanks.toString() });
  const callee = await phone(t, 'ring 200ms; answer; hear 300ms; press 5; expect hangup');

  const call = await client.calls.create({
    to: callee.uri, from, url: `${web.url}/voice`, statusCallback: `${web.url}/status?x=%2B1`,
    statusCallbackEvent: ['initiated', 'ringing', 'answered', 'completed'],
  });
  assert.equal(call.status, 'queued');
  assert.equal(call.direction, 'outbound-api');

  const [key] = await web.waitFor('/key');
  assert.equal(key.Digits, '5');
  assert.equal(key.CallSid, call.sid);
  await callee.line(/^ended by the far end: 200/);
  const callbacks = await web.waitFor('/status', 4);
  assert.deepEqual(callbacks.map((c) => c.CallStatus), ['initiated', 'ringing', 'in-progress', 'completed']);
  assert.deepEqual(callbacks.map((c) => c.SequenceNumber), ['0', '1', '2', '3']);
  assert.deepEqual(web.refused, [], 'signatures the SDK refuses');

  const done = await waitStatus(client, call.sid, 'completed');
  assert.ok(done.startTime instanceof Date && done.endTime instanceof Date);
  assert.match(done.duration, /^\d+$/);
});

test('every phone is called, hears Say and has its key understood', { concurrency: true }, async (t) => {
  const { client } = await start(t);
  const menu = new VoiceResponse();
  menu.gather({ numDigits: 1, timeout: 4, actionOnEmptyResult: true, action: '/key' }).say('Press five');
  const thanks = new VoiceResponse();
  thanks.say('Thank you');
  thanks.hangup();
  const digits = { 'sipp-uas': '' /* presses nothing */, 'sipp-dtmf': '5', baresip: '5' };
  await Promise.all(Object.keys(digits).map((kind) => t.test(kind, async (tt) => {
    const web = await app(tt, { '/voice': menu.toString(), '/key': thanks.toString() });
    const callee = await peer(tt, kind, '5', 'Press five', 'Thank you');
    if (!callee) return;
    const call = await client.calls.create({
      to: callee.uri, from, url: `${web.url}/voice`, statusCallback: `${web.url}/status?x=%2B1`,
      statusCallbackEvent: ['initiated', 'ringing', 'answered', 'completed'],
    });
    await callee.line(/^heard Press five$/);
    const [key] = await web.waitFor('/key');
    assert.equal(key.Digits ?? '', digits[kind]);
    assert.equal(key.CallSid, call.sid);
    await callee.line(/^heard Thank you$/);
    await callee.line(/^ended$/);
    const callbacks = await web.waitFor('/status', 4);
    assert.deepEqual(callbacks.map((c) => [c.CallStatus, c.SequenceNumber, c.CallSid]),
      ['initiated', 'ringing', 'in-progress', 'completed'].map((status, i) => [status, `${i}`, call.sid]));
    assert.deepEqual(web.refused, [], 'signatures the SDK refuses');
    await waitStatus(client, call.sid, 'completed');
  })));
});

test('an own number runs its TwiML when it is called', async (t) => {
  const { client, sip } = await start(t);
  const voice = new VoiceResponse();
  voice.gather({ numDigits: 2, action: '/key' }).say('Press two keys');
  const web = await app(t, { '/voice': voice.toString(), '/key': '<Response><Pause length="1"/><Hangup/></Response>' });
  const number = await client.incomingPhoneNumbers.create({ phoneNumber: '+15557654321', voiceUrl: `${web.url}/voice`, statusCallback: `${web.url}/status` });
  assert.equal(number.capabilities.voice, true);

  const caller = dial(t, sip, number.phoneNumber, '+15551112222', 'wait answer; hear 300ms; press 42; expect hangup');
  const [first] = await web.waitFor('/voice');
  assert.equal(first.CallStatus, 'ringing');
  assert.equal(first.Direction, 'inbound');
  assert.equal(first.From, '+15551112222');
  assert.equal(first.To, '+15557654321');
  const [key] = await web.waitFor('/key');
  assert.equal(key.Digits, '42');
  assert.equal(await caller.ended, 0, 'the phone saw what its script expects');
  const [ended] = await web.waitFor('/status');
  assert.equal(ended.CallStatus, 'completed');
  assert.deepEqual(web.refused, []);
});

test('a live call is redirected in mid-Say and hung up', async (t) => {
  const { client } = await start(t);
  const web = await app(t, { '/other': '<Response><Pause length="60"/></Response>' });
  const callee = await phone(t, 'answer; expect hangup');
  const call = await client.calls.create({ to: callee.uri, from, twiml: '<Response><Say loop="0">Again and again</Say></Response>' });
  await waitStatus(client, call.sid, 'in-progress');
  await client.calls(call.sid).update({ url: `${web.url}/other` });
  await web.waitFor('/other');
  await client.calls(call.sid).update({ status: 'completed' });
  await callee.line(/^ended by the far end: 200/);
  await waitStatus(client, call.sid, 'completed');
  await assert.rejects(client.calls(call.sid).update({ twiml: '<Response/>' }), { code: 21220, status: 400 });
  assert.equal(await client.calls(call.sid).remove(), true);
  await assert.rejects(client.calls(call.sid).fetch(), { code: 20404, status: 404 });
});

test('a call is taken back while it rings', async (t) => {
  const { client } = await start(t);
  const web = await app(t, {});
  const call = await client.calls.create({
    to: '+15005551408', from, twiml: '<Response/>', statusCallback: `${web.url}/status`, statusCallbackEvent: ['completed'],
  });
  await waitStatus(client, call.sid, 'ringing');
  await client.calls(call.sid).update({ status: 'canceled' });
  await waitStatus(client, call.sid, 'canceled');
  const [ended] = await web.waitFor('/status');
  assert.equal(ended.CallStatus, 'canceled');
});

test('lists page, filter and come newest first', async (t) => {
  const { client } = await start(t);
  const made = [];
  for (let i = 0; i < 5; i += 1) {
    const call = await client.calls.create({ to: '+15005551486', from, twiml: '<Response/>' });
    await waitStatus(client, call.sid, 'busy');
    made.unshift(call.sid);
  }
  const listed = await client.calls.list({ status: 'busy', pageSize: 2 });
  assert.deepEqual(listed.map((c) => c.sid), made);
  const yesterday = new Date(Date.now() - 86_400_000);
  assert.equal((await client.calls.list({ startTimeBefore: yesterday })).length, 0);
  assert.equal((await client.calls.list({ startTimeAfter: yesterday })).length, 5);
  const page = await client.calls.page({ pageSize: 2 });
  const next = await page.nextPage();
  const back = await next.previousPage();
  assert.deepEqual(back.instances.map((c) => c.sid), page.instances.map((c) => c.sid));
});

test('refusals are RestExceptions with the code of the catalogue', async (t) => {
  const { client } = await start(t);
  const create = (params) => client.calls.create({ to: '+15551234567', from, twiml: '<Response/>', ...params });
  await assert.rejects(create({ to: '+15005550001' }), { code: 21217, status: 400 });
  await assert.rejects(create({ from: '+15005550001' }), { code: 21212, status: 400 });
  await assert.rejects(create({ twiml: undefined }), { code: 21205, status: 400 });
  await assert.rejects(create({ timeout: 0 }), { code: 21208, status: 400 });
  await assert.rejects(create({ sendDigits: 'x' }), { code: 21206, status: 400 });
  await assert.rejects(create({ machineDetection: 'Perhaps' }), { code: 21234, status: 400 });
  await assert.rejects(create({ machineDetection: 'Enable', machineDetectionTimeout: 60 }), { code: 21234, status: 400 });
  await assert.rejects(create({ callToken: 'x' }), { code: 20001, status: 400 }, 'a token of no call');
  client.password = 'wrong';
  await assert.rejects(create({}), { code: 20003, status: 401 });
});
