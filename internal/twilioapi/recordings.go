package twilioapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// Recorder does what the Recordings resources ask for (package session). Its errors are as those of Calls.
type Recorder interface {
	StartRecording(ctx context.Context, accountSID, callSID string, p call.RecordingParams) (*call.Recording, error)
	// UpdateRecording pauses, resumes or stops; sid may be Twilio.CURRENT.
	UpdateRecording(ctx context.Context, accountSID, callSID, sid string, u call.RecordingUpdate) (*call.Recording, error)
	DeleteRecording(ctx context.Context, accountSID, sid string) error
}

// RecordingStore is where recordings are looked up (package store). Its errors are those of package call.
type RecordingStore interface {
	// Recording finds deleted ones too.
	Recording(ctx context.Context, accountSID, sid string) (*call.Recording, error)
	// ListRecordings pages as ListCalls does.
	ListRecordings(ctx context.Context, f call.RecordingFilter) (recordings []*call.Recording, more bool, err error)
}

// Formats of a recording's audio.
const (
	FormatWAV = "wav" // 16-bit PCM
	FormatMP3 = "mp3"
)

// Audio opens what was recorded.
type Audio interface {
	// Open opens a completed recording in a format with that many channels: as many as it has, or one of two. Its
	// errors are as those of Calls. The reader is closed by the caller.
	Open(ctx context.Context, r *call.Recording, format string, channels int) (io.ReadSeekCloser, error)
}

// Recordings is what the Recordings resources need.
type Recordings struct {
	Recorder Recorder
	Store    RecordingStore
	Audio    Audio
	// Public lets anybody who knows its URL hear a recording, as Twilio does by default. Otherwise it takes the
	// account's credentials or a signed link (twilio.LinkQuery).
	Public bool
}

func (a *api) routeRecordings() {
	const account = "/Accounts/{AccountSid}"
	r := a.routes
	if a.Recordings.Store == nil {
		a.none(account + "/Recordings")
		a.none(account + "/Calls/{CallSid}/Recordings")
		return
	}
	r.Get(account+"/Recordings", a.handle(a.listRecordings))
	r.Get(account+"/Recordings/{Sid}", a.handle(a.fetchRecording))
	r.Get(account+"/Recordings/{Sid}"+mediaRoute, a.handle(a.recordingMedia))
	r.Delete(account+"/Recordings/{Sid}", a.handle(a.deleteRecording))

	r.Post(account+"/Calls/{CallSid}/Recordings", a.handle(a.startRecording))
	r.Get(account+"/Calls/{CallSid}/Recordings", a.handle(a.listRecordings))
	r.Get(account+"/Calls/{CallSid}/Recordings/{Sid}", a.handle(a.fetchRecording))
	r.Post(account+"/Calls/{CallSid}/Recordings/{Sid}", a.handle(a.updateRecording))
	r.Delete(account+"/Calls/{CallSid}/Recordings/{Sid}", a.handle(a.deleteRecording))

	a.none(account + "/Recordings/{RecordingSid}/Transcriptions")
	a.none(account + "/Recordings/{RecordingSid}/AddOnResults")
}

// mediaRoute is behind the path of audio while it is routed. No path that a client sends gets it.
const mediaRoute = "/:audio"

// mediaPath takes the path of a recording's audio: no suffix, .wav or .mp3, in the account's collection alone.
func mediaPath(path string) (of, format string, ok bool) {
	of, format = path, FormatWAV
	if rest, found := strings.CutSuffix(path, ".mp3"); found {
		of, format = rest, FormatMP3
	} else if rest, found := strings.CutSuffix(path, ".wav"); found {
		of = rest
	}
	parts := strings.Split(of, "/")
	ok = len(parts) == 5 && parts[0] == "" && parts[1] == "Accounts" && parts[3] == "Recordings" &&
		twilio.IsSID(parts[4], twilio.RecordingPrefix)
	return of, format, ok
}

