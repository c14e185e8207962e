// Package store keeps calls, their events, callbacks and notifications, numbers, trunks and accounts
// in SQLite or PostgreSQL. SQL is the only truth: one transaction holds a change of a call, the event
// that tells of it and the callbacks it gives rise to.
//
// All writes go through one goroutine, the writer, which commits whatever waits in one transaction
// (group commit) and answers each caller after the commit. Writes of live calls go before those of the
// API. Reads run beside it on a pool and see committed rows only. The SQL text is the same for both
// databases; package store knows nothing of call logic beyond the guards of its writes.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says where the data is. The zero value of all but DSN works.
type Config struct {
	DSN   string      // postgres://… or the path of a SQLite file, made (mode 0600) when missing
	Node  string      // name of this node, written as owner of the calls it takes; default the host name
	Clock clock.Clock // default the system clock
	Log   *slog.Logger

	LiveLane int // writes of live calls that may wait before callers block; default 1024
	APILane  int // writes of the API that may wait before more are refused; default 256

	// Keep is how long delivered callbacks, events, notifications and requests are kept; default 30 days.
	Keep time.Duration

	Feed Feed   // is told of what is stored; default nobody
	Due  func() // is told that something is due to a webhook, after the commit; must not block
}

// Feed is told of events after the commit that stored them and before anybody hears of it, by one goroutine.
type Feed interface {
	// Watched reports whether anybody wants the events; else they are not told.
	Watched() bool
	// Publish has the events of one commit in the order of their positions, the last of which is upTo. No events:
	// there are some up to there that are not told. It must not block.
	Publish(events []call.Event, upTo int64)
}

// Store is an open database. Its methods are safe for concurrent use; each write returns after its commit.
//
// A write that fails with call.ErrUnavailable was not acknowledged: after a lost connection it may have
// happened all the same, so a caller that repeats it must expect call.ErrConflict.
type Store struct {
	cfg     Config
	d       *dialect
	epoch   int64
	w       *writer
	sweeper *sweeper

	requests *requestLog

	// SQLite only
	lock       *os.File // held while open
	checkpoint *checkpointer
	phones     *book[call.Number]
	owners     *book[call.Account]
	seen       *book[call.Call]

	reader *sql.DB
	mu     sync.Mutex
	stmts  map[string]*sql.Stmt // of reader, by the text before rebinding; static texts only, so bounded

	close    sync.Once
	closeErr error
}

// Open opens the database, brings its schema up to date and starts a new epoch.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Keep <= 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.Node == "" {
		cfg.Node, _ = os.Hostname()
	}
	s := &Store{cfg: cfg, stmts: make(map[string]*sql.Stmt)}
	var writeDB *sql.DB
	defer func() {
		if err != nil {
			for _, db := range []*sql.DB{writeDB, s.reader} {
				if db != nil {
					_ = db.Close()
				}
			}
			unlock(s.lock)
		}
	}()
	if isPostgres(cfg.DSN) {
		s.d = postgres
		writeDB, s.reader, err = openPostgres(ctx, cfg)
	} else {
		s.d = sqlite
		writeDB, s.reader, s.lock, err = openSQLite(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx, writeDB); err != nil {
		return nil, err
	}
	const next = "UPDATE counter SET value = value + 1 WHERE name = 'epoch' RETURNING value"
	if err := writeDB.QueryRowContext(ctx, next).Scan(&s.epoch); err != nil {
		return nil, fmt.Errorf("store: start a new epoch: %w", err)
	}
	// The queue keeps its order when the machine's clock was set back since the last run.
	const last = "SELECT COALESCE(MAX(seq), 0) FROM calls WHERE ended_at = 0 AND epoch = 0"
	var seq int64
	if err := writeDB.QueryRowContext(ctx, last).Scan(&seq); err != nil {
		return nil, fmt.Errorf("store: read the dialling queue: %w", err)
	}
	if cfg.Feed != nil { // what earlier processes stored is there to be read
		var era int64
		if err := writeDB.QueryRowContext(ctx, "SELECT value FROM counter WHERE name = 'era'").Scan(&era); err != nil {
			return nil, fmt.Errorf("store: read the positions of events: %w", err)
		}
		cfg.Feed.Publish(nil, firstPosition(era+1)-1)
	}
	committed := func() {}
	if s.d == sqlite {
		s.checkpoint = newCheckpointer(s.reader, cfg.Log)
		s.phones, s.owners = newBook[call.Number](maxKept), newBook[call.Account](maxKept)
		s.seen = newBook[call.Call](maxKeptCalls)
		committed = s.checkpoint.committed
	}
	s.w = newWriter(writeDB, s.d, cfg, newSequence(cfg.Clock, s.epoch, seq), committed)
	s.w.changed = s.seen.drop // ahead of the first job
	s.requests = newRequestLog(s.w, cfg.Clock)
	s.sweeper = s.newSweeper()
	return s, nil
}

