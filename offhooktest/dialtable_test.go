package offhooktest_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

var update = flag.Bool("update", false, "rewrite testdata/dial.golden from what the calls did")

const dialTable = "testdata/dial.golden"

// scene is one line of the table: a <Dial>, and what its parties do. Numbers in it are names: own, caller, bob,
// carol, dave and nobody, who has no phone.
type scene struct {
	name  string
	dial  string            // the verbs of the caller's document
	pages map[string]string // the verbs of other documents
	play  func(*stage)
}

// all asks for every status callback of a noun.
const all = ` statusCallback="status" statusCallbackEvent="initiated ringing answered completed"`

// stage is where a scene is played.
type stage struct {
	*testing.T
	srv    *offhooktest.Server
	app    *offhooktest.App
	n      int
	parent *offhooktest.Call

	phones map[string]*offhooktest.Phone
	names  *strings.Replacer // of numbers, toward the table
	legs   []leg
}

// leg is what the table shows of a phone.
type leg struct {
	who  string
	line *offhooktest.Line
}

var roles = []string{"own", "caller", "bob", "carol", "dave", "nobody"}

func number(scene, role int) string { return fmt.Sprintf("+1555%03d%d", scene, role) }

func newStage(t *testing.T, srv *offhooktest.Server, n int, sc scene) *stage {
	t.Helper()
	app := srv.App(t)
	x := &stage{T: t, srv: srv, app: app, n: n, phones: map[string]*offhooktest.Phone{}}
	var there, back []string
	for role, name := range roles {
		there = append(there, "{"+name+"}", number(n, role))
		back = append(back, number(n, role), name)
	}
	there = append(there, "{app}", app.URL(x.path("")))
	back = append(back, app.URL(x.path("")), "")
	x.names = strings.NewReplacer(back...)
	page := func(name, verbs string) {
		app.On(x.path(name), "<Response>"+strings.NewReplacer(there...).Replace(verbs)+"</Response>")
	}
	page("voice", sc.dial)
	page("after", "")
	for name, verbs := range sc.pages {
		page(name, verbs)
	}
	srv.Number(t, x.number("own"), app.URL(x.path("voice")), "StatusCallback", app.URL(x.path("status")))
	for _, name := range roles[1:5] {
		x.phones[name] = srv.Phone(t, x.number(name))
	}
	return x
}

func (x *stage) number(role string) string { return number(x.n, slices.Index(roles, role)) }

func (x *stage) path(name string) string { return fmt.Sprintf("/%d/%s", x.n, name) }

// calls lets the caller call; his call is the parent of all others.
func (x *stage) calls() *offhooktest.Line {
	x.Helper()
	l := x.phones["caller"].Dial(x.number("own"))
	x.legs = append(x.legs, leg{"caller", l})
	x.parent = x.srv.Find(x, x.app.Got(x.path("voice")).Params.Get("CallSid"))
	return l
}

// called is the call that comes to a phone.
func (x *stage) called(who string) *offhooktest.Line {
	x.Helper()
	l := x.phones[who].Incoming()
	x.legs = append(x.legs, leg{who, l})
	return l
}

func (x *stage) rings(who string) *offhooktest.Line {
	x.Helper()
	l := x.called(who)
	x.must(l.Ring())
	return l
}

func (x *stage) answers(who string) *offhooktest.Line {
	x.Helper()
	l := x.rings(who)
	x.ringing(who)
	x.must(l.Answer())
	l.Answered()
	return l
}

func (x *stage) refuses(who string, code int) {
	x.Helper()
	x.must(x.called(who).Reject(code))
}

// bridged is a conversation of the caller with bob.
func (x *stage) bridged() (caller, bob *offhooktest.Line) {
	x.Helper()
	caller = x.calls()
	bob = x.answers("bob")
	x.talk(caller, bob)
	return caller, bob
}

// talk lets both hear each other, at the same time.
func (x *stage) talk(a, b *offhooktest.Line) {
	x.Helper()
	x.whistles(a, 700)
	x.whistles(b, 1300)
	b.HearsTone(700)
	a.HearsTone(1300)
}

