package recording

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/internal/audio"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		crash(dir)
	}
	goleak.VerifyTestMain(m)
}

const testSID = "RE00000000000000000000000000000001"

func newTest(t *testing.T, cfg Config, d disk) *Recorder {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if d == nil {
		d = osDisk{}
	}
	r, err := newRecorder(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func start(t *testing.T, r *Recorder, spec Spec) *Writer {
	t.Helper()
	if spec.SID == "" {
		spec.SID = testSID
	}
	w, err := r.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func tone(d time.Duration, hz float64) []byte { return audio.EncodeULaw(audio.Tone(d, hz)) }

// send writes ulaw in frames from at on, and returns where it ends.
func send(w *Writer, track int, at int64, ulaw []byte) int64 {
	for len(ulaw) > 0 {
		n := min(160, len(ulaw))
		w.Write(track, at, ulaw[:n])
		ulaw, at = ulaw[n:], at+int64(n)
	}
	return at
}

// channelsOf reads a spool and checks that its header says what is there.
func channelsOf(t *testing.T, path string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := spoolChannels(b)
	if err != nil {
		t.Fatal(err)
	}
	data := b[headerSize:]
	if size := int(binary.LittleEndian.Uint32(b[54:])); size > len(data) {
		t.Fatalf("the header says %d bytes, there are %d", size, len(data))
	} else {
		data = data[:size]
	}
	out := make([][]byte, n)
	for i, s := range data {
		out[i%n] = append(out[i%n], s)
	}
	return out
}

func stop(t *testing.T, w *Writer) Result {
	t.Helper()
	res := w.Stop(t.Context())
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	return res
}

func TestTwoChannelsStandOnOneClock(t *testing.T) {
	r := newTest(t, Config{}, nil)
	w := start(t, r, Spec{Channels: 2})
	a, b := tone(3*time.Second, 440), tone(2*time.Second, 1000)
	// The second track begins 700 ms later, its frames come 60 ms later and in changed order.
	const clock = 1 << 40
	for at := 0; at < len(a)+480; at += 160 {
		if at < len(a) {
			w.Write(0, clock+int64(at), a[at:at+160])
		}
		if i := at - 480 - 5600; i >= 0 && i < len(b) {
			if i%320 == 0 {
				i += 160
			} else {
				i -= 160
			}
			if i < len(b) {
				w.Write(1, clock+5600+int64(i), b[i:i+160])
			}
		}
	}
	res := stop(t, w)
	if res.Samples != 24000 || res.Lost != 0 {
		t.Fatalf("result %+v, want 24000 samples", res)
	}
	got := channelsOf(t, res.Path)
	if !bytes.Equal(got[0], a) {
		t.Error("the first channel is not what was sent")
	}
	want := append(append(bytes.Repeat([]byte{silence}, 5600), b...), bytes.Repeat([]byte{silence}, 24000-5600-len(b))...)
	if !bytes.Equal(got[1], want) {
		t.Error("the second channel is not what was sent, where it was sent")
	}
}

func TestTwoTracksAreMixedIntoOneChannel(t *testing.T) {
	r := newTest(t, Config{}, nil)
	w := start(t, r, Spec{Channels: 1, Tracks: 2})
	a, b := audio.Tone(time.Second, 440), audio.Tone(time.Second, 1000)
	for at := 0; at < len(a); at += 160 {
		w.Write(0, int64(at), audio.EncodeULaw(a[at:at+160]))
		w.Write(1, int64(at), audio.EncodeULaw(b[at:at+160]))
	}
	got := audio.DecodeULaw(channelsOf(t, stop(t, w).Path)[0])
	if len(got) != 8000 || !audio.Has(got, 440) && !audio.Has(got, 440, 1000) {
		t.Fatalf("%d samples", len(got))
	}
	for _, hz := range []float64{440, 1000} {
		if g, w := audio.Goertzel(got, hz), audio.Goertzel(a, 440); g < w/2 || g > w*2 {
			t.Errorf("power at %v Hz is %v, want %v", hz, g, w)
		}
	}
}

func TestASpoolPlaysWhileItGrows(t *testing.T) {
	written := make(chan int64, 1000)
	r := newTest(t, Config{}, watched{func(*os.File, []byte, int64) error { return nil }, func(_ *os.File, end int64) {
		written <- end
	}})
	w := start(t, r, Spec{})
	sent := tone(5*time.Second, 440)
	send(w, 0, 0, sent)
	for end := range written { // the write that holds second 4
		if end >= headerSize+4*Rate {
			break
		}
	}
	for end := range written { // its header
		if end == headerSize {
			break
		}
	}
	got := channelsOf(t, w.path)[0]
	if len(got) < 4*Rate || !bytes.Equal(got, sent[:len(got)]) {
		t.Fatalf("%d samples in the file while it grows, want at least %d as they were sent", len(got), 4*Rate)
	}
	stop(t, w)
}

func TestPauses(t *testing.T) {
	for _, c := range []struct {
		mode PauseMode
		want time.Duration
	}{{Skip, 2 * time.Second}, {Silence, 4 * time.Second}} {
		t.Run(fmt.Sprint(c.mode), func(t *testing.T) {
			r := newTest(t, Config{}, nil)
			w := start(t, r, Spec{Channels: 2})
			low, mid, high := tone(time.Second, 440), tone(2*time.Second, 700), tone(time.Second, 1000)
			both := func(at int64, ulaw []byte) int64 {
				for i := 0; i < len(ulaw); i += 160 {
					w.Write(0, at+int64(i), ulaw[i:i+160])
					w.Write(1, at+int64(i), ulaw[i:i+160])
				}
				return at + int64(len(ulaw))
			}
			at := both(777, low)
			w.Pause(c.mode)
			w.Pause(Skip)
			at = both(at, mid)
			w.Resume()
			w.Write(1, at-160, mid[:160]) // late, of the pause
			both(at, high)
			res := stop(t, w)
			if got := time.Duration(res.Samples) * time.Second / Rate; got != c.want {
				t.Fatalf("length %v, want %v", got, c.want)
			}
			for i, ch := range channelsOf(t, res.Path) {
				if !bytes.Equal(ch[:8000], low) || !bytes.Equal(ch[len(ch)-8000:], high) {
					t.Errorf("channel %d: what was said around the pause is not there", i)
				}
				if between := ch[8000 : len(ch)-8000]; !bytes.Equal(between, bytes.Repeat([]byte{silence}, len(between))) {
					t.Errorf("channel %d: the pause is not silent", i)
				}
			}
		})
	}
}

func TestAPauseThatNeverEndsIsCutOrSilent(t *testing.T) {
	for mode, want := range map[PauseMode]int64{Skip: 8000, Silence: 16000} {
		r := newTest(t, Config{}, nil)
		w := start(t, r, Spec{})
		at := send(w, 0, 0, tone(time.Second, 440))
		w.Pause(mode)
		for range 50 {
			at += 160
			w.Write(0, at, nil)
		}
		if res := stop(t, w); res.Samples != want {
			t.Errorf("mode %d: %d samples, want %d", mode, res.Samples, want)
		}
	}
}

func TestTheLimitEndsARecording(t *testing.T) {
	r := newTest(t, Config{}, nil)
	w := start(t, r, Spec{Max: 1010 * time.Millisecond})
	send(w, 0, 0, tone(2*time.Second, 440))
	<-w.Done()
	if res := w.Stop(t.Context()); !errors.Is(res.Err, ErrLimit) || res.Samples != 8080 {
		t.Fatalf("%+v, want 8080 samples and ErrLimit", res)
	}
}

func TestALongGapIsSilence(t *testing.T) {
	r := newTest(t, Config{}, nil)
	w := start(t, r, Spec{Channels: 2})
	send(w, 0, 0, tone(time.Second, 440))
	send(w, 1, 600*Rate, tone(time.Second, 1000))
	res := stop(t, w)
	ch := channelsOf(t, res.Path)
	if res.Samples != 601*Rate || !bytes.Equal(ch[1][600*Rate:], tone(time.Second, 1000)) {
		t.Fatalf("%d samples", res.Samples)
	}
	if gap := ch[0][Rate:]; !bytes.Equal(gap, bytes.Repeat([]byte{silence}, len(gap))) {
		t.Error("the gap is not silent")
	}
}

func TestStopIsIdempotentAndFreesTheSID(t *testing.T) {
	r := newTest(t, Config{MaxOpen: 1}, nil)
	w := start(t, r, Spec{})
	if _, err := r.Start(Spec{SID: "RE2"}); !errors.Is(err, ErrTooMany) {
		t.Fatalf("a second recording where one may run: %v", err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { w.Stop(context.Background()) })
	}
	all.Wait()
	first := stop(t, w)
	w.Write(0, 0, make([]byte, 160))
	w.Pause(Skip)
	w.Resume()
	if again := stop(t, w); again != first {
		t.Fatalf("%+v, then %+v", first, again)
	}
	if err := first.Discard(); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, r, Spec{}))
}

// watched is the disk with something before and behind each write.
type watched struct {
	before func(f *os.File, b []byte, off int64) error
	after  func(f *os.File, end int64)
}

type watchedFile struct {
	*os.File
	w watched
}

func (w watched) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w}, nil
}

