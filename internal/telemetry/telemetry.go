// Package telemetry makes OpenTelemetry spans of calls and sends them over OTLP/HTTP. All spans of a call
// are one trace, and nothing is stored for it: the trace's ID is the 16 bytes of the call's SID, the ID of
// its root span is their second half, so that a callback delivered an hour later, or by the next process,
// still finds its place.
//
// A nil *Tracer and a nil *Span are tracing that is off: every method does nothing and allocates nothing.
package telemetry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/internal/clock"
)

// Env as Config.Endpoint takes the collector's address from the environment.
const Env = "env"

// Bounds of what waits for a collector: about 8 MB of spans, then they are dropped.
const (
	maxQueue   = 8192
	maxBatch   = 512
	maxWait    = time.Second
	maxSend    = 10 * time.Second // of one batch, attempts included
	maxEvents  = 64
	maxText    = 1024 // characters of an attribute
	maxDetails = 32
)

// Config of a Tracer.
type Config struct {
	// Endpoint is the collector's URL, such as http://127.0.0.1:4318; without a path /v1/traces is meant.
	// Env takes it from OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT.
	Endpoint string
	Version  string // of this program
	Clock    clock.Clock
	Log      *slog.Logger
}

// Tracer makes spans. It is safe for concurrent use and never waits for the collector.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	clock    clock.Clock
	out      *exporter
	ended    atomic.Uint64
}

// Check reports what is wrong with an Endpoint; "" is tracing that is off.
func Check(endpoint string) error {
	if endpoint == "" || endpoint == Env {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("want the URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318, or env")
	}
	return nil
}

// New makes a tracer, nil for an empty Endpoint. Headers, certificates and compression come from the
// standard OTEL_EXPORTER_OTLP_… variables, the service's name from OTEL_SERVICE_NAME.
func New(ctx context.Context, cfg Config) (*Tracer, error) {
	if cfg.Endpoint == "" {
		return nil, nil //nolint:nilnil // off
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithTimeout(maxSend / 2),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: time.Second, MaxInterval: maxSend / 2, MaxElapsedTime: maxSend,
		}),
	}
	switch {
	case cfg.Endpoint != Env:
		u, err := url.Parse(cfg.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("telemetry: %w", err)
		}
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/traces"
		}
		options = append(options, otlptracehttp.WithEndpointURL(u.String()))
	case os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "":
		options = append(options, otlptracehttp.WithEndpointURL("http://localhost:4318/v1/traces"))
	}
	next, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "offhook"), attribute.String("service.version", cfg.Version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("telemetry: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Tracer{clock: cfg.Clock, out: &exporter{SpanExporter: next, log: cfg.Log}}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(t.out,
			sdktrace.WithMaxQueueSize(maxQueue), sdktrace.WithMaxExportBatchSize(maxBatch),
			sdktrace.WithBatchTimeout(maxWait), sdktrace.WithExportTimeout(maxSend)),
		sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // a collector that sees whole traces chooses better
		sdktrace.WithResource(about),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: maxText, AttributeCountLimit: maxDetails, EventCountLimit: maxEvents, LinkCountLimit: 4,
			AttributePerEventCountLimit: maxDetails, AttributePerLinkCountLimit: maxDetails,
		}))
	t.tracer = t.provider.Tracer("github.com/offhook/offhook", trace.WithInstrumentationVersion(cfg.Version))
	return t, nil
}

// Close sends what waits, until ctx is done.
func (t *Tracer) Close(ctx context.Context) {
	if t == nil {
		return
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		t.out.log.Warn("spans not sent before the end", "err", err)
	}
}

// Stats are a tracer's totals: spans that ended, that the collector took, and that it did not. What is
// neither waits, or was dropped because too many did.
type Stats struct{ Ended, Exported, Failed uint64 }

// Stats are safe to take at any time.
func (t *Tracer) Stats() Stats {
	if t == nil {
		return Stats{}
	}
	return Stats{t.ended.Load(), t.out.sent.Load(), t.out.failed.Load()}
}

// exporter counts what a collector takes, and logs when it goes away and comes back.
type exporter struct {
	sdktrace.SpanExporter
	log          *slog.Logger
	sent, failed atomic.Uint64
	down         atomic.Bool
}

// ExportSpans sends spans. It returns no error: the SDK would write it past the log.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.failed.Add(uint64(len(spans)))
	} else {
		e.sent.Add(uint64(len(spans)))
	}
	if e.down.Swap(err != nil) != (err != nil) {
		if err != nil {
			e.log.Warn("spans cannot be sent to the collector and are dropped until they can", "err", err)
		} else {
			e.log.Info("spans can be sent again")
		}
	}
	return nil
}

