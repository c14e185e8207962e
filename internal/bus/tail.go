package bus

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/offhook/offhook/internal/call"
)

// Bounds of what is kept of one account's events while somebody follows them.
const (
	tailEvents   = 2048
	tailBytes    = 2 << 20 // of snapshots
	maxFollowers = 256     // of one account
)

// Subject names an event on the bus: offhook.events.<account>.TwilioCall.<name>.
func Subject(e *call.Event) string { return "offhook.events." + e.AccountSID + ".TwilioCall." + e.Name }

// Told is an event that was handed over, with what its followers make of it: one form for all of them.
type Told struct {
	call.Event
	once sync.Once
	form []byte
}

// Form is what encode makes of the event. It is called once, by whoever comes first.
func (t *Told) Form(encode func(*call.Event) []byte) []byte {
	t.once.Do(func() { t.form = encode(&t.Event) })
	return t.form
}

// tail is the newest events of one account: all with positions above start, in order.
type tail struct {
	start     int64
	events    []*Told
	bytes     int
	more      chan struct{} // closed when something was added
	followers int
}

func (t *tail) add(e call.Event) {
	t.events = append(t.events, &Told{Event: e}) // followers read what is before; that stays as it is
	t.bytes += len(e.Snapshot)
	for len(t.events) > tailEvents || t.bytes > tailBytes {
		t.start, t.bytes = t.events[0].Pos, t.bytes-len(t.events[0].Snapshot)
		t.events = t.events[1:]
	}
}

func (t *tail) wake() {
	close(t.more)
	t.more = make(chan struct{})
}

// Publish hands over the events of one commit, in the order of their positions; upTo is that of the last one
// stored. No events stand for some that cannot be told: whoever wants them reads the store. It never blocks on a
// follower, and is called by one goroutine at a time.
func (b *Bus) Publish(events []call.Event, upTo int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.upTo = upTo
	if len(events) == 0 {
		for _, subs := range b.subs {
			for s := range subs {
				s.closeLocked()
			}
		}
		for _, t := range b.tails {
			t.start, t.events, t.bytes = upTo, nil, 0
			t.wake()
		}
		return
	}
	var woken []*tail
	for i := range events {
		e := &events[i]
		if len(b.subs[e.CallSID]) > 0 {
			own := *e
			b.sendLocked(e.CallSID, Message{Event: &own})
		}
		if t := b.tails[e.AccountSID]; t != nil {
			t.add(*e)
			if !slices.Contains(woken, t) {
				woken = append(woken, t)
			}
		}
	}
	for _, t := range woken {
		t.wake()
	}
}

// Watched reports whether anybody wants events.
func (b *Bus) Watched() bool { return b.watchers.Load() > 0 }

// Follower reads the events of one account at its own pace. What all of an account have in common is kept once.
type Follower struct {
	bus     *Bus
	account string
	tail    *tail
	once    sync.Once
}

// Follow begins at what is stored now; Close it. call.ErrFull when an account has too many followers.
func (b *Bus) Follow(accountSID string) (*Follower, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tails[accountSID]
	if t == nil {
		t = &tail{start: b.upTo, more: make(chan struct{})}
		b.tails[accountSID] = t
	}
	if t.followers == maxFollowers {
		return nil, fmt.Errorf("bus: %w: %d streams of events are the limit", call.ErrFull, maxFollowers)
	}
	t.followers++
	b.watchers.Add(1)
	return &Follower{bus: b, account: accountSID, tail: t}, nil
}

// Stored is the position that everything up to is stored.
func (f *Follower) Stored() int64 {
	f.bus.mu.Lock()
	defer f.bus.mu.Unlock()
	return f.bus.upTo
}

// Next is what follows position pos, as far as upTo, and more, which is closed when there is something behind that.
// ok is false when it is not in memory: then the store has it.
func (f *Follower) Next(pos int64) (events []*Told, upTo int64, more <-chan struct{}, ok bool) {
	f.bus.mu.Lock()
	defer f.bus.mu.Unlock()
	t := f.tail
	if pos < t.start {
		return nil, f.bus.upTo, t.more, false
	}
	i, _ := slices.BinarySearchFunc(t.events, pos+1, func(e *Told, want int64) int { return cmp.Compare(e.Pos, want) })
	return t.events[i:len(t.events):len(t.events)], f.bus.upTo, t.more, true
}

// Close ends the following; it may be called more than once.
func (f *Follower) Close() {
	f.once.Do(func() {
		f.bus.mu.Lock()
		defer f.bus.mu.Unlock()
		f.bus.watchers.Add(-1)
		if f.tail.followers--; f.tail.followers == 0 {
			delete(f.bus.tails, f.account)
		}
	})
}
