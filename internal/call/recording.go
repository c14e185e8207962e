package call

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// RecordingStatus is where a recording stands; the values are Twilio's (related-resources, Recordings).
type RecordingStatus string

// The statuses of a recording.
const (
	RecordingInProgress RecordingStatus = "in-progress"
	RecordingPaused     RecordingStatus = "paused"
	RecordingStopped    RecordingStatus = "stopped"
	RecordingProcessing RecordingStatus = "processing" // it has ended and is on its way to where it is kept
	RecordingCompleted  RecordingStatus = "completed"  // it can be downloaded
	RecordingAbsent     RecordingStatus = "absent"     // there is nothing to download; ErrorCode says why
	RecordingDeleted    RecordingStatus = "deleted"
)

// recordingMoves lists every legal move; a status without a row is final.
var recordingMoves = map[RecordingStatus][]RecordingStatus{
	RecordingInProgress: {RecordingPaused, RecordingStopped, RecordingProcessing, RecordingAbsent},
	RecordingPaused:     {RecordingInProgress, RecordingStopped, RecordingProcessing, RecordingAbsent},
	RecordingStopped:    {RecordingProcessing, RecordingAbsent},
	RecordingProcessing: {RecordingCompleted, RecordingAbsent, RecordingDeleted},
	RecordingCompleted:  {RecordingDeleted},
	RecordingAbsent:     {RecordingDeleted},
}

// Runs reports whether a recording of that status may still grow.
func (s RecordingStatus) Runs() bool { return s == RecordingInProgress || s == RecordingPaused }

// Settled reports whether it is known what became of a recording of that status.
func (s RecordingStatus) Settled() bool {
	return s == RecordingCompleted || s == RecordingAbsent || s == RecordingDeleted
}

// Sources of a recording: what asked for it.
const (
	SourceDial       = "DialVerb"
	SourceConference = "Conference"
	SourceCreate     = "OutboundAPI" // Record=true of a create
	SourceTrunk      = "Trunking"
	SourceRecord     = "RecordVerb"
	SourceAPI        = "StartCallRecordingAPI"
	SourceTwiML      = "StartCallRecordingTwiML" // <Start><Recording>; not in Twilio's OpenAPI, but what it answers
)

// Tracks of a recording.
const (
	TrackInbound  = "inbound"  // what the party says
	TrackOutbound = "outbound" // what it hears
	TrackBoth     = "both"
)

// Errors of a recording that is absent.
const (
	RecordingTooShort = 16101
	RecordingSilent   = 16102
	RecordingFailed   = 12400 // it could not be written
)

// RecordingRate is how many samples a second each channel has.
const RecordingRate = 8000

// Recording is the stored record of one recording of a call.
type Recording struct {
	SID           string // RE…
	AccountSID    string
	CallSID       string // of the parent, for a <Dial>
	ConferenceSID string // CF… or ""
	Status        RecordingStatus
	ErrorCode     int // why it is absent
	Source        string
	Track         string
	Channels      int
	DateCreated   time.Time
	DateUpdated   time.Time
	StartTime     time.Time // of the first sample
	Samples       int64     // of each channel, once it is completed
	Price         string    // decimal without sign, "" when none
	PriceUnit     string
	Options       RecordingOptions

	// Node is where its spool is while it is not settled.
	Node string
	// Key names its blob; "" when there is none. A deleted recording has one until the blob is gone.
	Key string
	// Encrypted says that the blob can only be read with an identity.
	Encrypted bool
}

// RecordingOptions is how the customer asked for a recording to be handled. It is stored as JSON.
type RecordingOptions struct {
	StatusURL    string   `json:"recordingStatusCallback,omitempty"`
	StatusMethod string   `json:"recordingStatusCallbackMethod,omitempty"` // GET or POST
	StatusEvents []string `json:"recordingStatusCallbackEvent,omitempty"`  // in-progress completed absent
	Trim         bool     `json:"trim,omitempty"`                          // silence at both ends goes
	MaxLength    int      `json:"maxLength,omitempty"`                     // seconds; 0: as long as the call

	// TranscribeURL is told that there is no transcription, once the recording is completed.
	TranscribeURL string `json:"transcribeCallback,omitempty"`
}

// Move takes the recording to next. It has no side effects: the caller saves the move and its event together.
func (r *Recording) Move(next RecordingStatus) error {
	if !slices.Contains(recordingMoves[r.Status], next) {
		return fmt.Errorf("call: recording: %s to %s is not a legal move", r.Status, next)
	}
	r.Status = next
	return nil
}

// Duration is whole seconds, rounded, but at least one of what has any; ok is false before the end.
func (r *Recording) Duration() (seconds int64, ok bool) {
	if !r.Status.Settled() || r.Samples == 0 && r.Status != RecordingCompleted {
		return 0, false
	}
	return max(1, (r.Samples+RecordingRate/2)/RecordingRate), true
}

// Path is the recording's path in the account's collection without a suffix: that of its audio too.
func (r *Recording) Path() string {
	return "/2010-04-01/Accounts/" + r.AccountSID + "/Recordings/" + r.SID
}

