package conformance

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	sampleRate = 8000
	exact      = 20 * time.Millisecond
)

// wav is a file of 16-bit PCM as its channels.
func wav(t *testing.T, b []byte) (channels [][]int16) {
	t.Helper()
	if len(b) < 44 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" || binary.LittleEndian.Uint32(b[24:]) != sampleRate ||
		binary.LittleEndian.Uint16(b[20:]) != 1 || binary.LittleEndian.Uint16(b[34:]) != 16 {
		t.Fatalf("not a WAV file of 16-bit PCM at 8 kHz: %.44q", b)
	}
	n := int(binary.LittleEndian.Uint16(b[22:]))
	channels = make([][]int16, n)
	for i := 44; i+1 < len(b); i += 2 {
		c := (i - 44) / 2 % n
		channels[c] = append(channels[c], int16(binary.LittleEndian.Uint16(b[i:])))
	}
	return channels
}

// power is that of pcm at a frequency; a sine of amplitude a has a²/2.
func power(pcm []int16, hz float64) float64 {
	var re, im float64
	for i, s := range pcm {
		sin, cos := math.Sincos(2 * math.Pi * hz / sampleRate * float64(i))
		re, im = re+float64(s)*cos, im+float64(s)*sin
	}
	n := float64(len(pcm))
	return 2 * (re*re + im*im) / (n * n)
}

// total is the power of pcm, at all frequencies.
func total(pcm []int16) (sum float64) {
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum / float64(len(pcm))
}

// tone is where the first and the last 10 ms of a tone are, and how much of it there is.
func tone(pcm []int16, hz float64) (from, to int, length time.Duration) {
	const step = sampleRate / 100
	from = -1
	for i := 0; i+step <= len(pcm); i += step {
		if part := pcm[i : i+step]; power(part, hz) > 1e6 && power(part, hz) > 0.6*total(part) {
			if from < 0 {
				from = i
			}
			to, length = i+step, length+10*time.Millisecond
		}
	}
	return from, to, length
}

// media downloads what was recorded.
func (s *server) media(t *testing.T, sid, suffix string, want int) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/2010-04-01/Accounts/"+accountSID+"/Recordings/"+sid+suffix, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(accountSID, authToken)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s: %s %v %.200s", suffix, resp.Status, err, b)
	}
	return b
}

