package conformance

import (
	"errors"
	"regexp"
	"slices"
	"testing"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

func TestACallOfTheSDKReachesAPhoneAndItsKeysTheApplication(t *testing.T) {
	s := start(t)
	app := newApp(t, map[string]string{
		"/voice": `<Response><Gather numDigits="1" action="/key"><Say>Press five</Say></Gather></Response>`,
		"/key":   `<Response><Say>Thank you</Say><Hangup/></Response>`,
	})
	uri, lines := phone(t, "ring 200ms; answer; hear 300ms; press 5; expect hangup")
	p := &api.CreateCallParams{}
	p.SetTo(uri)
	p.SetFrom(from)
	p.SetUrl(app.URL + "/voice")
	p.SetStatusCallback(app.URL + "/status?x=%2B1")
	p.SetStatusCallbackEvent([]string{"initiated", "ringing", "answered", "completed"})
	c, err := s.sdk.CreateCall(p)
	if err != nil {
		t.Fatal(err)
	}
	if *c.Status != "queued" || *c.Direction != "outbound-api" || *c.To != uri {
		t.Errorf("created: status %s direction %s to %s", *c.Status, *c.Direction, *c.To)
	}

	key := app.waitFor("/key", 1)[0]
	if key.Get("Digits") != "5" || key.Get("CallStatus") != "in-progress" || key.Get("CallSid") != *c.Sid {
		t.Errorf("/key got %v", key)
	}
	await(t, lines, regexp.MustCompile(`^ended by the far end: 200`))
	app.gotInOrder(*c.Sid, "initiated", "ringing", "in-progress", "completed")
	done := s.waitStatus(t, *c.Sid, "completed")
	if done.Duration == nil || done.StartTime == nil || done.EndTime == nil {
		t.Errorf("completed call lacks times: %+v", done)
	}
}

func TestLiveCallsAreRedirectedAndHungUp(t *testing.T) {
	s := start(t)
	app := newApp(t, map[string]string{"/other": `<Response><Pause length="60"/></Response>`})
	uri, lines := phone(t, "answer; expect hangup")
	p := &api.CreateCallParams{}
	p.SetTo(uri)
	p.SetFrom(from)
	p.SetTwiml(`<Response><Say loop="0">Again and again</Say></Response>`)
	c, err := s.sdk.CreateCall(p)
	if err != nil {
		t.Fatal(err)
	}
	s.waitStatus(t, *c.Sid, "in-progress")
	redirect := &api.UpdateCallParams{}
	redirect.SetUrl(app.URL + "/other")
	if _, err := s.sdk.UpdateCall(*c.Sid, redirect); err != nil {
		t.Fatal(err)
	}
	if got := app.waitFor("/other", 1)[0]; got.Get("CallSid") != *c.Sid {
		t.Errorf("/other got %v", got)
	}
	redirect = &api.UpdateCallParams{}
	redirect.SetTwiml(`<Response><Say loop="0">Something else</Say></Response>`)
	if _, err := s.sdk.UpdateCall(*c.Sid, redirect); err != nil {
		t.Fatal(err)
	}
	hangup := &api.UpdateCallParams{}
	hangup.SetStatus("completed")
	if _, err := s.sdk.UpdateCall(*c.Sid, hangup); err != nil {
		t.Fatal(err)
	}
	await(t, lines, regexp.MustCompile(`^ended by the far end: 200`))
	s.waitStatus(t, *c.Sid, "completed")
	wantCode(t, func() error { _, err := s.sdk.UpdateCall(*c.Sid, redirect); return err }, 21220)
	if err := s.sdk.DeleteCall(*c.Sid, nil); err != nil {
		t.Error(err)
	}
	wantCode(t, func() error { _, err := s.sdk.FetchCall(*c.Sid, nil); return err }, 20404)
}

func TestSimulatedNumbersEndAsTheirNumberSays(t *testing.T) {
	s := start(t)
	for number, want := range map[string]string{
		"+15005551486": "busy", "+15005551480": "no-answer", "+15005551603": "no-answer", "+15005551404": "failed", "+15005551503": "failed",
	} {
		c := s.call(t, number, `<Response/>`)
		s.waitStatus(t, *c.Sid, want)
	}
}

func TestListsPageAndFilter(t *testing.T) {
	s := start(t)
	var made []string
	for range 5 {
		c := s.call(t, "+15005551486", `<Response/>`)
		s.waitStatus(t, *c.Sid, "busy")
		made = append(made, *c.Sid)
	}
	list := &api.ListCallParams{}
	list.SetStatus("busy")
	list.SetTo("+15005551486")
	list.SetPageSize(2)
	calls, err := s.sdk.ListCall(list)
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, c := range calls {
		listed = append(listed, *c.Sid)
	}
	slices.Reverse(made)
	if !slices.Equal(listed, made) {
		t.Errorf("listed %v\nwant %v", listed, made)
	}
	list.SetStatus("completed")
	if calls, err := s.sdk.ListCall(list); err != nil || len(calls) != 0 {
		t.Errorf("completed calls: %v, %v", calls, err)
	}
}

func TestRefusalsAreTheSDKsErrors(t *testing.T) {
	s := start(t)
	for _, tt := range []struct {
		name string
		edit func(*api.CreateCallParams)
		code int
	}{
		{"no To", func(p *api.CreateCallParams) { p.To = nil }, 21201},
		{"no From", func(p *api.CreateCallParams) { p.From = nil }, 21213},
		{"nothing to do", func(p *api.CreateCallParams) { p.Twiml = nil }, 21205},
		{"bad method", func(p *api.CreateCallParams) { p.SetMethod("PUT") }, 21209},
		{"magic number", func(p *api.CreateCallParams) { p.SetTo("+15005550001") }, 21217},
		{"bad digits", func(p *api.CreateCallParams) { p.SetSendDigits("x") }, 21206},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &api.CreateCallParams{}
			p.SetTo("+15551234567")
			p.SetFrom(from)
			p.SetTwiml("<Response/>")
			tt.edit(p)
			wantCode(t, func() error { _, err := s.sdk.CreateCall(p); return err }, tt.code)
		})
	}
}

