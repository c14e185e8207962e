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

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute

	defaultUploads = 4
	// deletedKept is how long the metadata of a deleted recording can be asked for (related-resources, Recordings).
	deletedKept  = 40 * 24 * time.Hour
	ageInterval  = time.Hour
	keeperPage   = 64
	storeTimeout = 10 * time.Second
)

// Ledger is the part of the store that a keeper needs. Safe for concurrent use.
type Ledger interface {
	// UnfinishedRecordings lists, in order of their SIDs and behind after, the recordings that run, are to be put or
	// are to be erased.
	UnfinishedRecordings(ctx context.Context, after string, limit int) ([]*call.Recording, error)
	// RecordingBySID returns call.ErrNotFound when there is none.
	RecordingBySID(ctx context.Context, sid string) (*call.Recording, error)
	// RecordingErased notes that nothing is left of a recording that was deleted.
	RecordingErased(ctx context.Context, sid string) error
	// OldRecordings lists settled recordings made before then, DeleteRecording deletes one.
	OldRecordings(ctx context.Context, before time.Time, limit int) ([]*call.Recording, error)
	DeleteRecording(ctx context.Context, accountSID, sid string) error
	// ForgetRecordings removes rows that were deleted before then.
	ForgetRecordings(ctx context.Context, before time.Time, limit int) (int64, error)
}

// Settler stores what became of a recording (package session): r has its new status, whose event and callback
// are stored with it. call.ErrConflict says that the stored status is not from any more, as when it was deleted
// meanwhile; after any other error the keeper tries again.
type Settler interface {
	SettleRecording(ctx context.Context, r *call.Recording, from call.RecordingStatus) error
}

// KeeperConfig is what a keeper stands on. All of it is required but what has a default.
type KeeperConfig struct {
	Dir     string // of the spools
	Blobs   *Blobs
	Ledger  Ledger
	Settler Settler
	Uploads int           // at once; default 4
	Keep    time.Duration // how long recordings are kept; default 0, for ever
	Clock   clock.Clock   // default the system clock
	Log     *slog.Logger
}

// Keeper brings recordings from their spools to where they are kept, until they stand there, and erases what was
// deleted. What is to be done is in the store, so a restart forgets nothing. Its methods are safe for concurrent use.
type Keeper struct {
	cfg    KeeperConfig
	ctx    context.Context
	cancel context.CancelFunc
	gone   sync.WaitGroup
	more   chan struct{} // the store has work

	mu     sync.Mutex
	closed bool
	inHand map[string]*call.Recording // by SID, what is worked on or waits for another try: nil, or what it was deleted as meanwhile
	slots  chan struct{}

	put, failed atomic.Int64
}

// KeeperStats are what a keeper did so far.
type KeeperStats struct {
	InHand int   // recordings on their way or to be erased
	Put    int64 // recordings that stand
	Failed int64 // tries that did not succeed
}

// NewKeeper makes a keeper. It does nothing before Start.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Uploads <= 0 {
		cfg.Uploads = defaultUploads
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{
		cfg: cfg, more: make(chan struct{}, 1), inHand: map[string]*call.Recording{}, slots: make(chan struct{}, cfg.Uploads),
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Start takes up what an earlier process left: recordings that ran are settled as far as they were spooled. Call
// it before the first recording starts, and when no session has a call of an earlier process.
func (k *Keeper) Start(ctx context.Context) error {
	left, err := Recover(k.cfg.Dir)
	if err != nil {
		k.cfg.Log.Error("some spools of recordings cannot be read; they stay where they are", "err", err)
	}
	spools := make(map[string]Spooled, len(left))
	for _, s := range left {
		spools[s.SID] = s
	}
	after := ""
	for {
		list, err := k.cfg.Ledger.UnfinishedRecordings(ctx, after, keeperPage)
		if err != nil {
			return fmt.Errorf("recording: what the last run left: %w", err)
		}
		for _, r := range list {
			after = r.SID
			delete(spools, r.SID)
			k.take(r)
		}
		if len(list) < keeperPage {
			break
		}
	}
	for sid, s := range spools { // settled, or unknown to this database
		r, err := k.cfg.Ledger.RecordingBySID(ctx, sid)
		switch {
		case errors.Is(err, call.ErrNotFound):
			k.abandon(sid)
		case err != nil:
			return fmt.Errorf("recording: what the last run left: %w", err)
		case r.Status == call.RecordingAbsent && r.ErrorCode == call.RecordingFailed:
			k.abandon(sid)
		default:
			k.remove(s.Path)
		}
	}
	k.gone.Go(k.watch)
	return nil
}

// Keep takes a recording that has ended and whose row says processing. It returns at once.
func (k *Keeper) Keep(r *call.Recording) { k.take(r.Clone()) }

// Erase says that recordings were deleted. It returns at once.
func (k *Keeper) Erase() {
	select {
	case k.more <- struct{}{}:
	default:
	}
}

// Abandon sets the spool of a recording aside that failed while it ran: nobody can download it, but what the
// disk took is not thrown away. It is in the folder failed of the spools.
func (k *Keeper) Abandon(sid string) { k.abandon(sid) }

// Stats may be asked at any time.
func (k *Keeper) Stats() KeeperStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return KeeperStats{InHand: len(k.inHand), Put: k.put.Load(), Failed: k.failed.Load()}
}

