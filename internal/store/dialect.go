package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	sqlitedriver "modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// dialect is everything in which the two databases differ.
type dialect struct {
	goose   goose.Dialect
	locker  func() (lock.SessionLocker, error) // nil when the file lock does that
	begin   string
	numeric bool          // placeholders are $1 $2 …
	timeout time.Duration // of one batch; 0 none
	reading time.Duration // how long one query may take; 0 for ever
	readers int           // connections of the pool for reading
	// jobFault reports whether an error is of the statement's own making (a constraint, a value the
	// database refuses) and not the database's state. unique: a row that exists already.
	jobFault func(error) bool
	unique   func(error) bool
	// lost reports whether the connection is gone, so that another one may do.
	lost func(error) bool
}

// sqlite runs its statements without deadline: the driver would start a goroutine per statement to
// watch a context, and a local file answers anyway.
var sqlite = &dialect{
	goose:   goose.DialectSQLite3,
	begin:   "BEGIN IMMEDIATE",
	readers: 4, // more than cores do not help: its reads do not wait
	jobFault: func(err error) bool {
		switch sqliteCode(err) & 0xff {
		case sqlitelib.SQLITE_CONSTRAINT, sqlitelib.SQLITE_MISMATCH, sqlitelib.SQLITE_TOOBIG, sqlitelib.SQLITE_RANGE:
			return true
		}
		return false
	},
	unique: func(err error) bool {
		c := sqliteCode(err)
		return c == sqlitelib.SQLITE_CONSTRAINT_UNIQUE || c == sqlitelib.SQLITE_CONSTRAINT_PRIMARYKEY
	},
	lost: func(error) bool { return false },
}

func sqliteCode(err error) int {
	var e *sqlitedriver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

var postgres = &dialect{
	goose: goose.DialectPostgres,
	locker: func() (lock.SessionLocker, error) {
		return lock.NewPostgresSessionLocker()
	},
	begin:   "BEGIN",
	numeric: true,
	timeout: patience,
	reading: 3 * time.Second,
	readers: 16,
	jobFault: func(err error) bool {
		switch c := postgresCode(err); {
		case len(c) != 5:
			return false
		case c == "40001", c == "40P01": // serialization, deadlock: another node was faster
			return true
		default: // 22 data, 23 constraint, 54 limits such as an index row that is too long
			return c[:2] == "22" || c[:2] == "23" || c[:2] == "54"
		}
	},
	unique: func(err error) bool { return postgresCode(err) == "23505" },
	lost: func(err error) bool {
		c := postgresCode(err)
		return c == "" || strings.HasPrefix(c, "08") || strings.HasPrefix(c, "57P") || c == "25006"
	},
}

// postgresCode is the SQLSTATE the server sent, "" when the error is of the connection.
func postgresCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// rebind turns ? into $1 $2 … where the database wants it. No query has a ? in a literal. What SQLite cannot
// insert fails where it stands: to take back one statement of several rows it would copy each page that they
// change, and a batch that failed is rolled back whole.
func (d *dialect) rebind(query string) string {
	if !d.numeric {
		return strings.Replace(query, "INSERT INTO", "INSERT OR FAIL INTO", 1)
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// openSQLite opens one writing and several reading connections on the file at cfg.DSN, which this
// process alone may use.
func openSQLite(ctx context.Context, cfg Config) (write, read *sql.DB, held *os.File, err error) {
	if cfg.DSN == "" || strings.HasPrefix(cfg.DSN, ":") || strings.Contains(cfg.DSN, "://") {
		return nil, nil, nil, fmt.Errorf("store: database %q: want postgres://… or the path of a SQLite file", cfg.DSN)
	}
	path, err := filepath.Abs(cfg.DSN)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("store: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("store: make the data folder: %w", err)
	}
	held, err = lockFile(path + ".lock")
	if err != nil {
		return nil, nil, nil, err
	}
	// Auth tokens and SIP passwords are inside. SQLite gives its -wal and -shm files the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, held, fmt.Errorf("store: open the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, nil, held, fmt.Errorf("store: make the database: %w", err)
	}
	// Pragmas are per connection; synchronous FULL syncs the log at each commit.
	dsn := "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	if write, err = sql.Open("sqlite", fmt.Sprintf("%s&_pragma=cache_size(-4096)&_pragma=wal_autocheckpoint(%d)", dsn, maxLogPages)); err != nil {
		return nil, nil, held, fmt.Errorf("store: open the database: %w", err)
	}
	write.SetMaxOpenConns(1)
	if err := write.PingContext(ctx); err != nil { // makes the file WAL before a reader comes
		return write, nil, held, fmt.Errorf("store: open the database %s: %w", path, err)
	}
	if read, err = sql.Open("sqlite", dsn+"&_pragma=query_only(1)"); err != nil {
		return write, nil, held, fmt.Errorf("store: open the database: %w", err)
	}
	limitPool(read, sqlite.readers)
	return write, read, held, nil
}

// openPostgres opens a pool for the writer, which takes one connection, and one for readers.
func openPostgres(ctx context.Context, cfg Config) (write, read *sql.DB, err error) {
	pc, err := pgx.ParseConfig(cfg.DSN)
	if err != nil { // pgx leaves the password out of it
		return nil, nil, fmt.Errorf("store: database address: %w", err)
	}
	if pc.ConnectTimeout == 0 {
		pc.ConnectTimeout = 5 * time.Second
	}
	if pc.RuntimeParams["application_name"] == "" {
		pc.RuntimeParams["application_name"] = "offhook " + cfg.Node
	}
	write, read = stdlib.OpenDB(*pc), stdlib.OpenDB(*pc)
	limitPool(write, 2) // the migrations' lock holds one while they run in the other
	limitPool(read, postgres.readers)

	var version int
	var durable string
	const about = "SELECT current_setting('server_version_num')::int, current_setting('synchronous_commit')"
	if err := write.QueryRowContext(ctx, about).Scan(&version, &durable); err != nil {
		return write, read, fmt.Errorf("store: connect to PostgreSQL at %s: %w", pc.Host, err)
	}
	if version < 150000 {
		return write, read, fmt.Errorf("store: PostgreSQL at %s is version %d; 15 or later is needed", pc.Host, version/10000)
	}
	if durable == "off" {
		cfg.Log.Warn("synchronous_commit is off: a crash of the database server may lose acknowledged calls")
	}
	return write, read, nil
}

func limitPool(db *sql.DB, n int) {
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
}
