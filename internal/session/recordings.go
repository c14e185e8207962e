package session

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/recording"
	"github.com/offhook/offhook/internal/twilio"
)

// RecordingStore is what the manager needs of the store for recordings. Safe for concurrent use.
type RecordingStore interface {
	// SaveRecording writes a recording of a call that nobody runs, whose stored status is from, with its change;
	// call.ErrLive while a session has the call, call.ErrConflict when the status is another.
	SaveRecording(ctx context.Context, r *call.Recording, from call.RecordingStatus, ch call.Change) error
	Recording(ctx context.Context, accountSID, sid string) (*call.Recording, error)
	DeleteRecording(ctx context.Context, accountSID, sid string) error
	// Node is the name of this node, whose spool has the recordings that run here.
	Node() string
}

// Recorder spools recordings while they run (package recording).
type Recorder interface {
	Start(spec recording.Spec) (*recording.Writer, error)
}

// Keeper brings recordings that have ended to where they are kept. Its methods return at once.
type Keeper interface {
	// Keep takes one whose stored status says processing, and settles it.
	Keep(r *call.Recording)
	// Abandon takes what is on disk of one that failed.
	Abandon(sid string)
	// Erase says that recordings were deleted.
	Erase()
}

// Recorded reads recordings for <Play>. Safe for concurrent use.
type Recorded interface {
	// Here is the path that a URL has on this server; ok is false when it leads elsewhere.
	Here(u *url.URL) (path string, ok bool)
	// Clip is the audio of a recording in one channel; call.ErrNotFound when there is none, as long as the recording
	// is not completed, and when it is deleted.
	Clip(ctx context.Context, r *call.Recording) (*audio.Clip, error)
}

// errNotRecordable refuses to start a recording (related-resources, Recordings of a call).
func errNotRecordable() error {
	return twilio.Errf(21220, "Requested resource is not eligible for recording")
}

// StartRecording starts a recording of a live call.
func (m *Manager) StartRecording(ctx context.Context, accountSID, callSID string, p call.RecordingParams) (*call.Recording, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if _, err := m.Store.Call(ctx, accountSID, callSID); err != nil {
		return nil, err
	}
	s := m.session(callSID)
	if s == nil {
		return nil, errNotRecordable()
	}
	var answer *call.Recording
	err := s.do(ctx, func() error {
		if s.over || s.call.Status != call.InProgress {
			return errNotRecordable()
		}
		if p.PlayBeep { // behind what plays
			s.leg.Play(beep())
		}
		r := p.Recording()
		r.Source = call.SourceAPI
		t, err := s.record(r, 0)
		if err != nil {
			return err
		}
		for _, w := range p.Warnings {
			s.notify(w, nil)
		}
		answer = t.r.Clone()
		return nil
	})
	if errors.Is(err, errOver) {
		err = errNotRecordable()
	}
	return answer, err
}

// UpdateRecording pauses, resumes or stops a recording of a live call; sid may be Twilio.CURRENT, the only one
// that runs.
func (m *Manager) UpdateRecording(ctx context.Context, accountSID, callSID, sid string, u call.RecordingUpdate) (*call.Recording, error) {
	if err := u.Validate(); err != nil {
		return nil, err
	}
	if _, err := m.Store.Call(ctx, accountSID, callSID); err != nil {
		return nil, err
	}
	if s := m.session(callSID); s != nil {
		var answer *call.Recording
		err := s.do(ctx, func() (err error) {
			answer, err = s.updateRecording(sid, u)
			return err
		})
		if !errors.Is(err, errOver) && (err != nil || answer != nil) {
			return answer, err
		}
	}
	if sid == CurrentRecording {
		return nil, twilio.Errf(21220, "No recording of this call runs")
	}
	r, err := m.Recordings.Recording(ctx, accountSID, sid)
	if err != nil {
		return nil, err
	}
	if r.CallSID != callSID || r.Status == call.RecordingDeleted {
		return nil, call.ErrNotFound
	}
	return nil, twilio.Errf(21220, "The recording is %s: it cannot be changed any more", r.Status)
}

// updateRecording changes a recording of this call that runs; nil when none of that SID does. Loop only.
func (s *Session) updateRecording(sid string, u call.RecordingUpdate) (*call.Recording, error) {
	var t *tape
	for _, other := range s.tapes {
		if !other.r.Status.Runs() || sid != CurrentRecording && other.r.SID != sid {
			continue
		}
		if t != nil {
			return nil, twilio.Errf(21220, "Several recordings of this call run: name one by its SID")
		}
		t = other
	}
	if t == nil || s.over {
		return nil, nil //nolint:nilnil // the caller looks further
	}
	if u.Status == call.RecordingStopped {
		err := s.endTape(t)
		answer := t.r.Clone()
		answer.Status = call.RecordingStopped // and on its way already
		return answer, err
	}
	if u.Status == t.r.Status {
		if u.PauseBehavior != "" && u.PauseBehavior != t.pause {
			return nil, twilio.Errf(21220, "The recording is paused with PauseBehavior=%s: resume it first", t.pause)
		}
		return t.r.Clone(), nil
	}
	if err := t.r.Move(u.Status); err != nil {
		return nil, err
	}
	t.r.DateUpdated = s.m.Clock.Now()
	switch {
	case u.Status == call.RecordingInProgress:
		t.capture.resume()
	case u.PauseBehavior == call.PauseSkip:
		t.pause = call.PauseSkip
		t.capture.pause(recording.Skip)
	default:
		t.pause = call.PauseSilence
		t.capture.pause(recording.Silence)
	}
	s.trace("recording %s is %s", t.r.SID, t.r.Status)
	s.unsaved.Recordings = append(s.unsaved.Recordings, t.r.Clone()) // without event and callback: it has begun before
	if err := s.write(saveTimeout); err != nil {
		s.storeFailed(err)
		return nil, err
	}
	return t.r.Clone(), nil
}

