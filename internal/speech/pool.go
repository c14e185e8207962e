package speech

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

const (
	// maxWaiting bounds the clauses that wait for a worker; beyond it orders fail with ErrBusy.
	maxWaiting = 256
	// startTimeout is how long a child may take to get warm: compiling takes 1 s without a cache, on one busy core more.
	startTimeout = time.Minute
	// sayTimeout is how long one clause may take: 0.6 s measured, and much longer for a nice process on busy cores.
	sayTimeout = 30 * time.Second
	// minBackoff and maxBackoff are the pause after a child that did not start; it doubles from one to the other.
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// errCrashed means that the child ended while it spoke.
var errCrashed = errors.New("speech: the speaking process ended")

// A pool has clauses spoken by its workers, each with a child process. The same clause ordered twice is spoken once.
type pool struct {
	cfg   Config
	hello hello
	cache *cache
	log   *slog.Logger
	clock clock.Clock

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup // the workers

	mu      sync.Mutex
	flights map[string]*flight // ordered and not finished, by cache key
	waiting []*flight          // those no worker has taken, in order
	wake    chan struct{}      // one token per waiting flight, at most maxWaiting
}

// A flight is a clause on its way.
type flight struct {
	key string
	req request

	// under pool.mu
	urgent bool // somebody has nothing to play until it comes
	orders int  // not released; a flight nobody waits for is not begun

	mu     sync.Mutex
	pieces []*audio.Clip
	over   bool
	err    error         // why it is over before its time
	news   chan struct{} // closed at the next piece or the end
}

// An order is one caller's share in a flight. A nil order can be released.
type order struct {
	*flight
	pool *pool // nil when there is nothing to wait for
}

// ready is an order that needs no flight.
func ready(clip *audio.Clip, err error) *order {
	f := &flight{over: true, err: err}
	if clip != nil {
		f.pieces = []*audio.Clip{clip}
	}
	return &order{flight: f}
}

func newPool(cfg Config, h hello, c *cache) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pool{
		cfg: cfg, hello: h, cache: c, log: cfg.Log, clock: cfg.Clock, ctx: ctx, cancel: cancel,
		flights: map[string]*flight{}, wake: make(chan struct{}, maxWaiting),
	}
	for i := range cfg.Workers {
		w := &worker{pool: p, log: cfg.Log.With("speech_worker", i)}
		p.done.Go(w.run)
	}
	return p
}

func (p *pool) close() {
	p.cancel()
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.waiting {
		p.finishLocked(f, errClosed)
	}
	p.waiting = nil
}

// order joins or begins the flight of req.
func (p *pool) order(key string, req request) *order {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flights[key]; f != nil {
		f.orders++
		return &order{f, p}
	}
	switch {
	case p.ctx.Err() != nil:
		return ready(nil, errClosed)
	case len(p.waiting) >= maxWaiting:
		return ready(nil, fmt.Errorf("speech: %w (%d)", ErrBusy, maxWaiting))
	}
	f := &flight{key: key, req: req, orders: 1, news: make(chan struct{})}
	p.flights[key] = f
	p.waiting = append(p.waiting, f)
	select {
	case p.wake <- struct{}{}:
	default: // full: tokens of flights given up are still in it, enough for this one
	}
	return &order{f, p}
}

// hurry says that the caller has nothing else to play.
func (o *order) hurry() {
	if o.pool != nil {
		o.pool.mu.Lock()
		o.urgent = true
		o.pool.mu.Unlock()
	}
}

// clips gives the pieces of the clause as they come, and releases the order. They end with the first error.
func (o *order) clips(ctx context.Context) iter.Seq2[*audio.Clip, error] {
	return func(yield func(*audio.Clip, error) bool) {
		defer o.release()
		for i := 0; ; i++ {
			clip, err := o.piece(ctx, i)
			if clip == nil && err == nil || !yield(clip, err) || err != nil {
				return
			}
		}
	}
}

