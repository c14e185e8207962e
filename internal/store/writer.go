package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
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

	// slow is how long a transaction may take before new calls are refused, and stuck when live calls are
	// told to try again too: theirs is worth waiting for a little longer.
	slow  = time.Second
	stuck = 3 * time.Second
	// patience is how long a caller waits for a write that is under way.
	patience = 5 * time.Second
	// probeInterval is how often a database that failed is tried.
	probeInterval = 500 * time.Millisecond
	// probeSize is what a probe writes: as much as a large batch. When a disk is full, a single row may fit
	// long after a batch does not.
	probeSize = 1 << 20
	// fresh is how long a commit is a good sign.
	fresh = 500 * time.Millisecond
)

// job is one write. It inserts a call or runs statements, or both in that order.
type job struct {
	call *insertCall          // nil: no insert
	run  func(b *batch) error // nil: nothing else. Its errors: see verdict
	rows []rowOf              // inserts at the end of the batch

	brings   bool   // a new call: refused as soon as the store is slow
	probes   bool   // Ping: goes to a database that failed too, and whoever waits may leave at any time
	repeated string // SID of a live call whose owner repeats a write until it is acknowledged, see save
	// undo takes back what the job wrote. It runs when nobody was told that it was written: the connection
	// was lost in the commit, or the caller left before it came. It must do nothing when it was not written.
	undo func(b *batch) error

	since time.Time // when it joined its lane
	api   bool      // that of the API
	err   error
	done  chan struct{}
	state atomic.Int32 // jobWaiting, then either of the others
}

// A job belongs to its caller while it waits; the writer or the caller's context takes it, not both.
const (
	jobWaiting  int32 = iota
	jobTaken          // by the writer: the caller waits for the answer
	jobGone           // the caller gave up: the writer skips it
	jobLeft           // the caller left while it was being written: there is nobody to answer
	jobAnswered       // err is set, done is closed
)

// answer tells the caller of a job in state from, and reports whether it is still there.
func (j *job) answer(from int32, err error) bool {
	if !j.decide(from, err) {
		return false
	}
	close(j.done)
	return true
}

// decide is answer without telling yet.
func (j *job) decide(from int32, err error) bool {
	if !j.state.CompareAndSwap(from, jobAnswered) {
		return false
	}
	j.err = err
	return true
}

// writer is the goroutine that writes. It alone uses db, through one connection that it replaces after
// any error that is not a job's own.
type writer struct {
	db   *sql.DB
	d    *dialect
	log  *slog.Logger
	seq  *sequence
	conn *writeConn // nil: to be opened by the next batch

	feed   Feed    // nil: none
	due    func()  // told of callbacks for webhooks
	stored [][]any // the events of the last commit
	owed   bool    // with some
	gap    bool    // events may be stored that the feed was not told of

	liveLane chan *job
	apiLane  chan *job
	quit     chan struct{} // closed by close: no new jobs
	gone     chan struct{} // closed when the goroutine has ended

	clock   clock.Clock
	oldest  atomic.Int64 // when the oldest write of the running batch joined its lane, as UnixNano; 0 while idle
	inHand  atomic.Int32 // writes in the running batch
	metrics *metrics

	// The database's health. failure is set from a batch that failed until a probe succeeds: meanwhile
	// writes are refused at once.
	failure atomic.Pointer[error]
	probe   clock.Timer  // runs while failure is set
	watch   clock.Timer  // runs while a batch does: late
	began   atomic.Int64 // when the running batch began, as UnixNano; 0 while idle
	good    atomic.Int64 // when the last commit was, as UnixNano

	// Writes that may or may not have been committed and were not acknowledged.
	undo     []*job              // to be taken back before anything else is written
	undoing  atomic.Bool         // there are some
	changed  func(sids []string) // told of calls that a transaction may have changed; nil for nobody
	repeated map[string]bool     // SIDs of calls whose owners repeat theirs

	patience time.Duration

	alone int64 // PostgreSQL: key of the lock that the connection must hold; 0 none, see Alone

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
		db: db, d: d, log: cfg.Log, seq: seq, feed: cfg.Feed, due: cfg.Due, clock: cfg.Clock, metrics: newMetrics(),
		liveLane: lane(cfg.LiveLane, defaultLiveLane), apiLane: lane(cfg.APILane, defaultAPILane),
		quit: make(chan struct{}), gone: make(chan struct{}), committed: committed,
		patience: patience, probe: cfg.Clock.NewTimer(time.Hour), repeated: make(map[string]bool),
	}
	w.probe.Stop()
	w.watch = cfg.Clock.AfterFunc(time.Hour, w.late)
	w.watch.Stop()
	go w.loop()
	return w
}

