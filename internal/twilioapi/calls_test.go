package twilioapi

import (
	"context"
	"net/url"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// slowStore holds the first fetch of a call until it is released.
type slowStore struct {
	*fake
	once            sync.Once
	inside, release chan struct{}
}

func (s *slowStore) Call(ctx context.Context, accountSID, sid string) (*call.Call, error) {
	s.once.Do(func() {
		close(s.inside)
		<-s.release
	})
	return s.fake.Call(ctx, accountSID, sid)
}

func TestCreateReadsEveryParameter(t *testing.T) {
	f := newFake()
	a := ask(t, f, "POST", callsPath+".json?Timeout=7&From=%2B15550000000", url.Values{
		"To": {"+14158675309"}, "From": {"+15557654321", "+15557654322"}, "Url": {"https://app.example.com/voice?x=%2B"}, "Method": {"GET"},
		"FallbackUrl": {"https://app.example.com/fallback"}, "FallbackMethod": {"GET"},
		"StatusCallback": {"https://app.example.com/status"}, "StatusCallbackMethod": {"GET"},
		"StatusCallbackEvent": {"initiated", "ringing", "answered", "completed"},
		"SendDigits":          {"ww12#"}, "TimeLimit": {"90"}, "CallerId": {"+15550001111"},
		"SipAuthUsername": {"bob"}, "SipAuthPassword": {"s3cret"},
		"Record": {"True"}, "Trim": {"do-not-trim"}, "RecordingChannels": {"dual"}, "RecordingTrack": {"both"},
		"RecordingStatusCallback": {"https://app.example.com/rec"}, "RecordingStatusCallbackMethod": {"GET"},
		"RecordingStatusCallbackEvent": {"in-progress absent"}, "ApplicationSid": {""},
		"MachineDetection": {"DetectMessageEnd"}, "MachineDetectionTimeout": {"59"}, "MachineDetectionSpeechThreshold": {"1000"},
		"MachineDetectionSpeechEndThreshold": {"500"}, "MachineDetectionSilenceTimeout": {"2000"}, "AsyncAmd": {"True"},
		"AsyncAmdStatusCallback": {"https://app.example.com/amd"}, "AsyncAmdStatusCallbackMethod": {"GET"},
		"SomethingNew": {"x"}, "url": {"ignored"},
	})
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	want := call.CreateParams{To: "+14158675309", From: "+15557654321", Options: call.Options{
		URL: "https://app.example.com/voice?x=%2B", Method: "GET", FallbackURL: "https://app.example.com/fallback", FallbackMethod: "GET",
		StatusURL: "https://app.example.com/status", StatusMethod: "GET", StatusEvents: []string{"initiated", "ringing", "answered", "completed"},
		SendDigits: "ww12#", Timeout: 7, TimeLimit: 90, CallerID: "+15550001111", SIPUsername: "bob", SIPPassword: "s3cret",
	}, Record: new(bool), Recording: call.RecordingParams{
		Channels: "dual", Track: "both", Trim: "do-not-trim", StatusURL: "https://app.example.com/rec", StatusMethod: "GET",
		StatusEvents: []string{"in-progress", "absent"},
	}, MachineDetection: call.MachineDetection{
		Mode: "DetectMessageEnd", Timeout: 59, SpeechThreshold: 1000, SpeechEndThreshold: 500, SilenceTimeout: 2000,
		CallbackURL: "https://app.example.com/amd", CallbackMethod: "GET",
	}, AsyncAMD: new(bool)}
	*want.Record, want.Options.Recording, *want.AsyncAMD = true, &want.Recording, true
	if diff := cmp.Diff(want, f.created); diff != "" {
		t.Error(diff)
	}
}

// What stands instead of URLs, and what goes with a client.
func TestCreateReadsWhatElseThereIs(t *testing.T) {
	f := newFake()
	app := "AP" + callSID(1)[2:]
	a := ask(t, f, "POST", callsPath+".json", url.Values{
		"To": {"client:bob"}, "From": {"+15557654321"}, "ApplicationSid": {app}, "CallToken": {"%7B%7D"}, "CallReason": {"Your order"},
		"ClientNotificationUrl": {"https://app.example.com/wake"},
	})
	if a.status != 201 || f.created.ApplicationSID != app || f.created.CallToken != "%7B%7D" || f.created.Options.CallReason != "Your order" ||
		f.created.Options.NotificationURL != "https://app.example.com/wake" {
		t.Errorf("%d %s: %+v", a.status, a.body, f.created)
	}
}

// Mistakes that Twilio only warns of still make a call.
func TestCreateWithWarnings(t *testing.T) {
	f := newFake()
	a := ask(t, f, "POST", callsPath+".json", url.Values{
		"To": {"+14158675309"}, "From": {"+15557654321"}, "Url": {"https://h/"}, "Twiml": {"<Response/>"},
		"StatusCallback": {"https://h/"}, "StatusCallbackEvent": {"initiated ringing"},
	})
	if a.status != 201 || len(f.created.Warnings) != 2 || len(f.created.Options.StatusEvents) != 0 {
		t.Errorf("%d %+v", a.status, f.created)
	}
}

func TestUpdateReadsEveryParameter(t *testing.T) {
	f := newFake()
	f.addCalls(1)
	a := ask(t, f, "POST", callsPath+"/"+callSID(1)+".json", url.Values{
		"Status": {"completed"}, "Url": {"https://h/"}, "Method": {"GET"}, "Twiml": {"<Response/>"}, "FallbackUrl": {"https://f/"},
		"FallbackMethod": {"GET"}, "StatusCallback": {"https://s/"}, "StatusCallbackMethod": {"GET"}, "TimeLimit": {"60"},
	})
	want := call.UpdateParams{
		Status: call.Completed, URL: "https://h/", Method: "GET", Twiml: "<Response/>", FallbackURL: "https://f/", FallbackMethod: "GET",
		StatusURL: "https://s/", StatusMethod: "GET", TimeLimit: 60,
	}
	if diff := cmp.Diff(want, f.updated); a.status != 200 || diff != "" {
		t.Errorf("%d %s", a.status, diff)
	}
	if a := ask(t, f, "DELETE", callsPath+"/"+callSID(1)+".json", nil); a.status != 204 || a.body != "" {
		t.Errorf("delete: %d %q", a.status, a.body)
	}
}

func TestListFilters(t *testing.T) {
	day := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	next := day.Add(24 * time.Hour)
	tests := []struct {
		query string
		want  call.Filter
	}{
		{"", call.Filter{}},
		{"To=%2B14158675309&From=sip%3Aa%40h&ParentCallSid=" + callSID(1), call.Filter{To: "+14158675309", From: "sip:a@h", ParentSID: callSID(1)}},
		{"To=(415)+867-5309&From=+15557654321", call.Filter{To: "+14158675309", From: "+15557654321"}},
		{"Status=busy&Status=failed&Status=busy", call.Filter{Statuses: []call.Status{call.Busy, call.Failed}}},
		{"StartTime=2026-03-04", call.Filter{StartAfter: day, StartBefore: next}},
		{"StartTime=2026-03-04T23:59:59Z", call.Filter{StartAfter: day, StartBefore: next}},
		{"StartTime=2026-03-04T23:59:59-05:00", call.Filter{StartAfter: next, StartBefore: next.Add(24 * time.Hour)}},
		{"StartTime%3E=2026-03-04&StartTime%3C=2026-03-05", call.Filter{StartAfter: day, StartBefore: next}},
		{"StartTime>=2026-03-04&EndTime<=2026-03-05T01:02:03Z", call.Filter{StartAfter: day, EndBefore: next.Add(time.Hour + 2*time.Minute + 3*time.Second)}},
		{"EndTime=2026-03-04&EndTime%3E=2026-03-04T12:00:00Z", call.Filter{EndAfter: day.Add(12 * time.Hour), EndBefore: next}},
		{"PageSize=0", call.Filter{}},
		{"PageSize=-3", call.Filter{Limit: 1}},
		{"PageSize=5000", call.Filter{Limit: 1000}},
		{"PageSize=20&Page=3", call.Filter{Limit: 20, Offset: 60}},
		{"Page=-1", call.Filter{}},
		{"Page=3&PageToken=" + twilio.PageToken{SID: callSID(5), Time: 7, Seq: 8}.String(), call.Filter{Cursor: twilio.PageToken{SID: callSID(5), Time: 7, Seq: 8}}},
		{"Page=3&PageToken=" + twilio.PageToken{SID: callSID(5), Before: true}.String(), call.Filter{Cursor: twilio.PageToken{SID: callSID(5), Before: true}}},
		{"Status=&To=&StartTime=&PageSize=&PageToken=&Unknown=1", call.Filter{}},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			f := newFake()
			a := ask(t, f, "GET", callsPath+".json?"+tt.query, nil)
			tt.want.AccountSID = testSID
			if tt.want.Limit == 0 {
				tt.want.Limit = 50
			}
			if diff := cmp.Diff(tt.want, f.filter); a.status != 200 || diff != "" {
				t.Errorf("%d\n%s", a.status, diff)
			}
		})
	}
}

