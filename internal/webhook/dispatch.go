package webhook

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// Rules of delivery (DESIGN 3). The other limits keep the dispatcher's memory and sockets bounded.
const (
	pollInterval = time.Second      // finds what no Wake told of: retries that are due, other nodes' work
	patience     = 30 * time.Second // a callback waits behind an earlier one of its call and URL
	maxAge       = 24 * time.Hour   // after that an attempt that fails is the last
	stopGrace    = 5 * time.Second  // for deliveries under way when Run ends

	maxInFlight     = 512 // requests at once
	maxHostInFlight = 64  // to one host
	maxHeld         = 10_000
	fetchBatch      = 1_000
	recallDepth     = 16 // callbacks brought back for each request that may be under way

	// minLoadInterval lets what is committed within a moment be read at once: a callback leaves within 10 ms.
	// Reads that take long are made less often: they may take a third of the time.
	minLoadInterval = 4 * time.Millisecond
)

// Outbox is where callbacks wait, each until it is marked as delivered or dead. Its methods are safe for
// concurrent use; a mark on a callback that is gone is no error.
type Outbox interface {
	// Due lists callbacks that may be sent at now, at most limit, those that waited longest first, and
	// with each the pending ones of its call, so that the order within the call can be seen. It does not
	// reserve them.
	Due(ctx context.Context, now time.Time, limit int) ([]call.Callback, error)
	// Later lists in the same way callbacks that may be sent at from or after.
	Later(ctx context.Context, from time.Time, limit int) ([]call.Callback, error)
	// Delivered marks a callback as done.
	Delivered(ctx context.Context, id string) error
	// Retry puts a callback off until dueAt; attempts have failed so far, the last one with lastError.
	Retry(ctx context.Context, id string, attempts int, dueAt time.Time, lastError string) error
	// Dead gives a callback up.
	Dead(ctx context.Context, id, lastError string) error
}

// DispatcherConfig configures a Dispatcher. Hooks, Outbox and Token are needed.
type DispatcherConfig struct {
	Hooks  *Hooks
	Outbox Outbox
	// Token is the auth token of an account; false when there is no such account now. It must not block for long.
	Token func(accountSID string) (string, bool)
	// Webhook is the webhook of that SID of an account, call.ErrNotFound when it is gone. It must not block for long.
	Webhook func(accountSID, sid string) (*call.Webhook, error)
	// Notify takes the notification of a callback that got an error; Trace a line for the call's timeline
	// about every attempt. Both may be nil, and are called from many goroutines.
	Notify func(call.Notification)
	Trace  func(callSID, text string)
	Clock  clock.Clock  // default clock.System
	Log    *slog.Logger // default discards
}

// Dispatcher delivers status callbacks and events for webhooks from the outbox: at least once, in order for each call and URL, calls
// in parallel. A callback is delivered when the server answered with any status but 429, 502, 503 or 504,
// or one that the URL's own retry policy names. Everything else is tried again after 1 s to 5 min, for
// 24 h. A callback waits at most 30 s behind an earlier one, then goes before it. What a webhook is sent is
// delivered when it answered 2xx; 410 gives it up, everything else is tried again.
//
// Run is the only goroutine that touches the state below; deliveries run in their own and report to it.
type Dispatcher struct {
	cfg   DispatcherConfig
	count *deliveries
	wake  chan struct{}
	done  chan *item // deliveries that ended

	held     map[string]*item // by callback ID: everything in lanes
	lanes    map[laneKey]*lane
	waiting  laneHeap // lanes that have something to send later
	hosts    map[string]*host
	ready    []*host            // hosts that have something to send, each once; they take turns
	sick     map[*host]struct{} // hosts whose last request failed
	parks    []*lane            // lanes to be put off
	recalls  []*host            // hosts that are back
	recalled time.Time          // when the outbox was read for them last
	pace     time.Duration      // how long not to do it again
	inFlight int
	loaded   time.Time     // when the outbox was read last
	rest     time.Duration // how long not to read it again
	more     bool          // it had more than we took
}

// NewDispatcher makes a Dispatcher; Run starts it.
func NewDispatcher(cfg DispatcherConfig) *Dispatcher {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Notify == nil {
		cfg.Notify = func(call.Notification) {}
	}
	if cfg.Trace == nil {
		cfg.Trace = func(string, string) {}
	}
	return &Dispatcher{
		cfg: cfg, count: newDeliveries(), wake: make(chan struct{}, 1), done: make(chan *item, maxInFlight),
		held: make(map[string]*item), lanes: make(map[laneKey]*lane), hosts: make(map[string]*host),
		sick: make(map[*host]struct{}),
	}
}

// Wake says that callbacks were added to the outbox. It never blocks.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default: // one is enough
	}
}

