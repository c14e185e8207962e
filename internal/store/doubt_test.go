package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// leave runs write, whose caller leaves while it is being written, then lets it be committed.
func leave(t *testing.T, s *Store, write func(ctx context.Context) error) {
	t.Helper()
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done sync.WaitGroup
	entered, end := make(chan struct{}), make(chan struct{})
	left := make(chan error, 1)
	done.Go(func() { left <- write(ctx) })
	waiting(t, s)
	done.Go(func() {
		_ = s.w.live(context.Background(), &job{run: func(*batch) error {
			close(entered)
			<-end
			return nil
		}})
	})
	for s.w.inHand.Load()+int32(len(s.w.liveLane)+len(s.w.apiLane)) < 3 {
		_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
	}
	release()
	<-entered
	s.w.patience = time.Millisecond
	cancel()
	if err := <-left; !errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("a write whose caller left: %v, want unavailable", err)
	}
	close(end)
	done.Wait()
	s.w.patience = patience
}

// waiting blocks until a write is in a lane.
func waiting(t *testing.T, s *Store) {
	t.Helper()
	for len(s.w.liveLane)+len(s.w.apiLane) == 0 {
		if clock.Sleep(t.Context(), clock.System, time.Millisecond) != nil {
			t.Fatal("nothing waits")
		}
	}
}

func doubtful(status call.Status) *call.Call {
	return &call.Call{
		SID: twilio.NewSID("CA"), AccountSID: "AC1", To: "+1555", From: "+1556", Direction: call.OutboundAPI,
		Status: status, DateCreated: clock.System.Now(), QueueKey: "q",
	}
}

func told(c *call.Call, names ...string) call.Change {
	var ch call.Change
	for _, name := range names {
		ch.Events = append(ch.Events, call.Event{
			ID: twilio.NewSID("EV"), CallSID: c.SID, AccountSID: c.AccountSID, Seq: c.EventSeq, Name: name, Snapshot: []byte("{}"),
		})
		c.EventSeq++
		ch.Callbacks = append(ch.Callbacks, call.Callback{
			ID: twilio.NewSID("EV"), CallSID: c.SID, AccountSID: c.AccountSID, Seq: c.CallbackSeq, Method: "POST", URL: "http://app/",
			CreatedAt: clock.System.Now(),
		})
		c.CallbackSeq++
	}
	return ch
}

func stored(t *testing.T, s *Store, sid string) (names []string, callbacks int) {
	t.Helper()
	events, err := s.Events(t.Context(), sid, -1)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if e.Seq != i {
			t.Errorf("event %d (%s) has number %d", i, e.Name, e.Seq)
		}
		names = append(names, e.Name)
	}
	due, err := s.Due(t.Context(), clock.System.Now().Add(time.Hour), 100)
	if err != nil {
		t.Fatal(err)
	}
	return names, len(due)
}

func TestACreateNobodyWasToldOfIsTakenBack(t *testing.T) {
	s := openTest(t, Config{})
	c := doubtful(call.Queued)
	leave(t, s, func(ctx context.Context) error { return s.CreateCall(ctx, c, told(c, "queued")) })
	queued(t, s, 0)
	if names, callbacks := stored(t, s, c.SID); len(names)+callbacks > 0 {
		t.Errorf("left behind: events %v, %d callbacks", names, callbacks)
	}
}

// noted is what a feed was told.
type noted struct {
	mu   sync.Mutex
	told [][]call.Event
	upTo int64
}

func (n *noted) Watched() bool { return true }
func (n *noted) Publish(events []call.Event, upTo int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told, n.upTo = append(n.told, events), upTo
}

