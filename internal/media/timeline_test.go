package media

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/recording"
)

func TestPlacesFollowTheTimeStampsWhateverIsLate(t *testing.T) {
	var l timeline
	const base = 4294960000 // it comes round
	r := rand.New(rand.NewPCG(1, 2))
	for i := range uint32(500) {
		late := int64(i * i % 13) // up to 1.5 ms
		if i > 30 && r.IntN(5) == 0 {
			late = r.Int64N(3500) // nearly half a second
		}
		if at := l.place(7, base+i*160, 1000+int64(i)*160+late, false); at < 1000+int64(i)*160-1 || at > 1000+int64(i)*160+1 {
			t.Fatalf("packet %d is at %d, %d too late", i, at, at-1000-int64(i)*160)
		}
	}
}

func TestASenderThatPausesOrBeginsAnewIsFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		ts, arrived int64 // how far both jump in the midst
		ssrc        uint32
		packets     int // until it is right again
	}{
		"an SSRC":                      {1 << 30, 160, 9, 0},
		"time stamps behind":           {-20000, 160, 7, 0},
		"time stamps far ahead":        {1 << 30, 160, 7, 0},
		"a pause that it did not note": {160, 160 + 2000, 7, timelineWindow},
		"a long one":                   {160, 160 + 5000, 7, 5},
		"a longer one":                 {160, 160 + 50000, 7, 0},
		"a pause that it noted":        {160 * 500, 160 * 500, 7, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var l timeline
			ts, arrived := int64(500), int64(9000)
			for range 100 {
				l.place(7, uint32(ts), arrived, false)
				ts, arrived = ts+160, arrived+160
			}
			ts, arrived = ts+c.ts-160, arrived+c.arrived-160
			for i := range 200 {
				at := l.place(c.ssrc, uint32(ts), arrived, false)
				if off := at - arrived; i >= c.packets && (off < -timelineSlack || off > timelineSlack) {
					t.Fatalf("packet %d is %d samples off", i, off)
				}
				ts, arrived = ts+160, arrived+160
			}
		})
	}
}

// A network that stands still for 0.8 s and then brings all at once moves nothing.
func TestANetworkThatStandsStill(t *testing.T) {
	var l timeline
	for i := range int64(200) {
		arrived := i * 160
		if i >= 100 && i < 140 {
			arrived = 140 * 160
		}
		if at := l.place(7, uint32(i*160), 1000+arrived, false); at != 1000+i*160 {
			t.Fatalf("packet %d is %d samples off", i, at-1000-i*160)
		}
	}
}

func TestAnOldWorkerKnowsTheTime(t *testing.T) {
	w, c, _ := handDriven(1)
	const frames = int64(10 * 365 * 24 * time.Hour / audio.FrameDuration)
	f := &flow{slot: 7}
	c.now = w.time(frames*slots + 7)
	if got := f.arrived(w, 0); got != frames*audio.FrameSamples {
		t.Errorf("after ten years it is %d, want %d", got, frames*audio.FrameSamples)
	}
	if got := f.arrived(w, c.now.Add(-time.Second).UnixNano()); got != frames*audio.FrameSamples-audio.SampleRate {
		t.Errorf("a second before it is %d", got)
	}
}

// A stream that moves to another worker, and there to another slot, keeps its places.
func TestAStreamThatMovesKeepsItsTime(t *testing.T) {
	w, c, _ := handDriven(5)
	var f *flow
	for _, list := range w.flows {
		if len(list) > 0 {
			f = list[0]
		}
	}
	place := func(frame int64) (at, want int64) {
		c.now = w.epoch.Add(time.Duration(frame) * audio.FrameDuration)
		at = f.said.place(7, uint32(frame*audio.FrameSamples), f.arrived(w, 0), false)
		return at, frame*audio.FrameSamples - int64(f.slot)*slotSamples
	}
	for frame := range int64(100) {
		place(100 + frame)
	}
	old := f.slot
	w.take(f)
	w.slot = int64(old)
	w.add(f)
	if f.slot == old {
		t.Fatal("it has its old slot")
	}
	if at, want := place(200); at != want {
		t.Errorf("it is at %d, want %d", at, want)
	}
}

