package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

func testSubaccounts(t *testing.T, b backend) {
	s := open(t, b.address(t))
	parent := &call.Account{SID: account, AuthToken: "secret", FriendlyName: "parent", DateCreated: morning}
	must(t, s.PutAccount(t.Context(), parent))
	must(t, s.PutAccount(t.Context(), &call.Account{SID: other, AuthToken: "secret", FriendlyName: "stranger", DateCreated: morning}))
	parent, err := s.Account(t.Context(), account)
	must(t, err)
	var subs []*call.Account
	for i := range 3 {
		sub := &call.Account{
			SID: fmt.Sprint("AC1", i), OwnerSID: account, AuthToken: "t", FriendlyName: fmt.Sprint("shop ", i), Status: call.AccountActive,
			DateCreated: morning.Add(time.Duration(i+1) * time.Minute), DateUpdated: morning,
		}
		must(t, s.CreateAccount(t.Context(), sub))
		subs = append(subs, sub)
	}
	if err := s.CreateAccount(t.Context(), subs[0]); !errors.Is(err, call.ErrConflict) {
		t.Errorf("a taken SID: %v", err)
	}
	subs[1].Status, subs[1].FriendlyName = call.AccountSuspended, "asleep"
	must(t, s.UpdateAccount(t.Context(), subs[1], call.AccountActive))
	got, err := s.Account(t.Context(), "AC11")
	must(t, err)
	if diff := cmp.Diff(subs[1], got); diff != "" {
		t.Error(diff)
	}

	n := &call.Number{SID: "PN1", AccountSID: "AC12", PhoneNumber: "+14155550100", DateCreated: morning}
	must(t, s.CreateNumber(t.Context(), n))
	must(t, second(s.NumberByPhone(t.Context(), n.PhoneNumber)))
	must(t, s.Keys().Create(t.Context(), &call.Key{Record: call.Record{SID: "SK1", AccountSID: "AC12"}, Hash: "h"}))
	subs[2].Status = call.AccountClosed
	must(t, s.UpdateAccount(t.Context(), subs[2], call.AccountActive))
	for what, err := range map[string]error{
		"its number": second(s.NumberByPhone(t.Context(), n.PhoneNumber)), "its key": second(s.Key(t.Context(), "SK1")),
	} {
		if !errors.Is(err, call.ErrNotFound) {
			t.Errorf("%s when it is closed: %v", what, err)
		}
	}
	subs[2].Status = call.AccountActive
	if err := s.UpdateAccount(t.Context(), subs[2], call.AccountSuspended); !errors.Is(err, call.ErrConflict) {
		t.Errorf("a closed account lives again: %v", err)
	}

	for _, test := range []struct {
		name string
		f    call.AccountFilter
		want string
		more bool
	}{
		{"all", call.AccountFilter{Of: parent}, "AC12 AC11 AC10 " + account + " ", false},
		{"the first", call.AccountFilter{Of: parent, Limit: 2}, "AC12 AC11 ", true},
		{"behind them", call.AccountFilter{Of: parent, Limit: 2, Cursor: subs[1].PageToken()}, "AC10 " + account + " ", false},
		{"by name", call.AccountFilter{Of: parent, FriendlyName: "shop 0"}, "AC10 ", false},
		{"by status", call.AccountFilter{Of: parent, Status: call.AccountClosed}, "AC12 ", false},
		{"a subaccount's", call.AccountFilter{Of: subs[0]}, "AC10 ", false},
	} {
		page, more, err := s.ListAccounts(t.Context(), test.f)
		must(t, err)
		sids := ""
		for _, a := range page {
			sids += a.SID + " "
		}
		if sids != test.want || more != test.more {
			t.Errorf("%s: %s%v, want %s%v", test.name, sids, more, test.want, test.more)
		}
	}
}

func testKeys(t *testing.T, b backend) {
	s := open(t, b.address(t))
	must(t, s.PutAccount(t.Context(), &call.Account{SID: account, AuthToken: "secret", DateCreated: morning}))
	k := &call.Key{Record: call.Record{SID: "SK1", AccountSID: account, DateCreated: morning, DateUpdated: morning}, FriendlyName: "ci"}
	k.Conceal()
	must(t, s.Keys().Create(t.Context(), k))
	got, err := s.Key(t.Context(), "SK1")
	must(t, err)
	if got.Secret != "" || got.Hash == k.Secret || got.Hash == "" {
		t.Errorf("stored: %+v", got)
	}
	got.Secret = k.Secret
	if diff := cmp.Diff(k, got); diff != "" {
		t.Error(diff)
	}
	must(t, s.PutAccount(t.Context(), &call.Account{SID: account, AuthToken: "secret", DateCreated: morning}))
	must(t, second(s.Key(t.Context(), "SK1")))
	must(t, s.PutAccount(t.Context(), &call.Account{SID: account, AuthToken: "rotated", DateCreated: morning}))
	if err := second(s.Key(t.Context(), "SK1")); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("a key of before the rotation: %v", err)
	}

	c := &call.CallerID{Record: call.Record{SID: "PN1", AccountSID: account, DateCreated: morning}, PhoneNumber: "+14155550100", FriendlyName: "desk"}
	must(t, s.CallerIDs().Create(t.Context(), c))
	again := *c
	again.SID = "PN2"
	if err := s.CallerIDs().Create(t.Context(), &again); !errors.Is(err, call.ErrConflict) {
		t.Errorf("the same number twice: %v", err)
	}
	for phone, want := range map[string]bool{"+14155550100": true, "+14155550101": false} {
		if may, err := s.MayCallFrom(t.Context(), account, phone); err != nil || may != want {
			t.Errorf("%s: %v %v", phone, may, err)
		}
	}
	if may, err := s.MayCallFrom(t.Context(), other, c.PhoneNumber); err != nil || may {
		t.Errorf("another account's: %v %v", may, err)
	}
}
