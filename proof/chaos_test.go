package proof

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/twiliocall"
)

const (
	chaosCalls   = 100  // of one pass
	chaosAll     = 1000 // with more than one round
	chaosClients = 8
	chaosAtOnce  = 6  // calls that a client has at most
	chaosSteps   = 16 // that are done with a call, then it is hung up

	chaosPause = 80 * time.Millisecond // of a client, at most
)

// TestBothFacesAgreeInChaos has clients do at random whatever both APIs can do, with calls of their own and with
// each other's, while everybody who follows the events is cut off again and again. Then all of it must fit together:
// both faces, the events of each call, what its consumer got, its status callbacks and its recordings.
func TestBothFacesAgreeInChaos(t *testing.T) {
	n := chaosCalls
	if *rounds > 1 {
		n = chaosAll
	}
	t.Run("SQLite", func(t *testing.T) { newChaos(t, "").run(n) })
	if *rounds > 1 {
		t.Run("PostgreSQL", func(t *testing.T) { newChaos(t, newCluster(t).database()).run(n) })
	}
}

type chaos struct {
	t       *testing.T
	ctx     context.Context
	seed    uint64
	engine  *engine
	http    http.Client
	streams http.Client // without a time-out
	client  *twiliocall.Client
	app     *whims

	all, ends *listener // of all events, and of final ones
	hook      *hook
	late      time.Time // when nothing is waited for any more

	mu      sync.Mutex
	calls   map[string]*subject
	open    []*subject             // those that everybody acts on
	counted map[string]map[int]int // answers of each action, by code of the error, 0 for success
}

// subject is a call that clients act on. What its one owner knows of it is only so when nobody else acts on it.
type subject struct {
	sid   string
	alone bool
	heard *follower
	steps int // of its owner that are left

	// Of the client that made it.
	annotation  *string
	metadata    map[string]any
	held, muted bool
	moved       bool // its callbacks go to another URL now

	mu         sync.Mutex
	recordings []string
	deleted    bool
}

func newChaos(t *testing.T, database string) *chaos {
	c := &chaos{
		t: t, ctx: t.Context(), seed: *seed, calls: map[string]*subject{}, counted: map[string]map[int]int{},
		engine: &engine{t: t, bin: build(t), data: t.TempDir(), database: database},
		http:   http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4 * chaosClients}, Timeout: patience},
	}
	if c.seed == 0 {
		c.seed = rand.Uint64()
	}
	t.Logf("-seed %d", c.seed)
	p := newPhones(t, time.Second)
	c.app = newWhims(t, c.random(chaosClients))
	c.engine.start()
	t.Cleanup(c.engine.kill)
	c.engine.trunk("wide", p.Addr(), wide, 0, 0)
	c.engine.trunk("narrow", p.Addr(), narrow, cps, places)
	var err error
	if c.client, err = twiliocall.New(twiliocall.Config{URL: "http://" + c.engine.http, AccountSID: accountSID, AuthToken: authToken}); err != nil {
		t.Fatal(err)
	}
	return c
}

// random is what number i of the clients and others takes its decisions from.
func (c *chaos) random(i int) *rand.Rand { return rand.New(rand.NewPCG(c.seed, uint64(i))) }

