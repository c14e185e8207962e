package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/store"
	"github.com/offhook/offhook/internal/twilio"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashChildEnv); dir != "" {
		crashChild(dir)
	}
	if dir := os.Getenv(fullChildEnv); dir != "" {
		fullChild(dir)
	}
	goleak.VerifyTestMain(m)
}

// backend is a kind of database; address returns that of a new, empty one.
type backend struct {
	name    string
	address func(t testing.TB) string
}

var (
	onSQLite   = backend{"SQLite", func(t testing.TB) string { return filepath.Join(t.TempDir(), "offhook.db") }}
	onPostgres = backend{"PostgreSQL", postgresSchema}
)

func TestSQLite(t *testing.T)     { contract(t, onSQLite) }
func TestPostgreSQL(t *testing.T) { contract(t, onPostgres) }

// contract is what the store promises, whatever keeps the data.
func contract(t *testing.T, b backend) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b backend)
	}{
		{"a call comes back as it was stored", testRoundTrip},
		{"a text with NUL or broken UTF-8 is stored cleaned", testUnstorableText},
		{"a taken SID is a conflict and writes nothing", testTakenSID},
		{"a save is guarded by status and epoch", testSaveGuards},
		{"saving an unowned call takes it", testClaim},
		{"a queued call is canceled unless taken", testCancelQueued},
		{"notes are outside the guard", testAnnotate},
		{"idempotency keys", testIdempotency},
		{"a status and an end time that do not fit are refused", testEndTime},
		{"one bad job of a batch fails alone", testBadJob},
		{"the queue is first in first out", testQueued},
		{"live calls are those that somebody runs", testLive},
		{"what ended just before the newest end is found", testJustEnded},
		{"delete removes an ended call with all it has", testDelete},
		{"events are in order and continue", testEvents},
		{"events of an account are told in order and as they are stored", testAccountEvents},
		{"what is owed to webhooks is stored with the event", testOwed},
		{"events of the first schema get positions", testMigrateEvents},
		{"every filter selects", testFilters},
		{"pages go on and back", testPages},
		{"callbacks are due in order per call", testDue},
		{"callbacks are delivered, put off, given up and sent again", testMarks},
		{"notifications are listed newest first", testNotifications},
		{"requests are listed first things first", testRequests},
		{"a deleted call leaves nothing of what was said", testDeleteForgetsBodies},
		{"what is old is removed", testRetention},
		{"numbers are unique and found by pattern", testNumbers},
		{"applications are of an account, and leave its numbers when they go", testApplications},
		{"a secret is made once", testSecrets},
		{"trunks have unique names", testTrunks},
		{"domains and trunks know what is mapped to them", testIdentities},
		{"resources are made, changed, paged and removed", testRecords},
		{"contacts of phones come, go and expire", testLocations},
		{"trunks of the first schema are kept", testMigrateTrunks},
		{"there are no more resources than there may be", testLimits},
		{"a recording goes with its call, then by itself", testRecordings},
		{"recordings are listed newest first", testRecordingLists},
		{"a detection goes with its call", testDetections},
		{"a rate deck is replaced as a whole", testRateDecks},
		{"accounts are put", testAccounts},
		{"subaccounts are made, listed, suspended and closed", testSubaccounts},
		{"keys go with their account's token", testKeys},
		{"each opening has its own epoch", testEpoch},
		{"a closed store is unavailable", testClosed},
		{"the store can be pinged", testPing},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

// postgresSchema makes a schema of its own in the database at OFFHOOK_TEST_POSTGRES, gone after the test.
func postgresSchema(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv("OFFHOOK_TEST_POSTGRES")
	if dsn == "" {
		const hint = "OFFHOOK_TEST_POSTGRES is not set: the store is NOT tested on PostgreSQL; run: scripts/with-postgres go test ./..."
		if os.Getenv("CI") == "true" {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("OFFHOOK_TEST_POSTGRES: %v", err)
	}
	schema := "offhook_test_" + strings.ToLower(twilio.NewSID("X"))
	admin := func(statement string) error {
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			return err
		}
		defer db.Close()
		_, err = db.ExecContext(context.Background(), statement)
		return err
	}
	if err := admin("CREATE SCHEMA " + schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			t.Error(err)
		}
	})
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func open(t testing.TB, address string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: address, Node: "node-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

const (
	account = "AC00000000000000000000000000000001"
	other   = "AC00000000000000000000000000000002"
)

var morning = time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)

// newCall is a full queued call as the API makes it.
func newCall(at time.Time) *call.Call {
	return &call.Call{
		SID: twilio.NewSID("CA"), AccountSID: account, To: "+15005551001", From: "+15005550006",
		Direction: call.OutboundAPI, Status: call.Queued, DateCreated: at, DateUpdated: at,
		PriceUnit: "USD", QueueKey: "sim",
		Options: call.Options{
			URL: "https://app.example/voice?a=b%2Bc", Method: "POST", FallbackURL: "https://app.example/fallback",
			FallbackMethod: "POST", StatusURL: "https://app.example/status", StatusMethod: "POST",
			StatusEvents: []string{"initiated", "ringing", "answered", "completed"}, Timeout: 60, TimeLimit: 14400,
		},
		EventSeq: 2, CallbackSeq: 1,
	}
}

// changeOf is a change with one event and, with a URL, one callback.
func changeOf(c *call.Call, seq int, name, target string) call.Change {
	ch := call.Change{Events: []call.Event{{
		ID: twilio.NewSID("EV"), CallSID: c.SID, AccountSID: c.AccountSID, Seq: seq, Name: name, Time: c.DateUpdated,
		Snapshot: call.Snapshot(c, nil),
	}}}
	if target != "" {
		ch.Callbacks = []call.Callback{{
			ID: twilio.NewSID("EV"), CallSID: c.SID, AccountSID: c.AccountSID, Seq: seq, Method: "POST", URL: target,
			Params: url.Values{
				"CallSid": {c.SID}, "AccountSid": {c.AccountSID}, "CallStatus": {name}, "From": {c.From}, "To": {c.To},
				"Direction": {"outbound-api"}, "ApiVersion": {"2010-04-01"}, "Timestamp": {"Fri, 01 May 2026 08:00:00 +0000"},
			},
			CreatedAt: c.DateUpdated,
		}}
	}
	return ch
}

func create(t testing.TB, s *store.Store, c *call.Call) *call.Call {
	t.Helper()
	if err := s.CreateCall(t.Context(), c, changeOf(c, 0, "queued", "")); err != nil {
		t.Fatal(err)
	}
	return c
}

// end saves c as ended with status, from whatever it was.
func end(t testing.TB, s *store.Store, c *call.Call, status call.Status, at time.Time) {
	t.Helper()
	from := c.Status
	c.Status, c.EndedAt = status, at
	must(t, s.SaveCall(t.Context(), c, from, call.Change{}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sids(calls []*call.Call) string {
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintf(&b, "%s ", c.SID[:8])
	}
	return b.String()
}
