package sip

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
)

// What trunks need while nobody calls: pings of their targets and registrations with carriers. keeper has one
// task for each, as the present trunks want it.

const (
	// pingWait is how long a target may take to answer OPTIONS.
	pingWait = 4 * time.Second
	// pingsToTurn is how many results in a row make a target count as down, or as up again.
	pingsToTurn = 2
	// maxTasks bounds the pings and registrations of all trunks.
	maxTasks = 2000
	// firstPing spreads the pings of a start.
	firstPing = 500 * time.Millisecond

	// retryRegister and maxRetryRegister are how long a registration that failed waits at first and at most.
	retryRegister    = 5 * time.Second
	maxRetryRegister = 5 * time.Minute
	// refusedRegister is the wait when the carrier refused: a password tried too often gets an address shut out.
	refusedRegister = time.Minute
	// registerWait bounds a REGISTER, and goodbyeWait the last one.
	registerWait = 32 * time.Second
	goodbyeWait  = 2 * time.Second
)

// keeper runs the tasks of trunks.
type keeper struct {
	e    *Endpoint
	wake chan struct{} // capacity 1: the trunks have changed

	mu    sync.Mutex
	tasks map[string]*task
	full  bool // told that there are too many
}

// task is one ping or registration; what it does never changes.
type task struct {
	key    string // what it is for, and all that it does it with
	trunk  string
	target string // "" for a registration
	stop   context.CancelFunc
	done   chan struct{}

	mu sync.Mutex
	up bool // the target answers, or the registration stands
}

func newKeeper(e *Endpoint) *keeper {
	return &keeper{e: e, wake: make(chan struct{}, 1), tasks: make(map[string]*task)}
}

// TrunksChanged makes the endpoint look at the trunks again, for their pings and registrations.
func (e *Endpoint) TrunksChanged() {
	select {
	case e.keeper.wake <- struct{}{}:
	default:
	}
}

// run follows the trunks until ctx is done; then it ends all tasks and waits for them.
func (k *keeper) run(ctx context.Context) {
	for {
		k.update(ctx, k.e.cfg.Trunks())
		select {
		case <-k.wake:
		case <-ctx.Done():
			k.update(ctx, nil)
			return
		}
	}
}

// update starts the tasks that are missing and ends those that nobody wants any more.
func (k *keeper) update(ctx context.Context, trunks []call.Trunk) {
	wanted := map[string]func(context.Context, *task){}
	made := map[string]*task{}
	want := func(t *task, f func(context.Context, *task)) {
		if len(wanted) >= maxTasks {
			if !k.full {
				k.e.log.Warn("sip: too many pings and registrations of trunks, some are left out", "limit", maxTasks)
			}
			k.full = true
			return
		}
		wanted[t.key], made[t.key] = f, t
	}
	for i := range trunks {
		t := trunks[i]
		if t.Register != nil {
			key := fmt.Sprintf("register %s %+v %q %q %q %q %v", t.SID, *t.Register, t.Host, t.Transport, t.Username, t.Password, t.Secure)
			want(&task{key: key, trunk: t.SID}, func(ctx context.Context, w *task) { k.e.keepRegistered(ctx, &t, w) })
		}
		if t.Ping <= 0 {
			continue
		}
		for _, target := range t.Targets {
			if target.Enabled {
				key := fmt.Sprintf("ping %s %q %v %v", t.SID, target.URI, t.Ping, t.Secure)
				want(&task{key: key, trunk: t.SID, target: target.URI, up: true}, func(ctx context.Context, w *task) { k.e.keepPinging(ctx, &t, w) })
			}
		}
	}
	k.mu.Lock()
	var ending []*task
	maps.DeleteFunc(k.tasks, func(key string, t *task) bool {
		if wanted[key] != nil {
			delete(wanted, key)
			return false
		}
		t.stop()
		ending = append(ending, t)
		return true
	})
	for key, f := range wanted {
		t := made[key]
		inner, stop := context.WithCancel(ctx)
		t.stop, t.done = stop, make(chan struct{})
		k.tasks[key] = t
		k.e.work.Go(func() {
			defer close(t.done)
			f(inner, t)
		})
	}
	k.mu.Unlock()
	for _, t := range ending {
		<-t.done // at most goodbyeWait: what is registered anew comes after what is unregistered
	}
}

// list is the tasks as they stand, for the metrics.
func (k *keeper) list() (all []taskState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.tasks {
		t.mu.Lock()
		all = append(all, taskState{t.trunk, t.target, t.up})
		t.mu.Unlock()
	}
	return all
}

