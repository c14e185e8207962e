package session

import (
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// SipResponseCode is on every final callback, also of a call for which no SIP was spoken to its end.
func TestSipResponseCode(t *testing.T) {
	for _, tc := range []struct {
		status call.Status
		cause  call.Cause
		want   string
	}{
		{call.Completed, call.Cause{SIPCode: 200}, "200"},
		{call.Completed, call.Cause{Reason: "offhook was restarted"}, "200"},
		{call.Busy, call.Cause{SIPCode: 600}, "600"},
		{call.Failed, call.Cause{SIPCode: 404}, "404"},
		{call.Failed, call.Cause{Code: 21214}, "404"}, // no trunk serves the number
		{call.Failed, call.Cause{Reason: "offhook was restarted"}, "503"},
		{call.NoAnswer, call.Cause{SIPCode: 480}, "480"},
		{call.Canceled, call.Cause{}, "487"},
	} {
		now := time.Unix(1_700_000_000, 0)
		c := &call.Call{
			SID: twilio.NewSID("CA"), Status: tc.status, Cause: tc.cause, EndedAt: now,
			Options: call.Options{StatusURL: "http://a.test/", StatusEvents: []string{"completed"}},
		}
		p := newCallbacks(c, "completed", now, voiceParams(c))[0].Params
		if got := p.Get("SipResponseCode"); got != tc.want {
			t.Errorf("%s, %+v: %q, want %s", tc.status, tc.cause, got, tc.want)
		}
	}
}

// The SequenceNumber begins anew when the URL changes; what an earlier life of the URL still waits for goes
// first all the same.
func TestCallbackOrderOutlivesAChangeOfURL(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	c := &call.Call{SID: twilio.NewSID("CA"), Options: call.Options{
		StatusURL: "http://a.test/", StatusEvents: []string{"initiated", "ringing", "answered", "completed"},
	}}
	last := -1
	for _, step := range []struct{ event, callback, want string }{
		{"", "initiated", "0"}, {"ringing", "ringing", "1"}, {"answered", "answered", "0"}, {"completed", "completed", "1"},
	} {
		if step.event == "answered" { // redirected to another application and back
			c.CallbackSeq = 0
		}
		if step.event != "" {
			c.EventSeq++
		}
		cb := newCallbacks(c, step.callback, now, voiceParams(c))[0]
		if got := cb.Params.Get("SequenceNumber"); got != step.want || cb.Seq <= last {
			t.Errorf("%s: SequenceNumber %s, order %d after %d", step.callback, got, cb.Seq, last)
		}
		last = cb.Seq
	}
}

func TestSourceAddress(t *testing.T) {
	for source, want := range map[string]string{
		"192.0.2.7:5060": "192.0.2.7", "[2001:db8::1]:5060": "2001:db8::1", "": "",
	} {
		if got := host(source); got != want {
			t.Errorf("%q: %q, want %q", source, got, want)
		}
	}
}
