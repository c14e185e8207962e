package callapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// Calls does what is asked of calls (package session). Its errors are *twilio.Error, shown to the customer as they
// are, or those of package call. Safe for concurrent use.
type Calls interface {
	// Create validates p, stores the call and queues it. When it returns, the call is durable.
	Create(ctx context.Context, accountSID string, p call.CreateParams) (*call.Call, error)
	// Update redirects, cancels or hangs up a call, or changes its options.
	Update(ctx context.Context, accountSID, callSID string, p call.UpdateParams) (*call.Call, error)
	// Annotate changes what is noted beside a call, live or ended.
	Annotate(ctx context.Context, accountSID, callSID string, note call.Note) (*call.Call, error)
	// Hangup ends a call; one that has ended is returned as it is.
	Hangup(ctx context.Context, accountSID, callSID string) (*call.Call, error)
	// Hold puts the party of a live call on hold with music, ours when the URL is empty.
	Hold(ctx context.Context, accountSID, callSID, musicURL string) (*call.Call, error)
	Unhold(ctx context.Context, accountSID, callSID string) (*call.Call, error)
	// Mute makes what the party of a live call says silence, or ends that.
	Mute(ctx context.Context, accountSID, callSID string, on bool) (*call.Call, error)
	// Delete removes the record of a call that has ended.
	Delete(ctx context.Context, accountSID, callSID string) error
	StartRecording(ctx context.Context, accountSID, callSID string, p call.RecordingParams) (*call.Recording, error)
	// StopRecordings stops the recording of that SID, or all that run.
	StopRecordings(ctx context.Context, accountSID, callSID, recordingSID string) (*call.Call, error)
}

// maxBody bounds a request, bytes: a document of 4,000 characters and 50 values of metadata fit.
const maxBody = 256 << 10

// CallID is the path of every action on one call.
type CallID struct {
	ID string `path:"id" doc:"The call's SID, CA and 32 hexadecimal digits." example:"CA0123456789abcdef0123456789abcdef"`
}

// sid is the SID, or that there is no such call.
func (c *CallID) sid() (string, error) {
	if !twilio.IsSID(c.ID, twilio.CallPrefix) {
		return "", call.ErrNotFound
	}
	return c.ID, nil
}

// answer is one call.
type answer struct {
	Body twiliocall.Call
}

func (a *api) answer(c *call.Call, err error) (*answer, error) {
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &answer{Body: c.Resource()}, nil
}

// calls registers the actions of the resource (twiliocall section 2).
func (a *api) calls(h huma.API) {
	const base = "/v1/calls"
	action := func(id, method, path, summary string, errs ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"calls"},
			MaxBodyBytes: maxBody, Errors: append(errs, http.StatusUnauthorized, http.StatusServiceUnavailable),
			Security: []map[string][]string{{"basic": {}}},
		}
	}
	create := action("create", http.MethodPost, base, "Call somebody", 400, 409)
	create.DefaultStatus = http.StatusCreated
	huma.Register(h, create, a.create)
	huma.Register(h, action("list", http.MethodGet, base, "List calls, newest first", 400), a.list)
	huma.Register(h, action("retrieve", http.MethodGet, base+"/{id}", "Show a call", 404), a.retrieve)
	huma.Register(h, action("update", http.MethodPatch, base+"/{id}", "Change a call, by merge patch", 400, 404, 409), a.update)
	huma.Register(h, action("delete", http.MethodDelete, base+"/{id}", "Delete the record of a call that has ended", 404, 409), a.remove)
	huma.Register(h, action("redirect", http.MethodPost, base+"/{id}/redirect", "Give a live call another document", 400, 404, 409), a.redirect)
	huma.Register(h, action("hangup", http.MethodPost, base+"/{id}/hangup", "End a call, or take it back while it is queued or rings", 404), a.hangup)
	a.detection(h, action("detection", http.MethodGet, base+"/{id}/detection", "Show who answered, and how that was found out", 404))
	huma.Register(h, action("hold", http.MethodPost, base+"/{id}/hold", "Put the party on hold: it hears music, nobody hears it, and what the call does waits", 400, 404, 409), a.hold)
	huma.Register(h, action("unhold", http.MethodPost, base+"/{id}/unhold", "Go on where hold stopped", 404, 409), a.unhold)
	huma.Register(h, action("mute", http.MethodPost, base+"/{id}/mute", "Make what the party says silence for everybody; its keys count", 404, 409), a.mute)
	huma.Register(h, action("unmute", http.MethodPost, base+"/{id}/unmute", "End mute", 404, 409), a.unmute)
	record := action("record", http.MethodPost, base+"/{id}/record", "Record a live call", 400, 404, 409)
	huma.Register(h, record, a.record)
	huma.Register(h, action("stopRecording", http.MethodPost, base+"/{id}/stopRecording", "Stop a recording, or all that run", 400, 404, 409), a.stopRecording)
}