// close runs what waits, then ends the goroutine. Store calls it once.
func (w *writer) close() {
	close(w.quit)
	<-w.gone
}

// trouble is why a write that comes now is refused: the database failed, or its present transaction has
// been running for longer than limit.
func (w *writer) trouble(limit time.Duration) error {
	if err := w.failure.Load(); err != nil {
		return *err
	}
	if age := w.age(); age > limit {
		return fmt.Errorf("store: %w: a transaction has been running for %v", call.ErrUnavailable, age.Round(time.Millisecond))
	}
	return nil
}

// age is how long the present batch has been running, 0 when none is.
func (w *writer) age() time.Duration {
	at := w.began.Load()
	if at == 0 {
		return 0
	}
	return max(0, time.Duration(w.clock.Now().UnixNano()-at))
}

// live writes ahead of the API; a full lane makes the caller wait.
func (w *writer) live(ctx context.Context, j *job) error {
	j.done, j.since = make(chan struct{}), w.clock.Now()
	select {
	case <-w.quit:
		return errClosed()
	default:
	}
	limit := stuck
	if j.brings {
		limit = slow
	}
	if err := w.trouble(limit); err != nil && !j.probes {
		return err
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

// api writes behind live calls; a full lane or a slow store refuses at once.
func (w *writer) api(ctx context.Context, j *job) error {
	j.done, j.since, j.api = make(chan struct{}), w.clock.Now(), true
	select {
	case <-w.quit:
		return errClosed()
	default:
	}
	if err := w.trouble(slow); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience, fmt.Errorf("%w: it is too slow", call.ErrUnavailable))
	defer cancel()
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
		switch {
		case j.state.CompareAndSwap(jobWaiting, jobGone):
			return fmt.Errorf("store: write: %w", context.Cause(ctx))
		case j.probes:
			return fmt.Errorf("store: %w: %w", call.ErrUnavailable, context.Cause(ctx))
		}
		return w.outcome(j)
	}
	select { // the writer answers what it took before it ends
	case <-j.done:
		return j.err
	default:
		return errClosed()
	}
}

// outcome waits for the answer to a job that is being written: the caller shall learn whether it was, but
// a store that hangs must not take its callers with it.
func (w *writer) outcome(j *job) error {
	t := w.clock.NewTimer(max(0, w.patience-w.clock.Now().Sub(j.since)))
	defer t.Stop()
	select {
	case <-j.done:
		return j.err
	case <-t.C():
		if j.state.CompareAndSwap(jobTaken, jobLeft) {
			return fmt.Errorf("store: %w: the write takes too long", call.ErrUnavailable)
		}
		<-j.done
		return j.err
	}
}

// late refuses those who wait behind a batch that takes too long.
func (w *writer) late() {
	age := w.age()
	if age < slow { // that batch is done
		return
	}
	why := fmt.Errorf("store: %w: a transaction has been running for %v", call.ErrUnavailable, age.Round(time.Millisecond))
	refuse(w.apiLane, why)
	if age < stuck {
		w.watch.Reset(max(stuck-age, time.Millisecond))
		return
	}
	refuse(w.liveLane, why)
}

func refuse(lane chan *job, why error) {
	for {
		select {
		case j := <-lane:
			j.answer(jobWaiting, why)
		default:
			return
		}
	}
}

func errClosed() error { return fmt.Errorf("store: %w: closed", call.ErrUnavailable) }

