package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// Limits per account (related-resources, SIP domains); those of kinds for which Twilio names none are our own.
const (
	maxDomains     = 100
	maxLists       = 100 // of credentials
	maxAccessLists = 1000
	maxCredentials = 1000 // in one list
	maxAddresses   = 100  // in one list
	maxMappings    = 100  // of one owner and purpose
	maxTrunks      = 1000
	maxTargets     = 100 // of one owner
	maxPolicies    = 1000
	maxIPRecords   = 1000
)

// mapped is whether an owner has lists of a kind to ask for calls.
const mapped = ", (SELECT COUNT(*) FROM sip_mappings m WHERE m.owner_sid = %[1]s.sid AND m.purpose = 'calls' AND m.kind = 'AL')" +
	", (SELECT COUNT(*) FROM sip_mappings m WHERE m.owner_sid = %[1]s.sid AND m.purpose = 'calls' AND m.kind = 'CL')"

const voiceColumns = "voice_url, voice_method, fallback_url, fallback_method, status_url, status_method"

func voiceValues(v *call.Voice) []any {
	return []any{v.URL, v.Method, v.FallbackURL, v.FallbackMethod, v.StatusURL, v.StatusMethod}
}

func voiceDest(v *call.Voice) []any {
	return []any{&v.URL, &v.Method, &v.FallbackURL, &v.FallbackMethod, &v.StatusURL, &v.StatusMethod}
}

var domainKind = newKind(kind[*call.Domain]{
	table: "sip_domains",
	columns: "name, friendly_name, " + voiceColumns +
		", sip_registration, secure, emergency_calling, emergency_caller_sid, trunk_sid",
	derived: fmt.Sprintf(mapped, "sip_domains"),
	empty:   func() *call.Domain { return &call.Domain{} },
	values: func(d *call.Domain) []any {
		return append(append([]any{d.Name, d.FriendlyName}, voiceValues(&d.Voice)...),
			bit(d.SIPRegistration), bit(d.Secure), bit(d.EmergencyCalling), d.EmergencyCallerSID, d.TrunkSID)
	},
	dest: func(d *call.Domain) []any {
		return append(append([]any{&d.Name, &d.FriendlyName}, voiceDest(&d.Voice)...),
			asBool{&d.SIPRegistration}, asBool{&d.Secure}, asBool{&d.EmergencyCalling}, &d.EmergencyCallerSID, &d.TrunkSID,
			asBool{&d.ByAddress}, asBool{&d.ByCredentials})
	},
	limit: func(*call.Domain) int { return maxDomains },
	check: func(b *batch, d *call.Domain) error {
		if taken, err := b.any("SELECT sid FROM trunks WHERE domain_name = ?", d.Name); err != nil || taken {
			return orConflict(err, d.Name)
		}
		if err := b.has("trunks", d.TrunkSID, d.AccountSID, "kind = ?", call.Carrier); err != nil {
			return byoc(err)
		}
		return b.has("numbers", d.EmergencyCallerSID, d.AccountSID, "")
	},
	uses: []string{
		"SELECT sid FROM source_ip_mappings WHERE domain_sid = ?",
		"SELECT sid FROM trunks WHERE from_domain_sid = ?",
	},
	parts: []string{
		"DELETE FROM sip_mappings WHERE owner_sid = ?",
		"DELETE FROM sip_bindings WHERE domain_sid = ?",
	},
})

func orConflict(err error, name string) error {
	if err == nil {
		err = fmt.Errorf("store: %s: %w: it is taken", name, call.ErrConflict)
	}
	return err
}

// byoc names a missing trunk as the account knows it.
func byoc(err error) error {
	if missing, ok := err.(*call.MissingError); ok { //nolint:errorlint // it is has's own
		return &call.MissingError{SID: call.ByocSID(missing.SID)}
	}
	return err
}

var listKind = newKind(kind[*call.List]{
	table: "sip_lists", scope: []string{"kind"}, columns: "friendly_name",
	empty:  func() *call.List { return &call.List{} },
	values: func(l *call.List) []any { return []any{l.Kind(), l.FriendlyName} },
	dest:   func(l *call.List) []any { return []any{new(string), &l.FriendlyName} },
	limit: func(l *call.List) int {
		if l.Kind() == twilio.AccessListPrefix {
			return maxAccessLists
		}
		return maxLists
	},
	uses: []string{"SELECT sid FROM sip_mappings WHERE sid = ?"},
	parts: []string{
		"DELETE FROM sip_credentials WHERE list_sid = ?",
		"DELETE FROM sip_addresses WHERE list_sid = ?",
	},
})

