// Package recording keeps what calls say. While a recording runs, a Recorder spools it into a file that can
// be played at every moment; when it has ended, a Keeper moves it into the Blobs, where Media reads it.
//
// The spool of a recording is one µ-law WAV file whose header is written again behind every piece of audio,
// so neither a crash nor kill -9 leaves one that must be repaired, and no second file says what the first
// one means. What was handed to Write is on disk half a second to a second later, and a tenth more; a machine that
// loses its power loses at most what came after the last sync (Config.SyncEvery). Everything else about a recording
// is a row in the store.
//
// A media worker calls Write with frames of 20 ms. It copies them into a block of half a second and never
// waits: full blocks go through a queue to one goroutine that writes those of all recordings. When the disk
// cannot keep up the queue is full and blocks are dropped: they are counted, and silence stands in their
// place, so that the two channels stay on one clock.
package recording

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

const (
	// Rate is the sample rate of every recording, in Hz.
	Rate = 8000
	// silence is the µ-law code of zero.
	silence = 0xFF

	// blockSamples is half a second: what is handed over and written at once.
	blockSamples = Rate / 2
	// slack is how much later than the newest sample one may come and still find its block: half a second, more
	// than networks delay and machines stall. It is at most a block, of which a recording has two.
	slack = blockSamples

	defaultMax   = 24 * time.Hour // 1.4 GB of two channels; the sizes in a WAV header end at 4 GB
	defaultOpen  = 4096
	defaultQueue = 2048
	defaultSync  = 5 * time.Second
	// gather is how long the spool waits for more blocks after the first one, so that a busy server wakes it
	// ten times a second and not twice for each recording.
	gather = 100 * time.Millisecond
)

// ErrTooMany refuses a recording: as many run as may.
var ErrTooMany = errors.New("recording: too many recordings at once")

// ErrLimit ends a recording that is as long as it may be.
var ErrLimit = errors.New("recording: the longest length is reached")

var errClosed = errors.New("recording: the recorder is closed")

// Config says where spools are. The zero value of all but Dir works.
type Config struct {
	Dir       string        // made (mode 0700) when missing; nobody else's
	MaxOpen   int           // recordings at once; default 4096
	Queue     int           // blocks of half a second (4 kB a channel) that may wait for the disk; default 2048
	SyncEvery time.Duration // how often running spools are synced against the loss of power; default 5 s
	Clock     clock.Clock   // default the system clock
	Log       *slog.Logger
}

// Recorder spools recordings. Its methods are safe for concurrent use.
type Recorder struct {
	cfg   Config
	disk  disk
	queue chan *block
	free  sync.Pool // *block

	mu     sync.Mutex
	open   map[string]*Writer
	ending []*Writer // stopped: what is queued of them is to be written, then they are done
	closed bool

	wake  chan struct{} // ending is not empty
	begun chan struct{} // there is something to sync
	quit  chan struct{}
	gone  sync.WaitGroup

	stats stats
}

type stats struct {
	bytes, lost, late, failed atomic.Int64
	writing                   atomic.Int64 // nanoseconds
}

// Stats are what a recorder did so far.
type Stats struct {
	Open    int           // recordings that run
	Bytes   int64         // written
	Lost    int64         // samples for which there was no room in the queue: silence stands there
	Late    int64         // samples that came when their block was written already
	Failed  int64         // recordings that the disk ended
	Queued  int           // blocks that wait
	Writing time.Duration // spent in writes
}