// A phone whistles what is said below, and a key tells when each is over; meanwhile the SDK steers the recording.
func TestTheSDKRecordsALiveCall(t *testing.T) {
	for _, behavior := range []string{"silence", "skip"} {
		t.Run(behavior, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			app := newApp(t, map[string]string{"/key": `<Response><Pause length="60"/></Response>`})
			uri, lines := phone(t, "answer; expect digits 1; tone 440 1s; wait 300ms; press 1; expect digits 2; "+
				"tone 1000 1s; wait 300ms; press 2; expect digits 3; tone 700 1s; wait 300ms; press 3; expect hangup")
			c := s.call(t, uri, `<Response><Pause length="60"/></Response>`)
			s.waitStatus(t, *c.Sid, "in-progress")

			create := &api.CreateCallRecordingParams{}
			create.SetRecordingChannels("dual")
			create.SetRecordingTrack("both")
			create.SetTrim("do-not-trim")
			create.SetRecordingStatusCallback(app.URL + "/rec")
			create.SetRecordingStatusCallbackMethod("GET")
			create.SetRecordingStatusCallbackEvent([]string{"in-progress", "completed", "absent"})
			began := time.Now()
			r, err := s.sdk.CreateCallRecording(*c.Sid, create)
			if err != nil {
				t.Fatal(err)
			}
			if *r.Status != "in-progress" || *r.Source != "StartCallRecordingAPI" || r.Channels != 2 || *r.Track != "both" || r.Duration != nil || r.Price != nil {
				t.Errorf("started: %+v", r)
			}
			update := func(sid, status, behavior string) {
				t.Helper()
				p := &api.UpdateCallRecordingParams{}
				p.SetStatus(status)
				if behavior != "" {
					p.SetPauseBehavior(behavior)
				}
				if got, err := s.sdk.UpdateCallRecording(*c.Sid, sid, p); err != nil || *got.Sid != *r.Sid || *got.Status != status {
					t.Fatalf("%s: %+v %v", status, got, err)
				}
			}
			// next has the phone whistle, and waits until it is done.
			next := func(n int) {
				t.Helper()
				u := &api.UpdateCallParams{}
				u.SetTwiml(fmt.Sprintf(`<Response><Play digits="%d"/><Gather numDigits="1" timeout="30" action="%s/key"/></Response>`, n, app.URL))
				if _, err := s.sdk.UpdateCall(*c.Sid, u); err != nil {
					t.Fatal(err)
				}
				if keys := app.waitFor("/key", n); keys[n-1].Get("Digits") != strconv.Itoa(n) {
					t.Fatalf("key %d is %v", n, keys[n-1])
				}
			}
			next(1)
			pausing := time.Now()
			update("Twilio.CURRENT", "paused", behavior)
			next(2)
			update(*r.Sid, "in-progress", "")
			resumed := time.Now()
			next(3)
			update("Twilio.CURRENT", "stopped", "")
			took := time.Since(began)
			app.waitFor("/rec", 2)
			for i, status := range []string{"in-progress", "completed"} {
				cb := app.requests("/rec")[i]
				if cb.Get("RecordingStatus") != status || cb.Get("RecordingSid") != *r.Sid || cb.Get("CallSid") != *c.Sid ||
					cb.Get("RecordingUrl") != s.url+"/2010-04-01/Accounts/"+accountSID+"/Recordings/"+*r.Sid || cb.Get("RecordingChannels") != "2" {
					t.Errorf("callback %d is %v", i, cb)
				}
			}

			done, err := s.sdk.FetchCallRecording(*c.Sid, *r.Sid, nil)
			if err != nil || *done.Status != "completed" || done.Duration == nil {
				t.Fatalf("%+v %v", done, err)
			}
			two := wav(t, s.media(t, *r.Sid, ".wav", http.StatusOK))
			if len(two) != 2 {
				t.Fatalf("%d channels", len(two))
			}
			length := time.Duration(len(two[0])) * time.Second / sampleRate
			if want := strconv.Itoa(int(length.Round(time.Second) / time.Second)); *done.Duration != want {
				t.Errorf("duration %s of %v", *done.Duration, length)
			}
			if behavior == "skip" {
				took -= resumed.Sub(pausing)
			}
			if late := took - length; late < -time.Second/2 || late > time.Second/2 { // what requests take
				t.Errorf("it lasts %v of %v", length, took)
			}
			for hz, want := range map[float64]time.Duration{440: time.Second, 700: time.Second, 1000: 0} {
				if _, _, got := tone(two[0], hz); got < want-exact || got > want+exact {
					t.Errorf("%v of %g Hz, want %v", got, hz, want)
				}
			}
			from, to, _ := tone(two[0], 440)
			if mine, other := power(two[0][from:to], 440), power(two[1][from:to], 440); other > mine/1e4 {
				t.Errorf("the channels are %.0f dB apart", 10*math.Log10(mine/other))
			}
			if one := wav(t, s.media(t, *r.Sid, ".wav?RequestedChannels=1", http.StatusOK)); len(one) != 1 || len(one[0]) != len(two[0]) {
				t.Errorf("RequestedChannels=1: %d channels", len(one))
			}
			if plain := wav(t, s.media(t, *r.Sid, "?RequestedChannels=2", http.StatusOK)); len(plain) != 2 {
				t.Errorf("RequestedChannels=2: %d channels", len(plain))
			}
			if mp3 := s.media(t, *r.Sid, ".mp3", http.StatusOK); len(mp3) < 1000 || mp3[0] != 0xFF && string(mp3[:3]) != "ID3" {
				t.Errorf("MP3 of %d bytes: %.8q", len(mp3), mp3)
			}

			hangup := &api.UpdateCallParams{}
			hangup.SetStatus("completed")
			if _, err := s.sdk.UpdateCall(*c.Sid, hangup); err != nil {
				t.Error(err)
			}
			await(t, lines, regexp.MustCompile(`^ended by the far end: 200`))
			s.waitStatus(t, *c.Sid, "completed")
			p := &api.UpdateCallRecordingParams{}
			p.SetStatus("paused")
			wantCode(t, func() error { _, err := s.sdk.UpdateCallRecording(*c.Sid, *r.Sid, p); return err }, 21220)
			wantCode(t, func() error { _, err := s.sdk.UpdateCallRecording(*c.Sid, "Twilio.CURRENT", p); return err }, 21220)
			wantCode(t, func() error { _, err := s.sdk.CreateCallRecording(*c.Sid, create); return err }, 21220)
		})
	}
}