var credentialKind = newKind(kind[*call.Credential]{
	table: "sip_credentials", scope: []string{"list_sid"}, columns: "username, password",
	empty:  func() *call.Credential { return &call.Credential{} },
	values: func(c *call.Credential) []any { return []any{c.ListSID, c.Username, c.Password} },
	dest:   func(c *call.Credential) []any { return []any{&c.ListSID, &c.Username, &c.Password} },
	limit:  func(*call.Credential) int { return maxCredentials },
	check: func(b *batch, c *call.Credential) error {
		return b.has("sip_lists", c.ListSID, c.AccountSID, "kind = ?", twilio.CredentialListPrefix)
	},
})

var addressKind = newKind(kind[*call.Address]{
	table: "sip_addresses", scope: []string{"list_sid"}, columns: "friendly_name, ip, bits",
	empty:  func() *call.Address { return &call.Address{} },
	values: func(a *call.Address) []any { return []any{a.ListSID, a.FriendlyName, a.IP, int64(a.Bits)} },
	dest:   func(a *call.Address) []any { return []any{&a.ListSID, &a.FriendlyName, &a.IP, &a.Bits} },
	limit: func(a *call.Address) int {
		if a.ListSID == "" {
			return maxIPRecords
		}
		return maxAddresses
	},
	check: func(b *batch, a *call.Address) error {
		return b.has("sip_lists", a.ListSID, a.AccountSID, "kind = ?", twilio.AccessListPrefix)
	},
	uses: []string{"SELECT sid FROM source_ip_mappings WHERE ip_record_sid = ?"},
})

var mappingKind = newKind(kind[*call.Mapping]{
	table: "sip_mappings", scope: []string{"owner_sid", "purpose", "kind"},
	derived: ", COALESCE((SELECT l.friendly_name FROM sip_lists l WHERE l.sid = sip_mappings.sid), '')",
	empty:   func() *call.Mapping { return &call.Mapping{} },
	values:  func(m *call.Mapping) []any { return []any{m.OwnerSID, m.Purpose, m.SID[:2]} },
	dest: func(m *call.Mapping) []any {
		return []any{&m.OwnerSID, &m.Purpose, new(string), &m.FriendlyName}
	},
	limit: func(*call.Mapping) int { return maxMappings },
	check: func(b *batch, m *call.Mapping) error {
		owners := "sip_domains"
		if m.OwnerSID[:2] == twilio.TrunkPrefix {
			owners = "trunks"
		}
		if err := b.has(owners, m.OwnerSID, m.AccountSID, ""); err != nil {
			return err
		}
		return b.has("sip_lists", m.SID, m.AccountSID, "")
	},
})

