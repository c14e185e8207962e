package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// writeConn is the writer's connection with its prepared statements.
type writeConn struct {
	conn  *sql.Conn
	d     *dialect
	stmts map[string]*sql.Stmt       // by the text before rebinding
	pos   int64                      // of the last event
	hooks map[string][]*call.Webhook // by account; nil: to be read
}

// eraBits is how many events a connection can write, as a power of two. Each has positions of its own, above those of
// all before it: of what was being committed when one was lost, nobody knows whether it was.
const eraBits = 36

func firstPosition(era int64) int64 { return era << eraBits }

// openWriteConn takes the lock of that key, 0 for none, when it is free: the server gives it back when it
// has done with the connection before. Whatever that one was committing is decided then.
func openWriteConn(ctx context.Context, db *sql.DB, d *dialect, lock int64) (*writeConn, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &writeConn{conn: conn, d: d, stmts: make(map[string]*sql.Stmt)}
	if lock != 0 {
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
			c.close()
			return nil, fmt.Errorf("take the lock that keeps other servers off: %w", err)
		}
	}
	var era int64
	const next = "UPDATE counter SET value = value + 1 WHERE name = 'era' RETURNING value"
	if err := conn.QueryRowContext(ctx, next).Scan(&era); err != nil {
		c.close()
		return nil, fmt.Errorf("number the events to come: %w", err)
	}
	c.pos = firstPosition(era)
	return c, nil
}

// close ends the connection for good instead of giving it back to the pool: an error may have left it
// inside a transaction, and a file that failed is opened anew.
func (c *writeConn) close() {
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.conn.Close()
}

func (c *writeConn) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := c.stmts[query]; st != nil {
		return st, nil
	}
	st, err := c.conn.PrepareContext(ctx, c.d.rebind(query))
	if err != nil {
		return nil, err
	}
	c.stmts[query] = st
	return st, nil
}

// batch is one transaction of the writer.
type batch struct {
	ctx  context.Context
	conn *writeConn
	seq  *sequence
	// repeated are the calls whose last write may have been committed without anybody knowing.
	repeated map[string]bool
	rows     [len(tables)][][]any // inserts to do at the end, by table
	owed     bool                 // some of them are for webhooks
	changed  []string             // SIDs of calls that were stored before and may have changed
}

