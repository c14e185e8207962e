package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

const (
	// maxLive and maxAPI bound one transaction. A live write waits for at most one batch before its own,
	// so the API's share is small: 64 creates take about 10 ms.
	maxLive = 256
	maxAPI  = 64

	defaultLiveLane = 1024
	defaultAPILane  = 256
)

// job is one write. It inserts a call or runs statements, or both in that order.
type job struct {
	call *insertCall          // nil: no insert
	run  func(b *batch) error // nil: nothing else. Its errors: see verdict
	rows []rowOf              // inserts at the end of the batch

	since time.Time // when it joined its lane
	api   bool      // that of the API
	err   error
	done  chan struct{}
	state atomic.Int32 // jobWaiting, then either of the others
}

// A job belongs to its caller while it waits; the writer or the caller's context takes it, not both.
const (
	jobWaiting int32 = iota
	jobTaken         // by the writer: the caller waits for the answer
	jobGone          // the caller gave up: the writer skips it
)

// writer is the goroutine that writes. It alone uses db, through one connection that it replaces after
// any error that is not a job's own.
type writer struct {
	db   *sql.DB
	d    *dialect
	log  *slog.Logger
	seq  *sequence
	conn *writeConn // nil: to be opened by the next batch

	liveLane chan *job
	apiLane  chan *job
	quit     chan struct{} // closed by close: no new jobs
	gone     chan struct{} // closed when the goroutine has ended
	failing  bool          // the last batch failed: one log line at each change

	clock   clock.Clock
	oldest  atomic.Int64 // when the oldest write of the running batch joined its lane, as UnixNano; 0 while idle
	inHand  atomic.Int32 // writes in the running batch
	metrics *metrics

	committed func() // called after each commit
}

func newWriter(db *sql.DB, d *dialect, cfg Config, seq *sequence, committed func()) *writer {
	lane := func(n, fallback int) chan *job {
		if n <= 0 {
			n = fallback
		}
		return make(chan *job, n)
	}
	w := &writer{
		db: db, d: d, log: cfg.Log, seq: seq, clock: cfg.Clock, metrics: newMetrics(),
		liveLane: lane(cfg.LiveLane, defaultLiveLane), apiLane: lane(cfg.APILane, defaultAPILane),
		quit: make(chan struct{}), gone: make(chan struct{}), committed: committed,
	}
	go w.loop()
	return w
}

// close runs what waits, then ends the goroutine. Store calls it once.
func (w *writer) close() {
	close(w.quit)
	<-w.gone
}

// live writes ahead of the API; a full lane makes the caller wait.
func (w *writer) live(ctx context.Context, j *job) error {
	j.done, j.since = make(chan struct{}), w.clock.Now()
	select {
	case <-w.quit:
		return errClosed()
	default:
	}
	select {
	case w.liveLane <- j:
		return w.wait(ctx, j)
	case <-w.quit:
		return errClosed()
	case <-ctx.Done():
		return fmt.Errorf("store: write: %w", context.Cause(ctx))
	}
}

// api writes behind live calls; a full lane refuses at once.
func (w *writer) api(ctx context.Context, j *job) error {
	j.done, j.since, j.api = make(chan struct{}), w.clock.Now(), true
	select {
	case <-w.quit:
		return errClosed()
	default:
	}
	select {
	case w.apiLane <- j:
		return w.wait(ctx, j)
	default:
		return fmt.Errorf("store: %w: too many writes are waiting", call.ErrUnavailable)
	}
}

func (w *writer) wait(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return j.err
	case <-w.gone:
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobWaiting, jobGone) {
			return fmt.Errorf("store: write: %w", context.Cause(ctx))
		}
		<-j.done // it is being written: the caller learns whether it was
		return j.err
	}
	select { // the writer answers what it took before it ends
	case <-j.done:
		return j.err
	default:
		return errClosed()
	}
}

func errClosed() error { return fmt.Errorf("store: %w: closed", call.ErrUnavailable) }

// loop commits batch after batch until close, then what is left in the lanes.
func (w *writer) loop() {
	defer close(w.gone)
	defer func() { w.drop() }()
	for {
		select {
		case j := <-w.liveLane:
			w.batch(w.collect(j, nil))
		case j := <-w.apiLane:
			w.batch(w.collect(nil, j))
		case <-w.quit:
			for jobs := w.collect(nil, nil); len(jobs) > 0; jobs = w.collect(nil, nil) {
				w.batch(jobs)
			}
			return
		}
	}
}

// collect makes a batch of what waits in the lanes behind the first job of either: live writes first.
func (w *writer) collect(live, api *job) []*job {
	jobs := make([]*job, 0, 16)
	take := func(j *job) {
		if j != nil && j.state.CompareAndSwap(jobWaiting, jobTaken) { // else it was given up
			jobs = append(jobs, j)
		}
	}
	drain := func(lane chan *job, most int) {
		for range most {
			select {
			case j := <-lane:
				take(j)
			default:
				return
			}
		}
	}
	take(live)
	drain(w.liveLane, maxLive)
	take(api)
	drain(w.apiLane, maxAPI)
	return jobs
}

