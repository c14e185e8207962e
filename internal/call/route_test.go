package call

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRoute(t *testing.T) {
	target := func(uri string, priority, weight int, enabled bool) Target {
		return Target{URI: uri, Priority: priority, Weight: weight, Enabled: enabled}
	}
	trunk := Trunk{Targets: []Target{
		target("sip:last.example", 20, 1, true), target("sip:off.example", 1, 1, false),
		target("sip:heavy.example:5070;transport=tcp", 10, 90, true), target("sip:gw@light.example", 10, 10, true),
	}}
	got := trunk.Route("+15551234567", func(int) int { return 0 })
	want := []string{
		"sip:+15551234567@heavy.example:5070;user=phone;transport=tcp", "sip:+15551234567@light.example;user=phone",
		"sip:+15551234567@last.example;user=phone",
	}
	if !slices.Equal(got, want) {
		t.Errorf("route %q", got)
	}
	heavy := 0
	dice := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		r := trunk.Route("+1", dice.IntN)
		if len(r) != 3 || r[2] != "sip:+1@last.example;user=phone" {
			t.Fatalf("route %q", r)
		}
		if r[0] == "sip:+1@heavy.example:5070;user=phone;transport=tcp" {
			heavy++
		}
	}
	if heavy < 8800 || heavy > 9200 {
		t.Errorf("the one with 90 of 100 was first %d of 10000 times", heavy)
	}
	if r := (&Trunk{}).Route("+1", dice.IntN); len(r) != 0 {
		t.Errorf("route %q of no target", r)
	}
}

func TestHostsOfATrunk(t *testing.T) {
	trunk := Trunk{
		Host: "a.example", Register: &Register{Registrar: "reg.example:5070"},
		Targets: []Target{NewTarget("sip:a.example"), NewTarget("sip:x@[2001:db8::1]:5070;transport=udp")},
	}
	if got := trunk.Hosts(); !slices.Equal(got, []string{"a.example", "reg.example:5070", "[2001:db8::1]:5070"}) {
		t.Errorf("hosts %q", got)
	}
	trunk.Kind = Elastic
	if got := trunk.Hosts(); got != nil {
		t.Errorf("hosts %q of a PBX", got)
	}
}
