-- Events of all calls of an account in one order, and webhooks that are told of them.

-- +goose Up

-- Where an event stands among all of the store: it grows with each commit, and is never given twice.
ALTER TABLE events ADD COLUMN pos BIGINT NOT NULL DEFAULT 0;
UPDATE events SET pos = placed.pos FROM (
    SELECT call_sid, seq, ROW_NUMBER() OVER (ORDER BY at, call_sid, seq) AS pos FROM (
        SELECT call_sid, seq, MAX(time) OVER (PARTITION BY call_sid ORDER BY seq) AS at FROM events
    ) AS timed
) AS placed WHERE events.call_sid = placed.call_sid AND events.seq = placed.seq;
CREATE INDEX events_account ON events (account_sid, pos);
INSERT INTO counter (name, value) VALUES ('era', 0); -- connections that wrote: positions begin anew with each, higher

CREATE TABLE webhooks (
    sid          TEXT NOT NULL PRIMARY KEY,
    account_sid  TEXT NOT NULL,
    date_created BIGINT NOT NULL,
    date_updated BIGINT NOT NULL,
    url          TEXT NOT NULL,
    events       TEXT NOT NULL, -- JSON, '' for all
    secret       TEXT NOT NULL,
    old_secret   TEXT NOT NULL, -- signs too until old_until
    old_until    BIGINT NOT NULL
);
CREATE INDEX webhooks_list ON webhooks (account_sid, date_created, sid);

-- What is owed to a webhook has its body in params.
ALTER TABLE outbox ADD COLUMN webhook_sid TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_webhook ON outbox (webhook_sid, state, created_at, id) WHERE webhook_sid <> '';

-- +goose Down
DROP INDEX outbox_webhook;
DELETE FROM outbox WHERE webhook_sid <> '';
ALTER TABLE outbox DROP COLUMN webhook_sid;
DROP TABLE webhooks;
DELETE FROM counter WHERE name = 'era';
DROP INDEX events_account;
ALTER TABLE events DROP COLUMN pos;
