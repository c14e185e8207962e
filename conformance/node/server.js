// An offhook server of the test's own, the customer's application, and scripted phones around it.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import twilio from 'twilio';

export const accountSid = 'AC0123456789abcdef0123456789abcdef';
export const authToken = 'conformance';
export const from = '+15005550006';

const root = fileURLToPath(new URL('../..', import.meta.url));
const offhook = path.join(root, 'bin/offhook');
const anyPhone = path.join(root, 'bin/conformance-phone'); // built from conformance/phone
const deadline = 30_000; // ms, of every wait

// within fails a promise that takes too long.
export function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: nothing within 30 s`)), deadline); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A Process is a program, bin/offhook unless said otherwise, with its lines kept, so that no wait comes too late.
class Process {
  constructor(args, bin = offhook) {
    this.lines = [];
    this.waiting = [];
    this.child = spawn(bin, args, {
      env: { ...process.env, TWILIO_ACCOUNT_SID: accountSid, TWILIO_AUTH_TOKEN: authToken },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.ended = new Promise((resolve) => this.child.on('close', resolve));
    this.child.on('error', (err) => this.#take(`${bin}: ${err.message}`));
    for (const out of [this.child.stdout, this.child.stderr]) {
      readline.createInterface({ input: out }).on('line', (line) => this.#take(line));
    }
  }

  #take(line) {
    this.lines.push(line);
    this.waiting = this.waiting.filter((w) => !w(line));
  }

  line(want) {
    const seen = this.lines.map((l) => l.match(want)).find(Boolean);
    if (seen) return Promise.resolve(seen);
    return within(`a line like ${want}`, new Promise((resolve, reject) => {
      this.waiting.push((line) => { const m = line.match(want); if (m) resolve(m); return Boolean(m); });
      this.ended.then(() => reject(new Error(`ended without a line like ${want}; its last are ${this.lines.slice(-3).join(' / ')}`)));
    }));
  }

  async stop() {
    this.child.kill('SIGINT');
    await within('the end of the process', this.ended);
  }
}

// start runs a server until the test t ends; client is the SDK with its account's credentials.
export async function start(t) {
  const data = await mkdtemp(path.join(tmpdir(), 'offhook-'));
  const server = new Process(['serve', '--http', '127.0.0.1:0', '--sip', '127.0.0.1:0', '--data', data, '--voice', 'test', '--drain', '0s']);
  t.after(async () => { await server.stop(); await rm(data, { recursive: true }); });
  const [, url, sip] = await server.line(/ready http=(\S+) sip=([0-9.:[\]a-f]+)/);
  return { client: as(url, accountSid, authToken), url, sip };
}

// as is the SDK with somebody's credentials, an account's or a key's, pointed at url as the README shows.
export function as(url, user, secret, options) {
  const client = twilio(user, secret, options);
  client.api.baseUrl = url;
  return client;
}

// dial has a scripted phone call a number through the server at sip; ended is the phone's exit code.
export function dial(t, sip, number, caller, script) {
  const p = new Process(['phone', number, '--via', sip, '--number', caller, '--voice', 'test', '--script', script]);
  t.after(() => p.stop());
  return { ended: within('the end of the phone', p.ended) };
}

// phone starts a scripted phone that is called.
export async function phone(t, script) {
  const p = new Process(['phone', '--once', '--voice', 'test', '--script', script]);
  t.after(() => p.stop());
  const [, addr] = await p.line(/^ready sip=(\S+)$/);
  return { uri: `sip:conformance@${addr}`, line: (want) => p.line(want) };
}

let built = false;

// peer starts SIPp or baresip as a phone that hears prompt, presses key and hears reply; see
// conformance/phone. It skips the test t and returns undefined where it cannot run.
export async function peer(t, kind, key, prompt, reply) {
  if (!built) execFileSync('go', ['build', '-o', anyPhone, './conformance/phone'], { cwd: root });
  built = true;
  const p = new Process([kind, key, prompt, reply], anyPhone);
  t.after(() => p.stop());
  const [, addr, missing] = await p.line(/^(?:ready sip=(.*)|(NOT TESTED: .*))$/);
  if (missing) {
    t.skip(missing);
    return undefined;
  }
  return { uri: `sip:conformance@${addr}`, line: (want) => p.line(want) };
}

// app is the customer's web application. The SDK judges the signature of every request.
export async function app(t, documents) {
  const got = [];
  const refused = [];
  const waiting = new Set();
  const server = http.createServer((req, res) => {
    let body = '';
    req.on('data', (chunk) => { body += chunk; });
    req.on('end', () => {
      const url = `http://${req.headers.host}${req.url}`;
      const params = Object.fromEntries(new URLSearchParams(body));
      if (!twilio.validateRequest(authToken, req.headers['x-twilio-signature'] ?? '', url, params)) refused.push(url);
      const { pathname, searchParams } = new URL(url);
      got.push({ path: pathname, params: { ...Object.fromEntries(searchParams), ...params } });
      for (const check of waiting) check();
      res.setHeader('Content-Type', 'text/xml');
      res.end(documents[pathname] ?? '');
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  t.after(() => { server.closeAllConnections(); server.close(); });
  const requests = (path) => got.filter((r) => r.path === path).map((r) => r.params);
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    refused,
    requests,
    // waitFor returns the requests to path once there are n.
    waitFor: (path, n = 1) => within(`${n} requests to ${path}`, new Promise((resolve) => {
      const check = () => { if (requests(path).length >= n) { waiting.delete(check); resolve(requests(path)); } };
      waiting.add(check);
      check();
    })),
  };
}

// waitStatus polls a call, as the SDK's users do, until it has one of the statuses.
export function waitStatus(client, sid, ...want) {
  let over = false;
  const poll = async () => {
    while (!over) {
      const call = await client.calls(sid).fetch();
      if (want.includes(call.status)) return call;
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    return undefined;
  };
  return within(`call ${sid} as ${want}`, poll()).finally(() => { over = true; });
}
