package phone

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// state is where a call stands.
type state int

const (
	calling  state = iota // outgoing: nothing but 100 heard; incoming: nothing but 100 sent
	ringing               // 180 or 183
	answered              // 2xx
	over
)

func (s state) String() string { return [...]string{"calling", "ringing", "answered", "over"}[s] }

// Call is one call of a phone, in either direction. All its methods may be used concurrently; those
// that wait return an error when the call ends first, saying how it ended.
type Call struct {
	phone     *Phone
	log       *slog.Logger
	outgoing  bool
	id        string // Call-ID
	localTag  string
	changed   signal
	hungUp    chan struct{}
	ctx       context.Context // ends with the call
	cancelCtx context.CancelFunc
	acked     chan struct{} // closed by the ACK of our first 2xx
	media     *media
	started   time.Time
	lifetime  *time.Timer

	mu       sync.Mutex
	state    state
	answered bool // also when it is over by now
	ending   End
	dialog   dialog
	offer    Outgoing // outgoing: as asked
	headers  []sip.Header
	from, to string
	code     int

	// Offer and answer.
	sdpID, sdpVersion uint64
	local             *description // what we last said
	dir               direction    // what we want: sendrecv unless we hold
	pending           bool         // a re-INVITE of ours is under way
	leaving           bool         // our BYE is on its way

	// Outgoing before the answer.
	provisional, cancelled bool
	confirmed              bool // our ACK of the 2xx is on its way
	invite                 *sip.Request
	lateAnswer             []byte // SDP of our ACK after a late offer

	// Incoming before the answer.
	serverTx  *sip.ServerTx
	inviteReq *sip.Request
	acks      map[uint32]ackWait // 2xx of ours without their ACK yet, by CSeq

	referral referral

	// Listening.
	cursor    int // heard up to here by the Wait methods
	keyCursor int // received keys up to here
	recording string
}

// End says how a call ended.
type End struct {
	Code   int    // final response to its INVITE: 200 for an answered call, 0 when there was none
	Reason string // of that response, or what else ended it
	Remote bool   // the far end hung up, cancelled or refused
}

// String is the end in words.
func (e End) String() string {
	who := "here"
	if e.Remote {
		who = "by the far end"
	}
	return fmt.Sprintf("ended %s: %d %s", who, e.Code, e.Reason)
}

// EndError is returned by a wait that the end of the call cut short.
type EndError struct {
	Waiting string // for what
	End     End
}

func (e *EndError) Error() string { return fmt.Sprintf("phone: %s: the call %s", e.Waiting, e.End) }

func newCall(p *Phone, id, localTag string, outgoing bool) *Call {
	c := &Call{
		phone: p, id: id, localTag: localTag, outgoing: outgoing, started: time.Now(),
		log:    p.log.With("call_id", id),
		hungUp: make(chan struct{}), acked: make(chan struct{}),
		acks: map[uint32]ackWait{}, dir: sendrecv, sdpID: uint64(rand.Uint32()), sdpVersion: 1,
	}
	c.dialog.localTag, c.dialog.callID = localTag, id
	c.ctx, c.cancelCtx = context.WithCancel(context.WithoutCancel(p.ctx))
	return c
}

func (c *Call) key() dialogKey { return dialogKey{c.id, c.localTag} }

// open reserves the call's place and its media; peer is where its audio will come from.
func (c *Call) open(peer string) error {
	p := c.phone
	ip := p.sip.localIP(peer)
	m, err := openMedia(ip, samples(p.cfg.MaxHeard), &c.changed, c.log)
	if err != nil {
		return fmt.Errorf("phone: no port for audio: %w", err)
	}
	m.timeout = max(p.cfg.RTPTimeout, 0)
	m.expired = func() { p.spawn(func() { c.hangup("nothing heard for " + m.timeout.String()) }) }
	c.media = m
	c.lifetime = time.AfterFunc(p.cfg.MaxCall, func() { p.spawn(func() { c.hangup("longest call reached") }) })
	if err := p.add(c); err != nil {
		c.lifetime.Stop()
		c.cancelCtx()
		m.close()
		return err
	}
	return nil
}

