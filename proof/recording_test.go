package proof

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/phone"
)

const (
	// unspooled is what of a recording may be lost with its process.
	unspooled = 1200 * time.Millisecond
	// said is how long somebody whistles.
	said = 3 * time.Second
)

// recordedSources are the recordings of a recordedCall.
var recordedSources = []string{"OutboundAPI", "RecordVerb", "StartCallRecordingTwiML"}

// recorder is an engine with an application that is told of recordings, and somebody who whistles when he is called.
type recorder struct {
	*engine
	told     chan url.Values // recording status callbacks
	whistled chan struct{}   // somebody is done
	carrier  *phone.Phone
	app      string // URL
}

func newRecorder(t *testing.T, prepare func(*exec.Cmd)) *recorder {
	t.Helper()
	r := &recorder{told: make(chan url.Values, 64), whistled: make(chan struct{}, 16)}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if err := q.ParseForm(); err != nil {
			t.Error(err)
		}
		if q.Form.Has("RecordingStatus") {
			r.told <- q.Form
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, `<Response><Pause length="600"/></Response>`)
	}))
	t.Cleanup(app.Close)
	r.app = app.URL
	var err error
	r.carrier, err = phone.Listen(t.Context(), phone.Config{OnCall: func(c *phone.Call) {
		_ = c.Ring()
		_ = c.Answer()
		if c.WaitAnswered(t.Context()) == nil && c.Play(t.Context(), append(make([]int16, audio.SampleRate/2), audio.Tone(said, 440)...)) == nil {
			r.whistled <- struct{}{}
		}
		<-c.HungUp()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.carrier.Close() })
	r.engine = &engine{t: t, bin: build(t), data: t.TempDir(), prepare: prepare}
	r.start()
	t.Cleanup(r.kill)
	r.trunk("carrier", r.carrier.Addr(), wide, 0, 0)
	return r
}

// call has somebody called who is recorded three ways.
func (r *recorder) call() (sid string) {
	r.t.Helper()
	sid, err := r.create(r.t.Context(), url.Values{
		"To": {wide + "30000002"}, "From": {talks}, "Record": {"true"}, "RecordingStatusCallback": {r.app},
		"Twiml": {`<Response><Start><Recording recordingStatusCallback="` + r.app + `"/></Start><Record action="` + r.app +
			`" playBeep="false" timeout="0" recordingStatusCallback="` + r.app + `"/></Response>`},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return sid
}

func (r *recorder) waitWhistled() {
	r.t.Helper()
	select {
	case <-r.whistled:
	case <-time.After(patience):
		r.t.Fatal("nobody was called")
	}
}

// settled waits until the application was told of all recordings of a call that they have a status, once each, and
// returns their SIDs by source.
func (r *recorder) settled(call, status string) map[string]string {
	r.t.Helper()
	sids := map[string]string{}
	for late := time.After(patience); len(sids) < len(recordedSources); {
		select {
		case p := <-r.told:
			source := p.Get("RecordingSource")
			if p.Get("RecordingStatus") != status || p.Get("CallSid") != call || sids[source] != "" || !slices.Contains(recordedSources, source) {
				r.t.Fatalf("the application was told %v", p)
			}
			sids[source] = p.Get("RecordingSid")
		case <-late:
			r.t.Fatalf("the application was told of %v", sids)
		}
	}
	return sids
}

// recordingResource is what the proof reads of a recording.
type recordingResource struct {
	SID       string `json:"sid"`
	CallSID   string `json:"call_sid"`
	Status    string `json:"status"`
	ErrorCode int    `json:"error_code"`
	Source    string `json:"source"`
	Duration  string `json:"duration"` // seconds, -1 without
	Channels  int    `json:"channels"`
}

func (r *recorder) recordings(call string) []recordingResource {
	r.t.Helper()
	var list struct{ Recordings []recordingResource }
	if err := r.request(r.t.Context(), "GET", apiBase+"/Calls/"+call+"/Recordings.json", nil, "", &list); err != nil {
		r.t.Fatal(err)
	}
	return list.Recordings
}

// metric is the value of one of the engine's.
func (r *recorder) metric(name string) string {
	q, err := http.NewRequestWithContext(r.t.Context(), "GET", "http://"+r.http+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return value
		}
	}
	return ""
}

// download is a recording's audio.
func (r *recorder) download(sid string) []byte {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), "GET", "http://"+r.http+apiBase+"/Recordings/"+sid+".wav", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.SetBasicAuth(accountSID, authToken)
	resp, err := r.client.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %s %v", sid, resp.Status, err)
	}
	return body
}