// ids makes the IDs of spans; a root's come from its call.
type ids struct{}

type rootKey struct{}

// NewIDs are those of a root span (sdktrace.IDGenerator).
func (i ids) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	if sc, ok := ctx.Value(rootKey{}).(trace.SpanContext); ok {
		return sc.TraceID(), sc.SpanID()
	}
	for !id.IsValid() {
		putUint64(id[:8], rand.Uint64())
		putUint64(id[8:], rand.Uint64())
	}
	return id, i.NewSpanID(ctx, id)
}

// NewSpanID is that of a child (sdktrace.IDGenerator).
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		putUint64(id[:], rand.Uint64())
	}
	return id
}

func putUint64(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (8 * i))
	}
}

// root is the root span of a call.
func root(callSID string) trace.SpanContext {
	var cfg trace.SpanContextConfig
	if len(callSID) == 34 {
		_, _ = hex.Decode(cfg.TraceID[:], []byte(callSID[2:])) // else the context is not valid, and nothing is traced
		copy(cfg.SpanID[:], cfg.TraceID[8:])
		cfg.TraceFlags = trace.FlagsSampled
	}
	return trace.NewSpanContext(cfg)
}

// Call is ctx in the trace of a call: what is started with it becomes a child of the call's root span.
func (t *Tracer) Call(ctx context.Context, callSID string) context.Context {
	if t == nil {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, root(callSID))
}

// Carry is to in the trace, and under the span, of from.
func (t *Tracer) Carry(to, from context.Context) context.Context {
	if t == nil {
		return to
	}
	return trace.ContextWithSpanContext(to, trace.SpanContextFromContext(from))
}

// Kind says which side of an exchange a span is.
type Kind = trace.SpanKind

// Kinds of spans.
const (
	Internal = trace.SpanKindInternal
	Server   = trace.SpanKindServer
	Client   = trace.SpanKindClient
)

// Start begins a span under that of ctx, which must be of a call (Call). The context returned is under the
// new one.
func (t *Tracer) Start(ctx context.Context, name string, kind Kind) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.StartAt(ctx, name, kind, t.clock.Now())
}

// StartAt is Start of what began before.
func (t *Tracer) StartAt(ctx context.Context, name string, kind Kind, at time.Time) (context.Context, *Span) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, nil
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at))
	return ctx, &Span{t, s}
}

// Root begins the span of a whole call. It is made when the call is over: an unfinished span would be lost
// with the process, and the next one would not know of it.
func (t *Tracer) Root(callSID string, at time.Time) *Span {
	if t == nil {
		return nil
	}
	sc := root(callSID)
	if !sc.IsValid() {
		return nil
	}
	ctx := context.WithValue(context.Background(), rootKey{}, sc)
	_, s := t.tracer.Start(ctx, "call", trace.WithNewRoot(), trace.WithTimestamp(at))
	s.SetAttributes(attribute.String("offhook.call_sid", callSID))
	return &Span{t, s}
}

// Span is something that takes time. Set what is told of it before End.
type Span struct {
	t *Tracer
	s trace.Span
}

// Set tells a detail.
func (s *Span) Set(key, value string) {
	if s != nil && value != "" {
		s.s.SetAttributes(attribute.String(key, value))
	}
}

// SetInt tells a number.
func (s *Span) SetInt(key string, value int) {
	if s != nil {
		s.s.SetAttributes(attribute.Int(key, value))
	}
}

// Event notes that something happened now.
func (s *Span) Event(name string) {
	if s != nil {
		s.s.AddEvent(name, trace.WithTimestamp(s.t.clock.Now()))
	}
}

// Fail says that it did not work, and why.
func (s *Span) Fail(why string) {
	if s != nil {
		s.s.SetStatus(codes.Error, why)
	}
}

// End ends the span now. A second End does nothing.
func (s *Span) End() {
	if s != nil {
		s.EndAt(s.t.clock.Now())
	}
}

// EndAt ends the span at a moment.
func (s *Span) EndAt(at time.Time) {
	if s != nil && s.s.IsRecording() {
		s.t.ended.Add(1)
		s.s.End(trace.WithTimestamp(at))
	}
}

// Inject tells the receiver of a request which span it is part of (W3C Trace Context).
func (s *Span) Inject(h http.Header) {
	if s != nil {
		propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.s), propagation.HeaderCarrier(h))
	}
}