// Close stops; what is not done is done after the next start. It is idempotent.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.gone.Wait()
}

// watch looks for what was deleted and for what is too old.
func (k *Keeper) watch() {
	t := k.cfg.Clock.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-k.more:
			k.report("recordings to be erased not found; trying again later", k.pickUp())
		case <-t.C():
			k.report("old recordings not removed; trying again later", k.age())
			t.Reset(ageInterval)
		}
	}
}

func (k *Keeper) report(text string, err error) {
	if err != nil && k.ctx.Err() == nil {
		k.cfg.Log.Warn(text, "err", err)
	}
}

// pickUp takes the recordings that were deleted.
func (k *Keeper) pickUp() error {
	for after := ""; ; {
		list, err := k.cfg.Ledger.UnfinishedRecordings(k.ctx, after, keeperPage)
		if err != nil {
			return err
		}
		for _, r := range list {
			after = r.SID
			if r.Status == call.RecordingDeleted {
				k.take(r)
			}
		}
		if len(list) < keeperPage {
			return nil
		}
	}
}

// age deletes what is older than it may be, and forgets what was deleted long ago.
func (k *Keeper) age() error {
	now := k.cfg.Clock.Now()
	for k.cfg.Keep > 0 {
		list, err := k.cfg.Ledger.OldRecordings(k.ctx, now.Add(-k.cfg.Keep), keeperPage)
		if err != nil {
			return err
		}
		for _, r := range list {
			if err := k.cfg.Ledger.DeleteRecording(k.ctx, r.AccountSID, r.SID); err != nil && !errors.Is(err, call.ErrNotFound) {
				return err
			}
		}
		if len(list) > 0 {
			k.cfg.Log.Info("old recordings deleted", "n", len(list), "after", k.cfg.Keep)
		}
		if len(list) < keeperPage {
			break
		}
	}
	if err := k.pickUp(); err != nil {
		return err
	}
	for {
		n, err := k.cfg.Ledger.ForgetRecordings(k.ctx, now.Add(-deletedKept), keeperPage)
		if err != nil || n < keeperPage {
			return err
		}
	}
}

// take works on a recording until it is done, unless somebody does.
func (k *Keeper) take(r *call.Recording) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, busy := k.inHand[r.SID]; busy && r.Status == call.RecordingDeleted {
		k.inHand[r.SID] = r // next
		return
	} else if busy || k.closed {
		return
	}
	k.inHand[r.SID] = nil
	k.gone.Go(func() {
		defer func() {
			k.mu.Lock()
			deleted := k.inHand[r.SID]
			delete(k.inHand, r.SID)
			k.mu.Unlock()
			if deleted != nil && r.Status != call.RecordingDeleted {
				k.take(deleted)
			}
		}()
		for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
			select {
			case k.slots <- struct{}{}:
			case <-k.ctx.Done():
				return
			}
			err := k.work(r)
			<-k.slots
			if err == nil || k.ctx.Err() != nil {
				return
			}
			k.failed.Add(1)
			k.cfg.Log.Warn("recording not kept yet; trying again", "recording_sid", r.SID, "call_sid", r.CallSID, "in", wait, "err", err)
			if clock.Sleep(k.ctx, k.cfg.Clock, wait) != nil {
				return
			}
		}
	})
}

