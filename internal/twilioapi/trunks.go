package twilioapi

import (
	"context"
	"net/http"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

const (
	trunksPath   = v1 + "/Trunks"
	byocPath     = v1 + "/ByocTrunks"
	policiesPath = v1 + "/ConnectionPolicies"
)

var (
	elasticForm = newForm([]param[*call.Trunk]{
		into("FriendlyName", func(t *call.Trunk) *string { return &t.FriendlyName }),
		into("DomainName", func(t *call.Trunk) *string { return &t.DomainName }),
		into("DisasterRecoveryUrl", func(t *call.Trunk) *string { return &t.RecoveryURL }),
		into("DisasterRecoveryMethod", func(t *call.Trunk) *string { return &t.RecoveryMethod }),
		into("TransferMode", func(t *call.Trunk) *string { return &t.TransferMode }),
		into("TransferCallerId", func(t *call.Trunk) *string { return &t.TransferCallerID }),
		truth("Secure", func(t *call.Trunk) *bool { return &t.Secure }),
		truth("CnamLookupEnabled", func(t *call.Trunk) *bool { return &t.CNAMLookup }),
	})
	recordingForm = newForm([]param[*call.Trunk]{
		into("Mode", func(t *call.Trunk) *string { return &t.RecordMode }),
		into("Trim", func(t *call.Trunk) *string { return &t.RecordTrim }),
	})
	byocForm = newForm(
		voiceParams("StatusCallback", func(t *call.Trunk) *call.Voice { return &t.Voice }),
		[]param[*call.Trunk]{
			into("FriendlyName", func(t *call.Trunk) *string { return &t.FriendlyName }),
			notYet[*call.Trunk]("CnamLookupEnabled", "false"),
			into("ConnectionPolicySid", func(t *call.Trunk) *string { return &t.PolicySID }),
			into("FromDomainSid", func(t *call.Trunk) *string { return &t.FromDomainSID }),
		},
	)
	originationForm = newForm(targetParams("SipUrl"))
	targetForm      = newForm(targetParams("Target"))
	policyForm      = newForm([]param[*call.Policy]{
		into("FriendlyName", func(p *call.Policy) *string { return &p.FriendlyName }),
	})
	recordForm       = newForm(addressParams(20001))
	recordUpdateForm = newForm([]param[*call.Address]{
		into("FriendlyName", func(a *call.Address) *string { return &a.FriendlyName }),
	})
	sourceDomain      = into("SipDomainSid", func(m *call.SourceMapping) *string { return &m.DomainSID })
	sourceMappingForm = newForm([]param[*call.SourceMapping]{
		into("IpRecordSid", func(m *call.SourceMapping) *string { return &m.IPRecordSID }), sourceDomain,
	})
	sourceMappingUpdateForm = newForm([]param[*call.SourceMapping]{sourceDomain})
)

// targetParams are those of a target whose address is called uri.
func targetParams(uri string) []param[*call.Target] {
	return []param[*call.Target]{
		into(uri, func(t *call.Target) *string { return &t.URI }),
		into("FriendlyName", func(t *call.Target) *string { return &t.FriendlyName }),
		whole("Priority", 20001, func(t *call.Target) *int { return &t.Priority }),
		whole("Weight", 20001, func(t *call.Target) *int { return &t.Weight }),
		truth("Enabled", func(t *call.Target) *bool { return &t.Enabled }),
	}
}

// routeTrunks adds the resources under /v1.
func (a *api) routeTrunks() {
	routeResource(a, resource[*call.Trunk]{
		path: trunksPath, key: "trunks", prefix: twilio.TrunkPrefix, records: a.Routing.Trunks,
		scope:  func(*request) ([]string, error) { return []string{call.Elastic}, nil },
		fresh:  func(*request, []string) *call.Trunk { return &call.Trunk{Kind: call.Elastic} },
		create: elasticForm, update: elasticForm, check: (*call.Trunk).Validate,
		codes: codes{taken: 21248}, write: (*enc).elasticTrunk,
	})
	const one = trunksPath + "/{TrunkSid}"
	routeResource(a, resource[*call.Target]{
		path: one + "/OriginationUrls", key: "origination_urls", prefix: twilio.OriginationPrefix, records: a.Routing.Targets,
		scope:  scoped(a.inTrunk),
		fresh:  func(_ *request, scope []string) *call.Target { return &call.Target{OwnerSID: scope[0]} },
		create: requiring(originationForm, "Weight", "Priority", "Enabled", "FriendlyName", "SipUrl"), update: originationForm,
		check: (*call.Target).Validate, write: (*enc).originationURL,
	})
	a.routeMapping(one+"/CredentialLists", "credential_lists", twilio.CredentialListPrefix, call.ForCalls, a.inTrunk)
	a.routeMapping(one+"/IpAccessControlLists", "ip_access_control_lists", twilio.AccessListPrefix, call.ForCalls, a.inTrunk)
	routeResource(a, resource[*trunkNumber]{
		path: one + "/PhoneNumbers", key: "phone_numbers", prefix: twilio.NumberPrefix, records: trunkNumbers{a.Store},
		scope: scoped(a.inTrunk),
		fresh: func(_ *request, scope []string) *trunkNumber {
			return &trunkNumber{&call.Number{TrunkSID: scope[0]}}
		},
		create: requiring(newForm([]param[*trunkNumber]{into("PhoneNumberSid", func(n *trunkNumber) *string { return &n.SID })}), "PhoneNumberSid"),
		sid:    func(n *trunkNumber) string { return n.SID }, write: (*enc).trunkNumber,
	})
	a.routes.Get(one+"/Recording", a.handle(a.trunkRecording))
	a.routes.Post(one+"/Recording", a.handle(a.updateTrunkRecording))

	routeResource(a, resource[*call.Trunk]{
		path: byocPath, key: "byoc_trunks", prefix: twilio.ByocPrefix, records: a.Routing.Trunks, stored: call.TrunkSID,
		scope:  func(*request) ([]string, error) { return []string{call.Carrier}, nil },
		fresh:  func(*request, []string) *call.Trunk { return &call.Trunk{Kind: call.Carrier, Transport: "udp+tcp"} },
		create: byocForm, update: byocForm, check: (*call.Trunk).Validate, write: (*enc).byocTrunk,
	})
	routeResource(a, resource[*call.Policy]{
		path: policiesPath, key: "connection_policies", prefix: twilio.PolicyPrefix, records: a.Routing.Policies,
		fresh:  func(*request, []string) *call.Policy { return &call.Policy{} },
		create: policyForm, update: policyForm, check: (*call.Policy).Validate, write: (*enc).policy,
	})
	routeResource(a, resource[*call.Target]{
		path: policiesPath + "/{PolicySid}/Targets", key: "targets", prefix: twilio.TargetPrefix, records: a.Routing.Targets,
		scope: scoped(a.inPolicy),
		fresh: func(_ *request, scope []string) *call.Target {
			t := call.NewTarget("")
			t.OwnerSID = scope[0]
			return &t
		},
		create: requiring(targetForm, "Target"), update: targetForm, check: (*call.Target).Validate, write: (*enc).policyTarget,
	})
	routeResource(a, resource[*call.Address]{
		path: v1 + "/IpRecords", key: "ip_records", prefix: twilio.IPRecordPrefix, records: a.Routing.Addresses,
		scope:  func(*request) ([]string, error) { return []string{""}, nil },
		fresh:  func(*request, []string) *call.Address { return &call.Address{} },
		create: requiring(recordForm, "IpAddress"), update: recordUpdateForm, check: (*call.Address).Validate, write: (*enc).ipRecord,
	})
	routeResource(a, resource[*call.SourceMapping]{
		path: v1 + "/SourceIpMappings", key: "source_ip_mappings", prefix: twilio.SourceMappingPrefix, records: a.Routing.SourceMappings,
		fresh:  func(*request, []string) *call.SourceMapping { return &call.SourceMapping{} },
		create: requiring(sourceMappingForm, "IpRecordSid", "SipDomainSid"), update: requiring(sourceMappingUpdateForm, "SipDomainSid"),
		check: (*call.SourceMapping).Validate, write: (*enc).sourceMapping,
	})
}

func scoped(owner func(q *request) (string, error)) func(q *request) ([]string, error) {
	return func(q *request) ([]string, error) {
		sid, err := owner(q)
		return []string{sid}, err
	}
}

// inTrunk finds the elastic trunk that the path names.
func (a *api) inTrunk(q *request) (string, error) {
	t, err := a.trunk(q)
	if err != nil {
		return "", err
	}
	return t.SID, nil
}

func (a *api) trunk(q *request) (*call.Trunk, error) {
	sid, err := q.sid("TrunkSid", twilio.TrunkPrefix)
	if err != nil {
		return nil, err
	}
	return a.Routing.Trunks.Get(q.r.Context(), q.account.SID, sid, call.Elastic)
}

// inPolicy finds the connection policy that the path names.
func (a *api) inPolicy(q *request) (string, error) {
	sid, err := q.sid("PolicySid", twilio.PolicyPrefix)
	if err == nil {
		_, err = a.Routing.Policies.Get(q.r.Context(), q.account.SID, sid)
	}
	return sid, err
}

func (a *api) trunkRecording(q *request) error {
	t, err := a.trunk(q)
	if err != nil {
		return err
	}
	q.sendOne(http.StatusOK, func() { q.enc.object("recording", func() { q.enc.recording(t) }) })
	return nil
}

func (a *api) updateTrunkRecording(q *request) error {
	t, err := a.trunk(q)
	if err != nil {
		return err
	}
	if _, err := recordingForm.decode(q, &t, nil); err != nil {
		return err
	}
	if err := t.Validate(); err != nil {
		return err
	}
	t.Updated = a.Clock.Now().UTC()
	if err := a.Routing.Trunks.Update(q.r.Context(), t); err != nil {
		return err
	}
	if err := a.RoutingChanged(q.r.Context()); err != nil {
		return err
	}
	q.sendOne(http.StatusOK, func() { q.enc.object("recording", func() { q.enc.recording(t) }) })
	return nil
}

// trunkNumber is a number as a resource of its trunk.
type trunkNumber struct{ *call.Number }

// Head is the number's.
func (n *trunkNumber) Head() call.Record {
	return call.Record{SID: n.SID, AccountSID: n.AccountSID, DateCreated: n.DateCreated, DateUpdated: n.DateUpdated}
}

// SetHead sets it.
func (n *trunkNumber) SetHead(r call.Record) {
	n.SID, n.AccountSID, n.DateCreated, n.DateUpdated = r.SID, r.AccountSID, r.DateCreated, r.DateUpdated
}

// trunkNumbers are the numbers of trunks as Records: creating puts a number on a trunk, deleting takes it off.
type trunkNumbers struct{ store Store }

func (t trunkNumbers) Get(ctx context.Context, accountSID, sid string, scope ...string) (*trunkNumber, error) {
	n, err := t.store.Number(ctx, accountSID, sid)
	if err == nil && n.TrunkSID != scope[0] {
		err = call.ErrNotFound
	}
	return &trunkNumber{n}, err
}

func (t trunkNumbers) List(ctx context.Context, f call.ListFilter) (page []*trunkNumber, more bool, err error) {
	numbers, more, err := t.store.ListNumbers(ctx, call.NumberFilter{
		AccountSID: f.AccountSID, TrunkSID: f.Scope[0], Limit: f.Limit, Offset: f.Offset, Cursor: f.Cursor,
	})
	for _, n := range numbers {
		page = append(page, &trunkNumber{n})
	}
	return page, more, err
}

func (t trunkNumbers) Create(ctx context.Context, v *trunkNumber) error {
	if !twilio.IsSID(v.SID, twilio.NumberPrefix) {
		return &call.MissingError{SID: v.SID}
	}
	found, err := t.store.Number(ctx, v.AccountSID, v.SID)
	if err != nil {
		return missing(err, v.SID)
	}
	n := *found
	n.PutOn(v.TrunkSID)
	n.DateUpdated = v.DateUpdated
	return t.store.UpdateNumber(ctx, &n)
}

func (t trunkNumbers) Update(context.Context, *trunkNumber) error { return call.ErrNotFound } // there is no such request

func (t trunkNumbers) Delete(ctx context.Context, accountSID, sid string, scope ...string) error {
	found, err := t.Get(ctx, accountSID, sid, scope...)
	if err != nil {
		return err
	}
	n := *found.Number
	n.TrunkSID = ""
	return t.store.UpdateNumber(ctx, &n)
}

func (e *enc) elasticTrunk(t *call.Trunk, at string) {
	e.object("trunk", func() {
		e.recordHead(t.Head())
		e.opt("domain_name", t.DomainName)
		e.opt("friendly_name", t.FriendlyName)
		e.opt("disaster_recovery_url", t.RecoveryURL)
		e.str("disaster_recovery_method", t.RecoveryMethod)
		e.bool("secure", t.Secure)
		e.bool("cnam_lookup_enabled", t.CNAMLookup)
		e.bool("symmetric_rtp_enabled", true) // media is latched always
		e.str("transfer_mode", t.TransferMode)
		e.str("transfer_caller_id", t.TransferCallerID)
		e.child("recording", func() { e.recording(t) })
		e.str("auth_type", t.AuthType())
		var set []string
		if t.ByAddress {
			set = append(set, "IP_ACL")
		}
		if t.ByCredentials {
			set = append(set, "CREDENTIAL_LIST")
		}
		e.strs("auth_type_set", set)
		e.self(at, "/", t.SID)
		e.child("links", func() {
			for _, l := range [...][2]string{
				{"origination_urls", "OriginationUrls"}, {"credential_lists", "CredentialLists"},
				{"ip_access_control_lists", "IpAccessControlLists"}, {"phone_numbers", "PhoneNumbers"}, {"recording", "Recording"},
			} {
				e.link(l[0], at, "/", t.SID, "/", l[1])
			}
		})
	})
}

func (e *enc) recording(t *call.Trunk) {
	e.str("mode", t.RecordMode)
	e.str("trim", t.RecordTrim)
}

func (e *enc) originationURL(t *call.Target, at string) {
	e.object("origination_url", func() {
		e.recordHead(t.Record)
		e.str("trunk_sid", t.OwnerSID)
		e.str("sip_url", t.URI)
		e.target(t)
		e.self(at, "/", t.SID)
	})
}

func (e *enc) policyTarget(t *call.Target, at string) {
	e.object("target", func() {
		e.recordHead(t.Record)
		e.str("connection_policy_sid", t.OwnerSID)
		e.str("target", t.URI)
		e.target(t)
		e.self(at, "/", t.SID)
	})
}

func (e *enc) target(t *call.Target) {
	e.opt("friendly_name", t.FriendlyName)
	e.number("priority", int64(t.Priority))
	e.number("weight", int64(t.Weight))
	e.bool("enabled", t.Enabled)
}

func (e *enc) trunkNumber(n *trunkNumber, at string) {
	e.object("phone_number", func() {
		e.recordHead(n.Head())
		e.numberFields(n.Number)
		e.self(at, "/", n.SID)
		e.child("links", func() {
			e.link("phone_number", base, "/Accounts/", n.AccountSID, "/IncomingPhoneNumbers/", n.SID, ".json")
		})
	})
}

func (e *enc) byocTrunk(t *call.Trunk, at string) {
	h := t.Head()
	h.SID = call.ByocSID(h.SID)
	e.object("byoc_trunk", func() {
		e.recordHead(h)
		e.opt("friendly_name", t.FriendlyName)
		e.voice(&t.Voice, "status_callback")
		e.bool("cnam_lookup_enabled", t.CNAMLookup)
		e.opt("connection_policy_sid", t.PolicySID)
		e.opt("from_domain_sid", t.FromDomainSID)
		e.self(at, "/", h.SID)
	})
}

func (e *enc) policy(p *call.Policy, at string) {
	e.object("connection_policy", func() {
		e.recordHead(p.Record)
		e.opt("friendly_name", p.FriendlyName)
		e.self(at, "/", p.SID)
		e.child("links", func() { e.link("targets", at, "/", p.SID, "/Targets") })
	})
}

func (e *enc) ipRecord(a *call.Address, at string) {
	e.object("ip_record", func() {
		e.recordHead(a.Record)
		e.opt("friendly_name", a.FriendlyName)
		e.str("ip_address", a.IP)
		e.number("cidr_prefix_length", int64(a.Bits))
		e.self(at, "/", a.SID)
	})
}

func (e *enc) sourceMapping(m *call.SourceMapping, at string) {
	e.object("source_ip_mapping", func() {
		e.str("sid", m.SID)
		e.str("ip_record_sid", m.IPRecordSID)
		e.str("sip_domain_sid", m.DomainSID)
		e.time("date_created", m.DateCreated)
		e.time("date_updated", m.DateUpdated)
		e.self(at, "/", m.SID)
	})
}
