package proof

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
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
	t      *testing.T
	ctx    context.Context
	seed   uint64
	engine *engine
	http   http.Client
	client *twiliocall.Client
	app    *whims

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
	began := time.Now()
	clients.Wait()
	acted := time.Since(began)
	c.hangUpAll()
	followers.Wait()
	c.settled()
	settled := time.Since(began)
	c.check()
	c.t.Logf("acted for %v, all was over after %v and checked after %v", acted.Round(time.Millisecond), settled.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	c.report()
}

// --- the clients

// operator is one of the clients.
type operator struct {
	*chaos
	rand      *rand.Rand
	followers *sync.WaitGroup
	own       []*subject
}

func (c *chaos) act(o *operator, quota int) {
	for made := 0; c.ctx.Err() == nil && !c.t.Failed() && (made < quota || len(o.own) > 0); {
		if made < quota && len(o.own) < chaosAtOnce && (len(o.own) == 0 || o.rand.IntN(4) == 0) {
			if o.create() {
				made++
			}
			continue
		}
		s := o.pick()
		a := actions[o.rand.IntN(len(actions))]
		if s.steps--; s.steps <= 0 {
			a = action{"hangup", (*operator).hangup}
			o.own = slices.DeleteFunc(o.own, func(other *subject) bool { return other == s })
		}
		if o.count(a.name, s, a.do(o, s)) == 21220 {
			s.steps-- // it is over, or rings for long
		}
		_ = clock.Sleep(c.ctx, clock.System, time.Duration(o.rand.Int64N(int64(chaosPause)))) // the calls get on by themselves
	}
}

// pick is one of the client's own calls, or one that is everybody's.
func (o *operator) pick() *subject {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) > 0 && o.rand.IntN(4) == 0 {
		s := o.open[o.rand.IntN(len(o.open))]
		if !slices.Contains(o.own, s) {
			return &subject{sid: s.sid, steps: chaosSteps, heard: s.heard} // its owner keeps count
		}
	}
	return o.own[o.rand.IntN(len(o.own))]
}

