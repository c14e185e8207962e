package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/store"
)

var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{})

// rec is the head of the n-th resource of the account.
func rec(sid string, n int) call.Record {
	at := morning.Add(time.Duration(n) * time.Minute)
	return call.Record{SID: sid, AccountSID: account, DateCreated: at, DateUpdated: at}
}

func testTrunks(t *testing.T, b backend) {
	s := open(t, b.address(t))
	want := []call.Trunk{
		{
			SID: "TK1", AccountSID: account, Kind: call.Carrier, Name: "carrier", FriendlyName: "the carrier",
			Host: "sip.carrier.example:5062", Transport: "udp+tcp", Username: "u", Password: "p",
			Sources:  []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Prefixes: []string{"+", "+44"}, CPS: 2.5, MaxCalls: 30, Created: morning, Updated: morning, Secure: true,
			Register: &call.Register{Registrar: "reg.example", Username: "r", Password: "s", Contact: "c", Expires: time.Hour},
			Ping:     30 * time.Second, CNAMLookup: true,
			Voice: call.Voice{URL: "https://a/v", Method: "GET", FallbackURL: "https://a/f", FallbackMethod: "POST", StatusURL: "https://a/s", StatusMethod: "GET"},
		},
		{SID: "TK2", AccountSID: account, Kind: call.Carrier, Name: "bare", Host: "198.51.100.1", Transport: "udp", Created: morning.Add(time.Second)},
		{
			SID: "TK3", AccountSID: account, Kind: call.Elastic, DomainName: "pbx.pstn.example", RecoveryURL: "https://a/r", RecoveryMethod: "GET",
			TransferMode: "sip-only", TransferCallerID: "from-transferor", RecordMode: "record-from-answer", RecordTrim: "trim-silence",
			Created: morning.Add(2 * time.Second),
		},
	}
	for i := range want {
		must(t, s.CreateTrunk(t.Context(), &want[i]))
	}
	want[0].Targets = []call.Target{{OwnerSID: "TK1", URI: "sip:sip.carrier.example:5062", Priority: 10, Weight: 10, Enabled: true}}
	want[1].Targets = []call.Target{{OwnerSID: "TK2", URI: "sip:198.51.100.1;transport=udp", Priority: 10, Weight: 10, Enabled: true}}
	taken := want[0]
	taken.SID = "TK4"
	if err := s.CreateTrunk(t.Context(), &taken); !errors.Is(err, call.ErrConflict) {
		t.Errorf("a taken name: %v, want a conflict", err)
	}
	taken = call.Trunk{SID: "TK4", AccountSID: account, Kind: call.Elastic, DomainName: "pbx.pstn.example"}
	if err := s.CreateTrunk(t.Context(), &taken); !errors.Is(err, call.ErrConflict) {
		t.Errorf("a taken domain: %v, want a conflict", err)
	}
	elsewhere := call.Trunk{SID: "TK4", AccountSID: other, Name: "carrier", Host: "h", Created: morning.Add(time.Hour)}
	must(t, s.CreateTrunk(t.Context(), &elsewhere)) // names are an account's own
	got, err := s.Trunks(t.Context())
	must(t, err)
	if diff := cmp.Diff(want, got[:3], comparePrefixes); diff != "" || len(got) != 4 {
		t.Error(diff)
	}
	if err := s.DeleteTrunk(t.Context(), other, "TK1"); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("delete by another account: %v", err)
	}
	must(t, s.DeleteTrunk(t.Context(), account, "TK1"))
	if err := s.DeleteTrunk(t.Context(), account, "TK1"); !errors.Is(err, call.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
	if got, err = s.Trunks(t.Context()); err != nil || len(got) != 3 {
		t.Errorf("trunks left: %v %v", got, err)
	}
}