// CurrentRecording stands for the SID of the only recording of a call that runs.
const CurrentRecording = "Twilio.CURRENT"

// DeleteRecording removes a recording that has ended: its audio at once, its metadata later. Whoever waits to hear
// what became of one that is still being processed hears that it is absent.
func (m *Manager) DeleteRecording(ctx context.Context, accountSID, sid string) error {
	r, err := m.Recordings.Recording(ctx, accountSID, sid)
	if err != nil {
		return err
	}
	settled := r.Status != call.RecordingProcessing
	if !settled {
		r.Status, r.DateUpdated = call.RecordingDeleted, m.Clock.Now()
		err = m.SettleRecording(ctx, r, call.RecordingProcessing)
	}
	if settled || errors.Is(err, call.ErrConflict) { // it may be meanwhile
		err = m.Recordings.DeleteRecording(ctx, accountSID, sid)
	}
	if errors.Is(err, call.ErrLive) {
		return twilio.Errf(20009, "The recording has not ended")
	}
	if err == nil && m.Keeper != nil {
		m.Keeper.Erase()
	}
	return err
}

// SettleRecording stores what became of a recording, with its event and callback: as a change of its call while
// a session has that, otherwise by itself. call.ErrConflict says that its stored status is not from.
func (m *Manager) SettleRecording(ctx context.Context, r *call.Recording, from call.RecordingStatus) error {
	for range 3 { // the call may end while we look
		if s := m.session(r.CallSID); s != nil {
			err := s.do(ctx, func() error {
				if slices.ContainsFunc(s.unsaved.Recordings, func(u *call.Recording) bool { return u.SID == r.SID && u.Status == r.Status }) {
					return s.settleWith(r, s.write(saveTimeout)) // the store refused it before
				}
				stored, err := m.Recordings.Recording(ctx, r.AccountSID, r.SID)
				if err != nil {
					return err
				}
				if stored.Status != from {
					return fmt.Errorf("session: recording %s: %w: it is %s", r.SID, call.ErrConflict, stored.Status)
				}
				return s.settleWith(r, s.saveRecording(r, saveTimeout))
			})
			if !errors.Is(err, errOver) {
				return err
			}
		}
		c, err := m.Store.Call(ctx, r.AccountSID, r.CallSID)
		if errors.Is(err, call.ErrNotFound) { // deleted: what was promised is owed all the same
			c, err = &call.Call{SID: r.CallSID, AccountSID: r.AccountSID}, nil
		}
		if err != nil {
			return err
		}
		ch := recordingChange(c, r, m.Clock.Now(), m.baseURL())
		err = m.Recordings.SaveRecording(ctx, r, from, ch)
		if errors.Is(err, call.ErrLive) {
			continue
		}
		if err == nil {
			m.publish(ch)
		}
		return err
	}
	return fmt.Errorf("session: recording %s: %w: its call changes hands", r.SID, call.ErrUnavailable)
}

// settleWith notes what became of a recording when that was stored. Loop only.
func (s *Session) settleWith(r *call.Recording, err error) error {
	if err == nil {
		s.settle(r)
	}
	return err
}

// saveRecording stores a recording of this call as it is now, with the event and the callback of its status. It
// runs in the session's loop. A change that the store refuses stays with what is unsaved, and goes with the next
// write.
func (s *Session) saveRecording(r *call.Recording, timeout time.Duration) error {
	ch := recordingChange(s.call, r, s.m.Clock.Now(), s.m.baseURL())
	s.unsaved.Events = append(s.unsaved.Events, ch.Events...)
	s.unsaved.Callbacks = append(s.unsaved.Callbacks, ch.Callbacks...)
	s.unsaved.Recordings = append(s.unsaved.Recordings, r.Clone())
	s.snapshot.Store(s.call.Clone())
	return s.write(timeout)
}

// recordingChange is the event and the callback of the status that r has now, as a change of c, whose event
// sequence it counts up.
func recordingChange(c *call.Call, r *call.Recording, now time.Time, base string) (ch call.Change) {
	seq := c.EventSeq
	if name := r.EventName(); name != "" {
		recording := r.Resource(base)
		ch.Events = []call.Event{{
			ID: twilio.NewSIDAt("EV", now), CallSID: c.SID, AccountSID: c.AccountSID,
			Seq: c.EventSeq, Name: name, Time: now, Snapshot: call.Snapshot(c, &recording),
		}}
		c.EventSeq++
	}
	if r.CallbackDue() {
		ch.Callbacks = []call.Callback{{
			ID: twilio.NewSIDAt("EV", now), CallSID: c.SID, AccountSID: c.AccountSID,
			Seq: seq, Method: r.Options.StatusMethod, URL: r.Options.StatusURL,
			Params: url.Values(r.CallbackParams(base)), CreatedAt: now,
		}}
	}
	if o := &r.Options; o.TranscribeURL != "" && r.Status == call.RecordingCompleted {
		params := voiceParams(c)
		for name, value := range r.TranscriptionParams(twilio.NewSIDAt("TR", now), base) {
			params.Set(name, value)
		}
		ch.Callbacks = append(ch.Callbacks, call.Callback{
			ID: twilio.NewSIDAt("EV", now), CallSID: c.SID, AccountSID: c.AccountSID,
			Seq: seq, Method: "POST", URL: o.TranscribeURL, Params: params, CreatedAt: now,
		})
	}
	return ch
}

func (m *Manager) baseURL() string {
	if m.BaseURL == nil {
		return ""
	}
	return m.BaseURL()
}
