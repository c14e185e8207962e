-- One text for SQLite and PostgreSQL: TEXT, BIGINT and DOUBLE PRECISION only, no NULL anywhere
-- ('' and 0 mean none), times in microseconds since 1970 UTC.

-- +goose Up

CREATE TABLE counter (
    name  TEXT NOT NULL PRIMARY KEY, -- epoch: opened stores; ping: probes of Ping
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('epoch', 0), ('ping', 0);

CREATE TABLE accounts (
    sid           TEXT NOT NULL PRIMARY KEY,
    auth_token    TEXT NOT NULL,
    friendly_name TEXT NOT NULL,
    date_created  BIGINT NOT NULL
);

CREATE TABLE calls (
    sid            TEXT NOT NULL PRIMARY KEY,
    seq            BIGINT NOT NULL, -- order of commit: first in first out of the dialling queues
    account_sid    TEXT NOT NULL,
    parent_sid     TEXT NOT NULL,
    to_addr        TEXT NOT NULL,
    from_addr      TEXT NOT NULL,
    direction      TEXT NOT NULL,
    number_sid     TEXT NOT NULL,
    queue_key      TEXT NOT NULL,
    date_created   BIGINT NOT NULL,
    annotation     TEXT NOT NULL,
    metadata       TEXT NOT NULL, -- JSON
    -- what a live call changes, always all of it
    status         TEXT NOT NULL,
    cause          TEXT NOT NULL, -- JSON
    date_updated   BIGINT NOT NULL,
    dialed_at      BIGINT NOT NULL,
    answered_at    BIGINT NOT NULL,
    ended_at       BIGINT NOT NULL,
    start_time     BIGINT NOT NULL, -- answered_at, else dialed_at
    queue_time     BIGINT NOT NULL, -- microseconds
    trunk_sid      TEXT NOT NULL,
    group_sid      TEXT NOT NULL,
    forwarded_from TEXT NOT NULL,
    caller_name    TEXT NOT NULL,
    answered_by    TEXT NOT NULL,
    price          TEXT NOT NULL,
    price_unit     TEXT NOT NULL,
    options        TEXT NOT NULL, -- JSON
    dialog         TEXT NOT NULL, -- JSON
    callback_seq   BIGINT NOT NULL,
    event_seq      BIGINT NOT NULL,
    owner          TEXT NOT NULL,
    epoch          BIGINT NOT NULL -- 0: no node runs it
);
-- Lists are newest first. What selects by equality is indexed in that order; a range of start or end times
-- has an index of its own.
CREATE INDEX calls_list ON calls (account_sid, date_created, seq);
CREATE INDEX calls_to ON calls (account_sid, to_addr, date_created, seq);
CREATE INDEX calls_from ON calls (account_sid, from_addr, date_created, seq);
CREATE INDEX calls_status ON calls (account_sid, status, date_created, seq);
CREATE INDEX calls_parent ON calls (account_sid, parent_sid, date_created, seq) WHERE parent_sid <> '';
CREATE INDEX calls_start ON calls (account_sid, start_time) WHERE start_time > 0;
CREATE INDEX calls_end ON calls (account_sid, ended_at) WHERE ended_at > 0;
CREATE INDEX calls_live ON calls (seq) WHERE ended_at = 0;
CREATE INDEX calls_queue ON calls (queue_key, seq) WHERE ended_at = 0 AND epoch = 0;

CREATE TABLE events (
    call_sid    TEXT NOT NULL,
    seq         BIGINT NOT NULL,
    id          TEXT NOT NULL,
    account_sid TEXT NOT NULL,
    name        TEXT NOT NULL,
    time        BIGINT NOT NULL,
    data        TEXT NOT NULL, -- JSON
    PRIMARY KEY (call_sid, seq)
);

CREATE TABLE outbox (
    id           TEXT NOT NULL PRIMARY KEY,
    call_sid     TEXT NOT NULL,
    account_sid  TEXT NOT NULL,
    seq          BIGINT NOT NULL,
    method       TEXT NOT NULL,
    url          TEXT NOT NULL,
    params       TEXT NOT NULL, -- form encoded
    created_at   BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,
    last_error   TEXT NOT NULL,
    state        TEXT NOT NULL, -- pending, delivered, dead
    delivered_at BIGINT NOT NULL
);
CREATE INDEX outbox_call ON outbox (call_sid, seq);
CREATE INDEX outbox_due ON outbox (due_at, created_at, call_sid) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (account_sid, created_at, id) WHERE state = 'dead';

CREATE TABLE notifications (
    sid              TEXT NOT NULL PRIMARY KEY,
    call_sid         TEXT NOT NULL,
    account_sid      TEXT NOT NULL,
    code             BIGINT NOT NULL,
    level            BIGINT NOT NULL,
    message          TEXT NOT NULL,
    time             BIGINT NOT NULL,
    request_method   TEXT NOT NULL,
    request_url      TEXT NOT NULL,
    request_params   TEXT NOT NULL,
    response_headers TEXT NOT NULL,
    response_body    TEXT NOT NULL
);
CREATE INDEX notifications_call ON notifications (account_sid, call_sid, time, sid);
CREATE INDEX notifications_account ON notifications (account_sid, time, sid);

CREATE TABLE numbers (
    sid              TEXT NOT NULL PRIMARY KEY,
    account_sid      TEXT NOT NULL,
    phone_number     TEXT NOT NULL UNIQUE,
    friendly_name    TEXT NOT NULL,
    voice_url        TEXT NOT NULL,
    voice_method     TEXT NOT NULL,
    fallback_url     TEXT NOT NULL,
    fallback_method  TEXT NOT NULL,
    status_url       TEXT NOT NULL,
    status_method    TEXT NOT NULL,
    caller_id_lookup BIGINT NOT NULL, -- 0 or 1
    date_created     BIGINT NOT NULL,
    date_updated     BIGINT NOT NULL
);
CREATE INDEX numbers_list ON numbers (account_sid, date_created, sid);

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

-- +goose Down
DROP TABLE trunks;
DROP TABLE numbers;
DROP TABLE notifications;
DROP TABLE outbox;
DROP TABLE events;
DROP TABLE calls;
DROP TABLE accounts;
DROP TABLE counter;
