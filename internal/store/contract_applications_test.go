package store_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/call"
)

func testApplications(t *testing.T, b backend) {
	s := open(t, b.address(t))
	ctx, apps := t.Context(), s.Applications()
	want := &call.Application{
		Record: rec("AP1", 0), FriendlyName: "Zoë's", CallerIDLookup: true, Public: true,
		Voice: call.Voice{URL: "https://a/v", Method: "GET", FallbackURL: "https://a/f", FallbackMethod: "POST", StatusURL: "https://a/s", StatusMethod: "GET"},
	}
	must(t, apps.Create(ctx, want))
	must(t, apps.Create(ctx, &call.Application{Record: rec("AP2", 1), FriendlyName: "bare"}))
	got, err := s.Application(ctx, "AP1")
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Application(ctx, "AP3"); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	page, _, err := apps.List(ctx, call.ListFilter{AccountSID: account, FriendlyName: "bare"})
	must(t, err)
	if len(page) != 1 || page[0].SID != "AP2" {
		t.Errorf("by name: %v", page)
	}

	n := &call.Number{SID: "PN1", AccountSID: account, PhoneNumber: "+14155550100", ApplicationSID: "AP1", DateCreated: morning}
	must(t, s.CreateNumber(ctx, n))
	wrong := *n
	wrong.SID, wrong.PhoneNumber, wrong.ApplicationSID = "PN2", "+14155550101", "AP3"
	var missing *call.MissingError
	if err := s.CreateNumber(ctx, &wrong); !errors.As(err, &missing) || missing.SID != "AP3" {
		t.Errorf("a number of an application that is not there: %v", err)
	}
	if n, err := s.NumberByPhone(ctx, n.PhoneNumber); err != nil || n.ApplicationSID != "AP1" {
		t.Errorf("%+v, %v", n, err)
	}
	must(t, apps.Delete(ctx, account, "AP1"))
	if n, err := s.NumberByPhone(ctx, n.PhoneNumber); err != nil || n.ApplicationSID != "" {
		t.Errorf("a number whose application was deleted: %+v, %v", n, err)
	}
}

// A secret is made once.
func testSecrets(t *testing.T, b backend) {
	address := b.address(t)
	s := open(t, address)
	first, err := s.Secret(t.Context(), "one")
	must(t, err)
	second, err := s.Secret(t.Context(), "two")
	must(t, err)
	if len(first) != 32 || bytes.Equal(first, second) {
		t.Errorf("%x and %x", first, second)
	}
	must(t, s.Close())
	again, err := open(t, address).Secret(t.Context(), "one")
	must(t, err)
	if !bytes.Equal(first, again) {
		t.Errorf("%x, then %x", first, again)
	}
}
