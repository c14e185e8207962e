package sip

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
)

// nullMedia costs nothing: the benchmark is of signalling alone.
type nullMedia struct{}

type nullStream struct{ sdp []byte }

func (nullMedia) Open(netip.Addr, MediaSink) (MediaStream, error) {
	return nullStream{testSDP(1)}, nil
}
func (s nullStream) Offer() []byte                   { return s.sdp }
func (s nullStream) Answer([]byte) ([]byte, error)   { return s.sdp, nil }
func (nullStream) Accept([]byte) error               { return nil }
func (nullStream) Start()                            {}
func (nullStream) Play(*audio.Clip) <-chan struct{}  { return nil }
func (nullStream) PlayDigits(string) <-chan struct{} { return nil }
func (nullStream) Flush()                            {}
func (nullStream) Mute(bool)                         {}
func (nullStream) PutAside(*audio.Clip)              {}
func (nullStream) TakeBack()                         {}
func (nullStream) Loop(*audio.Clip)                  {}
func (nullStream) Hear(MediaStream)                  {}
func (nullStream) Secure()                           {}
func (nullStream) Hold() (on, sends bool)            { return false, false }
func (nullStream) Received() uint64                  { return 0 }
func (nullStream) Tap(audio.Tap) func()              { return func() {} }
func (nullStream) Close()                            {}

// BenchmarkCall is INVITE–200–ACK–BYE–200 between two endpoints of one process: both ends' cost in one figure.
// The CPU metric is process time, 64 calls are under way at once.
func BenchmarkCall(b *testing.B) {
	quiet := func(c *Config) { c.Media, c.Log = nullMedia{}, discard() }
	callee := start(b, func(c *Config) {
		quiet(c)
		c.OnInvite = func(l *Leg, _ call.InboundLeg) {
			go func() {
				_ = l.Answer()
				for range l.Events() {
				}
			}()
		}
	})
	caller := start(b, quiet)
	spec := call.OutboundLeg{Target: callee.uri("+15551234567"), From: "+15557654321"}
	slots := make(chan struct{}, 64)
	var failed int
	done, finished := make(chan bool), make(chan struct{})
	go func() {
		for range b.N {
			if !<-done {
				failed++
			}
			<-slots
		}
		close(finished)
	}()
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	for range b.N {
		slots <- struct{}{}
		l, err := caller.NewLeg(spec)
		if err != nil {
			b.Fatal(err)
		}
		l.Invite()
		go func() {
			answered := false
			for ev := range l.Events() {
				if _, ok := ev.(call.LegAnswered); ok {
					answered = true
					l.Hangup()
				}
			}
			done <- answered
		}()
	}
	<-finished
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-µs/call")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	if failed > 0 {
		b.Errorf("%d of %d calls failed", failed, b.N)
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkParty(b *testing.B) {
	u := sip.Uri{Scheme: "sip", User: "+15551234567", Host: "127.0.0.1"}
	b.ReportAllocs()
	for b.Loop() {
		party(&u)
	}
}

// What an INVITE costs that there is no room for.
func BenchmarkRefusal(b *testing.B) {
	e := start(b, func(c *Config) {
		c.Media, c.Log, c.Admit = nullMedia{}, discard(), func() bool { return false }
		c.MaxRate = 1e9
	})
	src := netip.MustParseAddrPort("127.0.0.1:5060")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		data := fmt.Appendf(nil, "INVITE sip:+15551234567@127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK%d;rport\r\n"+
			"Max-Forwards: 70\r\nFrom: <sip:+15557654321@127.0.0.1>;tag=%d\r\nTo: <sip:+15551234567@127.0.0.1:5070>\r\nCall-ID: %d@bench\r\n"+
			"CSeq: 1 INVITE\r\nContact: <sip:bench@127.0.0.1:5060>\r\nContent-Length: 0\r\n\r\n", n, n, n)
		m := read(data, false)
		if pass, reply, _ := e.gate(src, data, &m); pass || reply == nil {
			b.Fatal("not refused")
		}
	}
}
