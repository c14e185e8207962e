package session

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
	"github.com/offhook/offhook/internal/webhook"
)

const (
	// referTimeout is how long a phone may take to tell what came of a transfer: its own ring time-out and some more.
	referTimeout = 3 * time.Minute
	// farewellTimeout bounds the request to the action of a verb that was cut short. Nobody needs its answer.
	farewellTimeout = 15 * time.Second
	// maxNews bounds what a phone tells of a transfer that nobody has looked at.
	maxNews = 16
)

// referred is what is known of a transfer that a phone was asked for.
type referred struct {
	answer int // response to REFER, 0 while there is none
	news   int // code of the last NOTIFY, 0 while there is none
	status string
}

// Values of ReferCallStatus.
const (
	referInProgress = "in-progress"
	referBusy       = "busy"
	referFailed     = "failed"
	referCanceled   = "canceled" // the caller hung up first
)

// referVerb runs <Refer>: the party's phone is asked to call somebody else, and tells how that goes.
func (s *Session) referVerb(ctx context.Context, doc *document, v *twiml.Refer) (step, error) {
	if selfCalled(s.snapshot.Load()) {
		return nextVerb, &twilio.Error{Code: 13801, Message: "Refer: the other side of this call is one of our own numbers, no phone"}
	}
	news := make(chan call.LegEvent, maxNews)
	s.news.Store(&news)
	defer s.news.Store(nil)
	limit := s.m.Clock.NewTimer(referTimeout)
	defer limit.Stop()

	s.trace("REFER to %s", v.URI)
	s.leg.Refer(v.URI + sipQuery(v.Headers))
	var r referred
	for r.status == "" {
		select {
		case e := <-news:
			r.take(e)
		case <-limit.C():
			r.status = referFailed
		case <-ctx.Done():
			for len(news) > 0 && r.status == "" { // what came before the end
				r.take(<-news)
			}
			if r.status == "" {
				r.status = referCanceled
			}
			if v.Action != "" && !errors.Is(context.Cause(ctx), errRedirected) {
				s.bidFarewell(ctx, doc, v.Method, v.Action, r.params())
			}
			return nextVerb, context.Cause(ctx)
		}
	}
	s.trace("transfer: %s", r.status)
	if v.Action == "" {
		return nextVerb, nil
	}
	next, err := s.jump(doc, v.Method, v.Action, r.params())
	next.sure = true // a phone that was transferred hangs up
	return next, err
}

// fetchSurely makes a request that is done even when ctx ends meanwhile, and its answer not waited for.
func (s *Session) fetchSurely(ctx context.Context, r webhook.Request) (*webhook.Response, error) {
	type answer struct {
		response *webhook.Response
		err      error
	}
	answered := make(chan answer, 1)
	s.m.sessions.Go(func() {
		ctx, cancel := context.WithTimeout(s.m.ctx, farewellTimeout)
		defer cancel()
		response, err := s.hooks.Fetch(ctx, r)
		answered <- answer{response, err}
	})
	select {
	case a := <-answered:
		return a.response, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// selfCalled reports whether the other side of c is offhook itself: a call between two of its numbers.
func selfCalled(c *call.Call) bool {
	if c.CameIn() {
		return c.Options.SIPSource == ""
	}
	return c.QueueKey == queueInternal
}

// take learns from what the phone says.
func (r *referred) take(e call.LegEvent) {
	switch e := e.(type) {
	case call.LegReferAnswered:
		r.answer = e.Code
		switch {
		case e.Code >= 300:
			r.status = referFailed
		case e.Silent:
			r.status = referInProgress
		}
	case call.LegReferNotified:
		if r.answer == 0 {
			r.answer = 202 // news of it say so (RFC 3515 section 2.4.4), and may overtake the answer
		}
		if e.Code != 0 {
			r.news = e.Code
		}
		if e.Final {
			r.status = referStatus(e.Code)
		}
	}
}

// referStatus is ReferCallStatus for the last code that the phone was told. A phone that ends its reports before
// there is a result has accepted the transfer, and that is all that will be known.
func referStatus(code int) string {
	switch {
	case code < 300:
		return referInProgress
	case call.StatusOf(code) == call.Busy:
		return referBusy
	default:
		return referFailed
	}
}

// params are those of the action (call-lifecycle section 3.5).
func (r *referred) params() url.Values {
	p := url.Values{"ReferCallStatus": {r.status}}
	if r.answer != 0 {
		p.Set("ReferSipResponseCode", strconv.Itoa(r.answer))
	}
	if r.news != 0 {
		p.Set("NotifySipResponseCode", strconv.Itoa(r.news))
	}
	return p
}

// hear gives the running <Refer> what the phone says of it.
func (s *Session) hear(e call.LegEvent) {
	if news := s.news.Load(); news != nil {
		select {
		case *news <- e:
		default:
		}
	}
}

// bidFarewell requests the action of a verb that ctx cut short. Its answer is thrown away, and nobody waits for it
// but the document that follows.
func (s *Session) bidFarewell(ctx context.Context, doc *document, method, action string, params url.Values) {
	next, err := s.jump(doc, method, action, params)
	if err != nil {
		s.notify(asTwilio(err), nil)
		return
	}
	all := voiceParams(s.snapshot.Load())
	for name, values := range next.params {
		all[name] = values
	}
	if !errors.Is(context.Cause(ctx), errRedirected) {
		all.Set("CallStatus", string(call.Completed))
	}
	said := make(chan struct{})
	s.farewell = said
	s.m.sessions.Go(func() {
		defer close(said)
		ctx, cancel := context.WithTimeout(s.m.ctx, farewellTimeout)
		defer cancel()
		_, err := s.hooks.Fetch(ctx, webhook.Request{Method: next.method, URL: next.url, Params: all})
		s.trace("%s %s for a verb that was cut short: %v", next.method, webhook.Redact(next.url), err)
	})
}
