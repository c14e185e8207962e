-- SIP domains with their credentials and addresses, trunks with their targets. Passwords are stored as they
-- are: digest authentication (RFC 7616) needs them.

-- +goose Up

CREATE TABLE sip_domains (
    sid                  TEXT NOT NULL PRIMARY KEY,
    account_sid          TEXT NOT NULL,
    date_created         BIGINT NOT NULL,
    date_updated         BIGINT NOT NULL,
    name                 TEXT NOT NULL UNIQUE, -- lower case
    friendly_name        TEXT NOT NULL,
    voice_url            TEXT NOT NULL,
    voice_method         TEXT NOT NULL,
    fallback_url         TEXT NOT NULL,
    fallback_method      TEXT NOT NULL,
    status_url           TEXT NOT NULL,
    status_method        TEXT NOT NULL,
    sip_registration     BIGINT NOT NULL, -- 0 or 1, as all that follow
    secure               BIGINT NOT NULL,
    emergency_calling    BIGINT NOT NULL,
    emergency_caller_sid TEXT NOT NULL,
    trunk_sid            TEXT NOT NULL
);
CREATE INDEX sip_domains_list ON sip_domains (account_sid, date_created, sid);

CREATE TABLE sip_lists (
    sid           TEXT NOT NULL PRIMARY KEY,
    account_sid   TEXT NOT NULL,
    date_created  BIGINT NOT NULL,
    date_updated  BIGINT NOT NULL,
    kind          TEXT NOT NULL, -- CL: of credentials; AL: of addresses
    friendly_name TEXT NOT NULL
);
CREATE INDEX sip_lists_list ON sip_lists (account_sid, kind, date_created, sid);

CREATE TABLE sip_credentials (
    sid          TEXT NOT NULL PRIMARY KEY,
    account_sid  TEXT NOT NULL,
    date_created BIGINT NOT NULL,
    date_updated BIGINT NOT NULL,
    list_sid     TEXT NOT NULL,
    username     TEXT NOT NULL,
    password     TEXT NOT NULL
);
CREATE UNIQUE INDEX sip_credentials_name ON sip_credentials (list_sid, username);
CREATE INDEX sip_credentials_list ON sip_credentials (account_sid, list_sid, date_created, sid);

CREATE TABLE sip_addresses (
    sid           TEXT NOT NULL PRIMARY KEY,
    account_sid   TEXT NOT NULL,
    date_created  BIGINT NOT NULL,
    date_updated  BIGINT NOT NULL,
    list_sid      TEXT NOT NULL, -- '' for the IP records of BYOC
    friendly_name TEXT NOT NULL,
    ip            TEXT NOT NULL,
    bits          BIGINT NOT NULL
);
CREATE INDEX sip_addresses_list ON sip_addresses (account_sid, list_sid, date_created, sid);

-- Which lists a domain or a trunk asks.
CREATE TABLE sip_mappings (
    sid          TEXT NOT NULL, -- the list's
    account_sid  TEXT NOT NULL,
    date_created BIGINT NOT NULL,
    date_updated BIGINT NOT NULL,
    owner_sid    TEXT NOT NULL, -- a domain or a trunk
    purpose      TEXT NOT NULL, -- calls or registrations
    kind         TEXT NOT NULL, -- of the list
    PRIMARY KEY (owner_sid, purpose, sid)
);
CREATE INDEX sip_mappings_sid ON sip_mappings (sid);

CREATE TABLE source_ip_mappings (
    sid           TEXT NOT NULL PRIMARY KEY,
    account_sid   TEXT NOT NULL,
    date_created  BIGINT NOT NULL,
    date_updated  BIGINT NOT NULL,
    ip_record_sid TEXT NOT NULL UNIQUE,
    domain_sid    TEXT NOT NULL
);
CREATE INDEX source_ip_mappings_list ON source_ip_mappings (account_sid, date_created, sid);

CREATE TABLE connection_policies (
    sid           TEXT NOT NULL PRIMARY KEY,
    account_sid   TEXT NOT NULL,
    date_created  BIGINT NOT NULL,
    date_updated  BIGINT NOT NULL,
    friendly_name TEXT NOT NULL
);
CREATE INDEX connection_policies_list ON connection_policies (account_sid, date_created, sid);

