package call

import (
	"slices"
	"strings"
)

// Route is where a call of t to number goes, in the order to be tried: by priority, and of one priority by a throw
// of dice that the weights load (RFC 2782). dice(n) is from 0 to n-1. It is empty when no target is enabled.
func (t *Trunk) Route(number string, dice func(n int) int) (uris []string) {
	left := slices.DeleteFunc(slices.Clone(t.Targets), func(v Target) bool { return !v.Enabled })
	SortTargets(left)
	for _, v := range Draw(left, func(v Target) (int, int) { return v.Priority, v.Weight }, dice) {
		uris = append(uris, v.For(number))
	}
	return uris
}

// Draw is list, which is sorted by priority, in the order to be tried: among those of one priority the dice
// decide, loaded by the weights (RFC 2782). dice(n) is from 0 to n-1. list is used up.
func Draw[T any](list []T, of func(T) (priority, weight int), dice func(n int) int) (drawn []T) {
	weight := func(v T) int { _, w := of(v); return max(w, 1) }
	for len(list) > 0 {
		first, _ := of(list[0])
		same, total, pick := 0, 0, 0
		for ; same < len(list); same++ {
			if priority, _ := of(list[same]); priority != first {
				break
			}
			total += weight(list[same])
		}
		for n := dice(total); n >= weight(list[pick]); pick++ {
			n -= weight(list[pick])
		}
		drawn = append(drawn, list[pick])
		list = slices.Delete(list, pick, pick+1)
	}
	return drawn
}

// For is the address of a number at the target.
func (t *Target) For(number string) string {
	hostport, params, _ := strings.Cut(t.hostParams(), ";")
	uri := "sip:" + number + "@" + hostport + ";user=phone"
	if params != "" {
		uri += ";" + params
	}
	return uri
}

// hostParams is the URI without its scheme and user part.
func (t *Target) hostParams() string {
	rest := t.URI[len("sip:"):]
	if _, after, ok := cutLast(rest, "@"); ok {
		return after
	}
	return rest
}

// HostPort is the host of the target with its port, if it names one.
func (t *Target) HostPort() string {
	hostport, _, _ := strings.Cut(t.hostParams(), ";")
	return hostport
}

// Hosts are the hosts, some with a port, that a carrier's calls may come from: those that calls to it go to, and
// where we are registered. A PBX calls by the name of its trunk.
func (t *Trunk) Hosts() (hosts []string) {
	if t.Kind == Elastic {
		return nil
	}
	add := func(h string) {
		if h != "" && !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	add(t.Host)
	if t.Register != nil {
		add(t.Register.Registrar)
	}
	for i := range t.Targets {
		add(t.Targets[i].HostPort())
	}
	return hosts
}

// Entrance is what calls of an elastic trunk's PBX are for: its name as that of a SIP domain with the trunk's SID,
// which asks what the trunk asks; no phone registers there. ok is false when the trunk has no name.
func (t *Trunk) Entrance() (d Domain, ok bool) {
	return Domain{
		Record: t.Head(), Name: t.DomainName, Secure: t.Secure,
		ByAddress: t.ByAddress, ByCredentials: t.ByCredentials, Sources: t.Sources, Callers: t.Credentials,
	}, t.Kind == Elastic && t.DomainName != ""
}

// Login is whom t registers as, with the password, and the user part of its contact.
func (t *Trunk) Login() (username, password, contact string) {
	r := t.Register
	username, password, contact = r.Username, r.Password, r.Contact
	if username == "" {
		username, password = t.Username, t.Password
	}
	if contact == "" {
		contact = username
	}
	return username, password, contact
}
