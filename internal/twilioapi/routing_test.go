package twilioapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/store"
)

const sipPath = base + "/Accounts/" + testSID + "/SIP"

// world is the API over a store of its own.
type world struct {
	t       *testing.T
	handler http.Handler
	store   *store.Store
	changed int
	calls   ending
}

// ending is Calls of which only EndCalls is asked.
type ending struct {
	Calls
	ended []string
}

func (e *ending) EndCalls(_ context.Context, accountSID string) error {
	e.ended = append(e.ended, accountSID)
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, a := range newFake().accounts {
		if err := s.PutAccount(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, store: s}
	w.handler = New(Config{
		Calls: &w.calls, Store: s, Clock: clock.System, Keys: s.Keys(), CallerIDs: s.CallerIDs(),
		Routing: Routing{
			Domains: s.DomainRecords(), Lists: s.Lists(), Credentials: s.Credentials(), Addresses: s.Addresses(), Mappings: s.Mappings(),
			Trunks: s.TrunkRecords(), Targets: s.Targets(), Policies: s.Policies(), SourceMappings: s.SourceMappings(), Applications: s.Applications(),
		},
		RoutingChanged: func(context.Context) error { w.changed++; return nil },
	})
	return w
}

// do sends a request as the account; form is "Name=value&…".
func (w *world) do(account, method, path, form string) answer {
	w.t.Helper()
	r := httptest.NewRequest(method, "http://voice.example"+path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	token := testToken
	if account == otherSID {
		token = "f" + testToken[1:]
	}
	return w.send(account, token, r)
}

// as sends a request with those credentials.
func (w *world) as(user, password, method, path, form string) answer {
	w.t.Helper()
	r := httptest.NewRequest(method, "http://voice.example"+path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.send(user, password, r)
}

func (w *world) send(user, password string, r *http.Request) answer {
	r.SetBasicAuth(user, password)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// make creates a resource and returns its SID.
func (w *world) make(path, form string) string {
	w.t.Helper()
	return w.want(201, "POST", path, form)["sid"].(string)
}

// want sends a request that must be answered with a status, and returns what it is answered.
func (w *world) want(status int, method, path, form string) map[string]any {
	w.t.Helper()
	a := w.do(testSID, method, path, form)
	if a.status != status {
		w.t.Fatalf("%s %s %s: %d %s", method, path, form, a.status, a.body)
	}
	var v map[string]any
	if a.body != "" {
		a.decode(w.t, &v)
	}
	return v
}

func json200(path string) string {
	if strings.HasPrefix(path, v1) {
		return path
	}
	return path + ".json"
}

// Every kind of resource is made, fetched, listed, changed and deleted, and is not there for another account.
func TestRoutingResources(t *testing.T) {
	w := newWorld(t)
	domain := w.make(sipPath+"/Domains.json", "DomainName=One.sip.twilio.com")
	credentials := w.make(sipPath+"/CredentialLists.json", "FriendlyName=phones")
	addresses := w.make(sipPath+"/IpAccessControlLists.json", "FriendlyName=office")
	trunk := w.make("/v1/Trunks", "")
	policy := w.make("/v1/ConnectionPolicies", "")
	byoc := w.make("/v1/ByocTrunks", "")
	record := w.make("/v1/IpRecords", "IpAddress=192.0.2.1")
	number := w.make(pnPath+".json", "PhoneNumber=%2B14155550100&VoiceUrl=https://a.example/v")

	onDomain, onTrunk := sipPath+"/Domains/"+domain, "/v1/Trunks/"+trunk
	mapping := "account_sid date_created date_updated friendly_name sid"
	for _, test := range []struct {
		path, key, create string
		given             string // fields as the creation must make them, "name=value …"
		update, updated   string // "" when there is no such request
		fields            string // of the resource, all of them
	}{
		{
			path: sipPath + "/Domains", key: "domains",
			create:  "DomainName=Two.SIP.example&FriendlyName=Shop&VoiceUrl=https://a.example/v&SipRegistration=True&Secure=true&ByocTrunkSid=" + byoc + "&EmergencyCallingEnabled=False&EmergencyCallerSid=",
			given:   "domain_name=two.sip.example friendly_name=Shop voice_url=https://a.example/v voice_method=POST sip_registration=true secure=true emergency_calling_enabled=false auth_type= api_version=2010-04-01 byoc_trunk_sid=" + byoc + " emergency_caller_sid=<nil>",
			update:  "VoiceMethod=GET&VoiceStatusCallbackUrl=https://a.example/s&SipRegistration=false&ByocTrunkSid=",
			updated: "voice_method=GET voice_status_callback_url=https://a.example/s sip_registration=false secure=true byoc_trunk_sid=<nil>",
			fields: "account_sid api_version auth_type date_created date_updated domain_name friendly_name sid uri voice_fallback_method " +
				"voice_fallback_url voice_method voice_status_callback_method voice_status_callback_url voice_url subresource_uris sip_registration " +
				"emergency_calling_enabled secure byoc_trunk_sid emergency_caller_sid",
		},
		{
			path: sipPath + "/CredentialLists", key: "credential_lists", create: "FriendlyName=more", given: "friendly_name=more",
			update: "FriendlyName=less", updated: "friendly_name=less",
			fields: "account_sid date_created date_updated friendly_name sid subresource_uris uri",
		},
		{
			path: sipPath + "/IpAccessControlLists", key: "ip_access_control_lists", create: "FriendlyName=more", given: "friendly_name=more",
			update: "FriendlyName=less", updated: "friendly_name=less",
			fields: "account_sid date_created date_updated friendly_name sid subresource_uris uri",
		},
		{
			path: sipPath + "/CredentialLists/" + credentials + "/Credentials", key: "credentials", create: "Username=ann&Password=Secret-000001",
			given: "username=ann credential_list_sid=" + credentials, update: "Password=Secret-000002", updated: "username=ann",
			fields: "sid account_sid credential_list_sid username date_created date_updated uri",
		},
		{
			path: sipPath + "/IpAccessControlLists/" + addresses + "/IpAddresses", key: "ip_addresses", create: "CidrPrefixLength=24&FriendlyName=a&IpAddress=192.0.2.7",
			given:  "ip_address=192.0.2.7 cidr_prefix_length=24 ip_access_control_list_sid=" + addresses,
			update: "IpAddress=192.0.2.8", updated: "ip_address=192.0.2.8 cidr_prefix_length=24 friendly_name=a",
			fields: "sid account_sid friendly_name ip_address cidr_prefix_length ip_access_control_list_sid date_created date_updated uri",
		},
		{
			path: onDomain + "/CredentialListMappings", key: "credential_list_mappings", create: "CredentialListSid=" + credentials,
			given: "friendly_name=phones domain_sid=" + domain, fields: mapping + " domain_sid uri",
		},
		{
			path: onDomain + "/IpAccessControlListMappings", key: "ip_access_control_list_mappings", create: "IpAccessControlListSid=" + addresses,
			given: "friendly_name=office domain_sid=" + domain, fields: mapping + " domain_sid uri",
		},
		{
			path: onDomain + "/Auth/Calls/CredentialListMappings", key: "contents", create: "CredentialListSid=" + credentials,
			given: "friendly_name=phones", fields: mapping,
		},
		{
			path: onDomain + "/Auth/Calls/IpAccessControlListMappings", key: "contents", create: "IpAccessControlListSid=" + addresses,
			given: "friendly_name=office", fields: mapping,
		},
		{
			path: onDomain + "/Auth/Registrations/CredentialListMappings", key: "contents", create: "CredentialListSid=" + credentials,
			given: "friendly_name=phones", fields: mapping,
		},
		{
			path: "/v1/Trunks", key: "trunks",
			create: "FriendlyName=PBX&DomainName=Pbx.pstn.twilio.com&DisasterRecoveryUrl=https://a.example/r&Secure=true&TransferMode=sip-only",
			given: "friendly_name=PBX domain_name=pbx.pstn.twilio.com disaster_recovery_url=https://a.example/r disaster_recovery_method=POST secure=true " +
				"transfer_mode=sip-only transfer_caller_id=from-transferee cnam_lookup_enabled=false auth_type= auth_type_set=[] recording=map[mode:do-not-record|trim:do-not-trim]",
			update: "CnamLookupEnabled=true&TransferCallerId=from-transferor", updated: "cnam_lookup_enabled=true transfer_caller_id=from-transferor secure=true",
			fields: "account_sid domain_name disaster_recovery_method disaster_recovery_url friendly_name secure recording transfer_mode transfer_caller_id " +
				"cnam_lookup_enabled auth_type symmetric_rtp_enabled auth_type_set date_created date_updated sid url links",
		},
		{
			path: onTrunk + "/OriginationUrls", key: "origination_urls", create: "Weight=1&Priority=0&Enabled=true&FriendlyName=a&SipUrl=sip:pbx.example;transport=tls",
			given:  "weight=1 priority=0 enabled=true friendly_name=a sip_url=sip:pbx.example;transport=tls trunk_sid=" + trunk,
			update: "Enabled=false&Weight=65535", updated: "enabled=false weight=65535 sip_url=sip:pbx.example;transport=tls",
			fields: "account_sid sid trunk_sid weight enabled sip_url friendly_name priority date_created date_updated url",
		},
		{
			path: onTrunk + "/CredentialLists", key: "credential_lists", create: "CredentialListSid=" + credentials,
			given: "friendly_name=phones trunk_sid=" + trunk, fields: mapping + " trunk_sid url",
		},
		{
			path: onTrunk + "/IpAccessControlLists", key: "ip_access_control_lists", create: "IpAccessControlListSid=" + addresses,
			given: "friendly_name=office trunk_sid=" + trunk, fields: mapping + " trunk_sid url",
		},
		{
			path: onTrunk + "/PhoneNumbers", key: "phone_numbers", create: "PhoneNumberSid=" + number,
			given: "phone_number=+14155550100 voice_url= trunk_sid=" + trunk, // a number on a trunk loses its voice URL
			fields: "account_sid address_requirements api_version beta capabilities date_created date_updated friendly_name links phone_number sid " +
				"sms_application_sid sms_fallback_method sms_fallback_url sms_method sms_url status_callback status_callback_method trunk_sid url " +
				"voice_application_sid voice_caller_id_lookup voice_fallback_method voice_fallback_url voice_method voice_url",
		},
		{
			path: "/v1/ByocTrunks", key: "byoc_trunks", create: "FriendlyName=carrier&VoiceUrl=https://a.example/v&ConnectionPolicySid=" + policy + "&FromDomainSid=" + domain,
			given:  "friendly_name=carrier voice_url=https://a.example/v voice_method=POST cnam_lookup_enabled=false connection_policy_sid=" + policy + " from_domain_sid=" + domain,
			update: "StatusCallbackUrl=https://a.example/s&StatusCallbackMethod=get", updated: "status_callback_url=https://a.example/s status_callback_method=GET connection_policy_sid=" + policy,
			fields: "account_sid sid friendly_name voice_url voice_method voice_fallback_url voice_fallback_method status_callback_url " +
				"status_callback_method cnam_lookup_enabled connection_policy_sid from_domain_sid date_created date_updated url",
		},
		{
			path: "/v1/ConnectionPolicies", key: "connection_policies", create: "FriendlyName=sites", given: "friendly_name=sites",
			update: "FriendlyName=both", updated: "friendly_name=both",
			fields: "account_sid sid friendly_name date_created date_updated url links",
		},
		{
			path: "/v1/ConnectionPolicies/" + policy + "/Targets", key: "targets", create: "Target=sip:a.example",
			given:  "target=sip:a.example priority=10 weight=10 enabled=true friendly_name=<nil> connection_policy_sid=" + policy,
			update: "Target=sip:b.example:5070&Priority=65535", updated: "target=sip:b.example:5070 priority=65535 weight=10",
			fields: "account_sid connection_policy_sid sid friendly_name target priority weight enabled date_created date_updated url",
		},
		{
			path: "/v1/IpRecords", key: "ip_records", create: "IpAddress=2001:db8::1&FriendlyName=six", given: "ip_address=2001:db8::1 cidr_prefix_length=128 friendly_name=six",
			update: "FriendlyName=seven&IpAddress=192.0.2.9", updated: "friendly_name=seven ip_address=2001:db8::1",
			fields: "account_sid sid friendly_name ip_address cidr_prefix_length date_created date_updated url",
		},
		{
			path: appPath, key: "applications",
			create:  "FriendlyName=Shop&VoiceUrl=https://a.example/v&VoiceFallbackUrl=https://a.example/f&VoiceFallbackMethod=get&StatusCallback=https://a.example/s&VoiceCallerIdLookup=TRUE&PublicApplicationConnectEnabled=true&ApiVersion=2010-04-01&SmsUrl=",
			given:   "friendly_name=Shop voice_url=https://a.example/v voice_method=POST voice_fallback_url=https://a.example/f voice_fallback_method=GET status_callback=https://a.example/s status_callback_method=POST voice_caller_id_lookup=true public_application_connect_enabled=true sms_url=<nil>",
			update:  "VoiceUrl=&VoiceMethod=GET&PublicApplicationConnectEnabled=false&StatusCallbackMethod=GET",
			updated: "friendly_name=Shop voice_url=<nil> voice_method=GET public_application_connect_enabled=false status_callback_method=GET voice_caller_id_lookup=true",
			fields: "account_sid api_version date_created date_updated friendly_name message_status_callback sid sms_fallback_method sms_fallback_url " +
				"sms_method sms_status_callback sms_url status_callback status_callback_method uri voice_caller_id_lookup voice_fallback_method " +
				"voice_fallback_url voice_method voice_url public_application_connect_enabled",
		},
		{
			path: "/v1/SourceIpMappings", key: "source_ip_mappings", create: "IpRecordSid=" + record + "&SipDomainSid=" + domain,
			given: "ip_record_sid=" + record + " sip_domain_sid=" + domain, update: "SipDomainSid=" + domain, updated: "sip_domain_sid=" + domain,
			fields: "sid ip_record_sid sip_domain_sid date_created date_updated url",
		},
	} {
		t.Run(strings.NewReplacer(testSID, "AC", domain, "SD", trunk, "TK").Replace(test.path), func(t *testing.T) {
			w.t = t
			changed := w.changed
			v := w.want(201, "POST", json200(test.path), test.create)
			hasFields(t, v, test.given)
			var names []string
			for name := range v {
				names = append(names, name)
			}
			fields := strings.Fields(test.fields)
			slices.Sort(names)
			slices.Sort(fields)
			if !slices.Equal(names, fields) {
				t.Errorf("fields\n got %s\nwant %s", names, fields)
			}
			if strings.Contains(fmt.Sprint(v), "Secret-") {
				t.Errorf("a password is shown: %v", v)
			}
			one := json200(test.path + "/" + v["sid"].(string))
			self, _ := v["uri"].(string)
			if u, ok := v["url"].(string); ok {
				self, _ = strings.CutPrefix(u, "http://voice.example")
			}
			if self != one && test.key != "contents" {
				t.Errorf("the resource says it is at %s, not at %s", self, one)
			}
			if got := w.want(200, "GET", one, ""); fmt.Sprint(got) != fmt.Sprint(v) {
				t.Errorf("fetched %v\nwant %v", got, v)
			}
			list := w.want(200, "GET", json200(test.path)+"?PageSize=1", "")
			if items, _ := list[test.key].([]any); len(items) != 1 || fmt.Sprint(items[0]) != fmt.Sprint(v) {
				t.Errorf("listed %v\nwant %v", list, v)
			}
			if meta, ok := list["meta"].(map[string]any); ok != strings.HasPrefix(test.path, v1) {
				t.Errorf("envelope %v", list)
			} else if ok {
				hasFields(t, meta, "page=0 page_size=1 previous_page_url=<nil> key="+test.key+" url=http://voice.example"+test.path+"?PageSize=1&Page=0")
			}
			if created := v["date_created"].(string); strings.HasSuffix(created, "Z") != strings.HasPrefix(test.path, v1) {
				t.Errorf("date %s", created)
			}
			for _, method := range []string{"GET", "POST", "DELETE"} {
				if method == "POST" && test.update == "" {
					continue
				}
				path := strings.Replace(one, testSID, otherSID, 1)
				if a := w.do(otherSID, method, path, test.update); a.code() != 20404 {
					t.Errorf("%s by another account: %d %s", method, a.status, a.body)
				}
			}
			if test.update != "" {
				hasFields(t, w.want(200, "POST", one, test.update), test.updated)
				hasFields(t, w.want(200, "GET", one, ""), test.updated)
			} else if a := w.do(testSID, "POST", one, ""); a.status != 405 {
				t.Errorf("an update that is none: %d %s", a.status, a.body)
			}
			w.want(204, "DELETE", one, "")
			w.want(404, "GET", one, "")
			want := changed + 2
			if test.update != "" {
				want++
			}
			if w.changed != want {
				t.Errorf("%d changes were told of, want %d", w.changed-changed, want-changed)
			}
		})
	}
}

// hasFields compares "name=value …" with what was answered; a | in a value is a blank.
func hasFields(t *testing.T, v map[string]any, fields string) {
	t.Helper()
	for f := range strings.FieldsSeq(fields) {
		name, want, _ := strings.Cut(f, "=")
		want = strings.ReplaceAll(want, "|", " ")
		if got := fmt.Sprint(v[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestRoutingErrors(t *testing.T) {
	w := newWorld(t)
	domain := w.make(sipPath+"/Domains.json", "DomainName=one.example")
	credentials := w.make(sipPath+"/CredentialLists.json", "FriendlyName=phones")
	w.make(sipPath+"/CredentialLists/"+credentials+"/Credentials.json", "Username=ann&Password=Secret-000001")
	addresses := w.make(sipPath+"/IpAccessControlLists.json", "FriendlyName=office")
	trunk := w.make("/v1/Trunks", "DomainName=pbx.example")
	policy := w.make("/v1/ConnectionPolicies", "")
	byoc := w.make("/v1/ByocTrunks", "ConnectionPolicySid="+policy)
	record := w.make("/v1/IpRecords", "IpAddress=192.0.2.1")
	w.make("/v1/SourceIpMappings", "IpRecordSid="+record+"&SipDomainSid="+domain)
	w.make(sipPath+"/Domains.json", "DomainName=two.example&ByocTrunkSid="+byoc)
	w.make(sipPath+"/Domains/"+domain+"/CredentialListMappings.json", "CredentialListSid="+credentials)
	w.make("/v1/Trunks/"+trunk+"/IpAccessControlLists", "IpAccessControlListSid="+addresses)
	a := w.do(otherSID, "POST", strings.Replace(sipPath, testSID, otherSID, 1)+"/CredentialLists.json", "FriendlyName=theirs")
	var theirs struct{ SID string }
	a.decode(t, &theirs)

	gone := func(prefix string) string { return prefix + strings.Repeat("0", 32) }
	on := sipPath + "/Domains/" + domain
	for _, test := range []struct {
		name, method, path, form string
		status, code             int
	}{
		{"no domain name", "POST", sipPath + "/Domains.json", "", 400, 21231},
		{"a bad domain name", "POST", sipPath + "/Domains.json", "DomainName=a..b", 400, 21231},
		{"a URI as domain name", "POST", sipPath + "/Domains.json", "DomainName=sip:a.example", 400, 21231},
		{"a taken domain name", "POST", sipPath + "/Domains.json", "DomainName=ONE.example", 400, 21231},
		{"a trunk's domain name", "POST", sipPath + "/Domains.json", "DomainName=pbx.example", 400, 21231},
		{"a taken domain name by update", "POST", on + ".json", "DomainName=two.example", 400, 21231},
		{"a bad voice URL", "POST", sipPath + "/Domains.json", "DomainName=a.example&VoiceUrl=ftp://x", 400, 21231},
		{"a bad method", "POST", sipPath + "/Domains.json", "DomainName=a.example&VoiceMethod=PUT", 400, 21231},
		{"a long name", "POST", sipPath + "/Domains.json", "DomainName=a.example&FriendlyName=" + strings.Repeat("x", 65), 400, 21231},
		{"a bad truth", "POST", sipPath + "/Domains.json", "DomainName=a.example&Secure=maybe", 400, 20001},
		{"a trunk SID that is none", "POST", sipPath + "/Domains.json", "DomainName=a.example&ByocTrunkSid=TK1", 400, 21231},
		{"a trunk that is gone", "POST", sipPath + "/Domains.json", "DomainName=a.example&ByocTrunkSid=" + gone("BY"), 404, 20404},
		{"an elastic trunk", "POST", sipPath + "/Domains.json", "DomainName=a.example&ByocTrunkSid=" + call.ByocSID(trunk), 404, 20404},
		{"an emergency number, which nothing would call from", "POST", sipPath + "/Domains.json", "DomainName=a.example&EmergencyCallerSid=" + gone("PN"), 400, 20001},
		{"emergency calling, which there is none of", "POST", sipPath + "/Domains.json", "DomainName=a.example&EmergencyCallingEnabled=true", 400, 20001},
		{"names that nobody looks up", "POST", "/v1/ByocTrunks", "CnamLookupEnabled=true", 400, 20001},
		{"a domain in use", "DELETE", on + ".json", "", 409, 20409},
		{"a domain that is gone", "GET", sipPath + "/Domains/" + gone("SD") + ".json", "", 404, 20404},
		{"a SID that is none", "GET", sipPath + "/Domains/SD1.json", "", 404, 20404},
		{"a method that is none", "PUT", on + ".json", "", 405, 20004},

		{"a credential list without name", "POST", sipPath + "/CredentialLists.json", "", 400, 21240},
		{"a credential list with a long name", "POST", sipPath + "/CredentialLists.json", "FriendlyName=" + strings.Repeat("x", 65), 400, 21240},
		{"a mapped credential list", "DELETE", sipPath + "/CredentialLists/" + credentials + ".json", "", 400, 21241},
		{"no user name", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Password=Secret-000001", 400, 21243},
		{"no password", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=bob", 400, 21243},
		{"a taken user name", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=ann&Password=Secret-000001", 400, 21243},
		{"a long user name", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=" + strings.Repeat("x", 33) + "&Password=Secret-000001", 400, 21243},
		{"a user name with a quote", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=a%22b&Password=Secret-000001", 400, 21243},
		{"a short password", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=bob&Password=Secret-0001", 400, 21243},
		{"a password without digit", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=bob&Password=Secret-Secret", 400, 21243},
		{"a password without capital", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=bob&Password=secret-000001", 400, 21243},
		{"a password without small letter", "POST", sipPath + "/CredentialLists/" + credentials + "/Credentials.json", "Username=bob&Password=SECRET-000001", 400, 21243},
		{"credentials of no list", "GET", sipPath + "/CredentialLists/" + gone("CL") + "/Credentials.json", "", 404, 20404},
		{"credentials of another account", "POST", sipPath + "/CredentialLists/" + theirs.SID + "/Credentials.json", "Username=bob&Password=Secret-000001", 404, 20404},

		{"an ACL without name", "POST", sipPath + "/IpAccessControlLists.json", "", 400, 21235},
		{"a mapped ACL", "DELETE", sipPath + "/IpAccessControlLists/" + addresses + ".json", "", 400, 21236},
		{"no address", "POST", sipPath + "/IpAccessControlLists/" + addresses + "/IpAddresses.json", "FriendlyName=a", 400, 21235},
		{"no name", "POST", sipPath + "/IpAccessControlLists/" + addresses + "/IpAddresses.json", "IpAddress=192.0.2.1", 400, 21235},
		{"a bad address", "POST", sipPath + "/IpAccessControlLists/" + addresses + "/IpAddresses.json", "FriendlyName=a&IpAddress=192.0.2", 400, 21235},
		{"a bad prefix", "POST", sipPath + "/IpAccessControlLists/" + addresses + "/IpAddresses.json", "FriendlyName=a&IpAddress=192.0.2.1&CidrPrefixLength=33", 400, 21235},

		{"a mapping without list", "POST", on + "/CredentialListMappings.json", "", 400, 21240},
		{"an ACL mapping without list", "POST", on + "/Auth/Calls/IpAccessControlListMappings.json", "", 400, 21235},
		{"a mapping of the wrong kind", "POST", on + "/CredentialListMappings.json", "CredentialListSid=" + addresses, 400, 21240},
		{"a mapping to another's list", "POST", on + "/CredentialListMappings.json", "CredentialListSid=" + theirs.SID, 404, 20404},
		{"a mapping that is there, by its other name", "POST", on + "/Auth/Calls/CredentialListMappings.json", "CredentialListSid=" + credentials, 409, 20409},
		{"a mapping of no domain", "POST", sipPath + "/Domains/" + gone("SD") + "/CredentialListMappings.json", "CredentialListSid=" + credentials, 404, 20404},

		{"a taken trunk domain", "POST", "/v1/Trunks", "DomainName=PBX.example", 400, 21248},
		{"a SIP domain's name", "POST", "/v1/Trunks", "DomainName=one.example", 400, 21248},
		{"a bad trunk domain", "POST", "/v1/Trunks", "DomainName=-", 400, 20001},
		{"a bad transfer mode", "POST", "/v1/Trunks", "TransferMode=never", 400, 20001},
		{"a bad recovery URL", "POST", "/v1/Trunks", "DisasterRecoveryUrl=x", 400, 20001},
		{"a BYOC trunk as elastic", "GET", "/v1/Trunks/" + call.TrunkSID(byoc), "", 404, 20404},
		{"an elastic trunk as BYOC", "GET", "/v1/ByocTrunks/" + call.ByocSID(trunk), "", 404, 20404},
		{"a bad recording mode", "POST", "/v1/Trunks/" + trunk + "/Recording", "Mode=always", 400, 20001},
		{"an origination URL without weight", "POST", "/v1/Trunks/" + trunk + "/OriginationUrls", "Priority=1&Enabled=true&FriendlyName=a&SipUrl=sip:a.example", 400, 20001},
		{"a weight of 0", "POST", "/v1/Trunks/" + trunk + "/OriginationUrls", "Weight=0&Priority=1&Enabled=true&FriendlyName=a&SipUrl=sip:a.example", 400, 20001},
		{"a priority of 65536", "POST", "/v1/Trunks/" + trunk + "/OriginationUrls", "Weight=1&Priority=65536&Enabled=true&FriendlyName=a&SipUrl=sip:a.example", 400, 20001},
		{"a URL that is not sip:", "POST", "/v1/Trunks/" + trunk + "/OriginationUrls", "Weight=1&Priority=1&Enabled=true&FriendlyName=a&SipUrl=sips:a.example", 400, 20001},
		{"a transport that is none", "POST", "/v1/Trunks/" + trunk + "/OriginationUrls", "Weight=1&Priority=1&Enabled=true&FriendlyName=a&SipUrl=sip:a.example;transport=sctp", 400, 20001},
		{"a number that is gone", "POST", "/v1/Trunks/" + trunk + "/PhoneNumbers", "PhoneNumberSid=" + gone("PN"), 404, 20404},
		{"no number", "POST", "/v1/Trunks/" + trunk + "/PhoneNumbers", "", 400, 20001},
		{"a number on a BYOC trunk", "POST", pnPath + ".json", "PhoneNumber=%2B14155550101&TrunkSid=" + call.TrunkSID(byoc), 404, 20404},
		{"a number on what is no trunk", "POST", pnPath + ".json", "PhoneNumber=%2B14155550101&TrunkSid=BY1", 400, 20001},

		{"a policy that is gone", "POST", "/v1/ByocTrunks", "ConnectionPolicySid=" + gone("NY"), 404, 20404},
		{"a From domain that is gone", "POST", "/v1/ByocTrunks", "FromDomainSid=" + gone("SD"), 404, 20404},
		{"a BYOC trunk in use", "DELETE", "/v1/ByocTrunks/" + byoc, "", 409, 20409},
		{"a policy in use", "DELETE", "/v1/ConnectionPolicies/" + policy, "", 409, 20409},
		{"a target without URI", "POST", "/v1/ConnectionPolicies/" + policy + "/Targets", "", 400, 20001},
		{"a target of no policy", "POST", "/v1/ConnectionPolicies/" + gone("NY") + "/Targets", "Target=sip:a.example", 404, 20404},
		{"an IP record without address", "POST", "/v1/IpRecords", "", 400, 20001},
		{"an IP record in use", "DELETE", "/v1/IpRecords/" + record, "", 409, 20409},
		{"an IP record that is mapped", "POST", "/v1/SourceIpMappings", "IpRecordSid=" + record + "&SipDomainSid=" + domain, 409, 20409},
		{"a mapping to no domain", "POST", "/v1/SourceIpMappings", "IpRecordSid=" + record + "&SipDomainSid=" + gone("SD"), 404, 20404},
		{"a bad page", "GET", "/v1/Trunks?PageToken=PAxx", "", 400, 20001},
		{"nothing there", "GET", "/v1/Trunks/" + trunk + "/Nothing", "", 404, 20404},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := w.changed
			a := w.do(testSID, test.method, test.path, test.form)
			if a.status != test.status || a.code() != test.code {
				t.Errorf("%d %s, want %d %d", a.status, a.body, test.status, test.code)
			}
			if w.changed != changed {
				t.Error("a change was told of")
			}
		})
	}
}

// The limits of the store have their codes.
func TestRoutingLimits(t *testing.T) {
	for _, test := range []struct {
		path, form string
		code       int
	}{
		{sipPath + "/Domains.json", "DomainName=a.example", 21230},
		{sipPath + "/CredentialLists.json", "FriendlyName=a", 21239},
		{sipPath + "/IpAccessControlLists.json", "FriendlyName=a", 21255},
		{sipPath + "/CredentialLists/CL" + strings.Repeat("0", 32) + "/Credentials.json", "Username=ann&Password=Secret-000001", 21242},
		{sipPath + "/IpAccessControlLists/AL" + strings.Repeat("0", 32) + "/IpAddresses.json", "FriendlyName=a&IpAddress=192.0.2.1", 21237},
		{"/v1/ConnectionPolicies", "", 20409},
	} {
		cfg := Config{Store: newFake(), Clock: fixedClock{}, Routing: Routing{
			Domains: full[*call.Domain]{}, Lists: full[*call.List]{}, Credentials: full[*call.Credential]{},
			Addresses: full[*call.Address]{}, Policies: full[*call.Policy]{},
		}}
		if a := askConfig(t, cfg, "POST", test.path, test.form); a.code() != test.code {
			t.Errorf("%s: %d %s, want %d", test.path, a.status, a.body, test.code)
		}
	}
}

// full takes no more.
type full[T call.Resource] struct{ Records[T] }

func (full[T]) Get(context.Context, string, string, ...string) (v T, err error) { return v, nil }
func (full[T]) Create(context.Context, T) error                                 { return fmt.Errorf("store: %w", call.ErrFull) }

func TestAuthTypes(t *testing.T) {
	w := newWorld(t)
	domain := w.make(sipPath+"/Domains.json", "DomainName=one.example")
	credentials := w.make(sipPath+"/CredentialLists.json", "FriendlyName=phones")
	addresses := w.make(sipPath+"/IpAccessControlLists.json", "FriendlyName=office")
	trunk := w.make("/v1/Trunks", "")
	on := sipPath + "/Domains/" + domain
	w.make(on+"/Auth/Registrations/CredentialListMappings.json", "CredentialListSid="+credentials)
	hasFields(t, w.want(200, "GET", on+".json", ""), "auth_type=") // registering is not calling
	w.make(on+"/Auth/Calls/IpAccessControlListMappings.json", "IpAccessControlListSid="+addresses)
	hasFields(t, w.want(200, "GET", on+".json", ""), "auth_type=IP_ACL")
	w.make(on+"/CredentialListMappings.json", "CredentialListSid="+credentials)
	hasFields(t, w.want(200, "GET", on+".json", ""), "auth_type=IP_ACL,CREDENTIAL_LIST")
	if list := w.want(200, "GET", on+"/Auth/Calls/CredentialListMappings.json", ""); len(list["contents"].([]any)) != 1 {
		t.Errorf("the older path's mapping is not that of Auth/Calls: %v", list)
	}
	w.make("/v1/Trunks/"+trunk+"/CredentialLists", "CredentialListSid="+credentials)
	hasFields(t, w.want(200, "GET", "/v1/Trunks/"+trunk, ""), "auth_type=CREDENTIAL_LIST auth_type_set=[CREDENTIAL_LIST]")
	w.make("/v1/Trunks/"+trunk+"/IpAccessControlLists", "IpAccessControlListSid="+addresses)
	hasFields(t, w.want(200, "GET", "/v1/Trunks/"+trunk, ""), "auth_type=IP_ACL,CREDENTIAL_LIST auth_type_set=[IP_ACL|CREDENTIAL_LIST]")
	hasFields(t, w.want(200, "POST", "/v1/Trunks/"+trunk+"/Recording", "Mode=record-from-answer-dual"), "mode=record-from-answer-dual trim=do-not-trim")
	hasFields(t, w.want(200, "GET", "/v1/Trunks/"+trunk+"/Recording", ""), "mode=record-from-answer-dual trim=do-not-trim")
	hasFields(t, w.want(200, "GET", "/v1/Trunks/"+trunk, ""), "recording=map[mode:record-from-answer-dual|trim:do-not-trim]")
}

// A number is put on a trunk from either side.
func TestNumberOnTrunk(t *testing.T) {
	w := newWorld(t)
	trunk := w.make("/v1/Trunks", "")
	number := w.make(pnPath+".json", "PhoneNumber=%2B14155550100&VoiceUrl=https://a.example/v")
	hasFields(t, w.want(200, "POST", pnPath+"/"+number+".json", "TrunkSid="+trunk), "voice_url= trunk_sid="+trunk)
	hasFields(t, w.want(200, "GET", "/v1/Trunks/"+trunk+"/PhoneNumbers/"+number, ""), "phone_number=+14155550100")
	w.want(204, "DELETE", "/v1/Trunks/"+trunk+"/PhoneNumbers/"+number, "")
	hasFields(t, w.want(200, "GET", pnPath+"/"+number+".json", ""), "trunk_sid=<nil>")
	w.want(404, "DELETE", "/v1/Trunks/"+trunk+"/PhoneNumbers/"+number, "")
	w.make("/v1/Trunks/"+trunk+"/PhoneNumbers", "PhoneNumberSid="+number)
	w.want(204, "DELETE", "/v1/Trunks/"+trunk, "")
	hasFields(t, w.want(200, "GET", pnPath+"/"+number+".json", ""), "trunk_sid=<nil>")
}

// Pages under /v1 lead on by whole URLs, and BYOC trunks page by the SIDs they are stored under.
func TestRoutingPages(t *testing.T) {
	w := newWorld(t)
	var made []string
	for range 5 {
		made = append(made, w.make("/v1/ByocTrunks", ""))
	}
	slices.Reverse(made)
	var got []string
	next := "/v1/ByocTrunks?PageSize=2"
	for pages := 0; next != "" && pages < 5; pages++ {
		list := w.want(200, "GET", next, "")
		for _, item := range list["byoc_trunks"].([]any) {
			got = append(got, item.(map[string]any)["sid"].(string))
		}
		whole, _ := list["meta"].(map[string]any)["next_page_url"].(string)
		u, err := url.Parse(whole)
		if err != nil || whole != "" && u.Host != "voice.example" {
			t.Fatalf("next page %s", whole)
		}
		next = u.RequestURI()
		if whole == "" {
			next = ""
		}
	}
	if !slices.Equal(got, made) {
		t.Errorf("paged\n%v\nwant\n%v", got, made)
	}
}

func TestRoutingXML(t *testing.T) {
	w := newWorld(t)
	domain := w.make(sipPath+"/Domains.json", "DomainName=one.example&FriendlyName=a%26b")
	a := w.do(testSID, "GET", sipPath+"/Domains/"+domain, "")
	for _, want := range []string{
		"<TwilioResponse><Domain><Sid>" + domain + "</Sid>", "<FriendlyName>a&amp;b</FriendlyName>", "<AuthType/>",
		"<Uri>" + sipPath + "/Domains/" + domain + "</Uri>",
		"<SubresourceUris><CredentialListMappings>" + sipPath + "/Domains/" + domain + "/CredentialListMappings</CredentialListMappings>",
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	if a := w.do(testSID, "GET", sipPath+"/Domains", ""); !strings.Contains(a.body, "<Domains page=\"0\"") {
		t.Error(a.body)
	}
}

// A change that could not be put in force is not answered as if it were.
func TestRoutingChangedFails(t *testing.T) {
	w := newWorld(t)
	cfg := Config{
		Store: w.store, Clock: fixedClock{}, Routing: Routing{Policies: w.store.Policies()},
		RoutingChanged: func(context.Context) error { return call.ErrUnavailable },
	}
	if a := askConfig(t, cfg, "POST", "/v1/ConnectionPolicies", url.Values{}); a.status != 503 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
