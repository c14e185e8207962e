package media

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// outlet is a socket that keeps what is sent.
type outlet struct{ sent [][]byte }

func (o *outlet) recv(*batch, int) int         { return 0 }
func (o *outlet) connect(netip.AddrPort) error { return nil }
func (o *outlet) disconnect() error            { return nil }
func (o *outlet) close() error                 { return nil }
func (o *outlet) send(p []byte, _ netip.AddrPort) error {
	o.sent = append(o.sent, append([]byte(nil), p...))
	return nil
}

// listening is a flow whose party hears another one, without an engine.
func listening(tones *tones) (w *worker, f *flow, out *outlet) {
	w, out = newWorker(clock.System, nil, clock.System.Now()), new(outlet)
	f = &flow{
		worker: w, stream: new(Stream), sink: newEars(), rtp: out, rtcp: new(outlet),
		started: true, described: true, play: playout{tones: tones},
		setup: setup{send: true, event: format{codec: event, pt: 101}, packets: 1},
		ssrc:  rand.Uint32(), seq: uint16(rand.Uint32()), tsBase: rand.Uint32(),
	}
	f.setup.audio.codec = pcmu
	f.source.signal(netip.MustParseAddrPort("127.0.0.1:4000"))
	f.hear(&flow{worker: w})
	return w, f, out
}

// talker is a source of packets that lets some of them be lost, late and doubled.
type talker struct {
	h    header
	kind codec // of the last one
	id   uint32
	lost []heldBack
}

type heldBack struct {
	h  header
	id uint32
}

func (s *talker) next(n uint16) {
	for range n {
		s.h.seq++
		s.h.timestamp += audio.FrameSamples
		s.id++
		s.kind = pcmu
		if n > 1 {
			s.lost = append(s.lost, heldBack{s.h, s.id})
		}
	}
}

// Whatever comes from the other party, in whatever order: no number is sent twice with different content, and what
// is not late itself never goes back, in number or time stamp.
func FuzzRelayedNumbers(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 6, 6, 0, 7, 0, 8, 0, 9, 0, 10, 11, 0, 12, 0})
	f.Add([]byte{0, 1, 7, 2, 0, 1, 1, 9, 2, 2, 2})
	f.Add([]byte{8, 8, 0, 8, 0, 8, 2, 0, 1, 0, 8, 2})
	tones := makeTones()
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 500 {
			return
		}
		w, flow, out := listening(tones)
		src := talker{kind: pcmu, h: header{ssrc: 1, seq: 65530, timestamp: 1<<32 - 500}}
		key := header{ssrc: 2, seq: 9, timestamp: 77}
		frame := int64(0)
		content := map[uint16][]byte{}
		var last header
		var lastAudio uint32
		audible := false
		check := func(op byte, late bool) {
			t.Helper()
			for _, p := range out.sent {
				h, payload, err := parseRTP(p)
				if err != nil {
					t.Fatal(err)
				}
				if was, ok := content[h.seq]; ok && string(was) != string(payload) {
					t.Fatalf("op %d: number %d went to two packets", op, h.seq)
				}
				content[h.seq] = append([]byte(nil), payload...)
				if !late && last.ssrc != 0 && int16(h.seq-last.seq) <= 0 {
					t.Fatalf("op %d: number %d after %d", op, h.seq, last.seq)
				}
				if !late && h.payloadType == 0 {
					if audible && int32(h.timestamp-lastAudio) <= 0 {
						t.Fatalf("op %d: time stamp %d after %d", op, h.timestamp, lastAudio)
					}
					lastAudio, audible = h.timestamp, true
				}
				if last.ssrc == 0 || int16(h.seq-last.seq) > 0 {
					last = h
				}
			}
			out.sent = out.sent[:0]
		}
		hear := func(h header, kind codec, id uint32) {
			payload := make([]byte, audio.FrameSamples)
			binary.BigEndian.PutUint32(payload, id)
			if kind == event {
				payload = payload[:4]
			}
			flow.pass(w, h, kind, payload)
		}
		for i, op := range ops {
			late := false
			switch op % 14 {
			case 0:
				src.next(1)
				hear(src.h, pcmu, src.id)
			case 1: // some are lost
				src.next(2 + uint16(op)%7)
				src.lost = src.lost[:len(src.lost)-1]
				hear(src.h, pcmu, src.id)
			case 2: // and come late
				if n := len(src.lost); n > 0 && src.lost[n-1].h.ssrc == src.h.ssrc && src.h.seq-src.lost[n-1].h.seq < maxMisorder {
					late = true
					hear(src.lost[n-1].h, pcmu, src.lost[n-1].id)
					src.lost = src.lost[:n-1]
				}
			case 3: // a duplicate
				late = true
				hear(src.h, src.kind, src.id)
			case 4: // another source
				src.h.ssrc += 2
				src.h.seq, src.h.timestamp = src.h.seq*31+7, src.h.timestamp*17+3
				src.lost = nil
				src.next(1)
				hear(src.h, pcmu, src.id)
			case 5: // the same one begins anew
				src.h.seq += 20000
				src.h.timestamp -= 1 << 20
				src.lost = nil
				src.next(1)
				hear(src.h, pcmu, src.id)
			case 6: // time passes
				frame++
				flow.transmit(w, frame)
			case 7: // something plays
				flow.play.add(item{clip: clipOf(i), done: make(chan struct{})})
				frame++
				flow.transmit(w, frame)
			case 8: // a key of a source of its own
				key.seq++
				src.id++
				hear(key, event, src.id)
			case 9: // a key of the same source
				src.h.seq++
				src.id++
				src.kind = event
				hear(src.h, event, src.id)
			case 10: // a pause
				for range relayGap + 2 {
					frame++
					flow.transmit(w, frame)
				}
				src.h.timestamp += audio.FrameSamples * (relayGap + 2)
			case 11: // its clock jumps
				src.h.timestamp += uint32(op) << 16
				src.next(1)
				hear(src.h, pcmu, src.id)
			case 12: // or goes back
				src.h.timestamp -= 5000
				src.next(1)
				hear(src.h, pcmu, src.id)
			case 13:
				key.timestamp += 800
			}
			check(op%14, late)
		}
	})
}