// identities is a domain and an elastic trunk with everything that can be mapped to them, and a carrier with a policy.
func identities(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	must(t, s.Policies().Create(ctx, &call.Policy{Record: rec("NY1", 0), FriendlyName: "both sites"}))
	for i, uri := range []string{"sip:b.example", "sip:a.example"} {
		v := call.NewTarget(uri)
		v.Record, v.OwnerSID, v.Priority = rec(fmt.Sprint("NE", i), i), "NY1", 20-i
		must(t, s.Targets().Create(ctx, &v))
	}
	must(t, s.TrunkRecords().Create(ctx, &call.Trunk{SID: "TK1", AccountSID: account, PolicySID: "NY1", Host: "unused.example", Created: morning}))
	must(t, s.TrunkRecords().Create(ctx, &call.Trunk{
		SID: "TK2", AccountSID: account, Kind: call.Elastic, Created: morning.Add(time.Second),
		Targets: []call.Target{{Record: rec("OU1", 0), OwnerSID: "TK2", URI: "sip:pbx.example", Weight: 1}},
	}))
	must(t, s.DomainRecords().Create(ctx, &call.Domain{
		Record: rec("SD1", 0), Name: "shop.sip.example", FriendlyName: "Shop", SIPRegistration: true, Secure: true, EmergencyCalling: true,
		Voice:    call.Voice{URL: "https://a/v", Method: "POST", FallbackURL: "https://a/f", FallbackMethod: "GET", StatusURL: "https://a/s", StatusMethod: "POST"},
		TrunkSID: "TK1",
	}))
	for i, sid := range []string{"CL1", "CL2", "AL1"} {
		must(t, s.Lists().Create(ctx, &call.List{Record: rec(sid, i), FriendlyName: "list " + sid}))
	}
	for i, c := range []call.Credential{
		{ListSID: "CL1", Username: "ann", Password: "Secret-000001"}, {ListSID: "CL1", Username: "bob", Password: "Secret-000002"},
		{ListSID: "CL2", Username: "ann", Password: "Secret-000003"}, {ListSID: "CL2", Username: "cid", Password: "Secret-000004"},
	} {
		c.Record = rec(fmt.Sprint("CR", i), i)
		must(t, s.Credentials().Create(ctx, &c))
	}
	for i, a := range []call.Address{
		{ListSID: "AL1", FriendlyName: "office", IP: "192.0.2.17", Bits: 24}, {ListSID: "AL1", IP: "2001:db8::1", Bits: 128},
		{FriendlyName: "record", IP: "203.0.113.9", Bits: 32},
	} {
		a.Record = rec(fmt.Sprint("IP", i), i)
		must(t, s.Addresses().Create(ctx, &a))
	}
	for i, m := range []call.Mapping{
		{OwnerSID: "SD1", Purpose: call.ForCalls}, {OwnerSID: "SD1", Purpose: call.ForCalls}, {OwnerSID: "SD1", Purpose: call.ForCalls},
		{OwnerSID: "SD1", Purpose: call.ForRegistrations}, {OwnerSID: "TK2", Purpose: call.ForCalls},
	} {
		m.Record = rec([]string{"CL1", "CL2", "AL1", "CL2", "AL1"}[i], i)
		must(t, s.Mappings().Create(ctx, &m))
	}
	must(t, s.SourceMappings().Create(ctx, &call.SourceMapping{Record: rec("IB1", 0), IPRecordSID: "IP2", DomainSID: "SD1"}))
}

