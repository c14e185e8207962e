package recording

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// silent is a track in which nothing is heard.
var silent = func() (track [blockSamples]byte) {
	for i := range track {
		track[i] = silence
	}
	return track
}()

// PauseMode says what stands in the file for the time of a pause.
type PauseMode int

// Pause modes; Twilio's default is Silence (related-resources, PauseBehavior).
const (
	Silence PauseMode = iota // the clock goes on
	Skip                     // nothing: what follows joins what went before
)

// block is a piece of a recording on its way to the disk.
type block struct {
	data [2][blockSamples]byte // its tracks
	w    *Writer
	at   int64 // its first sample's place in the file
	n    int   // samples of each track
}

// Writer is a running recording. All its methods may be called by any goroutine. Write, Pause and Resume
// never wait for anything but each other.
type Writer struct {
	// What every frame needs stands together.
	mu      sync.Mutex
	over    bool // nothing more is taken
	full    bool // it is as long as it may be; what is late still finds its place
	started bool
	paused  bool
	tracks  int
	limit   int64 // in samples
	origin  int64 // the caller's clock at the first sample
	now     int64 // end of the newest sample, from origin, pauses included
	skipped int64 // time cut out by pauses so far
	floor   int64 // place in the file before which nothing is written any more: where the last pause ended
	base    int64 // index of blocks[0]
	blocks  [2]*block

	mode     PauseMode
	pause    int64 // now, when it began
	stopping bool  // Stop was called
	err      error // why it ended by itself
	lost     int64
	late     int64
	result   *Result
	ended    sync.Mutex // held by who makes the result

	r       *Recorder
	spec    Spec
	path    string
	file    file
	done    chan struct{}
	written chan struct{} // the spool has nothing more to do with it

	// The spool's alone.
	samples int64 // on disk
	broken  bool  // the disk refused it

	dirty   atomic.Bool // written since the last sync
	syncing sync.Mutex  // held while the file is synced
}

// Result is what became of a recording.
type Result struct {
	SID      string
	Path     string // of its spool
	Channels int
	Samples  int64 // of each channel
	Lost     int64 // samples that were dropped because the disk could not keep up; silence stands for them
	Err      error // why it ended by itself: ErrLimit, or what the disk said. What was spooled stands all the same
}

// Write adds a frame to a track, 0 or 1. at is the place of its first sample on a clock that counts samples and
// that all tracks share; the recording begins with the first frame that comes. Frames may come in any order
// within half a second, and again: the later one counts. What nobody writes is silence. An empty frame says where
// the clock is now, when frames are ahead of it: somebody must, since that is what brings audio to the disk, tells
// how long a pause was, and where the recording ends.
func (w *Writer) Write(track int, at int64, ulaw []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || track < 0 || track >= w.tracks {
		return
	}
	if !w.started {
		w.started, w.origin = true, at
	}
	at -= w.origin
	if end := at + int64(len(ulaw)); len(ulaw) > 0 {
		w.now = max(w.now, end)
	} else {
		w.now = max(w.now-slack, end)
	}
	if w.paused {
		if w.mode == Silence {
			w.advance()
		}
		return
	}
	at -= w.skipped
	if cut := min(w.floor-at, int64(len(ulaw))); cut > 0 {
		ulaw, at = ulaw[cut:], at+cut
	}
	if over := at + int64(len(ulaw)) - w.limit; over > 0 {
		ulaw = ulaw[:max(0, int64(len(ulaw))-over)]
	}
	w.advance()
	w.place(track, at, ulaw)
	if w.position() >= w.limit && !w.full {
		w.full, w.err = true, ErrLimit
		close(w.done)
	}
}

// position is where the newest sample ends in the file.
func (w *Writer) position() int64 {
	p := w.now - w.skipped
	if w.paused && w.mode == Skip {
		p = w.pause - w.skipped
	}
	return min(p, w.limit)
}

