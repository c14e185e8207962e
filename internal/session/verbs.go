package session

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/internal/twiml"
	"github.com/offhook/offhook/internal/webhook"
)

// Bounds of one call's control flow; Twilio documents none (twiml section 3, Redirect, design).
const (
	maxDocuments = 1000 // in a row that each took less than a second
	maxSilentRun = 50   // of them without a verb that takes time
)

var errRedirected = errors.New("session: redirected")

// verbs is the one goroutine that runs a call's documents.
type verbs struct {
	cancel context.CancelCauseFunc
	result chan result // one value, then never again
	gone   chan struct{}
}

// result is how a run of documents ended by itself.
type result struct {
	reason string     // for the cause of the call
	reject *rejection // <Reject> of a call that was not answered
}

// endOfDocument is the reason of a run whose instructions were all carried out.
const endOfDocument = "end of document"

type rejection struct {
	code   int
	phrase string
	status call.Status
}

// source gives the first document of a run.
type source func(s *Session, ctx context.Context) (*document, error)

// document is a TwiML document and where it came from.
type document struct {
	*twiml.Document
	method   string // how it was requested
	fallback bool   // it came from the fallback URL
	noRetry  bool   // no fallback is left
	over     *over  // it calls over an elastic trunk; nil for what an application wrote
}

// step is what a verb leaves to be done: nothing (the next sibling) or another document.
type step struct {
	jump   bool
	method string
	url    string // absolute
	params url.Values
	sure   bool // it is requested even when the call ends at that moment
}

var nextVerb = step{}

// stopError ends a run of documents from inside a verb.
type stopError struct{ result }

func (e stopError) Error() string { return "session: " + e.reason }

// startVerbs runs what start gives, and what that leads to, in a goroutine of its own.
func (s *Session) startVerbs(start source) *verbs {
	ctx, cancel := context.WithCancelCause(s.m.Tracer.Call(context.Background(), s.sid))
	v := &verbs{cancel: cancel, result: make(chan result, 1), gone: make(chan struct{})}
	go func() {
		defer close(v.gone)
		err := s.guarded(func() error {
			r, ok := s.runDocuments(ctx, start)
			if r.reason == endOfDocument && s.screening.Load() {
				v.result <- r // the conversation goes on where the document ends
			} else if ok && s.hearOut(ctx) == nil {
				v.result <- r
			}
			return nil
		})
		if err != nil {
			v.result <- result{reason: "internal error"}
		}
	}()
	return v
}

// panicError is a bug of ours in one call.
type panicError struct{ value any }

func (e panicError) Error() string { return fmt.Sprintf("session: panic: %v", e.value) }

// guarded runs f; a panic becomes an error that ends this call, and nothing else.
func (s *Session) guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if p, ok := r.(panicError); ok { // of aside, which has logged it
				err = p
				return
			}
			s.log.Error("panic in a call", "panic", r, "stack", string(debug.Stack()))
			err = panicError{r}
		}
	}()
	return f()
}

// ended is where the result arrives; nil blocks when nothing runs.
func (v *verbs) ended() <-chan result {
	if v == nil {
		return nil
	}
	return v.result
}

// stop cancels the run with cause and waits until it is gone.
func (v *verbs) stop(cause error) {
	if v == nil {
		return
	}
	v.cancel(cause)
	<-v.gone
}

// runDocuments runs one document after the other until the instructions end. ok is false when ctx ended them.
func (s *Session) runDocuments(ctx context.Context, start source) (r result, ok bool) {
	var doc *document
	var err error
	s.aside(func() { doc, err = start(s, ctx) })
	silent, circled := 0, false
	for n := 1; ; n++ {
		var next step
		if err == nil {
			began := s.m.Clock.Now()
			next, err = s.runDocument(ctx, doc, &silent)
			if s.m.Clock.Now().Sub(began) >= time.Second {
				n = 0 // a hold loop or a menu, which may go on as long as the call
			}
		}
		if ctx.Err() != nil {
			if next.sure && err == nil { // the caller hung up before it could be asked
				s.bidFarewell(ctx, doc, next.method, next.url, next.params)
			}
			return result{}, false
		}
		var stop stopError
		switch {
		case errors.As(err, &stop):
			return stop.result, true
		case err != nil:
			s.aside(func() { doc, err = s.recoverDocument(ctx, doc, err) })
		case !next.jump:
			return result{reason: endOfDocument, reject: s.unconnected}, true
		case n >= maxDocuments || silent >= maxSilentRun:
			err = &twilio.Error{Code: 12400, Message: fmt.Sprintf(
				"the call goes in circles: %d documents in a row, the last %d without audio", n, silent)}
			if circled {
				err = fallbackError{err} // the fallback led back to where it came from
			}
			circled, n, silent = true, 0, 0
			s.aside(func() { doc, err = s.recoverDocument(ctx, doc, err) })
		default:
			s.aside(func() { doc, err = s.fetch(ctx, next) })
		}
		var last lastError
		if errors.As(err, &last) {
			return s.errorPrompt(ctx, last.error)
		}
	}
}

