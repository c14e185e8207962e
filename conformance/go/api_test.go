package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	person = "+15005551001" // simulated: says hello, then listens
	busy   = "+15005551486" // simulated
	own    = "+15557654321"
)

// given takes the names of the parameters in the SDK's p that are set out of names.
func given(names map[string]bool, p any) {
	v := reflect.ValueOf(p).Elem()
	for f, value := range v.Fields() {
		if !value.IsNil() {
			delete(names, f.Name)
		}
	}
}

// parametersOf are the names of those that the SDK has for p, but some.
func parametersOf(p any, but ...string) map[string]bool {
	names := map[string]bool{}
	for f := range reflect.TypeOf(p).Fields() {
		if !slices.Contains(but, f.Name) {
			names[f.Name] = true
		}
	}
	return names
}

func TestACreateTakesEveryParameter(t *testing.T) {
	t.Parallel()
	s := start(t)
	app := newApp(t, map[string]string{
		"/voice":    `not TwiML`,
		"/fallback": `<Response><Pause length="60"/></Response>`,
		"/app":      `<Response><Hangup/></Response>`,
		"/in":       `<Response><Pause length="60"/></Response>`,
	})
	// Those that the SDK has and Twilio's description of the API has not are left out.
	left := parametersOf(api.CreateCallParams{}, "PathAccountSid", "Passports", "RecordingConfigurationId")
	create := func(t *testing.T, p *api.CreateCallParams) *api.ApiV2010Call {
		t.Helper()
		given(left, p)
		c, err := s.sdk.CreateCall(p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	to := func(to string) *api.CreateCallParams {
		p := &api.CreateCallParams{}
		return p.SetTo(to).SetFrom(from)
	}

	t.Run("to a number", func(t *testing.T) {
		p := to(person).SetCallerId("+15005550007").SetCallReason("Your order").SetTimeout(30).SetTimeLimit(600).
			SetUrl(app.URL + "/voice?a=1").SetMethod("GET").SetFallbackUrl(app.URL + "/fallback").SetFallbackMethod("GET").
			SetStatusCallback(app.URL + "/status").SetStatusCallbackMethod("POST").
			SetStatusCallbackEvent([]string{"initiated", "ringing", "answered", "completed"}).
			SetRecord(true).SetRecordingChannels("dual").SetRecordingTrack("both").SetTrim("do-not-trim").
			SetRecordingStatusCallback(app.URL + "/recording").SetRecordingStatusCallbackMethod("GET").
			SetRecordingStatusCallbackEvent([]string{"in-progress", "completed"}).
			SetMachineDetection("Enable").SetMachineDetectionTimeout(20).SetMachineDetectionSpeechThreshold(2500).
			SetMachineDetectionSpeechEndThreshold(1100).SetMachineDetectionSilenceTimeout(4000).
			SetAsyncAmd("true").SetAsyncAmdStatusCallback(app.URL + "/amd").SetAsyncAmdStatusCallbackMethod("POST")
		c := create(t, p)
		if got := app.waitFor("/fallback", 1)[0]; got.Get("ErrorCode") == "" || got.Get("ErrorUrl") != app.URL+"/voice?a=1" {
			t.Errorf("the fallback got %v", got)
		}
		if got := app.waitFor("/amd", 1)[0]; got.Get("AnsweredBy") == "" {
			t.Errorf("/amd got %v", got)
		}
		hangup := &api.UpdateCallParams{}
		if _, err := s.sdk.UpdateCall(*c.Sid, hangup.SetStatus("completed")); err != nil {
			t.Fatal(err)
		}
		app.gotInOrder(*c.Sid, "initiated", "ringing", "in-progress", "completed")
		for i, status := range [...]string{"in-progress", "completed"} {
			if got := app.waitFor("/recording", 2)[i]; got.Get("RecordingStatus") != status || got.Get("RecordingChannels") != "2" {
				t.Errorf("callback %d of the recording is %v", i, got)
			}
		}
		for path, method := range map[string]string{"/voice": "GET", "/fallback": "GET", "/status": "POST", "/recording": "GET", "/amd": "POST"} {
			if got := app.method(path); got != method {
				t.Errorf("%s by %s, want %s", path, got, method)
			}
		}
		recordings, err := s.sdk.ListCallRecording(*c.Sid, nil)
		if err != nil || len(recordings) != 1 || *recordings[0].Source != "OutboundAPI" {
			t.Errorf("recordings %v, %v", recordings, err)
		}
		if events, err := s.sdk.ListCallEvent(*c.Sid, nil); err != nil || len(events) < 8 {
			t.Errorf("%d requests, %v", len(events), err)
		}
		if notes, err := s.sdk.ListCallNotification(*c.Sid, nil); err != nil || len(notes) == 0 {
			t.Errorf("%d notifications, %v", len(notes), err)
		}
	})

	t.Run("to a SIP address", func(t *testing.T) {
		uri, lines := phone(t, "answer; expect digits 42; expect hangup")
		create(t, to(uri).SetSipAuthUsername("alice").SetSipAuthPassword("secret").SetSendDigits("w42").SetTwiml(`<Response><Pause length="2"/></Response>`))
		await(t, lines, regexp.MustCompile(`^ended by the far end: 200`))
	})

	t.Run("to a phone that sleeps", func(t *testing.T) {
		c := create(t, to("client:alice").SetClientNotificationUrl(app.URL+"/wake").SetTimeout(1).SetTwiml("<Response/>"))
		if got := app.waitFor("/wake", 1)[0]; got.Get("CallSid") != *c.Sid {
			t.Errorf("/wake got %v", got)
		}
		s.waitStatus(t, *c.Sid, "no-answer")
	})

	t.Run("through a trunk", func(t *testing.T) {
		uri, lines := phone(t, "answer; expect hangup")
		policy := s.post(t, "/v1/ConnectionPolicies", "FriendlyName=desk")
		s.post(t, "/v1/ConnectionPolicies/"+policy+"/Targets", "Target="+url.QueryEscape(uri))
		trunk := s.post(t, "/v1/ByocTrunks", "ConnectionPolicySid="+policy)
		c := create(t, to("+15551234567").SetByoc(trunk).SetTwiml("<Response><Hangup/></Response>"))
		await(t, lines, regexp.MustCompile(`^ended by the far end: 200`))
		if done := s.waitStatus(t, *c.Sid, "completed"); done.TrunkSid == nil || *done.TrunkSid != "TK"+trunk[2:] {
			t.Errorf("it was of trunk %v, want that of %s", done.TrunkSid, trunk)
		}
	})

	t.Run("of an application", func(t *testing.T) {
		p := &api.CreateApplicationParams{}
		p.SetFriendlyName("Desk").SetVoiceUrl(app.URL + "/app").SetVoiceMethod("GET").SetStatusCallback(app.URL + "/ended")
		a, err := s.sdk.CreateApplication(p)
		if err != nil {
			t.Fatal(err)
		}
		c := create(t, to(person).SetApplicationSid(*a.Sid))
		if got := app.waitFor("/app", 1)[0]; got.Get("CallSid") != *c.Sid {
			t.Errorf("the application got %v", got)
		}
		app.waitFor("/ended", 1)
		u := &api.UpdateApplicationParams{}
		if a, err = s.sdk.UpdateApplication(*a.Sid, u.SetVoiceMethod("POST")); err != nil || *a.VoiceMethod != "POST" || *a.VoiceUrl != app.URL+"/app" {
			t.Errorf("changed: %+v, %v", a, err)
		}
		if list, err := s.sdk.ListApplication(nil); err != nil || len(list) != 1 {
			t.Errorf("%d applications, %v", len(list), err)
		}
		if err := s.sdk.DeleteApplication(*a.Sid, nil); err != nil {
			t.Error(err)
		}
		wantCode(t, func() error { _, err := s.sdk.FetchApplication(*a.Sid, nil); return err }, 20404)
		wantCode(t, func() error { _, err := s.sdk.CreateCall(to(person).SetApplicationSid(*a.Sid)); return err }, 21218)
	})

	t.Run("forwarded", func(t *testing.T) {
		n := &api.CreateIncomingPhoneNumberParams{}
		if _, err := s.sdk.CreateIncomingPhoneNumber(n.SetPhoneNumber(own).SetVoiceUrl(app.URL + "/in")); err != nil {
			t.Fatal(err)
		}
		run(t, "phone", own, "--via", s.sip, "--number", "+15551112222", "--voice", "test", "--script", "wait answer; expect hangup")
		in := app.waitFor("/in", 1)[0]
		p := to(busy).SetCallToken(in.Get("CallToken")).SetTwiml("<Response/>")
		c := create(t, p.SetFrom(in.Get("From")))
		if c.ForwardedFrom == nil || *c.ForwardedFrom != own {
			t.Errorf("forwarded from %v, want %s", c.ForwardedFrom, own)
		}
	})

	if len(left) != 0 {
		t.Errorf("no call had %v", left)
	}
}

func TestAnUpdateTakesEveryParameter(t *testing.T) {
	t.Parallel()
	s := start(t)
	app := newApp(t, map[string]string{"/other": "not TwiML", "/fallback": `<Response><Pause length="60"/></Response>`})
	left := parametersOf(api.UpdateCallParams{}, "PathAccountSid")
	c := s.call(t, person, `<Response><Pause length="60"/></Response>`)
	s.waitStatus(t, *c.Sid, "in-progress")
	update := func(p *api.UpdateCallParams) {
		t.Helper()
		given(left, p)
		if got, err := s.sdk.UpdateCall(*c.Sid, p); err != nil || *got.Sid != *c.Sid {
			t.Fatal(got, err)
		}
	}
	p := &api.UpdateCallParams{}
	update(p.SetUrl(app.URL + "/other").SetMethod("GET").SetFallbackUrl(app.URL + "/fallback").SetFallbackMethod("GET").
		SetStatusCallback(app.URL + "/status").SetStatusCallbackMethod("GET").SetTimeLimit(600))
	if got := app.waitFor("/fallback", 1)[0]; got.Get("ErrorUrl") != app.URL+"/other" {
		t.Errorf("the fallback got %v", got)
	}
	p = &api.UpdateCallParams{}
	update(p.SetTwiml(`<Response><Pause length="60"/></Response>`))
	p = &api.UpdateCallParams{}
	update(p.SetStatus("completed"))
	if got := app.waitFor("/status", 1)[0]; got.Get("CallStatus") != "completed" {
		t.Errorf("/status got %v", got)
	}
	for _, path := range [...]string{"/other", "/fallback", "/status"} {
		if got := app.method(path); got != "GET" {
			t.Errorf("%s by %s, want GET", path, got)
		}
	}
	if len(left) != 0 {
		t.Errorf("no update had %v", left)
	}
	if err := s.sdk.DeleteCall(*c.Sid, nil); err != nil {
		t.Error(err)
	}
}

func TestAListTakesEveryFilter(t *testing.T) {
	t.Parallel()
	s := start(t)
	left := parametersOf(api.ListCallParams{}, "PathAccountSid")
	parent := s.call(t, person, `<Response><Dial><Number>`+busy+`</Number></Dial></Response>`)
	s.waitStatus(t, *parent.Sid, "completed")
	last := s.call(t, busy, `<Response/>`)
	s.waitStatus(t, *last.Sid, "busy")
	none, now := time.Now().AddDate(0, 0, -7), time.Now()
	children, err := s.sdk.ListCall((&api.ListCallParams{}).SetParentCallSid(*parent.Sid))
	if err != nil || len(children) != 1 || *children[0].To != busy {
		t.Fatalf("children %v, %v", children, err)
	}
	child := children[0]
	for name, tt := range map[string]struct {
		p    *api.ListCallParams
		want []*string
	}{
		"To":               {(&api.ListCallParams{}).SetTo(person), []*string{parent.Sid}},
		"From":             {(&api.ListCallParams{}).SetFrom("+15005550007"), nil},
		"Status":           {(&api.ListCallParams{}).SetStatus("busy"), []*string{last.Sid, child.Sid}},
		"ParentCallSid":    {(&api.ListCallParams{}).SetParentCallSid(*parent.Sid).SetStatus("busy"), []*string{child.Sid}},
		"StartTime":        {(&api.ListCallParams{}).SetStartTime(none), nil},
		"StartTime< none":  {(&api.ListCallParams{}).SetStartTimeBefore(none), nil},
		"StartTime<":       {(&api.ListCallParams{}).SetStartTimeBefore(now.AddDate(0, 0, 2)), []*string{last.Sid, child.Sid, parent.Sid}},
		"StartTime>":       {(&api.ListCallParams{}).SetStartTimeAfter(none).SetTo(person), []*string{parent.Sid}},
		"StartTime> none":  {(&api.ListCallParams{}).SetStartTimeAfter(now.AddDate(0, 0, 2)), nil},
		"EndTime":          {(&api.ListCallParams{}).SetEndTime(none), nil},
		"EndTime< none":    {(&api.ListCallParams{}).SetEndTimeBefore(none), nil},
		"EndTime<":         {(&api.ListCallParams{}).SetEndTimeBefore(now.AddDate(0, 0, 2)).SetStatus("completed"), []*string{parent.Sid}},
		"EndTime>":         {(&api.ListCallParams{}).SetEndTimeAfter(none).SetStatus("completed"), []*string{parent.Sid}},
		"EndTime> none":    {(&api.ListCallParams{}).SetEndTimeAfter(now.AddDate(0, 0, 2)), nil},
		"PageSize":         {(&api.ListCallParams{}).SetPageSize(1), []*string{last.Sid, child.Sid, parent.Sid}},
		"the SDK's limit":  {(&api.ListCallParams{}).SetLimit(1), []*string{last.Sid}},
		"days of any call": {(&api.ListCallParams{}).SetStartTimeAfter(none).SetEndTimeAfter(none).SetFrom(from).SetStatus("completed"), []*string{parent.Sid}},
	} {
		given(left, tt.p)
		calls, err := s.sdk.ListCall(tt.p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.EqualFunc(calls, tt.want, func(c api.ApiV2010Call, sid *string) bool { return *c.Sid == *sid }) {
			t.Errorf("%s: %d calls, want %d: %v", name, len(calls), len(tt.want), sids(calls))
		}
	}
	if len(left) != 0 {
		t.Errorf("no list had %v", left)
	}
}

func sids(calls []api.ApiV2010Call) (list []string) {
	for _, c := range calls {
		list = append(list, *c.Sid)
	}
	return list
}

func TestPagingThrough120CallsBothWays(t *testing.T) {
	t.Parallel()
	s := start(t)
	var made []string
	for range 120 {
		made = append(made, *s.call(t, busy, `<Response/>`).Sid)
	}
	slices.Reverse(made)
	all, err := s.sdk.ListCall(nil)
	if err != nil || !slices.Equal(sids(all), made) {
		t.Errorf("the whole list has %d calls, or another order; %v", len(all), err)
	}
	fetch := func(page any, err error) *api.ListCallResponse {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return page.(*api.ListCallResponse)
	}
	read := func(page string) (any, error) {
		u, err := url.Parse(page)
		if err != nil {
			return nil, err
		}
		return s.sdk.PageCall((&api.ListCallParams{}).SetPageSize(50), u.Query().Get("PageToken"), u.Query().Get("Page"))
	}
	is := func(page *api.ListCallResponse, number, from, to int) {
		t.Helper()
		if page.Page != number || page.PageSize != 50 || page.Start != from || page.End != to-1 || !slices.Equal(sids(page.Calls), made[from:to]) {
			t.Errorf("page %d of size %d has calls %d to %d, %d of them; want page %d with %d to %d", page.Page, page.PageSize, page.Start, page.End, len(page.Calls), number, from, to-1)
		}
	}
	first := fetch(s.sdk.PageCall((&api.ListCallParams{}).SetPageSize(50), "", ""))
	is(first, 0, 0, 50)
	second := fetch(client.GetNext(s.url, first, read))
	is(second, 1, 50, 100)
	third := fetch(client.GetNext(s.url, second, read))
	is(third, 2, 100, 120)
	if third.NextPageUri != nil || first.PreviousPageUri != nil {
		t.Errorf("after the last is %v, before the first %v", third.NextPageUri, first.PreviousPageUri)
	}
	back := fetch(client.GetPrevious(s.url, third, read))
	is(back, 1, 50, 100)
	is(fetch(client.GetPrevious(s.url, back, read)), 0, 0, 50)
	is(fetch(s.sdk.PageCall((&api.ListCallParams{}).SetPageSize(50), "", "2")), 2, 100, 120)
}

func TestSubaccountsAreMadeUsedSuspendedAndClosed(t *testing.T) {
	t.Parallel()
	s := start(t)
	sub, err := s.sdk.CreateAccount((&api.CreateAccountParams{}).SetFriendlyName("shop"))
	if err != nil {
		t.Fatal(err)
	}
	if *sub.OwnerAccountSid != accountSID || *sub.Status != "active" {
		t.Errorf("made: %+v", sub)
	}
	byParent, bySelf := s.as(*sub.Sid, accountSID, authToken), s.as(*sub.Sid, *sub.Sid, *sub.AuthToken)
	create := func(sdk *api.ApiService) (*api.ApiV2010Call, error) {
		return sdk.CreateCall((&api.CreateCallParams{}).SetTo(busy).SetFrom(from).SetTwiml("<Response/>"))
	}
	for name, sdk := range map[string]*api.ApiService{"its parent's": byParent, "its own": bySelf} {
		c, err := create(sdk)
		if err != nil || *c.AccountSid != *sub.Sid {
			t.Fatalf("with %s credentials: %+v, %v", name, c, err)
		}
	}
	c, err := s.sdk.CreateCall((&api.CreateCallParams{}).SetPathAccountSid(*sub.Sid).SetTo(busy).SetFrom(from).SetTwiml("<Response/>"))
	if err != nil || *c.AccountSid != *sub.Sid {
		t.Fatalf("by its path: %+v, %v", c, err)
	}
	if calls, err := bySelf.ListCall(nil); err != nil || len(calls) != 3 {
		t.Errorf("it has %d calls, %v", len(calls), err)
	}
	if calls, err := s.sdk.ListCall(nil); err != nil || len(calls) != 0 {
		t.Errorf("its parent has %d calls, %v", len(calls), err)
	}
	wantCode(t, func() error { _, err := s.sdk.FetchCall(*c.Sid, nil); return err }, 20404)
	wantCode(t, func() error { _, err := s.as(accountSID, *sub.Sid, *sub.AuthToken).ListCall(nil); return err }, 20003)
	wantCode(t, func() error { _, err := bySelf.CreateAccount(nil); return err }, 21101)
	if list, err := s.sdk.ListAccount((&api.ListAccountParams{}).SetFriendlyName("shop")); err != nil || len(list) != 1 || *list[0].Sid != *sub.Sid {
		t.Errorf("accounts of that name: %v, %v", list, err)
	}

	is := func(status string) {
		t.Helper()
		if got, err := s.sdk.UpdateAccount(*sub.Sid, (&api.UpdateAccountParams{}).SetStatus(status)); err != nil || *got.Status != status {
			t.Fatalf("%s: %+v, %v", status, got, err)
		}
	}
	is("suspended")
	wantCode(t, func() error { _, err := bySelf.FetchCall(*c.Sid, nil); return err }, 20005)
	wantCode(t, func() error { _, err := create(byParent); return err }, 20005)
	if _, err := byParent.FetchCall(*c.Sid, nil); err != nil {
		t.Error("its parent reads no longer:", err)
	}
	is("active")
	if _, err := create(bySelf); err != nil {
		t.Error(err)
	}
	is("closed")
	wantCode(t, func() error { _, err := create(bySelf); return err }, 20005)
	wantCode(t, func() error { _, err := create(byParent); return err }, 20005)
	if got, err := s.sdk.FetchAccount(*sub.Sid); err != nil || *got.Status != "closed" {
		t.Errorf("closed: %+v, %v", got, err)
	}
}

func TestAKeyOpensItsAccountUntilItIsDeleted(t *testing.T) {
	t.Parallel()
	s := start(t)
	key, err := s.sdk.CreateNewKey((&api.CreateNewKeyParams{}).SetFriendlyName("ci"))
	if err != nil {
		t.Fatal(err)
	}
	byKey := s.as(accountSID, *key.Sid, *key.Secret)
	c, err := byKey.CreateCall((&api.CreateCallParams{}).SetTo(busy).SetFrom(from).SetTwiml("<Response/>"))
	if err != nil || *c.AccountSid != accountSID {
		t.Fatal(c, err)
	}
	if got, err := byKey.FetchCall(*c.Sid, nil); err != nil || *got.Sid != *c.Sid {
		t.Error(got, err)
	}
	wantCode(t, func() error { _, err := byKey.FetchAccount(accountSID); return err }, 20003)
	wantCode(t, func() error { _, err := byKey.ListKey(nil); return err }, 20003)
	wantCode(t, func() error { _, err := s.as(accountSID, *key.Sid, "wrong").FetchCall(*c.Sid, nil); return err }, 20003)
	if got, err := s.sdk.UpdateKey(*key.Sid, (&api.UpdateKeyParams{}).SetFriendlyName("build")); err != nil || *got.FriendlyName != "build" {
		t.Error(got, err)
	}
	if got, err := s.sdk.FetchKey(*key.Sid, nil); err != nil || *got.FriendlyName != "build" {
		t.Error(got, err)
	}
	if keys, err := s.sdk.ListKey(nil); err != nil || len(keys) != 1 {
		t.Error(keys, err)
	}
	if err := s.sdk.DeleteKey(*key.Sid, nil); err != nil {
		t.Fatal(err)
	}
	wantCode(t, func() error { _, err := byKey.FetchCall(*c.Sid, nil); return err }, 20003)
}

func TestACallHasThePriceOfItsDeck(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.send(t, http.MethodPut, "/v1/rates", "text/csv", "prefix,rate\n1,0.0130\n")
	c := s.call(t, person, `<Response><Hangup/></Response>`)
	done := s.waitStatus(t, *c.Sid, "completed")
	if done.Price == nil || *done.Price != "-0.01300" || *done.PriceUnit != "USD" {
		t.Errorf("its price is %v %v, want -0.01300 USD", done.Price, done.PriceUnit)
	}
}

// post makes a resource of another API than that of calls, and returns its SID.
func (s *server) post(t *testing.T, path, form string) string {
	t.Helper()
	var made struct{ Sid string }
	if err := json.Unmarshal(s.send(t, http.MethodPost, path, "application/x-www-form-urlencoded", form), &made); err != nil {
		t.Fatal(err)
	}
	return made.Sid
}

// send makes a request that succeeds, and returns the body of the answer.
func (s *server) send(t *testing.T, method, path, kind, body string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(accountSID, authToken)
	r.Header.Set("Content-Type", kind)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	answer, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %s %s %v", method, path, w.Status, answer, err)
	}
	return answer
}
