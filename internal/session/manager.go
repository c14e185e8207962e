package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/telemetry"
	"github.com/offhook/offhook/internal/twilio"
)

// Config is what a Manager stands on. Every field is required but those with a default.
type Config struct {
	Store     Store
	Dialer    Dialer
	Hooks     Hooks
	Voices    Synthesizer
	Publisher Publisher
	// CallbacksDue is told that callbacks were committed.
	CallbacksDue func()
	// Recordings keeps what is known of recordings, Recorder makes them and Keeper keeps them; nil without them.
	Recordings RecordingStore
	Recorder   Recorder
	Keeper     Keeper
	Recorded   Recorded // nil: a recording is played as any other file
	// Samples keeps what called parties said first, where machines are detected; nil keeps nothing.
	Samples SampleKeeper
	// BaseURL is where our APIs are for others, such as http://127.0.0.1:4600; nil leaves links as paths.
	BaseURL func() string
	// Trunks are the trunks as they are now.
	Trunks func() []call.Trunk
	// Operator is the account whose carrier trunks are the server's: all accounts' calls may take them.
	Operator string
	// Domains are the SIP domains as they are now; nil: there are none. Locations is where their phones are, needed
	// with Domains.
	Domains   func() []call.Domain
	Locations Locations
	// Simulator is the host:port of the simulated phones, "" for none. A number that no trunk serves rings there.
	Simulator func() string
	// SIPLimits and SimulatorLimits pace calls to sip: URIs and to the simulator; the zero value is no limit.
	SIPLimits, SimulatorLimits Limits
	// AccountLimits pace the calls of each account, wherever they go to; the zero value is no limit.
	AccountLimits Limits
	// OwnedFromOnly refuses a From that is not one of the account's numbers (production).
	OwnedFromOnly bool
	// TokenKey signs CallTokens. Default: a random one, so that tokens end with the process.
	TokenKey []byte
	// Rates says what calls cost; nil: nothing has a price.
	Rates Rates
	// Tracer makes the spans of calls; nil makes none.
	Tracer *telemetry.Tracer
	// Admission says whether there is room for one more call; nil has room for all.
	Admission Admission
	Clock     clock.Clock
	Log       *slog.Logger
}

// Limits of where calls go to, or of an account.
type Limits struct {
	CPS      float64 // calls a second, 0 unlimited
	MaxCalls int     // at the same time, 0 unlimited
}

// Manager owns the live calls of this node and is what both APIs call.
type Manager struct {
	Config
	ctx    context.Context // cancelled when the last grace is over: live calls are hung up
	cancel context.CancelCauseFunc
	early  context.Context // cancelled when the drain begins: nobody waits for what is done to be sure
	leave  context.CancelFunc

	taken   atomic.Uint64 // calls ever made live
	metrics *metrics

	joining chan struct{} // capacity 1: held by whoever joins two calls

	mu       sync.Mutex
	live     map[string]*Session
	draining bool
	sessions sync.WaitGroup // live calls, and what ends those of an earlier process
	workers  sync.WaitGroup // of the queue
	queue    *queue
}

// errShutdown ends the calls that outlive the drain.
var errShutdown = errors.New("offhook is shutting down")

