package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// Bounds of the requests that wait to be stored, and of what one write takes.
const (
	maxRequests     = 8192
	maxRequestBytes = 16 << 20
	requestBatch    = 64
	requestPause    = 100 * time.Millisecond // from the first that waits to the write
	requestRetry    = time.Second            // after one that the store refused
	requestPatience = 2 * time.Second        // of a list, for those that wait
)

const requestColumns = "call_sid, time, id, method, url, params, status, content_type, length, body, duration"

var requestTable = newTable("requests", requestColumns, " ON CONFLICT DO NOTHING")

// requestLog stores the requests made for calls behind everything else: nobody waits for it, and when there is no
// room they are counted and dropped.
type requestLog struct {
	w     *writer
	clock clock.Clock
	wake  chan struct{}      // the first of some waits
	asks  chan chan struct{} // to be closed when all that waits was written
	quit  chan struct{}
	gone  chan struct{}

	dropped atomic.Uint64

	mu      sync.Mutex
	waiting []call.Request
	bytes   int
}

func newRequestLog(w *writer, c clock.Clock) *requestLog {
	l := &requestLog{
		w: w, clock: c, wake: make(chan struct{}, 1), asks: make(chan chan struct{}),
		quit: make(chan struct{}), gone: make(chan struct{}),
	}
	go l.run()
	return l
}

// close stores what waits, if that can be done at once.
func (l *requestLog) close() {
	close(l.quit)
	<-l.gone
}

func requestSize(r *call.Request) int { return 256 + len(r.URL) + len(r.Params) + len(r.Body) }

func (l *requestLog) add(r call.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := requestSize(&r)
	if len(l.waiting) >= maxRequests || l.bytes+size > maxRequestBytes {
		l.dropped.Add(1)
		return
	}
	l.waiting, l.bytes = append(l.waiting, r), l.bytes+size
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *requestLog) run() {
	defer close(l.gone)
	t := l.clock.NewTimer(requestPause)
	t.Stop()
	defer t.Stop()
	wake := l.wake
	rest := func(done bool) { // until the next write
		if wake = l.wake; !done {
			wake = nil
			t.Reset(requestRetry)
		}
	}
	for {
		select {
		case <-wake:
			wake = nil
			t.Reset(requestPause)
		case <-t.C():
			rest(l.write())
		case done := <-l.asks:
			t.Stop()
			rest(l.write())
			close(done)
		case <-l.quit:
			l.write()
			return
		}
	}
}

// write stores all that waits; false when the store cannot be written now.
func (l *requestLog) write() bool {
	for {
		l.mu.Lock()
		some := slices.Clone(l.waiting[:min(len(l.waiting), requestBatch)])
		l.mu.Unlock()
		if len(some) == 0 {
			return true
		}
		err := l.w.api(context.Background(), &job{run: func(b *batch) error { return putRequests(b, some) }})
		if errors.Is(err, call.ErrUnavailable) {
			return false
		}
		if err != nil {
			l.dropped.Add(uint64(len(some)))
			l.w.log.Error("requests of calls not stored", "n", len(some), "err", err)
		}
		l.mu.Lock()
		for i := range some {
			l.bytes -= requestSize(&some[i])
		}
		l.waiting = slices.Delete(l.waiting, 0, len(some))
		if len(l.waiting) == 0 {
			l.waiting = nil // of a rush
		}
		l.mu.Unlock()
	}
}

// flush waits until what waits now is stored, as long as ctx.
func (l *requestLog) flush(ctx context.Context) {
	done := make(chan struct{})
	select {
	case l.asks <- done:
	case <-l.gone:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

var callsThere = "SELECT sid FROM calls WHERE sid IN (?" + strings.Repeat(", ?", requestBatch-1) + ")"

// putRequests stores requests of calls that are there: what belongs to one that was deleted goes with it.
func putRequests(b *batch, requests []call.Request) error {
	sids := make([]any, requestBatch)
	for i := range sids {
		sids[i] = ""
		if i < len(requests) {
			sids[i] = requests[i].CallSID
		}
	}
	there := make(map[string]bool)
	if err := b.scan(func(sid string) { there[sid] = true }, callsThere, sids...); err != nil {
		return err
	}
	rows := make([][]any, 0, len(requests))
	for i := range requests {
		if r := &requests[i]; there[r.CallSID] {
			rows = append(rows, []any{
				r.CallSID, micros(r.Time), r.ID, r.Method, r.URL, r.Params, int64(r.Status), r.ContentType, int64(r.Length), r.Body,
				r.Duration.Microseconds(),
			})
		}
	}
	return b.insert(requestTable, rows)
}

// AddRequest stores a request that was made for a call soon after: it returns at once, and drops what is too much.
func (s *Store) AddRequest(r call.Request) { s.requests.add(r) }

const (
	requestSelect   = "SELECT " + requestColumns + " FROM requests WHERE call_sid = ?"
	requestsFrom    = requestSelect + " ORDER BY time, id LIMIT ? OFFSET ?"
	requestsBehind  = requestSelect + " AND (time, id) > (?, ?) ORDER BY time, id LIMIT ?"
	requestsAheadOf = requestSelect + " AND (time, id) < (?, ?) ORDER BY time DESC, id DESC LIMIT ?"
)

// Requests lists what was requested for a call, first things first; all that was done when it is called is there
// unless the store cannot be written. It starts at an offset, or behind or ahead of a place; more tells whether there
// are others in that direction.
func (s *Store) Requests(ctx context.Context, callSID string, limit, offset int, at twilio.PageToken) (list []call.Request, more bool, err error) {
	wait, cancel := context.WithTimeout(ctx, requestPatience)
	s.requests.flush(wait)
	cancel()
	query, args := requestsFrom, []any{callSID, limit + 1, offset}
	if at.SID != "" {
		query, args = requestsBehind, []any{callSID, at.Time, at.SID, limit + 1}
		if at.Before {
			query = requestsAheadOf
		}
	}
	err = s.query(ctx, func(row scanner) error {
		var r call.Request
		var took int64
		err := row.Scan(&r.CallSID, asTime{&r.Time}, &r.ID, &r.Method, &r.URL, &r.Params, &r.Status, &r.ContentType, &r.Length, &r.Body, &took)
		r.Duration = time.Duration(took) * time.Microsecond
		list = append(list, r)
		return err
	}, query, args...)
	if err != nil {
		return nil, false, err
	}
	if more = len(list) > limit; more {
		list = list[:limit]
	}
	if at.Before {
		slices.Reverse(list)
	}
	return list, more, nil
}
