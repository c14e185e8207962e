import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountSid, app, authToken, from, phone, start, waitStatus } from './server.js';

const rate = 8000;
const exact = 0.02; // s

// wav is a file of 16-bit PCM as its channels.
function wav(file) {
  assert.equal(file.toString('latin1', 0, 4) + file.toString('latin1', 8, 12), 'RIFFWAVE');
  assert.deepEqual([file.readUInt16LE(20), file.readUInt32LE(24), file.readUInt16LE(34)], [1, rate, 16], 'PCM of 16 bits at 8 kHz');
  const n = file.readUInt16LE(22);
  const channels = Array.from({ length: n }, () => []);
  for (let i = 44, c = 0; i + 1 < file.length; i += 2, c = (c + 1) % n) channels[c].push(file.readInt16LE(i));
  return channels;
}

// power is that of pcm at a frequency; a sine of amplitude a has a²/2.
function power(pcm, hz) {
  let re = 0;
  let im = 0;
  pcm.forEach((s, i) => { re += s * Math.cos(2 * Math.PI * hz / rate * i); im += s * Math.sin(2 * Math.PI * hz / rate * i); });
  return 2 * (re * re + im * im) / (pcm.length * pcm.length);
}

// tone is where a tone begins and ends, in samples, and how many seconds of it there are.
function tone(pcm, hz) {
  const step = rate / 100;
  const found = { begin: -1, end: 0, length: 0 };
  for (let i = 0; i + step <= pcm.length; i += step) {
    const part = pcm.slice(i, i + step);
    const total = part.reduce((sum, s) => sum + s * s, 0) / step;
    if (power(part, hz) > Math.max(1e6, 0.6 * total)) {
      if (found.begin < 0) found.begin = i;
      found.end = i + step;
      found.length += 0.01;
    }
  }
  return found;
}

function media(url, sid, suffix) {
  return fetch(`${url}/2010-04-01/Accounts/${accountSid}/Recordings/${sid}${suffix}`, {
    headers: { authorization: `Basic ${Buffer.from(`${accountSid}:${authToken}`).toString('base64')}` },
  });
}

async function download(url, sid, suffix) {
  const res = await media(url, sid, suffix);
  assert.equal(res.status, 200, suffix);
  return Buffer.from(await res.arrayBuffer());
}

for (const pauseBehavior of ['silence', 'skip']) {
  test(`the SDK records a live call, with a pause: ${pauseBehavior}`, async (t) => {
    const { client, url } = await start(t);
    const web = await app(t, { '/key': '<Response><Pause length="60"/></Response>' });
    const callee = await phone(t, 'answer; expect digits 1; tone 440 1s; wait 300ms; press 1; expect digits 2; '
      + 'tone 1000 1s; wait 300ms; press 2; expect digits 3; tone 700 1s; wait 300ms; press 3; expect hangup');
    const call = await client.calls.create({ to: callee.uri, from, twiml: '<Response><Pause length="60"/></Response>' });
    await waitStatus(client, call.sid, 'in-progress');
    const { recordings } = client.calls(call.sid);
    const recording = await recordings.create({
      recordingChannels: 'dual', recordingTrack: 'both', trim: 'do-not-trim', recordingStatusCallback: `${web.url}/rec`,
      recordingStatusCallbackMethod: 'POST', recordingStatusCallbackEvent: ['in-progress', 'completed', 'absent'],
    });
    assert.deepEqual([recording.status, recording.source, recording.channels, recording.track, recording.duration, recording.price],
      ['in-progress', 'StartCallRecordingAPI', 2, 'both', null, null]);

    // next has the phone whistle, and waits until it is done.
    const next = async (n) => {
      await client.calls(call.sid).update({ twiml: `<Response><Play digits="${n}"/><Gather numDigits="1" timeout="30" action="${web.url}/key"/></Response>` });
      assert.equal((await web.waitFor('/key', n))[n - 1].Digits, `${n}`);
    };
    await next(1);
    assert.equal((await recordings('Twilio.CURRENT').update({ status: 'paused', pauseBehavior })).status, 'paused');
    await next(2);
    assert.equal((await recordings(recording.sid).update({ status: 'in-progress' })).status, 'in-progress');
    await next(3);
    assert.equal((await recordings('Twilio.CURRENT').update({ status: 'stopped' })).sid, recording.sid);
    const callbacks = await web.waitFor('/rec', 2);
    assert.deepEqual(callbacks.map((c) => [c.RecordingStatus, c.RecordingSid, c.RecordingChannels, c.RecordingSource, c.RecordingTrack]),
      ['in-progress', 'completed'].map((s) => [s, recording.sid, '2', 'StartCallRecordingAPI', 'both']));
    assert.deepEqual(web.refused, [], 'signatures the SDK refuses');

    const done = await recordings(recording.sid).fetch();
    assert.equal(done.status, 'completed');
    const [said, heard] = wav(await download(url, recording.sid, '.wav'));
    assert.equal(done.duration, `${Math.round(said.length / rate)}`);
    assert.equal(callbacks[1].RecordingDuration, done.duration);
    for (const [hz, want] of [[440, 1], [700, 1], [1000, 0]]) {
      const { length } = tone(said, hz);
      assert.ok(Math.abs(length - want) <= exact, `${length} s of ${hz} Hz, want ${want}`);
    }
    const { begin, end } = tone(said, 440);
    assert.ok(power(heard.slice(begin, end), 440) * 1e4 <= power(said.slice(begin, end), 440), 'the channels are 40 dB apart');
    assert.equal(wav(await download(url, recording.sid, '?RequestedChannels=1')).length, 1);
    assert.equal(wav(await download(url, recording.sid, '.wav?RequestedChannels=2')).length, 2);
    assert.ok((await download(url, recording.sid, '.mp3')).length > 1000);

    assert.deepEqual((await client.recordings.list({ callSid: call.sid })).map((r) => r.sid), [recording.sid]);
    assert.deepEqual((await recordings.list()).map((r) => r.sid), [recording.sid]);
    assert.equal(await client.recordings(recording.sid).remove(), true);
    await assert.rejects(client.recordings(recording.sid).fetch(), { code: 20404, status: 404 });
    assert.equal((await client.recordings(recording.sid).fetch({ includeSoftDeleted: true })).status, 'deleted');
    assert.equal((await media(url, recording.sid, '.wav')).status, 404);
    await assert.rejects(recordings('Twilio.CURRENT').update({ status: 'stopped' }), { code: 21220, status: 400 });
    await client.calls(call.sid).update({ status: 'completed' });
    await callee.line(/^ended by the far end: 200/);
    await assert.rejects(recordings.create({}), { code: 21220, status: 400 });
  });
}