func testIdentities(t *testing.T, b backend) {
	s := open(t, b.address(t))
	identities(t, s)
	domains, err := s.Domains(t.Context())
	must(t, err)
	want := call.Domain{
		Record: rec("SD1", 0), Name: "shop.sip.example", FriendlyName: "Shop", SIPRegistration: true, Secure: true, EmergencyCalling: true,
		Voice:    call.Voice{URL: "https://a/v", Method: "POST", FallbackURL: "https://a/f", FallbackMethod: "GET", StatusURL: "https://a/s", StatusMethod: "POST"},
		TrunkSID: "TK1", ByAddress: true, ByCredentials: true,
		Sources:      []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")},
		Callers:      map[string]string{"ann": "Secret-000001", "bob": "Secret-000002", "cid": "Secret-000004"}, // of the list mapped first
		Registrants:  map[string]string{"ann": "Secret-000003", "cid": "Secret-000004"},
		SourceRoutes: []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")},
	}
	if diff := cmp.Diff([]call.Domain{want}, domains, comparePrefixes); diff != "" {
		t.Error(diff)
	}
	trunks, err := s.Trunks(t.Context())
	must(t, err)
	carrier, pbx := trunks[0], trunks[1]
	if diff := cmp.Diff([]string{"sip:a.example", "sip:b.example"}, []string{carrier.Targets[0].URI, carrier.Targets[1].URI}); diff != "" {
		t.Error("targets of the policy, by priority:", diff)
	}
	if diff := cmp.Diff(want.SourceRoutes, carrier.Sources, comparePrefixes); diff != "" || carrier.ByAddress {
		t.Error("a carrier's sources are those of its domains' IP records:", diff)
	}
	if diff := cmp.Diff(want.Sources, pbx.Sources, comparePrefixes); diff != "" || !pbx.ByAddress || pbx.ByCredentials {
		t.Error("a PBX's sources are those of its lists:", diff)
	}
	if len(pbx.Targets) != 1 || pbx.Targets[0].URI != "sip:pbx.example" || pbx.Targets[0].Enabled {
		t.Errorf("own targets: %v", pbx.Targets)
	}

	// An empty list that is mapped lets nobody in, which is not the same as none.
	must(t, s.Addresses().Delete(t.Context(), account, "IP0", "AL1"))
	must(t, s.Addresses().Delete(t.Context(), account, "IP1", "AL1"))
	if domains, err = s.Domains(t.Context()); err != nil || !domains[0].ByAddress || len(domains[0].Sources) != 0 {
		t.Errorf("with an empty list: %v %v", domains, err)
	}
	must(t, s.Mappings().Delete(t.Context(), account, "AL1", "SD1", call.ForCalls, "AL"))
	if domains, err = s.Domains(t.Context()); err != nil || domains[0].ByAddress {
		t.Errorf("without a list: %v %v", domains, err)
	}
}

