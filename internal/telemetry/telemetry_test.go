package telemetry

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/internal/clock"
)

const callSID = "CA0123456789abcdef0123456789abcdef"

// recorded is a tracer whose spans stay here, as that of one process.
func recorded() (*Tracer, *tracetest.SpanRecorder) {
	r := tracetest.NewSpanRecorder()
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r), sdktrace.WithIDGenerator(ids{}))
	return &Tracer{provider: p, tracer: p.Tracer("test"), clock: clock.System, out: &exporter{log: slog.New(slog.DiscardHandler)}}, r
}

func TestSpansOfTwoProcessesMeetInOneTrace(t *testing.T) {
	before, first := recorded()
	after, second := recorded()
	_, s := before.Start(before.Call(t.Context(), callSID), "INVITE", Client)
	s.End()
	after.Root(callSID, time.Now()).End()

	child, root := first.Ended()[0], second.Ended()[0]
	if got := root.SpanContext().TraceID().String(); "CA"+got != callSID {
		t.Errorf("the trace is %s, want the digits of %s", got, callSID)
	}
	if child.SpanContext().TraceID() != root.SpanContext().TraceID() || child.Parent().SpanID() != root.SpanContext().SpanID() {
		t.Errorf("the child's parent is %v, the root is %v", child.Parent(), root.SpanContext())
	}
	if root.Parent().IsValid() {
		t.Errorf("the root has the parent %v", root.Parent())
	}
}

func TestWhatIsNoCallIsNotTraced(t *testing.T) {
	tr, r := recorded()
	for _, sid := range []string{"", "CA1", "CA" + strings.Repeat("x", 32), "CA" + strings.Repeat("0", 32)} {
		_, s := tr.Start(tr.Call(t.Context(), sid), "INVITE", Client)
		s.End()
		tr.Root(sid, time.Now()).End()
	}
	_, s := tr.Start(t.Context(), "fetch TwiML", Client) // nobody's
	s.End()
	if n := len(r.Ended()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestEndsOnce(t *testing.T) {
	tr, r := recorded()
	s := tr.Root(callSID, time.Now())
	s.End()
	s.End()
	if got := len(r.Ended()); got != 1 || tr.Stats().Ended != 1 {
		t.Errorf("%d spans, %d counted", got, tr.Stats().Ended)
	}
}

func TestInjectNamesTheSpan(t *testing.T) {
	tr, _ := recorded()
	_, s := tr.Start(tr.Call(t.Context(), callSID), "fetch TwiML", Client)
	h := http.Header{}
	s.Inject(h)
	id := trace.SpanContextFromContext(trace.ContextWithSpan(t.Context(), s.s)).SpanID()
	if got, want := h.Get("traceparent"), "00-"+callSID[2:]+"-"+id.String()+"-01"; got != want {
		t.Errorf("traceparent %q, want %q", got, want)
	}
}

// everything is what a call does to a tracer.
func everything(ctx context.Context, t *Tracer, h http.Header) {
	ctx = t.Call(ctx, callSID)
	t.About(ctx, callSID)
	ctx, s := t.Start(ctx, "Gather", Internal)
	s.Set("key", "value")
	s.SetInt("key", 1)
	s.Event("200")
	s.Inject(h)
	s.Fail("why")
	s.End()
	t.Carry(ctx, ctx)
	t.Root(callSID, time.Time{}).End()
}

func TestOffAllocatesNothing(t *testing.T) {
	h := http.Header{}
	if n := testing.AllocsPerRun(100, func() { everything(context.Background(), nil, h) }); n != 0 {
		t.Errorf("%v allocations with tracing off", n)
	}
	if len(h) != 0 {
		t.Errorf("headers %v with tracing off", h)
	}
}

func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	h, ctx := http.Header{}, context.Background()
	for b.Loop() {
		everything(ctx, nil, h)
	}
}

func BenchmarkOn(b *testing.B) {
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer hole.Close()
	tr, err := New(b.Context(), Config{Endpoint: "http://" + hole.Addr().String(), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	over, cancel := context.WithCancel(b.Context())
	cancel()
	defer tr.Close(over)
	b.ReportAllocs()
	h, ctx := http.Header{}, context.Background()
	for b.Loop() {
		everything(ctx, tr, h)
	}
}

// More spans than may wait, and a collector that takes connections and says nothing: they are dropped, and
// nobody waits. Without that the loop would take as long as the collector does.
func TestAFullQueueBlocksNobody(t *testing.T) {
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	tr, err := New(t.Context(), Config{Endpoint: "http://" + hole.Addr().String(), Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx := tr.Call(t.Context(), callSID)
	for range 3 * maxQueue {
		_, s := tr.Start(ctx, "Say", Internal)
		s.End()
	}
	if took := time.Since(began); took > maxSend/2 {
		t.Errorf("%d spans took %v", 3*maxQueue, took)
	}
	over, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began = time.Now()
	tr.Close(over)
	if took := time.Since(began); took > maxSend/2 {
		t.Errorf("Close took %v", took)
	}
	if st := tr.Stats(); st.Ended != 3*maxQueue || st.Exported != 0 {
		t.Errorf("%+v", st)
	}
}

func TestCheck(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"": true, Env: true, "http://127.0.0.1:4318": true, "https://collector.example/otlp/v1/traces": true,
		"localhost:4318": false, "grpc://localhost:4317": false, "http://": false, "on": false,
	} {
		if err := Check(endpoint); (err == nil) != ok {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