var trunkKind = newKind(kind[*call.Trunk]{
	table: "trunks", scope: []string{"kind"},
	columns: "name, friendly_name, host, transport, username, password, sources, prefixes, cps, max_calls, secure, " +
		"register, ping, " + voiceColumns + ", cnam_lookup, policy_sid, from_domain_sid, domain_name, recovery_url, " +
		"recovery_method, transfer_mode, transfer_caller_id, record_mode, record_trim",
	derived: fmt.Sprintf(mapped, "trunks"),
	empty:   func() *call.Trunk { return &call.Trunk{} },
	values: func(t *call.Trunk) []any {
		kind := t.Kind
		if kind == "" {
			kind = call.Carrier
		}
		values := []any{
			kind, t.Name, t.FriendlyName, t.Host, t.Transport, t.Username, t.Password,
			jsonText(t.Sources, len(t.Sources) == 0), jsonText(t.Prefixes, len(t.Prefixes) == 0), t.CPS, int64(t.MaxCalls),
			bit(t.Secure), jsonText(t.Register, t.Register == nil), t.Ping.Microseconds(),
		}
		return append(append(values, voiceValues(&t.Voice)...),
			bit(t.CNAMLookup), t.PolicySID, t.FromDomainSID, t.DomainName, t.RecoveryURL,
			t.RecoveryMethod, t.TransferMode, t.TransferCallerID, t.RecordMode, t.RecordTrim)
	},
	dest: func(t *call.Trunk) []any {
		dest := []any{
			&t.Kind, &t.Name, &t.FriendlyName, &t.Host, &t.Transport, &t.Username, &t.Password,
			asJSON{&t.Sources}, asJSON{&t.Prefixes}, &t.CPS, &t.MaxCalls,
			asBool{&t.Secure}, asJSON{&t.Register}, asMicros{&t.Ping},
		}
		return append(append(dest, voiceDest(&t.Voice)...),
			asBool{&t.CNAMLookup}, &t.PolicySID, &t.FromDomainSID, &t.DomainName, &t.RecoveryURL,
			&t.RecoveryMethod, &t.TransferMode, &t.TransferCallerID, &t.RecordMode, &t.RecordTrim,
			asBool{&t.ByAddress}, asBool{&t.ByCredentials})
	},
	limit: func(*call.Trunk) int { return maxTrunks },
	check: func(b *batch, t *call.Trunk) error {
		if t.DomainName != "" {
			if taken, err := b.any("SELECT sid FROM sip_domains WHERE name = ?", t.DomainName); err != nil || taken {
				return orConflict(err, t.DomainName)
			}
		}
		if err := b.has("connection_policies", t.PolicySID, t.AccountSID, ""); err != nil {
			return err
		}
		return b.has("sip_domains", t.FromDomainSID, t.AccountSID, "")
	},
	uses: []string{"SELECT sid FROM sip_domains WHERE trunk_sid = ?"},
	parts: []string{
		"DELETE FROM targets WHERE owner_sid = ?",
		"DELETE FROM sip_mappings WHERE owner_sid = ?",
		"UPDATE numbers SET trunk_sid = '' WHERE trunk_sid = ?",
	},
	after: func(b *batch, t *call.Trunk) error {
		for i := range t.Targets {
			v := &t.Targets[i]
			args := append([]any{v.SID, v.AccountSID, micros(v.DateCreated), micros(v.DateUpdated)}, targetKind.values(v)...)
			if _, err := b.exec(targetKind.insert, args...); err != nil {
				return err
			}
		}
		return nil
	},
})

var targetKind = newKind(kind[*call.Target]{
	table: "targets", scope: []string{"owner_sid"}, columns: "friendly_name, uri, priority, weight, enabled",
	empty: func() *call.Target { return &call.Target{} },
	values: func(t *call.Target) []any {
		return []any{t.OwnerSID, t.FriendlyName, t.URI, int64(t.Priority), int64(t.Weight), bit(t.Enabled)}
	},
	dest: func(t *call.Target) []any {
		return []any{&t.OwnerSID, &t.FriendlyName, &t.URI, &t.Priority, &t.Weight, asBool{&t.Enabled}}
	},
	limit: func(*call.Target) int { return maxTargets },
	check: func(b *batch, t *call.Target) error {
		owners := "trunks"
		if t.OwnerSID[:2] == twilio.PolicyPrefix {
			owners = "connection_policies"
		}
		return b.has(owners, t.OwnerSID, t.AccountSID, "")
	},
})

var policyKind = newKind(kind[*call.Policy]{
	table: "connection_policies", columns: "friendly_name",
	empty:  func() *call.Policy { return &call.Policy{} },
	values: func(p *call.Policy) []any { return []any{p.FriendlyName} },
	dest:   func(p *call.Policy) []any { return []any{&p.FriendlyName} },
	limit:  func(*call.Policy) int { return maxPolicies },
	uses:   []string{"SELECT sid FROM trunks WHERE policy_sid = ?"},
	parts:  []string{"DELETE FROM targets WHERE owner_sid = ?"},
})

