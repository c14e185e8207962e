package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// What is kept of a call is what a change that was committed left, from the moment on that its writer knows.
func TestACallIsReadAsItWasLastWritten(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "offhook.db"))
	c := newCall(clock.System.Now())
	if err := s.CreateCall(t.Context(), c, call.Change{}); err != nil {
		t.Fatal(err)
	}
	read := func() *call.Call {
		t.Helper()
		got, err := s.Call(t.Context(), c.AccountSID, c.SID)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	read().Annotation = "the reader's own" // of a copy
	if got := read(); got.Annotation != "" || got.Status != call.Queued {
		t.Errorf("read %q, %s", got.Annotation, got.Status)
	}
	noted := "noted"
	if _, _, err := s.Annotate(t.Context(), c.AccountSID, c.SID, call.Note{Annotation: &noted}); err != nil {
		t.Fatal(err)
	}
	if got := read(); got.Annotation != "noted" {
		t.Errorf("read %q after the change", got.Annotation)
	}
	c.Status = call.Ringing
	if err := s.SaveCall(t.Context(), c, call.Queued, call.Change{}); err != nil {
		t.Fatal(err)
	}
	if got := read(); got.Status != call.Ringing {
		t.Errorf("read %s after the change", got.Status)
	}
	if _, err := s.Call(t.Context(), "AC00000000000000000000000000000009", c.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("another account's read: %v", err)
	}
	c.Status, c.EndedAt = call.Failed, clock.System.Now()
	if err := s.SaveCall(t.Context(), c, call.Ringing, call.Change{}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteCall(t.Context(), c.AccountSID, c.SID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Call(t.Context(), c.AccountSID, c.SID); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("the deleted call: %v", err)
	}
}