// RecordingOf takes the path of a recording's audio, with the suffix of a format or without; ok is false for any other.
func RecordingOf(path string) (accountSID, sid string, ok bool) {
	rest, of := strings.CutPrefix(path, "/2010-04-01/Accounts/")
	parts := strings.Split(rest, "/")
	if !of || len(parts) != 3 || parts[1] != "Recordings" {
		return "", "", false
	}
	sid = strings.TrimSuffix(strings.TrimSuffix(parts[2], ".wav"), ".mp3")
	ok = twilio.IsSID(parts[0], twilio.AccountPrefix) && twilio.IsSID(sid, twilio.RecordingPrefix)
	return parts[0], sid, ok
}

// PageToken is r's place in a list of recordings.
func (r *Recording) PageToken() twilio.PageToken {
	return twilio.PageToken{SID: r.SID, Time: r.DateCreated.UnixMicro()}
}

// Clone is a copy that shares nothing that changes.
func (r *Recording) Clone() *Recording {
	d := *r
	d.Options.StatusEvents = slices.Clone(r.Options.StatusEvents)
	return &d
}

// Resource is the recording as TwilioCall has it (twiliocall section 3); base is the URL of the server, "" for
// links that are paths.
func (r *Recording) Resource(base string) twiliocall.Recording {
	url := base + r.Path()
	t := twiliocall.Recording{
		ID: r.SID, CallID: r.CallSID, AccountSID: r.AccountSID, Status: string(r.Status),
		Channels: "mono", Track: r.Track, Source: r.Source,
		StartTime: unix(r.StartTime), PriceUnit: r.PriceUnit,
		URL: url, MediaURLs: map[string]string{"wav": url + ".wav", "mp3": url + ".mp3"},
		DateCreated: r.DateCreated.Unix(), DateUpdated: r.DateUpdated.Unix(),
	}
	if r.Channels == 2 {
		t.Channels = "dual"
	}
	if r.Status == RecordingAbsent && r.ErrorCode == RecordingFailed {
		t.Status = "failed"
	}
	if d, ok := r.Duration(); ok {
		seconds := int(d)
		t.Duration = &seconds
	}
	if p, err := strconv.ParseFloat(r.Price, 64); err == nil {
		t.Price = &p
	}
	return t
}

// CallbackStatus is what the status callback calls it: failed where the resource says absent with the code of
// a file that could not be written (call-lifecycle section 3.3), absent where it was deleted before there was one.
func (r *Recording) CallbackStatus() string {
	switch {
	case r.Status == RecordingAbsent && r.ErrorCode == RecordingFailed:
		return "failed"
	case r.Status == RecordingDeleted:
		return string(RecordingAbsent)
	}
	return string(r.Status)
}

// CallbackDue reports whether the application wants to hear of the status that r has now. Who asked for
// completed or absent hears of failed.
func (r *Recording) CallbackDue() bool {
	o := &r.Options
	if o.StatusURL == "" {
		return false
	}
	switch status := r.CallbackStatus(); status {
	case "failed":
		return slices.Contains(o.StatusEvents, "completed") || slices.Contains(o.StatusEvents, "absent")
	case "in-progress", "completed", "absent":
		return slices.Contains(o.StatusEvents, status)
	}
	return false
}

// CallbackParams are those of the recording status callback (call-lifecycle section 3.3); base is the URL of the server.
func (r *Recording) CallbackParams(base string) map[string][]string {
	p := map[string][]string{
		"AccountSid": {r.AccountSID}, "RecordingSid": {r.SID}, "RecordingUrl": {base + r.Path()},
		"RecordingStatus": {r.CallbackStatus()}, "RecordingChannels": {strconv.Itoa(r.Channels)},
		"RecordingStartTime": {twilio.FormatTime(r.StartTime)}, "RecordingSource": {r.Source}, "RecordingTrack": {r.Track},
	}
	if r.ConferenceSID != "" {
		p["ConferenceSid"] = []string{r.ConferenceSID}
	}
	if r.CallSID != "" {
		p["CallSid"] = []string{r.CallSID}
	}
	if seconds, ok := r.Duration(); ok && r.Status == RecordingCompleted {
		p["RecordingDuration"] = []string{strconv.FormatInt(seconds, 10)}
	}
	if r.ErrorCode != 0 {
		p["ErrorCode"] = []string{strconv.Itoa(r.ErrorCode)}
	}
	return p
}

// TranscriptionParams are those of the callback of a transcription that failed, which every one does: there is no
// recogniser. sid is the transcription's; base is the URL of the server (call-lifecycle section 3.5).
func (r *Recording) TranscriptionParams(sid, base string) map[string]string {
	url := base + r.Path()
	return map[string]string{
		"TranscriptionSid": sid, "TranscriptionText": "", "TranscriptionStatus": "failed", "TranscriptionType": "fast",
		"TranscriptionUrl": url + "/Transcriptions/" + sid, "RecordingSid": r.SID, "RecordingUrl": url, "CallStatus": string(Completed),
	}
}