// whistle is how much of the whistle a WAV file has.
func (r *recorder) whistle(what string, wav []byte) (heard time.Duration) {
	r.t.Helper()
	clip, err := audio.Decode("audio/wav", wav)
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	pcm := audio.DecodeULaw(clip.ULaw())
	for i := 0; i+160 <= len(pcm); i += 160 {
		if audio.Has(pcm[i:i+160], 440) {
			heard += audio.FrameDuration
		}
	}
	return heard
}

// TestAKillInMidRecording kills the engine while a call is recorded three ways: the next one completes each recording
// with what was spooled, and says so.
func TestAKillInMidRecording(t *testing.T) {
	for i := range *rounds {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			r := newRecorder(t, nil)
			call := r.call()
			r.waitWhistled()
			r.kill()
			r.start()
			for source, sid := range r.settled(call, "completed") {
				if heard := r.whistle(source, r.download(sid)); heard < said-unspooled {
					t.Errorf("%s has %v of what was said for %v", source, heard, said)
				}
			}
			r.over(call, "completed", 0)
		})
	}
}

// over checks that each recording of a call has one final status.
func (r *recorder) over(call, status string, code int) {
	r.t.Helper()
	list := r.recordings(call)
	for _, got := range list {
		if got.Status != status || got.ErrorCode != code {
			r.t.Errorf("%s is %s with error %d, want %s, %d", got.Source, got.Status, got.ErrorCode, status, code)
		}
	}
	if len(list) != len(recordedSources) {
		r.t.Errorf("the call has %d recordings", len(list))
	}
}

// TestASpoolThatIsFull fills the disk of the spool while a call is recorded three ways: every recording fails and says
// so, what it had taken down is set aside, and the call goes on. With room again the next ones are complete.
func TestASpoolThatIsFull(t *testing.T) {
	probe := exec.Command("sh", "-c", `mount -t tmpfs none "$0"`, t.TempDir())
	probe.SysProcAttr = ownMounts()
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("this machine gives no mount namespace (%v: %s): a full spool is NOT proved", err, out)
	}
	for i := range *rounds {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			r := newRecorder(t, func(cmd *exec.Cmd) {
				spool := filepath.Join(cmd.Args[slices.Index(cmd.Args, "--data")+1], "spool")
				cmd.Args = slices.Concat([]string{"sh", "-c", `mkdir -p "$0" && mount -t tmpfs -o size=8m none "$0" && exec "$@"`, spool, cmd.Path}, cmd.Args[1:])
				cmd.Path = "/bin/sh"
				cmd.SysProcAttr = ownMounts()
			})
			spool := fmt.Sprintf("/proc/%d/root%s/spool", r.cmd.Process.Pid, r.data)
			call := r.call()
			some := int64(9000 + rand.IntN(8000)) // bytes of each recording: more than the silence before the whistle
			spooled := map[string]int64{}
			r.until("recordings are spooled", func() bool {
				for _, x := range r.recordings(call) {
					if info, err := os.Stat(filepath.Join(spool, x.SID+".wav")); err == nil && info.Size() > some {
						spooled[x.SID] = info.Size()
					}
				}
				return len(spooled) == len(recordedSources)
			})
			filler := filepath.Join(spool, "filler")
			fill(t, filler)
			sids := r.settled(call, "failed")
			r.over(call, "absent", 12400)
			if c, err := r.fetch(call); err != nil || c.Status != "in-progress" {
				t.Errorf("the call is %s, %v", c.Status, err)
			}
			for source, sid := range sids {
				name := filepath.Join(spool, "failed", sid+".wav")
				r.until(source+" is set aside", func() bool { _, err := os.Stat(name); return err == nil })
				wav, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if int64(len(wav)) < spooled[sid] || r.whistle(source, wav) == 0 {
					t.Errorf("what is left of %s has %d bytes and %v of the whistle, want %d", source, len(wav), r.whistle(source, wav), spooled[sid])
				}
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			r.waitWhistled()
			next := r.call()
			r.waitWhistled()
			r.hangup(next)
			for source, sid := range r.settled(next, "completed") {
				if heard := r.whistle(source, r.download(sid)); heard < said-2*audio.FrameDuration {
					t.Errorf("with room again %s has %v of what was said for %v", source, heard, said)
				}
			}
			r.hangup(call)
		})
	}
}

