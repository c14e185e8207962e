-- +goose Up
ALTER TABLE counter ADD COLUMN filler TEXT NOT NULL DEFAULT ''; -- of ping: noise of a probe, for a moment

-- +goose Down
ALTER TABLE counter DROP COLUMN filler;