// What is taken back was told by nobody; who follows is sent to the store instead, when that is in order again.
func TestEventsInDoubtAreNotTold(t *testing.T) {
	feed := &noted{}
	s := openTest(t, Config{Feed: feed})
	lost, c := doubtful(call.Queued), doubtful(call.Queued)
	leave(t, s, func(ctx context.Context) error { return s.CreateCall(ctx, lost, told(lost, "queued")) })
	queued(t, s, 0)
	if err := s.CreateCall(t.Context(), c, told(c, "queued")); err != nil {
		t.Fatal(err)
	}
	feed.mu.Lock()
	defer feed.mu.Unlock()
	for _, events := range feed.told {
		for _, e := range events {
			if e.CallSID == lost.SID {
				t.Errorf("%s of a call that was taken back was told", e.Name)
			}
		}
	}
	n := len(feed.told)
	if n < 2 || feed.told[n-2] != nil || len(feed.told[n-1]) != 1 || feed.upTo != feed.told[n-1][0].Pos {
		t.Errorf("told %v up to %d; want a gap, then the event of the next call", feed.told, feed.upTo)
	}
	if list, err := s.AccountEvents(t.Context(), "AC1", "", 0, feed.upTo, 10); err != nil || len(list) != 1 {
		t.Errorf("stored: %v %v", list, err)
	}
}

// queued waits until the queue can be read and expects n calls.
func queued(t *testing.T, s *Store, n int) []*call.Call {
	t.Helper()
	for {
		list, err := s.Queued(t.Context(), call.Line{}, 10)
		if errors.Is(err, call.ErrUnavailable) {
			_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
			continue
		}
		if err != nil || len(list) != n {
			t.Fatalf("%d calls in the queue, %v; want %d", len(list), err, n)
		}
		return list
	}
}

func TestAClaimNobodyWasToldOfIsTakenBack(t *testing.T) {
	s := openTest(t, Config{})
	c := doubtful(call.Queued)
	if err := s.CreateCall(t.Context(), c, told(c, "queued")); err != nil {
		t.Fatal(err)
	}
	mine := c.Clone()
	mine.DialedAt, mine.Dialog = clock.System.Now(), &call.Dialog{CallID: "x"}
	leave(t, s, func(ctx context.Context) error { return s.SaveCall(ctx, mine, call.Queued, told(mine, "initiated")) })
	again := queued(t, s, 1)[0]
	if again.EventSeq != c.EventSeq || again.CallbackSeq != c.CallbackSeq || again.Dialog != nil || !again.DialedAt.IsZero() {
		t.Errorf("it came back as %+v", again)
	}
	if names, callbacks := stored(t, s, c.SID); !slices.Equal(names, []string{"queued"}) || callbacks != 1 {
		t.Errorf("left behind: events %v, %d callbacks", names, callbacks)
	}
	if err := s.SaveCall(t.Context(), again, call.Queued, told(again, "initiated")); err != nil {
		t.Errorf("the next claim: %v", err)
	}
}

func TestASaveNobodyWasToldOfIsRepeated(t *testing.T) {
	for name, withdrawn := range map[string]bool{"with more": false, "without the answer that was not given": true} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, Config{})
			c := doubtful(call.Ringing)
			c.Epoch = s.Epoch()
			if err := s.AddCall(t.Context(), c, told(c, "ringing")); err != nil {
				t.Fatal(err)
			}
			before := c.Clone()
			c.Status = call.InProgress
			ch := told(c, "answered")
			leave(t, s, func(ctx context.Context) error { return s.SaveCall(ctx, c.Clone(), call.Ringing, ch) })
			want := []string{"ringing", "answered", "completed"}
			if withdrawn {
				c, ch, want = before, call.Change{}, []string{"ringing", "failed"}
			}
			c.Status, c.EndedAt = call.Completed, clock.System.Now()
			if withdrawn {
				c.Status = call.Failed
			}
			more := told(c, want[len(want)-1])
			ch.Events, ch.Callbacks = append(ch.Events, more.Events...), append(ch.Callbacks, more.Callbacks...)
			if err := s.SaveCall(t.Context(), c, call.Ringing, ch); err != nil {
				t.Fatalf("repeated: %v", err)
			}
			if names, callbacks := stored(t, s, c.SID); !slices.Equal(names, want) || callbacks != len(want) {
				t.Errorf("events %v, %d callbacks; want %v", names, callbacks, want)
			}
			if err := s.SaveCall(t.Context(), c, call.Ringing, ch); !errors.Is(err, call.ErrConflict) {
				t.Errorf("once acknowledged, repeated: %v, want a conflict", err)
			}
		})
	}
}

