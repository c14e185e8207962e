package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The files hold a tone of 1 kHz, written by sox (uncompressed, 0.2 s at 11,025 Hz stereo) and lamejs (MP3, 0.6 s).
func TestDecodeReadsTheUsualFiles(t *testing.T) {
	for _, test := range []struct {
		file string
		want time.Duration
	}{
		{"pcm8.wav", 200 * time.Millisecond},
		{"pcm16.wav", 200 * time.Millisecond},
		{"pcm24.wav", 200 * time.Millisecond},
		{"pcm32.wav", 200 * time.Millisecond},
		{"float32.wav", 200 * time.Millisecond},
		{"ulaw.wav", 200 * time.Millisecond},
		{"alaw.wav", 200 * time.Millisecond},
		{"pcm16.aiff", 200 * time.Millisecond},
		{"pcm16.aifc", 200 * time.Millisecond},
		{"pcm16.au", 200 * time.Millisecond},
		{"ulaw.au", 200 * time.Millisecond},
		{"tone-44100-mono.mp3", 600 * time.Millisecond},
		{"tone-22050-stereo.mp3", 600 * time.Millisecond},
	} {
		t.Run(test.file, func(t *testing.T) {
			clip, err := Decode("application/octet-stream", testFile(t, test.file))
			if err != nil {
				t.Fatal(err)
			}
			if d := clip.Duration() - test.want; d < 0 || d > 250*time.Millisecond { // an MP3 encoder pads
				t.Errorf("lasts %v, want %v", clip.Duration(), test.want)
			}
			pcm := clip.PCM()
			middle := pcm[len(pcm)/4 : len(pcm)*3/4]
			if !Has(middle, 1000) {
				t.Errorf("tone is %.0f of %.0f", Goertzel(middle, 1000), Power(middle))
			}
			if a := math.Sqrt(2 * Goertzel(middle, 1000)); a < 8500 || a > 11500 {
				t.Errorf("amplitude %.0f, want 10000", a)
			}
		})
	}
}

func TestDecodeSaysWhatItCannotRead(t *testing.T) {
	gsm := []byte{0xD2, 0x4E, 0x91}
	for name, test := range map[string]struct {
		contentType string
		data        []byte
		want        string
	}{
		"GSM in WAV":  {"audio/wav", testFile(t, "gsm.wav"), "0x0031"},
		"ADPCM":       {"audio/wav", testFile(t, "ima.wav"), "0x0011"},
		"MPEG 2.5":    {"audio/mpeg", testFile(t, "tone-8000-mpeg25.mp3"), "MPEG 2.5"},
		"GSM":         {"audio/x-gsm", gsm, "GSM"},
		"Ogg":         {"audio/ogg", []byte("OggS...."), "Ogg"},
		"FLAC":        {"audio/flac", []byte("fLaC...."), "FLAC"},
		"a web page":  {"text/html", []byte("<html>not found</html>"), "text/html"},
		"other FORM":  {"", []byte("FORM\x00\x00\x00\x04ILBM"), "AIFF"},
		"nothing":     {"", nil, "neither"},
		"strange .au": {"", append([]byte(".snd\x00\x00\x00\x18\xff\xff\xff\xff\x00\x00\x00\x17\x00\x00\x1f\x40\x00\x00\x00\x01"), 0), "encoding 23"},
	} {
		_, err := Decode(test.contentType, test.data)
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ErrUnsupported with %q", name, err, test.want)
		}
	}
}

func TestDecodeRawGoesByContentType(t *testing.T) {
	ulaw := EncodeULaw(sine(1000, 10000, SampleRate, 1600))
	for _, contentType := range []string{"audio/basic", "audio/ulaw", "Audio/X-Mulaw; rate=8000"} {
		clip, err := Decode(contentType, ulaw)
		if err != nil || !bytes.Equal(clip.ULaw(), ulaw) {
			t.Errorf("%s: %v", contentType, err)
		}
	}
	clip, err := Decode("audio/x-alaw-basic", EncodeALaw(sine(1000, 10000, SampleRate, 1600)))
	if err != nil || !Has(clip.PCM(), 1000) {
		t.Errorf("A-law: %v", err)
	}
}