// ID is the SIP Call-ID.
func (c *Call) ID() string { return c.id }

// Outgoing tells whether this phone made the call.
func (c *Call) Outgoing() bool { return c.outgoing }

// From is the calling number: the user part of the From header.
func (c *Call) From() string { return c.from }

// To is the number that was called: the user part of the request URI.
func (c *Call) To() string { return c.to }

// Code is the final response to the call's INVITE, 0 while there is none.
func (c *Call) Code() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code
}

// End is how the call ended; false while it has not.
func (c *Call) End() (End, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending, c.state == over
}

// Headers are those of the far end's INVITE, or of its newest response to ours, in order.
func (c *Call) Headers() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := make([]string, len(c.headers))
	for i, h := range c.headers {
		lines[i] = h.Name() + ": " + h.Value()
	}
	return lines
}

// Header is the value of the first of Headers with that name, in any case; "" when there is none.
func (c *Call) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.headers, func(h sip.Header) bool { return strings.EqualFold(h.Name(), name) })
	if i < 0 {
		return ""
	}
	return c.headers[i].Value()
}

// Codec is the codec agreed on; "" while there is none.
func (c *Call) Codec() Codec {
	g, _ := c.media.agreement()
	return g.codec
}

// HungUp is closed when the call is over, whoever ended it, and its recording is complete.
func (c *Call) HungUp() <-chan struct{} { return c.hungUp }

// Context ends with the call, for work done on its behalf.
func (c *Call) Context() context.Context { return c.ctx }

// Recording is the file the call is recorded to, "" when it is not.
func (c *Call) Recording() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recording
}

// setState moves an unfinished call on, never back.
func (c *Call) setState(s state) {
	c.mu.Lock()
	if c.state != over {
		c.state = max(c.state, s)
		c.answered = c.state == answered
	}
	c.mu.Unlock()
	c.changed.notify()
}

// end finishes the call: no more media, no more requests. The first end counts.
func (c *Call) end(e End) {
	c.mu.Lock()
	if c.state == over {
		c.mu.Unlock()
		return
	}
	c.state = over
	c.code = cmp.Or(c.code, e.Code)
	e.Code = c.code
	c.ending = e
	c.mu.Unlock()
	c.lifetime.Stop()
	c.media.close()
	c.phone.remove(c)
	c.cancelCtx()
	close(c.hungUp)
	c.changed.notify()
	c.log.Info("call ended", "end", e.String(), "after", time.Since(c.started).Round(time.Millisecond))
}

// startMedia begins to send, and to record when the phone records.
func (c *Call) startMedia() {
	if c.phone.cfg.Dir != "" && c.Recording() == "" {
		name := c.phone.cfg.Number
		if !c.outgoing {
			name = c.to
		}
		if w, path, err := newRecording(c.phone.cfg.Dir, name, c.id, c.started); err != nil {
			c.log.Warn("call is not recorded", "error", err)
		} else {
			c.mu.Lock()
			c.recording = path
			c.mu.Unlock()
			c.media.record(w)
		}
	}
	c.media.start()
}

// wait blocks until done is true of the call's state; done is called with the lock held.
func (c *Call) wait(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		changed := c.changed.wait()
		c.mu.Lock()
		ok, err := done()
		isOver, end := c.state == over, c.ending
		c.mu.Unlock()
		switch {
		case ok || err != nil:
			return err
		case isOver:
			return &EndError{what, end}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("phone: %s: %w", what, ctx.Err())
		}
	}
}

// WaitRinging blocks until the call rings (180 or 183) or is answered.
func (c *Call) WaitRinging(ctx context.Context) error {
	return c.wait(ctx, "waiting for ringing", func() (bool, error) { return c.state == ringing || c.state == answered, nil })
}

