//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	watchers     = 100
	watchedRate  = 100              // calls created a second while the delay is taken
	eventsSettle = 10 * time.Second // until every client has what was stored, or it is missing
	frameBuffer  = 16 << 10         // a line of a stream is at most that long
)

// events is what clients of GET /v1/events are told while calls are created: first at a rate that leaves the machine time, for the
// delay, then as fast as calls can be created.
func (b *bench) events(ctx context.Context) error {
	b.head("events", fmt.Sprintf("%d clients of GET /v1/events, each told of every call; a create stores two events, of about 2 kB", watchers))
	s, err := b.serve(ctx, "--sim-max-calls", "1")
	if err != nil {
		return err
	}
	defer s.close()
	create := []string{"To", ringer, "From", "+15005550006", "Url", b.app.url + "/wait"}
	if _, err := s.post(ctx, "Calls", create...); err != nil { // it takes the phone: those that follow stay queued
		return err
	}
	pause(ctx, time.Second)
	before := resident(s.pid())
	a, err := attend(ctx, s.engine, watchers)
	if err != nil {
		return err
	}
	defer a.close()
	pause(ctx, time.Second)
	idle := resident(s.pid())
	b.add("events", "memory per client, idle", 1024*(idle-before)/watchers, "KiB", budget{}, nil, fmt.Sprintf("%.0f MiB to %.0f MiB", before, idle))

	d := pick(b, 5*time.Second, 15*time.Second)
	answered := make(map[string]time.Time)
	m := start(s.pid())
	s.caller.place(ctx, watchedRate, int(watchedRate*d.Seconds()), func() {
		c, failed := s.post(ctx, "Calls", create...)
		if sid, ok := c["sid"].(string); ok && failed == nil {
			answered[sid] = time.Now()
		}
		err = errors.Join(err, failed)
	})
	if err != nil {
		return err
	}
	a.settle(ctx, len(answered))
	u := m.used()
	at := fmt.Sprintf(" at %d calls/s", watchedRate)
	told := a.take()
	stamp, answer := told.delays(answered)
	v, w := stamp.at(0.5, 0.99, 0.999), answer.at(0.5, 0.99, 0.999)
	b.add("events", "delivered"+at, float64(told.events)/u.Seconds, "/s", budget{}, &u, fmt.Sprintf("%d calls, %d events told", len(answered), told.events))
	b.add("events", "create answered to event had, p50"+at, w[0], "ms", budget{}, nil, "below 0: before the answer came")
	b.add("events", "create answered to event had, p99"+at, w[1], "ms", budget{}, nil, fmt.Sprintf("p99.9 %s ms", figure(w[2])))
	b.add("events", "event's time to event had, p50"+at, v[0], "ms", budget{}, nil, "the commit is in it, and up to 1 ms that the time stamp cuts off")
	b.add("events", "event's time to event had, p99"+at, v[1], "ms", budget{}, nil, fmt.Sprintf("p99.9 %s ms", figure(v[2])))
	b.add("events", "engine CPU per 100,000 told"+at, 1e5*u.EngineCPU/max(float64(told.events), 1), "s", budget{}, nil, "creates included")

	m = start(s.pid())
	r := hammer(ctx, connections, pick(b, 4*time.Second, 12*time.Second), s.create(b.app.url+"/wait"))
	u = m.used()
	inTime := a.told.Load()
	at = " at full speed"
	ended := time.Now()
	a.settle(ctx, len(answered)+int(r.ok))
	late := time.Since(ended)
	told = a.take()
	b.add("events", "delivered"+at, float64(inTime)/u.Seconds, "/s", budget{}, &u, fmt.Sprintf("%.0f creates/s; the rest, %.0f %%, within %.1f s", r.rate(), 100-100*float64(inTime)/max(float64(told.events), 1), late.Seconds()))
	stamp, _ = told.delays(nil)
	v = stamp.at(0.5, 0.99)
	b.add("events", "event's time to event had, p99"+at, v[1], "ms", budget{}, nil, fmt.Sprintf("p50 %s ms", figure(v[0])))
	whole, note := a.whole(len(answered) + int(r.ok))
	b.add("events", "clients told of every call, in order", float64(whole), "", least(watchers, 0), nil, note)
	after := resident(s.pid())
	b.add("events", "memory gained", after-idle, "MiB", budget{}, nil, fmt.Sprintf("%.0f MiB, after %d calls", after, len(answered)+int(r.ok)))
	return ctx.Err()
}