var sourceMappingKind = newKind(kind[*call.SourceMapping]{
	table: "source_ip_mappings", columns: "ip_record_sid, domain_sid",
	empty:  func() *call.SourceMapping { return &call.SourceMapping{} },
	values: func(m *call.SourceMapping) []any { return []any{m.IPRecordSID, m.DomainSID} },
	dest:   func(m *call.SourceMapping) []any { return []any{&m.IPRecordSID, &m.DomainSID} },
	limit:  func(*call.SourceMapping) int { return maxIPRecords },
	check: func(b *batch, m *call.SourceMapping) error {
		if err := b.has("sip_addresses", m.IPRecordSID, m.AccountSID, "list_sid = ''"); err != nil {
			return err
		}
		return b.has("sip_domains", m.DomainSID, m.AccountSID, "")
	},
})

// DomainRecords are the SIP domains.
func (s *Store) DomainRecords() Records[*call.Domain] { return Records[*call.Domain]{s, domainKind} }

// Lists are the credential and IP access control lists; their scope is the prefix of their SIDs.
func (s *Store) Lists() Records[*call.List] { return Records[*call.List]{s, listKind} }

// Credentials are those of lists; their scope is the list.
func (s *Store) Credentials() Records[*call.Credential] {
	return Records[*call.Credential]{s, credentialKind}
}

// Addresses are those of lists, which are their scope, and the IP records, whose scope is "".
func (s *Store) Addresses() Records[*call.Address] { return Records[*call.Address]{s, addressKind} }

// Mappings are the lists that domains and trunks ask; their scope is the owner, the purpose and the prefix of
// the list's SID.
func (s *Store) Mappings() Records[*call.Mapping] { return Records[*call.Mapping]{s, mappingKind} }

// TrunkRecords are the trunks; their scope is their kind.
func (s *Store) TrunkRecords() Records[*call.Trunk] { return Records[*call.Trunk]{s, trunkKind} }

// Targets are those of trunks and of connection policies, which are their scope.
func (s *Store) Targets() Records[*call.Target] { return Records[*call.Target]{s, targetKind} }

// Policies are the connection policies.
func (s *Store) Policies() Records[*call.Policy] { return Records[*call.Policy]{s, policyKind} }

// SourceMappings say which domain the calls from an IP record are for.
func (s *Store) SourceMappings() Records[*call.SourceMapping] {
	return Records[*call.SourceMapping]{s, sourceMappingKind}
}

// CreateTrunk inserts a trunk with its targets; call.ErrConflict when its name is taken.
func (s *Store) CreateTrunk(ctx context.Context, t *call.Trunk) error {
	return s.TrunkRecords().Create(ctx, t)
}

// DeleteTrunk removes a trunk of an account; call.ErrInUse when a domain takes its voice URLs.
func (s *Store) DeleteTrunk(ctx context.Context, accountSID, sid string) error {
	return s.TrunkRecords().Delete(ctx, accountSID, sid)
}

// Trunks lists all trunks of all accounts, oldest first, with everything that is in force for them.
func (s *Store) Trunks(ctx context.Context) ([]call.Trunk, error) {
	list, err := everything(ctx, s, trunkKind)
	if err != nil {
		return nil, err
	}
	targets := map[string][]call.Target{}
	err = s.query(ctx, func(r scanner) error {
		t, err := targetKind.scan(r)
		targets[t.OwnerSID] = append(targets[t.OwnerSID], *t)
		return err
	}, "SELECT "+targetKind.read+" FROM targets")
	if err != nil {
		return nil, err
	}
	lists, err := s.mappedLists(ctx)
	if err != nil {
		return nil, err
	}
	routes, err := s.sourceRoutes(ctx)
	if err != nil {
		return nil, err
	}
	names, carried := map[string]string{}, map[string][]netip.Prefix{}
	err = s.query(ctx, func(r scanner) error {
		var sid, name, trunk string
		err := r.Scan(&sid, &name, &trunk)
		names[sid] = name
		carried[trunk] = append(carried[trunk], routes[sid]...)
		return err
	}, "SELECT sid, name, trunk_sid FROM sip_domains")
	if err != nil {
		return nil, err
	}
	trunks := make([]call.Trunk, 0, len(list))
	for _, t := range list {
		l := lists[use{t.SID, call.ForCalls}]
		t.Sources = append(append(t.Sources, l.prefixes...), carried[t.SID]...)
		t.Credentials, t.FromHost = l.passwords, names[t.FromDomainSID]
		switch {
		case t.PolicySID != "":
			t.Targets = targets[t.PolicySID]
		case len(targets[t.SID]) > 0:
			t.Targets = targets[t.SID]
		case t.Host != "":
			t.Targets = []call.Target{t.HostTarget()}
		}
		call.SortTargets(t.Targets)
		trunks = append(trunks, *t)
	}
	return trunks, nil
}