// runDocument runs the verbs of doc in order.
func (s *Session) runDocument(ctx context.Context, doc *document, silent *int) (step, error) {
	for _, w := range doc.Warnings {
		s.notify(&twilio.Error{Code: w.Code, Message: w.Message}, func(n *call.Notification) {
			n.RequestURL, n.RequestMethod = webhook.Redact(doc.URL), doc.method
		})
	}
	*silent++
	for i, v := range doc.Verbs {
		next, err := s.runVerb(ctx, doc, v, i == 0, silent)
		if err != nil || next.jump {
			return next, err
		}
		if ctx.Err() != nil {
			return nextVerb, context.Cause(ctx)
		}
	}
	return nextVerb, nil
}

// obeyVerb runs one verb. The set is closed: Twilio owns the list.
func (s *Session) obeyVerb(ctx context.Context, doc *document, v twiml.Verb, first bool, silent *int) (step, error) {
	switch v := v.(type) {
	case *twiml.Redirect:
		return s.redirect(doc, v)
	case *twiml.Reject:
		return nextVerb, s.reject(v, first)
	case *twiml.Hangup:
		return nextVerb, stopError{result{reason: "<Hangup>"}}
	case *twiml.Pause:
		if first {
			*silent = 0                      // silence, but it takes its time
			return nextVerb, s.pause(ctx, v) // keeps an inbound call ringing for its length
		}
	case *twiml.Unsupported:
		return nextVerb, unsupported(v)
	case *twiml.Dial:
		if v.AnswerOnBridge && first {
			*silent = 0
			return s.dialVerb(ctx, doc, v)
		}
	}
	before := *silent
	*silent = 0
	if err := s.do(ctx, s.answer); err != nil {
		<-ctx.Done() // nobody is left to hear an error: the caller has gone, or is being refused
		return nextVerb, context.Cause(ctx)
	}
	switch v := v.(type) {
	case *twiml.Say:
		return nextVerb, s.say(ctx, v)
	case *twiml.Play:
		return nextVerb, s.playVerb(ctx, doc, v)
	case *twiml.Pause:
		return nextVerb, s.pause(ctx, v)
	case *twiml.Gather:
		return s.gather(ctx, doc, v)
	case *twiml.Dial:
		return s.dialVerb(ctx, doc, v)
	case *twiml.Refer:
		return s.referVerb(ctx, doc, v)
	case *twiml.Record:
		return s.recordVerb(ctx, doc, v)
	case *twiml.StartRecording:
		*silent = before // it takes no time
		return nextVerb, s.startVerb(ctx, doc, v)
	case *twiml.StopRecording:
		*silent = before
		return nextVerb, s.stopVerb(ctx, v)
	}
	return nextVerb, fmt.Errorf("session: no way to run <%s>", v.Name())
}

// unsupported is a verb of Twilio's that offhook does not have yet: an error, not silence.
func unsupported(v twiml.Verb) error {
	what := "<" + v.Name() + ">"
	if u, ok := v.(*twiml.Unsupported); ok && u.Feature != "" {
		what += " " + u.Feature
	}
	return notYet(v.Line(), what)
}

// notYet is the error of what this version leaves out.
func notYet(line int, what string) error {
	return &twilio.Error{Code: 12200, Message: fmt.Sprintf("line %d: %s is not available in this version of offhook", line, what)}
}

// lastError is an error after which no fallback is left.
type lastError struct{ error }

// recoverDocument takes the fallback URL after a document failed; lastError when there is none.
func (s *Session) recoverDocument(ctx context.Context, doc *document, err error) (*document, error) {
	failed := asTwilio(err)
	o := s.snapshot.Load().Options
	s.notify(failed, func(n *call.Notification) {
		n.Level = call.LevelError
		var fe *fetchError
		if errors.As(err, &fe) {
			fe.describe(n)
		} else if doc != nil {
			n.RequestURL, n.RequestMethod = webhook.Redact(doc.URL), doc.method
		}
	})
	if o.FallbackURL == "" || (doc != nil && doc.noRetry) || isFallback(err) {
		return doc, lastError{err}
	}
	errorURL := o.URL
	var fe *fetchError
	if errors.As(err, &fe) {
		errorURL = fe.url
	} else if doc != nil && doc.URL != "" {
		errorURL = doc.URL
	}
	d, err := s.fetch(ctx, step{
		jump: true, method: o.FallbackMethod, url: o.FallbackURL,
		params: url.Values{"ErrorCode": {strconv.Itoa(failed.Code)}, "ErrorUrl": {webhook.Redact(errorURL)}},
	})
	if err != nil {
		return nil, fallbackError{err}
	}
	d.fallback, d.noRetry = true, true
	return d, nil
}