// migrate applies the migrations that the database does not have yet. Nodes that start together on one
// PostgreSQL take turns.
func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	options := []goose.ProviderOption{goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true)}
	if s.d.locker != nil {
		locker, err := s.d.locker()
		if err != nil {
			return fmt.Errorf("store: migrations: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(s.d.goose, db, files, options...)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	sources := p.ListSources()
	ours := sources[len(sources)-1].Version
	var theirs int64 // an empty database has no such table
	if err := db.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version").Scan(&theirs); err == nil && theirs > ours {
		return fmt.Errorf("store: the database was written by a newer offhook (its schema is version %d, this one knows %d): "+
			"start that one, or put back the copy that you made of the database before the update", theirs, ours)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("store: bring the schema up to date: %w", err)
	}
	for _, m := range done {
		s.cfg.Log.Info("schema migrated", "version", m.Source.Version, "duration", m.Duration)
	}
	return nil
}

// Close commits what waits, then closes the database. It is idempotent.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.sweeper.close()
		s.requests.close()
		s.w.close()
		if s.checkpoint != nil {
			s.checkpoint.close()
		}
		s.closeErr = errors.Join(s.reader.Close(), s.w.db.Close()) // the last one tidies SQLite's log away
		unlock(s.lock)
	})
	return s.closeErr
}

// Epoch is this opening's number: it marks the calls this process runs. No two openings share one.
func (s *Store) Epoch() int64 { return s.epoch }

// Ping reports whether the store can be written now: by a write of its own, unless there just was one.
// It may take as long as ctx; no write of anybody else waits for it.
func (s *Store) Ping(ctx context.Context) error {
	if age := s.w.age(); age > slow {
		return s.w.trouble(slow)
	}
	if s.w.failure.Load() == nil && s.cfg.Clock.Now().UnixNano()-s.w.good.Load() < int64(fresh) {
		return nil
	}
	return s.w.live(ctx, &job{probes: true, run: func(b *batch) error { return fill(b, "") }})
}

// Backlog is how many writes wait or are being written, and how long the oldest of those being written has
// waited so far: 0 when the writer has nothing to do. It costs nothing.
func (s *Store) Backlog() (n int, oldest time.Duration) { return s.w.backlog() }

// stmt is the prepared form of a static query.
func (s *Store) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.Lock()
	st := s.stmts[query]
	s.mu.Unlock()
	if st != nil {
		return st, nil
	}
	st, err := s.reader.PrepareContext(ctx, s.d.rebind(query)) // without the lock: the database may hang
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.stmts[query]; first != nil {
		_ = st.Close() //nolint:sqlclosecheck // another one was faster
		return first, nil
	}
	s.stmts[query] = st
	return st, nil
}

// query runs a static query and hands each row to scan.
func (s *Store) query(caller context.Context, scan func(scanner) error, query string, args ...any) error {
	ctx, cancel := s.reading(caller)
	defer cancel()
	rows, err := s.retry(ctx, func() (*sql.Rows, error) {
		st, err := s.stmt(ctx, query) //nolint:sqlclosecheck // closed with the pool
		if err != nil {
			return nil, err
		}
		return st.QueryContext(ctx, args...)
	})
	if err != nil {
		return readError(caller, err)
	}
	return readError(caller, scanAll(rows, scan))
}

// reading bounds a query of a database behind a network, the more when it cannot be written: then it is
// likely to be gone altogether, and there are others who wait for a connection.
func (s *Store) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := s.d.reading
	if limit == 0 {
		return ctx, func() {}
	}
	if s.w != nil && s.w.trouble(slow) != nil {
		limit = 500 * time.Millisecond
	}
	return context.WithTimeout(ctx, limit)
}

// queryRow is query for one row; call.ErrNotFound when there is none.
func (s *Store) queryRow(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	found := false
	err := s.query(ctx, func(r scanner) error {
		found = true
		return scan(r)
	}, query, args...)
	if err == nil && !found {
		err = call.ErrNotFound
	}
	return err
}

// retry runs a query a second time when its connection turns out to be dead: after a restart of the
// database all that idle in the pool are.
func (s *Store) retry(ctx context.Context, run func() (*sql.Rows, error)) (*sql.Rows, error) {
	rows, err := run()
	if err != nil && ctx.Err() == nil && s.d.lost(err) {
		s.reader.SetMaxIdleConns(0) // drops them
		s.reader.SetMaxIdleConns(s.d.readers)
		rows, err = run()
	}
	return rows, err
}

// scanner is the present row of *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

func scanAll(rows *sql.Rows, scan func(scanner) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// readError maps an error of a query: everything but the caller's own cancellation means that the
// database cannot be read.
func readError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("store: read: %w", context.Cause(ctx))
	}
	return fmt.Errorf("store: read: %w: %w", call.ErrUnavailable, err)
}
