package recording

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
)

// ledger is Ledger and Settler in memory, and tells what is settled and erased.
type ledger struct {
	mu      sync.Mutex
	rows    map[string]*call.Recording
	settled chan *call.Recording
	erased  chan string
	refuse  int // settlements to refuse
}

func newLedger(rows ...*call.Recording) *ledger {
	l := &ledger{rows: map[string]*call.Recording{}, settled: make(chan *call.Recording, 100), erased: make(chan string, 100)}
	for _, r := range rows {
		l.rows[r.SID] = r
	}
	return l
}

func (l *ledger) UnfinishedRecordings(_ context.Context, after string, limit int) ([]*call.Recording, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*call.Recording
	for _, r := range l.rows {
		if r.SID > after && (!r.Status.Settled() || r.Status == call.RecordingDeleted && r.Node != "") {
			list = append(list, r.Clone())
		}
	}
	return list, nil // fewer than a page
}

func (l *ledger) RecordingBySID(_ context.Context, sid string) (*call.Recording, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rows[sid]; r != nil {
		return r.Clone(), nil
	}
	return nil, call.ErrNotFound
}

func (l *ledger) RecordingErased(_ context.Context, sid string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[sid].Node = ""
	l.erased <- sid
	return nil
}

func (l *ledger) OldRecordings(_ context.Context, before time.Time, _ int) (list []*call.Recording, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rows {
		if r.DateCreated.Before(before) && (r.Status == call.RecordingCompleted || r.Status == call.RecordingAbsent) {
			list = append(list, r.Clone())
		}
	}
	return list, nil
}

func (l *ledger) DeleteRecording(_ context.Context, _, sid string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[sid].Status = call.RecordingDeleted
	return nil
}

func (l *ledger) ForgetRecordings(context.Context, time.Time, int) (int64, error) { return 0, nil }

func (l *ledger) SettleRecording(_ context.Context, r *call.Recording, from call.RecordingStatus) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rows[r.SID].Status != from {
		return call.ErrConflict
	}
	if l.refuse > 0 {
		l.refuse--
		return call.ErrUnavailable
	}
	l.rows[r.SID] = r.Clone()
	l.settled <- r.Clone()
	return nil
}

func row(sid string, status call.RecordingStatus) *call.Recording {
	return &call.Recording{SID: sid, AccountSID: "AC1", CallSID: "CA1", Status: status, Channels: 1, Node: "here"}
}

// told takes log lines.
type told func(line string)

func (f told) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}

