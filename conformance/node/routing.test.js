import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountSid, start } from './server.js';

// Every resource of SIP identities and trunks: made, fetched, listed, changed where it can be, and deleted.
test('SIP identities and trunks through the SDK', async (t) => {
  const { client, url } = await start(t);
  client.voice.baseUrl = url;
  client.trunking.baseUrl = url;
  const { sip } = client;
  const cycle = async (name, list, fields, change) => {
    const made = await list.create(fields);
    assert.equal(made.accountSid ?? accountSid, accountSid, name);
    assert.ok(made.dateCreated instanceof Date && !Number.isNaN(made.dateCreated.getTime()), `${name}: date`);
    assert.equal((await list(made.sid).fetch()).sid, made.sid, name);
    assert.deepEqual((await list.list()).map((v) => v.sid), [made.sid], name);
    if (change) {
      const changed = await list(made.sid).update(change);
      for (const [field, want] of Object.entries(change)) if (field !== 'password') assert.equal(changed[field], want, `${name}: ${field}`);
    }
    return made;
  };
  const undo = [];
  const keep = async (name, list, fields, change) => {
    const made = await cycle(name, list, fields, change);
    undo.unshift([name, list, made.sid]);
    return made;
  };

  const credentials = await keep('credential list', sip.credentialLists, { friendlyName: 'phones' }, { friendlyName: 'desks' });
  await keep('credential', sip.credentialLists(credentials.sid).credentials, { username: 'ann', password: 'Secret-000001' }, { password: 'Secret-000002' });
  const addresses = await keep('access list', sip.ipAccessControlLists, { friendlyName: 'office' }, { friendlyName: 'site' });
  const address = await keep('address', sip.ipAccessControlLists(addresses.sid).ipAddresses,
    { friendlyName: 'gate', ipAddress: '192.0.2.7', cidrPrefixLength: 24 }, { friendlyName: 'door' });
  assert.equal(address.cidrPrefixLength, 24);
  const domain = await keep('domain', sip.domains, { domainName: 'shop.sip.twilio.com', voiceUrl: 'https://app.example.com/voice' }, { sipRegistration: true, secure: true });
  const on = sip.domains(domain.sid);
  await keep('registrations', on.auth.registrations.credentialListMappings, { credentialListSid: credentials.sid });
  await keep('calls by credential', on.auth.calls.credentialListMappings, { credentialListSid: credentials.sid });
  await keep('calls by address', on.ipAccessControlListMappings, { ipAccessControlListSid: addresses.sid });
  assert.equal((await on.auth.calls.ipAccessControlListMappings.list()).length, 1);
  assert.equal((await on.credentialListMappings.list()).length, 1);
  assert.equal((await on.fetch()).authType, 'IP_ACL,CREDENTIAL_LIST');

  const trunk = await keep('trunk', client.trunking.v1.trunks, { friendlyName: 'PBX', domainName: 'pbx.pstn.twilio.com' }, { secure: true, transferMode: 'sip-only' });
  const pbx = client.trunking.v1.trunks(trunk.sid);
  await keep('origination URL', pbx.originationUrls, { weight: 1, priority: 0, enabled: true, friendlyName: 'a', sipUrl: 'sip:pbx.example.com' }, { enabled: false, priority: 5 });
  await keep('trunk credentials', pbx.credentialsLists, { credentialListSid: credentials.sid });
  await keep('trunk addresses', pbx.ipAccessControlLists, { ipAccessControlListSid: addresses.sid });
  const number = await client.incomingPhoneNumbers.create({ phoneNumber: '+15557654321' });
  await keep('trunk number', pbx.phoneNumbers, { phoneNumberSid: number.sid });
  assert.equal((await client.incomingPhoneNumbers(number.sid).fetch()).trunkSid, trunk.sid);
  assert.equal((await pbx.recordings().update({ mode: 'record-from-answer' })).mode, 'record-from-answer');
  assert.deepEqual((await pbx.fetch()).authTypeSet, ['IP_ACL', 'CREDENTIAL_LIST']);

  const { voice } = client;
  const policy = await keep('connection policy', voice.v1.connectionPolicies, { friendlyName: 'sites' }, { friendlyName: 'both' });
  await keep('target', voice.v1.connectionPolicies(policy.sid).targets, { target: 'sip:a.example.com' }, { weight: 20, enabled: false });
  await keep('BYOC trunk', voice.v1.byocTrunks, { friendlyName: 'carrier', connectionPolicySid: policy.sid }, { voiceUrl: 'https://app.example.com/voice', fromDomainSid: domain.sid });
  const record = await keep('IP record', voice.v1.ipRecords, { ipAddress: '192.0.2.9' }, { friendlyName: 'gateway' });
  await keep('source IP mapping', voice.v1.sourceIpMappings, { ipRecordSid: record.sid, sipDomainSid: domain.sid }, { sipDomainSid: domain.sid });

  await assert.rejects(sip.credentialLists(credentials.sid).remove(), { code: 21241, status: 400 });
  await assert.rejects(sip.ipAccessControlLists(addresses.sid).remove(), { code: 21236, status: 400 });
  for (const [name, list, sid] of undo) {
    assert.equal(await list(sid).remove(), true, name);
    await assert.rejects(list(sid).fetch(), { code: 20404, status: 404 }, name);
  }

  // Pages are followed across /v1's whole URLs.
  for (let i = 0; i < 5; i += 1) await voice.v1.connectionPolicies.create({ friendlyName: `${i}` });
  assert.deepEqual((await voice.v1.connectionPolicies.list({ pageSize: 2 })).map((p) => p.friendlyName), ['4', '3', '2', '1', '0']);
});