type taskState struct {
	trunk, target string
	up            bool
}

func (t *task) set(up bool) {
	t.mu.Lock()
	t.up = up
	t.mu.Unlock()
}

// keepPinging asks a target with OPTIONS whether it is there. Two failures in a row make it go last, two answers
// in a row first again.
func (e *Endpoint) keepPinging(ctx context.Context, t *call.Trunk, w *task) {
	log := e.log.With("trunk", t.SID, "target", w.target)
	target, err := parseTarget(w.target)
	if err != nil {
		log.Warn("sip: a target cannot be pinged", "err", err)
		return
	}
	key := targetKey(&target)
	up, against := true, 0
	defer func() {
		if !up {
			e.health.mark(key, false)
		}
	}()
	timer := e.cfg.Clock.NewTimer(time.Duration(rand.Int64N(int64(firstPing))))
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
		case <-ctx.Done():
			return
		}
		err := e.probe(ctx, t, &target)
		if ctx.Err() != nil {
			return
		}
		if (err == nil) == up {
			against = 0
		} else if against++; against >= pingsToTurn {
			up, against = !up, 0
			w.set(up)
			e.health.mark(key, !up)
			if up {
				e.health.answers(key)
				log.Info("sip: a target of a trunk answers again")
			} else {
				log.Warn("sip: a target of a trunk does not answer, it is tried last", "err", err)
			}
		}
		timer.Reset(t.Ping)
	}
}

// probe sends OPTIONS to a target. Whatever is answered but 503 is a sign of life; 408 and 504 come of proxies that
// got none.
func (e *Endpoint) probe(ctx context.Context, t *call.Trunk, target *sip.Uri) error {
	ctx, cancel := context.WithTimeout(ctx, pingWait)
	defer cancel()
	found, err := e.candidates(ctx, target, call.OutboundLeg{Secure: t.Secure})
	if err != nil {
		return err
	}
	for _, c := range found {
		h := e.pick(c, 0)
		d := dialog{callID: newCallID(), localTag: newTag(), local: e.contact(h).Address, remote: *target.Clone(), target: *target.Clone()}
		d.local.UriParams, d.remote.UriParams = nil, nil
		done := e.expect(d.callID)
		req := e.request(&d, sip.OPTIONS, newCSeq(), newBranch(), h)
		var res *sip.Response
		res, err = e.finalOf(ctx, req)
		done()
		if err == nil {
			if code := res.StatusCode; code != 503 && code != 408 && code != 504 {
				return nil
			}
			err = fmt.Errorf("%d %s", res.StatusCode, res.Reason)
		}
	}
	return err
}

// expect lets the responses of a transaction of its own enter, until done and the network has delivered the rest.
func (e *Endpoint) expect(callID string) (done func()) {
	e.mu.Lock()
	e.rememberLocked(callID)
	e.mu.Unlock()
	return func() {
		e.cfg.Clock.AfterFunc(timer64T1, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.forgetLocked(callID)
		})
	}
}

// registrar is a registration with a carrier under way.
type registrar struct {
	e        *Endpoint
	trunk    *call.Trunk
	uri      sip.Uri // of the registrar
	log      *slog.Logger
	user     string
	password string
	contact  string
	callID   string // one for all of its life, RFC 3261 section 10.2.4
	cseq     uint32
	expires  time.Duration // to ask for
}

// refusal is an answer of the registrar's that another attempt right away would not change.
type refusal struct {
	code   int
	reason string
}

func (r *refusal) Error() string { return strconv.Itoa(r.code) + " " + r.reason }

// keepRegistered registers with the carrier and again in time, until ctx is done; then it unregisters.
func (e *Endpoint) keepRegistered(ctx context.Context, t *call.Trunk, w *task) {
	host := t.Register.Registrar
	if host == "" {
		host = t.Host
	}
	r := &registrar{e: e, trunk: t, callID: newCallID(), cseq: newCSeq(), expires: t.Register.Expires}
	r.log = e.log.With("trunk", t.SID, "registrar", host)
	r.user, r.password, r.contact = t.Login()
	var err error
	if r.uri, err = parseTarget("sip:" + host); err != nil {
		r.log.Error("sip: not registered: no registrar", "err", err)
		return
	}
	failed := 0
	timer := e.cfg.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
		case <-ctx.Done():
			if w.isUp() {
				r.unregister()
			}
			return
		}
		granted, err := r.register(ctx, r.expires)
		if ctx.Err() != nil {
			continue
		}
		if err != nil {
			wait := backOff(failed, err)
			failed++
			w.set(false)
			r.log.Warn("sip: not registered", "err", err, "again_in", wait.Round(time.Second).String())
			timer.Reset(wait)
			continue
		}
		if !w.isUp() {
			r.log.Info("sip: registered", "user", r.user, "expires", granted.String())
		}
		failed = 0
		w.set(true)
		timer.Reset(jitter(granted*3/4, granted*9/10))
	}
}

