package store

import (
	"context"
	"database/sql"
	"log/slog"
)

const (
	// commitsPerCheckpoint is how often the write-ahead log is copied into the database file beside the
	// writer. In the writer, as SQLite does by itself, it made every hundredth create wait 20 ms.
	commitsPerCheckpoint = 32
	// maxLogPages is when the writer does it after all and then starts the log anew, which needs a moment
	// without commits: the log stays under about 64 MB. Little is left to copy by then.
	maxLogPages = 16000
)

// checkpointer copies SQLite's write-ahead log into the database file in a goroutine of its own.
type checkpointer struct {
	db      *sql.DB // readers
	log     *slog.Logger
	commits int // since the last checkpoint; of the writer's goroutine
	wake    chan struct{}
	gone    chan struct{}
}

func newCheckpointer(db *sql.DB, log *slog.Logger) *checkpointer {
	c := &checkpointer{db: db, log: log, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	go c.loop()
	return c
}

// committed counts a commit; the writer calls it.
func (c *checkpointer) committed() {
	if c.commits++; c.commits < commitsPerCheckpoint {
		return
	}
	select {
	case c.wake <- struct{}{}:
		c.commits = 0
	default: // one is waiting already
	}
}

func (c *checkpointer) loop() {
	defer close(c.gone)
	for range c.wake {
		// PASSIVE waits for nobody and copies what it can.
		if _, err := c.db.ExecContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
			c.log.Warn("write-ahead log not copied into the database; the writer will do it", "err", err)
		}
	}
}

// close ends the goroutine. committed must not be called any more.
func (c *checkpointer) close() {
	close(c.wake)
	<-c.gone
}