type createInput struct {
	Key     string `header:"Idempotency-Key" doc:"A create that is sent again with the same key within 24 hours makes no second call: it is answered as the first one."`
	Body    twiliocall.CreateCall
	RawBody []byte
}

func (a *api) create(ctx context.Context, in *createInput) (*answer, error) {
	if err := refuseZero(in.RawBody); err != nil {
		return nil, a.problemOf(err)
	}
	b := &in.Body
	p := call.CreateParams{
		To: b.To, From: b.From, Byoc: b.Byoc, ApplicationSID: b.ApplicationSID, CallToken: b.CallToken, Annotation: b.Annotation, Metadata: b.Metadata,
		Options: call.Options{
			URL: b.URL, Method: b.Method, Twiml: b.Twiml, FallbackURL: b.FallbackURL, FallbackMethod: b.FallbackMethod,
			StatusURL: b.StatusCallback, StatusMethod: b.StatusCallbackMethod, StatusEvents: b.StatusCallbackEvent,
			Timeout: b.Timeout, TimeLimit: b.TimeLimit, SendDigits: b.SendDigits, CallerID: b.CallerID, CallReason: b.CallReason,
			SIPUsername: b.SIPAuthUsername, SIPPassword: b.SIPAuthPassword,
			NotificationURL: b.ClientNotificationURL,
		},
		AsyncAMD: &b.AsyncAMD,
		MachineDetection: call.MachineDetection{
			Mode: b.MachineDetection, Timeout: b.MachineDetectionTimeout, SpeechThreshold: b.MachineDetectionSpeechThreshold,
			SpeechEndThreshold: b.MachineDetectionSpeechEndThreshold, SilenceTimeout: b.MachineDetectionSilenceTimeout,
			CallbackURL: b.AsyncAMDStatusCallback, CallbackMethod: b.AsyncAMDStatusCallbackMethod,
		},
		Record: &b.Record,
		Recording: call.RecordingParams{
			Channels: b.RecordingChannels, Track: b.RecordingTrack, Trim: b.Trim,
			StatusURL: b.RecordingStatusCallback, StatusMethod: b.RecordingStatusCallbackMethod, StatusEvents: b.RecordingStatusCallbackEvent,
		},
	}
	if in.Key != "" {
		sum := sha256.Sum256(append([]byte("POST /v1/calls\n"), in.RawBody...))
		p.Idempotency = call.Idempotency{Key: in.Key, Fingerprint: hex.EncodeToString(sum[:])}
	}
	return a.answer(a.Calls.Create(ctx, account(ctx), p))
}

func (a *api) retrieve(ctx context.Context, in *CallID) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	return a.answer(a.Store.Call(ctx, account(ctx), sid))
}

// patch is UpdateCall on the wire, where null and nothing differ.
type patch struct {
	Annotation           optional[string]         `json:"annotation,omitempty" doc:"Free text, at most 1,024 characters; null removes it. Also after the call has ended."`
	Metadata             optional[map[string]any] `json:"metadata,omitempty" doc:"Merged into what there is: null removes a key, or all of it. Also after the call has ended."`
	Status               string                   `json:"status,omitempty" enum:"completed,canceled" doc:"completed ends a call, canceled one that is not answered."`
	TimeLimit            int                      `json:"timeLimit,omitempty" minimum:"1" doc:"Seconds from the answer to the end at most: 1 to 14400."`
	StatusCallback       string                   `json:"statusCallback,omitempty" doc:"Told how the call goes on; its events count from 0."`
	StatusCallbackMethod string                   `json:"statusCallbackMethod,omitempty" doc:"GET or POST."`
}

// optional is a member that may be null, which is not the same as left out.
type optional[T any] struct {
	given bool
	value *T // nil: null
}

func (o *optional[T]) UnmarshalJSON(b []byte) error {
	o.given = true
	return json.Unmarshal(b, &o.value)
}

// Schema is that of T, or null.
func (o optional[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, reflect.TypeFor[T]())
	s.Nullable = true
	return &s
}

func (a *api) update(ctx context.Context, in *struct {
	CallID
	Body patch
}) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	b := &in.Body
	p := call.UpdateParams{
		Status: call.Status(b.Status), TimeLimit: b.TimeLimit, StatusURL: b.StatusCallback, StatusMethod: b.StatusCallbackMethod,
		CallbackAlone: true,
	}
	var note call.Note
	if b.Annotation.given {
		text := ""
		if b.Annotation.value != nil {
			text = *b.Annotation.value
		}
		note.Annotation = &text
	}
	if b.Metadata.given {
		if note.Clear = b.Metadata.value == nil; !note.Clear {
			note.Metadata = *b.Metadata.value
		}
	}
	c, err := a.Store.Call(ctx, account(ctx), sid)
	if err == nil {
		err = p.Validate()
	}
	if err == nil && p.Given() {
		c, err = a.Calls.Update(ctx, account(ctx), sid, p) // it may be refused: what is noted stays untouched then
	}
	if err == nil && !note.Empty() {
		c, err = a.Calls.Annotate(ctx, account(ctx), sid, note)
	}
	return a.answer(c, err)
}