// piece waits for piece i; it is nil when there are no more.
func (f *flight) piece(ctx context.Context, i int) (*audio.Clip, error) {
	for {
		f.mu.Lock()
		pieces, over, err, news := f.pieces, f.over, f.err, f.news
		f.mu.Unlock()
		switch {
		case i < len(pieces):
			return pieces[i], nil
		case over:
			return nil, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// hand gives the next piece to those who wait.
func (f *flight) hand(piece *audio.Clip) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pieces = append(f.pieces, piece)
	close(f.news)
	f.news = make(chan struct{})
}

func (f *flight) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over, f.err = true, err
	close(f.news)
}

// release gives the order up.
func (o *order) release() {
	if o == nil || o.pool == nil {
		return
	}
	p := o.pool
	o.pool = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.orders--; o.orders > 0 {
		return
	}
	if i := slices.Index(p.waiting, o.flight); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.finishLocked(o.flight, context.Canceled)
	}
}

// take waits for a flight, an urgent one first; nil when the pool closes.
func (p *pool) take() *flight {
	for {
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return nil
		}
		p.mu.Lock()
		i := max(0, slices.IndexFunc(p.waiting, func(f *flight) bool { return f.urgent }))
		if i < len(p.waiting) {
			f := p.waiting[i]
			p.waiting = slices.Delete(p.waiting, i, i+1)
			p.mu.Unlock()
			return f
		}
		p.mu.Unlock() // given up meanwhile
	}
}

// finish ends a flight and keeps the clause, on disk when nobody waits any more.
func (p *pool) finish(f *flight, clause *audio.Clip, err error) {
	if err == nil {
		p.cache.remember(f.key, clause) // before the flight ends, so that nobody orders it again
	}
	p.mu.Lock()
	p.finishLocked(f, err)
	p.mu.Unlock()
	if err == nil {
		p.cache.store(f.key, clause)
	}
}

func (p *pool) finishLocked(f *flight, err error) {
	delete(p.flights, f.key)
	f.end(err)
}

// A worker owns one child process at a time.
type worker struct {
	pool    *pool
	log     *slog.Logger
	child   *child
	backoff time.Duration
	next    time.Time // no start before
	lastErr error     // why the last start failed
}

func (w *worker) run() {
	defer func() {
		if w.child != nil {
			w.child.kill()
		}
	}()
	if err := w.start(); err != nil && w.pool.ctx.Err() == nil {
		w.log.Error("the voice does not start", "error", err)
	}
	for {
		f := w.pool.take()
		if f == nil {
			return
		}
		clause, err := w.say(f)
		if err != nil && w.pool.ctx.Err() == nil {
			w.log.Warn("a text cannot be spoken", "error", err, "voice", f.req.Voice, "length", len(f.req.Text))
		}
		w.pool.finish(f, clause, err)
	}
}

// say speaks one clause, piece by piece, and returns the whole. A child that ends over it is replaced, once, and what
// was handed on of its audio is not said again.
func (w *worker) say(f *flight) (*audio.Clip, error) {
	var said []byte
	for try := 0; ; try++ {
		if err := w.start(); err != nil {
			return nil, err
		}
		again := len(said)
		err := w.child.say(w.pool.ctx, f.req, func(ulaw []byte) {
			known := min(again, len(ulaw))
			again -= known
			if ulaw = ulaw[known:]; len(ulaw) > 0 {
				said = append(said, ulaw...)
				f.hand(audio.NewClip(ulaw))
			}
		})
		if err == nil {
			return audio.NewClip(said), nil
		}
		if !errors.Is(err, errCrashed) {
			return nil, err
		}
		w.child.kill()
		w.child = nil
		if w.pool.ctx.Err() != nil {
			return nil, errClosed
		}
		if try == 1 || errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		w.log.Warn("the speaking process ended, starting another", "error", err)
	}
}

// start makes sure that there is a child. After a failed start it waits longer and longer before the next try;
// until then it fails with the same error at once.
func (w *worker) start() error {
	if w.child != nil {
		return nil
	}
	if now := w.pool.clock.Now(); now.Before(w.next) {
		return w.lastErr
	}
	c, err := startChild(w.pool.ctx, w.pool.cfg.Executable, w.pool.hello, w.pool.clock, w.log)
	if err != nil {
		w.backoff = min(max(2*w.backoff, minBackoff), maxBackoff)
		w.next, w.lastErr = w.pool.clock.Now().Add(w.backoff), err
		return err
	}
	w.child, w.backoff = c, 0
	return nil
}