// A first packet that came late does not keep what follows late for ever: that is made good where nobody speaks, and
// elsewhere so slowly that nobody hears it.
func TestAFirstPacketThatIsLate(t *testing.T) {
	for _, silent := range []bool{false, true} {
		var l timeline
		for i := range int64(1200) {
			late := int64(0)
			if i == 0 {
				late = 600
			}
			at := l.place(7, uint32(i*160), 5000+i*160+late, silent)
			off, limit := at-5000-i*160, int64(1100)
			if silent {
				limit = 6
			}
			if off < -timelineSlack || i >= limit && off > timelineSlack {
				t.Errorf("silent %v: packet %d is %d samples off", silent, i, off)
			}
		}
	}
}

// What a silent packet makes good is cut from silence alone, never from the word before it.
func TestAPauseDoesNotCutTheWordBeforeIt(t *testing.T) {
	var l timeline
	wordEnds := int64(0)
	for i := range int64(50) {
		late, silent := int64(400), i >= 20 // after the word it is known that all came late
		if silent {
			late = 0
		}
		at := l.place(7, uint32(i*160), 5000+i*160+late, silent)
		if !silent {
			wordEnds = at + 160
		} else if at < wordEnds-maxSlip {
			t.Fatalf("packet %d begins %d samples before the word ends", i, wordEnds-at)
		}
		if off := at - 5000 - i*160; i > 25 && off > timelineSlack {
			t.Errorf("packet %d is %d samples off", i, off)
		}
	}
}

// party is a socket to which a phone sends whose clock is off, through a network that delays, reorders and loses.
type party struct {
	clock  *handClock
	ppm    float64
	sent   int64 // packets
	onWay  []arrival
	random *rand.Rand
	lost   int
}

type arrival struct {
	at   int64 // ns
	data []byte
}

var partyAddr = netip.MustParseAddrPort("192.0.2.1:9")

const (
	transit = 30 * time.Millisecond
	// between is how far apart the marks are, and mark how long one is.
	between = time.Minute
	mark    = 100 * time.Millisecond
)

func (p *party) send([]byte, netip.AddrPort) error { return nil }
func (p *party) connect(netip.AddrPort) error      { return nil }
func (p *party) disconnect() error                 { return nil }
func (p *party) close() error                      { return nil }

