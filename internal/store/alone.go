package store

import (
	"context"
	"fmt"
	"hash/fnv"
)

// Alone makes sure that no other server works on the database, and keeps others off until Close. SQLite's
// file lock has seen to it already; on PostgreSQL it is an advisory lock of a connection of its own, which
// the database drops with the connection when the process dies.
func (s *Store) Alone(ctx context.Context) error {
	if s.d != postgres {
		return nil
	}
	conn, err := s.reader.Conn(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	var schema string
	if err := conn.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		_ = conn.Close()
		return fmt.Errorf("store: %w", err)
	}
	key := fnv.New64a()
	_, _ = key.Write([]byte("offhook " + schema)) // a hash takes everything
	var free bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", int64(key.Sum64())).Scan(&free); err != nil {
		_ = conn.Close()
		return fmt.Errorf("store: %w", err)
	}
	if !free {
		_ = conn.Close()
		return fmt.Errorf("store: the database is in use by another offhook: stop it, or choose another with --database")
	}
	s.alone = conn
	return nil
}