// loop commits batch after batch until close, then what is left in the lanes.
func (w *writer) loop() {
	defer close(w.gone)
	defer func() { w.drop(); w.probe.Stop(); w.watch.Stop() }()
	for {
		select {
		case j := <-w.liveLane:
			gather()
			w.batch(w.collect(j, nil))
		case j := <-w.apiLane:
			gather()
			w.batch(w.collect(nil, j))
		case <-w.probe.C():
			w.restore()
		case <-w.quit:
			for jobs := w.collect(nil, nil); len(jobs) > 0; jobs = w.collect(nil, nil) {
				w.batch(jobs)
			}
			return
		}
	}
}

// gather lets those go first who can run already and may bring a write: on a busy machine a batch grows by a
// fifth and a create costs a tenth less, on an idle one it takes no time.
func gather() { runtime.Gosched() }

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

// batch commits jobs, and notes meanwhile how many there are and how long they and the batch take.
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
	if w.restored(jobs) {
		w.began.Store(w.clock.Now().UnixNano())
		w.watch.Reset(slow)
		w.commit(jobs)
		w.metrics.committed(jobs, w.clock.Now())
		w.watch.Stop()
		w.began.Store(0)
	}
	w.inHand.Store(0)
	w.oldest.Store(0)
	if w.undoing.Load() && w.failure.Load() == nil {
		w.restore()
	}
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
	verdicts, committing, err := w.attempt(jobs)
	if err != nil && len(jobs) > 1 && w.d.jobFault(err) {
		for _, j := range jobs {
			w.commit([]*job{j})
		}
		return
	}
	unsure := err != nil && committing && !w.d.jobFault(err)
	w.gap = w.gap || unsure
	w.report(err)
	for i, j := range jobs {
		var answer error
		switch {
		case err == nil:
			answer = verdicts[i]
		case w.d.unique(err):
			answer = fmt.Errorf("store: %w: %w", call.ErrConflict, err)
		case w.d.jobFault(err):
			answer = fmt.Errorf("store: write: %w", err)
		default:
			answer = fmt.Errorf("store: write: %w: %w", call.ErrUnavailable, err)
		}
		if unsure && verdicts[i] == nil {
			w.doubt(j) // before the caller hears of it
		}
		switch there := j.decide(jobTaken, answer); {
		case !there && answer == nil:
			w.doubt(j)
		case there && answer == nil && j.repeated != "":
			delete(w.repeated, j.repeated)
		}
	}
	if err == nil {
		w.tell() // ahead of what its callers say of the call
	}
	for _, j := range jobs {
		if j.state.Load() == jobAnswered {
			close(j.done)
		}
	}
	if err == nil {
		w.good.Store(w.clock.Now().UnixNano())
		w.committed()
	}
}

// doubt notes a write that may have been committed and that nobody was told of.
func (w *writer) doubt(j *job) {
	switch {
	case j.undo != nil:
		w.undo = append(w.undo, j)
		w.undoing.Store(true)
	case j.repeated != "":
		w.repeated[j.repeated] = true
	}
}

// restored reports whether jobs may be written: when the database failed it is tried first, and when it
// still fails they are told.
func (w *writer) restored(jobs []*job) bool {
	if w.failure.Load() == nil {
		return true
	}
	w.restore()
	err := w.failure.Load()
	for _, j := range jobs {
		if err != nil {
			j.answer(jobTaken, *err)
		}
	}
	return err == nil
}

// restore takes back what was left in doubt and, when the database failed, finds out whether it can be
// written again.
func (w *writer) restore() {
	w.began.Store(w.clock.Now().UnixNano())
	defer w.began.Store(0)
	filler := ""
	if w.failure.Load() != nil {
		b := make([]byte, probeSize*3/4) // grows by a third below
		for i := 0; i+8 <= len(b); i += 8 {
			binary.NativeEndian.PutUint64(b[i:], rand.Uint64()) // noise: neither database nor disk can compress it
		}
		filler = base64.StdEncoding.EncodeToString(b)
	}
	_, _, err := w.attempt([]*job{{run: func(b *batch) error {
		for _, j := range w.undo {
			if err := j.undo(b); err != nil {
				return err
			}
		}
		return fill(b, filler)
	}}})
	if err == nil && filler != "" {
		_, _, err = w.attempt([]*job{{run: func(b *batch) error { return fill(b, "") }}})
	}
	if err != nil && w.d.jobFault(err) {
		w.log.Error("writes that were not acknowledged cannot be taken back", "n", len(w.undo), "err", err)
		err = nil
	}
	if err == nil {
		w.undo = nil
		w.undoing.Store(false)
		w.tell()
		w.good.Store(w.clock.Now().UnixNano())
	}
	w.report(err)
}

