-- TwiML applications, and the keys that the server signs with itself.

-- +goose Up
CREATE TABLE applications (
    sid              TEXT NOT NULL PRIMARY KEY,
    account_sid      TEXT NOT NULL,
    date_created     BIGINT NOT NULL,
    date_updated     BIGINT NOT NULL,
    friendly_name    TEXT NOT NULL,
    voice_url        TEXT NOT NULL,
    voice_method     TEXT NOT NULL,
    fallback_url     TEXT NOT NULL,
    fallback_method  TEXT NOT NULL,
    status_url       TEXT NOT NULL,
    status_method    TEXT NOT NULL,
    caller_id_lookup BIGINT NOT NULL, -- 0 or 1
    public           BIGINT NOT NULL  -- 0 or 1: other accounts may dial it
);
CREATE INDEX applications_list ON applications (account_sid, date_created, sid);

ALTER TABLE numbers ADD COLUMN application_sid TEXT NOT NULL DEFAULT '';
CREATE INDEX numbers_application ON numbers (application_sid) WHERE application_sid <> '';

CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL -- hex
);

-- +goose Down
DROP TABLE secrets;
DROP INDEX numbers_application;
ALTER TABLE numbers DROP COLUMN application_sid;
DROP TABLE applications;