func (c *chaos) run(n int) {
	var followers, clients sync.WaitGroup
	for i := range chaosClients {
		quota := n / chaosClients
		if i < n%chaosClients {
			quota++
		}
		clients.Go(func() { c.act(&operator{chaos: c, rand: c.random(i), followers: &followers}, quota) })
	}
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	var listeners sync.WaitGroup
	c.all = newListener(c, c.random(chaosClients+1), "")
	c.ends = newListener(c, c.random(chaosClients+2), "?types=completed,failed,busy,no-answer,canceled")
	listeners.Go(func() { c.all.run(ctx) })
	listeners.Go(func() { c.ends.run(ctx) })
	c.hook = newHook(c, c.random(chaosClients+3))
	hooked, revive := context.WithCancel(c.ctx)
	defer revive()
	listeners.Go(func() { c.hook.run(hooked) })
	began := time.Now()
	clients.Wait()
	acted := time.Since(began)
	c.hangUpAll()
	followers.Wait()
	c.settled()
	settled := time.Since(began)
	revive()
	c.check()
	stop()
	listeners.Wait()
	c.t.Logf("acted for %v, all was over after %v and checked after %v", acted.Round(time.Millisecond), settled.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	c.report()
}

// live are the calls that are not over.
func (c *chaos) live() (list []string) {
	for call, err := range c.client.List(c.ctx, twiliocall.Filter{Status: []string{"queued", "ringing", "in-progress"}, Limit: 1000}) {
		if err != nil {
			c.t.Error(err)
			return list
		}
		list = append(list, call.ID)
	}
	return list
}

func (c *chaos) hangUpAll() {
	if !until(c.ctx, time.Now().Add(patience), func() bool {
		left := c.live()
		each(left, func(sid string) {
			if _, err := c.client.Hangup(c.ctx, sid); err != nil {
				c.t.Errorf("hang up %s: %v", sid, err)
			}
		})
		return len(left) == 0
	}) {
		c.t.Fatal("calls do not end")
	}
}

// settled waits until every recording is where it stays.
func (c *chaos) settled() {
	if !until(c.ctx, time.Now().Add(patience), func() bool {
		for _, r := range c.allRecordings() {
			if r.Status != "completed" && r.Status != "absent" && r.Status != "failed" {
				return false
			}
		}
		return true
	}) {
		c.t.Error("recordings do not settle")
	}
}

func (c *chaos) allRecordings() (list []recordingResource) {
	for next := apiBase + "/Recordings.json?PageSize=1000"; next != ""; {
		var page struct {
			Recordings []recordingResource
			Next       string `json:"next_page_uri"`
		}
		if err := c.rest(http.MethodGet, next, nil, &page); err != nil {
			c.t.Error(err)
			return list
		}
		list, next = append(list, page.Recordings...), page.Next
	}
	return list
}

// check is the proof: all there is of each call fits together.
func (c *chaos) check() {
	c.late = time.Now().Add(patience + outOfTurn)
	var ours []*twiliocall.Call
	for call, err := range c.client.List(c.ctx, twiliocall.Filter{Limit: 100}) {
		if err != nil {
			c.t.Fatal(err)
		}
		ours = append(ours, call)
	}
	var theirs []restCall
	for next := apiBase + "/Calls.json?PageSize=100"; next != ""; {
		var page struct {
			Calls []restCall
			Next  string `json:"next_page_uri"`
		}
		if err := c.rest(http.MethodGet, next, nil, &page); err != nil {
			c.t.Fatal(err)
		}
		theirs, next = append(theirs, page.Calls...), page.Next
	}
	if len(ours) != len(theirs) {
		c.t.Fatalf("one face has %d calls and the other %d", len(ours), len(theirs))
	}
	recordings := map[string]map[string]recordingResource{}
	for _, r := range c.allRecordings() {
		if recordings[r.CallSID] == nil {
			recordings[r.CallSID] = map[string]recordingResource{}
		}
		recordings[r.CallSID][r.SID] = r
	}
	listed := map[string]bool{}
	for i, call := range ours {
		listed[call.ID] = true
		c.agree(call, theirs[i])
		if s := c.calls[call.ID]; s == nil && (call.ParentCallSID == nil || call.Direction != "outbound-dial") {
			c.t.Errorf("nobody made %s", call.ID)
		}
	}
	each(ours, func(call *twiliocall.Call) { c.fits(call, recordings[call.ID]) })
	each(slices.Sorted(maps.Keys(c.calls)), func(sid string) {
		if listed[sid] {
			return
		}
		if !c.gone(sid) {
			c.t.Errorf("%s was acknowledged, and is gone", sid)
		}
		var p *twiliocall.Problem
		if _, err := c.client.Retrieve(c.ctx, sid); !errors.As(err, &p) || p.Status != http.StatusNotFound {
			c.t.Errorf("%s was deleted: %v", sid, err)
		}
		if err := c.rest(http.MethodGet, "/Calls/"+sid+".json", nil, nil); !errors.As(err, &p) || p.Status != http.StatusNotFound {
			c.t.Errorf("%s was deleted: %v", sid, err)
		}
	})
	for _, w := range c.app.wrong {
		c.t.Error(w)
	}
}

// fits checks one call that is over, with its recordings.
func (c *chaos) fits(call *twiliocall.Call, recordings map[string]recordingResource) {
	events, err := c.stored(call.ID)
	if err != nil {
		c.t.Errorf("events of %s: %v", call.ID, err)
		return
	}
	var names, statuses []string
	ids, began, kept := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, e := range events {
		if e.Sequence != i || ids[e.ID] || e.Subject != call.ID {
			c.t.Errorf("%s: number %d of its events is %d, %s, of %s", call.ID, i, e.Sequence, e.ID, e.Subject)
		}
		ids[e.ID] = true
		names = append(names, name(e))
		switch name(e) {
		case "Recording.started", "Recording.completed":
			r, err := e.Recording()
			if err != nil {
				c.t.Error(err)
				continue
			}
			set := began
			if name(e) == "Recording.completed" {
				set = kept
			}
			if set[r.Recording.ID] {
				c.t.Errorf("%s: a second %s of %s", call.ID, name(e), r.Recording.ID)
			}
			set[r.Recording.ID] = true
			if other := recordings[r.Recording.ID]; name(e) == "Recording.completed" && !sameRecording(r.Recording, other) {
				c.t.Errorf("the faces of a recording of %s differ: %+v and %+v", call.ID, r.Recording, other)
			}
		case "created", "queued", "in-progress":
		case "answered":
			statuses = append(statuses, "in-progress")
		default:
			statuses = append(statuses, name(e))
		}
	}
	finals := 0
	for i, e := range events {
		if final(e) {
			finals++
			if name(e) != call.Status || slices.ContainsFunc(names[i+1:], func(n string) bool { return !strings.HasPrefix(n, "Recording.") }) {
				c.t.Errorf("%s is %s: %v", call.ID, call.Status, names)
			}
			last, err := e.Call()
			if err != nil {
				c.t.Error(err)
				continue
			}
			if !reflect.DeepEqual(last.Duration, call.Duration) || !reflect.DeepEqual(last.StartTime, call.StartTime) ||
				!reflect.DeepEqual(last.EndTime, call.EndTime) || last.QueueTime != call.QueueTime {
				c.t.Errorf("%s ended as %+v and is %+v", call.ID, last, call)
			}
		}
	}
	if finals != 1 {
		c.t.Errorf("%s has %d final events: %v", call.ID, finals, names)
	}
	for sid, r := range recordings {
		if !began[sid] || kept[sid] != (r.Status == "completed") {
			c.t.Errorf("recording %s of %s is %s: %v", sid, call.ID, r.Status, names)
		}
	}
	for sid := range began {
		if recordings[sid].SID == "" {
			c.t.Errorf("recording %s of %s is gone", sid, call.ID)
		}
	}
	c.listened(call.ID, events)
	s := c.calls[call.ID]
	if s == nil {
		return
	}
	for _, sid := range s.recordings {
		if recordings[sid].SID == "" {
			c.t.Errorf("recording %s of %s was acknowledged, and is gone", sid, call.ID)
		}
	}
	if s.alone && (!reflect.DeepEqual(call.Annotation, s.annotation) || !reflect.DeepEqual(call.Metadata, s.metadata)) {
		c.t.Errorf("%s ended with annotation %q and metadata %v, want %q and %v", call.ID, text(call.Annotation), call.Metadata, text(s.annotation), s.metadata)
	}
	// Its follower stopped at the final event.
	for i, e := range s.heard.got {
		if i >= len(events) || !reflect.DeepEqual(withoutPosition(e), withoutPosition(events[i])) {
			c.t.Errorf("%s: the follower's event %d was %s, stored is %v", call.ID, i, name(e), names)
			break
		}
	}
	if n := len(s.heard.got); n == 0 || !final(s.heard.got[n-1]) {
		c.t.Errorf("%s: the follower got %d of %d events", call.ID, n, len(events))
	}
	c.told(call.ID, statuses)
}

// sameRecording compares a recording as both faces have it.
func sameRecording(a twiliocall.Recording, b recordingResource) bool {
	channels := map[string]int{"mono": 1, "dual": 2}[a.Channels]
	return a.ID == b.SID && a.CallID == b.CallSID && a.Status == b.Status && a.Source == b.Source && channels == b.Channels &&
		a.Duration != nil && strconv.Itoa(*a.Duration) == b.Duration
}

// listened checks that who listens to all calls got the events of this one, each once, and its webhooks came.
func (c *chaos) listened(sid string, events []*twiliocall.Event) {
	ends := slices.DeleteFunc(slices.Clone(events), func(e *twiliocall.Event) bool { return !final(e) })
	if !until(c.ctx, c.late, func() bool { return c.all.heard(sid, events) && c.ends.heard(sid, ends) }) {
		c.t.Errorf("%s: of %d events the listeners got %d, and %d final ones", sid, len(events), len(c.all.got[sid]), len(c.ends.got[sid]))
	}
	if !until(c.ctx, c.late, func() bool { return c.hook.missing(events) == 0 }) {
		c.t.Errorf("%s: %d webhooks of %d events did not come", sid, c.hook.missing(events), len(events))
	}
	c.hook.inOrder(sid, events)
}

func withoutPosition(e *twiliocall.Event) twiliocall.Event {
	other := *e
	other.Position = ""
	return other
}

// told checks the status callbacks of a call that had these statuses: in order, at both URLs together each once, and
// again only as they were.
func (c *chaos) told(sid string, statuses []string) {
	want := append([]string{"initiated"}, statuses...)
	inQueue := slices.Equal(statuses, []string{"canceled"}) // perhaps before it was dialled: nobody is told then
	var got []string
	until(c.ctx, c.late, func() bool {
		got = nil
		all := c.app.callbacks(sid)
		for _, list := range all {
			for _, cb := range once(list) {
				got = append(got, cb.status)
			}
		}
		return slices.Equal(got, want) || inQueue && len(got) == 0
	})
	if !slices.Equal(got, want) && !(inQueue && len(got) == 0) {
		c.t.Errorf("%s: callbacks %v, stored statuses %v", sid, got, want)
	}
	for _, list := range c.app.callbacks(sid) {
		compare(c.t, sid, "its URL", statusesOf(once(list)), list)
	}
}

// once is list without what came again.
func once(list []callback) []callback {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(list), func(cb callback) bool {
		again := seen[cb.token]
		seen[cb.token] = true
		return again
	})
}

