package session

import (
	"math"
	"sync"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/recording"
)

const (
	// quietLevel is the mean power of the quietest sound, -50 dBFS of a sine: between the noise of a quiet line and
	// soft speech.
	quietLevel = math.MaxInt16 * math.MaxInt16 / 2 * 1e-5
	forever    = math.MaxInt64
)

// capture is the tap of one recording: it cuts what a leg gives to the time from start to stop. It is over when the tap
// does not wait any more for what is late.
type capture struct {
	w      *recording.Writer
	tracks [2]int // track of w for inbound and outbound, -1 for none

	mu     sync.Mutex
	over   bool  // whole is closed
	ready  bool  // it was told the time
	paused bool  // w knows of the pause
	heard  bool  // the party sent audio
	origin int64 // the clock at the start
	now    int64 // and now
	in     int64 // before which nothing of the party's is waited for
	end    int64 // the clock at the stop
	hold   int64 // the clock at the beginning of a pause
	first  int64 // where sound began, -1: nowhere
	last   int64 // where it ended
	limit  int64 // of quiet that ends it, in samples; 0 for none
	still  int64 // quiet so far, in samples that came
	mode   recording.PauseMode
	quiet  chan struct{}
	whole  chan struct{} // closed when all until the stop has come
}

func newCapture(w *recording.Writer, tracks [2]int, limit int64) *capture {
	return &capture{w: w, tracks: tracks, limit: limit, quiet: make(chan struct{}), whole: make(chan struct{}), end: forever, hold: forever, first: -1}
}

// Write is audio.Tap's.
func (c *capture) Write(track int, at int64, ulaw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
	case ulaw != nil:
		c.take(track, at, ulaw)
	case track == audio.Inbound:
		c.come(at)
	}
}

// Tick is audio.Tap's. It moves the clock, unless the recording is stopped.
func (c *capture) Tick(at int64, sent []byte, in int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	if !c.ready {
		c.begin(at)
	}
	written := c.take(audio.Outbound, at, sent)
	if c.come(in); c.over {
		return
	}
	if end := at + audio.FrameSamples; c.end == forever && end > c.now {
		c.now = end
		if written < end && (c.paused || end <= c.hold) {
			c.w.Write(0, end, nil)
		}
	}
}

// begin begins the recording, at the latest when it was stopped.
func (c *capture) begin(at int64) {
	if c.end == forever {
		c.now = max(c.now, at)
	}
	c.ready, c.origin = true, c.now
	c.w.Write(0, c.origin, nil)
	if c.hold != forever {
		c.hold = c.origin // it was paused before it began
	}
	c.come(c.in)
}

// come says that what the party sent before at has come.
func (c *capture) come(at int64) {
	c.in = at
	if !c.ready {
		return
	}
	if c.in >= c.hold && !c.paused {
		c.suspend()
	}
	if c.in >= c.end {
		c.finish()
	}
}

// finish says that all until the stop has come.
func (c *capture) finish() {
	c.over = true
	close(c.whole)
}

// take takes samples, and says where those end that were written; 0 for none.
func (c *capture) take(track int, at int64, ulaw []byte) (end int64) {
	if !c.ready || len(ulaw) == 0 {
		return 0
	}
	if track == audio.Inbound {
		c.listen(at, ulaw)
	}
	to := c.tracks[track]
	if to < 0 {
		return 0
	}
	if at, ulaw = c.cut(at, ulaw); len(ulaw) == 0 {
		return 0
	}
	c.sound(at, ulaw)
	c.w.Write(to, at, ulaw)
	return at + int64(len(ulaw))
}

// suspend pauses w where the pause began.
func (c *capture) suspend() {
	c.w.Write(0, c.hold, nil)
	c.w.Pause(c.mode)
	c.paused = true
}

// pause stops the recording until resume.
func (c *capture) pause(mode recording.PauseMode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold == forever {
		c.hold, c.mode = c.now, mode
	}
}

func (c *capture) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold == forever || !c.ready { // it was paused before it began: nothing is missing
		c.hold = forever
		return
	}
	if !c.paused {
		c.suspend()
	}
	c.w.Write(0, c.now, nil)
	c.w.Resume()
	c.hold, c.paused = forever, false
}

// cut is the part of a frame between start and stop, up to a pause.
func (c *capture) cut(at int64, ulaw []byte) (int64, []byte) {
	if early := min(c.origin-at, int64(len(ulaw))); early > 0 {
		at, ulaw = at+early, ulaw[early:]
	}
	if over := min(at+int64(len(ulaw))-min(c.end, c.hold), int64(len(ulaw))); over > 0 {
		ulaw = ulaw[:int64(len(ulaw))-over]
	}
	return at, ulaw
}

// listen counts how long the party has been quiet, unless the recording is paused. A party that sends nothing is not.
func (c *capture) listen(at int64, ulaw []byte) {
	if at < c.origin {
		return
	}
	c.heard = true
	if c.limit == 0 || c.hold != forever {
		return
	}
	if audio.ULawLouder(ulaw, quietLevel) {
		c.still = 0
		return
	}
	if c.still += int64(len(ulaw)); c.still >= c.limit {
		c.limit = 0
		close(c.quiet)
	}
}

// sound notes where sound is.
func (c *capture) sound(at int64, ulaw []byte) {
	if !audio.ULawLouder(ulaw, quietLevel) {
		return
	}
	if c.first < 0 || at < c.first {
		c.first = at
	}
	c.last = max(c.last, at+int64(len(ulaw)))
}

// stop ends the recording now. What is late of it comes until whole is closed, or the leg is over.
func (c *capture) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != forever || c.over {
		return
	}
	c.end = c.now
	if c.ready && !c.paused {
		c.w.Write(0, min(c.end, c.hold), nil)
	}
	if !c.ready || c.in >= c.end {
		c.finish()
	}
}

// length is how many samples it is about to have, with silence at both ends or without.
func (c *capture) length(trim bool) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.w.Length()
	if !trim {
		return n
	}
	if c.first < 0 {
		return 0
	}
	return min(n, c.last-c.first)
}

// empty reports that the party sent nothing at all.
func (c *capture) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.heard
}
