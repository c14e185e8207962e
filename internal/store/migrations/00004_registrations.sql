-- What phones registered.

-- +goose Up
CREATE TABLE sip_bindings (
    domain_sid TEXT NOT NULL,
    username   TEXT NOT NULL,
    contact    TEXT NOT NULL, -- the part of the URI that tells contacts apart
    uri        TEXT NOT NULL,
    dest       TEXT NOT NULL, -- ip:port
    transport  TEXT NOT NULL,
    call_id    TEXT NOT NULL,
    cseq       BIGINT NOT NULL,
    q          BIGINT NOT NULL, -- thousandths
    expires_at BIGINT NOT NULL,
    bound_at   BIGINT NOT NULL,
    keep_alive BIGINT NOT NULL, -- 0 or 1
    user_agent TEXT NOT NULL,
    PRIMARY KEY (domain_sid, username, contact)
);
CREATE INDEX sip_bindings_expiry ON sip_bindings (expires_at);

-- +goose Down
DROP TABLE sip_bindings;