// work takes a recording one step further: it puts or it erases.
func (k *Keeper) work(r *call.Recording) error {
	if r.Status == call.RecordingDeleted {
		return k.erase(r)
	}
	from := r.Status
	spool, err := recoverOne(spoolPath(k.cfg.Dir, r.SID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	settled := r.Clone()
	if from != call.RecordingProcessing { // its process died; the move to processing is told by nobody
		if err := settled.Move(call.RecordingProcessing); err != nil {
			return err
		}
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(k.ctx, storeTimeout)
		defer cancel()
		if stored, err := k.cfg.Ledger.RecordingBySID(ctx, r.SID); err == nil && stored.Status == call.RecordingDeleted {
			return k.erase(stored)
		}
		k.cfg.Log.Error("the spool of a recording is gone", "recording_sid", r.SID, "call_sid", r.CallSID)
		return k.settle(settled, from, call.RecordingAbsent, call.RecordingFailed)
	}
	res := spool.Result()
	res.SID = r.SID
	begin, end := int64(0), res.Samples
	if r.Options.Trim && res.Samples > 0 {
		if begin, end, err = res.Trim(); err != nil {
			return err
		}
	}
	switch {
	case res.Samples == 0:
		err = k.settle(settled, from, call.RecordingAbsent, call.RecordingTooShort)
	case begin == end:
		err = k.settle(settled, from, call.RecordingAbsent, call.RecordingSilent)
	default:
		settled.Key = key(r)
		settled.Encrypted, settled.Samples = k.cfg.Blobs.Encrypts(), end-begin
		if err := k.cfg.Blobs.Put(k.ctx, settled.Key, res, begin, end); err != nil {
			return err
		}
		err = k.settle(settled, from, call.RecordingCompleted, 0)
	}
	if err == nil {
		k.put.Add(1)
		k.remove(res.Path)
	}
	return err
}

// settle stores the end of r. One that was deleted meanwhile is erased instead.
func (k *Keeper) settle(r *call.Recording, from, to call.RecordingStatus, code int) error {
	if err := r.Move(to); err != nil {
		return err
	}
	r.ErrorCode, r.DateUpdated = code, k.cfg.Clock.Now()
	ctx, cancel := context.WithTimeout(k.ctx, storeTimeout)
	defer cancel()
	err := k.cfg.Settler.SettleRecording(ctx, r, from)
	if !errors.Is(err, call.ErrConflict) {
		return err
	}
	stored, err := k.cfg.Ledger.RecordingBySID(ctx, r.SID)
	switch {
	case errors.Is(err, call.ErrNotFound):
		return k.cfg.Blobs.Delete(k.ctx, key(r))
	case err != nil:
		return err
	case stored.Status == call.RecordingDeleted:
		return k.erase(stored)
	case stored.Status == to: // an earlier try was stored after all
		return nil
	}
	return fmt.Errorf("recording: %s is %s now", r.SID, stored.Status)
}

// key is where r is or would be kept.
func key(r *call.Recording) string { return r.AccountSID + "/" + r.SID + spoolSuffix }

// erase removes all that is left of a recording that was deleted.
func (k *Keeper) erase(r *call.Recording) error {
	if err := k.cfg.Blobs.Delete(k.ctx, key(r)); err != nil {
		return err
	}
	k.remove(spoolPath(k.cfg.Dir, r.SID))
	ctx, cancel := context.WithTimeout(k.ctx, storeTimeout)
	defer cancel()
	if err := k.cfg.Ledger.RecordingErased(ctx, r.SID); err != nil {
		return err
	}
	k.cfg.Log.Info("recording erased", "recording_sid", r.SID, "call_sid", r.CallSID)
	return nil
}

func (k *Keeper) remove(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.cfg.Log.Warn("spool of a recording not removed; the next start does it", "path", path, "err", err)
	}
}

func (k *Keeper) abandon(sid string) {
	dir := filepath.Join(k.cfg.Dir, "failed")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(spoolPath(k.cfg.Dir, sid), spoolPath(dir, sid))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.cfg.Log.Warn("spool of a failed recording not set aside", "recording_sid", sid, "err", err)
		return
	}
	k.cfg.Log.Warn("what a recording that failed has of audio was set aside", "path", spoolPath(dir, sid))
}