// authenticateMedia lets a client without credentials hear what it has a link to, or everything when recordings
// are public. done is false when it is to show credentials.
func (q *request) authenticateMedia(path string) (done bool, err error) {
	if q.media == "" || q.r.Header.Get("Authorization") != "" {
		return false, nil
	}
	query := q.r.URL.Query()
	if !q.api.Recordings.Public && !query.Has("Signature") {
		return false, nil
	}
	sid, _, _ := strings.Cut(strings.TrimPrefix(path, "/Accounts/"), "/")
	account, err := q.api.Gate.Account(q.r.Context(), sid)
	switch {
	case errors.Is(err, call.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	if !q.api.Recordings.Public {
		ours, valid := twilio.CheckLink(account.AuthToken, base+strings.TrimSuffix(path, mediaRoute), query, q.api.Clock.Now())
		if !ours {
			return false, nil
		}
		if !valid {
			return false, twilio.Errf(20003, "The link has expired")
		}
	}
	if !account.Active() {
		return false, twilio.Err(20005)
	}
	q.account = account
	return true, nil
}

// recording is the one that the path names; with deleted also when only its metadata is left.
func (a *api) recording(q *request, deleted bool) (*call.Recording, error) {
	sid, err := q.sid("Sid", twilio.RecordingPrefix)
	if err != nil {
		return nil, err
	}
	r, err := a.Recordings.Store.Recording(q.r.Context(), q.account.SID, sid)
	if err != nil {
		return nil, err
	}
	if of := q.param("CallSid"); of != "" && r.CallSID != of || r.Status == call.RecordingDeleted && !deleted {
		return nil, call.ErrNotFound
	}
	return r, nil
}

// recordingMedia answers with the audio.
func (a *api) recordingMedia(q *request) error {
	if q.media == "" {
		return q.notFound()
	}
	r, err := a.recording(q, false)
	if err != nil {
		return err
	}
	channels := r.Channels
	switch n := q.r.URL.Query().Get("RequestedChannels"); n {
	case "":
	case "1":
		channels = 1
	case "2":
		if r.Channels == 1 {
			return twilio.Err(16113)
		}
	default:
		return twilio.Errf(20001, "RequestedChannels must be 1 or 2: %s", clip(n))
	}
	if r.Status != call.RecordingCompleted {
		return call.ErrNotFound
	}
	audio, err := a.Recordings.Audio.Open(q.r.Context(), r, q.media, channels)
	if err != nil {
		return err
	}
	defer audio.Close()
	h := q.Header()
	h.Set("Content-Type", "audio/x-wav")
	if q.media == FormatMP3 {
		h.Set("Content-Type", "audio/mpeg")
	}
	h.Set("ETag", `"`+r.SID+"-"+q.media+string(rune('0'+channels))+`"`)
	h.Set("Cache-Control", "private")
	h.Set("Access-Control-Expose-Headers", "ETag, Content-Range, Accept-Ranges")
	q.sent = true
	http.ServeContent(q, q.r, "", r.DateUpdated, audio)
	return nil
}

// softDeleted is the parameter of a fetch.
type softDeleted struct{ include *bool }

var fetchRecordingForm = newForm([]param[softDeleted]{
	boolean("IncludeSoftDeleted", func(s *softDeleted) **bool { return &s.include }),
})

func (a *api) fetchRecording(q *request) error {
	var s softDeleted
	if _, err := fetchRecordingForm.decode(q, &s, nil); err != nil {
		return err
	}
	r, err := a.recording(q, s.include != nil && *s.include)
	if err != nil {
		return err
	}
	q.sendRecording(http.StatusOK, r)
	return nil
}

func (a *api) deleteRecording(q *request) error {
	r, err := a.recording(q, false)
	if err != nil {
		return err
	}
	if err := a.Recordings.Recorder.DeleteRecording(q.r.Context(), q.account.SID, r.SID); err != nil {
		return err
	}
	q.send(http.StatusNoContent)
	return nil
}

// startRecordingForm: related-resources, Recordings of a call.
var startRecordingForm = newForm([]param[call.RecordingParams]{
	texts("RecordingStatusCallbackEvent", func(p *call.RecordingParams) *[]string { return &p.StatusEvents }),
	text("RecordingStatusCallback", func(p *call.RecordingParams) *string { return &p.StatusURL }),
	text("RecordingStatusCallbackMethod", func(p *call.RecordingParams) *string { return &p.StatusMethod }),
	text("Trim", func(p *call.RecordingParams) *string { return &p.Trim }),
	text("RecordingChannels", func(p *call.RecordingParams) *string { return &p.Channels }),
	text("RecordingTrack", func(p *call.RecordingParams) *string { return &p.Track }),
})

func (a *api) startRecording(q *request) error {
	callSID, err := q.sid("CallSid", twilio.CallPrefix)
	if err != nil {
		return err
	}
	var p call.RecordingParams
	if _, err := startRecordingForm.decode(q, &p, nil); err != nil {
		return err
	}
	r, err := a.Recordings.Recorder.StartRecording(q.r.Context(), q.account.SID, callSID, p)
	if err != nil {
		return err
	}
	q.sendRecording(http.StatusCreated, r)
	return nil
}

// currentRecording stands for the SID of the only recording of a call that runs.
const currentRecording = "Twilio.CURRENT"

var updateRecordingForm = requiring(newForm([]param[call.RecordingUpdate]{
	text("Status", func(u *call.RecordingUpdate) *string { return (*string)(&u.Status) }),
	text("PauseBehavior", func(u *call.RecordingUpdate) *string { return &u.PauseBehavior }),
}), "Status")

func (a *api) updateRecording(q *request) error {
	callSID, err := q.sid("CallSid", twilio.CallPrefix)
	if err != nil {
		return err
	}
	sid := q.param("Sid")
	if sid != currentRecording && !twilio.IsSID(sid, twilio.RecordingPrefix) {
		return call.ErrNotFound
	}
	var u call.RecordingUpdate
	if _, err := updateRecordingForm.decode(q, &u, nil); err != nil {
		return err
	}
	r, err := a.Recordings.Recorder.UpdateRecording(q.r.Context(), q.account.SID, callSID, sid, u)
	if err != nil {
		return err
	}
	q.sendRecording(http.StatusOK, r)
	return nil
}

// recordingQuery is a list request.
type recordingQuery struct {
	page
	call.RecordingFilter
	softDeleted
}

var recordingListForm = newForm(
	filters(
		text("CallSid", func(l *recordingQuery) *string { return &l.CallSID }),
		text("ConferenceSid", func(l *recordingQuery) *string { return &l.ConferenceSID }),
		boolean("IncludeSoftDeleted", func(l *recordingQuery) **bool { return &l.include }),
	),
	bounds("DateCreated", func(l *recordingQuery) *time.Time { return &l.After }, func(l *recordingQuery) *time.Time { return &l.Before }),
	pageParams(func(l *recordingQuery) *page { return &l.page }),
)

// listRecordings serves the account's and a call's.
func (a *api) listRecordings(q *request) error {
	var l recordingQuery
	given, err := recordingListForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, twilio.RecordingPrefix)
	}
	if err != nil {
		return err
	}
	path := base + "/Accounts/" + q.account.SID
	callSID := q.param("CallSid")
	if callSID != "" {
		if _, err := q.sid("CallSid", twilio.CallPrefix); err != nil {
			return err
		}
		l.CallSID, path = callSID, path+"/Calls/"+callSID
	}
	l.AccountSID = q.account.SID
	l.Deleted = l.include != nil && *l.include
	l.Limit, l.Offset, l.Cursor = l.cursor()
	list, more, err := a.Recordings.Store.ListRecordings(q.r.Context(), l.RecordingFilter)
	if err != nil {
		return err
	}
	if callSID != "" && len(list) == 0 { // recordings outlive their call
		if _, err := a.Store.Call(q.r.Context(), q.account.SID, callSID); err != nil {
			return err
		}
	}
	q.list(&l.page, path+"/Recordings", "recordings", len(list), more,
		func(i int) twilio.PageToken { return list[i].PageToken() },
		func(i int) { q.recordingBody(list[i]) })
	q.send(http.StatusOK)
	return nil
}

