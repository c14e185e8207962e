package media

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/offhook/offhook/internal/clock"
)

// handClock is set by hand.
type handClock struct {
	clock.Clock
	now time.Time
}

func (c *handClock) Now() time.Time { return c.now }

// stillWaiter is for a worker that a test drives itself.
type stillWaiter struct{ waiter }

func (stillWaiter) wake() {}

// wire is a socket that keeps what is sent.
type wire struct {
	socket
	clock *handClock
	sent  []header
	at    []time.Duration
}

func (w *wire) recv(*batch, int) int { return 0 }

func (w *wire) send(p []byte, _ netip.AddrPort) error {
	h, _, err := parseRTP(p)
	w.sent = append(w.sent, h)
	w.at = append(w.at, w.clock.now.Sub(time.Unix(0, 0)))
	return err
}

// handDriven is a worker on a hand-set clock, and a stream that it sends.
func handDriven(streams int) (*worker, *handClock, []*wire) {
	c := &handClock{now: time.Unix(0, 0)}
	w := newWorker(c, stillWaiter{}, c.now)
	var wires []*wire
	for range streams {
		wire := &wire{clock: c}
		s := &Stream{mail: make(chan command, 1)}
		f := &flow{stream: s, rtp: wire, rtcp: wire, play: playout{}, started: true, described: true}
		f.setup = setup{send: true, audio: format{0, pcmu}, packets: 1}
		f.source.signalled = netip.MustParseAddrPort("192.0.2.1:9")
		f.reportIn = 1 << 30
		w.add(f)
		wires = append(wires, wire)
	}
	return w, c, wires
}

func TestWorkerPacesOnAnAbsoluteClock(t *testing.T) {
	w, c, wires := handDriven(1)
	for _, late := range []int{0, 300, 5000, 0, 12000, 100} { // µs; none adds up
		c.now = w.time(w.nextBusy()).Add(time.Duration(late) * time.Microsecond)
		w.work()
		c.now = w.time(w.nextBusy())
		w.work()
	}
	for i, at := range wires[0].at {
		due := time.Duration(3+20*i) * time.Millisecond
		if at < due || at > due+13*time.Millisecond {
			t.Errorf("packet %d at %v, due at %v", i, at, due)
		}
	}
	if len(wires[0].at) < 5 {
		t.Errorf("%d packets", len(wires[0].at))
	}
}

func TestWorkerCatchesUp(t *testing.T) {
	w, c, wires := handDriven(1)
	c.now = c.now.Add(110 * time.Millisecond) // a pause of five frames
	w.work()
	if n := len(wires[0].sent); n != 6 {
		t.Errorf("%d packets after 110 ms", n)
	}
	for i, h := range wires[0].sent[1:] {
		if h.timestamp-wires[0].sent[i].timestamp != 160 || h.seq-wires[0].sent[i].seq != 1 {
			t.Errorf("packet %+v after %+v", h, wires[0].sent[i])
		}
	}
	if w.count.skipped.Load() != 0 {
		t.Error("frames were skipped")
	}
}

func TestWorkerLeavesOutFramesAfterALongStop(t *testing.T) {
	w, c, wires := handDriven(1)
	c.now = w.time(w.nextBusy())
	for len(wires[0].sent) == 0 {
		c.now = w.time(w.nextBusy())
		w.work()
	}
	c.now = c.now.Add(time.Hour + 7*time.Millisecond)
	w.work()
	if n := len(wires[0].sent); n > 3 {
		t.Errorf("%d packets at once after an hour", n)
	}
	c.now = w.time(w.nextBusy() + slots)
	w.work()
	first, last := wires[0].sent[0], wires[0].sent[len(wires[0].sent)-1]
	if d := last.timestamp - first.timestamp; d < 3600*8000 || d > 3600*8000+480 || last.seq-first.seq > 4 {
		t.Errorf("last %+v, first %+v", last, first)
	}
	markers := 0
	for _, h := range wires[0].sent {
		if h.marker {
			markers++
		}
	}
	if markers != 2 {
		t.Errorf("%d markers, want one at the start and one after the stop", markers)
	}
}

func TestStreamsAreSpreadOverTheSlots(t *testing.T) {
	w, c, wires := handDriven(3 * slots)
	for slot := range w.flows {
		if n := len(w.flows[slot]); n != 3 {
			t.Errorf("%d streams in slot %d", n, slot)
		}
	}
	for range slots {
		c.now = w.time(w.nextBusy())
		w.work()
	}
	var at []time.Duration
	for _, wire := range wires {
		at = append(at, wire.at...)
	}
	slices.Sort(at)
	if len(at) != 3*slots || at[0] == at[len(at)-1] {
		t.Errorf("%d packets in a frame, from %v to %v", len(at), at[0], at[len(at)-1])
	}
}