// envelope is a page of any list.
type envelope struct {
	Calls                []struct{ SID string }
	IncomingPhoneNumbers []struct{ SID string } `json:"incoming_phone_numbers"`
	Notifications        []struct{ SID string }
	Page, Start, End     int
	PageSize             int     `json:"page_size"`
	URI                  string  `json:"uri"`
	FirstPageURI         string  `json:"first_page_uri"`
	NextPageURI          *string `json:"next_page_uri"`
	PreviousPageURI      *string `json:"previous_page_uri"`
}

func (e envelope) sids() []string {
	var sids []string
	for _, list := range [][]struct{ SID string }{e.Calls, e.IncomingPhoneNumbers, e.Notifications} {
		for _, item := range list {
			sids = append(sids, item.SID)
		}
	}
	return sids
}

// walk follows next_page_uri to the end, then previous_page_uri back to the first page, and returns
// what both ways showed in order.
func walk(t *testing.T, f *fake, path string) (forth, back [][]string, pages []envelope) {
	t.Helper()
	uri := path
	for {
		var e envelope
		a := ask(t, f, "GET", uri, nil)
		a.decode(t, &e)
		forth, pages = append(forth, e.sids()), append(pages, e)
		if len(pages) > 100 {
			t.Fatal("the pages do not end")
		}
		if e.NextPageURI == nil {
			break
		}
		uri = *e.NextPageURI
	}
	for e := pages[len(pages)-1]; e.PreviousPageURI != nil; {
		uri := *e.PreviousPageURI
		e = envelope{}
		ask(t, f, "GET", uri, nil).decode(t, &e)
		back = append(back, e.sids())
		if len(back) > 100 {
			t.Fatal("the pages do not begin")
		}
	}
	return forth, back, pages
}