// whistles begins to whistle; the call may end meanwhile.
func (x *stage) whistles(l *offhooktest.Line, hz float64) {
	go func() { _ = l.Play(x.Context(), audio.Tone(400*time.Millisecond, hz)) }()
}

func (x *stage) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// children are the calls of a Dial, oldest first.
func (x *stage) children(parent string) []map[string]any {
	x.Helper()
	_, page := x.srv.Request("GET", "/Calls.json", map[string][]string{"ParentCallSid": {parent}})
	var list []map[string]any
	for _, c := range page["calls"].([]any) {
		list = append(list, c.(map[string]any))
	}
	slices.Reverse(list)
	return list
}

// child is the call of the Dial to who.
func (x *stage) child(who string) *offhooktest.Call {
	x.Helper()
	for _, c := range x.children(x.parent.SID) {
		if c["to"] == x.number(who) {
			return x.srv.Find(x, c["sid"].(string))
		}
	}
	x.Fatalf("the Dial did not call %s", who)
	return nil
}

// ringing waits until the server knows that who rings.
func (x *stage) ringing(who string) { x.Helper(); x.child(who).Is("ringing") }

func (x *stage) update(c *offhooktest.Call, params ...string) {
	x.Helper()
	if code, answer := c.Update(params...); code != 200 {
		x.Fatalf("update: %d %v", code, answer)
	}
}

// settled waits until all that belongs to a leg was said.
func (x *stage) settled(l leg) {
	x.Helper()
	l.line.HungUp()
	follows := map[string]string{
		"> BYE": "< 200 BYE", "< BYE": "> 200 BYE", "< CANCEL": "< ACK", "> CANCEL": "> ACK",
	}
	late := clock.System.NewTimer(offhooktest.Patience).C()
	for {
		said := l.line.Messages()
		open := ""
		for _, m := range said {
			want, ok := follows[m]
			if code, request, _ := strings.Cut(m[2:], " "); request == "INVITE" && code >= "300" {
				want, ok = map[byte]string{'>': "< ACK", '<': "> ACK"}[m[0]], true
			}
			if ok && !slices.Contains(said, want) {
				open = want
			}
		}
		if open == "" {
			return
		}
		select {
		case <-clock.System.NewTimer(5 * time.Millisecond).C():
		case <-late:
			x.Fatalf("%s waits for %s after %v", l.who, open, said)
		}
	}
}

// table is what the scene came to.
func (x *stage) table(sc scene) string {
	x.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "== %s\n%s\n", sc.name, strings.Join(strings.Fields(sc.dial), " "))
	for _, name := range slices.Sorted(maps.Keys(sc.pages)) {
		fmt.Fprintf(&b, "%s: %s\n", name, sc.pages[name])
	}
	x.parent.Events().Names() // ends with the call
	calls := append([]map[string]any{x.parent.Fetch()}, x.children(x.parent.SID)...)
	for i := 1; i < len(calls); i++ { // who was redirected may have dialled
		calls = append(calls, x.children(calls[i]["sid"].(string))...)
	}
	sids := map[string]string{}
	for i, c := range calls {
		sid := c["sid"].(string)
		if sids[sid] = "parent"; i > 0 {
			sids[sid] = fmt.Sprintf("child %d", i)
		}
		x.srv.Find(x, sid).Events().Names()
	}
	for _, c := range calls {
		x.call(&b, c["sid"].(string), sids)
	}
	for _, l := range x.legs {
		x.settled(l)
		fmt.Fprintf(&b, "%s: %s\n", l.who, strings.Join(l.line.Messages(), ", "))
	}
	return b.String()
}

