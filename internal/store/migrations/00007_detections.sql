-- What answering-machine detection found out. It goes with its call.

-- +goose Up
CREATE TABLE detections (
    call_sid    TEXT NOT NULL PRIMARY KEY,
    account_sid TEXT NOT NULL,
    time        BIGINT NOT NULL,
    answered_by TEXT NOT NULL,
    after_us    BIGINT NOT NULL, -- microseconds of audio from the answer to the verdict
    rule        TEXT NOT NULL,
    settings    TEXT NOT NULL, -- JSON
    trace       TEXT NOT NULL  -- JSON
);

-- +goose Down
DROP TABLE detections;
