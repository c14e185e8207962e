package twilioapi

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

func TestEachPair(t *testing.T) {
	tests := []struct {
		in   string
		want []pair
	}{
		{"", nil},
		{"a=1&b=2&a=3", []pair{{"a", "1"}, {"b", "2"}, {"a", "3"}}},
		{"a&b=&=c&&", []pair{{"a", ""}, {"b", ""}, {"", "c"}}},
		{"StartTime%3E=2009-07-06&EndTime<=x", []pair{{"StartTime>", "2009-07-06"}, {"EndTime<", "x"}}},
		{"a=b=c;d&x=%2B+%C3%BC", []pair{{"a", "b=c;d"}, {"x", "+ ü"}}},
	}
	for _, tt := range tests {
		var got []pair
		err := eachPair(tt.in, func(name, value string) error {
			got = append(got, pair{name, value})
			return nil
		})
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(pair{})); err != nil || diff != "" {
			t.Errorf("%q: %v %s", tt.in, err, diff)
		}
	}
	stop := errors.New("stop")
	if err := eachPair("a=1&b=2", func(string, string) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestParseDate(t *testing.T) {
	at := time.Date(2019, 6, 11, 22, 5, 25, 0, time.UTC)
	day := time.Date(2019, 6, 11, 0, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"2019-06-11":                      day,
		" 2019-06-11 ":                    day,
		"06/11/2019":                      day,
		"20190611":                        day,
		"11 Jun 2019":                     day,
		"2019-06-11T22:05:25Z":            at,
		"2019-06-11T22:05:25.750Z":        at.Add(750 * time.Millisecond),
		"2019-06-12T00:05:25+02:00":       at,
		"2019-06-12T00:05:25+0200":        at,
		"2019-06-11T22:05:25":             at,
		"2019-06-11T22:05Z":               at.Truncate(time.Minute),
		"2019-06-11 22:05:25.000":         at,
		"2019-06-11 22:05:25":             at,
		"2019-06-11 22:05:25 UTC":         at,
		"2019-06-11 22:05:25 +0000":       at,
		"06/11/2019 22:05:25 MST":         at.Add(7 * time.Hour),
		"06/11/2019 22:05:25 gmt":         at,
		"Tue, 11 Jun 2019 22:05:25 +0000": at,
		"Tue, 11 Jun 2019 22:05:25 GMT":   at,
		"11 Jun 2019 22:05:25 -0400":      at.Add(4 * time.Hour),
		"20190611T220525Z":                at,
	} {
		if got, ok := parseDate(in); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %t", in, got, ok)
		}
	}
	for _, in := range []string{"", "x", "2019", "2019-13-01", "2019-02-30", "2019-06-11T25:00:00Z", "13/13/2019", "yesterday", "1560290725", strings.Repeat("2019-06-11", 5), "2019-06-11 22:05:25 XYZ"} {
		if got, ok := parseDate(in); ok {
			t.Errorf("%q was taken as %v", in, got)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2019-06-11", "2019-06-11T22:05:25.5+02:00", "06/11/2019 22:05:25 MST", "Tue, 11 Jun 2019 22:05:25 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseDate(s)
		if !ok {
			return
		}
		if d.Location() != time.UTC || d.Year() < 1 || d.Year() > 9999 {
			t.Errorf("%q: %v", s, d)
		}
		if again, ok := parseDate(d.Format(time.RFC3339Nano)); !ok || !again.Equal(d.Time) {
			t.Errorf("%q: %v is not read again", s, d)
		}
	})
}