func TestTheSDKListsAndDeletesRecordings(t *testing.T) {
	t.Parallel()
	s := start(t)
	app := newApp(t, map[string]string{"/key": `<Response><Pause length="60"/></Response>`})
	uri, _ := phone(t, "answer; expect digits 1; tone 440 1s; press 1; expect hangup")
	c := s.call(t, uri, `<Response><Pause length="60"/></Response>`)
	s.waitStatus(t, *c.Sid, "in-progress")
	create := &api.CreateCallRecordingParams{}
	create.SetRecordingStatusCallback(app.URL + "/rec")
	var sids []string
	for _, track := range []string{"inbound", "outbound", "both"} {
		create.SetRecordingTrack(track)
		r, err := s.sdk.CreateCallRecording(*c.Sid, create)
		if err != nil {
			t.Fatal(err)
		}
		sids = append([]string{*r.Sid}, sids...)
	}
	stop := &api.UpdateCallRecordingParams{}
	stop.SetStatus("stopped")
	wantCode(t, func() error { _, err := s.sdk.UpdateCallRecording(*c.Sid, "Twilio.CURRENT", stop); return err }, 21220)
	wantCode(t, func() error { return s.sdk.DeleteRecording(sids[0], nil) }, 20009)
	listen := &api.UpdateCallParams{}
	listen.SetTwiml(`<Response><Play digits="1"/><Gather numDigits="1" timeout="30" action="` + app.URL + `/key"/></Response>`)
	if _, err := s.sdk.UpdateCall(*c.Sid, listen); err != nil {
		t.Fatal(err)
	}
	app.waitFor("/key", 1)
	hangup := &api.UpdateCallParams{}
	hangup.SetStatus("completed")
	if _, err := s.sdk.UpdateCall(*c.Sid, hangup); err != nil {
		t.Fatal(err)
	}
	app.waitFor("/rec", 3)

	list := &api.ListRecordingParams{}
	list.SetCallSid(*c.Sid)
	list.SetPageSize(2)
	list.SetDateCreatedAfter(time.Now().Add(-time.Hour))
	all, err := s.sdk.ListRecording(list)
	var listed []string
	for _, r := range all {
		listed = append(listed, *r.Sid)
	}
	if err != nil || !slices.Equal(listed, sids) {
		t.Errorf("listed %v %v, want %v", listed, err, sids)
	}
	ofCall, err := s.sdk.ListCallRecording(*c.Sid, nil)
	if err != nil || len(ofCall) != 3 || *ofCall[0].Sid != sids[0] {
		t.Errorf("of the call: %v %v", ofCall, err)
	}
	if r, err := s.sdk.FetchRecording(sids[0], nil); err != nil || *r.CallSid != *c.Sid || *r.MediaUrl != s.url+"/2010-04-01/Accounts/"+accountSID+"/Recordings/"+sids[0] {
		t.Errorf("%+v %v", r, err)
	}
	s.media(t, sids[0], ".wav?RequestedChannels=2", http.StatusBadRequest) // it has one
	if err := s.sdk.DeleteRecording(sids[0], nil); err != nil {
		t.Error(err)
	}
	if err := s.sdk.DeleteCallRecording(*c.Sid, sids[1], nil); err != nil {
		t.Error(err)
	}
	for _, sid := range sids[:2] {
		wantCode(t, func() error { _, err := s.sdk.FetchRecording(sid, nil); return err }, 20404)
		wantCode(t, func() error { return s.sdk.DeleteRecording(sid, nil) }, 20404)
		s.media(t, sid, ".wav", http.StatusNotFound)
		deleted := &api.FetchRecordingParams{}
		deleted.SetIncludeSoftDeleted(true)
		if r, err := s.sdk.FetchRecording(sid, deleted); err != nil || *r.Status != "deleted" {
			t.Errorf("%+v %v", r, err)
		}
	}
}
