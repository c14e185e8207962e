package store

import (
	"context"
	"testing"
	"time"
)

// Sweep removes at once what is old at now.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int64, error) { return s.sweep(ctx, now, 0) }

// Said is all that is stored of what was told to applications and what they answered.
func (s *Store) Said(t *testing.T) (all string) {
	t.Helper()
	for _, query := range []string{
		"SELECT params FROM outbox", "SELECT params || body FROM requests", "SELECT data FROM events",
		"SELECT request_params || response_body FROM notifications",
	} {
		if err := s.query(t.Context(), func(r scanner) error {
			var text string
			err := r.Scan(&text)
			all += text + "\n"
			return err
		}, query); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
