package session

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// dialApp is an application that answers by path, and keeps what it was asked.
type dialApp struct {
	*httptest.Server
	pages map[string]string
	asked chan url.Values // requests other than that for /

	mu    sync.Mutex
	paths []string
	first []url.Values // requests for /
}

func newDialApp(t *testing.T, pages map[string]string) *dialApp {
	a := &dialApp{pages: pages, asked: make(chan url.Values, 64)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		a.mu.Lock()
		a.paths = append(a.paths, r.URL.Path)
		if r.URL.Path == "/" {
			a.first = append(a.first, r.Form)
		}
		a.mu.Unlock()
		if r.URL.Path != "/" {
			r.Form.Set("path", r.URL.Path)
			a.asked <- r.Form
		}
		rw.Header().Set("Content-Type", "text/xml")
		_, _ = rw.Write([]byte("<Response>" + a.pages[r.URL.Path] + "</Response>"))
	}))
	t.Cleanup(a.Close)
	return a
}

// conversation is a call of the API that runs <Dial>, with the legs of both sides.
type conversation struct {
	*world
	app    *dialApp
	call   *call.Call
	caller *actor
}

func dial(t *testing.T, verb string, pages map[string]string, change ...func(*Config)) *conversation {
	t.Helper()
	c := &conversation{world: newWorld(t, change...)}
	if pages == nil {
		pages = map[string]string{}
	}
	pages["/"] = verb
	c.app = newDialApp(t, pages)
	c.call = c.create("", func(p *call.CreateParams) { p.Options.URL = c.app.URL + "/" })
	c.caller = c.leg()
	c.caller.events <- call.LegAnswered{}
	return c
}

// request is the next request of the application but the first.
func (c *conversation) request() url.Values {
	c.t.Helper()
	select {
	case v := <-c.app.asked:
		return v
	case <-clock.System.NewTimer(patience).C():
		c.t.Fatal("the application was not asked")
		return nil
	}
}

// asked is request, which must be for path.
func (c *conversation) asked(path string) url.Values {
	c.t.Helper()
	v := c.request()
	if v.Get("path") != path {
		c.t.Fatalf("the application was asked for %s, not %s: %v", v.Get("path"), path, v)
	}
	return v
}