func TestPagingBothWays(t *testing.T) {
	f := newFake()
	f.addCalls(7)
	for i := range 7 {
		f.notifications = append(f.notifications, call.Notification{SID: "NO" + callSID(9 - i)[2:], AccountSID: testSID, Time: testTime})
		f.numbers = append(f.numbers, &call.Number{SID: "PN" + callSID(9 - i)[2:], AccountSID: testSID, FriendlyName: "a b", DateCreated: testTime})
	}
	for _, path := range []string{
		callsPath + ".json?Status=queued&PageSize=3",
		base + "/Accounts/" + testSID + "/Notifications.json?Log=0&PageSize=3",
		pnPath + ".json?FriendlyName=a+b&PageSize=3",
	} {
		t.Run(path, func(t *testing.T) {
			forth, back, pages := walk(t, f, path)
			if len(forth) != 3 || len(forth[0]) != 3 || len(forth[2]) != 1 {
				t.Fatalf("pages: %v", forth)
			}
			all := append(append(append([]string{}, forth[0]...), forth[1]...), forth[2]...)
			if !sort.SliceIsSorted(all, func(i, j int) bool { return all[i] > all[j] }) {
				t.Errorf("not newest first: %v", all)
			}
			if diff := cmp.Diff([][]string{forth[1], forth[0]}, back); diff != "" {
				t.Errorf("the way back: %s", diff)
			}
			for i, e := range pages {
				if e.Page != i || e.PageSize != 3 || e.Start != 3*i || e.End != 3*i+len(forth[i])-1 || e.FirstPageURI != pages[0].URI {
					t.Errorf("page %d: %+v", i, e)
				}
			}
			collection, query, _ := strings.Cut(path, "?")
			if want := collection + "?" + query + "&Page=0"; pages[0].URI != want {
				t.Errorf("uri %s, want %s", pages[0].URI, want)
			}
			token := "PA" + forth[0][2] + "-"
			if want := collection + "?" + query + "&Page=1&PageToken=" + token; !strings.HasPrefix(*pages[0].NextPageURI, want) || pages[1].URI != *pages[0].NextPageURI {
				t.Errorf("next %s, want %s…", *pages[0].NextPageURI, want)
			}
		})
	}
}

