package session

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/recording"
	"github.com/offhook/offhook/internal/twilio"
)

const (
	// maxTapes bounds the recordings of one call that run at once.
	maxTapes = 16
	// lastFrames is how long the end of a recording waits for what its last frame still lacks, when the leg does
	// not say that it is over.
	lastFrames = 500 * time.Millisecond
	// spoolTimeout bounds the wait for a disk that hangs. What it took is found by the next start.
	spoolTimeout = time.Minute
)

// tape is a recording of a call, from its start until it is settled. The loop's own, but for its capture and channels.
type tape struct {
	r       *call.Recording
	name    string // of <Start><Recording>
	sid     string // of r, as path and trim; for everybody
	path    string
	trim    bool
	w       *recording.Writer
	capture *capture
	pause   string // behaviour of the last pause
	untap   func()
	over    chan struct{} // closed when it runs no more
	settled chan struct{} // closed when r says what became of it
}

// recordingTracks is where a writer has a leg's tracks, and how many it has.
func recordingTracks(track string) (tracks [2]int, n int) {
	switch track {
	case call.TrackInbound:
		return [2]int{audio.Inbound: 0, audio.Outbound: -1}, 1
	case call.TrackOutbound:
		return [2]int{audio.Inbound: -1, audio.Outbound: 0}, 1
	}
	return [2]int{audio.Inbound: 0, audio.Outbound: 1}, 2
}

// tape begins a recording, which the caller stores. quiet ends a <Record>, 0 nothing. Loop only.
func (s *Session) tape(r *call.Recording, quiet time.Duration) (*tape, error) {
	m, now := s.m, s.m.Clock.Now()
	if m.Recorder == nil {
		return nil, twilio.Errf(20001, "Recording is not available on this server")
	}
	r.SID = twilio.NewSIDAt(twilio.RecordingPrefix, now)
	r.AccountSID, r.CallSID, r.Node = s.call.AccountSID, s.sid, m.Recordings.Node()
	r.DateCreated, r.DateUpdated, r.StartTime = now, now, now
	if s.running() >= maxTapes {
		return nil, twilio.Errf(20429, "At most %d recordings of a call can run at once", maxTapes)
	}
	tracks, n := recordingTracks(r.Track)
	w, err := m.Recorder.Start(recording.Spec{
		SID: r.SID, Channels: r.Channels, Tracks: n, Max: time.Duration(r.Options.MaxLength) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	t := &tape{
		r: r, sid: r.SID, path: r.Path(), trim: r.Options.Trim, w: w, capture: newCapture(w, tracks, int64(quiet)*recording.Rate/int64(time.Second)),
		over: make(chan struct{}), settled: make(chan struct{}),
	}
	if r.Source == call.SourceRecord && s.call.Options.Held {
		t.capture.pause(recording.Skip)
	}
	t.untap = s.leg.Tap(t.capture)
	s.tapes = append(s.tapes, t)
	m.sessions.Go(func() { s.watch(t) })
	s.trace("recording %s of %s started", r.SID, r.Track)
	return t, nil
}

func (s *Session) running() (n int) {
	for _, t := range s.tapes {
		if t.r.Status.Runs() {
			n++
		}
	}
	return n
}

// record begins a recording and stores it, or neither. Loop only.
func (s *Session) record(r *call.Recording, quiet time.Duration) (*tape, error) {
	t, err := s.tape(r, quiet)
	if err != nil {
		return nil, err
	}
	before, unsaved := *s.call, s.unsaved
	if err := s.saveRecording(r, saveTimeout); err != nil {
		unsaved.Notifications = s.unsaved.Notifications
		*s.call, s.unsaved = before, unsaved
		s.discard(t)
		s.storeFailed(err)
		return nil, err
	}
	return t, nil
}

// recordOr is record for what nobody waits for: a recording that cannot be made has failed, and its callback says so.
func (s *Session) recordOr(r *call.Recording, quiet time.Duration) *tape {
	t, err := s.record(r, quiet)
	if err != nil && !s.over {
		s.notRecorded(r, err)
	}
	return t
}

// notRecorded stores a recording that could not begin. Loop only.
func (s *Session) notRecorded(r *call.Recording, err error) {
	s.log.Error("recording not begun", "recording_sid", r.SID, "err", err)
	s.notify(&twilio.Error{Code: call.RecordingFailed, Message: "The call could not be recorded: " + asTwilio(err).Message}, nil)
	if r.SID == "" { // there is no recorder
		return
	}
	r.Status, r.ErrorCode, r.DateUpdated = call.RecordingAbsent, call.RecordingFailed, s.m.Clock.Now()
	if err := s.saveRecording(r, laterTimeout); err != nil {
		s.storeFailed(err)
	}
}

// discard forgets a recording that nobody heard of. Loop only.
func (s *Session) discard(t *tape) {
	s.forget(t)
	t.capture.stop()
	t.untap()
	close(t.over)
	s.m.sessions.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), spoolTimeout)
		defer cancel()
		if err := t.w.Stop(ctx).Discard(); err != nil {
			s.log.Warn("spool of a recording not removed; the next start does it", "recording_sid", t.r.SID, "err", err)
		}
	})
}