func testRecords(t *testing.T, b backend) {
	s := open(t, b.address(t))
	identities(t, s)
	ctx := t.Context()
	got, err := s.Credentials().Get(ctx, account, "CR1", "CL1")
	must(t, err)
	if diff := cmp.Diff(&call.Credential{Record: rec("CR1", 1), ListSID: "CL1", Username: "bob", Password: "Secret-000002"}, got); diff != "" {
		t.Error(diff)
	}
	got.Password, got.DateUpdated = "Other-1234567", morning.Add(time.Hour)
	must(t, s.Credentials().Update(ctx, got))
	if again, err := s.Credentials().Get(ctx, account, "CR1", "CL1"); err != nil || !cmp.Equal(got, again) {
		t.Errorf("updated: %v %v", again, err)
	}
	m, err := s.Mappings().Get(ctx, account, "CL2", "SD1", call.ForRegistrations, "CL")
	must(t, err)
	if diff := cmp.Diff(&call.Mapping{Record: rec("CL2", 3), OwnerSID: "SD1", Purpose: call.ForRegistrations, FriendlyName: "list CL2"}, m); diff != "" {
		t.Error(diff)
	}
	list := func(f call.ListFilter) string {
		t.Helper()
		f.AccountSID = account
		f.Scope = []string{"SD1", call.ForCalls, "CL"}
		page, more, err := s.Mappings().List(ctx, f)
		must(t, err)
		text := ""
		for _, m := range page {
			text += m.SID + " "
		}
		return fmt.Sprint(text, more)
	}
	first := m.PageToken()
	first.SID, first.Time = "CL2", morning.Add(time.Minute).UnixMicro()
	for want, f := range map[string]call.ListFilter{
		"CL2 CL1 false": {}, "CL2 true": {Limit: 1}, "CL1 false": {Limit: 1, Offset: 1}, "CL1  false": {Limit: 1, Cursor: first},
	} {
		if want == "CL1  false" {
			want = "CL1 false"
		}
		if got := list(f); got != want {
			t.Errorf("%+v: %s, want %s", f, got, want)
		}
	}

	missing := func(sid string) error { return &call.MissingError{SID: sid} }
	for name, test := range map[string]struct{ err, want error }{
		"of another account":           {second(s.DomainRecords().Get(ctx, other, "SD1")), call.ErrNotFound},
		"in another scope":             {second(s.Credentials().Get(ctx, account, "CR1", "CL2")), call.ErrNotFound},
		"a taken domain":               {s.DomainRecords().Create(ctx, &call.Domain{Record: rec("SD2", 0), Name: "shop.sip.example"}), call.ErrConflict},
		"a domain of another's trunk":  {s.DomainRecords().Create(ctx, &call.Domain{Record: call.Record{SID: "SD2", AccountSID: other}, Name: "x", TrunkSID: "TK1"}), missing("BY1")},
		"a domain of an elastic trunk": {s.DomainRecords().Create(ctx, &call.Domain{Record: rec("SD2", 0), Name: "x", TrunkSID: "TK2"}), missing("BY2")},
		"a taken user name":            {s.Credentials().Create(ctx, &call.Credential{Record: rec("CR9", 0), ListSID: "CL1", Username: "ann"}), call.ErrConflict},
		"a credential of no list":      {s.Credentials().Create(ctx, &call.Credential{Record: rec("CR9", 0), ListSID: "CL9", Username: "ann"}), missing("CL9")},
		"a mapping that is there":      {s.Mappings().Create(ctx, &call.Mapping{Record: rec("CL1", 9), OwnerSID: "SD1", Purpose: call.ForCalls}), call.ErrConflict},
		"a mapping to no list":         {s.Mappings().Create(ctx, &call.Mapping{Record: rec("CL9", 9), OwnerSID: "SD1", Purpose: call.ForCalls}), missing("CL9")},
		"a mapping of no trunk":        {s.Mappings().Create(ctx, &call.Mapping{Record: rec("CL1", 9), OwnerSID: "TK9", Purpose: call.ForCalls}), missing("TK9")},
		"a second domain of an IP":     {s.SourceMappings().Create(ctx, &call.SourceMapping{Record: rec("IB2", 0), IPRecordSID: "IP2", DomainSID: "SD1"}), call.ErrConflict},
		"a list's address as a record": {s.SourceMappings().Create(ctx, &call.SourceMapping{Record: rec("IB2", 0), IPRecordSID: "IP0", DomainSID: "SD1"}), missing("IP0")},
		"a trunk of no policy":         {s.TrunkRecords().Create(ctx, &call.Trunk{SID: "TK9", AccountSID: account, PolicySID: "NY9"}), missing("NY9")},
		"a target of no policy":        {s.Targets().Create(ctx, &call.Target{Record: rec("NE9", 0), OwnerSID: "NY9"}), missing("NY9")},
		"update of none":               {s.Lists().Update(ctx, &call.List{Record: rec("CL9", 0)}), call.ErrNotFound},
		"delete of a mapped list":      {s.Lists().Delete(ctx, account, "CL1", "CL"), call.ErrInUse},
		"delete of another's list":     {s.Lists().Delete(ctx, other, "CL1", "CL"), call.ErrNotFound},
		"delete of a policy in use":    {s.Policies().Delete(ctx, account, "NY1"), call.ErrInUse},
		"delete of a domain in use":    {s.DomainRecords().Delete(ctx, account, "SD1"), call.ErrInUse},
		"delete of a trunk in use":     {s.TrunkRecords().Delete(ctx, account, "TK1", call.Carrier), call.ErrInUse},
		"delete of an IP in use":       {s.Addresses().Delete(ctx, account, "IP2", ""), call.ErrInUse},
	} {
		if !errors.Is(test.err, test.want) && !cmp.Equal(test.err, test.want) {
			t.Errorf("%s: %v, want %v", name, test.err, test.want)
		}
	}
	d, err := s.DomainRecords().Get(ctx, account, "SD1")
	must(t, err)
	two := *d
	two.SID, two.Name, two.TrunkSID = "SD2", "two.sip.example", ""
	must(t, s.DomainRecords().Create(ctx, &two))
	two.Name = "shop.sip.example"
	if err := s.DomainRecords().Update(ctx, &two); !errors.Is(err, call.ErrConflict) {
		t.Errorf("a taken name by update: %v, want a conflict", err)
	}

	// What belongs to something goes with it, numbers leave a trunk.
	n := &call.Number{SID: "PN1", AccountSID: account, PhoneNumber: "+14155550100", TrunkSID: "TK2", DateCreated: morning}
	must(t, s.CreateNumber(ctx, n))
	if page, _, err := s.ListNumbers(ctx, call.NumberFilter{AccountSID: account, TrunkSID: "TK2"}); err != nil || len(page) != 1 {
		t.Errorf("numbers of the trunk: %v %v", page, err)
	}
	must(t, second(s.NumberByPhone(ctx, n.PhoneNumber)))
	wrong := *n
	wrong.SID, wrong.PhoneNumber, wrong.TrunkSID = "PN2", "+14155550101", "TK1"
	if err := s.CreateNumber(ctx, &wrong); !cmp.Equal(err, missing("TK1")) {
		t.Errorf("a number on a carrier: %v", err)
	}
	must(t, s.TrunkRecords().Delete(ctx, account, "TK2", call.Elastic))
	if n, err := s.NumberByPhone(ctx, n.PhoneNumber); err != nil || n.TrunkSID != "" {
		t.Errorf("number of a deleted trunk: %v %v", n, err)
	}
	must(t, s.SourceMappings().Delete(ctx, account, "IB1"))
	must(t, s.DomainRecords().Delete(ctx, account, "SD1"))
	must(t, s.Lists().Delete(ctx, account, "CL1", "CL"))
	must(t, s.TrunkRecords().Delete(ctx, account, "TK1", call.Carrier))
	must(t, s.Policies().Delete(ctx, account, "NY1"))
	for name, err := range map[string]error{
		"credential": second(s.Credentials().Get(ctx, account, "CR1")), "mapping": second(s.Mappings().Get(ctx, account, "CL1")),
		"target of a policy": second(s.Targets().Get(ctx, account, "NE0")), "target of a trunk": second(s.Targets().Get(ctx, account, "OU1")),
	} {
		if !errors.Is(err, call.ErrNotFound) {
			t.Errorf("%s of what was deleted: %v", name, err)
		}
	}
}