func (q *request) sendRecording(status int, r *call.Recording) {
	q.sendOne(status, func() { q.recordingBody(r) })
}

// recordingBody writes a recording as the collection has it that the path is in.
func (q *request) recordingBody(r *call.Recording) {
	ofCall, origin := q.param("CallSid") != "", q.origin()
	e := &q.enc
	e.object("recording", func() {
		path := r.Path()
		e.str("sid", r.SID)
		e.str("account_sid", r.AccountSID)
		e.opt("call_sid", r.CallSID)
		e.opt("conference_sid", r.ConferenceSID)
		e.str("api_version", apiVersion)
		e.time("date_created", r.DateCreated)
		e.time("date_updated", r.DateUpdated)
		e.time("start_time", r.StartTime)
		if seconds, ok := r.Duration(); ok {
			e.digits("duration", seconds)
		} else {
			e.null("duration")
		}
		e.str("status", string(r.Status))
		e.number("channels", int64(r.Channels))
		e.str("source", r.Source)
		if r.ErrorCode != 0 {
			e.number("error_code", int64(r.ErrorCode))
		} else {
			e.null("error_code")
		}
		if r.Price != "" {
			e.str("price", minus(r.Price))
		} else {
			e.null("price")
		}
		if r.Status.Settled() {
			e.opt("price_unit", r.PriceUnit)
		} else {
			e.null("price_unit")
		}
		e.null("encryption_details")
		if ofCall {
			e.str("track", r.Track)
			e.link("uri", base+"/Accounts/", r.AccountSID, "/Calls/", r.CallSID, "/Recordings/", r.SID)
			return
		}
		e.link("uri", path)
		e.str("media_url", origin+path)
		e.child("subresource_uris", func() {
			e.link("add_on_results", path, "/AddOnResults")
			e.link("transcriptions", path, "/Transcriptions")
		})
	})
}