// exec runs a statement and returns the number of rows it touched.
func (b *batch) exec(query string, args ...any) (int64, error) {
	if strings.HasPrefix(query, "UPDATE calls") || strings.HasPrefix(query, "DELETE FROM calls") {
		b.notes(args)
	}
	if strings.Contains(query[:min(len(query), len("DELETE FROM webhooks"))], " webhooks") { // however it is written
		b.conn.hooks = nil
	}
	st, err := b.conn.stmt(b.ctx, query) //nolint:sqlclosecheck // closed with its connection
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(b.ctx, clean(args)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// notes the calls that the arguments of a statement name.
func (b *batch) notes(args []any) {
	for _, a := range args {
		if sid, ok := a.(string); ok && len(sid) == twilio.SIDLength && strings.HasPrefix(sid, twilio.CallPrefix) {
			b.changed = append(b.changed, sid)
		}
	}
}

// guarded is exec for a statement that must touch a row.
func (b *batch) guarded(refusal error, query string, args ...any) error {
	n, err := b.exec(query, args...)
	if err == nil && n == 0 {
		err = refusal
	}
	return err
}

// scan runs a query that returns rows of one column.
func (b *batch) scan(each func(string), query string, args ...any) error {
	return b.rowsOf(func(r scanner) error {
		var s string
		if err := r.Scan(&s); err != nil {
			return err
		}
		each(s)
		return nil
	}, query, args...)
}

// rowsOf runs a query and hands each row to scan.
func (b *batch) rowsOf(scan func(scanner) error, query string, args ...any) error {
	st, err := b.conn.stmt(b.ctx, query) //nolint:sqlclosecheck // closed with its connection
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(b.ctx, clean(args)...)
	if err != nil {
		return err
	}
	return scanAll(rows, scan)
}

// apply writes all jobs: first the new calls together, then what each job runs in order, at last the
// rows they add, together. A job refused on the way has written nothing.
func (b *batch) apply(jobs []*job) ([]error, error) {
	var calls [][]any
	for _, j := range jobs {
		if j.call != nil {
			j.call.values[callSeqColumn] = b.seq.next()
			calls = append(calls, j.call.values)
		}
	}
	if err := b.insert(callTable, calls); err != nil {
		return nil, err
	}
	verdicts := make([]error, len(jobs))
	for i, j := range jobs {
		if j.run != nil {
			if err := j.run(b); err != nil {
				if !verdict(err) {
					return nil, err
				}
				verdicts[i] = err
				continue
			}
		}
		for _, r := range j.rows {
			b.rows[r.table] = append(b.rows[r.table], r.values)
		}
	}
	for _, row := range b.rows[eventRows] {
		b.conn.pos++
		row[eventPos] = b.conn.pos
	}
	if err := b.owe(); err != nil {
		return nil, err
	}
	for t, rows := range b.rows {
		if err := b.insert(tables[t], rows); err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}

// insert adds rows to t. One that is there already makes the transaction fail, and each job is written in its own.
func (b *batch) insert(t *table, rows [][]any) error {
	for _, size := range t.sizes {
		for len(rows) >= size.rows {
			if _, err := b.exec(size.query, slices.Concat(rows[:size.rows]...)...); err != nil {
				return err
			}
			rows = rows[size.rows:]
		}
	}
	return nil
}

// table is a target of multi-row inserts: on a database behind a network each statement is a round trip.
type table struct {
	name    string
	columns string
	suffix  string
	sizes   []chunk // falling, down to 1; one prepared statement each
}

type chunk struct {
	rows  int
	query string
}

func newTable(name, columns, suffix string) *table {
	t := &table{name: name, columns: columns, suffix: suffix}
	row := "(?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
	for _, n := range []int{64, 16, 4, 1} {
		t.sizes = append(t.sizes, chunk{n, "INSERT INTO " + name + " (" + columns + ") VALUES " +
			row + strings.Repeat(", "+row, n-1) + suffix})
	}
	return t
}

// rowOf is a row for one of tables.
type rowOf struct {
	table  int
	values []any
}

// stored reports whether the row is in its table.
func (b *batch) stored(r rowOf) (found bool, err error) {
	args := r.values[:1]
	if r.table == eventRows {
		args = r.values[:3]
	}
	err = b.scan(func(string) { found = true }, rowStored[r.table], slices.Clone(args)...)
	return found, err
}

// rowStored finds a row of each table by its first columns.
var rowStored = [...]string{
	eventRows:        "SELECT id FROM events WHERE call_sid = ? AND seq = ? AND id = ?",
	callbackRows:     "SELECT id FROM outbox WHERE id = ?",
	notificationRows: "SELECT sid FROM notifications WHERE sid = ?",
	detectionRows:    "SELECT call_sid FROM detections WHERE call_sid = ?",
}

// Tables that jobs add rows to.
const (
	eventRows = iota
	callbackRows
	notificationRows
	detectionRows
)

var tables = [...]*table{
	eventRows:        newTable("events", eventColumns, ""),
	callbackRows:     newTable("outbox", outboxColumns, ""),
	notificationRows: newTable("notifications", notificationColumns, ""),
	detectionRows:    newTable("detections", detectionColumns, " ON CONFLICT DO NOTHING"),
}

// clean replaces what PostgreSQL refuses in a text: NUL and broken UTF-8, as a stranger's HTTP answer or
// SIP header may carry. SQLite would store it, but both shall give the same back.
func clean(args []any) []any {
	for i, a := range args {
		if s, ok := a.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
		}
	}
	return args
}

// one is the statement that inserts a single row.
func (t *table) one() string { return t.sizes[len(t.sizes)-1].query }