// children are the calls that the Dial made, oldest first.
func (c *conversation) children() []*call.Call {
	c.t.Helper()
	list, _, err := c.store.ListCalls(c.t.Context(), call.Filter{AccountSID: c.account.SID, ParentSID: c.call.SID, Limit: 50})
	if err != nil {
		c.t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

func (c *conversation) talking(a, b *actor) {
	c.t.Helper()
	c.until("they hear each other", func() bool { return a.hearing() == Leg(b) && b.hearing() == Leg(a) })
}

func TestDialConnectsTheOneWhoAnswersAndGoesOnAfterwards(t *testing.T) {
	c := dial(t, `<Dial action="/after" timeLimit="60"><Number statusCallback="http://a.test/child"
		statusCallbackEvent="initiated ringing answered completed">+15550102</Number></Dial>`,
		map[string]string{"/after": "<Say>Thanks</Say>"})
	called := c.leg()
	called.events <- call.LegRinging{Code: 180}
	c.until("the caller hears it ring", c.caller.tone)
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	if c.caller.tone() {
		t.Error("the ringing goes on in the conversation")
	}
	child := c.children()[0]
	if child.Status != call.InProgress || child.Direction != call.OutboundDial || child.From != c.call.From {
		t.Errorf("child: %s %s from %s", child.Status, child.Direction, child.From)
	}
	called.leaves()
	got := c.asked("/after")
	if got.Get("DialCallStatus") != "completed" || got.Get("DialCallSid") != child.SID || got.Get("DialBridged") != "true" ||
		got.Get("DialCallDuration") == "" || got.Get("CallStatus") != "in-progress" {
		t.Errorf("action: %v", got)
	}
	c.is(child.SID, call.Completed)
	c.is(c.call.SID, call.Completed)
	if got := c.events(child.SID); !slices.Equal(got, []string{"created", "ringing", "answered", "in-progress", "completed"}) {
		t.Errorf("events of the child: %v", got)
	}
	if got := c.callbacks(child.SID); !slices.Equal(got, []string{"initiated", "ringing", "in-progress", "completed"}) {
		t.Errorf("callbacks of the child: %v", got)
	}
}

func TestDialOfSomebodyWhoDoesNotAnswer(t *testing.T) {
	for _, test := range []struct {
		end  call.LegEnded
		want string
	}{
		{call.LegEnded{Cause: call.Cause{SIPCode: 486, Reason: "Busy Here"}}, "busy"},
		{call.LegEnded{Cause: call.Cause{SIPCode: 480}}, "no-answer"},
		{call.LegEnded{Cause: call.Cause{SIPCode: 503}}, "failed"},
	} {
		t.Run(test.want, func(t *testing.T) {
			c := dial(t, `<Dial action="/after"><Sip>sip:bob@127.0.0.1</Sip></Dial>`, map[string]string{"/after": "<Hangup/>"})
			called := c.leg()
			called.events <- test.end
			got := c.asked("/after")
			if got.Get("DialCallStatus") != test.want || got.Get("DialBridged") != "false" || got.Has("DialCallDuration") {
				t.Errorf("action: %v", got)
			}
		})
	}
}

func TestDialWithoutActionGoesOnWithTheNextVerb(t *testing.T) {
	c := dial(t, `<Dial>+15550102</Dial><Redirect>/next</Redirect>`, nil)
	c.leg().events <- call.LegEnded{Cause: call.Cause{SIPCode: 486}}
	c.asked("/next")
}

func TestDialRingsAllAtOnceAndTheFirstAnswerWins(t *testing.T) {
	c := dial(t, `<Dial><Number>+15550102</Number><Number>+15550103</Number><Number>+15550104</Number></Dial>`, nil)
	legs := []*actor{c.leg(), c.leg(), c.leg()}
	for _, l := range legs {
		l.events <- call.LegRinging{Code: 180}
	}
	legs[1].events <- call.LegAnswered{}
	c.talking(c.caller, legs[1])
	c.comes("the first one stops to ring", legs[0].hungUp)
	c.comes("the third one stops to ring", legs[2].hungUp)
	statuses := map[call.Status]int{}
	c.until("the others are canceled", func() bool {
		clear(statuses)
		for _, child := range c.children() {
			statuses[child.Status]++
		}
		return statuses[call.Canceled] == 2 && statuses[call.InProgress] == 1
	})
	groups := map[string]bool{}
	for _, child := range c.children() {
		groups[child.GroupSID] = true
	}
	if len(groups) != 1 || groups[""] {
		t.Errorf("groups: %v", groups)
	}
}

func TestDialInSequence(t *testing.T) {
	c := dial(t, `<Dial sequential="true" action="/after"><Number>+15550102</Number><Number>+15550103</Number></Dial>`, nil)
	first := c.leg()
	first.events <- call.LegRinging{Code: 180}
	c.until("the caller hears it ring", c.caller.tone)
	if n := len(c.stage.legs); n != 0 {
		t.Errorf("%d more ring at the same time", n)
	}
	first.events <- call.LegEnded{Cause: call.Cause{SIPCode: 486}}
	second := c.leg()
	second.events <- call.LegAnswered{}
	c.talking(c.caller, second)
	second.leaves()
	if got := c.asked("/after"); got.Get("DialCallStatus") != "completed" {
		t.Errorf("action: %v", got)
	}
}

func TestDialTriesTheOtherAddressesOfASip(t *testing.T) {
	c := dial(t, `<Dial action="/after"><Sip><Uri priority="1">sip:a@127.0.0.1</Uri><Uri priority="2">sip:b@127.0.0.1</Uri></Sip></Dial>`, nil)
	c.leg().events <- call.LegEnded{Cause: call.Cause{SIPCode: 503}}
	second := c.leg()
	second.events <- call.LegAnswered{}
	c.talking(c.caller, second)
	if got := c.children(); len(got) != 2 || got[1].To != "sip:b@127.0.0.1" {
		t.Errorf("children: %v", got)
	}
}

// What an address let the caller hear before it failed is over when the next one rings.
func TestTheNextAddressOfASipIsHeardToRing(t *testing.T) {
	c := dial(t, `<Dial><Sip><Uri priority="1">sip:a@127.0.0.1</Uri><Uri priority="2">sip:b@127.0.0.1</Uri></Sip></Dial>`, nil)
	first := c.leg()
	first.events <- call.LegRinging{Code: 183, EarlyMedia: true}
	c.until("the caller hears the first address", func() bool { return c.caller.hearing() == first })
	first.events <- call.LegEnded{Cause: call.Cause{SIPCode: 503}}
	c.leg().events <- call.LegRinging{Code: 180}
	c.until("the caller hears that it rings", c.caller.tone)
}

func TestTheCalledPartyHearsItsDocumentFirst(t *testing.T) {
	c := dial(t, `<Dial action="/after"><Number url="/whisper">+15550102</Number></Dial>`,
		map[string]string{"/whisper": "<Say>A call for you</Say>"})
	called := c.leg()
	called.events <- call.LegAnswered{}
	got := c.asked("/whisper")
	child := c.children()[0]
	if got.Get("CallSid") != child.SID || got.Get("ParentCallSid") != c.call.SID || got.Get("Direction") != "outbound-dial" {
		t.Errorf("whisper: %v", got)
	}
	c.talking(c.caller, called)
	if len(called.played) == 0 {
		t.Error("nothing was said to the called party")
	}
}

func TestTheCalledPartyMayRefuse(t *testing.T) {
	c := dial(t, `<Dial action="/after"><Number url="/screen">+15550102</Number></Dial>`, map[string]string{
		"/screen": `<Gather numDigits="1" action="/pressed"/><Hangup/>`, "/pressed": "<Hangup/>",
	})
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.asked("/screen")
	c.until("the key is heard", func() bool { called.press('2'); return len(c.app.asked) > 0 })
	c.asked("/pressed")
	if got := c.asked("/after"); got.Get("DialCallStatus") != "completed" || got.Get("DialBridged") != "false" {
		t.Errorf("action: %v", got)
	}
}

func TestADialInsideADialIsRefused(t *testing.T) {
	c := dial(t, `<Dial action="/after"><Number url="/whisper">+15550102</Number></Dial>`,
		map[string]string{"/whisper": "<Dial>+15550103</Dial>"})
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.asked("/whisper")
	if got := c.asked("/after"); got.Get("DialBridged") != "false" {
		t.Errorf("action: %v", got)
	}
}

func TestStarDropsTheCalledParty(t *testing.T) {
	for _, answered := range []bool{true, false} {
		c := dial(t, `<Dial action="/after" hangupOnStar="true">+15550102</Dial>`, nil)
		called := c.leg()
		want := "canceled"
		if answered {
			want = "completed"
			called.events <- call.LegAnswered{}
			c.talking(c.caller, called)
		}
		c.caller.events <- call.LegDigit{Key: '1'}
		c.caller.events <- call.LegDigit{Key: '*'}
		c.comes("the called party is dropped", called.hungUp)
		if got := c.asked("/after"); got.Get("DialCallStatus") != want {
			t.Errorf("action: %v", got)
		}
	}
}

// A caller who presses * while somebody answers has ended it himself: that one did not refuse.
func TestStarAtTheMomentOfTheAnswer(t *testing.T) {
	c := dial(t, `<Dial action="/after" hangupOnStar="true"><Number url="/whisper">+15550102</Number></Dial>`, map[string]string{"/whisper": `<Pause length="60"/>`})
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.asked("/whisper")
	c.caller.press('*')
	c.comes("the called party is dropped", called.hungUp)
	if got := c.asked("/after"); got.Get("DialCallStatus") != "canceled" || got.Get("DialBridged") != "false" {
		t.Errorf("action: %v", got)
	}
}

// Who is redirected while the caller is being connected with him does not hear the caller.
func TestRedirectOfTheCalledPartyAsItIsConnected(t *testing.T) {
	c := inboundDial(t, `<Dial answerOnBridge="true" action="/after">+15550102</Dial>`, map[string]string{"/after": `<Pause length="60"/>`, "/new": `<Pause length="60"/>`})
	called := c.leg()
	answering, redirected := make(chan struct{}), make(chan struct{})
	c.store.fails(func(saved *call.Call) error {
		if saved.SID == c.call.SID && saved.Status == call.InProgress && redirected != nil {
			close(answering)
			<-redirected
			redirected = nil
		}
		return nil
	})
	called.events <- call.LegAnswered{}
	c.comes("the caller is being answered", answering)
	child := c.children()[0]
	if _, err := c.Update(t.Context(), c.account.SID, child.SID, call.UpdateParams{URL: c.app.URL + "/new"}); err != nil {
		t.Fatal(err)
	}
	c.asked("/new")
	close(redirected)
	if got := c.asked("/after"); got.Get("DialBridged") != "false" || got.Get("DialCallStatus") != "completed" {
		t.Errorf("action: %v", got)
	}
	if c.caller.hearing() != nil || called.hearing() != nil {
		t.Error("they hear each other")
	}
}

// setClock tells what timers are set to.
type setClock struct {
	clock.Clock
	set chan time.Duration
}

type setTimer struct {
	clock.Timer
	set chan time.Duration
}

func (c setClock) NewTimer(d time.Duration) clock.Timer { return setTimer{c.Clock.NewTimer(d), c.set} }

func (t setTimer) Reset(d time.Duration) bool {
	t.set <- d
	return t.Timer.Reset(d)
}

func TestThePartiesOfADialHaveSomeMoreTime(t *testing.T) {
	clk := setClock{clock.System, make(chan time.Duration, 1000)}
	c := dial(t, `<Dial timeout="20">+15550102</Dial>`, nil, func(cfg *Config) { cfg.Clock = clk })
	c.leg()
	for _, want := range []time.Duration{call.DefaultTimeout, 20*time.Second + dialBuffer} {
		for got := time.Duration(0); got != want; {
			select {
			case got = <-clk.set:
			case <-clock.System.NewTimer(patience).C():
				t.Fatalf("no timer of %v was set", want)
			}
		}
	}
}

func TestHeadersOfASipNounAreEscaped(t *testing.T) {
	want := map[string]string{"X-A": "a=b@c&d;e f+g%h,i?j", "X-B": "ü"}
	uri := "sip:a@h" + sipQuery(want)
	if target, got, err := call.SplitSIP(uri); err != nil || target != "sip:a@h" || !maps.Equal(got, want) {
		t.Errorf("%s: %s, %v, %v", uri, target, got, err)
	}
	if strings.ContainsAny(strings.ReplaceAll(uri[len("sip:a@h?"):], "X-A=", ""), "@;, ") || strings.Count(uri, "=") != 2 {
		t.Errorf("not escaped: %s", uri)
	}
}

func TestTimeLimitOfADial(t *testing.T) {
	c := dial(t, `<Dial action="/after" timeLimit="20">+15550102</Dial>`, nil, func(cfg *Config) { cfg.Clock = hastyClock{clock.System} })
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	c.comes("the called party is dropped", called.hungUp)
	if got := c.asked("/after"); got.Get("DialCallStatus") != "completed" || got.Get("DialBridged") != "true" {
		t.Errorf("action: %v", got)
	}
}

func TestTheCallerHangsUp(t *testing.T) {
	for _, answered := range []bool{true, false} {
		c := dial(t, `<Dial action="/after">+15550102</Dial>`, map[string]string{"/after": "<Say>Nobody hears it</Say>"})
		called := c.leg()
		want := "canceled"
		if answered {
			want = "completed"
			called.events <- call.LegAnswered{}
			c.talking(c.caller, called)
		}
		c.caller.leaves()
		c.comes("the called party is dropped", called.hungUp)
		got := c.asked("/after")
		if got.Get("DialCallStatus") != want || got.Get("CallStatus") != "completed" {
			t.Errorf("action: %v", got)
		}
		c.is(c.call.SID, call.Completed)
		c.is(c.children()[0].SID, call.Status(want))
	}
}

// calls-api section 7: the action is asked before the new document, and its answer goes unheard.
func TestRedirectOfTheCallerEndsTheDial(t *testing.T) {
	c := dial(t, `<Dial action="/after">+15550102</Dial>`, map[string]string{"/after": "<Redirect>/wrong</Redirect>", "/new": `<Pause length="60"/>`})
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	if _, err := c.Update(t.Context(), c.account.SID, c.call.SID, call.UpdateParams{URL: c.app.URL + "/new"}); err != nil {
		t.Fatal(err)
	}
	c.comes("the called party is dropped", called.hungUp)
	got := c.asked("/after")
	if got.Get("DialCallStatus") != "completed" || got.Get("DialCallDuration") == "" || got.Get("CallStatus") != "in-progress" {
		t.Errorf("action: %v", got)
	}
	c.asked("/new")
	if c.caller.hearing() != nil {
		t.Error("the caller still hears the other one")
	}
}

func TestRedirectOfTheCalledPartyEndsTheDial(t *testing.T) {
	c := dial(t, `<Dial action="/after">+15550102</Dial>`, map[string]string{"/after": `<Pause length="60"/>`, "/new": `<Pause length="60"/>`})
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	child := c.children()[0]
	if _, err := c.Update(t.Context(), c.account.SID, child.SID, call.UpdateParams{URL: c.app.URL + "/new"}); err != nil {
		t.Fatal(err)
	}
	paths := map[string]url.Values{}
	for range 2 {
		v := c.request()
		paths[v.Get("path")] = v
	}
	if got := paths["/after"]; got.Get("DialCallStatus") != "completed" || got.Has("DialCallDuration") {
		t.Errorf("action: %v", got)
	}
	if paths["/new"].Get("CallSid") != child.SID {
		t.Errorf("the new document: %v", paths["/new"])
	}
	if c.caller.hearing() != nil || called.hearing() != nil {
		t.Error("they still hear each other")
	}
	c.caller.leaves() // the other call goes its own way
	c.is(c.call.SID, call.Completed)
	if got := c.stored(child.SID).Status; got != call.InProgress {
		t.Errorf("the redirected call is %s", got)
	}
}

func TestHangupOfTheCalledPartyByTheAPI(t *testing.T) {
	c := dial(t, `<Dial action="/after">+15550102</Dial>`, map[string]string{"/after": `<Pause length="60"/>`})
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	if _, err := c.Update(t.Context(), c.account.SID, c.children()[0].SID, call.UpdateParams{Status: call.Completed}); err != nil {
		t.Fatal(err)
	}
	c.asked("/after")
	if got := c.stored(c.call.SID).Status; got != call.InProgress {
		t.Errorf("the caller's call is %s", got)
	}
}

func TestHoldOfOnePartyLetsTheOtherHearMusic(t *testing.T) {
	c := dial(t, `<Dial>+15550102</Dial>`, nil)
	called := c.leg()
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	called.events <- call.LegHeld{On: true}
	c.until("the caller hears music", c.caller.tone)
	called.events <- call.LegHeld{}
	c.until("the caller hears the other one again", func() bool { return !c.caller.tone() })
	called.events <- call.LegHeld{On: true, Sends: true} // its own music
	called.events <- call.LegDigit{Key: '1'}
	if c.caller.tone() {
		t.Error("our music covers theirs")
	}
}

// inboundDial is a call from outside that runs <Dial>.
func inboundDial(t *testing.T, verb string, more ...map[string]string) *conversation {
	t.Helper()
	c := &conversation{world: newWorld(t)}
	pages := map[string]string{"/": verb}
	for _, m := range more {
		maps.Copy(pages, m)
	}
	c.app = newDialApp(t, pages)
	n := &call.Number{SID: "PN1", AccountSID: c.account.SID, PhoneNumber: "+15550199", VoiceURL: c.app.URL + "/", VoiceMethod: "POST"}
	if err := c.store.CreateNumber(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	c.caller = newActor()
	c.Inbound(c.caller, call.InboundLeg{To: "+15550199", From: "+15550150", Source: "127.0.0.1:5060"})
	c.until("the call is there", func() bool {
		list, _, err := c.store.ListCalls(t.Context(), call.Filter{AccountSID: c.account.SID, To: "+15550199", Limit: 1})
		if err != nil || len(list) == 0 {
			return false
		}
		c.call = list[0]
		return true
	})
	return c
}

// Who does not want to be named is anonymous, and no address of his carrier's.
func TestAnAnonymousCaller(t *testing.T) {
	c := inboundDial(t, `<Pause length="30"/>`)
	c.Inbound(newActor(), call.InboundLeg{To: "+15550199", From: "Anonymous@anonymous.invalid", Source: "127.0.0.1:5060"})
	c.until("both are asked for", func() bool { return len(c.app.requests()) == 2 })
	var from []string
	for _, p := range c.app.requests() {
		from = append(from, p.Get("From"))
	}
	slices.Sort(from)
	if !slices.Equal(from, []string{"+15550150", "anonymous"}) {
		t.Errorf("calls from %v", from)
	}
}

func TestAnswerOnBridge(t *testing.T) {
	c := inboundDial(t, `<Dial answerOnBridge="true">+15550102</Dial>`)
	called := c.leg()
	called.events <- call.LegRinging{Code: 183, EarlyMedia: true}
	c.until("the caller hears the network of the called one", func() bool { return c.caller.hearing() == Leg(called) })
	if answered, _ := c.caller.did(); answered {
		t.Error("the caller was answered before anybody did")
	}
	called.events <- call.LegAnswered{}
	c.talking(c.caller, called)
	if answered, _ := c.caller.did(); !answered {
		t.Error("the caller was not answered")
	}
}

func TestAnswerOnBridgeOfNobodyRefusesTheCaller(t *testing.T) {
	c := inboundDial(t, `<Dial answerOnBridge="true">+15550102</Dial>`)
	c.leg().events <- call.LegEnded{Cause: call.Cause{SIPCode: 486}}
	c.is(c.call.SID, call.Busy)
	c.comes("end of the call", c.caller.hungUp) // once it is stored
	if answered, code := c.caller.did(); answered || code != 486 {
		t.Errorf("answered %v, refused with %d", answered, code)
	}
}

func TestWhatADialCannotDoYetIsRefused(t *testing.T) {
	for _, verb := range []string{
		`<Dial passports="x">+15550102</Dial>`,
		`<Dial recordingConfigurationId="x">+15550102</Dial>`,
	} {
		c := dial(t, verb, nil)
		c.is(c.call.SID, call.Completed)
		list, _, err := c.store.ListNotifications(t.Context(), call.NotificationFilter{AccountSID: c.account.SID, CallSID: c.call.SID, Limit: 5})
		if err != nil || len(list) != 1 || list[0].Code != 12200 {
			t.Errorf("%s: notifications %v, %v", verb, list, err)
		}
	}
}