// audience is clients that follow an account's events.
type audience struct {
	watchers []*watcher
	told     atomic.Int64 // events, since the last take
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// watcher is one of them.
type watcher struct {
	calls atomic.Int64 // queued, of which it was told

	mu    sync.Mutex
	last  int64 // id
	wrong int   // ids that were not above the one before
	heard []arrival
	err   error // that ended the stream
}

// arrival is when a client had the created event of a call.
type arrival struct {
	sid   [34]byte
	at    int64 // Unix nanoseconds
	stamp int64 // of the event
}

// attend opens n streams; each has its place when its answer begins.
func attend(ctx context.Context, e *engine, n int) (*audience, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &audience{cancel: cancel}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	for range n {
		if err := a.join(ctx, client, e); err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

func (a *audience) join(ctx context.Context, client *http.Client, e *engine) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.http+"/v1/events", nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(e.sid, e.token)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return fmt.Errorf("GET /v1/events: %s", res.Status)
	}
	w := &watcher{}
	a.watchers = append(a.watchers, w)
	a.wg.Go(func() {
		defer res.Body.Close()
		err := w.read(bufio.NewReaderSize(res.Body, frameBuffer), &a.told)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
	})
	return nil
}

func (a *audience) close() {
	a.cancel()
	a.wg.Wait()
}

var (
	idField   = []byte("id: ")
	created   = []byte("event: TwilioCall.created\n")
	queued    = []byte("event: TwilioCall.queued\n")
	dataField = []byte("data: ")
)

// read follows the stream to its end.
func (w *watcher) read(r *bufio.Reader, told *atomic.Int64) error {
	var isCreated bool
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, idField):
			id, err := strconv.ParseInt(string(bytes.TrimSpace(line[len(idField):])), 10, 64)
			if err != nil {
				return err
			}
			w.mu.Lock()
			if id <= w.last {
				w.wrong++
			}
			w.last = id
			w.mu.Unlock()
		case bytes.Equal(line, created):
			isCreated = true
		case bytes.Equal(line, queued):
			w.calls.Add(1)
		case bytes.HasPrefix(line, dataField):
			told.Add(1)
			if !isCreated {
				continue
			}
			isCreated = false
			now := time.Now().UnixNano()
			stamp, err := time.Parse(time.RFC3339, member(line, `"time":"`))
			if err != nil {
				return err
			}
			h := arrival{at: now, stamp: stamp.UnixNano()}
			copy(h.sid[:], member(line, `"subject":"`))
			w.mu.Lock()
			w.heard = append(w.heard, h)
			w.mu.Unlock()
		}
	}
}

// member is the text of the first member of that name in JSON without blanks and escapes.
func member(line []byte, name string) string {
	_, rest, _ := bytes.Cut(line, []byte(name))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

// settle waits until every client was told of so many calls.
func (a *audience) settle(ctx context.Context, calls int) {
	for deadline := time.Now().Add(eventsSettle); ctx.Err() == nil && time.Now().Before(deadline); pause(ctx, 10*time.Millisecond) {
		behind := false
		for _, w := range a.watchers {
			behind = behind || w.calls.Load() < int64(calls)
		}
		if !behind {
			return
		}
	}
}

// heard is what all clients were told in one run.
type heard struct {
	events   int64
	arrivals [][]arrival
}

// take is what was heard since it was asked last.
func (a *audience) take() heard {
	h := heard{events: a.told.Swap(0)}
	for _, w := range a.watchers {
		w.mu.Lock()
		h.arrivals = append(h.arrivals, w.heard)
		w.heard = nil
		w.mu.Unlock()
	}
	return h
}

// delays are those of the created events, counted from their time and from when their creates were answered.
func (h heard) delays(answered map[string]time.Time) (stamp, answer millis) {
	for _, arrivals := range h.arrivals {
		for i := range arrivals {
			r := &arrivals[i]
			stamp.add(time.Duration(r.at - r.stamp))
			if at, ok := answered[string(r.sid[:])]; ok {
				answer.add(time.Duration(r.at - at.UnixNano()))
			}
		}
	}
	return stamp, answer
}

// whole counts the clients that were told of exactly so many calls, in order, and are still there.
func (a *audience) whole(calls int) (n int, note string) {
	ended, least := 0, int64(calls)
	for _, w := range a.watchers {
		w.mu.Lock()
		told := w.calls.Load()
		if told == int64(calls) && w.wrong == 0 && w.err == nil {
			n++
		}
		if w.err != nil {
			ended++
		}
		least = min(least, told)
		w.mu.Unlock()
	}
	return n, fmt.Sprintf("%d calls; the one with the fewest has %d; %d streams ended", calls, least, ended)
}
