package session

import (
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// earful is how much the detector hears at a time, 100 ms: it costs less, and nobody notices.
	earful = 5 * audio.FrameSamples
	// earsOrder is how far behind the newest sample another may come for a place before it, 40 ms.
	earsOrder = 2 * audio.FrameSamples
	// earsPatience is how much longer than a tap does ears wait where nothing comes, 340 ms: a network that stops for
	// that long does not make silence.
	earsPatience = 17 * audio.FrameSamples
	// earsSize is more than what the detector has not heard yet, a power of two: half a second.
	earsSize = 1 << 12
)

// ears is the tap of a detection. It puts what the party says into order and has a detector hear that, all of it on the
// goroutine that moves the packets: to wake another one costs as much as to detect. A detector that breaks down knows
// nothing, and is the end of neither the leg nor the call.
type ears struct {
	decided chan struct{} // closed when there is a verdict
	full    chan struct{} // closed when nothing more is kept of what is said, after the verdict

	mu       sync.Mutex
	detector *audio.AMD
	found    audio.AMDVerdict
	broken   error  // what the detector panicked with, and where; nil when it has not
	sample   []byte // what is kept, up to its capacity
	closed   bool
	deaf     bool
	begun    bool
	next     int64 // place of the first sample that was not heard
	whole    int64 // and of the first that is waited for
	ring     [earsSize]byte
}

func newEars(detector *audio.AMD) *ears {
	e := &ears{detector: detector, decided: make(chan struct{}), full: make(chan struct{})}
	hush(e.ring[:])
	return e
}

func hush(ulaw []byte) {
	for i := range ulaw {
		ulaw[i] = audio.ULawSilence
	}
}

// keep keeps up to n samples of what is said from now on.
func (e *ears) keep(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sample = make([]byte, 0, n)
}

// verdict is what is known by now, at the latest: when the detector has not heard enough, that the time is up. When it
// broke down, verdict panics as it did.
func (e *ears) verdict() audio.AMDVerdict {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken != nil {
		panic(e.broken)
	}
	if e.found.AnsweredBy == "" {
		e.decide(e.detector.Expire())
	}
	return e.found
}

// trace is how it was found; false when the detector broke down.
func (e *ears) trace() (audio.AMDTrace, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken != nil {
		return audio.AMDTrace{}, false
	}
	return e.detector.Trace(), true
}

// close keeps no more, and gives what was kept.
func (e *ears) close() (sample []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return e.sample
}

// Write is audio.Tap's. What was said before the clock told the time first is not heard.
func (e *ears) Write(track int, at int64, ulaw []byte) {
	if track != audio.Inbound {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf || !e.begun || e.closed {
		return
	}
	if ulaw == nil {
		e.complete(at - earsPatience)
		return
	}
	e.complete(at + int64(len(ulaw)) - earsOrder)
	if early := e.next - at; early > 0 {
		at, ulaw = at+early, ulaw[min(early, int64(len(ulaw))):]
	}
	for len(ulaw) > 0 && at < e.next+earsSize {
		i := at % earsSize
		n := int64(copy(e.ring[i:min(earsSize, i+e.next+earsSize-at)], ulaw))
		at, ulaw = at+n, ulaw[n:]
	}
}

// Tick is audio.Tap's.
func (e *ears) Tick(at int64, _ []byte, in int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.deaf || e.closed:
	case !e.begun:
		e.begun, e.next, e.whole = true, at, at
	default:
		e.complete(in - earsPatience)
	}
}

// deafen keeps what comes from the detection, whose clock stands still meanwhile: the silence of a party that is put
// aside or muted says nothing about who it is.
func (e *ears) deafen(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf == on {
		return
	}
	e.deaf, e.begun, e.next = on, false, e.whole
	hush(e.ring[:])
	e.detector.Missed()
}

// complete says that nothing before at is waited for.
func (e *ears) complete(at int64) {
	e.whole = max(e.whole, at)
	for e.whole-e.next >= earful {
		i := e.next % earsSize
		part := e.ring[i:min(earsSize, i+earful)]
		e.hear(part)
		hush(part)
		e.next += int64(len(part))
	}
}

// hear has the detector hear the next samples, and keeps them if somebody wants that.
func (e *ears) hear(ulaw []byte) {
	if e.found.AnsweredBy == "" {
		e.detect(ulaw)
	}
	if room := cap(e.sample) - len(e.sample); room > 0 {
		e.sample = append(e.sample, ulaw[:min(room, len(ulaw))]...)
	}
	e.enough()
}

func (e *ears) detect(ulaw []byte) {
	defer func() {
		if p := recover(); p != nil {
			e.broken = fmt.Errorf("%v\n%s", p, debug.Stack())
			e.decide(audio.AMDVerdict{AnsweredBy: audio.AnsweredUnknown})
		}
	}()
	if v, ok := e.detector.WriteULaw(ulaw); ok {
		e.decide(v)
	}
}

func (e *ears) decide(v audio.AMDVerdict) {
	e.found = v
	close(e.decided)
	e.enough()
}

// enough hears no more when all is heard that anybody wants.
func (e *ears) enough() {
	if e.found.AnsweredBy != "" && len(e.sample) == cap(e.sample) && !e.closed {
		e.closed = true
		close(e.full)
	}
}
