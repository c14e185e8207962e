-- What was requested of applications for calls, with the answers. It goes with its call.

-- +goose Up
CREATE TABLE requests (
    call_sid     TEXT NOT NULL,
    time         BIGINT NOT NULL, -- it began
    id           TEXT NOT NULL,
    method       TEXT NOT NULL,
    url          TEXT NOT NULL,
    params       TEXT NOT NULL, -- form encoded
    status       BIGINT NOT NULL, -- 0: no answer
    content_type TEXT NOT NULL,
    length       BIGINT NOT NULL, -- of the body, bytes
    body         TEXT NOT NULL,
    duration     BIGINT NOT NULL, -- microseconds
    PRIMARY KEY (call_sid, time, id)
);
-- Those of every account that are too old.
CREATE INDEX notifications_age ON notifications (time);

-- +goose Down
DROP INDEX notifications_age;
DROP TABLE requests;