func (a *api) remove(ctx context.Context, in *CallID) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	c, err := a.Store.Call(ctx, account(ctx), sid)
	if err == nil {
		err = a.Calls.Delete(ctx, account(ctx), sid)
	}
	return a.answer(c, err)
}

func (a *api) redirect(ctx context.Context, in *struct {
	CallID
	Body twiliocall.Redirect
}) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	b := &in.Body
	if (b.URL == "") == (b.Twiml == "") {
		return nil, a.problemOf(twilio.Errf(21205, "one of url and twiml is required"))
	}
	return a.answer(a.Calls.Update(ctx, account(ctx), sid, call.UpdateParams{
		URL: b.URL, Method: b.Method, Twiml: b.Twiml, FallbackURL: b.FallbackURL, FallbackMethod: b.FallbackMethod,
	}))
}

func (a *api) hangup(ctx context.Context, in *CallID) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	return a.answer(a.Calls.Hangup(ctx, account(ctx), sid))
}

func (a *api) hold(ctx context.Context, in *struct {
	CallID
	Body *struct {
		MusicURL string `json:"musicUrl,omitempty" doc:"Audio that is played again and again instead of our own music."`
	}
}) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	music := ""
	if in.Body != nil {
		music = in.Body.MusicURL
	}
	return a.answer(a.Calls.Hold(ctx, account(ctx), sid, music))
}

func (a *api) unhold(ctx context.Context, in *CallID) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	return a.answer(a.Calls.Unhold(ctx, account(ctx), sid))
}

func (a *api) mute(ctx context.Context, in *CallID) (*answer, error) {
	return a.setMuted(ctx, in, true)
}
func (a *api) unmute(ctx context.Context, in *CallID) (*answer, error) {
	return a.setMuted(ctx, in, false)
}

func (a *api) setMuted(ctx context.Context, in *CallID, on bool) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	return a.answer(a.Calls.Mute(ctx, account(ctx), sid, on))
}

type recordingAnswer struct {
	Status int
	Body   twiliocall.Recording
}

func (a *api) record(ctx context.Context, in *struct {
	CallID
	Body *twiliocall.RecordingConfig
}) (*recordingAnswer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	var b twiliocall.RecordingConfig
	if in.Body != nil {
		b = *in.Body
	}
	r, err := a.Calls.StartRecording(ctx, account(ctx), sid, call.RecordingParams{
		Channels: b.Channels, Track: b.Track, Trim: b.Trim, MaxLength: b.MaxLength, PlayBeep: b.PlayBeep,
		StatusURL: b.StatusCallback, StatusMethod: b.StatusCallbackMethod, StatusEvents: b.StatusCallbackEvent,
	})
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &recordingAnswer{http.StatusCreated, r.Resource(a.BaseURL())}, nil
}

func (a *api) stopRecording(ctx context.Context, in *struct {
	CallID
	Body *struct {
		RecordingID string `json:"recordingId,omitempty" doc:"RE… of the recording; all that run when it is left out."`
	}
}) (*answer, error) {
	sid, err := in.sid()
	if err != nil {
		return nil, a.problemOf(err)
	}
	recording := ""
	if in.Body != nil {
		recording = in.Body.RecordingID
	}
	if recording != "" && !twilio.IsSID(recording, twilio.RecordingPrefix) {
		return nil, a.problemOf(call.ErrNotFound)
	}
	return a.answer(a.Calls.StopRecordings(ctx, account(ctx), sid, recording))
}

// filterInput is CallFilter as a query. metadata.KEY has no name of its own and is read from the URL.
type filterInput struct {
	From            string   `query:"from" doc:"Caller."`
	To              string   `query:"to" doc:"Called party."`
	Status          []string `query:"status,explode" doc:"queued, ringing, in-progress, completed, busy, failed, no-answer, canceled; may be repeated."`
	Direction       string   `query:"direction" doc:"inbound, outbound-api or outbound-dial, as calls show it; trunking-originating or trunking-terminating for those over elastic trunks alone."`
	ParentCallSID   string   `query:"parentCallSid" doc:"The call whose Dial made them."`
	AnsweredBy      string   `query:"answeredBy" doc:"human, machine, fax or unknown."`
	StartTimeAfter  string   `query:"startTimeAfter" doc:"Unix seconds or RFC 3339; at that time or later."`
	StartTimeBefore string   `query:"startTimeBefore" doc:"Before that time."`
	EndTimeAfter    string   `query:"endTimeAfter" doc:"At that time or later."`
	EndTimeBefore   string   `query:"endTimeBefore" doc:"Before that time."`
	Limit           int      `query:"limit" default:"50" minimum:"1" maximum:"1000" doc:"Calls a page."`
	Cursor          string   `query:"cursor" doc:"Where the page begins, from the Link of the one before."`

	metadata map[string]string
	query    url.Values
}