func (f watchedFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.w.before(f.File, b, off); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/3], off) // a full disk takes a part
		return n, err
	}
	n, err := f.File.WriteAt(b, off)
	if f.w.after != nil {
		f.w.after(f.File, off+int64(len(b)))
	}
	return n, err
}

func TestAFullDiskEndsARecordingAndKeepsWhatItTook(t *testing.T) {
	other := "RE00000000000000000000000000000002"
	r := newTest(t, Config{}, watched{before: func(f *os.File, _ []byte, off int64) error {
		if filepath.Base(f.Name()) == testSID+spoolSuffix && off > 2*2*Rate {
			return syscall.ENOSPC
		}
		return nil
	}})
	w, well := start(t, r, Spec{Channels: 2}), start(t, r, Spec{SID: other})
	sent := tone(5*time.Second, 440)
	send(w, 0, 0, sent)
	send(well, 0, 0, sent)
	<-w.Done()
	send(w, 0, 5*Rate, sent)
	res := w.Stop(t.Context())
	if !errors.Is(res.Err, syscall.ENOSPC) {
		t.Fatalf("error %v, want ENOSPC", res.Err)
	}
	if got := channelsOf(t, res.Path); res.Samples < 2*Rate || int64(len(got[0])) != res.Samples || !bytes.Equal(got[0], sent[:res.Samples]) {
		t.Fatalf("%d samples kept, %d in the file", res.Samples, len(got[0]))
	}
	if res := stop(t, well); res.Samples != 5*Rate {
		t.Errorf("the other recording has %d samples", res.Samples)
	}
	if n := r.Stats().Failed; n != 1 {
		t.Errorf("%d recordings counted as failed", n)
	}
}

