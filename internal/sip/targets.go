package sip

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

const (
	// targetWait is how long an address may say nothing at all to an INVITE while another one is left. Timer B,
	// 32 s, would use up most of the time that a caller waits.
	targetWait = 4 * time.Second
	// penalty is how long a target that said nothing goes last.
	penalty = 30 * time.Second
	// maxSuspects bounds the targets that are remembered for that.
	maxSuspects = 1000
)

// targetHealth knows which targets do not answer: by pings, and by calls that failed.
type targetHealth struct {
	clock clock.Clock

	mu      sync.Mutex
	pinged  map[string]int       // how many tasks hold it for down
	suspect map[string]time.Time // until when
}

func newTargetHealth(c clock.Clock) *targetHealth {
	return &targetHealth{clock: c, pinged: make(map[string]int), suspect: make(map[string]time.Time)}
}

// targetKey is what two URIs of one target share.
func targetKey(u *sip.Uri) string {
	transport, _ := u.UriParams.Get("transport")
	return strings.ToLower(u.HostPort() + ";" + transport)
}

// failed notes that a target said nothing to a call.
func (h *targetHealth) failed(key string) {
	now := h.clock.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.suspect, func(_ string, until time.Time) bool { return now.After(until) })
	if len(h.suspect) < maxSuspects {
		h.suspect[key] = now.Add(penalty)
	}
}

// answers notes that it said something.
func (h *targetHealth) answers(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.suspect, key)
}

// mark notes what a ping found, as a change.
func (h *targetHealth) mark(key string, down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case down:
		h.pinged[key]++
	case h.pinged[key] > 1:
		h.pinged[key]--
	default:
		delete(h.pinged, key)
	}
}

// down reports whether a target should go last.
func (h *targetHealth) down(key string) bool {
	now := h.clock.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	until, bad := h.suspect[key]
	return h.pinged[key] > 0 || bad && now.Before(until)
}

// order puts the targets that do not answer last.
func (h *targetHealth) order(uris []string) []string {
	if len(uris) < 2 {
		return uris
	}
	var good, bad []string
	for _, s := range uris {
		var u sip.Uri
		if sip.ParseUri(s, &u) == nil && h.down(targetKey(&u)) {
			bad = append(bad, s)
		} else {
			good = append(good, s)
		}
	}
	return append(good, bad...)
}

// firstTarget resolves the first of spec's targets that can be, and returns those after it.
func (e *Endpoint) firstTarget(ctx context.Context, spec *call.OutboundLeg) (target sip.Uri, found []candidate, rest []string, err error) {
	targets := e.health.order(append([]string{spec.Target}, spec.Targets...))
	for i, s := range targets {
		u, badURI := parseTarget(s)
		if badURI != nil {
			return u, nil, nil, failure(400, badURI)
		}
		c, unresolved := e.candidates(ctx, &u, *spec)
		if unresolved == nil {
			return u, c, slices.Clone(targets[i+1:]), nil
		}
		if err == nil {
			err = failure(503, unresolved)
		}
		e.health.failed(targetKey(&u))
	}
	return sip.Uri{}, nil, nil, err
}

// watchTarget gives the present address its time, when there is another one.
func (l *Leg) watchTarget() {
	if len(l.out.candidates) < 2 && len(l.out.targets) == 0 {
		l.cancelTimer("target")
		return
	}
	l.after("target", targetWait, func() {
		if l.state != calling || l.hangup || l.out.req == nil {
			return
		}
		l.log.Info("sip: no answer of any kind, the next address is tried", "hop", l.hop.addr.String())
		l.suspect()
		l.abandon()
		if !l.next() {
			l.finish(call.Cause{SIPCode: 408, Reason: "request timeout"}, false)
		}
	})
}

// suspect notes that the present target says nothing, once its last address does.
func (l *Leg) suspect() {
	if len(l.out.candidates) < 2 && l.out.redirects == 0 {
		l.e.health.failed(targetKey(&l.d.target))
	}
}

// abandoned is an INVITE that was given up without a word of the peer's.
type abandoned struct {
	cancel   *sip.Request
	canceled bool
}

// abandon gives up the INVITE that is under way. Should it be heard of after all, it is cancelled.
func (l *Leg) abandon() {
	if l.out.abandoned == nil {
		l.out.abandoned = make(map[string]*abandoned)
	}
	l.out.abandoned[l.out.branch] = &abandoned{cancel: l.cancelRequest()}
	l.out.req = nil
	if tx := l.tx.Load(); tx != nil {
		tx.end()
	}
}

// stale takes what comes to an INVITE that was abandoned: no phone is left ringing, and who answers is hung up.
func (l *Leg) stale(res *sip.Response) {
	if res == nil || res.Via() == nil {
		return
	}
	branch, _ := res.Via().Params.Get("branch")
	a := l.out.abandoned[branch]
	switch {
	case a == nil:
	case res.StatusCode < 200 && !a.canceled:
		a.canceled = true
		l.send(a.cancel, func(*sip.Response, error) {})
	case res.IsSuccess() && l.out.forks < maxForks:
		l.out.forks++
		transport, d := a.cancel.Transport(), l.d
		l.e.work.Go(func() { l.e.refuseFork(transport, d, res) })
	}
}

// nextTarget goes on to the next target; false when there is none.
func (l *Leg) nextTarget() bool {
	if len(l.out.targets) == 0 || l.out.redirects > 0 {
		return false
	}
	s := l.out.targets[0]
	l.out.targets = l.out.targets[1:]
	uri, err := parseTarget(s)
	if err != nil {
		return l.nextTarget()
	}
	uri.Headers = nil
	spec := l.out.spec
	l.e.work.Go(func() {
		ctx, cancel := context.WithTimeout(l.e.ctx, resolveTimeout)
		defer cancel()
		found, err := l.e.candidates(ctx, &uri, spec)
		l.mail.post(func() { l.retargeted(uri, found, err) }, 0)
	})
	return true
}

func (l *Leg) retargeted(uri sip.Uri, found []candidate, err error) {
	switch {
	case l.hangup:
		l.finish(l.canceledCause(), false)
	case err != nil:
		l.log.Info("sip: a target cannot be resolved", "target", uri.String(), "err", err)
		l.e.health.failed(targetKey(&uri))
		if !l.nextTarget() {
			l.finish(call.Cause{SIPCode: 503, Reason: err.Error(), Local: true}, false)
		}
	default:
		l.d.target = uri
		if l.out.spec.To == "" {
			l.d.remote = uri
			l.d.remote.UriParams = nil
		}
		l.out.candidates, l.out.transport, l.out.origin = found, found[0].transport, found[0].addr
		l.out.challenges, l.auth = 0, nil
		l.elsewhere()
	}
}

// parseTarget reads the URI that a call goes to.
func parseTarget(s string) (u sip.Uri, err error) {
	if err := sip.ParseUri(s, &u); err != nil || !isSIP(&u) || hasControl(s) || strings.ContainsAny(s, " <>\"") {
		return u, fmt.Errorf("%w: %q is not a sip: URI", ErrTarget, s)
	}
	return u, nil
}
