package twilioapi

import (
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// Routing is where SIP domains, trunks and what belongs to them are kept. Scopes: a list's is the prefix of its
// SID, a credential's, an address's and a target's what it belongs to (an IP record's is ""), a mapping's its
// owner, its purpose and the prefix of its SID, a trunk's its kind.
type Routing struct {
	Domains        Records[*call.Domain]
	Lists          Records[*call.List]
	Credentials    Records[*call.Credential]
	Addresses      Records[*call.Address]
	Mappings       Records[*call.Mapping]
	Trunks         Records[*call.Trunk]
	Targets        Records[*call.Target]
	Policies       Records[*call.Policy]
	SourceMappings Records[*call.SourceMapping]
	Applications   Records[*call.Application]
}

const (
	domainsPath     = "/SIP/Domains"
	credentialsPath = "/SIP/CredentialLists"
	addressesPath   = "/SIP/IpAccessControlLists"
)

// voiceParams are the parameters of a Voice; status names those of the status callback.
func voiceParams[T any](status string, of func(T) *call.Voice) []param[T] {
	return []param[T]{
		into("VoiceUrl", func(v T) *string { return &of(v).URL }),
		into("VoiceMethod", func(v T) *string { return &of(v).Method }),
		into("VoiceFallbackUrl", func(v T) *string { return &of(v).FallbackURL }),
		into("VoiceFallbackMethod", func(v T) *string { return &of(v).FallbackMethod }),
		into(status+"Url", func(v T) *string { return &of(v).StatusURL }),
		into(status+"Method", func(v T) *string { return &of(v).StatusMethod }),
	}
}

// byocParam takes the BY… of a trunk.
func byocParam[T any](name string, code int, field func(T) *string) param[T] {
	return param[T]{name: name, read: func(dst *T, value string) error {
		if value != "" && !twilio.IsSID(value, twilio.ByocPrefix) {
			return twilio.Errf(code, "%s is not a SID BY…: %s", name, clip(value))
		}
		*field(*dst) = call.TrunkSID(value)
		return nil
	}}
}

var domainForm = newForm(
	voiceParams("VoiceStatusCallback", func(d *call.Domain) *call.Voice { return &d.Voice }),
	[]param[*call.Domain]{
		into("DomainName", func(d *call.Domain) *string { return &d.Name }),
		into("FriendlyName", func(d *call.Domain) *string { return &d.FriendlyName }),
		truth("SipRegistration", func(d *call.Domain) *bool { return &d.SIPRegistration }),
		notYet[*call.Domain]("EmergencyCallingEnabled", "false"),
		truth("Secure", func(d *call.Domain) *bool { return &d.Secure }),
		notYet[*call.Domain]("EmergencyCallerSid"),
		byocParam("ByocTrunkSid", 21231, func(d *call.Domain) *string { return &d.TrunkSID }),
	},
)

var (
	sipListForm = newForm([]param[*call.List]{into("FriendlyName", func(l *call.List) *string { return &l.FriendlyName })})

	passwordParam        = into("Password", func(c *call.Credential) *string { return &c.Password })
	credentialCreateForm = newForm([]param[*call.Credential]{
		into("Username", func(c *call.Credential) *string { return &c.Username }), passwordParam,
	})
	credentialUpdateForm = newForm([]param[*call.Credential]{passwordParam})

	addressForm = newForm(addressParams(21235))
	noMapping   form[*call.Mapping]
)

func addressParams(code int) []param[*call.Address] {
	return []param[*call.Address]{
		into("FriendlyName", func(a *call.Address) *string { return &a.FriendlyName }),
		into("IpAddress", func(a *call.Address) *string { return &a.IP }),
		whole("CidrPrefixLength", code, func(a *call.Address) *int { return &a.Bits }),
	}
}

// routeDomains adds the resources under SIP.
func (a *api) routeDomains() {
	routeResource(a, resource[*call.Domain]{
		path: domainsPath, key: "domains", prefix: twilio.DomainPrefix, records: a.Routing.Domains,
		fresh:  func(*request, []string) *call.Domain { return &call.Domain{} },
		create: domainForm, update: domainForm, check: (*call.Domain).Validate,
		codes: codes{full: 21230, taken: 21231}, write: (*enc).domain,
	})
	for _, l := range []struct {
		path, key, prefix, parts string
		codes                    codes
	}{
		{credentialsPath, "credential_lists", twilio.CredentialListPrefix, "Credentials", codes{full: 21239, used: 21241}},
		{addressesPath, "ip_access_control_lists", twilio.AccessListPrefix, "IpAddresses", codes{full: 21255, used: 21236}},
	} {
		kind := []string{l.prefix}
		routeResource(a, resource[*call.List]{
			path: l.path, key: l.key, prefix: l.prefix, records: a.Routing.Lists,
			scope:  func(*request) ([]string, error) { return kind, nil },
			fresh:  func(*request, []string) *call.List { return &call.List{} },
			create: sipListForm, update: sipListForm, check: (*call.List).Validate, codes: l.codes,
			write: func(e *enc, v *call.List, at string) { e.sipList(v, at, l.parts) },
		})
	}
	routeResource(a, resource[*call.Credential]{
		path: credentialsPath + "/{ListSid}/Credentials", key: "credentials", prefix: twilio.CredentialPrefix,
		records: a.Routing.Credentials, scope: a.inList(twilio.CredentialListPrefix),
		fresh:  func(_ *request, scope []string) *call.Credential { return &call.Credential{ListSID: scope[0]} },
		create: credentialCreateForm, update: credentialUpdateForm, check: (*call.Credential).Validate,
		codes: codes{full: 21242, taken: 21243}, write: (*enc).credential,
	})
	routeResource(a, resource[*call.Address]{
		path: addressesPath + "/{ListSid}/IpAddresses", key: "ip_addresses", prefix: twilio.AddressPrefix,
		records: a.Routing.Addresses, scope: a.inList(twilio.AccessListPrefix),
		fresh:  func(_ *request, scope []string) *call.Address { return &call.Address{ListSID: scope[0]} },
		create: addressForm, update: addressForm, check: (*call.Address).Validate,
		codes: codes{full: 21237}, write: (*enc).address,
	})
	const auth = domainsPath + "/{DomainSid}/Auth"
	for _, m := range []struct{ path, key, prefix, purpose string }{
		// The paths without Auth are older names of Auth/Calls: the mappings are the same.
		{domainsPath + "/{DomainSid}/CredentialListMappings", "credential_list_mappings", twilio.CredentialListPrefix, call.ForCalls},
		{domainsPath + "/{DomainSid}/IpAccessControlListMappings", "ip_access_control_list_mappings", twilio.AccessListPrefix, call.ForCalls},
		{auth + "/Calls/CredentialListMappings", "contents", twilio.CredentialListPrefix, call.ForCalls},
		{auth + "/Calls/IpAccessControlListMappings", "contents", twilio.AccessListPrefix, call.ForCalls},
		{auth + "/Registrations/CredentialListMappings", "contents", twilio.CredentialListPrefix, call.ForRegistrations},
	} {
		a.routeMapping(m.path, m.key, m.prefix, m.purpose, a.inDomain)
	}
}

// routeMapping adds the routes of the lists that an owner asks; owner finds it.
func (a *api) routeMapping(path, key, prefix, purpose string, owner func(q *request) (string, error)) {
	name, missing := "CredentialListSid", 21240
	if prefix == twilio.AccessListPrefix {
		name, missing = "IpAccessControlListSid", 21235
	}
	if path[0:len(v1)] == v1 {
		missing = 20001
	}
	routeResource(a, resource[*call.Mapping]{
		path: path, key: key, prefix: prefix, records: a.Routing.Mappings,
		scope: func(q *request) ([]string, error) {
			sid, err := owner(q)
			return []string{sid, purpose, prefix}, err
		},
		fresh: func(_ *request, scope []string) *call.Mapping {
			return &call.Mapping{OwnerSID: scope[0], Purpose: purpose}
		},
		create: newForm([]param[*call.Mapping]{into(name, func(m *call.Mapping) *string { return &m.SID })}),
		update: noMapping,
		sid:    func(m *call.Mapping) string { return m.SID },
		check: func(m *call.Mapping) error {
			if err := mustHave(missing, name, m.SID); err != nil {
				return err
			}
			if !twilio.IsSID(m.SID, prefix) {
				return twilio.Errf(missing, "%s is not a SID %s…: %s", name, prefix, clip(m.SID))
			}
			return nil
		},
		write: func(e *enc, v *call.Mapping, at string) { e.mapping(v, at, key) },
	})
}

// inList finds the list that the path names.
func (a *api) inList(prefix string) func(q *request) ([]string, error) {
	return func(q *request) ([]string, error) {
		sid, err := q.sid("ListSid", prefix)
		if err == nil {
			_, err = a.Routing.Lists.Get(q.r.Context(), q.account.SID, sid, prefix)
		}
		return []string{sid}, err
	}
}

// inDomain finds the domain that the path names.
func (a *api) inDomain(q *request) (string, error) {
	sid, err := q.sid("DomainSid", twilio.DomainPrefix)
	if err == nil {
		_, err = a.Routing.Domains.Get(q.r.Context(), q.account.SID, sid)
	}
	return sid, err
}

// recordHead writes what all resources begin with.
func (e *enc) recordHead(r call.Record) {
	e.str("sid", r.SID)
	e.str("account_sid", r.AccountSID)
	e.time("date_created", r.DateCreated)
	e.time("date_updated", r.DateUpdated)
}

func (e *enc) domain(d *call.Domain, at string) {
	e.object("domain", func() {
		e.recordHead(d.Record)
		e.str("domain_name", d.Name)
		e.opt("friendly_name", d.FriendlyName)
		e.str("auth_type", d.AuthType())
		e.voice(&d.Voice, "voice_status_callback")
		e.bool("sip_registration", d.SIPRegistration)
		e.bool("emergency_calling_enabled", d.EmergencyCalling)
		e.opt("emergency_caller_sid", d.EmergencyCallerSID)
		e.bool("secure", d.Secure)
		e.opt("byoc_trunk_sid", call.ByocSID(d.TrunkSID))
		e.str("api_version", apiVersion)
		e.self(at, "/", d.SID)
		e.child("subresource_uris", func() {
			e.link("credential_list_mappings", at, "/", d.SID, "/CredentialListMappings")
			e.link("ip_access_control_list_mappings", at, "/", d.SID, "/IpAccessControlListMappings")
		})
	})
}

// voice writes a Voice; status begins the names of the status callback's fields.
func (e *enc) voice(v *call.Voice, status string) {
	e.opt("voice_url", v.URL)
	e.str("voice_method", v.Method)
	e.opt("voice_fallback_url", v.FallbackURL)
	e.str("voice_fallback_method", v.FallbackMethod)
	e.opt(status+"_url", v.StatusURL)
	e.str(status+"_method", v.StatusMethod)
}

// sipList writes a list whose entries are under parts.
func (e *enc) sipList(l *call.List, at, parts string) {
	name, entries := "credential_list", "credentials"
	if l.Kind() == twilio.AccessListPrefix {
		name, entries = "ip_access_control_list", "ip_addresses"
	}
	e.object(name, func() {
		e.recordHead(l.Record)
		e.str("friendly_name", l.FriendlyName)
		e.child("subresource_uris", func() { e.link(entries, at, "/", l.SID, "/", parts) })
		e.self(at, "/", l.SID)
	})
}

func (e *enc) credential(c *call.Credential, at string) {
	e.object("credential", func() {
		e.recordHead(c.Record)
		e.str("credential_list_sid", c.ListSID)
		e.str("username", c.Username)
		e.self(at, "/", c.SID)
	})
}

func (e *enc) address(a *call.Address, at string) {
	e.object("ip_address", func() {
		e.recordHead(a.Record)
		e.str("friendly_name", a.FriendlyName)
		e.str("ip_access_control_list_sid", a.ListSID)
		e.str("ip_address", a.IP)
		e.number("cidr_prefix_length", int64(a.Bits))
		e.self(at, "/", a.SID)
	})
}

// mapping writes a list as its owner's; key is the name of the collection's array.
func (e *enc) mapping(m *call.Mapping, at, key string) {
	name := "mapping"
	if key != "contents" {
		name = key[:len(key)-1]
	}
	e.object(name, func() {
		e.recordHead(m.Record)
		e.str("friendly_name", m.FriendlyName)
		switch {
		case m.OwnerSID[:2] == twilio.TrunkPrefix:
			e.str("trunk_sid", m.OwnerSID)
		case key != "contents":
			e.str("domain_sid", m.OwnerSID)
		default: // the paths under Auth show neither
			return
		}
		e.self(at, "/", m.SID)
	})
}