func TestDecodeRefusesMalformedFiles(t *testing.T) {
	wav := testFile(t, "pcm16.wav")
	aiff := testFile(t, "pcm16.aiff")
	for name, data := range map[string][]byte{
		"only RIFF":          []byte("RIFF"),
		"no WAVE":            []byte("RIFF\x00\x00\x00\x00AVI "),
		"no chunk":           wav[:12],
		"header only":        wav[:44],
		"data before fmt":    append(append([]byte{}, wav[:12]...), "data\x04\x00\x00\x00abcd"...),
		"short fmt":          append(append([]byte{}, wav[:12]...), "fmt \x02\x00\x00\x00\x01\x00data\x04\x00\x00\x00abcd"...),
		"chunk past the end": append(append([]byte{}, wav[:12]...), "LIST\xff\xff\xff\x7fabcd"...),
		"no channels":        patched(wav, 22, 0, 0),
		"many channels":      patched(wav, 22, 0xFF, 0xFF),
		"rate 0":             patched(wav, 24, 0, 0, 0, 0),
		"rate 4 GHz":         patched(wav, 24, 0xFF, 0xFF, 0xFF, 0xFF),
		"0 bits":             patched(wav, 34, 0, 0),
		"AIFF header":        aiff[:12],
		"AIFF without sound": aiff[:38],
		".au header":         []byte(".snd\x00\x00\x00\x18"),
		"MP3 tag alone":      []byte("ID3\x04\x00\x00\x7f\x7f\x7f\x7f"),
		"MP3 header alone":   {0xFF, 0xFB, 0x90, 0x00},
	} {
		if clip, err := Decode("audio/mpeg", data); err == nil {
			t.Errorf("%s: decoded to %v", name, clip.Duration())
		}
	}
}

func TestDecodeIsBounded(t *testing.T) {
	if _, err := Decode("audio/basic", make([]byte, MaxFile+1)); err == nil {
		t.Error("took a file over MaxFile")
	}
	if _, err := Decode("audio/basic", make([]byte, 3601*SampleRate)); err == nil {
		t.Error("made a clip over MaxDuration")
	}
}

func TestDecodeTakesStreamedWAV(t *testing.T) {
	wav := EncodeWAV(sine(1000, 10000, SampleRate, 1600), SampleRate)
	for _, size := range []uint32{0, 0x7FFFF000, 0xFFFFFFFF} { // what writers to a pipe put there
		streamed := bytes.Clone(wav)
		binary.LittleEndian.PutUint32(streamed[40:], size)
		if clip, err := Decode("", streamed); err != nil || clip.Duration() != 200*time.Millisecond {
			t.Errorf("length %#x: %v", size, err)
		}
	}
}

func TestWAVWritingRoundTrips(t *testing.T) {
	pcm := sine(440, 9000, SampleRate, 1600)
	clip, err := Decode("audio/wav", EncodeWAV(pcm, SampleRate))
	if err != nil || !bytes.Equal(clip.ULaw(), EncodeULaw(pcm)) {
		t.Errorf("PCM: %v", err)
	}
	again, err := Decode("audio/wav", clip.WAV())
	if err != nil || !bytes.Equal(again.ULaw(), clip.ULaw()) {
		t.Errorf("µ-law: %v", err)
	}
}

func testFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func patched(b []byte, at int, with ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], with)
	return b
}

func fuzzDecode(f *testing.F, prefix, pattern string) {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no %s: %v", pattern, err)
	}
	for _, file := range files {
		data := testFile(f, filepath.Base(file))
		f.Add(data[:min(len(data), 1500)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !bytes.HasPrefix(data, []byte(prefix)) || len(data) > 1<<16 {
			t.Skip()
		}
		clip, err := Decode("audio/mpeg", data)
		if (clip == nil) == (err == nil) {
			t.Fatalf("clip %v and error %v", clip, err)
		}
		if clip != nil && len(clip.ULaw())%FrameSamples != 0 {
			t.Fatal("not a whole number of frames")
		}
	})
}

func FuzzDecodeWAV(f *testing.F)  { fuzzDecode(f, "RIFF", "*.wav") }
func FuzzDecodeAIFF(f *testing.F) { fuzzDecode(f, "FORM", "*.aif*") }
func FuzzDecodeAU(f *testing.F)   { fuzzDecode(f, ".snd", "*.au") }
func FuzzDecodeMP3(f *testing.F)  { fuzzDecode(f, "", "*.mp3") }

func BenchmarkDecodeMP3(b *testing.B) {
	data := testFile(b, "tone-44100-mono.mp3")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode("audio/mpeg", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeWAV16kMinute(b *testing.B) {
	data := EncodeWAV(sine(440, 9000, 16000, 60*16000), 16000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode("audio/wav", data); err != nil {
			b.Fatal(err)
		}
	}
}