// batch commits jobs, and notes meanwhile for Backlog how many there are and how long they wait.
func (w *writer) batch(jobs []*job) {
	if len(jobs) == 0 {
		return
	}
	oldest := jobs[0].since
	for _, j := range jobs {
		if j.since.Before(oldest) {
			oldest = j.since
		}
	}
	w.oldest.Store(oldest.UnixNano())
	w.inHand.Store(int32(len(jobs)))
	w.commit(jobs)
	w.metrics.committed(jobs, w.clock.Now())
	w.inHand.Store(0)
	w.oldest.Store(0)
}

// backlog is Store.Backlog.
func (w *writer) backlog() (n int, oldest time.Duration) {
	n = len(w.liveLane) + len(w.apiLane) + int(w.inHand.Load())
	if at := w.oldest.Load(); at != 0 {
		oldest = max(0, time.Duration(w.clock.Now().UnixNano()-at))
	}
	return n, oldest
}

// commit writes jobs in one transaction and answers them. When one of them made the transaction fail,
// each is written in its own, so that only that one fails.
func (w *writer) commit(jobs []*job) {
	if len(jobs) == 0 {
		return
	}
	verdicts, err := w.attempt(jobs)
	if err != nil && len(jobs) > 1 && w.d.jobFault(err) {
		for _, j := range jobs {
			w.commit([]*job{j})
		}
		return
	}
	w.report(err)
	for i, j := range jobs {
		switch {
		case err == nil:
			j.err = verdicts[i]
		case w.d.unique(err):
			j.err = fmt.Errorf("store: %w: %w", call.ErrConflict, err)
		case w.d.jobFault(err):
			j.err = fmt.Errorf("store: write: %w", err)
		default:
			j.err = fmt.Errorf("store: write: %w: %w", call.ErrUnavailable, err)
		}
		close(j.done)
	}
	if err == nil {
		w.committed()
	}
}

// attempt writes jobs in one transaction; the verdicts are per job, the error is about all of them.
// A connection that was lost before the commit is replaced once: nothing can have been written.
func (w *writer) attempt(jobs []*job) ([]error, error) {
	for again := false; ; again = true {
		verdicts, committing, err := w.transact(jobs)
		if err == nil || w.d.jobFault(err) {
			return verdicts, err
		}
		fresh := w.conn == nil // it could not even be opened
		w.drop()
		if again || fresh || committing || !w.d.lost(err) {
			return nil, err
		}
	}
}

func (w *writer) transact(jobs []*job) (verdicts []error, committing bool, err error) {
	ctx := context.Background()
	if w.d.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.d.timeout)
		defer cancel()
	}
	if w.conn == nil {
		if w.conn, err = openWriteConn(ctx, w.db, w.d); err != nil {
			return nil, false, err
		}
	}
	b := &batch{ctx: ctx, conn: w.conn, seq: w.seq}
	if _, err := b.exec(w.d.begin); err != nil {
		return nil, false, err
	}
	verdicts, err = b.apply(jobs)
	if err == nil {
		committing = true
		_, err = b.exec("COMMIT")
	}
	if err != nil {
		if _, rollback := b.exec("ROLLBACK"); rollback != nil {
			w.drop() // whatever state it is in, the next batch starts with another one
		}
	}
	return verdicts, committing, err
}

// drop gives the connection up.
func (w *writer) drop() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// report logs when the database stops and when it starts to take writes.
func (w *writer) report(err error) {
	failing := err != nil && !w.d.jobFault(err)
	if failing == w.failing {
		return
	}
	w.failing = failing
	w.metrics.stopped.Store(failing)
	if failing {
		w.log.Error("the database cannot be written: new calls are refused until it can", "err", err)
	} else {
		w.log.Info("the database can be written again")
	}
}

// verdict reports whether a job's error is about the job alone and leaves the transaction good.
func verdict(err error) bool {
	return errors.Is(err, call.ErrConflict) || errors.Is(err, call.ErrNotFound) || errors.Is(err, call.ErrLive)
}

// sequence numbers the calls in the order of their commits: microseconds since 1970, never twice the
// same, with the low 10 bits telling nodes apart. Only the writer uses it.
type sequence struct {
	clock clock.Clock
	node  int64
	last  int64 // microseconds
}

func newSequence(c clock.Clock, epoch, after int64) *sequence {
	return &sequence{clock: c, node: epoch & (1<<10 - 1), last: after >> 10}
}

func (s *sequence) next() int64 {
	s.last = max(s.last+1, s.clock.Now().UnixMicro())
	return s.last<<10 | s.node
}