func (t *task) isUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.up
}

// backOff is how long to wait after that many failures before the last one, err.
func backOff(failures int, err error) time.Duration {
	wait := retryRegister
	if refused, ok := err.(*refusal); ok && refused.code < 500 { //nolint:errorlint // as register returns it
		wait = refusedRegister
	}
	wait = min(wait<<min(failures, 8), maxRetryRegister)
	return jitter(wait*4/5, wait)
}

// register asks each address of the registrar until one grants a registration; expires 0 ends it.
func (r *registrar) register(ctx context.Context, expires time.Duration) (granted time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	spec := call.OutboundLeg{Transport: r.trunk.Transport, Secure: r.trunk.Secure}
	found, err := r.e.candidates(ctx, &r.uri, spec)
	if err != nil {
		return 0, err
	}
	for i, c := range found {
		inner, done := ctx, context.CancelFunc(func() {})
		if i+1 < len(found) {
			inner, done = context.WithTimeout(ctx, pingWait)
		}
		granted, err = r.at(inner, r.e.pick(c, 0), expires)
		done()
		if refused, ok := err.(*refusal); err == nil || ok && refused.code != 503 { //nolint:errorlint // as at returns it
			return granted, err
		}
	}
	return 0, err
}

// at is register at one address. It answers one challenge, one more when its nonce was stale, and a 423.
func (r *registrar) at(ctx context.Context, h hop, expires time.Duration) (time.Duration, error) {
	var auth *credentials
	defer r.e.expect(r.callID)()
	for range 4 {
		r.cseq++
		req := r.request(h, expires)
		if auth != nil {
			if err := auth.answer(req, r.user, r.password); err != nil {
				return 0, err
			}
		}
		res, err := r.e.finalOf(ctx, req)
		if err != nil {
			return 0, err
		}
		switch code := res.StatusCode; {
		case code < 300:
			return r.granted(res, req, expires), nil
		case code == 401 || code == 407:
			if auth = answerable(res, req); auth == nil {
				return 0, &refusal{code, "the password is wrong, or the challenge cannot be answered"}
			}
		case code == 423 && expires > 0:
			least, err := strconv.ParseUint(headerValue(res, "Min-Expires", ""), 10, 31)
			if err != nil || time.Duration(least)*time.Second <= expires {
				return 0, &refusal{code, res.Reason}
			}
			expires = time.Duration(least) * time.Second
			r.expires = expires
		default:
			return 0, &refusal{code, res.Reason}
		}
	}
	return 0, &refusal{401, "challenged again and again"}
}

func (r *registrar) request(h hop, expires time.Duration) *sip.Request {
	record := sip.Uri{Scheme: "sip", User: escapeUser(r.user), Host: r.uri.Host}
	d := dialog{callID: r.callID, localTag: newTag(), local: record, remote: record, target: r.uri}
	req := r.e.request(&d, sip.REGISTER, r.cseq, newBranch(), h)
	contact := r.e.contact(h)
	contact.Address.User = escapeUser(r.contact)
	req.AppendHeader(contact)
	req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(expires/time.Second))))
	req.AppendHeader(sip.NewHeader("Allow", allowed))
	return req
}

// granted is how long the registration lasts: what the response says of our contact, else in general.
func (r *registrar) granted(res *sip.Response, req *sip.Request, asked time.Duration) time.Duration {
	ours := req.Contact().Address
	for _, v := range listHeader(res, "Contact", "m") {
		c, expires, ok := parseContact(v)
		if ok && expires > 0 && c.Key == contactKey(&ours) {
			return expires
		}
	}
	if n, err := strconv.ParseUint(strings.TrimSpace(headerValue(res, "Expires", "")), 10, 31); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return max(asked, time.Second)
}

// unregister is a last REGISTER, for which nobody waits long.
func (r *registrar) unregister() {
	ctx, cancel := context.WithTimeout(r.e.ctx, goodbyeWait)
	defer cancel()
	if _, err := r.register(ctx, 0); err != nil {
		r.log.Debug("sip: not unregistered", "err", err)
	}
}
