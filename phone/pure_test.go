package phone

import (
	"bytes"
	"encoding/hex"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Values of G.711's tables 1a and 2a: decision and output values scaled to 16 bits.
func TestG711(t *testing.T) {
	for _, v := range []struct {
		codec Codec
		code  byte
		pcm   int16
	}{
		{PCMU, 0xFF, 0}, {PCMU, 0x80, 32124}, {PCMU, 0x00, -32124}, {PCMU, 0xF0, 120}, {PCMU, 0xEF, 132},
		{PCMA, 0xD5, 8}, {PCMA, 0x55, -8}, {PCMA, 0xAA, 32256}, {PCMA, 0x2A, -32256}, {PCMA, 0xC5, 264},
	} {
		if got := v.codec.decode([]byte{v.code})[0]; got != v.pcm {
			t.Errorf("%s %#x decodes to %d, want %d", v.codec, v.code, got, v.pcm)
		}
		if got := v.codec.encode(nil, []int16{v.pcm})[0]; got != v.code {
			t.Errorf("%s %d encodes to %#x, want %#x", v.codec, v.pcm, got, v.code)
		}
	}
	for _, codec := range []Codec{PCMU, PCMA} {
		for s := math.MinInt16; s <= math.MaxInt16; s++ {
			got := int(codec.decode(codec.encode(nil, []int16{int16(s)}))[0])
			if d := max(got-s, s-got); d > 16+max(s, -s)/16 {
				t.Fatalf("%s: %d comes back as %d", codec, s, got)
			}
		}
	}
}

func TestPacketRoundTrip(t *testing.T) {
	want := packet{marker: true, pt: 101, seq: 65535, ts: 1 << 31, ssrc: 7, payload: []byte{1, 2, 3}}
	b := want.appendTo(nil)
	got, err := parsePacket(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	withAll := append([]byte{0xB1}, b[1:12]...)                   // padding, extension, one CSRC
	withAll = append(withAll, 0, 0, 0, 9, 0, 0, 0, 1, 5, 5, 5, 5) // CSRC, extension of one word
	withAll = append(withAll, 1, 2, 3, 0, 0, 3)                   // payload, 3 bytes of padding
	if got, err := parsePacket(withAll); err != nil || !bytes.Equal(got.payload, want.payload) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "80", "4000000000000000000000ff", "80c80000000000000000000000", "bf00000000000000000000000000", "a0000000000000000000000000ff"} {
		raw, _ := hex.DecodeString(bad)
		if _, err := parsePacket(raw); err == nil {
			t.Errorf("%s was parsed", bad)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add(packet{payload: make([]byte, 160)}.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePacket(b); err == nil && len(p.payload) > len(b)-12 {
			t.Errorf("payload of %d bytes in %d", len(p.payload), len(b))
		}
	})
}

func TestDigitsCountOnceAndSurviveLoss(t *testing.T) {
	send := func(d *digits, key int, ts uint32, frames ...int) {
		for _, f := range frames {
			d.packet(packet{ts: ts, payload: event{code: uint8(key), end: f >= 5, duration: uint16(f * 160)}.payload()})
		}
	}
	var d digits
	send(&d, 1, 1000, 1, 2, 3, 4, 5, 5, 5) // complete
	send(&d, 1, 3000, 1, 2)                // the end is lost
	send(&d, 2, 5000, 5)                   // the start is lost
	send(&d, 2, 5000, 4)                   // late
	send(&d, 1, 3000, 5)                   // very late
	send(&d, 11, 7000, 1)
	d.packet(packet{ts: 9000, payload: []byte{16, 0, 0, 0}}) // flash is no key
	if got := string(d.got); got != "112#" {
		t.Errorf("got %q", got)
	}
}

func TestTones(t *testing.T) {
	quarter := 250 * time.Millisecond
	tone := PCMU.decode(PCMU.encode(nil, Tone(quarter, 440)))
	if !IsTone(tone, 440) || IsTone(tone, 480) || IsTone(tone, 440, 480) || IsTone(Tone(quarter)) || IsTone(Tone(quarter), 440) {
		t.Error("440 Hz is not told apart")
	}
	if pair := Tone(quarter, 350, 440); !IsTone(pair, 350, 440) || IsTone(pair, 440) {
		t.Error("a pair is not told apart")
	}
	var dial []int16
	for i := range len(keys) {
		dial = append(append(dial, DTMF(keys[i], 60*time.Millisecond)...), Tone(60*time.Millisecond)...)
	}
	for _, c := range []Codec{PCMU, PCMA} {
		if got := DetectDTMF(c.decode(c.encode(nil, dial))); got != keys {
			t.Errorf("%s: detected %q", c, got)
		}
	}
	if got := DetectDTMF(Babble(longGreeting)); got != "" {
		t.Errorf("keys %q in speech", got)
	}
	if len(CED()) != 3*sampleRate || !IsTone(CED()[:800], 2100) || !IsTone(CNG()[:800], 1100) {
		t.Error("fax tones")
	}
}

// What answering-machine detection measures: length, and that there are gaps but no long ones.
func TestBabbleHasTheRhythmOfSpeech(t *testing.T) {
	for _, test := range []struct {
		text     string
		min, max time.Duration
	}{
		{shortHello, 200 * time.Millisecond, 900 * time.Millisecond},
		{longGreeting, 5 * time.Second, 15 * time.Second},
		{mailboxMessage, 5 * time.Second, 15 * time.Second},
	} {
		pcm := Babble(test.text)
		if d := time.Duration(len(pcm)) * time.Second / sampleRate; d < test.min || d > test.max {
			t.Errorf("%q lasts %v", test.text, d)
		}
		quiet, loud := 0, 0
		for f := pcm; len(f) >= frameSamples; f = f[frameSamples:] {
			if isSound(f[:frameSamples]) {
				quiet = 0
				loud++
			} else if quiet++; quiet > 40 {
				t.Errorf("%q has a pause of over 800 ms", test.text)
				break
			}
		}
		if loud*frameSamples*2 < len(pcm) {
			t.Errorf("%q is mostly silent", test.text)
		}
		if !slices.Equal(pcm, Babble(test.text)) {
			t.Errorf("%q sounds different each time", test.text)
		}
	}
	if len(Babble("")) != 0 {
		t.Error("nothing was said")
	}
}

func TestTimeline(t *testing.T) {
	t0 := time.Now()
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	one := func(v int16) []int16 { return slices.Repeat([]int16{v}, 160) }
	tl := timeline{limit: 10 * sampleRate}
	var ts uint32 = math.MaxUint32 - 100 // wraps
	tl.put(at(0), 1, ts, one(1))
	tl.put(at(40), 1, ts+320, one(3)) // before its predecessor
	tl.put(at(41), 1, ts+160, one(2))
	tl.put(at(80), 1, ts+640, one(5)) // one lost
	_, pcm := tl.since(0)
	if want := slices.Concat(one(1), one(2), one(3), one(0), one(5)); !slices.Equal(pcm, want) {
		t.Errorf("%d samples, not in order", len(pcm))
	}
	tl.put(at(5000), 1, ts+800, one(6)) // quiet for 5 s without counting
	if _, pcm := tl.since(0); len(pcm) != 5*sampleRate+160 || pcm[5*sampleRate] != 6 {
		t.Errorf("%d samples after a pause", len(pcm))
	}
	tl.put(at(5020), 2, 99, one(7)) // another source
	if _, pcm := tl.since(5*sampleRate + 160); !slices.Equal(pcm, one(7)) {
		t.Errorf("%d samples of a new source", len(pcm))
	}
	tl.put(at(10*3600*1000), 2, 99+10*3600*8000, one(8))
	if from, pcm := tl.since(0); len(pcm) > 2*tl.limit || pcm[len(pcm)-1] != 8 || from == 0 {
		t.Errorf("%d samples from %d", len(pcm), from)
	}
}

// RFC 2617 section 3.5 and RFC 7616 section 3.9.1.
func TestDigest(t *testing.T) {
	for _, v := range []struct{ challenge, password, cnonce, response string }{
		{`Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"Circle Of Life", "0a4f113b", "6629fae49393a05397450978507c4ef1"},
		{`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "8ca523f5e9506fed4657c9700eebdbec"},
		{`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
			"Circle of Life", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
	} {
		c, err := parseChallenge(v.challenge)
		check(t, err)
		got, err := c.answer("GET", "/dir/index.html", "Mufasa", v.password, v.cnonce)
		check(t, err)
		if !strings.Contains(got, `response="`+v.response+`"`) {
			t.Errorf("%s", got)
		}
	}
	for _, bad := range []string{"", "Basic realm=x", `Digest realm="x"`, `Digest nonce="x`, "Digest nonce"} {
		if _, err := parseChallenge(bad); err == nil {
			t.Errorf("%q was parsed", bad)
		}
	}
	if _, err := (challenge{"nonce": "x", "algorithm": "AKAv1-MD5"}).answer("INVITE", "sip:x", "u", "p", ""); err == nil {
		t.Error("an unknown algorithm was answered")
	}
}

func FuzzParseChallenge(f *testing.F) {
	f.Add(`Digest realm="r", nonce=n, qop="auth"`)
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := parseChallenge(s); err == nil && c["nonce"] == "" {
			t.Error("no nonce")
		}
	})
}

const offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" +
	"m=video 4000 RTP/AVP 31\r\na=sendonly\r\n" +
	"m=audio 5004 RTP/AVP 18 97 0 96\r\nc=IN IP4 192.0.2.2\r\na=rtpmap:97 pcma/8000/1\r\na=rtpmap:96 telephone-event/8000\r\na=sendonly\r\n"

func TestSDP(t *testing.T) {
	o, err := parseSDP([]byte(offer))
	check(t, err)
	want := &description{
		addr: netip.MustParseAddr("192.0.2.2"), port: 5004, dir: sendonly,
		formats: []format{{18, ""}, {97, "PCMA"}, {0, "PCMU"}, {96, telephoneEvent}},
		others:  []string{"video 4000 RTP/AVP 31", ""},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v", o)
	}
	a, err := answerTo(o, []Codec{PCMA}, 101, sendrecv)
	check(t, err)
	a.addr, a.port = netip.MustParseAddr("::1"), 6000
	body := string(a.marshal(1, 2))
	for _, line := range []string{"m=video 0 RTP/AVP 31\r\nm=audio 6000 RTP/AVP 97 96\r\n", "a=rtpmap:97 PCMA/8000", "a=rtpmap:96 telephone-event/8000", "a=recvonly", "c=IN IP6 ::1"} {
		if !strings.Contains(body, line) {
			t.Errorf("no %q in\n%s", line, body)
		}
	}
	g, err := agree(a, o, a)
	check(t, err)
	if g.codec != PCMA || g.sendPT != 97 || g.sendEvents != 96 || g.send || !g.recv {
		t.Errorf("%+v", g)
	}
	for name, bad := range map[string]string{
		"nothing":    "",
		"no audio":   "v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 1 RTP/AVP 31\r\n",
		"refused":    "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n",
		"no address": "v=0\r\nm=audio 1 RTP/AVP 0\r\n",
		"a name":     "v=0\r\nc=IN IP4 example.org\r\nm=audio 1 RTP/AVP 0\r\n",
		"bad port":   "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 70000 RTP/AVP 0\r\n",
		"bad type":   "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 1 RTP/AVP 200\r\n",
		"no SDP":     "hello\r\n",
	} {
		if _, err := parseSDP([]byte(bad)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

// Hold, RFC 3264 section 8.4, and as RFC 2543 spelled it.
func TestDirections(t *testing.T) {
	for _, d := range []direction{inactive, sendonly, recvonly, sendrecv} {
		if d.reverse().reverse() != d {
			t.Errorf("%s", d)
		}
	}
	zero := strings.Replace(offer, "192.0.2.2", "0.0.0.0", 1)
	zero = strings.Replace(zero, "96\r\na=sendonly", "96\r\n", 1)
	o, err := parseSDP([]byte(zero))
	check(t, err)
	a, err := answerTo(o, []Codec{PCMU}, -1, sendrecv)
	check(t, err)
	if g, err := agree(a, o, a); err != nil || g.send || g.sendEvents != -1 {
		t.Errorf("%+v, %v", g, err)
	}
}

func FuzzParseSDP(f *testing.F) {
	f.Add([]byte(offer))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseSDP(b)
		if err != nil {
			return
		}
		a, err := answerTo(o, []Codec{PCMU, PCMA}, 101, sendrecv)
		if err != nil {
			return
		}
		a.addr, a.port = netip.MustParseAddr("127.0.0.1"), 4000
		again, err := parseSDP(a.marshal(1, 1))
		if err != nil || len(again.formats) != len(a.formats) || len(again.others) != len(o.others) {
			t.Errorf("answer %q: %+v, %v", a.marshal(1, 1), again, err)
		}
	})
}

func TestWAV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.wav")
	w, err := createWAV(path, 3*sampleRate)
	check(t, err)
	for range 5 { // one second each, two beyond the limit
		check(t, w.write(Tone(time.Second, 440)))
		if pcm, err := ReadWAV(path); err != nil || len(pcm) < w.n-sampleRate {
			t.Fatalf("%d samples, %v", len(pcm), err)
		}
	}
	check(t, w.close())
	if pcm, err := ReadWAV(path); err != nil || len(pcm) != 3*sampleRate {
		t.Errorf("%d samples, %v", len(pcm), err)
	}
	if _, err := createWAV(path, 1); err == nil {
		t.Error("overwrote a recording")
	}
	check(t, os.WriteFile(path, []byte("RIFF\x00\x00\x00\x00WAVEdata\x02\x00\x00\x00xx"), 0o600))
	if _, err := ReadWAV(path); err == nil {
		t.Error("read samples of no format")
	}
}

func FuzzParseWAV(f *testing.F) {
	f.Add(append(wavHeader(2), 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pcm, err := parseWAV(b); err == nil && 2*len(pcm) > len(b) {
			t.Errorf("%d samples in %d bytes", len(pcm), len(b))
		}
	})
}

func TestOldRecordingsGo(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 4 {
		w, path, err := newRecording(dir, "+1/../x", "id@host", at.Add(time.Duration(i)*time.Minute))
		check(t, err)
		check(t, w.close())
		if want := filepath.Join(dir, "+1____x"); filepath.Dir(path) != want {
			t.Errorf("%s is not in %s", path, want)
		}
	}
	kept := filepath.Join(dir, "+1____x", "mine.wav")
	check(t, os.WriteFile(kept, nil, 0o600))
	check(t, prune(filepath.Dir(kept), 2))
	entries, err := os.ReadDir(filepath.Dir(kept))
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"20260102T030605.000Z-id_host.wav", "20260102T030705.000Z-id_host.wav", "mine.wav"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}
