package media

import (
	"cmp"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

const (
	pathLoss   = 0.03
	pathJitter = 60 * time.Millisecond
)

// keypad is a phone that presses random keys, each for 80 to 140 ms and after a pause as long.
type keypad struct {
	random *rand.Rand
	keys   []byte
	frames []framed // in the order they are sent, 20 ms apart but for the repeated ends of keys
}

type framed struct {
	at   time.Duration
	data []byte
}

func newKeypad(seed uint64, n int, events bool) *keypad {
	k := &keypad{random: rand.New(rand.NewPCG(seed, 1))}
	for range n {
		k.keys = append(k.keys, eventKeys[k.random.IntN(len(eventKeys))])
	}
	if events {
		k.pressEvents()
	} else {
		k.pressTones()
	}
	return k
}

func (k *keypad) length() time.Duration {
	return 80*time.Millisecond + time.Duration(k.random.IntN(60))*time.Millisecond
}

func (k *keypad) add(at time.Duration, pt uint8, ts uint32, payload []byte) {
	b := make([]byte, headerSize+len(payload))
	header{payloadType: pt, seq: uint16(65500 + len(k.frames)), timestamp: ts, ssrc: 7}.put(b)
	copy(b[headerSize:], payload)
	k.frames = append(k.frames, framed{at, b})
}

// pressTones presses the keys as sound, over a line that hums a little.
func (k *keypad) pressTones() {
	pcm := make([]int16, audio.SampleRate)
	for _, key := range k.keys {
		pcm = append(pcm, audio.DTMF(key, k.length())...)
		pcm = append(pcm, make([]int16, k.length()*audio.SampleRate/time.Second)...)
	}
	pcm = append(pcm, make([]int16, audio.SampleRate)...)
	for i := range pcm {
		pcm[i] += int16(k.random.NormFloat64() * 60)
	}
	for n := range len(pcm) / audio.FrameSamples {
		at := n * audio.FrameSamples
		k.add(time.Duration(n)*audio.FrameDuration, 0, uint32(at), audio.EncodeULaw(pcm[at:at+audio.FrameSamples]))
	}
}

// pressEvents presses them as telephone-events, the last packet of each three times, between frames of audio.
func (k *keypad) pressEvents() {
	frame := 0
	talk := func(until time.Duration) {
		for ; time.Duration(frame)*audio.FrameDuration < until; frame++ {
			k.add(time.Duration(frame)*audio.FrameDuration, 0, uint32(frame*audio.FrameSamples), silence[:])
		}
	}
	talk(time.Second)
	for _, key := range k.keys {
		number, _ := eventOf(key)
		packets := int(k.length() / audio.FrameDuration)
		began := uint32(frame * audio.FrameSamples)
		for i := range packets + 2 {
			var b [4]byte
			e := telephoneEvent{event: number, end: i >= packets-1, duration: uint16(min(i+1, packets) * audio.FrameSamples)}
			e.put(b[:])
			k.add(time.Duration(frame)*audio.FrameDuration, 101, began, b[:])
			if i < packets-1 {
				frame++
			}
		}
		frame++
		talk(time.Duration(frame)*audio.FrameDuration + k.length())
	}
	talk(time.Duration(frame+50) * audio.FrameDuration)
}

// relayed is the keypad's packets as a bad path brings them: some are lost, all are late, and they overtake each other.
func (k *keypad) relayed() (packets []packet) {
	for _, f := range k.frames {
		if k.random.Float64() < pathLoss {
			continue
		}
		late := time.Duration(k.random.Int64N(int64(pathJitter)))
		packets = append(packets, packet{data: f.data, from: netip.MustParseAddrPort("192.0.2.1:9"), at: int64(f.at + late + time.Millisecond)})
	}
	slices.SortStableFunc(packets, func(a, b packet) int { return cmp.Compare(a.at, b.at) })
	return packets
}

// pad is a Sink that writes down keys.
type pad struct{ keys []byte }

func (p *pad) Digit(key byte) { p.keys = append(p.keys, key) }
func (*pad) Timeout()         {}

// A thousand keys over a path that loses 3 % and delays the rest by up to 60 ms, on a clock that is turned by hand.
func TestEveryKeyIsHeardOverABadPath(t *testing.T) {
	seeds := uint64(3)
	if os.Getenv("OFFHOOK_PROOF") != "" {
		seeds = 20
	}
	for name, events := range map[string]bool{"RFC 4733": true, "in band": false} {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds {
				k := newKeypad(seed, 1000, events)
				packets := k.relayed()
				w, c, _ := handDriven(0)
				socket, heard := &schedule{wire: wire{clock: c}, coming: packets}, new(pad)
				f := &flow{stream: &Stream{}, sink: heard, rtp: socket, rtcp: &wire{clock: c}, started: true, described: true, reportIn: 1 << 30}
				f.setup = setup{packets: 1, mux: true}
				f.setup.kinds = [128]codec{0: pcmu, 101: event}
				f.source.signalled = netip.MustParseAddrPort("192.0.2.1:9")
				f.hearKeys(!events)
				w.add(f)
				run(w, c, k.frames[len(k.frames)-1].at+time.Second)
				compareKeys(t, heard.keys, k.keys)
			}
		})
	}
}

func compareKeys(t *testing.T, got, want []byte) {
	t.Helper()
	right := 0
	for right < min(len(got), len(want)) && got[right] == want[right] {
		right++
	}
	if right < len(want) || len(got) > len(want) {
		t.Errorf("%d keys heard, %d pressed; the first %d are right, then %q instead of %q",
			len(got), len(want), right, got[right:min(len(got), right+8)], want[right:min(len(want), right+8)])
	}
}

// A thousand keys over real sockets and in real time, fifty on each of twenty phones that press at once.
func TestEveryKeyIsHeardOverABadNetwork(t *testing.T) {
	if os.Getenv("OFFHOOK_PROOF") == "" {
		t.Skip("a machine that stalls breaks tones, as it should: OFFHOOK_PROOF=1 runs it where nothing else does")
	}
	for name, events := range map[string]bool{"RFC 4733": true, "in band": false} {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine(t, Config{})
			var phones sync.WaitGroup
			for seed := range uint64(20) {
				line := "m=audio PORT RTP/AVP 0"
				if events {
					line += " 101\r\na=rtpmap:101 telephone-event/8000"
				}
				p, ears := newPhone(t), newEars()
				p.call(e, ears, line)
				k := newKeypad(seed, 50, events)
				packets := k.relayed()
				phones.Go(func() {
					sendAll(t, p.rtp, p.to, packets)
					got := make([]byte, 0, len(k.keys))
					for more := true; more; {
						select {
						case key := <-ears.digits:
							got = append(got, key)
						case <-clock.System.NewTimer(time.Second).C():
							more = false
						}
					}
					compareKeys(t, got, k.keys)
				})
			}
			phones.Wait()
		})
	}
}

// sendAll sends packets when they are due.
func sendAll(t *testing.T, from *net.UDPConn, to netip.AddrPort, packets []packet) {
	began := clock.System.Now()
	for _, p := range packets {
		if err := clock.Sleep(t.Context(), clock.System, time.Duration(p.at)-clock.System.Now().Sub(began)); err != nil {
			return
		}
		if _, err := from.WriteToUDPAddrPort(p.data, to); err != nil {
			t.Error(err)
			return
		}
	}
}
