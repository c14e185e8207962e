package media

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

const (
	// slots cut a frame of 20 ms into ticks of 2 ms, over which the streams are spread. To wake up takes as long
	// as two packets do, and a stream keeps its place: ticks twice as long cost it no regularity.
	slots        = 10
	slotDuration = audio.FrameDuration / slots
	// readAhead is how many slots before it sends a stream is read: a key that arrives cuts the prompt
	// in the very next frame when its owner reacts within 2 ms.
	readAhead = 1
	// catchUp bounds how late a worker may be and still send what it missed, in slots: 200 ms. After
	// longer stops (a suspended machine) whole frames are left out and the timestamps jump.
	catchUp = 10 * slots
	// inboxSize bounds the streams that wait to be added or closed.
	inboxSize = 256
)

// worker sends and receives for the streams it owns, on an absolute clock: slot k is due at
// epoch + k times 2 ms, whatever happened before. Without streams it sleeps until it gets one.
type worker struct {
	clock   clock.Clock
	waiter  waiter
	inbox   chan func()
	stopped chan struct{} // closed when run has returned
	exit    bool

	epoch time.Time
	slot  int64 // the last one done
	flows [slots][]*flow
	n     int
	polls [pollSlots][]*flow // the flows that somebody hears, by the slot of their next read

	batch batch
	out   [headerSize + maxRelayed + maxTag]byte
	ulaw  [maxRelayed]byte // scratch of what is not µ-law
	count counters         // read by anyone
}

func newWorker(c clock.Clock, w waiter, epoch time.Time) *worker {
	return &worker{clock: c, waiter: w, epoch: epoch, inbox: make(chan func(), inboxSize), stopped: make(chan struct{})}
}

func (w *worker) now() time.Time { return w.clock.Now() }

// streams is how many it has. Safe for concurrent use.
func (w *worker) streams() int64 { return w.count.streams.Load() }

// post makes the worker call f soon, at once when it sleeps; false when it is gone.
// It blocks only while inboxSize others wait. Safe for concurrent use.
func (w *worker) post(f func()) bool {
	select {
	case <-w.stopped:
		return false
	default:
	}
	select {
	case w.inbox <- f:
		w.waiter.wake()
		return true
	case <-w.stopped:
		return false
	}
}

// run is the worker's goroutine. It returns when a posted function sets exit.
func (w *worker) run() {
	defer close(w.stopped)
	for {
		var due time.Time // zero: nothing is
		if w.n > 0 {
			due = w.time(w.nextBusy())
		}
		w.waiter.wait(due)
		w.readInbox()
		if w.exit {
			break
		}
		w.work()
	}
	w.shutDown()
}

// shutDown closes whatever streams are left; by now nobody adds one.
func (w *worker) shutDown() {
	for slot := range w.flows {
		for _, f := range w.flows[slot] {
			f.stream.finish(f)
		}
		w.flows[slot] = nil
	}
	w.n = 0
	w.count.streams.Store(0)
	if err := w.waiter.close(); err != nil {
		panic(fmt.Sprintf("media: close a timer: %v", err)) // closed twice: a bug
	}
}

func (w *worker) readInbox() {
	for {
		select {
		case f := <-w.inbox:
			f()
		default:
			return
		}
	}
}

// time is when slot k is due.
func (w *worker) time(k int64) time.Time { return w.epoch.Add(time.Duration(k) * slotDuration) }

// current is the last slot that is due now.
func (w *worker) current() int64 { return int64(w.now().Sub(w.epoch) / slotDuration) }

// nextBusy is the next slot with a stream to send or to read.
func (w *worker) nextBusy() int64 {
	for k := w.slot + 1; k < w.slot+slots; k++ {
		if w.busy(k) {
			return k
		}
	}
	return w.slot + slots
}

func (w *worker) busy(k int64) bool {
	return len(w.flows[k%slots]) > 0 || len(w.flows[(k+readAhead)%slots]) > 0 || len(w.polls[k%pollSlots]) > 0
}

// work does the slots that are due.
func (w *worker) work() {
	now := w.current()
	if w.n == 0 {
		w.slot = now
		return
	}
	if behind := now - w.slot; behind > catchUp {
		skip := behind / slots * slots
		w.count.skipped.Add(uint64(skip / slots))
		w.slot += skip
	}
	for w.slot < now {
		w.slot++
		if w.busy(w.slot) {
			w.count.late.observe(w.now().Sub(w.time(w.slot)))
			w.tick(w.slot)
		}
	}
}

// tick reads the streams that send soon, then sends those whose turn it is.
func (w *worker) tick(k int64) {
	// Backwards, since a stream that breaks down is replaced by the last of its slot.
	soon := (k + readAhead) % slots
	for i := len(w.flows[soon]) - 1; i >= 0; i-- {
		w.receive(w.flows[soon][i])
	}
	w.poll(k)
	for i := len(w.flows[k%slots]) - 1; i >= 0; i-- {
		w.transmit(w.flows[k%slots][i], k/slots)
	}
}

func (w *worker) receive(f *flow) {
	defer w.rescue(f)
	f.receive(w)
}

func (w *worker) transmit(f *flow, frame int64) {
	defer w.rescue(f)
	f.transmit(w, frame)
}

// rescue ends the stream whose code panicked, and only that one.
func (w *worker) rescue(f *flow) {
	p := recover()
	if p == nil {
		return
	}
	w.count.panics.Add(1)
	f.logger().Error("stream closed after a panic", "panic", p, "stack", string(debug.Stack()))
	w.remove(f)
	defer func() {
		if p := recover(); p != nil {
			f.logger().Error("panic in a media sink", "panic", p)
		}
	}()
	f.timeout()
}

// add takes f over and gives it the emptiest slot, the one that comes first of several.
func (w *worker) add(f *flow) {
	if w.n == 0 {
		w.slot = w.current()
	}
	best := -1
	for d := range int64(slots) {
		s := int((w.slot + readAhead + 1 + d) % slots)
		if best < 0 || len(w.flows[s]) < len(w.flows[best]) {
			best = s
		}
	}
	f.said.move(int64(f.slot-best) * slotSamples)
	f.worker, f.slot, f.index = w, best, len(w.flows[best])
	w.flows[best] = append(w.flows[best], f)
	w.n++
	w.count.streams.Add(1)
}

// remove takes f out and closes it; a second time does nothing.
func (w *worker) remove(f *flow) {
	if list := w.flows[f.slot]; f.index < len(list) && list[f.index] == f {
		f.apart()
		w.take(f)
		f.stream.finish(f)
	}
}

// take takes f out, for another worker.
func (w *worker) take(f *flow) {
	list := w.flows[f.slot]
	last := len(list) - 1
	list[f.index] = list[last]
	list[f.index].index = f.index
	list[last] = nil
	w.flows[f.slot] = list[:last]
	w.n--
	w.count.streams.Add(-1)
}
