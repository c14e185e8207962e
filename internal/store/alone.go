package store

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

// Alone makes sure that no other server works on the database, and keeps others off until Close. SQLite's
// file lock has seen to it already. On PostgreSQL it is an advisory lock of the connection that writes: the
// database drops it with the connection when the process dies, and whoever lost the connection writes
// nothing before it has the lock again.
func (s *Store) Alone(ctx context.Context) error {
	if s.d != postgres {
		return nil
	}
	var schema string
	if err := s.reader.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	key := fnv.New64a()
	_, _ = key.Write([]byte("offhook " + schema)) // a hash takes everything
	lock := int64(key.Sum64())
	// The server may need a moment to notice that the process before us is dead.
	for range 10 {
		free := "false"
		err := s.w.live(ctx, &job{run: func(b *batch) error {
			err := b.scan(func(v string) { free = v }, "SELECT pg_try_advisory_lock(?)::text", lock)
			if free == "true" {
				s.w.alone = lock
			}
			return err
		}})
		if err != nil || free == "true" {
			return err
		}
		if err := clock.Sleep(ctx, s.cfg.Clock, 200*time.Millisecond); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return fmt.Errorf("store: the database is in use by another offhook: stop it, or choose another with --database")
}