// New makes a recorder. Recover what an earlier process left in Dir before the first Start: its SIDs are taken.
func New(cfg Config) (*Recorder, error) {
	r, err := newRecorder(cfg, osDisk{})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func newRecorder(cfg Config, d disk) (*Recorder, error) {
	if cfg.MaxOpen <= 0 {
		cfg.MaxOpen = defaultOpen
	}
	if cfg.Queue <= 0 {
		cfg.Queue = defaultQueue
	}
	if cfg.SyncEvery <= 0 {
		cfg.SyncEvery = defaultSync
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("recording: make the spool: %w", err)
	}
	r := &Recorder{
		cfg: cfg, disk: d, queue: make(chan *block, cfg.Queue), open: make(map[string]*Writer),
		wake: make(chan struct{}, 1), begun: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	r.gone.Go(r.spool)
	r.gone.Go(r.sync)
	return r, nil
}

// Spec is one recording.
type Spec struct {
	SID string // RE…, the name of its spool
	// Channels of the file, 1 or 2; default 1.
	Channels int
	// Tracks that are written, 1 or 2, not fewer than Channels; default Channels. Two tracks in one channel are mixed.
	Tracks int
	// Max is how long it may become; default and most 24 h. Then it ends with ErrLimit.
	Max time.Duration
}

// Start begins a recording. It makes the spool, so it may wait for the disk; its error then is that of the disk.
func (r *Recorder) Start(spec Spec) (*Writer, error) {
	if spec.Channels == 0 {
		spec.Channels = 1
	}
	if spec.Tracks == 0 {
		spec.Tracks = spec.Channels
	}
	if spec.Channels < 1 || spec.Channels > 2 || spec.Tracks < spec.Channels || spec.Tracks > 2 {
		return nil, fmt.Errorf("recording: %d tracks in %d channels", spec.Tracks, spec.Channels)
	}
	if spec.Max <= 0 || spec.Max > defaultMax {
		spec.Max = defaultMax
	}
	w := &Writer{
		r: r, spec: spec, path: spoolPath(r.cfg.Dir, spec.SID), tracks: spec.Tracks,
		limit: int64(spec.Max) * Rate / int64(time.Second),
		done:  make(chan struct{}), written: make(chan struct{}),
	}
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		return nil, errClosed
	case len(r.open) >= r.cfg.MaxOpen:
		r.mu.Unlock()
		return nil, ErrTooMany
	case r.open[spec.SID] != nil:
		r.mu.Unlock()
		return nil, fmt.Errorf("recording: %s: %w", spec.SID, fs.ErrExist)
	}
	r.open[spec.SID] = w // its place is taken before the disk is asked, without the lock
	r.mu.Unlock()
	f, err := r.disk.create(w.path)
	if err == nil {
		if _, err = f.WriteAt(spoolHeader(spec.Channels, 0), 0); err != nil {
			err = errors.Join(err, f.Close(), os.Remove(w.path))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.closed {
		err = errors.Join(errClosed, f.Close(), os.Remove(w.path))
	}
	if err != nil {
		delete(r.open, spec.SID)
		return nil, fmt.Errorf("recording: make the spool of %s: %w", spec.SID, err)
	}
	w.file = f
	select {
	case r.begun <- struct{}{}:
	default:
	}
	return w, nil
}

// Stats may be asked at any time.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	n := len(r.open)
	r.mu.Unlock()
	return Stats{
		Open: n, Queued: len(r.queue), Bytes: r.stats.bytes.Load(), Lost: r.stats.lost.Load(),
		Late: r.stats.late.Load(), Failed: r.stats.failed.Load(), Writing: time.Duration(r.stats.writing.Load()),
	}
}

// Close ends what runs, as a crash would but with all that was written on disk: Recover finds it. It is idempotent.
func (r *Recorder) Close() {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	var running []*Writer
	for _, w := range r.open {
		if w.file != nil {
			running = append(running, w)
		}
	}
	r.mu.Unlock()
	if !first {
		r.gone.Wait()
		return
	}
	for _, w := range running {
		if res := w.Stop(context.Background()); res.Err != nil {
			r.cfg.Log.Warn("recording ended by the stop of the server", "recording_sid", w.spec.SID, "err", res.Err)
		}
	}
	close(r.quit)
	r.gone.Wait()
}

func spoolPath(dir, sid string) string { return filepath.Join(dir, sid+spoolSuffix) }
