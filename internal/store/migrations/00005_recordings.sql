-- Recordings of calls. They outlive their calls.

-- +goose Up
CREATE TABLE recordings (
    sid            TEXT NOT NULL PRIMARY KEY,
    account_sid    TEXT NOT NULL,
    call_sid       TEXT NOT NULL,
    conference_sid TEXT NOT NULL,
    date_created   BIGINT NOT NULL,
    source         TEXT NOT NULL,
    track          TEXT NOT NULL,
    channels       BIGINT NOT NULL,
    options        TEXT NOT NULL, -- JSON
    node           TEXT NOT NULL, -- that has its spool
    -- what changes
    date_updated   BIGINT NOT NULL,
    start_time     BIGINT NOT NULL,
    status         TEXT NOT NULL,
    error_code     BIGINT NOT NULL,
    samples        BIGINT NOT NULL, -- of each channel
    price          TEXT NOT NULL,
    price_unit     TEXT NOT NULL,
    blob_key       TEXT NOT NULL,
    encrypted      BIGINT NOT NULL, -- 0 or 1
    unfinished     BIGINT NOT NULL  -- 0 or 1: its node has work with it
);
CREATE INDEX recordings_list ON recordings (account_sid, date_created, sid);
CREATE INDEX recordings_call ON recordings (call_sid, date_created, sid);
CREATE INDEX recordings_conference ON recordings (conference_sid, date_created, sid) WHERE conference_sid <> '';
CREATE INDEX recordings_unfinished ON recordings (sid) WHERE unfinished = 1;

-- +goose Down
DROP TABLE recordings;