// NewManager makes a manager; Start it before it takes calls.
func NewManager(cfg Config) *Manager {
	if cfg.Domains == nil {
		cfg.Domains = func() []call.Domain { return nil }
	}
	if cfg.Admission == nil {
		cfg.Admission = allCalls{}
	}
	if cfg.TokenKey == nil {
		cfg.TokenKey = randomKey()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	early, leave := context.WithCancel(ctx)
	m := &Manager{
		Config: cfg, ctx: ctx, cancel: cancel, early: early, leave: leave,
		live: map[string]*Session{}, metrics: newMetrics(), joining: make(chan struct{}, 1),
	}
	m.queue = newQueue(m)
	return m
}

const (
	// justEnded is how long before its death an earlier process may have stored the end of a call without
	// having told the other party: the time from the commit to the BYE, on a machine that is very busy.
	justEnded    = 2 * time.Second
	maxJustEnded = 2000
	// settlers share the commits of a start: the calls of a full node are settled well within 5 s.
	settlers = 64
)

// Start settles the calls an earlier process left behind and dials those it had queued.
func (m *Manager) Start(ctx context.Context) error {
	ended, err := m.Store.JustEnded(ctx, justEnded, maxJustEnded)
	if err != nil {
		return fmt.Errorf("session: calls that the last run ended: %w", err)
	}
	left, err := m.Store.Live(ctx)
	if err != nil {
		return fmt.Errorf("session: calls left by the last run: %w", err)
	}
	if err := m.settleAll(ctx, left); err != nil {
		return err
	}
	for _, c := range ended {
		if c.Cause.Local {
			m.endStored(m.early, c, slog.LevelDebug) // most have heard of it
		}
	}
	if err := m.expire(ctx); err != nil {
		return fmt.Errorf("session: calls that waited for too long: %w", err)
	}
	waiting, err := m.Store.QueuedLines(ctx)
	if err != nil {
		return fmt.Errorf("session: queued calls: %w", err)
	}
	m.queue.restore(waiting)
	return nil
}

// settleAll settles calls side by side, so that they share commits, and tells their other parties.
func (m *Manager) settleAll(ctx context.Context, left []*call.Call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan *call.Call)
	var workers sync.WaitGroup
	for range min(settlers, len(left)) {
		workers.Go(func() {
			for c := range next {
				if err := m.settle(ctx, c); err != nil {
					cancel(err)
					continue
				}
				m.endStored(m.ctx, c, slog.LevelWarn)
			}
		})
	}
	for _, c := range left {
		next <- c
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

// endStored tells the other party of a call of an earlier process that it is over, and logs when it cannot.
func (m *Manager) endStored(ctx context.Context, c *call.Call, level slog.Level) {
	if c.Dialog == nil {
		return
	}
	for _, d := range append([]*call.Dialog{c.Dialog}, c.Dialog.Forks...) {
		m.sessions.Go(func() {
			if err := m.Dialer.EndStored(ctx, d, !c.AnsweredAt.IsZero()); err != nil {
				m.Log.Log(ctx, level, "a call of the last run was not ended at its other side", "call_sid", c.SID, "err", err)
			}
		})
	}
}

// settle finalises a call whose process is gone: completed when it was answered, else failed.
func (m *Manager) settle(ctx context.Context, c *call.Call) error {
	from, now := c.Status, m.Clock.Now()
	status, event := call.Failed, "failed"
	if from == call.InProgress {
		status, event = call.Completed, "completed"
	}
	if err := c.Move(status); err != nil {
		return err
	}
	c.EndedAt, c.DateUpdated = now, now
	if latest := c.AnsweredAt.Add(timeLimit(c)); from == call.InProgress && latest.Before(now) {
		c.EndedAt = latest // nobody pays for the hours that we were away
	}
	c.Cause = call.Cause{Reason: "offhook was restarted", Local: true, SIPCode: c.Cause.SIPCode}
	m.price(c)
	ch := call.Change{
		Events:    newEvents(c, now, event),
		Callbacks: newCallbacks(c, "completed", now, voiceParams(c)),
	}
	err := m.Store.SaveCall(ctx, c, from, ch)
	if err != nil && !errors.Is(err, call.ErrConflict) {
		return fmt.Errorf("session: settle %s: %w", c.SID, err)
	}
	if err == nil {
		m.metrics.over(c)
		spanEnded(m.Tracer, c)
	}
	return nil
}

// Drain refuses new calls, waits for the live ones until ctx is done, then hangs those up, and returns
// when all are stored. It may be called once.
func (m *Manager) Drain(ctx context.Context) {
	m.mu.Lock()
	m.draining = true
	m.mu.Unlock()
	m.queue.stop()
	m.leave()
	m.workers.Wait()

	over := make(chan struct{})
	go func() { m.sessions.Wait(); close(over) }()
	select {
	case <-over:
	case <-ctx.Done():
	}
	m.cancel(errShutdown)
	<-over
}

// Taken is the number of calls this process has run so far.
func (m *Manager) Taken() uint64 { return m.taken.Load() }

// Draining reports whether new calls are refused.
func (m *Manager) Draining() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.draining
}

// Count is the number of live calls on this node.
func (m *Manager) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.live)
}