-- Where calls of a trunk (OU) or of a connection policy (NE) go.
CREATE TABLE targets (
    sid           TEXT NOT NULL PRIMARY KEY,
    account_sid   TEXT NOT NULL,
    date_created  BIGINT NOT NULL,
    date_updated  BIGINT NOT NULL,
    owner_sid     TEXT NOT NULL,
    friendly_name TEXT NOT NULL,
    uri           TEXT NOT NULL,
    priority      BIGINT NOT NULL,
    weight        BIGINT NOT NULL,
    enabled       BIGINT NOT NULL -- 0 or 1
);
CREATE INDEX targets_list ON targets (account_sid, owner_sid, date_created, sid);

-- Trunks belong to an account now: those that are there, to the first.
ALTER TABLE trunks RENAME TO old_trunks;
CREATE TABLE trunks (
    sid                TEXT NOT NULL PRIMARY KEY,
    account_sid        TEXT NOT NULL,
    date_created       BIGINT NOT NULL,
    date_updated       BIGINT NOT NULL,
    kind               TEXT NOT NULL, -- carrier or elastic
    name               TEXT NOT NULL, -- for the command line; '' when made through Twilio's APIs
    friendly_name      TEXT NOT NULL,
    host               TEXT NOT NULL,
    transport          TEXT NOT NULL,
    username           TEXT NOT NULL,
    password           TEXT NOT NULL,
    sources            TEXT NOT NULL, -- JSON
    prefixes           TEXT NOT NULL, -- JSON
    cps                DOUBLE PRECISION NOT NULL,
    max_calls          BIGINT NOT NULL,
    secure             BIGINT NOT NULL, -- 0 or 1
    register           TEXT NOT NULL, -- JSON
    ping               BIGINT NOT NULL, -- microseconds
    voice_url          TEXT NOT NULL,
    voice_method       TEXT NOT NULL,
    fallback_url       TEXT NOT NULL,
    fallback_method    TEXT NOT NULL,
    status_url         TEXT NOT NULL,
    status_method      TEXT NOT NULL,
    cnam_lookup        BIGINT NOT NULL, -- 0 or 1
    policy_sid         TEXT NOT NULL,
    from_domain_sid    TEXT NOT NULL,
    domain_name        TEXT NOT NULL, -- lower case
    recovery_url       TEXT NOT NULL,
    recovery_method    TEXT NOT NULL,
    transfer_mode      TEXT NOT NULL,
    transfer_caller_id TEXT NOT NULL,
    record_mode        TEXT NOT NULL,
    record_trim        TEXT NOT NULL
);
INSERT INTO trunks
SELECT sid, COALESCE((SELECT a.sid FROM accounts a ORDER BY a.date_created, a.sid LIMIT 1), ''), date_created, date_created,
    'carrier', name, name, host, transport, username, password, sources, prefixes, cps, max_calls, 0, '', 0,
    '', 'POST', '', 'POST', '', 'POST', 0, '', '', '', '', 'POST', 'disable-all', 'from-transferee', 'do-not-record', 'do-not-trim'
FROM old_trunks;
DROP TABLE old_trunks;
CREATE INDEX trunks_list ON trunks (account_sid, kind, date_created, sid);
CREATE UNIQUE INDEX trunks_name ON trunks (account_sid, name) WHERE name <> '';
CREATE UNIQUE INDEX trunks_domain ON trunks (domain_name) WHERE domain_name <> '';

ALTER TABLE numbers ADD COLUMN trunk_sid TEXT NOT NULL DEFAULT '';
CREATE INDEX numbers_trunk ON numbers (account_sid, trunk_sid, date_created, sid) WHERE trunk_sid <> '';

-- +goose Down
DROP INDEX numbers_trunk;
ALTER TABLE numbers DROP COLUMN trunk_sid;
ALTER TABLE trunks RENAME TO new_trunks;
CREATE TABLE trunks (
    sid          TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    host         TEXT NOT NULL,
    transport    TEXT NOT NULL,
    username     TEXT NOT NULL,
    password     TEXT NOT NULL,
    sources      TEXT NOT NULL, -- JSON
    prefixes     TEXT NOT NULL, -- JSON
    cps          DOUBLE PRECISION NOT NULL,
    max_calls    BIGINT NOT NULL,
    date_created BIGINT NOT NULL
);
INSERT INTO trunks
SELECT sid, name, host, transport, username, password, sources, prefixes, cps, max_calls, date_created
FROM new_trunks WHERE name <> '' AND host <> '' ON CONFLICT DO NOTHING;
DROP TABLE new_trunks;
DROP TABLE targets;
DROP TABLE connection_policies;
DROP TABLE source_ip_mappings;
DROP TABLE sip_mappings;
DROP TABLE sip_addresses;
DROP TABLE sip_credentials;
DROP TABLE sip_lists;
DROP TABLE sip_domains;
