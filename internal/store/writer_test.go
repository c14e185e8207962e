package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/offhook/offhook/internal/call"
)

func openTest(t *testing.T, cfg Config) *Store {
	t.Helper()
	cfg.DSN = filepath.Join(t.TempDir(), "offhook.db")
	s, err := Open(t.Context(), cfg)
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

// hold keeps the writer in a batch of its own until release is called.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		err := s.w.live(context.Background(), &job{run: func(*batch) error {
			close(entered)
			<-leave
			return nil
		}})
		if err != nil {
			t.Error(err)
		}
	})
	<-entered
	return func() {
		close(leave)
		done.Wait()
	}
}

// note is a job that writes down that it ran.
func note(ran *[]string, name string) *job {
	return &job{done: make(chan struct{}), run: func(*batch) error {
		*ran = append(*ran, name)
		return nil
	}}
}

func TestLiveWritesGoBeforeTheAPI(t *testing.T) {
	s := openTest(t, Config{})
	release := hold(t, s)
	var ran []string
	var jobs []*job
	for i := range 3 { // the API's came first
		jobs = append(jobs, note(&ran, fmt.Sprint("api", i)))
		s.w.apiLane <- jobs[i]
	}
	for i := range 3 {
		jobs = append(jobs, note(&ran, fmt.Sprint("live", i)))
		s.w.liveLane <- jobs[3+i]
	}
	release()
	for _, j := range jobs {
		<-j.done
	}
	if want := []string{"live0", "live1", "live2", "api0", "api1", "api2"}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

func TestAFullAPILaneRefusesAtOnce(t *testing.T) {
	s := openTest(t, Config{APILane: 2})
	release := hold(t, s)
	var ran []string
	jobs := []*job{note(&ran, "a"), note(&ran, "b")}
	for _, j := range jobs {
		s.w.apiLane <- j
	}
	if err := s.DeleteTrunk(t.Context(), "AC1", "TK1"); !errors.Is(err, call.ErrUnavailable) {
		t.Errorf("a third write: %v, want unavailable", err)
	}
	release()
	for _, j := range jobs {
		<-j.done
	}
	if err := s.DeleteTrunk(t.Context(), "AC1", "TK1"); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("when there is room again: %v, want not found", err)
	}
}

func TestAFullLiveLaneWaitsForRoom(t *testing.T) {
	s := openTest(t, Config{LiveLane: 1})
	release := hold(t, s)
	var ran []string
	j := note(&ran, "first")
	s.w.liveLane <- j
	gone, cancel := context.WithCancelCause(t.Context())
	why := errors.New("hung up")
	cancel(why)
	if err := s.w.live(gone, note(&ran, "gone")); !errors.Is(err, why) {
		t.Errorf("a caller that gave up: %v, want its cause", err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
	release()
	waiting.Wait()
	<-j.done
	if !slices.Equal(ran, []string{"first"}) {
		t.Errorf("ran %v", ran)
	}
}

func TestAWriteThatWasGivenUpIsNotWritten(t *testing.T) {
	s := openTest(t, Config{})
	release := hold(t, s)
	var ran []string
	ctx, cancel := context.WithCancel(t.Context())
	j := note(&ran, "given up")
	j.run = func(*batch) error { t.Error("it ran"); return nil }
	s.w.liveLane <- j
	cancel()
	if err := s.w.wait(ctx, j); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
	last := note(&ran, "last")
	s.w.liveLane <- last
	release()
	<-last.done
}

func TestCloseWritesWhatWaits(t *testing.T) {
	s := openTest(t, Config{})
	release := hold(t, s)
	var ran []string
	jobs := []*job{note(&ran, "api"), note(&ran, "live")}
	s.w.apiLane <- jobs[0]
	s.w.liveLane <- jobs[1]
	var closing sync.WaitGroup
	closing.Go(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	<-s.w.quit
	release()
	closing.Wait()
	for _, j := range jobs {
		if err := s.w.wait(t.Context(), j); err != nil {
			t.Error(err)
		}
	}
}

// Lists must not get slow with the number of calls, nor Due with that of delivered callbacks.
func TestQueriesUseTheirIndex(t *testing.T) {
	s := openTest(t, Config{})
	page := func(add func(l *listing)) func() (string, []any) {
		return func() (string, []any) {
			l := &listing{table: "calls", columns: callColumns, order: "date_created", tie: "seq", limit: 50}
			add(l)
			return l.build("AC1")
		}
	}
	static := func(query string) func() (string, []any) {
		return func() (string, []any) { return query, make([]any, strings.Count(query, "?")) }
	}
	for _, test := range []struct {
		name  string
		query func() (string, []any)
		want  string // of the plan
		sorts bool
	}{
		{"all", page(func(*listing) {}), "calls_list (account_sid=?)", false},
		{"next page", page(func(l *listing) { l.cursor = []any{1, 1} }), "calls_list (account_sid=? AND (date_created,seq)<(?,?))", false},
		{"To", page(func(l *listing) { l.equal("to_addr", "+1") }), "calls_to (account_sid=? AND to_addr=?)", false},
		{"From", page(func(l *listing) { l.equal("from_addr", "+1") }), "calls_from (account_sid=? AND from_addr=?)", false},
		{"Status", page(func(l *listing) { l.where("status IN (?)", "busy") }), "calls_status (account_sid=? AND status=?)", false},
		{
			"ParentSID", page(func(l *listing) { l.where("parent_sid = ? AND parent_sid <> ''", "CA1") }),
			"calls_parent (account_sid=? AND parent_sid=?)", false,
		},
		{
			"a day", page(func(l *listing) { l.between("start_time", 1, 2) }),
			"calls_start (account_sid=? AND start_time>? AND start_time<?)", true,
		},
		{"since", page(func(l *listing) { l.between("ended_at", 1, 0) }), "calls_list (account_sid=?)", false},
		{
			"until", page(func(l *listing) { l.between("start_time", 0, 1) }),
			"calls_list (account_sid=? AND date_created<?)", false,
		},
		{"a queue", static(callSelect + queuedCalls + " AND queue_key = ? AND account_sid = ? ORDER BY seq"), "calls_queue (queue_key=? AND account_sid=?)", false},
		{"calls queued for too long", static(callSelect + queuedCalls + " AND seq < ? ORDER BY seq"), "calls_live (seq<?)", false},
		{"all queues", static(callSelect + queuedCalls + " ORDER BY seq"), "calls_live", false},
		{"live", static(callSelect + liveCalls), "calls_live", false},
		{"due", static(dueCallbacks), "outbox_call (call_sid=?); LIST SUBQUERY 1; SEARCH outbox USING COVERING INDEX outbox_due (due_at<?)", true},
		{"dead letters", static(deadCallbacks), "outbox_dead (account_sid=?)", false},
	} {
		query, args := test.query()
		plan := explain(t, s, query, args...)
		if !strings.Contains(plan, test.want) || strings.Contains(plan, "TEMP B-TREE") != test.sorts {
			t.Errorf("%s: %s\nwant %s, sorting: %v", test.name, plan, test.want, test.sorts)
		}
	}
}

func explain(t *testing.T, s *Store, query string, args ...any) string {
	t.Helper()
	rows, err := s.reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	err = scanAll(rows, func(r scanner) error {
		var a, b, c int
		var step string
		if err := r.Scan(&a, &b, &c, &step); err != nil {
			return err
		}
		plan = append(plan, step)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "; ")
}
