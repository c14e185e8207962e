//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite"
)

const (
	historyCallee  = "+15005551005" // the simulated phone that answers at once
	historyCallees = 1000           // that the calls of the history are spread over
	historyEnds    = 10 * time.Second
)

// lists takes pages of 50 calls from a large table.
func (b *bench) lists(ctx context.Context) error {
	n := pick(b, 100_000, 1_000_000)
	dir, err := b.folder()
	if err != nil {
		return err
	}
	if err := b.firstCall(ctx, dir); err != nil {
		return err
	}
	began := time.Now()
	if err := remember(ctx, filepath.Join(dir, "offhook.db"), n); err != nil {
		return fmt.Errorf("fill the table of calls: %w", err)
	}
	fmt.Fprintf(b.out, "%d ended calls, copied from one in %.1f s: a call a second, to %d numbers\n", n, time.Since(began).Seconds(), historyCallees)
	s, err := b.serveOn(ctx, dir)
	if err != nil {
		return err
	}
	defer s.close()
	const one = "%2B15550000042"
	for _, l := range [...]struct{ name, path string }{
		{"GET Calls?PageSize=50", s.path("Calls") + "?PageSize=50"},
		{"GET Calls?PageSize=50&To=", s.path("Calls") + "?PageSize=50&To=" + one},
		{"GET /v1/calls?limit=50", "/v1/calls?limit=50"},
		{"GET /v1/calls?limit=50&to=", "/v1/calls?limit=50&to=" + one},
	} {
		for _, conns := range [...]int{1, connections} {
			m := start(s.pid())
			r := hammer(ctx, conns, pick(b, 1500*time.Millisecond, 5*time.Second), s.ask(http.MethodGet, l.path, "", ""))
			u := m.used()
			b.add("API", fmt.Sprintf("%s of %d, over %d, p99", l.name, n, conns), r.latency.at(0.99)[0], "ms", budget{}, &u, fmt.Sprintf("%.0f/s; %s", r.rate(), r.note()))
		}
	}
	return ctx.Err()
}

// firstCall leaves one completed call in the folder.
func (b *bench) firstCall(ctx context.Context, dir string) error {
	s, err := b.serveOn(ctx, dir)
	if err != nil {
		return err
	}
	defer s.close()
	c, err := s.post(ctx, "Calls", "To", historyCallee, "From", "+15005550006", "Twiml", "<Response><Hangup/></Response>")
	if err != nil {
		return err
	}
	sid, _ := c["sid"].(string)
	for deadline := time.Now().Add(historyEnds); ; pause(ctx, 20*time.Millisecond) {
		var now struct {
			Status string `json:"status"`
		}
		if err := s.get(ctx, "Calls/"+sid, "", &now); err != nil {
			return err
		}
		if now.Status == "completed" {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("the call to %s was %s after %s", historyCallee, now.Status, historyEnds)
		}
	}
}

// remember copies the one call of a database n times, each a second further back and to the next of the callees, while no
// server runs on it. All columns of a call are copied; its events and callbacks are not.
func remember(ctx context.Context, file string, n int) (err error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=cache_size(-262144)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }() // what is not written then is missing
	db.SetMaxOpenConns(1)
	rows, err := db.QueryContext(ctx, "SELECT name FROM pragma_table_info('calls')")
	if err != nil {
		return err
	}
	defer rows.Close()
	var columns, values []string
	for rows.Next() {
		var c string
		if err := rows.Scan(&c); err != nil {
			return err
		}
		columns = append(columns, c)
		switch c {
		case "sid": // it begins with the time, as those that the server gives
			c = "printf('CA%016x', date_created - 1000000 * back) || lower(hex(randomblob(8)))"
		case "seq":
			c += " - 1024 * 1000000 * back"
		case "to_addr":
			c = fmt.Sprintf("printf('+1555%%07d', back %% %d)", historyCallees)
		case "date_created", "date_updated", "dialed_at", "answered_at", "ended_at", "start_time":
			c += " - 1000000 * back"
		}
		values = append(values, c)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT INTO calls ("+strings.Join(columns, ", ")+") "+
		"WITH RECURSIVE ages(back) AS (SELECT ? UNION ALL SELECT back - 1 FROM ages WHERE back > 1) "+
		"SELECT "+strings.Join(values, ", ")+" FROM ages, (SELECT * FROM calls LIMIT 1)", n)
	return err
}