// A page by number alone, as clients ask that count themselves; behind the end it leads back.
func TestPagingByNumber(t *testing.T) {
	f := newFake()
	f.addCalls(5)
	var e envelope
	ask(t, f, "GET", callsPath+".json?PageSize=2&Page=1", nil).decode(t, &e)
	if diff := cmp.Diff([]string{callSID(3), callSID(2)}, e.sids()); diff != "" || e.Start != 2 || e.End != 3 {
		t.Errorf("%+v", e)
	}
	e = envelope{}
	ask(t, f, "GET", callsPath+".json?PageSize=2&Page=9", nil).decode(t, &e)
	if len(e.sids()) != 0 || e.End != 0 || e.NextPageURI != nil || e.PreviousPageURI == nil || !strings.HasSuffix(*e.PreviousPageURI, "Page=8") {
		t.Errorf("%+v", e)
	}
}

// New calls arrive while somebody pages: nothing is shown twice, and the way back ends at page 0.
func TestPagingWhileCallsArrive(t *testing.T) {
	f := newFake()
	f.addCalls(4)
	var first, second, back envelope
	ask(t, f, "GET", callsPath+".json?PageSize=2", nil).decode(t, &first)
	f.calls = append([]*call.Call{{SID: callSID(9), AccountSID: testSID, DateCreated: testTime}, {SID: callSID(8), AccountSID: testSID, DateCreated: testTime}}, f.calls...)
	ask(t, f, "GET", *first.NextPageURI, nil).decode(t, &second)
	if diff := cmp.Diff([]string{callSID(2), callSID(1)}, second.sids()); diff != "" {
		t.Error(diff)
	}
	ask(t, f, "GET", *second.PreviousPageURI, nil).decode(t, &back)
	if diff := cmp.Diff(first.sids(), back.sids()); diff != "" || back.Page != 0 || back.PreviousPageURI != nil {
		t.Errorf("%s %+v", diff, back)
	}
}

// A list that is emptied page by page, as clean-up scripts do: every call is seen.
func TestPagingWhileCallsAreDeleted(t *testing.T) {
	f := newFake()
	f.addCalls(7)
	seen := 0
	for uri := callsPath + ".json?PageSize=3"; uri != ""; {
		var e envelope
		ask(t, f, "GET", uri, nil).decode(t, &e)
		gone := e.sids()
		seen += len(gone)
		f.calls = slices.DeleteFunc(f.calls, func(c *call.Call) bool { return slices.Contains(gone, c.SID) })
		if uri = ""; e.NextPageURI != nil {
			uri = *e.NextPageURI
		}
	}
	if seen != 7 {
		t.Errorf("%d calls seen of 7", seen)
	}
}