// fallbackError is a failure of the fallback URL itself.
type fallbackError struct{ error }

func (e fallbackError) Unwrap() error { return e.error }

func isFallback(err error) bool {
	var f fallbackError
	return errors.As(err, &f)
}

// firstDocument is what the call was created, or redirected, to run.
func (s *Session) firstDocument(ctx context.Context) (*document, error) { return s.open(ctx, nil) }

// open is firstDocument, whose request has more parameters.
func (s *Session) open(ctx context.Context, params url.Values) (*document, error) {
	c := s.snapshot.Load()
	o := c.Options
	if err := s.bidden(ctx); err != nil {
		return nil, err
	}
	var digits <-chan struct{}
	if o.SendDigits != "" && c.Status == call.InProgress && !s.sentDigits {
		s.sentDigits = true
		s.trace("sending digits %s", o.SendDigits)
		digits = s.leg.PlayDigits(o.SendDigits)
	}
	var doc *document
	var err error
	if o.URL != "" {
		doc, err = s.fetch(ctx, step{jump: true, method: o.Method, url: o.URL, params: params})
	} else if s.screening.Load() { // nothing but keys
		doc = &document{Document: new(twiml.Document), method: "POST"}
	} else {
		var d *twiml.Document
		if d, err = twiml.ParseInline([]byte(o.Twiml)); err == nil {
			doc = &document{Document: d, method: "POST"}
		}
	}
	if digits != nil {
		select {
		case <-digits:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return doc, err
}

// bidden waits until the action of a verb that this document replaces was requested.
func (s *Session) bidden(ctx context.Context) error {
	if s.farewell == nil {
		return nil
	}
	select {
	case <-s.farewell:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetchError is a failed request for TwiML, with what was seen.
type fetchError struct {
	error
	method, url string
	params      url.Values
	response    *webhook.Response
}

func (e *fetchError) Unwrap() error { return e.error }

func (e *fetchError) describe(n *call.Notification) {
	n.RequestMethod, n.RequestURL, n.RequestParams = e.method, webhook.Redact(e.url), e.params.Encode()
	if e.response != nil {
		n.ResponseBody = string(e.response.Body)
		n.ResponseHeaders = url.Values(e.response.Header).Encode()
	}
}

// fetch asks the application for its next document.
func (s *Session) fetch(ctx context.Context, next step) (*document, error) {
	c := s.snapshot.Load()
	params := voiceParams(c)
	if c.CameIn() {
		params.Set("CallToken", s.m.tokenOf(c))
	}
	for name, values := range next.params {
		params[name] = values
	}
	method := next.method
	if method == "" {
		method = "POST"
	}
	fail := func(err error, response *webhook.Response) error {
		return &fetchError{err, method, next.url, params, response}
	}
	fetch := s.hooks.Fetch
	if next.sure {
		fetch = s.fetchSurely
	}
	response, err := fetch(ctx, webhook.Request{Method: method, URL: next.url, Params: params})
	if err != nil {
		if ctx.Err() == nil {
			s.trace("%s %s failed: %s", method, webhook.Redact(next.url), asTwilio(err).Message)
		}
		return nil, fail(err, response)
	}
	s.trace("%s %s %d in %d ms", method, webhook.Redact(next.url), response.Status, response.Duration.Milliseconds())
	d, err := twiml.FromResponse(response.ContentType, response.Body, response.URL)
	if err == nil && s.screening.Load() {
		d, err = d.Screening()
	}
	if err != nil {
		return nil, fail(err, response)
	}
	return &document{Document: d, method: method}, nil
}

// errorPrompt tells the caller that the application failed, and ends the call.
func (s *Session) errorPrompt(ctx context.Context, err error) (result, bool) {
	r := result{reason: "application error: " + asTwilio(err).Message}
	if s.do(ctx, s.answer) != nil {
		return r, ctx.Err() == nil
	}
	prompt := &twiml.Say{Loop: 1, Parts: []twiml.Part{{Text: errorText}}}
	if err := s.say(ctx, prompt); err != nil && ctx.Err() == nil {
		s.log.Warn("error prompt not spoken", "err", err)
	}
	return r, ctx.Err() == nil
}

// errorText is what a caller hears when the application fails and no fallback helps.
const errorText = "We are sorry. An application error has occurred. Goodbye."
