package media

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
)

func TestParseRTP(t *testing.T) {
	plain := []byte{0x80, 0x80, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef}
	with := func(first byte, rest ...byte) []byte {
		return append(append([]byte{first}, plain[1:]...), rest...)
	}
	for _, tt := range []struct {
		name    string
		packet  []byte
		payload []byte
		bad     bool
	}{
		{name: "no payload", packet: plain, payload: []byte{}},
		{name: "payload", packet: with(0x80, 1, 2, 3), payload: []byte{1, 2, 3}},
		{name: "CSRC", packet: with(0x81, 9, 9, 9, 9, 1), payload: []byte{1}},
		{name: "extension", packet: with(0x90, 0xbe, 0xde, 0, 1, 9, 9, 9, 9, 1), payload: []byte{1}},
		{name: "padding", packet: with(0xa0, 1, 0, 2), payload: []byte{1}},
		{name: "all padding", packet: with(0xa0, 0, 2), payload: []byte{}},
		{name: "empty", packet: nil, bad: true},
		{name: "short", packet: plain[:11], bad: true},
		{name: "version 1", packet: with(0x40), bad: true},
		{name: "CSRC missing", packet: with(0x82, 9, 9, 9, 9), bad: true},
		{name: "extension header missing", packet: with(0x90, 0xbe), bad: true},
		{name: "extension too long", packet: with(0x90, 0xbe, 0xde, 0xff, 0xff, 9), bad: true},
		{name: "padding of zero", packet: with(0xa0, 1, 0), bad: true},
		{name: "padding too long", packet: with(0xa0, 1, 3), bad: true},
		{name: "padding without octets", packet: with(0xa0), bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, payload, err := parseRTP(tt.packet)
			if tt.bad {
				if err == nil {
					t.Fatalf("accepted: %+v", h)
				}
				return
			}
			if err != nil || !bytes.Equal(payload, tt.payload) {
				t.Fatalf("payload %v, error %v; want %v", payload, err, tt.payload)
			}
			if want := (header{true, 0, 0x1234, 160, 0xdeadbeef}); h != want {
				t.Errorf("header %+v, want %+v", h, want)
			}
		})
	}
}

func FuzzParseRTP(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4, 0xff, 0xff})
	f.Add([]byte{0xb1, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4, 0, 0, 0, 0, 0xbe, 0xde, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		h, payload, err := parseRTP(p)
		if err != nil {
			return
		}
		var ref rtp.Packet // a second reader must see the same
		if err := ref.Unmarshal(p); err == nil && ref.Extensions == nil {
			if ref.SequenceNumber != h.seq || ref.Timestamp != h.timestamp || ref.SSRC != h.ssrc || ref.Marker != h.marker || !bytes.Equal(ref.Payload, payload) {
				t.Errorf("%x: %+v %x, pion says %+v", p, h, payload, ref)
			}
		}
		out := make([]byte, headerSize)
		h.put(out)
		if again, _, err := parseRTP(out); err != nil || again != h {
			t.Errorf("%+v became %+v (%v)", h, again, err)
		}
	})
}