func statusesOf(list []callback) (names []string) {
	for _, cb := range list {
		names = append(names, cb.status)
	}
	return names
}

// report shows what was done, and fails when there is something that was never done.
func (c *chaos) report() {
	cuts, events, deleted := 0, 0, 0
	for _, s := range c.calls {
		cuts, events = cuts+s.heard.cuts, events+len(s.heard.got)
		if s.deleted {
			deleted++
		}
	}
	c.t.Logf("%d calls, %d of them deleted; %d events over %d connections, of all calls %d over %d", len(c.calls), deleted, events, cuts, len(c.all.ids), c.all.cuts)
	c.t.Logf("%d webhooks, %d of them sent again; the receiver had %d lives", len(c.hook.ids), c.hook.again, c.hook.lives)
	if c.hook.again == 0 {
		c.t.Error("no webhook was sent again")
	}
	for _, name := range slices.Sorted(maps.Keys(c.counted)) {
		codes := c.counted[name]
		c.t.Logf("%-22s %4d done, refused %4d not now, %3d live, %3d gone, %3d busy", name, codes[0], codes[21220], codes[20009], codes[20404], codes[20503])
		if codes[0] == 0 {
			c.t.Errorf("%s was never done", name)
		}
	}
	if cuts < len(c.calls) {
		c.t.Errorf("only %d connections for %d calls", cuts, len(c.calls))
	}
}