func TestNumbers(t *testing.T) {
	f := newFake()
	a := ask(t, f, "POST", pnPath+".json", url.Values{
		"PhoneNumber": {"415 867 5309"}, "VoiceUrl": {"https://app.example.com/voice"}, "VoiceMethod": {"get"},
		"VoiceFallbackUrl": {"https://app.example.com/f"}, "StatusCallback": {"https://app.example.com/s"}, "VoiceCallerIdLookup": {"TRUE"},
		"SmsUrl": {""}, "SmsMethod": {"POST"}, "VoiceReceiveMode": {"voice"},
	})
	var n struct {
		SID         string
		PhoneNumber string `json:"phone_number"`
		VoiceMethod string `json:"voice_method"`
	}
	a.decode(t, &n)
	if a.status != 201 || n.PhoneNumber != "+14158675309" || n.VoiceMethod != "GET" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	one := pnPath + "/" + n.SID + ".json"
	a = ask(t, f, "POST", one, url.Values{"VoiceUrl": {""}, "FriendlyName": {"Front desk"}, "VoiceCallerIdLookup": {"false"}, "VoiceMethod": {""}})
	want := &call.Number{
		SID: n.SID, AccountSID: testSID, PhoneNumber: "+14158675309", FriendlyName: "Front desk", VoiceMethod: "POST",
		VoiceFallback: "https://app.example.com/f", FallbackMethod: "POST", StatusURL: "https://app.example.com/s", StatusMethod: "POST",
		DateCreated: testTime, DateUpdated: testTime,
	}
	if diff := cmp.Diff(want, f.numbers[0]); a.status != 200 || diff != "" {
		t.Errorf("update: %d %s", a.status, diff)
	}
	if a := ask(t, f, "DELETE", one, nil); a.status != 204 || len(f.numbers) != 0 {
		t.Errorf("delete: %d", a.status)
	}
	if a := ask(t, f, "GET", one, nil); a.status != 404 {
		t.Errorf("fetch after delete: %d", a.status)
	}
}

func TestNotificationFilters(t *testing.T) {
	f := newFake()
	for i := range 4 {
		f.notifications = append(f.notifications, call.Notification{
			SID: "NO" + callSID(9 - i)[2:], AccountSID: testSID, Level: i % 2, Time: testTime.Add(-time.Duration(i) * 24 * time.Hour),
		})
	}
	for query, want := range map[string]int{
		"": 4, "Log=0": 2, "Log=1": 2, "MessageDate=2026-03-03": 1, "MessageDate%3C=2026-03-03": 2, "MessageDate%3E=2026-03-03": 2, "MessageDate>=2026-03-03&Log=1": 1,
		// Behind and ahead of the second, which may be gone.
		"PageToken=" + twilio.PageToken{SID: "NO" + callSID(8)[2:], Time: testTime.Add(-24 * time.Hour).UnixMicro()}.String():                2,
		"PageToken=" + twilio.PageToken{SID: "NO" + callSID(77)[2:], Time: testTime.Add(-24*time.Hour - 1000).UnixMicro()}.String():          2,
		"PageToken=" + twilio.PageToken{SID: "NO" + callSID(77)[2:], Time: testTime.Add(-24 * time.Hour).UnixMicro(), Before: true}.String(): 1,
	} {
		var e envelope
		ask(t, f, "GET", base+"/Accounts/"+testSID+"/Notifications.json?"+query, nil).decode(t, &e)
		if len(e.Notifications) != want {
			t.Errorf("%q: %d, want %d", query, len(e.Notifications), want)
		}
	}
}