// Domains lists all domains of all accounts, oldest first, with everything that is in force for them.
func (s *Store) Domains(ctx context.Context) ([]call.Domain, error) {
	list, err := everything(ctx, s, domainKind)
	if err != nil {
		return nil, err
	}
	lists, err := s.mappedLists(ctx)
	if err != nil {
		return nil, err
	}
	routes, err := s.sourceRoutes(ctx)
	if err != nil {
		return nil, err
	}
	domains := make([]call.Domain, 0, len(list))
	for _, d := range list {
		calls := lists[use{d.SID, call.ForCalls}]
		d.Sources, d.Callers = calls.prefixes, calls.passwords
		d.Registrants = lists[use{d.SID, call.ForRegistrations}].passwords
		d.SourceRoutes = routes[d.SID]
		domains = append(domains, *d)
	}
	return domains, nil
}

// everything reads all rows of a kind, oldest first.
func everything[T call.Resource](ctx context.Context, s *Store, k *kind[T]) (list []T, err error) {
	err = s.query(ctx, func(r scanner) error {
		v, err := k.scan(r)
		list = append(list, v)
		return err
	}, "SELECT "+k.read+" FROM "+k.table+" ORDER BY date_created, sid")
	return list, err
}

// use is who asks lists, and what for.
type use struct{ owner, purpose string }

// mappedTo is what is in those lists.
type mappedTo struct {
	prefixes  []netip.Prefix
	passwords map[string]string
}

// mappedLists are the contents of all mapped lists. A user name in two lists of one owner has the password
// of the list that was mapped first.
func (s *Store) mappedLists(ctx context.Context) (map[use]mappedTo, error) {
	all := map[use]mappedTo{}
	err := s.query(ctx, func(r scanner) error {
		var u use
		var a call.Address
		err := r.Scan(&u.owner, &u.purpose, &a.IP, &a.Bits)
		to := all[u]
		to.prefixes = append(to.prefixes, a.Prefix())
		all[u] = to
		return err
	}, "SELECT m.owner_sid, m.purpose, a.ip, a.bits FROM sip_mappings m JOIN sip_addresses a ON a.list_sid = m.sid "+
		"ORDER BY m.date_created, a.date_created, a.sid")
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, func(r scanner) error {
		var u use
		var name, password string
		err := r.Scan(&u.owner, &u.purpose, &name, &password)
		to := all[u]
		if to.passwords == nil {
			to.passwords = map[string]string{}
		}
		if _, known := to.passwords[name]; !known {
			to.passwords[name] = password
		}
		all[u] = to
		return err
	}, "SELECT m.owner_sid, m.purpose, c.username, c.password FROM sip_mappings m JOIN sip_credentials c ON c.list_sid = m.sid "+
		"ORDER BY m.date_created, m.sid")
	return all, err
}

// sourceRoutes are the addresses of the IP records that are mapped to domains, by domain.
func (s *Store) sourceRoutes(ctx context.Context) (map[string][]netip.Prefix, error) {
	routes := map[string][]netip.Prefix{}
	err := s.query(ctx, func(r scanner) error {
		var domain string
		var a call.Address
		err := r.Scan(&domain, &a.IP, &a.Bits)
		routes[domain] = append(routes[domain], a.Prefix())
		return err
	}, "SELECT m.domain_sid, a.ip, a.bits FROM source_ip_mappings m JOIN sip_addresses a ON a.sid = m.ip_record_sid "+
		"ORDER BY m.date_created, m.sid")
	return routes, err
}

// asMicros reads a duration.
type asMicros struct{ d *time.Duration }

// Scan is sql.Scanner's.
func (a asMicros) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("store: duration column holds a %T", src)
	}
	*a.d = time.Duration(n) * time.Microsecond
	return nil
}

// jsonText is v as JSON, "" for none; v is of a type that always encodes.
func jsonText(v any, none bool) string {
	text, err := toJSON(v, none)
	if err != nil {
		panic("store: " + err.Error())
	}
	return text
}