func closed(t *testing.T, w waiter) {
	t.Helper()
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

func TestWaitersWaitAndWake(t *testing.T) {
	system, err := newWaiter(clock.System)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]waiter{"system": system, "clock": newClockWaiter(clock.System)} {
		t.Run(name, func(t *testing.T) {
			defer closed(t, w)
			for range 5 {
				until := clock.System.Now().Add(3 * time.Millisecond)
				w.wait(until)
				if early := until.Sub(clock.System.Now()); early > 0 {
					t.Errorf("%v early", early)
				}
			}
			w.wait(clock.System.Now().Add(-time.Second))
			w.wake()
			w.wake()
			w.wait(time.Time{}) // would hang
			var sleepers sync.WaitGroup
			sleepers.Go(func() { w.wait(time.Time{}) })
			w.wake()
			sleepers.Wait()
			sleepers.Go(func() { w.wait(clock.System.Now().Add(time.Hour)) })
			w.wake()
			sleepers.Wait()
		})
	}
}

func TestWakesAreNotLost(t *testing.T) {
	w, err := newWaiter(clock.System)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, w)
	asked, done := make(chan int, 1), make(chan int)
	go func() {
		defer close(done)
		for n := 0; n < 5000; {
			select {
			case n = <-asked:
				done <- n
			default:
				w.wait(time.Time{})
			}
		}
	}()
	for i := 1; i <= 5000; i++ {
		asked <- i
		w.wake()
		select {
		case <-done:
		case <-clock.System.NewTimer(patience).C():
			t.Fatal("wake lost at", i)
		}
	}
	<-done
}

// toldWaiter tells what a worker waits for, and returns when woken.
type toldWaiter struct {
	waits chan time.Time
	woken chan struct{}
}

func (w *toldWaiter) wait(until time.Time) { w.waits <- until; <-w.woken }
func (w *toldWaiter) wake()                { w.woken <- struct{}{} }
func (*toldWaiter) close() error           { return nil }

func TestNoTicksWithoutStreams(t *testing.T) {
	_, c, _ := handDriven(0)
	told := &toldWaiter{make(chan time.Time), make(chan struct{}, 1)}
	w := newWorker(c, told, c.now)
	f := &flow{stream: &Stream{mail: make(chan command, 1)}}
	go w.run()
	if until := <-told.waits; !until.IsZero() {
		t.Errorf("without streams it waits until %v", until)
	}
	w.post(func() { w.add(f) })
	if until := <-told.waits; until != c.now.Add(slotDuration) { // to be read; sent 2 ms later
		t.Errorf("with one it waits until %v", until)
	}
	w.post(func() { w.flows[f.slot], w.n = nil, 0 })
	if until := <-told.waits; !until.IsZero() {
		t.Errorf("after it was closed it waits until %v", until)
	}
	w.post(func() { w.exit = true })
	<-w.stopped
}

func TestCollector(t *testing.T) {
	e := newTestEngine(t, Config{})
	p := newPhone(t)
	s := p.call(e, newEars())
	p.talk(3)
	p.read()
	tell(t, s, func(f *flow) { f.receive(f.worker) })
	s.Close()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(e); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*dto.Metric{}
	for _, f := range families {
		got[strings.TrimPrefix(f.GetName(), "offhook_media_")] = f.GetMetric()[0]
	}
	if n := got["packets_received_total"].GetCounter().GetValue(); n != 3 {
		t.Errorf("received %v", n)
	}
	if n := got["streams"].GetGauge().GetValue(); n != 0 {
		t.Errorf("streams %v", n)
	}
	if h := got["tick_late_seconds"].GetHistogram(); h.GetSampleCount() == 0 || len(h.GetBucket()) != len(bounds) {
		t.Errorf("late ticks %v", h)
	}
	if h := got["jitter_seconds"].GetHistogram(); h.GetSampleCount() != 1 {
		t.Errorf("jitter %v", h)
	}
}

func TestHistogramQuantile(t *testing.T) {
	var h histogram
	for i := range 100 {
		h.observe(time.Duration(i) * 100 * time.Microsecond)
	}
	m := merge([]*histogram{&h, {}})
	if m.Count != 100 || m.Quantile(0.5) != 5*time.Millisecond || m.Quantile(0.99) != 10*time.Millisecond {
		t.Errorf("%+v", m)
	}
}

func TestLateCountsTicksBeyondHalfAFrame(t *testing.T) {
	w, c, _ := handDriven(1)
	e := &Engine{workers: []*worker{w, newWorker(c, stillWaiter{}, c.now)}}
	for _, behind := range []time.Duration{0, 9 * time.Millisecond, 11 * time.Millisecond, 150 * time.Millisecond} {
		late, ticks := e.Late()
		k := w.nextBusy()
		c.now = w.time(k).Add(behind)
		w.work()
		nowLate, nowTicks := e.Late()
		if nowTicks == ticks {
			t.Fatalf("%v behind: no tick was counted", behind)
		}
		if got, want := nowLate > late, behind > 10*time.Millisecond; got != want {
			t.Errorf("%v behind: counted as late %v, want %v", behind, got, want)
		}
	}
}