// count notes how an action was answered, and returns the code of its error. Any refusal must be one that a live or ended call gives.
func (o *operator) count(name string, s *subject, err error) (code int) {
	var p *twiliocall.Problem
	switch {
	case errors.Is(err, errLeft):
		return 0
	case errors.As(err, &p):
		code = p.Code
	case err != nil && o.ctx.Err() == nil:
		o.t.Errorf("%s of %s: %v", name, s.sid, err)
	}
	switch code {
	case 0, 21220, 20503: // done, not now, busy
	case 20009:
		if !strings.HasPrefix(name, "delete") {
			o.t.Errorf("%s of %s: %v", name, s.sid, err)
		}
	case 20404:
		if !o.gone(s.sid) {
			o.t.Errorf("%s of %s, which is there: %v", name, s.sid, err)
		}
	default:
		o.t.Errorf("%s of %s: %d %v", name, s.sid, p.Status, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counted[name] == nil {
		o.counted[name] = map[int]int{}
	}
	o.counted[name][code]++
	return code
}

// gone reports whether somebody may have deleted a call.
func (c *chaos) gone(sid string) bool {
	c.mu.Lock()
	s := c.calls[sid]
	c.mu.Unlock()
	if s == nil {
		return true // of a <Dial>: nobody keeps count
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deleted
}

// create makes a call by either API; false when there was no room.
func (o *operator) create() bool {
	name := "create"
	prefix := wide
	if o.rand.IntN(4) == 0 {
		prefix = narrow
	}
	to := fmt.Sprintf("%s%c%06d", prefix, does(o.rand), o.rand.IntN(1e6))
	s := &subject{alone: o.rand.IntN(2) == 0, steps: chaosSteps, metadata: map[string]any{}}
	var err error
	if o.rand.IntN(2) == 0 {
		name = "create, Calls API"
		var answer resource
		err = o.rest(http.MethodPost, "/Calls.json", url.Values{
			"To": {to}, "From": {"+15005550006"}, "Url": {o.app.URL + "/voice"}, "Timeout": {"20"},
			"StatusCallback": {o.app.URL + "/status/0"}, "StatusCallbackEvent": {"initiated", "ringing", "answered", "completed"},
		}, &answer)
		s.sid = answer.SID
	} else {
		note := fmt.Sprintf("note %d", o.rand.IntN(1000))
		s.annotation, s.metadata = &note, map[string]any{"client": float64(o.rand.IntN(chaosClients)), "kept": true}
		var answer *twiliocall.Call
		answer, err = o.client.Create(o.ctx, twiliocall.CreateCall{
			To: to, From: "+15005550006", URL: o.app.URL + "/voice", Timeout: 20, Annotation: note, Metadata: s.metadata,
			StatusCallback: o.app.URL + "/status/0", StatusCallbackEvent: []string{"initiated", "ringing", "answered", "completed"},
		})
		if err == nil {
			s.sid = answer.ID
		}
	}
	o.count(name, s, err)
	if err != nil {
		_ = clock.Sleep(o.ctx, clock.System, 50*time.Millisecond) // busy, and said so
		return false
	}
	s.heard = &follower{chaos: o.chaos, sid: s.sid, rand: rand.New(rand.NewPCG(o.rand.Uint64(), 0))}
	o.mu.Lock()
	o.calls[s.sid] = s
	if !s.alone {
		o.open = append(o.open, s)
	}
	o.mu.Unlock()
	o.followers.Go(s.heard.run)
	o.own = append(o.own, s)
	return true
}

// does is what a called party does: most answer.
func does(r *rand.Rand) plan {
	if r.IntN(2) == 0 {
		return picksUp
	}
	return stays + plan(r.IntN(plans))
}

type action struct {
	name string
	do   func(o *operator, s *subject) error
}

var actions = []action{
	{"retrieve", (*operator).retrieve},
	{"list", (*operator).list},
	{"update", (*operator).update},
	{"hold", (*operator).hold}, {"hold", (*operator).hold},
	{"unhold", (*operator).unhold}, {"unhold", (*operator).unhold},
	{"mute", (*operator).mute},
	{"unmute", (*operator).unmute},
	{"record", (*operator).record},
	{"stopRecording", (*operator).stopRecording},
	{"redirect", (*operator).redirect},
	{"hangup", (*operator).hangup},
	{"delete", (*operator).remove},
	{"retrieve, Calls API", (*operator).retrieve},
	{"redirect, Calls API", (*operator).restRedirect},
	{"update, Calls API", (*operator).restUpdate},
	{"delete, Calls API", (*operator).restRemove},
}

// retrieve compares the faces while others are at work: what was read of one must agree with what was read of the
// other before and after it, when those are the same.
func (o *operator) retrieve(s *subject) error {
	before, err := o.client.Retrieve(o.ctx, s.sid)
	if err != nil {
		return err
	}
	var face restCall
	if err := o.rest(http.MethodGet, "/Calls/"+s.sid+".json", nil, &face); err != nil {
		return err
	}
	now, err := o.client.Retrieve(o.ctx, s.sid)
	if err == nil && reflect.DeepEqual(before, now) {
		o.agree(now, face)
	}
	if err == nil {
		o.known(s, now)
	}
	return err
}

// known checks a call that nobody else acts on against what was done to it.
func (o *operator) known(s *subject, c *twiliocall.Call) {
	if !s.alone {
		return
	}
	live := c.Status == "in-progress"
	if c.Held != (live && s.held) || c.Muted != (live && s.muted) {
		o.t.Errorf("%s is %s, held %v and muted %v: asked for held %v and muted %v", s.sid, c.Status, c.Held, c.Muted, s.held, s.muted)
	}
	if !reflect.DeepEqual(c.Annotation, s.annotation) || !reflect.DeepEqual(c.Metadata, s.metadata) {
		o.t.Errorf("%s has annotation %q and metadata %v, want %q and %v", s.sid, text(c.Annotation), c.Metadata, text(s.annotation), s.metadata)
	}
}

func text(s *string) string {
	if s == nil {
		return "(null)"
	}
	return *s
}

func (o *operator) list(*subject) error {
	filter := twiliocall.Filter{Status: []string{"in-progress", "ringing"}, Limit: 1 + o.rand.IntN(20)}
	seen := map[string]bool{}
	for call, err := range o.client.List(o.ctx, filter) {
		if err != nil {
			return err
		}
		if seen[call.ID] {
			o.t.Errorf("%s is listed twice", call.ID)
		}
		if seen[call.ID] = true; len(seen) > 60 {
			break
		}
		if call.ParentCallSID != nil { // others may act on what a <Dial> made
			o.mu.Lock()
			if len(o.open) < 1000 && !slices.ContainsFunc(o.open, func(s *subject) bool { return s.sid == call.ID }) {
				o.open = append(o.open, &subject{sid: call.ID})
			}
			o.mu.Unlock()
		}
	}
	return nil
}

func (o *operator) update(s *subject) error {
	var change twiliocall.UpdateCall
	note := ""
	switch o.rand.IntN(6) {
	case 0:
		change.TimeLimit = 2 + o.rand.IntN(5)
	case 1:
		if s.alone && !s.moved { // once: the order of two changes by different clients is nobody's to know
			change.StatusCallback = o.app.URL + "/status/1"
		}
	case 2:
		change.Metadata = map[string]any{"kept": nil}
	case 3:
		change.Status = "canceled" // of one that is not answered
	}
	note = fmt.Sprintf("note %d", o.rand.IntN(1000))
	change.Annotation = &note
	if change.Metadata == nil {
		change.Metadata = map[string]any{fmt.Sprintf("key %d", o.rand.IntN(3)): note}
	}
	c, err := o.client.Update(o.ctx, s.sid, change)
	if err == nil && s.sid != "" && s.metadata != nil {
		s.annotation, s.moved = &note, s.moved || change.StatusCallback != ""
		s.metadata = maps.Clone(s.metadata)
		for key, value := range change.Metadata {
			if s.metadata[key] = value; value == nil {
				delete(s.metadata, key)
			}
		}
		o.known(s, c)
	}
	return err
}

func (o *operator) hold(s *subject) error {
	music := ""
	if o.rand.IntN(3) == 0 {
		music = o.app.URL + "/music.wav"
	}
	c, err := o.client.Hold(o.ctx, s.sid, music)
	if err == nil {
		s.held = true
		o.known(s, c)
	}
	return err
}

func (o *operator) unhold(s *subject) error {
	c, err := o.client.Unhold(o.ctx, s.sid)
	if err == nil {
		s.held = false
		o.known(s, c)
	}
	return err
}

func (o *operator) mute(s *subject) error {
	c, err := o.client.Mute(o.ctx, s.sid)
	if err == nil {
		s.muted = true
		o.known(s, c)
	}
	return err
}

func (o *operator) unmute(s *subject) error {
	c, err := o.client.Unmute(o.ctx, s.sid)
	if err == nil {
		s.muted = false
		o.known(s, c)
	}
	return err
}

func (o *operator) record(s *subject) error {
	r, err := o.client.Record(o.ctx, s.sid, twiliocall.RecordingConfig{Channels: []string{"mono", "dual"}[o.rand.IntN(2)], MaxLength: 1 + o.rand.IntN(3)})
	if err != nil {
		return err
	}
	o.mu.Lock()
	all := o.calls[s.sid]
	o.mu.Unlock()
	if all != nil {
		all.mu.Lock()
		all.recordings = append(all.recordings, r.ID)
		all.mu.Unlock()
	}
	return nil
}

func (o *operator) stopRecording(s *subject) error {
	_, err := o.client.StopRecording(o.ctx, s.sid, "")
	return err
}

func (o *operator) redirect(s *subject) error {
	to := twiliocall.Redirect{URL: o.app.URL + "/voice"}
	if o.rand.IntN(2) == 0 {
		to = twiliocall.Redirect{Twiml: `<Response><Pause length="60"/></Response>`}
	}
	c, err := o.client.Redirect(o.ctx, s.sid, to)
	if err == nil {
		o.known(s, c)
	}
	return err
}

func (o *operator) restRedirect(s *subject) error {
	params := url.Values{"Twiml": {`<Response><Say loop="0">Redirected</Say></Response>`}}
	if o.rand.IntN(2) == 0 {
		params = url.Values{"Url": {o.app.URL + "/voice"}}
	}
	return o.rest(http.MethodPost, "/Calls/"+s.sid+".json", params, nil)
}

func (o *operator) restUpdate(s *subject) error {
	params := []url.Values{
		{"Status": {"completed"}}, {"Status": {"canceled"}}, {"TimeLimit": {strconv.Itoa(2 + o.rand.IntN(5))}},
	}[o.rand.IntN(3)]
	var face restCall
	err := o.rest(http.MethodPost, "/Calls/"+s.sid+".json", params, &face)
	if err == nil && params.Get("Status") == "completed" && !(resource{Status: face.Status}).final() {
		o.t.Errorf("%s was ended and is %s", s.sid, face.Status)
	}
	return err
}

func (o *operator) hangup(s *subject) error {
	c, err := o.client.Hangup(o.ctx, s.sid)
	if err == nil && !(resource{Status: c.Status}).final() {
		o.t.Errorf("%s was hung up and is %s", s.sid, c.Status)
	}
	return err
}

func (o *operator) remove(s *subject) error {
	return o.removing(s, func() error { _, err := o.client.Delete(o.ctx, s.sid); return err })
}

func (o *operator) restRemove(s *subject) error {
	return o.removing(s, func() error { return o.rest(http.MethodDelete, "/Calls/"+s.sid+".json", nil, nil) })
}

// errLeft is of an action that was left alone.
var errLeft = errors.New("not done")

// removing deletes a call of the client's own, one in ten: what is gone proves nothing.
func (o *operator) removing(s *subject, do func() error) error {
	if !slices.Contains(o.own, s) || o.rand.IntN(10) > 0 {
		return errLeft
	}
	s.setDeleted(true) // somebody may find it gone before the answer comes
	err := do()
	var p *twiliocall.Problem
	if errors.As(err, &p) && p.Code == 20009 {
		s.setDeleted(false)
	}
	return err
}

func (s *subject) setDeleted(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted = yes
}

// rest makes a request of the Calls API; a refusal is a *twiliocall.Problem with its code.
func (c *chaos) rest(method, path string, params url.Values, answer any) error {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(params.Encode())
	}
	if !strings.HasPrefix(path, "/2010") {
		path = apiBase + path
	}
	r, err := http.NewRequestWithContext(c.ctx, method, "http://"+c.engine.http+path, body)
	if err != nil {
		return err
	}
	r.SetBasicAuth(accountSID, authToken)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var e struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal(got, &e); err != nil {
			return fmt.Errorf("%s %q: %w", resp.Status, got, err)
		}
		return &twiliocall.Problem{Status: resp.StatusCode, Code: e.Code, Detail: e.Message}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(got, answer)
}

// --- both faces

// restCall is a call of the Calls API.
type restCall struct {
	SID             string            `json:"sid"`
	AccountSID      string            `json:"account_sid"`
	To              string            `json:"to"`
	ToFormatted     string            `json:"to_formatted"`
	From            string            `json:"from"`
	FromFormatted   string            `json:"from_formatted"`
	ParentCallSID   *string           `json:"parent_call_sid"`
	PhoneNumberSID  *string           `json:"phone_number_sid"`
	Status          string            `json:"status"`
	StartTime       *string           `json:"start_time"`
	EndTime         *string           `json:"end_time"`
	Duration        *string           `json:"duration"`
	Price           *string           `json:"price"`
	PriceUnit       string            `json:"price_unit"`
	Direction       string            `json:"direction"`
	AnsweredBy      *string           `json:"answered_by"`
	Annotation      *string           `json:"annotation"`
	APIVersion      string            `json:"api_version"`
	ForwardedFrom   *string           `json:"forwarded_from"`
	GroupSID        *string           `json:"group_sid"`
	CallerName      *string           `json:"caller_name"`
	QueueTime       string            `json:"queue_time"`
	TrunkSID        *string           `json:"trunk_sid"`
	URI             string            `json:"uri"`
	SubresourceURIs map[string]string `json:"subresource_uris"`
	DateCreated     *string           `json:"date_created"`
	DateUpdated     *string           `json:"date_updated"`
}

// agree compares all that both faces show of a call.
func (c *chaos) agree(a *twiliocall.Call, b restCall) {
	when := func(s *string) *int64 {
		if s == nil {
			return nil
		}
		at, err := time.Parse(time.RFC1123Z, *s)
		if err != nil {
			c.t.Errorf("%s: time %q: %v", a.ID, *s, err)
		}
		seconds := at.Unix()
		return &seconds
	}
	number := func(s *string) *float64 {
		if s == nil {
			return nil
		}
		f, err := strconv.ParseFloat(*s, 64)
		if err != nil {
			c.t.Errorf("%s: number %q", a.ID, *s)
		}
		return &f
	}
	price, duration := number(b.Price), number(b.Duration)
	if price != nil {
		*price = -*price
	}
	var lasted *int
	if duration != nil {
		n := int(*duration)
		lasted = &n
	}
	by := b.AnsweredBy
	if by != nil && strings.HasPrefix(*by, "machine") {
		machine := "machine"
		by = &machine
	}
	queued, _ := strconv.ParseInt(b.QueueTime, 10, 64)
	zero := func(p *int64) int64 { return *cmp.Or(p, new(int64)) }
	other := twiliocall.Call{
		ID: b.SID, AccountSID: b.AccountSID, From: b.From, To: b.To, FromFormatted: b.FromFormatted, ToFormatted: b.ToFormatted,
		ParentCallSID: b.ParentCallSID, PhoneNumberSID: b.PhoneNumberSID, Status: b.Status,
		StartTime: when(b.StartTime), EndTime: when(b.EndTime), Duration: lasted, Price: price, PriceUnit: b.PriceUnit,
		Direction: b.Direction, AnsweredBy: by, Annotation: b.Annotation, CallerName: b.CallerName, QueueTime: queued,
		ForwardedFrom: b.ForwardedFrom, GroupSID: b.GroupSID, TrunkSID: b.TrunkSID, URI: b.URI, SubresourceURIs: b.SubresourceURIs,
		DateCreated: zero(when(b.DateCreated)), DateUpdated: zero(when(b.DateUpdated)),
		Metadata: a.Metadata, Held: a.Held, Muted: a.Muted, // of one face alone
	}
	if !reflect.DeepEqual(*a, other) {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(other)
		c.t.Errorf("the faces of %s differ:\n%s\n%s", a.ID, x, y)
	}
}

// --- who follows the events

// follower reads the events of a call. Its connections are cut again and again; it goes on behind the last event.
type follower struct {
	*chaos
	sid  string
	rand *rand.Rand

	got  []*twiliocall.Event
	cuts int
}

func (f *follower) run() {
	position := ""
	for over := false; !over && f.ctx.Err() == nil; {
		life, cut := context.WithTimeout(f.ctx, time.Duration(f.rand.Int64N(int64(600*time.Millisecond))))
		for e, err := range f.client.Events(life, f.sid, position) {
			var p *twiliocall.Problem
			switch {
			case errors.As(err, &p) && p.Code == 20404 && f.gone(f.sid):
				over = true
			case err != nil && life.Err() == nil:
				f.t.Errorf("events of %s: %v", f.sid, err)
				over = true
			case err == nil:
				if e.Sequence != len(f.got) {
					f.t.Errorf("%s: event %d comes as number %d, after %d cuts", f.sid, e.Sequence, len(f.got), f.cuts)
				}
				f.got, position = append(f.got, e), e.Position
				over = over || final(e)
			}
		}
		cut()
		f.cuts++
	}
}

func name(e *twiliocall.Event) string { return strings.TrimPrefix(e.Type, "TwilioCall.") }

func final(e *twiliocall.Event) bool { return resource{Status: name(e)}.final() }

// stored are all events of a call that is over.
func (c *chaos) stored(sid string) ([]*twiliocall.Event, error) {
	r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://"+c.engine.http+"/v1/calls/"+sid+"/events", nil)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(accountSID, authToken)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var list []*twiliocall.Event
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			e := &twiliocall.Event{}
			if err := json.Unmarshal([]byte(data), e); err != nil {
				return nil, err
			}
			list = append(list, e)
		}
	}
	return list, lines.Err()
}