func TestADiskThatHangsHoldsNobodyUp(t *testing.T) {
	hang, hanging := make(chan struct{}), make(chan struct{}, 1)
	r := newTest(t, Config{Queue: 4}, watched{before: func(_ *os.File, _ []byte, off int64) error {
		if off > 0 {
			select {
			case hanging <- struct{}{}:
			default:
			}
			<-hang
		}
		return nil
	}})
	w := start(t, r, Spec{})
	sent := tone(30*time.Second, 440)
	at := send(w, 0, 0, sent[:2*Rate])
	<-hanging
	send(w, 0, at, sent[at:]) // returns, though nothing is written
	lost := r.Stats().Lost
	if lost < 20*Rate {
		t.Fatalf("%d samples lost", lost)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res := w.Stop(ctx); !errors.Is(res.Err, context.Canceled) {
		t.Fatalf("stop of a disk that hangs: %v", res.Err)
	}
	close(hang)
	res := stop(t, w)
	if res.Samples != 30*Rate || res.Lost != lost {
		t.Fatalf("%+v, want 30 s and %d lost", res, lost)
	}
	silent := 0
	for i, s := range channelsOf(t, res.Path)[0] {
		switch {
		case s == sent[i]:
		case s == silence:
			silent++
		default:
			t.Fatalf("sample %d is neither what was sent nor silence", i)
		}
	}
	if silent < int(lost)*9/10 {
		t.Errorf("%d samples silent, %d lost", silent, lost)
	}
}

func TestRecover(t *testing.T) {
	dir := t.TempDir()
	sent := tone(3*time.Second, 440)
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("RE1.wav", append(spoolHeader(1, 5), sent...))              // the header is older than the audio
	put("RE2.wav", append(spoolHeader(2, 0), sent[:10001]...))      // half a sample
	put("RE3.wav", spoolHeader(1, 0)[:7])                           // died in Start
	put("RE4.wav", bytes.Repeat([]byte("no recording of ours"), 9)) // stays as it is
	put("else.txt", nil)
	got, err := Recover(dir)
	if !errors.Is(err, errHeader) {
		t.Errorf("error %v, want %v for RE4", err, errHeader)
	}
	want := map[string][2]int64{"RE1": {1, 24000}, "RE2": {2, 5000}, "RE3": {1, 0}}
	for _, s := range got {
		if w := want[s.SID]; w != [2]int64{int64(s.Channels), s.Samples} {
			t.Errorf("%+v, want %v", s, w)
		}
		delete(want, s.SID)
		if ch := channelsOf(t, s.Path); int64(len(ch[0])) != s.Samples {
			t.Errorf("%s: %d samples in the file, %d told", s.SID, len(ch[0]), s.Samples)
		}
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
	if none, err := Recover(filepath.Join(dir, "missing")); err != nil || none != nil {
		t.Errorf("a folder that is not there: %v, %v", none, err)
	}
}

func TestCloseLeavesWhatIsToBeRecovered(t *testing.T) {
	dir := t.TempDir()
	r := newTest(t, Config{Dir: dir}, nil)
	w := start(t, r, Spec{})
	send(w, 0, 0, tone(1234*time.Millisecond, 440))
	r.Close()
	r.Close()
	if _, err := r.Start(Spec{SID: "RE2"}); !errors.Is(err, errClosed) {
		t.Errorf("start behind close: %v", err)
	}
	got, err := Recover(dir)
	if err != nil || len(got) != 1 || got[0].Samples != 1234*8 || got[0].SID != testSID {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestTrim(t *testing.T) {
	quiet := func(d time.Duration) []byte {
		pcm := audio.Tone(d, 300)
		for i := range pcm {
			pcm[i] /= 600 // about -65 dBFS
		}
		return audio.EncodeULaw(pcm)
	}
	for _, c := range []struct {
		name             string
		before, tone, by time.Duration
	}{
		{"both ends", 3070 * time.Millisecond, time.Second, 2010 * time.Millisecond},
		{"nothing to trim", 0, time.Second, 0},
		{"long", 12 * time.Second, 30 * time.Millisecond, 11 * time.Second},
		{"silent", 5 * time.Second, 0, 0},
		{"empty", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTest(t, Config{}, nil)
			w := start(t, r, Spec{Channels: 2})
			at := send(w, 0, 0, quiet(c.before))
			at = send(w, 1, at, tone(c.tone, 440)) // on one channel only
			send(w, 0, at, quiet(c.by))
			from, to, err := stop(t, w).Trim()
			if err != nil {
				t.Fatal(err)
			}
			if c.tone == 0 {
				if from != to {
					t.Fatalf("sound from %d to %d", from, to)
				}
				return
			}
			near := func(got int64, want time.Duration) bool {
				d := time.Duration(got)*time.Second/Rate - want
				return d.Abs() <= 15*time.Millisecond
			}
			if !near(from, c.before) || !near(to, c.before+c.tone) {
				t.Fatalf("trimmed to %d-%d samples", from, to)
			}
		})
	}
}