const metadataQuery = "metadata."

// Resolve reads metadata.KEY and refuses what is no filter.
func (f *filterInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	f.query = u.Query()
	for name, values := range f.query {
		key, ok := strings.CutPrefix(name, metadataQuery)
		switch {
		case ok && key != "" && len(values) == 1:
			if f.metadata == nil {
				f.metadata = make(map[string]string)
			}
			f.metadata[key] = values[0]
		default:
			if err := notAFilter(ctx, name, values[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// notAFilter refuses what a list does not know in its query.
func notAFilter(ctx huma.Context, name, value string) []error {
	if op := ctx.Operation(); op != nil && slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name }) {
		return nil
	}
	return []error{&huma.ErrorDetail{Message: "not a filter", Location: "query." + name, Value: value}}
}

type listAnswer struct {
	Link string `header:"Link" doc:"The next page (RFC 8288); absent on the last one."`
	Body []twiliocall.Call
}

func (a *api) list(ctx context.Context, in *filterInput) (*listAnswer, error) {
	f, err := in.filter()
	if err != nil {
		return nil, a.problemOf(err)
	}
	f.AccountSID = account(ctx)
	calls, more, err := a.Store.ListCalls(ctx, f)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &listAnswer{Body: make([]twiliocall.Call, len(calls))}
	for i, c := range calls {
		out.Body[i] = c.Resource()
	}
	if more {
		in.query.Set("cursor", calls[len(calls)-1].PageToken().String())
		out.Link = "</v1/calls?" + in.query.Encode() + `>; rel="next"`
	}
	return out, nil
}

// filter checks the query.
func (f *filterInput) filter() (call.Filter, error) {
	c := call.Filter{
		From: number(f.From), To: number(f.To), ParentSID: f.ParentCallSID, AnsweredBy: f.AnsweredBy, Direction: call.Direction(f.Direction),
		Metadata: f.metadata, Limit: f.Limit,
	}
	for _, s := range f.Status {
		if !slices.Contains(call.Statuses, call.Status(s)) {
			return c, twilio.Errf(20001, "status must be one of %v: %s", call.Statuses, s)
		}
		c.Statuses = append(c.Statuses, call.Status(s))
	}
	if c.Direction != "" && !slices.Contains([]call.Direction{call.Inbound, call.OutboundAPI, call.OutboundDial, call.TrunkingOriginating, call.TrunkingTerminating}, c.Direction) {
		return c, twilio.Errf(20001, "direction must be inbound, outbound-api, outbound-dial, trunking-originating or trunking-terminating: %s", f.Direction)
	}
	if f.AnsweredBy != "" && !slices.Contains([]string{"human", "machine", "fax", "unknown"}, f.AnsweredBy) {
		return c, twilio.Errf(20001, "answeredBy must be human, machine, fax or unknown: %s", f.AnsweredBy)
	}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{
		{"startTimeAfter", f.StartTimeAfter, &c.StartAfter}, {"startTimeBefore", f.StartTimeBefore, &c.StartBefore},
		{"endTimeAfter", f.EndTimeAfter, &c.EndAfter}, {"endTimeBefore", f.EndTimeBefore, &c.EndBefore},
	} {
		var err error
		if *t.to, err = parseTime(t.text); err != nil {
			return c, twilio.Errf(20001, "%s must be Unix seconds or an RFC 3339 time: %s", t.name, t.text)
		}
	}
	if f.Cursor != "" {
		at, ok := twilio.ParsePageToken(f.Cursor, twilio.CallPrefix)
		if !ok {
			return c, twilio.Errf(20001, "cursor is none that a list gave: %s", f.Cursor)
		}
		c.Cursor = at
	}
	return c, nil
}

// number is a phone number as calls are stored with it, whatever the client wrote; anything else as it is.
func number(s string) string {
	if n, _, ok := call.ParseNumber(strings.TrimSpace(s)); ok {
		return n
	}
	return s
}

var errTime = errors.New("neither Unix seconds nor RFC 3339")

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil {
		if seconds < 0 || seconds > 1<<36 {
			return time.Time{}, errTime
		}
		return time.Unix(seconds, 0), nil
	}
	t, err := time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+")) // a + that was not escaped
	if err != nil {
		return time.Time{}, errTime
	}
	return t, nil
}