// --- the application

// whims is an application that answers as it likes, and keeps the status callbacks.
type whims struct {
	*httptest.Server

	mu    sync.Mutex
	rand  *rand.Rand
	got   map[string][2][]callback // by call SID, of its first URL and its second one
	wrong []string
}

func newWhims(t *testing.T, r *rand.Rand) *whims {
	w := &whims{rand: r, got: map[string][2][]callback{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *whims) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch form := r.PostForm; r.URL.Path {
	case "/status/0", "/status/1":
		seq, err := strconv.Atoi(form.Get("SequenceNumber"))
		cb := callback{form.Get("CallStatus"), r.Header.Get("I-Twilio-Idempotency-Token"), form.Encode(), seq}
		if err != nil || cb.token == "" {
			w.wrong = append(w.wrong, fmt.Sprintf("callback without sequence number or token: %v %v", r.Header, form))
		}
		all := w.got[form.Get("CallSid")]
		i := int(r.URL.Path[len(r.URL.Path)-1] - '0')
		all[i] = append(all[i], cb)
		w.got[form.Get("CallSid")] = all
		if w.rand.IntN(20) == 0 {
			rw.WriteHeader(http.StatusServiceUnavailable) // it comes again
		}
	case "/music.wav":
		rw.Header().Set("Content-Type", "audio/wav")
		_, _ = rw.Write(audio.EncodeWAV(audio.Tone(time.Second, 620), audio.SampleRate))
	default:
		rw.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(rw, "<Response>"+w.document()+"</Response>")
	}
}

func (w *whims) document() string {
	switch w.rand.IntN(8) {
	case 0:
		return fmt.Sprintf(`<Dial timeout="5" action="/voice">%s%c%06d</Dial>`, wide, does(w.rand), w.rand.IntN(1e6))
	case 1:
		return `<Say>Hello and good bye</Say>`
	case 2:
		return `<Record maxLength="1" playBeep="false" action="/voice"/>`
	case 3:
		return `<Gather timeout="1" action="/voice"><Say>Press one</Say></Gather><Redirect>/voice</Redirect>`
	case 4:
		return `<Say loop="0">On and on</Say>`
	}
	return `<Pause length="120"/>`
}

func (w *whims) callbacks(sid string) [2][]callback {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.got[sid]
	return [2][]callback{slices.Clone(all[0]), slices.Clone(all[1])}
}

// --- the end

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
	recordings := map[string]map[string]string{}
	for _, r := range c.allRecordings() {
		if recordings[r.CallSID] == nil {
			recordings[r.CallSID] = map[string]string{}
		}
		recordings[r.CallSID][r.SID] = r.Status
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
func (c *chaos) fits(call *twiliocall.Call, recordings map[string]string) {
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
	for sid, status := range recordings {
		if !began[sid] || kept[sid] != (status == "completed") {
			c.t.Errorf("recording %s of %s is %s: %v", sid, call.ID, status, names)
		}
	}
	for sid := range began {
		if recordings[sid] == "" {
			c.t.Errorf("recording %s of %s is gone", sid, call.ID)
		}
	}
	s := c.calls[call.ID]
	if s == nil {
		return
	}
	for _, sid := range s.recordings {
		if recordings[sid] == "" {
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
	until(c.ctx, time.Now().Add(patience), func() bool {
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
	c.t.Logf("%d calls, %d of them deleted; %d events over %d connections", len(c.calls), deleted, events, cuts)
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