// advance hands over the blocks that nothing can come for any more.
func (w *Writer) advance() {
	for index := (w.position() - slack) / blockSamples; w.base < index; {
		if w.blocks == [2]*block{} {
			w.base = index // a long silence
			return
		}
		w.handOver(w.blocks[0])
		w.blocks[0], w.blocks[1] = w.blocks[1], nil
		w.base++
	}
}

// place copies samples into their blocks. What follows the newest sample by less than a block has one.
func (w *Writer) place(track int, at int64, ulaw []byte) {
	for len(ulaw) > 0 {
		index := at/blockSamples - w.base
		begin := int(at % blockSamples)
		n := min(len(ulaw), blockSamples-begin)
		if index < 0 {
			w.late += int64(n)
			w.r.stats.late.Add(int64(n))
		} else {
			b := w.blocks[index]
			if b == nil {
				b = w.r.block(w, (w.base+index)*blockSamples)
				w.blocks[index] = b
			}
			copy(b.data[track][begin:], ulaw[:n])
		}
		ulaw, at = ulaw[n:], at+int64(n)
	}
}

func (w *Writer) handOver(b *block) {
	if b == nil {
		return
	}
	select {
	case w.r.queue <- b:
	default:
		w.lost += blockSamples
		w.r.stats.lost.Add(blockSamples)
		w.r.free.Put(b)
	}
}

// block is an empty one.
func (r *Recorder) block(w *Writer, at int64) *block {
	b, _ := r.free.Get().(*block)
	if b == nil {
		b = new(block)
	}
	b.w, b.at, b.n = w, at, blockSamples
	for i := range b.data[:w.tracks] {
		b.data[i] = silent
	}
	return b
}

// Pause stops the recording until Resume. Pausing what is paused changes nothing.
func (w *Writer) Pause(mode PauseMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.paused && !w.over {
		w.paused, w.mode, w.pause = true, mode, w.now
	}
}

// Resume goes on with the next frame.
func (w *Writer) Resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.paused || w.over {
		return
	}
	if w.mode == Skip {
		w.skipped += w.now - w.pause
	}
	w.paused = false
	w.floor = w.now - w.skipped
}

// Length is how many samples it has so far.
func (w *Writer) Length() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.position()
}

// Done is closed when the recording has ended by itself: at its limit, or by an error of the disk. Stop it then.
func (w *Writer) Done() <-chan struct{} { return w.done }

// fail ends a recording by itself. w.mu is held.
func (w *Writer) fail(err error) {
	if w.over {
		return
	}
	w.over, w.err = true, err
	if !w.full {
		close(w.done)
	}
}

// Stop ends the recording. It waits until all is on disk and synced, or until ctx is done: then the error is
// ctx's, and Stop may be called again. A recording has one result, however often it is stopped.
func (w *Writer) Stop(ctx context.Context) Result {
	w.mu.Lock()
	w.over = true
	first := !w.stopping
	w.stopping = true
	w.mu.Unlock()
	if first {
		w.r.finish(w)
	}
	select {
	case <-w.written:
	case <-ctx.Done():
		return Result{SID: w.spec.SID, Path: w.path, Channels: w.spec.Channels, Err: fmt.Errorf("recording: stop: %w", context.Cause(ctx))}
	}
	w.ended.Lock()
	defer w.ended.Unlock()
	if w.result == nil {
		w.syncing.Lock()
		err := w.file.Sync()
		w.syncing.Unlock()
		if e := w.file.Close(); err == nil {
			err = e
		}
		if e := syncDir(w.r.cfg.Dir); err == nil {
			err = e
		}
		w.mu.Lock()
		if w.err == nil && err != nil {
			w.err = fmt.Errorf("recording: spool %s: %w", w.spec.SID, err)
		}
		w.result = &Result{
			SID: w.spec.SID, Path: w.path, Channels: w.spec.Channels, Samples: w.samples, Lost: w.lost, Err: w.err,
		}
		w.mu.Unlock()
		w.r.mu.Lock()
		delete(w.r.open, w.spec.SID)
		w.r.mu.Unlock()
	}
	return *w.result
}

// Discard removes the spool of a recording that was stopped, for one that nobody will keep.
func (r Result) Discard() error { return os.Remove(r.Path) }