func TestNumbersAreClaimedChangedAndGivenUp(t *testing.T) {
	s := start(t)
	create := &api.CreateIncomingPhoneNumberParams{}
	create.SetPhoneNumber("+15557654321")
	create.SetVoiceUrl("http://127.0.0.1:9/voice")
	create.SetFriendlyName("Reception")
	n, err := s.sdk.CreateIncomingPhoneNumber(create)
	if err != nil {
		t.Fatal(err)
	}
	update := &api.UpdateIncomingPhoneNumberParams{}
	update.SetVoiceMethod("GET")
	if n, err = s.sdk.UpdateIncomingPhoneNumber(*n.Sid, update); err != nil || *n.VoiceMethod != "GET" || *n.FriendlyName != "Reception" {
		t.Fatalf("updated: %+v, %v", n, err)
	}
	list := &api.ListIncomingPhoneNumberParams{}
	list.SetPhoneNumber("+15557654321")
	if all, err := s.sdk.ListIncomingPhoneNumber(list); err != nil || len(all) != 1 || *all[0].Sid != *n.Sid {
		t.Errorf("listed: %v, %v", all, err)
	}
	if err := s.sdk.DeleteIncomingPhoneNumber(*n.Sid, nil); err != nil {
		t.Error(err)
	}
	wantCode(t, func() error { _, err := s.sdk.FetchIncomingPhoneNumber(*n.Sid, nil); return err }, 20404)
}

// Each phone hears Say, presses a key and is hung up by the application.
func TestEveryPhoneIsCalledByTheSDK(t *testing.T) {
	s := start(t)
	for kind, digits := range map[string]string{
		"sipp-uas":  "", // presses nothing
		"sipp-dtmf": "5",
		"baresip":   "5",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			app := newApp(t, map[string]string{
				"/voice": `<Response><Gather numDigits="1" timeout="4" actionOnEmptyResult="true" action="/key"><Say>Press five</Say></Gather></Response>`,
				"/key":   `<Response><Say>Thank you</Say><Hangup/></Response>`,
			})
			uri, lines := peer(t, kind, "5", "Press five", "Thank you")
			p := &api.CreateCallParams{}
			p.SetTo(uri)
			p.SetFrom(from)
			p.SetUrl(app.URL + "/voice")
			p.SetStatusCallback(app.URL + "/status?x=%2B1")
			p.SetStatusCallbackEvent([]string{"initiated", "ringing", "answered", "completed"})
			c, err := s.sdk.CreateCall(p)
			if err != nil {
				t.Fatal(err)
			}
			await(t, lines, regexp.MustCompile(`^heard Press five$`))
			if key := app.waitFor("/key", 1)[0]; key.Get("Digits") != digits || key.Get("CallSid") != *c.Sid {
				t.Errorf("/key got %v, want Digits %q of call %s", key, digits, *c.Sid)
			}
			await(t, lines, regexp.MustCompile(`^heard Thank you$`))
			await(t, lines, regexp.MustCompile(`^ended$`))
			app.gotInOrder(*c.Sid, "initiated", "ringing", "in-progress", "completed")
			s.waitStatus(t, *c.Sid, "completed")
		})
	}
}

func (s *server) call(t *testing.T, to, twiml string) *api.ApiV2010Call {
	t.Helper()
	p := &api.CreateCallParams{}
	p.SetTo(to)
	p.SetFrom(from)
	p.SetTwiml(twiml)
	c, err := s.sdk.CreateCall(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantCode expects the SDK's own error with that code.
func wantCode(t *testing.T, do func() error, code int) {
	t.Helper()
	err := do()
	var refused *client.TwilioRestError
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("error %v, want a TwilioRestError with code %d", err, code)
	}
}