func (s *Session) forget(t *tape) {
	s.tapes = slices.DeleteFunc(s.tapes, func(other *tape) bool { return other == t })
}

// watch waits for a recording that ends by itself: at its longest, or by the disk.
func (s *Session) watch(t *tape) {
	select {
	case <-t.over:
		return
	case <-t.w.Done():
	}
	_ = s.do(context.Background(), func() error { return s.endTape(t) }) // else the call's end has ended it
}

// endTape ends a recording. Loop only.
func (s *Session) endTape(t *tape) error {
	if !t.r.Status.Runs() {
		return nil
	}
	s.stopTape(t)
	err := s.saveRecording(t.r, laterTimeout)
	if err != nil {
		s.storeFailed(err)
	}
	s.keep(t)
	return err
}

// stopTape ends a recording, which is then to be stored and kept. Loop only.
func (s *Session) stopTape(t *tape) {
	t.capture.stop()
	t.r.Status, t.r.DateUpdated = call.RecordingProcessing, s.m.Clock.Now()
	close(t.over)
	s.trace("recording %s stopped", t.r.SID)
}

// stopTapes ends what runs when the call does, to be stored with its end.
func (s *Session) stopTapes() (stopped []*tape) {
	for _, t := range s.tapes {
		if t.r.Status.Runs() {
			s.stopTape(t)
			s.unsaved.Recordings = append(s.unsaved.Recordings, t.r.Clone())
			stopped = append(stopped, t)
		}
	}
	return stopped
}

// keep hands a recording that was stopped to whoever keeps it, once it is on disk.
func (s *Session) keep(t *tape) {
	m, r := s.m, t.r.Clone()
	m.sessions.Go(func() {
		late := m.Clock.NewTimer(lastFrames)
		defer late.Stop()
		select {
		case <-t.capture.whole:
		case <-late.C():
		}
		t.untap()
		ctx, cancel := context.WithTimeout(context.Background(), spoolTimeout)
		defer cancel()
		res := t.w.Stop(ctx)
		if res.Err == nil || errors.Is(res.Err, recording.ErrLimit) {
			m.Keeper.Keep(r)
			return
		}
		s.notify(&twilio.Error{Code: call.RecordingFailed, Message: "The recording " + r.SID + " could not be written: " + res.Err.Error()}, nil)
		r.Status, r.ErrorCode, r.DateUpdated = call.RecordingAbsent, call.RecordingFailed, m.Clock.Now()
		for { // until the store takes it, or the next start finds it
			err := m.SettleRecording(ctx, r, call.RecordingProcessing)
			if err == nil || errors.Is(err, call.ErrConflict) || clock.Sleep(ctx, m.Clock, storeRetry) != nil {
				break
			}
		}
		m.Keeper.Abandon(r.SID)
	})
}

// settle notes what became of a recording. Loop only.
func (s *Session) settle(r *call.Recording) {
	for _, t := range s.tapes {
		if t.r.SID == r.SID {
			*t.r = *r.Clone()
			s.forget(t)
			close(t.settled)
			return
		}
	}
}

// recordAnswered begins the recording that a create asked for. Loop only.
func (s *Session) recordAnswered() *call.Recording {
	p := s.call.Options.Recording
	if p == nil {
		return nil
	}
	r := p.Recording()
	r.Source = call.SourceCreate
	t, err := s.tape(r, 0)
	if err != nil {
		s.notRecorded(r, err)
		return nil
	}
	s.whole = t
	return r
}

// params are what an application is told of a recording that is over, or about to be: by the last status callback of
// its call, and by the action of <Record>. Nothing of none. For everybody.
func (t *tape) params(base string) url.Values {
	if t == nil {
		return nil
	}
	seconds, ok := int64(0), false
	select {
	case <-t.settled:
		seconds, ok = t.r.Duration()
	default:
	}
	if !ok {
		seconds = (t.capture.length(t.trim) + recording.Rate/2) / recording.Rate
	}
	return url.Values{
		"RecordingSid": {t.sid}, "RecordingUrl": {base + t.path}, "RecordingDuration": {strconv.FormatInt(seconds, 10)},
	}
}
