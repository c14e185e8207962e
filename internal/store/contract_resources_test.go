package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

func testNumbers(t *testing.T, b backend) {
	s := open(t, b.address(t))
	var all []*call.Number
	for i, phone := range []string{"+14155550100", "+14155550199", "+442071838750"} {
		n := &call.Number{
			SID: fmt.Sprint("PN", i), AccountSID: account, PhoneNumber: phone, FriendlyName: fmt.Sprint("line 100%_", i),
			VoiceURL: "https://app.example/voice", VoiceMethod: "POST", VoiceFallback: "https://app.example/f",
			FallbackMethod: "GET", StatusURL: "https://app.example/s", StatusMethod: "POST", CallerIDLookup: i == 1,
			DateCreated: morning.Add(time.Duration(i) * time.Minute), DateUpdated: morning,
		}
		if err := second(s.NumberByPhone(t.Context(), phone)); !errors.Is(err, call.ErrNotFound) {
			t.Errorf("before it is made: %v", err)
		}
		must(t, s.CreateNumber(t.Context(), n))
		all = append(all, n)
	}
	taken := *all[0]
	taken.SID, taken.AccountSID = "PN9", other
	if err := s.CreateNumber(t.Context(), &taken); !errors.Is(err, call.ErrConflict) {
		t.Errorf("a taken phone number: %v, want a conflict", err)
	}
	got, err := s.Number(t.Context(), account, "PN1")
	must(t, err)
	if diff := cmp.Diff(all[1], got); diff != "" {
		t.Error(diff)
	}
	if got, err = s.NumberByPhone(t.Context(), "+442071838750"); err != nil || got.SID != "PN2" {
		t.Errorf("by phone: %v %v", got, err)
	}
	all[1].VoiceURL, all[1].CallerIDLookup, all[1].DateUpdated = "", false, morning.Add(time.Hour)
	must(t, s.UpdateNumber(t.Context(), all[1]))
	if got, err = s.Number(t.Context(), account, "PN1"); err != nil || !cmp.Equal(all[1], got) {
		t.Errorf("updated: %v %v", got, err)
	}
	if got, err = s.NumberByPhone(t.Context(), all[1].PhoneNumber); err != nil || !cmp.Equal(all[1], got) {
		t.Errorf("updated, by phone: %v %v", got, err)
	}
	got.VoiceURL = "https://elsewhere.example/" // what a caller does with it is its own affair
	if got, err = s.NumberByPhone(t.Context(), all[1].PhoneNumber); err != nil || !cmp.Equal(all[1], got) {
		t.Errorf("once more, by phone: %v %v", got, err)
	}
	for name, err := range map[string]error{
		"number of another account": second(s.Number(t.Context(), other, "PN1")),
		"unknown phone":             second(s.NumberByPhone(t.Context(), "+1")),
		"update of none":            s.UpdateNumber(t.Context(), &call.Number{SID: "PN8", AccountSID: account}),
		"delete by another account": s.DeleteNumber(t.Context(), other, "PN1"),
	} {
		if !errors.Is(err, call.ErrNotFound) {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}

	for _, test := range []struct {
		name string
		f    call.NumberFilter
		want string
		more bool
	}{
		{"all", call.NumberFilter{}, "PN2 PN1 PN0 ", false},
		{"exact", call.NumberFilter{PhoneNumber: "+14155550100"}, "PN0 ", false},
		{"part", call.NumberFilter{PhoneNumber: "415555"}, "PN1 PN0 ", false},
		{"pattern", call.NumberFilter{PhoneNumber: "+1415555019*"}, "PN1 ", false},
		{"a star is one digit", call.NumberFilter{PhoneNumber: "+1415555*0199"}, "", false},
		{"stars", call.NumberFilter{PhoneNumber: "*1555501**"}, "PN1 PN0 ", false},
		{"no wildcards but the star", call.NumberFilter{PhoneNumber: "+1%"}, "", false},
		{"nor the underscore", call.NumberFilter{PhoneNumber: "+1415555010_"}, "", false},
		{"name", call.NumberFilter{FriendlyName: "line 100%_2"}, "PN2 ", false},
		{"name is exact", call.NumberFilter{FriendlyName: "line"}, "", false},
		{"page", call.NumberFilter{Limit: 2}, "PN2 PN1 ", true},
		{"next page", call.NumberFilter{Limit: 2, Cursor: all[1].PageToken()}, "PN0 ", false},
		{"page before", call.NumberFilter{Limit: 1, Cursor: before(all[0].PageToken())}, "PN1 ", true},
	} {
		test.f.AccountSID = account
		list, more, err := s.ListNumbers(t.Context(), test.f)
		must(t, err)
		got := ""
		for _, n := range list {
			got += n.SID + " "
		}
		if got != test.want || more != test.more {
			t.Errorf("%s: %s(more %v), want %s(%v)", test.name, got, more, test.want, test.more)
		}
	}
	must(t, s.DeleteNumber(t.Context(), account, "PN1"))
	if err := second(s.Number(t.Context(), account, "PN1")); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("deleted number: %v", err)
	}
	if err := second(s.NumberByPhone(t.Context(), all[1].PhoneNumber)); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("deleted number, by phone: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func testAccounts(t *testing.T, b backend) {
	s := open(t, b.address(t))
	a := &call.Account{SID: account, AuthToken: "secret", FriendlyName: "first", DateCreated: morning}
	must(t, s.PutAccount(t.Context(), a))
	again := *a
	again.AuthToken, again.FriendlyName, again.DateCreated = "other", "renamed", morning.Add(time.Hour)
	must(t, s.PutAccount(t.Context(), &again))
	got, err := s.Account(t.Context(), account)
	must(t, err)
	again.FriendlyName, again.DateCreated, again.DateUpdated = "first", morning, morning
	again.OwnerSID, again.Status = account, call.AccountActive
	if diff := cmp.Diff(&again, got); diff != "" {
		t.Error(diff)
	}
	must(t, s.PutAccount(t.Context(), &call.Account{SID: other, DateCreated: morning.Add(time.Second)}))
	if list, err := s.Accounts(t.Context()); err != nil || len(list) != 2 || list[0].SID != account {
		t.Errorf("accounts: %v %v", list, err)
	}
	if err := second(s.Account(t.Context(), "AC9")); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("unknown account: %v", err)
	}
}

func testEpoch(t *testing.T, b backend) {
	address := b.address(t)
	s := open(t, address)
	must(t, s.Close())
	if next := open(t, address); next.Epoch() <= s.Epoch() {
		t.Errorf("epoch %d, then %d", s.Epoch(), next.Epoch())
	}
}

func testClosed(t *testing.T, b backend) {
	s := open(t, b.address(t))
	must(t, s.Close())
	must(t, s.Close())
	for name, err := range map[string]error{
		"create": s.CreateCall(t.Context(), newCall(morning), call.Change{}),
		"add":    s.AddCall(t.Context(), newCall(morning), call.Change{}),
		"ping":   s.Ping(t.Context()),
		"read":   second(s.Trunks(t.Context())),
	} {
		if !errors.Is(err, call.ErrUnavailable) {
			t.Errorf("%s: %v, want unavailable", name, err)
		}
	}
}

func testPing(t *testing.T, b backend) {
	s := open(t, b.address(t))
	must(t, s.Ping(t.Context()))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, _, err := s.ListCalls(ctx, call.Filter{AccountSID: account}); !errors.Is(err, why) || errors.Is(err, call.ErrUnavailable) {
		t.Errorf("a canceled read: %v, want the cause", err)
	}
}
