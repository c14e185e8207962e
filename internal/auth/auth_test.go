package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// fake is Store in memory; reads counts what it was asked.
type fake struct {
	accounts map[string]*call.Account
	keys     map[string]*call.Key
	reads    int
	meddle   func() // while a read is under way
}

func (f *fake) Account(_ context.Context, sid string) (*call.Account, error) {
	f.reads++
	a := f.accounts[sid]
	if a == nil {
		return nil, call.ErrNotFound
	}
	own := *a
	if f.meddle != nil {
		f.meddle()
	}
	return &own, nil
}

func (f *fake) Key(_ context.Context, sid string) (*call.Key, error) {
	f.reads++
	if k := f.keys[sid]; k != nil {
		return k, nil
	}
	return nil, call.ErrNotFound
}

type fixedClock struct {
	clock.Clock
	now time.Time
}

func (c *fixedClock) Now() time.Time { return c.now }

const (
	parentSID  = "AC00000000000000000000000000000001"
	subSID     = "AC00000000000000000000000000000002"
	siblingSID = "AC00000000000000000000000000000003"
	otherSID   = "AC00000000000000000000000000000004"
)

func family() (*fake, map[string]*call.Key) {
	f := &fake{accounts: map[string]*call.Account{}, keys: map[string]*call.Key{}}
	for sid, owner := range map[string]string{parentSID: parentSID, subSID: parentSID, siblingSID: parentSID, otherSID: otherSID} {
		f.accounts[sid] = &call.Account{SID: sid, OwnerSID: owner, AuthToken: "token of " + sid, Status: call.AccountActive}
	}
	of := map[string]*call.Key{}
	for sid := range f.accounts {
		k := &call.Key{Record: call.Record{SID: twilio.NewSID(twilio.KeyPrefix), AccountSID: sid}}
		k.Conceal()
		f.keys[k.SID], of[sid] = k, k
	}
	return f, of
}

func TestWhoMayActForWhom(t *testing.T) {
	f, keys := family()
	g := NewGate(f, &fixedClock{})
	for by, may := range map[string]string{parentSID: parentSID + subSID + siblingSID, subSID: subSID, siblingSID: siblingSID, otherSID: otherSID} {
		caller, err := g.Check(t.Context(), by, "token of "+by)
		if err != nil {
			t.Fatal(err)
		}
		k := keys[by]
		byKey, err := g.Check(t.Context(), k.SID, k.Secret)
		if err != nil || byKey.Account.SID != by || byKey.Key != k.SID {
			t.Fatalf("key: %+v %v", byKey, err)
		}
		for _, sid := range []string{parentSID, subSID, siblingSID, otherSID, "AC00000000000000000000000000000009", "", "nonsense"} {
			want := sid != "" && contains(may, sid)
			if a, err := g.For(t.Context(), caller, sid); (err == nil && a.SID == sid) != want || err != nil && !errors.Is(err, twilio.Err(20003)) {
				t.Errorf("%s for %q: %v, want %v", by, sid, err, want)
			}
			if a, err := g.For(t.Context(), byKey, sid); (err == nil && a.SID == sid) != (sid == by) {
				t.Errorf("the key of %s for %q: %v", by, sid, err)
			}
		}
	}
}

func contains(list, sid string) bool {
	for ; len(list) >= len(sid); list = list[len(sid):] {
		if list[:len(sid)] == sid {
			return true
		}
	}
	return false
}

func TestWrongCredentials(t *testing.T) {
	f, keys := family()
	f.accounts[otherSID].AuthToken = ""
	g := NewGate(f, &fixedClock{})
	k := keys[subSID]
	for name, c := range map[string][2]string{
		"nothing": {"", ""}, "no token": {subSID, ""}, "another's token": {subSID, "token of " + parentSID}, "an account without token": {otherSID, ""},
		"an unknown account": {"AC00000000000000000000000000000009", ""}, "a wrong secret": {k.SID, "x"}, "no secret": {k.SID, ""},
		"another key's secret": {k.SID, keys[parentSID].Secret}, "the hash": {k.SID, k.Hash}, "an unknown key": {"SK00000000000000000000000000000009", ""},
		"a key with the token": {k.SID, "token of " + subSID}, "an account with a secret": {subSID, k.Secret},
	} {
		for range 2 { // not known yet, and known
			if _, err := g.Check(t.Context(), c[0], c[1]); !errors.Is(err, twilio.Err(20003)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What was shown of late costs no read; what this process changed is in force with the next request, and what
// another one did within seconds.
func TestChangesAreHeardOf(t *testing.T) {
	f, keys := family()
	c := &fixedClock{now: time.Unix(1e9, 0)}
	g := NewGate(f, c)
	k := keys[subSID]
	check := func(user, password string, want int) {
		t.Helper()
		code := 0
		var e *twilio.Error
		if _, err := g.Check(t.Context(), user, password); errors.As(err, &e) {
			code = e.Code
		}
		if code != want {
			t.Errorf("%s: %d, want %d", user, code, want)
		}
	}
	check(k.SID, k.Secret, 0)
	check(subSID, "token of "+subSID, 0)
	before := f.reads
	for range 10 {
		check(k.SID, k.Secret, 0)
		check(subSID, "token of "+subSID, 0)
	}
	if f.reads != before {
		t.Errorf("%d reads for what was known", f.reads-before)
	}

	delete(f.keys, k.SID) // by another process
	check(k.SID, k.Secret, 0)
	c.now = c.now.Add(keptFor)
	check(k.SID, k.Secret, 20003)

	f.accounts[subSID].Status = call.AccountSuspended
	g.Forget()
	check(subSID, "token of "+subSID, 20005)
	f.accounts[subSID].Status = call.AccountActive
	f.meddle = func() { // suspended while the request reads that it is not
		f.accounts[subSID].Status = call.AccountSuspended
		g.Forget()
	}
	g.Forget()
	check(subSID, "token of "+subSID, 0)
	f.meddle = nil
	check(subSID, "token of "+subSID, 20005)
}
