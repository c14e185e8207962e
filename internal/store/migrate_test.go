package store_test

import (
	"database/sql"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"

	"github.com/offhook/offhook/internal/call"
)

// versions is a database that goes up and down between those of its schema; it has none yet.
func versions(t *testing.T, b backend) (address string, db *sql.DB, p *goose.Provider) {
	t.Helper()
	address = b.address(t)
	driver, dialect := "sqlite", goose.DialectSQLite3
	if b.name == onPostgres.name {
		driver, dialect = "pgx", goose.DialectPostgres
	}
	db, err := sql.Open(driver, address)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	p, err = goose.NewProvider(dialect, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	must(t, err)
	return address, db, p
}

// A database of before trunks had accounts: its trunks are the first account's, and go back as they were.
func testMigrateTrunks(t *testing.T, b backend) {
	address, db, p := versions(t, b)
	must(t, second(p.UpTo(t.Context(), 1)))
	for _, statement := range []string{
		"INSERT INTO accounts (sid, auth_token, friendly_name, date_created) VALUES ('" + other + "', 't', 'second', 2), ('" + account + "', 't', 'first', 1)",
		"INSERT INTO trunks (sid, name, host, transport, username, password, sources, prefixes, cps, max_calls, date_created) " +
			"VALUES ('TK1', 'carrier', 'sip.carrier.example', 'tcp', 'u', 'p', '', '[\"+44\"]', 2.5, 30, 1000000)",
	} {
		must(t, second(db.ExecContext(t.Context(), statement)))
	}
	must(t, second(p.UpTo(t.Context(), 2)))
	s := open(t, address)
	trunks, err := s.Trunks(t.Context())
	must(t, err)
	if len(trunks) != 1 {
		t.Fatalf("%d trunks", len(trunks))
	}
	got := trunks[0]
	want := call.Trunk{
		SID: "TK1", AccountSID: account, Kind: call.Carrier, Name: "carrier", FriendlyName: "carrier", Host: "sip.carrier.example",
		Transport: "tcp", Username: "u", Password: "p", Prefixes: []string{"+44"}, CPS: 2.5, MaxCalls: 30, Created: got.Created, Updated: got.Created,
		Targets: []call.Target{got.HostTarget()}, RecordMode: call.RecordModes[0], RecordTrim: call.RecordTrims[0],
		TransferMode: call.TransferModes[0], TransferCallerID: call.TransferCallerIDs[0], RecoveryMethod: "POST",
		Voice: call.Voice{Method: "POST", FallbackMethod: "POST", StatusMethod: "POST"},
	}
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" || got.Created.Unix() != 1 {
		t.Errorf("%s, made %v", diff, got.Created)
	}
	must(t, s.Close())
	must(t, second(p.DownTo(t.Context(), 1)))
	var name string
	var cps float64
	must(t, db.QueryRowContext(t.Context(), "SELECT name, cps FROM trunks").Scan(&name, &cps))
	if name != "carrier" || cps != 2.5 {
		t.Errorf("back again: %s %v", name, cps)
	}
}
