package server

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// What the API changes of domains and trunks is in force when it has answered, and after a restart.
func TestRoutingIsInForce(t *testing.T) {
	cfg := Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", Mode: Dev}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop := func() { s.Close(t.Context()) }
	defer func() { stop() }()
	send := func(method, path string, form url.Values) string {
		t.Helper()
		account, token := s.Credentials()
		path = strings.Replace(path, "/SIP", "/2010-04-01/Accounts/"+account+"/SIP", 1)
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(account, token)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var v struct{ SID, Message string }
		if res.StatusCode != http.StatusNoContent {
			if err := json.NewDecoder(res.Body).Decode(&v); err != nil || res.StatusCode >= 300 {
				t.Fatalf("%s %s: %s %s %v", method, path, res.Status, v.Message, err)
			}
		}
		return v.SID
	}
	domain := send("POST", "/SIP/Domains.json", url.Values{"DomainName": {"shop.example"}, "SipRegistration": {"true"}})
	credentials := send("POST", "/SIP/CredentialLists.json", url.Values{"FriendlyName": {"phones"}})
	send("POST", "/SIP/Domains/"+domain+"/Auth/Registrations/CredentialListMappings.json", url.Values{"CredentialListSid": {credentials}})
	ann := send("POST", "/SIP/CredentialLists/"+credentials+"/Credentials.json", url.Values{"Username": {"ann"}, "Password": {"Secret-000001"}})
	trunk := send("POST", "/v1/Trunks", url.Values{"DomainName": {"pbx.example"}})
	send("POST", "/v1/Trunks/"+trunk+"/OriginationUrls", url.Values{
		"SipUrl": {"sip:192.0.2.5"}, "FriendlyName": {"a"}, "Weight": {"1"}, "Priority": {"1"}, "Enabled": {"true"},
	})
	addresses := send("POST", "/SIP/IpAccessControlLists.json", url.Values{"FriendlyName": {"office"}})
	send("POST", "/SIP/IpAccessControlLists/"+addresses+"/IpAddresses.json", url.Values{"FriendlyName": {"a"}, "IpAddress": {"192.0.2.0"}, "CidrPrefixLength": {"24"}})
	send("POST", "/v1/Trunks/"+trunk+"/IpAccessControlLists", url.Values{"IpAccessControlListSid": {addresses}})
	check := func(when string) {
		t.Helper()
		domains, trunks := *s.domains.Load(), *s.trunks.Load()
		if len(domains) != 1 || domains[0].Name != "shop.example" || domains[0].Registrants["ann"] != "Secret-000001" || domains[0].ByCredentials {
			t.Errorf("%s: domains %+v", when, domains)
		}
		if len(trunks) != 1 || len(trunks[0].Targets) != 1 || trunks[0].Targets[0].URI != "sip:192.0.2.5" ||
			len(trunks[0].Sources) != 1 || trunks[0].Sources[0] != netip.MustParsePrefix("192.0.2.0/24") {
			t.Errorf("%s: trunks %+v", when, trunks)
		}
	}
	check("at once")
	stop()
	if s, err = Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	check("after a restart")
	send("DELETE", "/SIP/CredentialLists/"+credentials+"/Credentials/"+ann+".json", nil)
	if d := (*s.domains.Load())[0]; len(d.Registrants) != 0 {
		t.Errorf("a deleted credential is in force: %v", d.Registrants)
	}
	send("DELETE", "/SIP/Domains/"+domain+".json", nil)
	send("DELETE", "/v1/Trunks/"+trunk, nil)
	if len(*s.domains.Load())+len(*s.trunks.Load()) != 0 {
		t.Error("what was deleted is in force")
	}
}