func fill(b *batch, filler string) error {
	return b.guarded(errors.New("table counter is empty"), "UPDATE counter SET value = value + 1, filler = ? WHERE name = 'ping'", filler)
}

// attempt writes jobs in one transaction; the verdicts are per job, the error is about all of them.
// A connection that was lost before the commit is replaced once: nothing can have been written.
func (w *writer) attempt(jobs []*job) (verdicts []error, committing bool, err error) {
	for again := false; ; again = true {
		verdicts, committing, err = w.transact(jobs)
		if err == nil || w.d.jobFault(err) {
			return verdicts, committing, err
		}
		fresh := w.conn == nil // it could not even be opened
		w.drop()
		if again || fresh || committing || !w.d.lost(err) || errors.Is(err, context.DeadlineExceeded) {
			return verdicts, committing, err
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
		if w.conn, err = openWriteConn(ctx, w.db, w.d, w.alone); err != nil {
			return nil, false, err
		}
	}
	b := &batch{ctx: ctx, conn: w.conn, seq: w.seq, repeated: w.repeated}
	if w.changed != nil {
		defer func() { w.changed(b.changed) }() // committed or not, and before anybody is told
	}
	if _, err := b.exec(w.d.begin); err != nil {
		return nil, false, err
	}
	verdicts, err = b.apply(jobs)
	if err == nil {
		committing = true
		if _, err = b.exec("COMMIT"); err == nil {
			w.stored, w.owed = b.rows[eventRows], w.owed || b.owed
		}
	}
	if err != nil {
		w.conn.hooks = nil // what was read may be taken back
		if _, rollback := b.exec("ROLLBACK"); rollback != nil {
			w.drop() // whatever state it is in, the next batch starts with another one
		}
	}
	return verdicts, committing, err
}

// tell hands the events of the last commit to the feed. Those that are still to be taken back are told by nobody, and
// those that a commit in doubt stored after all are found in the store.
func (w *writer) tell() {
	rows := w.stored
	w.stored = nil
	if w.owed && w.due != nil {
		w.due()
	}
	w.owed = false
	w.gap = w.gap || w.undoing.Load()
	if w.feed == nil || w.undoing.Load() || w.conn == nil || len(rows) == 0 && !w.gap {
		return
	}
	var events []call.Event
	if !w.gap && w.feed.Watched() {
		events = eventsOf(rows)
	}
	w.gap = false
	w.feed.Publish(events, w.conn.pos)
}

// drop gives the connection up.
func (w *writer) drop() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// report notes and logs when the database stops and when it starts to take writes. Those who wait
// already need not find out one after the other.
func (w *writer) report(err error) {
	if err == nil || w.d.jobFault(err) {
		w.metrics.stopped.Store(false)
		if w.failure.Swap(nil) != nil {
			w.probe.Stop()
			w.log.Info("the database can be written again")
		}
		return
	}
	w.metrics.stopped.Store(true)
	why := fmt.Errorf("store: write: %w: %w", call.ErrUnavailable, err)
	if w.failure.Swap(&why) == nil {
		w.log.Error("the database cannot be written: new calls are refused until it can", "err", err)
	}
	refuse(w.apiLane, why)
	refuse(w.liveLane, why)
	w.probe.Reset(probeInterval)
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
	return &sequence{clock: c, node: epoch & (1<<seqShift - 1), last: after >> seqShift}
}

func (s *sequence) next() int64 {
	s.last = max(s.last+1, s.clock.Now().UnixMicro())
	return s.last<<seqShift | s.node
}

// seqShift is the width of the node in a sequence number, which begins with the time.
const seqShift = 10

// seqAt is the first sequence number of a time.
func seqAt(t time.Time) int64 { return t.UnixMicro() << seqShift }