// Create stores an outbound call and puts it into its dialling queue.
func (m *Manager) Create(ctx context.Context, accountSID string, p call.CreateParams) (_ *call.Call, err error) {
	if m.Draining() {
		return nil, twilio.Err(20503)
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if !m.Admission.Admit() {
		return nil, twilio.Errf(20503, "Service unavailable: too many calls are being set up, try again")
	}
	now := m.Clock.Now()
	defer func() {
		var refusal *twilio.Error
		if err == nil || errors.As(err, &refusal) {
			m.Admission.Opened(m.Clock.Now().Sub(now))
		}
	}()
	c := &call.Call{
		SID: twilio.NewSIDAt(twilio.CallPrefix, now), AccountSID: accountSID,
		To: p.To, From: p.From, Direction: call.OutboundAPI, Status: call.Queued,
		DateCreated: now, DateUpdated: now, PriceUnit: "USD", Options: p.Options,
		Annotation: p.Annotation, Metadata: p.Metadata,
	}
	c.Options.FromCountry, c.Options.ToCountry = call.Country(c.From), call.Country(c.To)
	if err := m.follow(ctx, c, p.ApplicationSID); err != nil {
		return nil, err
	}
	granted, err := m.forwards(c, p.CallToken)
	if err != nil {
		return nil, err
	}
	if err := m.checkFrom(ctx, c, granted); err != nil {
		return nil, err
	}
	c.QueueKey, c.TrunkSID = m.queueFor(ctx, c.AccountSID, c.To)
	if p.Byoc != "" {
		t := m.byoc(accountSID, p.Byoc)
		if t == nil {
			return nil, twilio.Errf(20404, "The requested resource %s was not found", p.Byoc)
		}
		c.QueueKey, c.TrunkSID = t.SID, t.SID
	}
	if m.queue.full(accountSID, c.QueueKey) {
		return nil, twilio.Err(22005)
	}
	ch := call.Change{Events: newEvents(c, now, "created", "queued"), Idempotency: p.Idempotency}
	for _, w := range p.Warnings {
		ch.Notifications = append(ch.Notifications, notification(c, w, now))
	}
	if err := m.Store.CreateCall(ctx, c, ch); err != nil {
		var before *call.RepeatedError
		if errors.As(err, &before) {
			return m.repeated(ctx, accountSID, p.Idempotency, before)
		}
		return nil, fmt.Errorf("session: create call: %w", err)
	}
	m.publish(ch)
	m.metrics.did(actionCreate)
	m.Tracer.About(ctx, c.SID)
	answer := c.Clone()
	m.queue.add(c)
	return answer, nil
}

// checkFrom finds the number of ours that c comes from, and refuses what the account may not present, but for the
// number that it was granted.
func (m *Manager) checkFrom(ctx context.Context, c *call.Call, granted string) error {
	n, err := m.Store.NumberByPhone(ctx, c.From)
	switch {
	case err == nil && n.AccountSID == c.AccountSID:
		c.NumberSID = n.SID
	case err != nil && !errors.Is(err, call.ErrNotFound):
		return fmt.Errorf("session: look up From: %w", err)
	}
	if !m.OwnedFromOnly || call.IsPhone(c.To) {
		return nil
	}
	if c.NumberSID == "" && c.From != granted {
		if may, err := m.Store.MayCallFrom(ctx, c.AccountSID, c.From); err != nil {
			return fmt.Errorf("session: look up From: %w", err)
		} else if !may {
			return twilio.Err(21210)
		}
	}
	switch shown := c.Options.CallerID; shown {
	case "", c.From, granted:
		return nil
	default:
		return m.checkShown(ctx, c.AccountSID, shown)
	}
}

// checkShown refuses a CallerId that is neither a number of the account nor one that it may call from.
func (m *Manager) checkShown(ctx context.Context, accountSID, number string) error {
	n, err := m.Store.NumberByPhone(ctx, number)
	if err == nil && n.AccountSID == accountSID {
		return nil
	}
	if err != nil && !errors.Is(err, call.ErrNotFound) {
		return fmt.Errorf("session: look up CallerId: %w", err)
	}
	may, err := m.Store.MayCallFrom(ctx, accountSID, number)
	if err != nil {
		return fmt.Errorf("session: look up CallerId: %w", err)
	}
	if !may {
		return twilio.Errf(21212, "CallerId is neither a number of this account nor one that was verified for it: %s", number)
	}
	return nil
}

// Update changes a call as POST /Calls/{Sid} does (calls-api section 7).
func (m *Manager) Update(ctx context.Context, accountSID, sid string, p call.UpdateParams) (*call.Call, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	for range 3 { // a queued call may be taken from the queue while we look
		c, err := m.Store.Call(ctx, accountSID, sid)
		if err != nil {
			return nil, err
		}
		m.Tracer.About(ctx, sid)
		if s := m.session(sid); s != nil {
			err := s.do(ctx, func() error { return s.update(p) })
			if errors.Is(err, errOver) {
				continue // it ended meanwhile; the store knows how
			}
			if err != nil {
				return nil, err
			}
			m.metrics.did(actionOf(&p))
			return m.Store.Call(ctx, accountSID, sid)
		}
		if c.Status != call.Queued {
			return nil, p.StateError()
		}
		if p.Status == "" {
			return nil, p.StateError()
		}
		err = m.cancelQueued(ctx, c)
		if errors.Is(err, call.ErrConflict) {
			continue
		}
		if err == nil {
			m.metrics.did(actionOf(&p))
		}
		return c, err
	}
	return nil, p.StateError()
}

// cancelQueued ends a call that was never dialled: its event is stored, no callback is sent
// (call-lifecycle section 1).
func (m *Manager) cancelQueued(ctx context.Context, c *call.Call) error {
	return m.endQueued(ctx, c, call.Canceled, call.Cause{Reason: "canceled while queued", Local: true}, nil)
}

// Delete removes an ended call and all that was stored of it.
func (m *Manager) Delete(ctx context.Context, accountSID, sid string) error {
	err := m.Store.DeleteCall(ctx, accountSID, sid)
	if errors.Is(err, call.ErrLive) {
		return twilio.Err(20009)
	}
	if err == nil {
		m.metrics.did(actionDelete)
		if m.Samples != nil {
			m.Samples.Forget(sid)
		}
	}
	return err
}

// session is the session that a call's changes go to. While its leg is being made there is none: the call still
// counts as queued, and can be canceled, however long a name takes to be looked up.
func (m *Manager) session(sid string) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.live[sid]; s != nil && s.ready {
		return s
	}
	return nil
}

// ready makes s the one that its call's changes go to.
func (m *Manager) ready(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.ready = true
}

// runs reports whether a session has that call, ready or not.
func (m *Manager) runs(sid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live[sid] != nil
}

// adopt makes s live and runs it; false when the call is live already or new calls are refused.
func (m *Manager) adopt(s *Session, run func(context.Context)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.draining || m.live[s.sid] != nil {
		return false
	}
	m.live[s.sid] = s
	m.taken.Add(1)
	m.sessions.Add(1)
	go func() {
		defer m.sessions.Done()
		defer func() {
			m.mu.Lock()
			delete(m.live, s.sid)
			m.mu.Unlock()
			if !s.over {
				close(s.done)
			}
		}()
		run(m.ctx)
	}()
	return true
}

// publish tells the dispatcher that callbacks wait.
func (m *Manager) publish(ch call.Change) {
	if len(ch.Callbacks) > 0 {
		m.CallbacksDue()
	}
}

func (m *Manager) trace(sid string, format string, args ...any) {
	m.Publisher.Trace(sid, bus.Trace{Time: m.Clock.Now(), Text: fmt.Sprintf(format, args...)})
}