// recv brings what has arrived by now. The phone says mark at every full minute of true time.
func (p *party) recv(b *batch, limit int) (n int) {
	now := p.clock.now.UnixNano()
	for {
		began := time.Duration(float64(p.sent) * float64(audio.FrameDuration) / (1 + p.ppm*1e-6))
		if int64(began+audio.FrameDuration) > now {
			break
		}
		data := make([]byte, headerSize+audio.FrameSamples)
		header{payloadType: 0, ssrc: 7, seq: uint16(p.sent), timestamp: uint32(p.sent * audio.FrameSamples)}.put(data)
		marked := false
		for i := range audio.FrameSamples {
			data[headerSize+i] = audio.ULawSilence
			said := began + time.Duration(i)*time.Second/audio.SampleRate
			if said >= between && said%between < mark {
				data[headerSize+i], marked = markSample, true
			}
		}
		p.sent++
		if !marked && p.random.IntN(50) == 0 {
			p.lost++
			continue
		}
		late := time.Duration(p.random.ExpFloat64() * float64(5*time.Millisecond))
		p.onWay = append(p.onWay, arrival{int64(began + audio.FrameDuration + transit + min(late, 80*time.Millisecond)), data})
		slices.SortStableFunc(p.onWay, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	}
	for n < limit && len(p.onWay) > 0 && p.onWay[0].at <= now {
		b.packets[n] = packet{data: p.onWay[0].data, from: partyAddr, at: p.onWay[0].at}
		p.onWay = p.onWay[1:]
		n++
	}
	return n
}

const markSample = 0x30 // any loud one

// spooled brings the sound of a stream into a recording.
type spooled struct{ *recording.Writer }

func (s spooled) Write(track int, at int64, ulaw []byte) {
	if ulaw != nil {
		s.Writer.Write(track, at, ulaw)
	}
}

func (s spooled) Tick(at int64, sent []byte, _ int64) {
	s.Writer.Write(audio.Outbound, at, sent)
	s.Writer.Write(0, at+audio.FrameSamples, nil)
}

// An hour of a conversation on a clock of our own: the two channels stay together, though the phone's clock runs
// faster or slower than ours and packets are late and lost.
func TestAnHourOfRecordingDoesNotDrift(t *testing.T) {
	for _, ppm := range []float64{0, 50, -50} {
		t.Run(fmt.Sprint(ppm, " ppm"), func(t *testing.T) {
			t.Parallel()
			recorder, err := recording.New(recording.Config{Dir: t.TempDir(), Queue: 1 << 14})
			if err != nil {
				t.Fatal(err)
			}
			defer recorder.Close()
			spool, err := recorder.Start(recording.Spec{SID: "RE1", Channels: 2})
			if err != nil {
				t.Fatal(err)
			}
			w, c, _ := handDriven(0)
			phone := &party{clock: c, ppm: ppm, random: rand.New(rand.NewPCG(1, uint64(ppm)))}
			s := &Stream{mail: make(chan command, 1)}
			f := &flow{stream: s, rtp: phone, rtcp: &wire{clock: c}, started: true, described: true, reportIn: 1 << 30}
			f.setup = setup{send: true, audio: format{0, pcmu}, packets: 1, mux: true}
			f.setup.kinds = [128]codec{pcmu}
			f.source.signalled = partyAddr
			f.tapped = &tapped{tap: spooled{spool}}
			w.add(f)
			beep := clipOf(markSample, markSample, markSample, markSample, markSample)
			for frame := range int64(time.Hour / audio.FrameDuration) {
				if d := time.Duration(frame) * audio.FrameDuration; d >= between && d%between == 0 {
					f.play.add(item{clip: beep, done: make(chan struct{})})
				}
				for range slots {
					c.now = c.now.Add(slotDuration)
					w.work()
				}
			}
			res := spool.Stop(t.Context())
			if res.Err != nil || res.Lost != 0 {
				t.Fatalf("%+v", res)
			}
			if got := recorder.Stats().Late; got != 0 {
				t.Errorf("%d samples were late", got)
			}
			if d := time.Duration(res.Samples) * time.Second / recording.Rate; d < time.Hour-audio.FrameDuration || d > time.Hour+audio.FrameDuration {
				t.Errorf("it lasts %v", d)
			}
			file, err := os.Open(res.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			least, most := time.Hour, -time.Hour
			for m := between; m < time.Hour; m += between {
				in, out := edge(t, file, m, 0), edge(t, file, m, 1)
				if in == 0 || out == 0 {
					t.Fatalf("no mark at %v", m)
				}
				if off := out - m; off < -audio.FrameDuration || off > audio.FrameDuration {
					t.Errorf("what we said at %v is at %v", m, out)
				}
				least, most = min(least, in-out), max(most, in-out)
			}
			t.Logf("what both said at once is %v to %v apart; %d of %d packets were lost", least, most, phone.lost, phone.sent)
			if most-least >= 20*time.Millisecond {
				t.Errorf("the channels drift from %v to %v apart", least, most)
			}
		})
	}
}

// edge is where a channel of a spool has its mark about that time, 0 when it has none.
func edge(t *testing.T, file io.ReaderAt, about time.Duration, channel int) time.Duration {
	t.Helper()
	const header = 58
	from := int64((about - time.Second) * recording.Rate / time.Second)
	b := make([]byte, 2*2*recording.Rate)
	if _, err := file.ReadAt(b, header+2*from); err != nil {
		t.Fatal(err)
	}
	for i := channel; i < len(b); i += 2 {
		if b[i] == markSample {
			return time.Duration(from+int64(i/2)) * time.Second / recording.Rate
		}
	}
	return 0
}