// EventName is the name of the event that tells of the status that r has now, "" for none (twiliocall section 4).
func (r *Recording) EventName() string {
	switch r.Status {
	case RecordingInProgress:
		return "Recording.started"
	case RecordingCompleted:
		return "Recording.completed"
	default:
		return ""
	}
}

// RecordingFilter selects recordings of one account, newest first. Zero values do not restrict.
type RecordingFilter struct {
	AccountSID, CallSID, ConferenceSID string
	Deleted                            bool // those that were deleted too
	// DateCreated bounds: after is inclusive (>=), before exclusive (<).
	After, Before time.Time

	Limit, Offset int
	Cursor        twilio.PageToken // as in Filter
}

// RecordingParams starts a recording of a live call. Zero values mean that a parameter was not given.
type RecordingParams struct {
	Channels     string   `json:"recordingChannels,omitempty"` // mono or dual
	Track        string   `json:"recordingTrack,omitempty"`
	Trim         string   `json:"trim,omitempty"`
	StatusURL    string   `json:"recordingStatusCallback,omitempty"`
	StatusMethod string   `json:"recordingStatusCallbackMethod,omitempty"`
	StatusEvents []string `json:"recordingStatusCallbackEvent,omitempty"` // each may hold several, divided by spaces
	MaxLength    int      `json:"maxLength,omitempty"`                    // seconds; 0: as long as the call
	PlayBeep     bool     `json:"playBeep,omitempty"`                     // the party hears one first
	// Warnings are set by Validate: they become notifications of the call.
	Warnings []*twilio.Error `json:"-"`
}

// recordingEvents are the values of RecordingStatusCallbackEvent.
var recordingEvents = []string{"in-progress", "completed", "absent"}

// Validate checks p and fills in the defaults of a recording that an API starts. Its error is a *twilio.Error.
func (p *RecordingParams) Validate() error {
	var events []string
	for _, e := range p.StatusEvents {
		events = append(events, strings.Fields(e)...)
	}
	p.StatusEvents = slices.DeleteFunc(events, func(e string) bool {
		known := slices.Contains(recordingEvents, e)
		if !known {
			p.Warnings = append(p.Warnings, twilio.Err(13621, clip(e)))
		}
		return !known
	})
	if len(p.StatusEvents) == 0 { // what is unknown counts as not given
		p.StatusEvents = []string{"completed"}
	}
	err := firstError(
		func() error { return checkChoice("RecordingChannels", &p.Channels, []string{"mono", "dual"}) },
		func() error {
			return checkChoice("RecordingTrack", &p.Track, []string{TrackBoth, TrackInbound, TrackOutbound})
		},
		func() error { return checkChoice("Trim", &p.Trim, []string{"do-not-trim", "trim-silence"}) },
		func() error { return checkURL(21609, "RecordingStatusCallback", p.StatusURL) },
		func() error { return checkMethod("RecordingStatusCallbackMethod", &p.StatusMethod) },
		func() error {
			if limit := int(DefaultTimeLimit.Seconds()); p.MaxLength < 0 || p.MaxLength > limit {
				return twilio.Errf(20001, "maxLength must be a whole number of seconds from 1 to %d: %d", limit, p.MaxLength)
			}
			return nil
		},
	)
	if err == nil && p.Track != TrackBoth {
		p.Channels = "mono" // one track has one channel
	}
	return err
}

// Recording is the one that p asks for, of a call; what the moment decides is left out.
func (p *RecordingParams) Recording() *Recording {
	r := &Recording{
		Status: RecordingInProgress, Track: p.Track, Channels: 1, PriceUnit: "USD",
		Options: RecordingOptions{
			StatusURL: p.StatusURL, StatusMethod: p.StatusMethod, StatusEvents: p.StatusEvents, Trim: p.Trim == "trim-silence",
			MaxLength: p.MaxLength,
		},
	}
	if p.Channels == "dual" {
		r.Channels = 2
	}
	return r
}

// RecordingUpdate changes a recording that runs.
type RecordingUpdate struct {
	Status        RecordingStatus // Paused, InProgress (resume) or Stopped
	PauseBehavior string          // skip or silence; only with Paused. "" is silence, or what a paused one has
}

// What takes the place of a pause.
const (
	PauseSilence = "silence"
	PauseSkip    = "skip"
)

// Validate checks u. Its error is a *twilio.Error.
func (u *RecordingUpdate) Validate() error {
	switch u.Status {
	case RecordingPaused:
		behavior := u.PauseBehavior
		return checkChoice("PauseBehavior", &behavior, []string{PauseSilence, PauseSkip})
	case RecordingInProgress, RecordingStopped:
		if u.PauseBehavior != "" {
			return twilio.Errf(20001, "PauseBehavior goes with Status=paused only")
		}
		return nil
	default:
		return twilio.Errf(20001, "Status must be paused, in-progress or stopped: %s", clip(string(u.Status)))
	}
}
