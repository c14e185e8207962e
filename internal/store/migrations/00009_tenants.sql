-- Subaccounts, API keys, and numbers of others that an account may call from.

-- +goose Up
ALTER TABLE accounts ADD COLUMN owner_sid TEXT NOT NULL DEFAULT ''; -- its own when it is no subaccount
ALTER TABLE accounts ADD COLUMN status TEXT NOT NULL DEFAULT 'active';
ALTER TABLE accounts ADD COLUMN date_updated BIGINT NOT NULL DEFAULT 0;
UPDATE accounts SET owner_sid = sid, date_updated = date_created;
CREATE INDEX accounts_list ON accounts (owner_sid, date_created, sid);

CREATE TABLE api_keys (
    sid           TEXT NOT NULL PRIMARY KEY,
    account_sid   TEXT NOT NULL,
    date_created  BIGINT NOT NULL,
    date_updated  BIGINT NOT NULL,
    friendly_name TEXT NOT NULL,
    hash          TEXT NOT NULL -- SHA-256 of the secret, in hex
);
CREATE INDEX api_keys_list ON api_keys (account_sid, date_created, sid);

CREATE TABLE caller_ids (
    sid           TEXT NOT NULL PRIMARY KEY,
    account_sid   TEXT NOT NULL,
    date_created  BIGINT NOT NULL,
    date_updated  BIGINT NOT NULL,
    phone_number  TEXT NOT NULL,
    friendly_name TEXT NOT NULL
);
CREATE UNIQUE INDEX caller_ids_number ON caller_ids (account_sid, phone_number);
CREATE INDEX caller_ids_list ON caller_ids (account_sid, date_created, sid);

-- +goose Down
DROP TABLE caller_ids;
DROP TABLE api_keys;
DROP INDEX accounts_list;
ALTER TABLE accounts DROP COLUMN date_updated;
ALTER TABLE accounts DROP COLUMN status;
ALTER TABLE accounts DROP COLUMN owner_sid;
