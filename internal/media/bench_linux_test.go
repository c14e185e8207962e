package media

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// deaf is a Sink that hears nothing.
type deaf struct{}

func (deaf) Digit(byte) {}
func (deaf) Timeout()   {}

// BenchmarkFrame is what one leg costs a frame, apart from waking up: one packet sent, one received.
// 1 µs is 0.5 % of a core per 100 legs.
func BenchmarkFrame(b *testing.B) {
	for _, portable := range []bool{false, true} {
		b.Run(fmt.Sprintf("portable=%v", portable), func(b *testing.B) {
			e := newTestEngine(b, Config{Workers: 1, Portable: portable})
			p := newPhone(b)
			s := p.call(e, deaf{})
			p.talk(1)
			p.read()
			w, f := s.worker.Load(), s.flow
			b.ReportAllocs()
			tell(b, s, func(f *flow) { f.play.add(item{clip: audio.Silence(time.Hour), done: make(chan struct{})}) })
			done := make(chan struct{})
			w.post(func() {
				defer close(done)
				for i := int64(0); b.Loop(); i++ {
					w.receive(f)
					w.transmit(f, i)
				}
			})
			<-done
		})
	}
}

// BenchmarkPlay plays to N streams for a second an iteration, and reports CPU per 100 legs (the
// sending side's, kernel included), how regular the packets are by the receiver's kernel, and memory.
func BenchmarkPlay(b *testing.B) {
	for _, n := range []int{300, 1000} {
		for _, portable := range []bool{false, true} {
			b.Run(fmt.Sprintf("streams=%d/portable=%v", n, portable), func(b *testing.B) { benchmarkPlay(b, n, portable) })
		}
	}
}

func benchmarkPlay(b *testing.B, n int, portable bool) {
	e := newTestEngine(b, Config{Portable: portable})
	receiver, err := openRaw(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		b.Fatal(err)
	}
	raw := receiver.(*rawSocket)
	defer func() { _ = raw.close() }()
	_ = unix.SetsockoptInt(raw.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	name, err := unix.Getsockname(raw.fd)
	if err != nil {
		b.Fatal(err)
	}
	offer := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n", name.(*unix.SockaddrInet4).Port)
	clip := audio.Silence(time.Hour)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		s, err := e.Open(netip.MustParseAddr("127.0.0.1"), deaf{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Answer([]byte(offer)); err != nil {
			b.Fatal(err)
		}
		s.Start()
		s.Play(clip)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)

	stop, gaps := make(chan struct{}), make(chan []time.Duration)
	var own time.Duration
	start := cpuTime(unix.RUSAGE_SELF)
	began := clock.System.Now()
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		used := cpuTime(unix.RUSAGE_THREAD)
		g := readGaps(raw, stop)
		own = cpuTime(unix.RUSAGE_THREAD) - used
		gaps <- g
	}()
	for b.Loop() {
		_ = clock.Sleep(context.Background(), clock.System, time.Second)
	}
	close(stop)
	g := <-gaps
	used := cpuTime(unix.RUSAGE_SELF) - start - own
	share := used.Seconds() / clock.System.Now().Sub(began).Seconds()
	b.ReportMetric(share*100/float64(n)*100, "%core/100legs")
	if slices.Sort(g); len(g) > 0 {
		b.ReportMetric(g[len(g)*99/100].Seconds()*1000, "gap-p99-ms")
		b.ReportMetric(g[len(g)*999/1000].Seconds()*1000, "gap-p99.9-ms")
	}
	b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/float64(n)/1024, "KiB/leg")
}

func cpuTime(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// readGaps reads s every 2 ms and returns the times between two packets of one stream.
func readGaps(s *rawSocket, stop <-chan struct{}) (gaps []time.Duration) {
	b, last := new(batch), map[uint16]int64{}
	for {
		for s.recv(b, batchSize) == batchSize {
			for i := range b.packets {
				p := &b.packets[i]
				if prev := last[p.from.Port()]; prev != 0 {
					gaps = append(gaps, time.Duration(p.at-prev))
				}
				last[p.from.Port()] = p.at
			}
		}
		select {
		case <-stop:
			return gaps
		case <-clock.System.NewTimer(2 * time.Millisecond).C():
		}
	}
}