// keep starts a keeper on a folder of spools.
func keep(t *testing.T, l *ledger, dir string, b *Blobs, change func(*KeeperConfig)) *Keeper {
	t.Helper()
	cfg := KeeperConfig{Dir: dir, Blobs: b, Ledger: l, Settler: l}
	if change != nil {
		change(&cfg)
	}
	k := NewKeeper(cfg)
	t.Cleanup(k.Close)
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

func leave(t *testing.T, dir, sid string, ulaw []byte) {
	t.Helper()
	if err := os.WriteFile(spoolPath(dir, sid), append(spoolHeader(1, 0), ulaw...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheKeeperSettlesWhatADeadProcessLeft(t *testing.T) {
	dir, kept := t.TempDir(), t.TempDir()
	sound, quiet := tone(time.Second, 440), make([]byte, 8000)
	for i := range quiet {
		quiet[i] = silence
	}
	trimmed := row("RE4", call.RecordingProcessing)
	trimmed.Options.Trim = true
	silent := row("RE5", call.RecordingPaused)
	silent.Options.Trim = true
	l := newLedger(row("RE1", call.RecordingInProgress), row("RE2", call.RecordingPaused), row("RE3", call.RecordingInProgress),
		trimmed, silent, row("RE6", call.RecordingCompleted), row("RE9", call.RecordingProcessing))
	leave(t, dir, "RE1", sound)
	leave(t, dir, "RE2", quiet)
	leave(t, dir, "RE3", nil)
	leave(t, dir, "RE4", append(append([]byte(nil), quiet...), sound...))
	leave(t, dir, "RE5", quiet)
	leave(t, dir, "RE6", sound) // put, but its process died before it removed the spool
	leave(t, dir, "RE7", sound) // of another database
	l.refuse = 2                // and the store is away at first
	b := blobs(t, BlobConfig{URL: kept})
	keep(t, l, dir, b, nil)
	type end struct {
		status  call.RecordingStatus
		code    int
		samples int64
	}
	want := map[string]end{
		"RE1": {call.RecordingCompleted, 0, 8000}, "RE2": {call.RecordingCompleted, 0, 8000},
		"RE3": {call.RecordingAbsent, call.RecordingTooShort, 0}, "RE4": {call.RecordingCompleted, 0, 8000},
		"RE5": {call.RecordingAbsent, call.RecordingSilent, 0}, "RE9": {call.RecordingAbsent, call.RecordingFailed, 0},
	}
	for len(want) > 0 {
		r := <-l.settled
		w, due := want[r.SID]
		delete(want, r.SID)
		if got := (end{r.Status, r.ErrorCode, r.Samples}); !due || got.status != w.status || got.code != w.code || (got.samples-w.samples) > 160 || (w.samples-got.samples) > 160 {
			t.Errorf("%s: %+v, want %+v", r.SID, got, w)
		}
		if r.Status != call.RecordingCompleted {
			continue
		}
		m, err := b.Open(t.Context(), r.Key, false, 1)
		if err != nil || m.Samples() != r.Samples {
			t.Errorf("%s: %v", r.SID, err)
		}
	}
	if _, err := os.Stat(spoolPath(filepath.Join(dir, "failed"), "RE7")); err != nil {
		t.Errorf("what nobody knows is not thrown away: %v", err)
	}
	if _, err := os.Stat(spoolPath(dir, "RE6")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the spool of what is kept: %v", err)
	}
}

func TestTheKeeperTriesUntilTheStoreIsBack(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join(t.TempDir(), "kept")
	b := blobs(t, BlobConfig{URL: kept})
	if err := os.RemoveAll(kept); err != nil { // the folder is gone, and a file stands in its place
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := row("RE1", call.RecordingProcessing)
	l := newLedger(r)
	refused := make(chan struct{}, 100)
	k := keep(t, l, dir, b, func(c *KeeperConfig) {
		c.Log = slog.New(slog.NewTextHandler(told(func(line string) {
			if strings.Contains(line, "trying again") && strings.Contains(line, "RE2") {
				refused <- struct{}{}
			}
		}), nil))
	})
	<-l.settled // RE1 has no spool
	leave(t, dir, "RE2", tone(time.Second, 440))
	r2 := row("RE2", call.RecordingProcessing)
	l.mu.Lock()
	l.rows["RE2"] = r2
	l.mu.Unlock()
	k.Keep(r2)
	<-refused
	if n := len(l.settled); n > 0 || k.Stats().Failed == 0 {
		t.Fatalf("%d settled without a store", n)
	}
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	if r := <-l.settled; r.Status != call.RecordingCompleted {
		t.Fatalf("%+v", r)
	}
}

func TestTheKeeperErases(t *testing.T) {
	dir, kept := t.TempDir(), t.TempDir()
	b := blobs(t, BlobConfig{URL: kept})
	old, fresh := row("RE1", call.RecordingProcessing), row("RE2", call.RecordingProcessing)
	old.DateCreated, fresh.DateCreated = time.Unix(0, 0), time.Unix(1<<40, 0)
	leave(t, dir, "RE1", tone(time.Second, 440))
	leave(t, dir, "RE2", tone(time.Second, 440))
	l := newLedger(old, fresh)
	first := keep(t, l, dir, b, nil)
	<-l.settled
	<-l.settled
	first.Close()
	k := keep(t, l, dir, b, func(c *KeeperConfig) { c.Keep = 24 * time.Hour })
	if sid := <-l.erased; sid != "RE1" {
		t.Fatalf("%s is too old", sid)
	}
	if _, err := b.Open(t.Context(), key(old), false, 1); !errors.Is(err, ErrGone) {
		t.Errorf("the old one is still there: %v", err)
	}
	if _, err := b.Open(t.Context(), key(fresh), false, 1); err != nil {
		t.Error(err)
	}
	if err := l.DeleteRecording(t.Context(), "AC1", "RE2"); err != nil {
		t.Fatal(err)
	}
	k.Erase()
	if sid := <-l.erased; sid != "RE2" {
		t.Fatal(sid)
	}
	if _, err := b.Open(t.Context(), key(fresh), false, 1); !errors.Is(err, ErrGone) {
		t.Errorf("the deleted one is still there: %v", err)
	}
}

// Its spool may be gone when its turn comes: that is no failure.
func TestARecordingErasedBeforeItsTurn(t *testing.T) {
	var log bytes.Buffer
	r := row("RE1", call.RecordingProcessing)
	gone := r.Clone()
	gone.Status = call.RecordingDeleted
	k := keep(t, newLedger(gone), t.TempDir(), blobs(t, BlobConfig{URL: t.TempDir()}), func(c *KeeperConfig) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	l := k.cfg.Ledger.(*ledger)
	<-l.erased // by the start
	k.Keep(r)
	<-l.erased
	k.Close()
	if log.Len() > 0 {
		t.Error(log.String())
	}
}

func TestARecordingDeletedOnItsWayIsErased(t *testing.T) {
	dir := t.TempDir()
	b := blobs(t, BlobConfig{URL: t.TempDir()})
	l := newLedger()
	k := keep(t, l, dir, b, nil)
	leave(t, dir, "RE1", tone(time.Second, 440))
	r := row("RE1", call.RecordingProcessing)
	gone := r.Clone()
	gone.Status = call.RecordingDeleted
	l.mu.Lock()
	l.rows["RE1"] = gone
	l.mu.Unlock()
	k.Keep(r)
	if sid := <-l.erased; sid != "RE1" {
		t.Fatal(sid)
	}
	if _, err := b.Open(t.Context(), key(r), false, 1); !errors.Is(err, ErrGone) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(spoolPath(dir, "RE1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its spool is still there: %v", err)
	}
}
