-- +goose Up

-- A create that is sent twice is one call.
CREATE TABLE idempotency (
    account_sid TEXT NOT NULL,
    name        TEXT NOT NULL, -- the key
    fingerprint TEXT NOT NULL, -- of the request
    call_sid    TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (account_sid, name)
);
CREATE INDEX idempotency_call ON idempotency (call_sid);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- +goose Down
DROP TABLE idempotency;
