package telemetry

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Request is an API request whose call is not known yet, nor whether it is about one.
type Request struct {
	t       *Tracer
	began   time.Time
	caller  trace.SpanContext // who asked, by its traceparent
	callSID atomic.Pointer[string]
}

type requestKey struct{}

// Request takes note of an API request. Hand on the context; End the request when it is answered.
func (t *Tracer) Request(r *http.Request) (*http.Request, *Request) {
	if t == nil {
		return r, nil
	}
	q := &Request{t: t, began: t.clock.Now()}
	q.caller = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, q)), q
}

// About says which call the API request of ctx made, or changes.
func (t *Tracer) About(ctx context.Context, callSID string) {
	if t == nil {
		return
	}
	if q, ok := ctx.Value(requestKey{}).(*Request); ok {
		sid := callSID // a copy, so that nothing is allocated while tracing is off
		q.callSID.Store(&sid)
	}
}

// End makes the span of a request about a call; others are no part of any trace. The caller's own trace is
// linked, not joined: a call has one trace, whoever asks for it and how often.
func (q *Request) End(method, route string, status int) {
	if q == nil {
		return
	}
	sid := q.callSID.Load()
	if sid == nil {
		return
	}
	ctx := q.t.Call(context.Background(), *sid)
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(Server), trace.WithTimestamp(q.began),
		trace.WithAttributes(
			attribute.String("http.request.method", method), attribute.String("http.route", route),
			attribute.Int("http.response.status_code", status)),
	}
	if q.caller.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: q.caller}))
	}
	_, s := q.t.tracer.Start(ctx, method+" "+route, options...)
	span := Span{q.t, s}
	if status >= 500 {
		span.Fail(http.StatusText(status))
	}
	span.End()
}
