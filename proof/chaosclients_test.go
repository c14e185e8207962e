package proof

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/twiliocall"
)

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

// count notes how an action was answered, and returns the code of its error. Any refusal must be one that a live or
// ended call gives.
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
	note := fmt.Sprintf("note %d", o.rand.IntN(1000))
	change.Annotation = &note
	if change.Metadata == nil {
		change.Metadata = map[string]any{fmt.Sprintf("key %d", o.rand.IntN(3)): note}
	}
	c, err := o.client.Update(o.ctx, s.sid, change)
	if err == nil && s.metadata != nil {
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
		if s.alone && !s.moved && o.rand.IntN(2) == 0 {
			params.Set("StatusCallback", o.app.URL+"/status/1")
		}
	}
	err := o.rest(http.MethodPost, "/Calls/"+s.sid+".json", params, nil)
	s.moved = s.moved || err == nil && params.Has("StatusCallback")
	return err
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
