package offhooktest_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // the database that the test locks

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

// A database that is locked by somebody else for a while delays what has to be stored first, and loses nothing.
func TestACallWhileTheDatabaseIsLocked(t *testing.T) {
	dir := t.TempDir()
	srv := offhooktest.Start(t, offhooktest.Data(dir))
	app := srv.App(t)
	app.On("/voice", `<Response><Say loop="0">Still here</Say></Response>`)
	ph := srv.Phone(t, callee)
	db, err := sql.Open("sqlite", filepath.Join(dir, "offhook.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	locked := func(f func()) {
		t.Helper()
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		f()
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	}

	c := srv.Call(t, append(allEvents(app), "To", callee, "From", caller, "Url", app.URL("/voice"))...)
	line := ph.Incoming()
	locked(func() {
		_ = line.Ring()
		_ = line.Answer()
		line.Answered()
		_ = clock.Sleep(t.Context(), clock.System, 300*time.Millisecond)
	})
	line.Hears("Still here")
	locked(func() { line.HearsSound(time.Second) }) // who listens hears nothing of it
	updated := make(chan int, 1)
	locked(func() {
		go func() {
			code, _ := c.Update("Status", "completed")
			updated <- code
		}()
		_ = clock.Sleep(t.Context(), clock.System, 300*time.Millisecond)
	})
	if code := <-updated; code != http.StatusOK {
		t.Errorf("hang up: %d", code)
	}
	line.HungUp()
	for i, status := range []string{"initiated", "ringing", "in-progress", "completed"} {
		app.Got("/status", "CallStatus", status, "SequenceNumber", strconv.Itoa(i))
	}
	want := []string{"created", "queued", "ringing", "answered", "in-progress", "completed"}
	if diff := cmp.Diff(want, c.Events().Names()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