// Run delivers until ctx ends, then waits for what is under way, for some seconds, abandons the rest (it
// stays in the outbox) and returns nil. It is called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	// Deliveries outlive ctx by the grace, so that what a server has taken is not sent again.
	work, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	var workers sync.WaitGroup

	next := d.cfg.Clock.NewTimer(pollInterval)
	defer next.Stop()
	wanted := true // the outbox has something that we have not read
	for {
		now := d.cfg.Clock.Now()
		since := now.Sub(d.loaded)
		if wanted && since >= d.rest || since >= pollInterval || d.more && len(d.held) < fetchBatch/2 {
			d.load(ctx, now)
			wanted, since = false, 0
		}
		back := d.back()
		if back != nil && now.Sub(d.recalled) >= d.pace {
			d.recall(ctx, back, now)
			back = d.back()
		}
		d.mature(now)
		for it := d.pick(now); it != nil; it = d.pick(now) {
			workers.Go(func() {
				d.deliver(work, it)
				d.done <- it // has room for all
			})
		}
		d.look()
		wait := min(d.until(now), pollInterval-since)
		if wanted {
			wait = min(wait, d.rest-since)
		}
		if back != nil {
			wait = min(wait, d.pace-now.Sub(d.recalled))
		}
		next.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			defer d.cfg.Clock.AfterFunc(stopGrace, abandon).Stop()
			workers.Wait()
			return nil
		case <-d.wake:
			wanted = true
		case <-next.C():
		case it := <-d.done:
			now := d.cfg.Clock.Now()
			d.settle(it, now)
			for range len(d.done) {
				d.settle(<-d.done, now)
			}
		}
	}
}

// load takes what is due from the outbox into its lanes. What we hold already, in flight or waiting, is
// among the rows that the outbox lists first.
func (d *Dispatcher) load(ctx context.Context, now time.Time) {
	d.loaded, d.rest, d.more = now, minLoadInterval, false
	if len(d.held) >= maxHeld {
		return // what ends makes room, and the poll comes back
	}
	limit := len(d.held) + fetchBatch
	rows, err := d.cfg.Outbox.Due(ctx, now, limit)
	took := d.cfg.Clock.Now().Sub(now)
	d.rest = min(max(minLoadInterval, 3*took), pollInterval)
	if err != nil {
		if ctx.Err() == nil {
			d.cfg.Log.Error("cannot read due callbacks; trying again in a second", "err", err)
		}
		return
	}
	changed := make(map[*lane]struct{})
	due := 0
	for _, cb := range rows {
		if !cb.DueAt.After(now) {
			due++
		}
		if d.held[cb.ID] == nil {
			changed[d.add(cb, now)] = struct{}{}
		}
	}
	for l := range changed { // only now: its blockers are there too
		d.plan(l, now)
	}
	d.more = due >= limit
}

// back is a host that is back and has room for what was put off.
func (d *Dispatcher) back() *host {
	d.recalls = slices.DeleteFunc(d.recalls, func(h *host) bool {
		h.recalled = h.recalled && !h.breaker.open() // down again: another time
		return !h.recalled
	})
	if len(d.held) >= maxHeld/2 {
		return nil
	}
	for _, h := range d.recalls {
		if len(h.queue) < h.breaker.atOnce()*recallDepth/2 {
			return h
		}
	}
	return nil
}

// recall takes callbacks that were put off while their host was down back before their time, those first that
// would have come first: as many as keep it busy for a moment.
func (d *Dispatcher) recall(ctx context.Context, h *host, now time.Time) {
	rows, err := d.cfg.Outbox.Later(ctx, h.recall, fetchBatch)
	d.recalled = now
	d.pace = min(max(minLoadInterval, 3*d.cfg.Clock.Now().Sub(now)), pollInterval)
	if err != nil {
		if ctx.Err() == nil {
			d.cfg.Log.Error("cannot read the callbacks put off; trying again in a second", "err", err)
		}
		d.pace = pollInterval
		return
	}
	// Each call is there with all it has, so that its order can be kept.
	var later []time.Time
	first := make(map[string]time.Time)
	for _, cb := range rows {
		if cb.DueAt.Before(h.recall) {
			continue
		}
		later = append(later, cb.DueAt)
		if t, ok := first[cb.CallSID]; !ok || cb.DueAt.Before(t) {
			first[cb.CallSID] = cb.DueAt
		}
	}
	slices.SortStableFunc(rows, func(a, b call.Callback) int {
		return cmp.Or(first[a.CallSID].Compare(first[b.CallSID]), cmp.Compare(a.CallSID, b.CallSID))
	})
	slices.SortFunc(later, time.Time.Compare)
	end := now
	if h.recalled = len(later) >= fetchBatch; h.recalled {
		end = later[fetchBatch-1] // of what is due behind that, not all was read
		if !end.After(h.recall) {
			end = h.recall.Add(time.Microsecond)
		}
	}
	changed := make(map[*lane]struct{})
	taken := 0
	for i, cb := range rows {
		if taken >= h.breaker.atOnce()*recallDepth && cb.CallSID != rows[i-1].CallSID {
			end, h.recalled = first[cb.CallSID], true
			break
		}
		if d.held[cb.ID] == nil && hostOf(cb.URL) == h.name {
			cb.DueAt = now
			changed[d.add(cb, now)] = struct{}{}
			taken++
		}
	}
	h.recall = end
	d.recalls = append(slices.DeleteFunc(d.recalls, func(o *host) bool { return o == h }), h)
	for l := range changed {
		d.plan(l, now)
	}
	if !h.recalled {
		d.forget(h, now)
	}
}
