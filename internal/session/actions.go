package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// Annotate writes what a customer notes beside a call, live or ended, and returns the call.
func (m *Manager) Annotate(ctx context.Context, accountSID, sid string, note call.Note) (*call.Call, error) {
	write := func() (annotation string, metadata map[string]any, err error) {
		annotation, metadata, err = m.Store.Annotate(ctx, accountSID, sid, note)
		if err == nil {
			m.metrics.did(actionChange)
		}
		return annotation, metadata, err
	}
	if s := m.session(sid); s != nil {
		err := s.do(ctx, func() error {
			annotation, metadata, err := write()
			if err == nil { // from the next event on it is told
				s.call.Annotation, s.call.Metadata = annotation, metadata
				s.snapshot.Store(s.call.Clone())
			}
			return err
		})
		if err == nil {
			return m.Store.Call(ctx, accountSID, sid)
		}
		if !errors.Is(err, errOver) {
			return nil, err
		}
	}
	if _, _, err := write(); err != nil {
		return nil, err
	}
	return m.Store.Call(ctx, accountSID, sid)
}

// Hangup ends a call: one that is not answered is canceled. One that has ended is returned as it is.
func (m *Manager) Hangup(ctx context.Context, accountSID, sid string) (*call.Call, error) {
	c, err := m.Store.Call(ctx, accountSID, sid)
	if err != nil || c.Status.Final() {
		return c, err
	}
	ended, err := m.Update(ctx, accountSID, sid, call.UpdateParams{Status: call.Completed})
	if err == nil {
		return ended, nil
	}
	if c, again := m.Store.Call(ctx, accountSID, sid); again == nil && c.Status.Final() {
		return c, nil // by itself, meanwhile
	}
	return nil, err
}

// StopRecordings stops a recording of a live call, or with an empty SID all that run, of which there must be one.
func (m *Manager) StopRecordings(ctx context.Context, accountSID, callSID, recordingSID string) (*call.Call, error) {
	stop := call.RecordingUpdate{Status: call.RecordingStopped}
	if recordingSID != "" {
		if _, err := m.UpdateRecording(ctx, accountSID, callSID, recordingSID, stop); err != nil {
			return nil, err
		}
		return m.Store.Call(ctx, accountSID, callSID)
	}
	if _, err := m.Store.Call(ctx, accountSID, callSID); err != nil {
		return nil, err
	}
	stopped := 0
	if s := m.session(callSID); s != nil {
		err := s.do(ctx, func() error {
			for _, t := range slices.Clone(s.tapes) {
				if !t.r.Status.Runs() {
					continue
				}
				if _, err := s.updateRecording(t.r.SID, stop); err != nil {
					return err
				}
				stopped++
			}
			return nil
		})
		if err != nil && !errors.Is(err, errOver) {
			return nil, err
		}
	}
	if stopped == 0 {
		return nil, twilio.Errf(21220, "No recording of this call runs")
	}
	return m.Store.Call(ctx, accountSID, callSID)
}

// repeated answers a create whose idempotency key has made a call before: as that one was answered.
func (m *Manager) repeated(ctx context.Context, accountSID string, i call.Idempotency, before *call.RepeatedError) (*call.Call, error) {
	if before.Fingerprint != i.Fingerprint {
		return nil, twilio.Errf(20409, "Idempotency-Key was used for another request: %s", i.Key)
	}
	c, err := m.Store.Call(ctx, accountSID, before.CallSID)
	if err != nil {
		return nil, err
	}
	c = c.AsCreated()
	events, err := m.Store.Events(ctx, c.SID, -1)
	if err != nil {
		return nil, err
	}
	if len(events) > 0 { // what was noted later is in the call alone
		var created twiliocall.Call
		if err := json.Unmarshal(events[0].Snapshot, &created); err != nil {
			return nil, fmt.Errorf("session: first event of %s: %w", c.SID, err)
		}
		c.Annotation, c.Metadata = "", created.Metadata
		if created.Annotation != nil {
			c.Annotation = *created.Annotation
		}
	}
	return c, nil
}
