package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/store"
)

func bindingOf(user, key, callID string, cseq uint32) call.Binding {
	return call.Binding{
		DomainSID: "SD1", User: user, Key: key, URI: "sip:" + key, Dest: "192.0.2.7:5060", Transport: "udp",
		CallID: callID, CSeq: cseq, Q: 1000, Expires: morning.Add(time.Hour), UserAgent: "phone/1",
	}
}

// registered checks the contacts of a user, by key, in order.
func registered(t *testing.T, s *store.Store, at time.Time, user string, want ...string) {
	t.Helper()
	list, err := s.Lookup(t.Context(), at, "SD1", user)
	must(t, err)
	var got []string
	for _, b := range list {
		got = append(got, b.Key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func testLocations(t *testing.T, b backend) {
	s, ctx := open(t, b.address(t)), t.Context()
	must(t, s.DomainRecords().Create(ctx, &call.Domain{Record: rec("SD1", 0), Name: "shop.example"}))

	first := bindingOf("ann", "a", "1", 1)
	first.KeepAlive, first.Transport, first.Q = true, "tcp", 500
	must(t, s.Bind(ctx, morning, []call.Binding{first, bindingOf("ann", "b", "1", 1)}))
	registered(t, s, morning, "ann", "b", "a") // by q
	registered(t, s, morning, "Ann")
	list, err := s.Lookup(ctx, morning, "SD1", "ann")
	must(t, err)
	if diff := cmp.Diff(first, list[1]); diff != "" {
		t.Error(diff)
	}
	for _, late := range [][]call.Binding{{bindingOf("ann", "a", "1", 1)}, {bindingOf("ann", "c", "1", 2), bindingOf("ann", "b", "1", 0)}} {
		if err := s.Bind(ctx, morning, late); !errors.Is(err, call.ErrConflict) || errors.Is(err, call.ErrFull) {
			t.Errorf("an older registration: %v", err)
		}
	}
	registered(t, s, morning, "ann", "b", "a") // nothing of it was written
	must(t, s.Bind(ctx, morning, []call.Binding{bindingOf("ann", "a", "2", 1)}))
	gone := bindingOf("ann", "b", "1", 2)
	gone.Expires = time.Time{}
	must(t, s.Bind(ctx, morning.Add(time.Second), []call.Binding{gone, bindingOf("ann", "c", "1", 2)}))
	registered(t, s, morning, "ann", "c", "a") // the later first
	registered(t, s, morning.Add(time.Hour), "ann")

	if err := s.Unbind(ctx, "SD1", "ann", "1", 2); !errors.Is(err, call.ErrConflict) {
		t.Errorf("an older removal: %v", err)
	}
	must(t, s.Unbind(ctx, "SD1", "ann", "1", 3))
	registered(t, s, morning, "ann")

	for i := range 10 {
		must(t, s.Bind(ctx, morning, []call.Binding{bindingOf("bob", fmt.Sprint("k", i), "3", uint32(i))}))
	}
	if err := s.Bind(ctx, morning, []call.Binding{bindingOf("bob", "k10", "3", 20)}); !errors.Is(err, call.ErrFull) {
		t.Errorf("an eleventh contact: %v", err)
	}
	swap := bindingOf("bob", "k0", "3", 21)
	swap.Expires = time.Time{}
	must(t, s.Bind(ctx, morning, []call.Binding{swap, bindingOf("bob", "k10", "3", 21)}))
	later := morning.Add(2 * time.Hour) // all of these have expired: there is room
	fresh := bindingOf("bob", "new", "4", 1)
	fresh.Expires = later.Add(time.Minute)
	must(t, s.Bind(ctx, later, []call.Binding{fresh}))
	registered(t, s, later, "bob", "new")
	registered(t, s, morning, "bob", "new") // they are gone

	var kept []string
	for i := range 5 {
		k := bindingOf("cid", fmt.Sprint("k", i), "5", uint32(i))
		k.KeepAlive = i != 2
		must(t, s.Bind(ctx, morning, []call.Binding{k}))
	}
	for last := (call.Binding{}); ; {
		page, err := s.KeptAlive(ctx, morning, last, 3)
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, b := range page {
			kept = append(kept, b.Key)
		}
		last = page[len(page)-1]
	}
	if diff := cmp.Diff([]string{"k0", "k1", "k3", "k4"}, kept); diff != "" {
		t.Error(diff)
	}

	other := bindingOf("ann", "a", "1", 1)
	other.DomainSID = "SD2"
	if err := s.Bind(ctx, morning, []call.Binding{other}); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("a domain that is not there: %v", err)
	}
	must(t, s.DomainRecords().Delete(ctx, account, "SD1"))
	registered(t, s, morning, "cid")
}