func testLimits(t *testing.T, b backend) {
	s := open(t, b.address(t))
	ctx := t.Context()
	must(t, s.Lists().Create(ctx, &call.List{Record: rec("AL1", 0)}))
	fill(t, 100, func(ctx context.Context, i int) error {
		return s.DomainRecords().Create(ctx, &call.Domain{Record: rec(fmt.Sprint("SD", i), i), Name: fmt.Sprint(i, ".example")})
	})
	fill(t, 100, func(ctx context.Context, i int) error {
		return s.Lists().Create(ctx, &call.List{Record: rec(fmt.Sprint("CL", i), i)})
	})
	fill(t, 100, func(ctx context.Context, i int) error {
		return s.Addresses().Create(ctx, &call.Address{Record: rec(fmt.Sprint("IP", i), i), ListSID: "AL1", IP: "192.0.2.1", Bits: 32})
	})
	fill(t, 1000, func(ctx context.Context, i int) error {
		return s.Credentials().Create(ctx, &call.Credential{Record: rec(fmt.Sprint("CR", i), i), ListSID: "CL0", Username: fmt.Sprint(i)})
	})
	must(t, s.DomainRecords().Create(ctx, &call.Domain{Record: call.Record{SID: "SDX", AccountSID: other}, Name: "other.example"}))
	must(t, s.Credentials().Create(ctx, &call.Credential{Record: rec("CRX", 0), ListSID: "CL1", Username: "x"}))
}

// fill creates as many as there may be, and one more.
func fill(t *testing.T, limit int, create func(ctx context.Context, i int) error) {
	t.Helper()
	const atOnce = 50 // one commit for many
	for i := 0; i < limit; i += atOnce {
		errs := make(chan error, atOnce)
		for j := range atOnce {
			go func() { errs <- create(t.Context(), i+j) }()
		}
		for range atOnce {
			must(t, <-errs)
		}
	}
	if err := create(t.Context(), limit); !errors.Is(err, call.ErrFull) {
		t.Errorf("one more than %d: %v, want full", limit, err)
	}
}