// fill writes a file until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// hangup ends a call.
func (r *recorder) hangup(call string) {
	r.t.Helper()
	var c resource
	if err := r.request(r.t.Context(), "POST", apiBase+"/Calls/"+call+".json", strings.NewReader("Status=completed"), "application/x-www-form-urlencoded", &c); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for something to be so.
func (r *recorder) until(what string, so func() bool) {
	r.t.Helper()
	if !until(r.t.Context(), time.Now().Add(patience), so) {
		r.t.Fatalf("%s: not within %v", what, patience)
	}
}

// bucket is an S3 server that can be away.
type bucket struct {
	t       *testing.T
	handler http.Handler
	addr    string
	server  *http.Server
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("calls"); err != nil {
		t.Fatal(err)
	}
	b := &bucket{t: t, handler: gofakes3.New(backend).Server(), addr: "127.0.0.1:0"}
	b.comes()
	t.Cleanup(b.goes)
	return b
}

func (b *bucket) comes() {
	b.t.Helper()
	l, err := new(net.ListenConfig).Listen(b.t.Context(), "tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.server = &http.Server{Handler: b.handler, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := b.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			b.t.Error(err)
		}
	}()
}

// goes cuts all connections.
func (b *bucket) goes() {
	if b.server != nil {
		_ = b.server.Close()
		b.server = nil
	}
}

// TestAStoreOfRecordingsThatIsAway ends recordings while the store is away, and kills the engine meanwhile every other
// time: when the store is back every recording is there, whole, and the application is told once.
func TestAStoreOfRecordingsThatIsAway(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for i := range *rounds {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			b := newBucket(t)
			r := newRecorder(t, func(cmd *exec.Cmd) {
				cmd.Args = append(cmd.Args, "--recordings", "s3://calls?region=any&use_path_style=true&endpoint=http://"+b.addr)
			})
			call := r.call()
			r.waitWhistled()
			b.goes()
			r.hangup(call)
			r.until("all recordings are processing", func() bool {
				list := r.recordings(call)
				return len(list) == len(recordedSources) && !slices.ContainsFunc(list, func(x recordingResource) bool { return x.Status != "processing" })
			})
			if i%2 == 1 {
				r.until("all recordings wait for the store", func() bool { return r.metric("offhook_recording_in_hand") == "3" })
				r.kill()
				r.start()
			}
			select {
			case p := <-r.told:
				t.Fatalf("with the store away the application was told %v", p)
			default:
			}
			b.comes()
			for source, sid := range r.settled(call, "completed") {
				if heard := r.whistle(source, r.download(sid)); heard < said-2*audio.FrameDuration {
					t.Errorf("%s has %v of what was said for %v", source, heard, said)
				}
			}
			r.over(call, "completed", 0)
		})
	}
}