// What is withdrawn is one answer: events that were told before it are still owed to a webhook at the same URL.
func TestARepeatedSaveLeavesWhatIsOwedToWebhooks(t *testing.T) {
	s := openTest(t, Config{})
	w := &call.Webhook{URL: "http://app/", Secret: "whsec_x"}
	w.Record = call.Record{SID: "WH1", AccountSID: "AC1"}
	if err := s.Webhooks().Create(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	c := doubtful(call.Ringing)
	c.Epoch = s.Epoch()
	first := told(c, "ringing")
	first.Callbacks, c.CallbackSeq = nil, 0
	if err := s.AddCall(t.Context(), c, first); err != nil {
		t.Fatal(err)
	}
	failed := c.Clone()
	c.Status = call.InProgress
	leave(t, s, func(ctx context.Context) error { return s.SaveCall(ctx, c.Clone(), call.Ringing, told(c, "answered")) })
	failed.Status, failed.EndedAt = call.Failed, clock.System.Now()
	if err := s.SaveCall(t.Context(), failed, call.Ringing, told(failed, "failed")); err != nil {
		t.Fatal(err)
	}
	owed, _, err := s.Deliveries(t.Context(), call.ListFilter{AccountSID: "AC1", Limit: 10}, "WH1", "pending")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range owed {
		var e struct{ Type string }
		if err := json.Unmarshal(d.Body, &e); err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Type)
	}
	slices.Sort(names)
	if want := []string{"TwilioCall.failed", "TwilioCall.ringing"}; !slices.Equal(names, want) {
		t.Errorf("owed are %v, want %v", names, want)
	}
}

// A batch that hangs must not keep those who come behind it.
func TestASlowBatchRefusesWhatComesBehindIt(t *testing.T) {
	s := openTest(t, Config{})
	release := hold(t, s)
	s.w.began.Store(clock.System.Now().Add(-slow - time.Millisecond).UnixNano())
	for name, err := range map[string]error{
		"ping":    s.Ping(t.Context()),
		"create":  s.CreateCall(t.Context(), doubtful(call.Queued), call.Change{}),
		"inbound": s.AddCall(t.Context(), doubtful(call.Ringing), call.Change{}),
	} {
		if !errors.Is(err, call.ErrUnavailable) {
			t.Errorf("%s: %v, want unavailable", name, err)
		}
	}
	j := &job{done: make(chan struct{}), since: clock.System.Now()}
	s.w.liveLane <- j
	s.w.began.Store(clock.System.Now().Add(-stuck - time.Millisecond).UnixNano())
	s.w.late()
	if <-j.done; !errors.Is(j.err, call.ErrUnavailable) {
		t.Errorf("a live write that waits: %v, want unavailable", j.err)
	}
	if err := s.AddNotification(t.Context(), call.Notification{SID: "NO1"}); !errors.Is(err, call.ErrUnavailable) {
		t.Errorf("a live write: %v, want unavailable", err)
	}
	release()
	for s.Ping(t.Context()) != nil {
		_ = clock.Sleep(t.Context(), clock.System, time.Millisecond)
	}
}

func TestADatabaseOfANewerVersionIsRefusedInPlainWords(t *testing.T) {
	dir := t.TempDir() + "/offhook.db"
	s, err := Open(t.Context(), Config{DSN: dir})
	if err != nil {
		t.Fatal(err)
	}
	err = s.w.live(t.Context(), &job{run: func(b *batch) error {
		_, err := b.exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ours, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	newest := 0
	if _, err := fmt.Sscanf(ours[len(ours)-1], "migrations/%d_", &newest); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("store: the database was written by a newer offhook (its schema is version 99, this one knows %d): "+
		"start that one, or put back the copy that you made of the database before the update", newest)
	if _, err := Open(t.Context(), Config{DSN: dir}); err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// A connection that could not even be rolled back is given up: what it left behind is told with the next commit.
func TestWithoutAConnectionNothingIsTold(t *testing.T) {
	feed := &noted{}
	w := &writer{feed: feed, gap: true}
	if w.tell(); len(feed.told) > 0 || !w.gap {
		t.Errorf("told %v", feed.told)
	}
}