// WaitAnswered blocks until the call is set up: an outgoing one has its 2xx, an incoming one its ACK.
func (c *Call) WaitAnswered(ctx context.Context) error {
	return c.wait(ctx, "waiting for an answer", func() (bool, error) {
		if c.outgoing {
			return c.answered, nil
		}
		select { // also when it is over by now
		case <-c.acked:
			return true, nil
		default:
			return false, nil
		}
	})
}

// WaitHungUp blocks until the call is over.
func (c *Call) WaitHungUp(ctx context.Context) error {
	select {
	case <-c.hungUp:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("phone: waiting for the end of the call: %w", ctx.Err())
	}
}

// Hangup ends the call from this side as its state demands: CANCEL, a 603 or BYE. It does not wait
// for the far end: an answered call is over at once, a cancelled one when its final response is
// here. Hanging up twice is nothing.
func (c *Call) Hangup() { c.hangup("hung up") }

func (c *Call) hangup(why string) {
	c.mu.Lock()
	st, cancelNow := c.state, false
	if c.outgoing && st < answered {
		cancelNow = c.provisional && !c.cancelled
		c.cancelled = true // before any response: the CANCEL waits for one, RFC 3261 section 9.1
	}
	c.mu.Unlock()
	switch {
	case st == over:
	case st == answered:
		c.bye(why)
	case cancelNow:
		c.phone.spawn(c.cancel)
	case !c.outgoing:
		_ = c.Reject(603)
	}
}

// StopRTP makes the phone send no audio and no keys at all, as one whose network died; false ends that.
func (c *Call) StopRTP(stop bool) {
	c.media.mu.Lock()
	defer c.media.mu.Unlock()
	c.media.stopped = stop
}

// Echo makes the phone return every audio packet as it comes in, instead of sending its own audio.
func (c *Call) Echo(on bool) {
	c.media.mu.Lock()
	defer c.media.mu.Unlock()
	c.media.echo, c.media.echoing = on, false
}

// Play sends audio (8 kHz) after what is queued already and returns when it has been sent. When ctx
// ends first the rest is dropped.
func (c *Call) Play(ctx context.Context, pcm []int16) error {
	return c.queue(ctx, "playing", []*outItem{audioItem(pcm)})
}

// Press sends keys: 0-9 * # A-D, each 100 ms with a pause of 100 ms; w and W pause for 0.5 s and 1 s.
// They go as telephone-events under the far end's payload type, or as tones when it offered none.
func (c *Call) Press(ctx context.Context, keys string) error {
	g, _ := c.media.agreement()
	items, err := keyItems(keys, g.sendEvents < 0)
	if err != nil || len(items) == 0 {
		return err
	}
	return c.queue(ctx, "pressing "+keys, items)
}

// KeyError names a character that is no key.
type KeyError struct {
	Keys  string
	Index int // of the character in Keys
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("phone: %q in %q is not a key (0-9 * # A-D, w and W to pause)", e.Keys[e.Index], e.Keys)
}

func (c *Call) queue(ctx context.Context, what string, items []*outItem) error {
	c.mu.Lock()
	ready := c.state == answered || c.state == ringing && !c.outgoing && c.local != nil
	isOver, end := c.state == over, c.ending
	c.mu.Unlock()
	switch {
	case isOver:
		return &EndError{what, end}
	case !ready:
		return errNotYet
	}
	if err := c.media.enqueue(items...); err != nil {
		return err
	}
	select {
	case <-items[len(items)-1].done:
	case <-c.hungUp:
	case <-ctx.Done():
		c.media.drop(items...)
		return fmt.Errorf("phone: %s: %w", what, ctx.Err())
	}
	if end, isOver := c.End(); isOver {
		return &EndError{what, end}
	}
	return nil
}