// call is what the table says of one call.
func (x *stage) call(b *strings.Builder, sid string, names map[string]string) {
	x.Helper()
	name := names[sid]
	c := x.srv.Find(x, sid).Fetch()
	fmt.Fprintf(b, "%s: %s %s, %s to %s", name, c["status"], c["direction"], c["from"], c["to"])
	if c["parent_call_sid"] != nil {
		fmt.Fprintf(b, ", parent %s", names[c["parent_call_sid"].(string)])
	}
	if c["group_sid"] != nil {
		b.WriteString(", in a group")
	}
	b.WriteString("\n")
	said := b.String()
	b.Reset()
	b.WriteString(x.tidy(said))

	var documents, callbacks []string
	if status := x.statusOf(sid); status {
		for final := false; !final; {
			r := x.app.Got(x.path("status"), "CallSid", sid)
			final = r.Params.Has("CallDuration")
		}
	}
	for _, r := range x.app.Requests("") {
		if r.Params.Get("CallSid") != sid {
			continue
		}
		if r.Params.Get("CallbackSource") != "" {
			text := r.Params.Get("SequenceNumber") + " " + r.Params.Get("CallStatus")
			if r.Method != "POST" {
				text += " by " + r.Method
			}
			if code := r.Params.Get("SipResponseCode"); code != "" {
				text += " " + code
			}
			callbacks = append(callbacks, text)
			continue
		}
		text := r.Method + " " + strings.TrimPrefix(r.Path, x.path("")) + " " + r.Params.Get("CallStatus")
		for _, p := range slices.Sorted(maps.Keys(r.Params)) {
			v := r.Params.Get(p)
			switch p {
			case "DialCallSid", "ParentCallSid":
				v = names[v]
			case "DialCallDuration", "DialSipCallId":
				v = "…"
			case "Digits", "ErrorCode":
			default:
				if !strings.HasPrefix(p, "Dial") {
					continue
				}
			}
			text += " " + p + "=" + v
		}
		documents = append(documents, text)
	}
	for _, d := range documents {
		fmt.Fprintf(b, "  %s\n", d)
	}
	if len(callbacks) > 0 {
		fmt.Fprintf(b, "  callbacks: %s\n", strings.Join(callbacks, ", "))
	}
	_, page := x.srv.Request("GET", "/Calls/"+sid+"/Notifications.json", nil)
	for _, n := range page["notifications"].([]any) {
		n := n.(map[string]any)
		fmt.Fprintf(b, "  notification %s\n", n["error_code"])
	}
}

// statusOf reports whether a final status callback comes of a call.
func (x *stage) statusOf(sid string) bool {
	if sid == x.parent.SID {
		return true
	}
	for _, r := range x.app.Requests(x.path("status")) {
		if r.Params.Get("CallSid") == sid {
			return true
		}
	}
	return false
}

var ports = regexp.MustCompile(`127\.0\.0\.1:\d+`)

func (x *stage) tidy(s string) string { return ports.ReplaceAllString(x.names.Replace(s), "host") }

// The table of what a <Dial> comes to: statuses, requests, callbacks and SIP messages of every leg.
func TestDialTable(t *testing.T) {
	want := map[string]string{}
	if text, err := os.ReadFile(dialTable); err == nil {
		for _, section := range strings.Split(string(text), "\n\n") {
			name, _, _ := strings.Cut(strings.TrimPrefix(section, "== "), "\n")
			want[name] = strings.TrimSuffix(section, "\n") + "\n"
		}
	} else if !*update {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[string]string{}
	srv := offhooktest.Start(t)
	var all sync.WaitGroup
	room := make(chan struct{}, 14) // they wait most of the time, so that the limit of parallel tests is none for them
	for n, sc := range scenes {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			t.Run(sc.name, func(t *testing.T) {
				x := newStage(t, srv, n, sc)
				sc.play(x)
				text := x.table(sc)
				mu.Lock()
				got[sc.name] = text
				mu.Unlock()
				if diff := cmp.Diff(want[sc.name], text); diff != "" && !*update {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
	all.Wait()
	if !*update {
		return
	}
	var b strings.Builder
	for i, sc := range scenes {
		if i > 0 {
			b.WriteString("\n")
		}
		text, ok := got[sc.name]
		if !ok {
			text = want[sc.name]
		}
		b.WriteString(text)
	}
	if err := os.WriteFile(dialTable, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answers2 is answers of a call whose parent is a child.
func (x *stage) answers2(who string) *offhooktest.Line {
	x.Helper()
	l := x.rings(who)
	x.must(l.Answer())
	l.Answered()
	return l
}

func gone(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
