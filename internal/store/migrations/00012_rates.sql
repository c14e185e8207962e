-- What calls cost, and dialling queues in which each account has a line of its own.

-- +goose Up
CREATE TABLE rate_decks (
    account_sid TEXT NOT NULL PRIMARY KEY,
    imported_at BIGINT NOT NULL,
    rates       BIGINT NOT NULL, -- how many
    csv         TEXT NOT NULL    -- whole: it is only ever read and replaced as a whole
);
DROP INDEX calls_queue;
CREATE INDEX calls_queue ON calls (queue_key, account_sid, seq) WHERE ended_at = 0 AND epoch = 0;

-- +goose Down
DROP INDEX calls_queue;
CREATE INDEX calls_queue ON calls (queue_key, seq) WHERE ended_at = 0 AND epoch = 0;
DROP TABLE rate_decks;
