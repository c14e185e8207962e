package media

import "testing"

// keyPacket is one telephone-event packet as a test writes it.
type keyPacket struct {
	ts       uint32
	key      byte
	duration uint16
	end      bool
}

func TestKeyReader(t *testing.T) {
	var wrap uint32 = 1<<32 - 80
	for _, tt := range []struct {
		name    string
		packets []keyPacket
		want    string
	}{
		{"one key", []keyPacket{{0, '5', 160, false}, {0, '5', 320, false}, {0, '5', 480, true}, {0, '5', 480, true}, {0, '5', 480, true}}, "5"},
		{"reported when it goes down", []keyPacket{{0, '5', 0, false}}, "5"},
		{"end packets lost", []keyPacket{{0, '1', 160, false}, {1600, '2', 160, false}}, "12"},
		{"start packets lost", []keyPacket{{0, '#', 800, true}, {0, '#', 800, true}}, "#"},
		{"same key again", []keyPacket{{0, '7', 800, true}, {1600, '7', 160, false}}, "77"},
		{"same key again, first end lost", []keyPacket{{0, '7', 640, false}, {1600, '7', 160, false}}, "77"},
		{"reordered end of the key before", []keyPacket{{0, '1', 800, false}, {1600, '2', 160, false}, {0, '1', 800, true}}, "12"},
		{"update after the end", []keyPacket{{0, '1', 800, true}, {0, '1', 640, false}}, "1"},
		{"timestamps wrap", []keyPacket{{wrap, '1', 800, true}, {wrap + 1600, '2', 800, true}, {wrap, '1', 800, true}}, "12"},
		{"timestamps start anew", []keyPacket{{900_000, '1', 800, true}, {0, '2', 800, true}}, "12"},
		{"held over a segment", []keyPacket{{0, '1', 0xFFFF, false}, {0xFFFF, '1', 160, false}, {0xFFFF, '1', 320, true}, {70_000, '1', 160, false}}, "11"},
		{"all keys", []keyPacket{{0, '*', 1, true}, {800, 'A', 1, true}, {1600, 'D', 1, true}, {2400, '0', 1, true}}, "*AD0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r keyReader
			got := ""
			for _, p := range tt.packets {
				e, _ := eventOf(p.key)
				var b [4]byte
				telephoneEvent{event: e, end: p.end, volume: 10, duration: p.duration}.put(b[:])
				parsed, err := parseEvent(b[:])
				if err != nil {
					t.Fatal(err)
				}
				if key, down := r.packet(p.ts, parsed); down {
					got += string(key)
				}
			}
			if got != tt.want {
				t.Errorf("keys %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEventsThatAreNoKeys(t *testing.T) {
	var r keyReader
	if key, down := r.packet(0, telephoneEvent{event: 16}); down { // flash
		t.Errorf("flash became key %q", key)
	}
	if _, err := parseEvent([]byte{1, 2, 3}); err == nil {
		t.Error("3 bytes accepted")
	}
}

func FuzzTelephoneEvent(f *testing.F) {
	f.Add(uint32(0), []byte{1, 0x8a, 0, 160}, uint32(160), []byte{1, 0x0a, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, ts1 uint32, p1 []byte, ts2 uint32, p2 []byte) {
		var r keyReader
		for _, p := range []struct {
			ts uint32
			b  []byte
		}{{ts1, p1}, {ts2, p2}, {ts2, p2}} {
			e, err := parseEvent(p.b)
			if err != nil {
				continue
			}
			var out [4]byte
			e.put(out[:])
			if again, _ := parseEvent(out[:]); again != e {
				t.Fatalf("%+v became %+v", e, again)
			}
			if key, down := r.packet(p.ts, e); down {
				if n, ok := eventOf(key); !ok || n != e.event {
					t.Fatalf("event %d became key %q", e.event, key)
				}
				if _, twice := r.packet(p.ts, e); twice {
					t.Fatal("one key told twice")
				}
			}
		}
	})
}