// Whatever comes in a body or a query, the answer is one of ours and well formed.
func FuzzRequest(f *testing.F) {
	f.Add("To=%2B14158675309&From=%2B15557654321&Url=http%3A%2F%2Fh%2F&StatusCallbackEvent=ringing", "Timeout=5", true)
	f.Add("", "StartTime%3E=2009-07-06&PageSize=2&PageToken=PA"+callSID(1)+"-1-1", false)
	f.Add("To=%ff&Twiml=%00", "%zz", true)
	fk := newFake()
	fk.addCalls(3)
	h := New(Config{Calls: fk, Store: fk, Clock: fixedClock{}})
	f.Fuzz(func(t *testing.T, body, query string, create bool) {
		method, path := "GET", callsPath
		if create {
			method = "POST"
		}
		for _, suffix := range []string{".json", ".xml"} {
			r := httptest.NewRequest(method, path+suffix, strings.NewReader(body))
			r.URL.RawQuery = query
			r.SetBasicAuth(testSID, testToken)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			out := w.Body.Bytes()
			if !utf8.Valid(out) {
				t.Errorf("not UTF-8: %q", out)
			}
			if suffix == ".json" {
				if !json.Valid(out) {
					t.Errorf("not JSON: %s", out)
				}
			} else if err := wellFormed(string(out)); err != nil {
				t.Errorf("%v in %s", err, out)
			}
		}
	})
}

func wellFormed(s string) error {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// What quote writes reads as the same text, with U+FFFD for what was not text.
func FuzzQuote(f *testing.F) {
	f.Add("a\"b\\c\n\r\t\x01\u2028<&>ü\xff")
	f.Fuzz(func(t *testing.T, s string) {
		var e enc
		e.quote(s)
		var got string
		if err := json.Unmarshal(e.b, &got); err != nil || got != strings.ToValidUTF8(expand(s), "") {
			t.Errorf("%q: %q %v", s, got, err)
		}
		x := enc{xml: true}
		x.str("text", s)
		if err := wellFormed(string(x.b)); err != nil {
			t.Errorf("%q: %v in %s", s, err, x.b)
		}
	})
}

// expand puts one U+FFFD for each byte that is not UTF-8, as range does.
func expand(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

// The table takes each parameter that Twilio documents; none is refused by name.
func TestCreateTableIsComplete(t *testing.T) {
	for name := range strings.FieldsSeq(`To From Url Twiml ApplicationSid Method FallbackUrl FallbackMethod StatusCallback
		StatusCallbackMethod StatusCallbackEvent SendDigits Timeout Record RecordingChannels RecordingTrack RecordingStatusCallback
		RecordingStatusCallbackMethod RecordingStatusCallbackEvent Trim CallerId SipAuthUsername SipAuthPassword MachineDetection
		MachineDetectionTimeout MachineDetectionSpeechThreshold MachineDetectionSpeechEndThreshold MachineDetectionSilenceTimeout
		AsyncAmd AsyncAmdStatusCallback AsyncAmdStatusCallbackMethod Byoc CallReason CallToken TimeLimit ClientNotificationUrl`) {
		i, ok := createForm.index[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		var dst call.CreateParams
		var u unavailableError
		if err := createForm.params[i].read(&dst, "definitely not neutral"); errors.As(err, &u) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFormRefusesDoubles(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a name that is twice in the table was taken")
		}
	}()
	newForm([]param[page]{text("A", func(p *page) *string { return &p.rawToken }), text("A", func(p *page) *string { return &p.rawToken })})
}

func TestBodyOfUnknownLength(t *testing.T) {
	f := newFake()
	r := httptest.NewRequest("POST", callsPath+".json", struct{ io.Reader }{strings.NewReader(url.Values{
		"To": {"+14158675309"}, "From": {"+15557654321"}, "Twiml": {"<Response/>"},
	}.Encode())})
	r.SetBasicAuth(testSID, testToken)
	w := httptest.NewRecorder()
	New(Config{Calls: f, Store: f}).ServeHTTP(w, r)
	if w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest("POST", callsPath+".json", errReader{})
	r.SetBasicAuth(testSID, testToken)
	w = httptest.NewRecorder()
	New(Config{Calls: f, Store: f}).ServeHTTP(w, r)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "could not be read") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if e := twilio.Err(20001); e.Status != 400 {
		t.Error(e)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
