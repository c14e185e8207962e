package server

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// endpoint is a row of the tenant matrix: a route, and a request to it that finds what it asks for.
type endpoint struct {
	route string // method and pattern
	names string // of the tenant's resources that stand for the parameters of the pattern behind {AccountSid}
	body  string // parameters, or JSON under /v1/calls; $name is a resource
	keys  bool   // API keys are refused
	path  string // instead of the pattern
	none  bool   // the tenant has none either: 404
}

// endpoints must have every route of both APIs.
var endpoints = []endpoint{
	{route: "GET /Accounts", keys: true},
	{route: "POST /Accounts", keys: true},
	{route: "GET /Accounts/{AccountSid}", keys: true},
	{route: "POST /Accounts/{AccountSid}", keys: true, body: "FriendlyName=renamed"},
	{route: "GET /Accounts/{AccountSid}/Keys", keys: true},
	{route: "POST /Accounts/{AccountSid}/Keys", keys: true},
	{route: "GET /Accounts/{AccountSid}/Keys/{Sid}", names: "key2", keys: true},
	{route: "POST /Accounts/{AccountSid}/Keys/{Sid}", names: "key2", keys: true, body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/Keys/{Sid}", names: "key2", keys: true},
	{route: "GET /Accounts/{AccountSid}/SigningKeys", keys: true},
	{route: "POST /Accounts/{AccountSid}/SigningKeys", keys: true},
	{route: "GET /Accounts/{AccountSid}/SigningKeys/{Sid}", names: "key3", keys: true},
	{route: "POST /Accounts/{AccountSid}/SigningKeys/{Sid}", names: "key3", keys: true, body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/SigningKeys/{Sid}", names: "key3", keys: true},

	{route: "GET /Accounts/{AccountSid}/Calls"},
	{route: "POST /Accounts/{AccountSid}/Calls", body: "To=$deaf&From=%2B15005550006&Twiml=<Response/>"},
	{route: "GET /Accounts/{AccountSid}/Calls/{Sid}", names: "live"},
	{route: "POST /Accounts/{AccountSid}/Calls/{Sid}", names: "live", body: "Status=completed"},
	{route: "DELETE /Accounts/{AccountSid}/Calls/{Sid}", names: "ended"},
	{route: "GET /Accounts/{AccountSid}/Calls/{CallSid}/Notifications", names: "ended"},
	{route: "GET /Accounts/{AccountSid}/Calls/{CallSid}/Notifications/{Sid}", names: "ended note"},
	{route: "GET /Accounts/{AccountSid}/Calls/{CallSid}/Events", names: "ended"},
	{route: "GET /Accounts/{AccountSid}/Notifications"},
	{route: "GET /Accounts/{AccountSid}/Notifications/{Sid}", names: "note"},

	{route: "GET /Accounts/{AccountSid}/Recordings"},
	{route: "GET /Accounts/{AccountSid}/Recordings/{Sid}", names: "recording"},
	{route: "GET /Accounts/{AccountSid}/Recordings/{Sid}/:audio", names: "recording", path: "/Accounts/{AccountSid}/Recordings/{Sid}.wav?RequestedChannels=2"},
	{route: "DELETE /Accounts/{AccountSid}/Recordings/{Sid}", names: "recording"},
	{route: "GET /Accounts/{AccountSid}/Calls/{CallSid}/Recordings", names: "ended"},
	{route: "POST /Accounts/{AccountSid}/Calls/{CallSid}/Recordings", names: "live"},
	{route: "GET /Accounts/{AccountSid}/Calls/{CallSid}/Recordings/{Sid}", names: "ended recording2"},
	{route: "POST /Accounts/{AccountSid}/Calls/{CallSid}/Recordings/{Sid}", names: "ended recording2", body: "Status=stopped"},
	{route: "DELETE /Accounts/{AccountSid}/Calls/{CallSid}/Recordings/{Sid}", names: "ended recording2"},

	{route: "GET /Accounts/{AccountSid}/Applications"},
	{route: "POST /Accounts/{AccountSid}/Applications"},
	{route: "GET /Accounts/{AccountSid}/Applications/{Sid}", names: "application"},
	{route: "POST /Accounts/{AccountSid}/Applications/{Sid}", names: "application", body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/Applications/{Sid}", names: "application"},

	{route: "GET /Accounts/{AccountSid}/OutgoingCallerIds"},
	{route: "POST /Accounts/{AccountSid}/OutgoingCallerIds", body: "PhoneNumber=$phone"},
	{route: "GET /Accounts/{AccountSid}/OutgoingCallerIds/{Sid}", names: "caller"},
	{route: "POST /Accounts/{AccountSid}/OutgoingCallerIds/{Sid}", names: "caller", body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/OutgoingCallerIds/{Sid}", names: "caller"},

	{route: "GET /Accounts/{AccountSid}/IncomingPhoneNumbers"},
	{route: "POST /Accounts/{AccountSid}/IncomingPhoneNumbers", body: "PhoneNumber=$phone"},
	{route: "GET /Accounts/{AccountSid}/IncomingPhoneNumbers/{Sid}", names: "number"},
	{route: "POST /Accounts/{AccountSid}/IncomingPhoneNumbers/{Sid}", names: "number", body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/IncomingPhoneNumbers/{Sid}", names: "number"},

	{route: "GET /Accounts/{AccountSid}/SIP/Domains"},
	{route: "POST /Accounts/{AccountSid}/SIP/Domains", body: "DomainName=$word.example"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{Sid}", names: "domain"},
	{route: "POST /Accounts/{AccountSid}/SIP/Domains/{Sid}", names: "domain", body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/Domains/{Sid}", names: "domain"},
	{route: "GET /Accounts/{AccountSid}/SIP/CredentialLists"},
	{route: "POST /Accounts/{AccountSid}/SIP/CredentialLists", body: "FriendlyName=x"},
	{route: "GET /Accounts/{AccountSid}/SIP/CredentialLists/{Sid}", names: "credentials"},
	{route: "POST /Accounts/{AccountSid}/SIP/CredentialLists/{Sid}", names: "credentials", body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/CredentialLists/{Sid}", names: "credentials"},
	{route: "GET /Accounts/{AccountSid}/SIP/CredentialLists/{ListSid}/Credentials", names: "credentials"},
	{route: "POST /Accounts/{AccountSid}/SIP/CredentialLists/{ListSid}/Credentials", names: "credentials", body: "Username=$word&Password=Secret-000001"},
	{route: "GET /Accounts/{AccountSid}/SIP/CredentialLists/{ListSid}/Credentials/{Sid}", names: "credentials credential"},
	{route: "POST /Accounts/{AccountSid}/SIP/CredentialLists/{ListSid}/Credentials/{Sid}", names: "credentials credential", body: "Password=Secret-000002"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/CredentialLists/{ListSid}/Credentials/{Sid}", names: "credentials credential"},
	{route: "GET /Accounts/{AccountSid}/SIP/IpAccessControlLists"},
	{route: "POST /Accounts/{AccountSid}/SIP/IpAccessControlLists", body: "FriendlyName=x"},
	{route: "GET /Accounts/{AccountSid}/SIP/IpAccessControlLists/{Sid}", names: "addresses"},
	{route: "POST /Accounts/{AccountSid}/SIP/IpAccessControlLists/{Sid}", names: "addresses", body: "FriendlyName=x"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/IpAccessControlLists/{Sid}", names: "addresses"},
	{route: "GET /Accounts/{AccountSid}/SIP/IpAccessControlLists/{ListSid}/IpAddresses", names: "addresses"},
	{route: "POST /Accounts/{AccountSid}/SIP/IpAccessControlLists/{ListSid}/IpAddresses", names: "addresses", body: "FriendlyName=x&IpAddress=192.0.2.9"},
	{route: "GET /Accounts/{AccountSid}/SIP/IpAccessControlLists/{ListSid}/IpAddresses/{Sid}", names: "addresses address"},
	{route: "POST /Accounts/{AccountSid}/SIP/IpAccessControlLists/{ListSid}/IpAddresses/{Sid}", names: "addresses address", body: "FriendlyName=y"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/IpAccessControlLists/{ListSid}/IpAddresses/{Sid}", names: "addresses address"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/CredentialListMappings", names: "domain"},
	{route: "POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/CredentialListMappings", names: "domain", body: "CredentialListSid=$credentials"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/CredentialListMappings/{Sid}", names: "domain credentials"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/CredentialListMappings/{Sid}", names: "domain credentials"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/IpAccessControlListMappings", names: "domain"},
	{route: "POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/IpAccessControlListMappings", names: "domain", body: "IpAccessControlListSid=$addresses"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/IpAccessControlListMappings/{Sid}", names: "domain addresses"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/IpAccessControlListMappings/{Sid}", names: "domain addresses"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/CredentialListMappings", names: "domain"},
	{route: "POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/CredentialListMappings", names: "domain", body: "CredentialListSid=$credentials2"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/CredentialListMappings/{Sid}", names: "domain credentials2"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/CredentialListMappings/{Sid}", names: "domain credentials2"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/IpAccessControlListMappings", names: "domain"},
	{route: "POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/IpAccessControlListMappings", names: "domain", body: "IpAccessControlListSid=$addresses2"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/IpAccessControlListMappings/{Sid}", names: "domain addresses2"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/IpAccessControlListMappings/{Sid}", names: "domain addresses2"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Registrations/CredentialListMappings", names: "domain"},
	{route: "POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Registrations/CredentialListMappings", names: "domain", body: "CredentialListSid=$credentials"},
	{route: "GET /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Registrations/CredentialListMappings/{Sid}", names: "domain credentials"},
	{route: "DELETE /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Registrations/CredentialListMappings/{Sid}", names: "domain credentials"},

	{route: "GET /v1/Trunks"},
	{route: "POST /v1/Trunks"},
	{route: "GET /v1/Trunks/{Sid}", names: "elastic"},
	{route: "POST /v1/Trunks/{Sid}", names: "elastic", body: "FriendlyName=x"},
	{route: "DELETE /v1/Trunks/{Sid}", names: "elastic"},
	{route: "GET /v1/Trunks/{TrunkSid}/OriginationUrls", names: "elastic"},
	{route: "POST /v1/Trunks/{TrunkSid}/OriginationUrls", names: "elastic", body: "Weight=1&Priority=1&Enabled=true&FriendlyName=x&SipUrl=sip:pbx.example"},
	{route: "GET /v1/Trunks/{TrunkSid}/OriginationUrls/{Sid}", names: "elastic origination"},
	{route: "POST /v1/Trunks/{TrunkSid}/OriginationUrls/{Sid}", names: "elastic origination", body: "FriendlyName=x"},
	{route: "DELETE /v1/Trunks/{TrunkSid}/OriginationUrls/{Sid}", names: "elastic origination"},
	{route: "GET /v1/Trunks/{TrunkSid}/CredentialLists", names: "elastic"},
	{route: "POST /v1/Trunks/{TrunkSid}/CredentialLists", names: "elastic", body: "CredentialListSid=$credentials"},
	{route: "GET /v1/Trunks/{TrunkSid}/CredentialLists/{Sid}", names: "elastic credentials"},
	{route: "DELETE /v1/Trunks/{TrunkSid}/CredentialLists/{Sid}", names: "elastic credentials"},
	{route: "GET /v1/Trunks/{TrunkSid}/IpAccessControlLists", names: "elastic"},
	{route: "POST /v1/Trunks/{TrunkSid}/IpAccessControlLists", names: "elastic", body: "IpAccessControlListSid=$addresses"},
	{route: "GET /v1/Trunks/{TrunkSid}/IpAccessControlLists/{Sid}", names: "elastic addresses"},
	{route: "DELETE /v1/Trunks/{TrunkSid}/IpAccessControlLists/{Sid}", names: "elastic addresses"},
	{route: "GET /v1/Trunks/{TrunkSid}/PhoneNumbers", names: "elastic"},
	{route: "POST /v1/Trunks/{TrunkSid}/PhoneNumbers", names: "elastic", body: "PhoneNumberSid=$number2"},
	{route: "GET /v1/Trunks/{TrunkSid}/PhoneNumbers/{Sid}", names: "elastic number2"},
	{route: "DELETE /v1/Trunks/{TrunkSid}/PhoneNumbers/{Sid}", names: "elastic number2"},
	{route: "GET /v1/Trunks/{TrunkSid}/Recording", names: "elastic"},
	{route: "POST /v1/Trunks/{TrunkSid}/Recording", names: "elastic", body: "Mode=do-not-record"},
	{route: "GET /v1/ByocTrunks"},
	{route: "POST /v1/ByocTrunks"},
	{route: "GET /v1/ByocTrunks/{Sid}", names: "byoc"},
	{route: "POST /v1/ByocTrunks/{Sid}", names: "byoc", body: "FriendlyName=x"},
	{route: "DELETE /v1/ByocTrunks/{Sid}", names: "byoc"},
	{route: "GET /v1/ConnectionPolicies"},
	{route: "POST /v1/ConnectionPolicies"},
	{route: "GET /v1/ConnectionPolicies/{Sid}", names: "policy"},
	{route: "POST /v1/ConnectionPolicies/{Sid}", names: "policy", body: "FriendlyName=x"},
	{route: "DELETE /v1/ConnectionPolicies/{Sid}", names: "policy"},
	{route: "GET /v1/ConnectionPolicies/{PolicySid}/Targets", names: "policy"},
	{route: "POST /v1/ConnectionPolicies/{PolicySid}/Targets", names: "policy", body: "Target=sip:a.example"},
	{route: "GET /v1/ConnectionPolicies/{PolicySid}/Targets/{Sid}", names: "policy target"},
	{route: "POST /v1/ConnectionPolicies/{PolicySid}/Targets/{Sid}", names: "policy target", body: "FriendlyName=x"},
	{route: "DELETE /v1/ConnectionPolicies/{PolicySid}/Targets/{Sid}", names: "policy target"},
	{route: "GET /v1/IpRecords"},
	{route: "POST /v1/IpRecords", body: "IpAddress=192.0.2.8"},
	{route: "GET /v1/IpRecords/{Sid}", names: "record"},
	{route: "POST /v1/IpRecords/{Sid}", names: "record", body: "FriendlyName=x"},
	{route: "DELETE /v1/IpRecords/{Sid}", names: "record"},
	{route: "GET /v1/SourceIpMappings"},
	{route: "POST /v1/SourceIpMappings", body: "IpRecordSid=$record2&SipDomainSid=$domain"},
	{route: "GET /v1/SourceIpMappings/{Sid}", names: "source"},
	{route: "POST /v1/SourceIpMappings/{Sid}", names: "source", body: "SipDomainSid=$domain"},
	{route: "DELETE /v1/SourceIpMappings/{Sid}", names: "source"},

	{route: "GET /v1/calls"},
	{route: "POST /v1/calls", body: `{"to": "$deaf", "from": "+15005550006", "twiml": "<Response/>"}`},
	{route: "GET /v1/calls/{id}", names: "live"},
	{route: "PATCH /v1/calls/{id}", names: "live", body: `{"annotation": "x"}`},
	{route: "DELETE /v1/calls/{id}", names: "ended2"},
	{route: "POST /v1/calls/{id}/redirect", names: "live", body: `{"twiml": "<Response/>"}`},
	{route: "POST /v1/calls/{id}/hangup", names: "live"},
	{route: "GET /v1/calls/{id}/detection", names: "ended"},
	{route: "POST /v1/calls/{id}/hold", names: "live"},
	{route: "POST /v1/calls/{id}/unhold", names: "live"},
	{route: "POST /v1/calls/{id}/mute", names: "live"},
	{route: "POST /v1/calls/{id}/unmute", names: "live"},
	{route: "POST /v1/calls/{id}/record", names: "live"},
	{route: "POST /v1/calls/{id}/stopRecording", names: "live"},
	{route: "GET /v1/calls/{sid}/events", names: "live"},
	{route: "GET /v1/events"},
	{route: "GET /v1/webhooks"},
	{route: "POST /v1/webhooks", body: `{"url": "http://127.0.0.1:9/"}`},
	{route: "GET /v1/webhooks/{id}", names: "webhook"},
	{route: "PATCH /v1/webhooks/{id}", names: "webhook", body: `{"events": ["completed"]}`},
	{route: "DELETE /v1/webhooks/{id}", names: "webhook"},
	{route: "POST /v1/webhooks/{id}/rotateSecret", names: "webhook"},
	{route: "GET /v1/webhooks/{id}/deliveries", names: "webhook"},
	{route: "POST /v1/webhooks/{id}/deliveries/{delivery}/resend", names: "webhook none", none: true},
	{route: "GET /v1/trunks"},
	{route: "POST /v1/trunks", body: `{"name": "$word", "host": "192.0.2.4"}`},
	{route: "DELETE /v1/trunks/{sid}", names: "carrier"},
	{route: "GET /v1/rates"},
	{route: "PUT /v1/rates", body: "prefix,rate\n1,0.01\n"},
	{route: "DELETE /v1/rates"},
}

// open are the routes that anybody may ask.
var open = []string{"GET /openapi.json", "GET /docs"}

// tenants is a server with accounts that have one of everything.
type tenants struct {
	*Server
	t    *testing.T
	deaf string // a SIP address where calls ring for ever
	n    int    // makes names
}

// credentials are what a request shows.
type credentials struct {
	name, user, password string
	of                   string // account SID
}

// tenant is an account with one of everything.
type tenant struct {
	token, key credentials
	sids       map[string]string
}

func (w *tenants) fill(text string, has map[string]string) string {
	for _, name := range slices.SortedFunc(maps.Keys(has), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) {
		text = strings.ReplaceAll(text, "$"+name, has[name])
	}
	w.n++
	text = strings.ReplaceAll(text, "$deaf", w.deaf)
	text = strings.ReplaceAll(text, "$phone", fmt.Sprintf("%%2B1415555%04d", w.n))
	return strings.ReplaceAll(text, "$word", fmt.Sprint("w", w.n))
}

// do sends a request; status 200 also stands for an answer that never ends.
func (w *tenants) do(as credentials, method, path, body string) (status int, answer string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.URL()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		switch {
		case body[0] == '{':
			r.Header.Set("Content-Type", "application/json")
		case strings.HasPrefix(body, "prefix,"):
			r.Header.Set("Content-Type", "text/csv")
		}
	}
	if as.user != "" {
		r.SetBasicAuth(as.user, as.password)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res.StatusCode, ""
	}
	b, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// made creates something and returns its SID.
func (w *tenants) made(as credentials, path, body string) string {
	w.t.Helper()
	sid, _ := w.madeWith(as, path, body)
	return sid
}

func (w *tenants) madeWith(as credentials, path, body string) (sid, secret string) {
	w.t.Helper()
	path = strings.Replace(path, "…", "/2010-04-01/Accounts/"+as.of, 1)
	status, answer := w.do(as, "POST", path, w.fill(body, nil))
	var v struct{ Sid, ID, Secret, AuthToken string }
	if err := json.Unmarshal([]byte(strings.Replace(answer, "auth_token", "AuthToken", 1)), &v); err != nil || status != http.StatusCreated {
		w.t.Fatalf("POST %s: %d %s", path, status, answer)
	}
	return v.Sid + v.ID, v.Secret + v.AuthToken
}

// subaccount makes an account of the operator's, and furnishes it.
func (w *tenants) subaccount(name string) *tenant {
	w.t.Helper()
	sid, token := w.madeWith(w.operator(), "/2010-04-01/Accounts.json", "FriendlyName="+name)
	return w.furnish(credentials{name, sid, token, sid})
}

func (w *tenants) operator() credentials {
	sid, token := w.Credentials()
	return credentials{"the parent", sid, token, sid}
}

// furnish gives an account one of everything.
func (w *tenants) furnish(as credentials) *tenant {
	w.t.Helper()
	is := map[string]string{}
	t := &tenant{token: as, sids: is}
	key, secret := w.madeWith(as, "…/Keys.json", "")
	t.key = credentials{"a key of " + as.name, key, secret, as.of}
	is["webhook"] = w.made(as, "/v1/webhooks", `{"url": "http://127.0.0.1:9/"}`)
	is["none"] = "none"
	is["application"] = w.made(as, "…/Applications.json", "VoiceUrl=http://127.0.0.1:9/")
	for name, path := range map[string]string{
		"key2": "…/Keys.json", "key3": "…/SigningKeys.json", "elastic": "/v1/Trunks", "byoc": "/v1/ByocTrunks", "policy": "/v1/ConnectionPolicies",
	} {
		is[name] = w.made(as, path, "")
	}
	for _, name := range []string{"credentials", "credentials2", "addresses", "addresses2"} {
		kind := "IpAccessControlLists"
		if strings.HasPrefix(name, "c") {
			kind = "CredentialLists"
		}
		is[name] = w.made(as, "…/SIP/"+kind+".json", "FriendlyName="+name)
	}
	is["number"] = w.made(as, "…/IncomingPhoneNumbers.json", "PhoneNumber=$phone")
	is["number2"] = w.made(as, "…/IncomingPhoneNumbers.json", "PhoneNumber=$phone&TrunkSid="+is["elastic"])
	is["domain"] = w.made(as, "…/SIP/Domains.json", "DomainName=$word.example")
	is["credential"] = w.made(as, "…/SIP/CredentialLists/"+is["credentials"]+"/Credentials.json", "Username=ann&Password=Secret-000001")
	is["address"] = w.made(as, "…/SIP/IpAccessControlLists/"+is["addresses"]+"/IpAddresses.json", "FriendlyName=a&IpAddress=192.0.2.1")
	at := "…/SIP/Domains/" + is["domain"]
	w.made(as, at+"/Auth/Registrations/CredentialListMappings.json", "CredentialListSid="+is["credentials"])
	for _, n := range []string{"", "2"} {
		w.made(as, at+"/CredentialListMappings.json", "CredentialListSid="+is["credentials"+n])
		w.made(as, at+"/IpAccessControlListMappings.json", "IpAccessControlListSid="+is["addresses"+n])
		is["record"+n] = w.made(as, "/v1/IpRecords", "IpAddress=192.0.2.7")
	}
	w.made(as, "/v1/Trunks/"+is["elastic"]+"/CredentialLists", "CredentialListSid="+is["credentials"])
	w.made(as, "/v1/Trunks/"+is["elastic"]+"/IpAccessControlLists", "IpAccessControlListSid="+is["addresses"])
	is["origination"] = w.made(as, "/v1/Trunks/"+is["elastic"]+"/OriginationUrls", "Weight=1&Priority=1&Enabled=true&FriendlyName=x&SipUrl=sip:pbx.example")
	is["target"] = w.made(as, "/v1/ConnectionPolicies/"+is["policy"]+"/Targets", "Target=sip:a.example")
	is["source"] = w.made(as, "/v1/SourceIpMappings", "IpRecordSid="+is["record"]+"&SipDomainSid="+is["domain"])
	is["carrier"] = w.made(as, "/v1/trunks", `{"name": "$word", "host": "192.0.2.3", "prefixes": ["+999"]}`)
	is["live"] = w.made(as, "…/Calls.json", "To=$deaf&From=%2B15005550006&Twiml=<Response/>")

	// What would take calls of some length to make, or another account to vouch for.
	now := clock.System.Now().UTC()
	caller := &call.CallerID{Record: call.Record{SID: twilio.NewSID(twilio.NumberPrefix), AccountSID: as.of, DateCreated: now, DateUpdated: now}, PhoneNumber: "+14155559999"}
	if err := w.store.CallerIDs().Create(w.t.Context(), caller); err != nil {
		w.t.Fatal(err)
	}
	is["caller"] = caller.SID
	for _, name := range []string{"ended", "ended2"} {
		c := &call.Call{
			SID: twilio.NewSIDAt(twilio.CallPrefix, now), AccountSID: as.of, To: "+15005551001", From: "+15005550006", Direction: call.OutboundAPI,
			Status: call.Completed, DateCreated: now, DateUpdated: now, DialedAt: now, AnsweredAt: now, EndedAt: now, PriceUnit: "USD",
		}
		var ch call.Change
		for _, n := range []string{"", "2"} {
			r := &call.Recording{
				SID: twilio.NewSIDAt(twilio.RecordingPrefix, now), AccountSID: as.of, CallSID: c.SID, Status: call.RecordingCompleted,
				Source: call.SourceAPI, Track: call.TrackBoth, Channels: 1, DateCreated: now, DateUpdated: now, StartTime: now, Key: "none",
			}
			ch.Recordings = append(ch.Recordings, r)
			if name == "ended" {
				is["recording"+n] = r.SID
			}
		}
		ch.Detections = []call.Detection{{CallSID: c.SID, AccountSID: as.of, Time: now, AnsweredBy: "human"}}
		note := call.Notification{SID: twilio.NewSIDAt(twilio.NotificationPrefix, now), CallSID: c.SID, AccountSID: as.of, Code: 11200, Time: now}
		if err := errors.Join(w.store.AddCall(w.t.Context(), c, ch), w.store.AddNotification(w.t.Context(), note)); err != nil {
			w.t.Fatal(err)
		}
		is[name], is["note"] = c.SID, cmp.Or(is["note"], note.SID)
	}
	return t
}

// request is the row's for what the tenant owner has, in the account of.
func (w *tenants) request(e endpoint, owner *tenant, of string) (method, path, body string) {
	method, pattern, _ := strings.Cut(e.route, " ")
	path = cmp.Or(e.path, pattern)
	names := strings.Fields(e.names)
	for part := range strings.SplitSeq(pattern, "/") {
		switch {
		case part == "{AccountSid}":
			path = strings.Replace(path, part, of, 1)
		case strings.HasPrefix(part, "{"):
			sid := owner.sids[names[0]]
			if sid == "" {
				w.t.Fatalf("%s: there is no %s", e.route, names[0])
			}
			path, names = strings.Replace(path, part, sid, 1), names[1:]
		}
	}
	if strings.HasPrefix(path, "/Accounts") {
		path = "/2010-04-01" + path
		if e.path == "" {
			path += ".json"
		}
	}
	return method, path, w.fill(e.body, owner.sids)
}

// firstEvent is the oldest of all that an account can follow.
func (w *tenants) firstEvent(as credentials) string {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", w.URL()+"/v1/events", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.SetBasicAuth(as.user, as.password)
	r.Header.Set("Last-Event-ID", "0")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
			return data
		}
	}
	return "nothing: " + res.Status
}

func refused(status int) bool { return status == 401 || status == 403 || status == 404 }

// foreign asks as others for what owner has: by the owner's paths, and by those of their own accounts.
func (w *tenants) foreign(owner *tenant, others ...credentials) {
	for _, e := range endpoints {
		named := strings.Contains(e.route, "{AccountSid}")
		for _, as := range others {
			of := []string{owner.token.of}
			if named && as.of != "" {
				of = append(of, as.of)
			}
			for _, of := range of {
				theirs := of == as.of || !named && as.of != "" // a path of their own
				if theirs && e.names == "" && !strings.HasPrefix(e.route, "GET") {
					continue // makes something of their own
				}
				method, path, body := w.request(e, owner, of)
				status, answer := w.do(as, method, path, body)
				if refused(status) {
					continue
				}
				if theirs && e.names == "" && !strings.Contains(answer, owner.token.password) && !owner.shows(answer) {
					continue // a list of their own
				}
				w.t.Errorf("%s as %s: %d %s", method+" "+path, as.name, status, answer)
			}
		}
	}
}

// shows reports whether an answer has a SID of the tenant's.
func (t *tenant) shows(answer string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(t.sids)), func(sid string) bool {
		return twilio.IsSID(sid, "") && strings.Contains(answer, sid)
	})
}

// own asks for all that t has, deletions last and the deepest first; all is let in, but that which an API key may not.
func (w *tenants) own(t *tenant, as credentials, key bool) {
	order := func(e endpoint) int {
		if strings.HasPrefix(e.route, "DELETE") {
			return 1000 - strings.Count(e.route, "/")
		}
		return 0
	}
	rows := slices.Clone(endpoints)
	slices.SortStableFunc(rows, func(a, b endpoint) int { return order(a) - order(b) })
	for _, e := range rows {
		if as.of != t.token.of && !strings.Contains(e.route, "{AccountSid}") {
			continue // the parent's own
		}
		if e.route == "POST /Accounts" && as.of == t.token.of {
			continue // subaccounts have none
		}
		method, path, body := w.request(e, t, t.token.of)
		status, answer := w.do(as, method, path, body)
		if want := key && e.keys || e.none; refused(status) != want || status >= 500 {
			w.t.Errorf("%s as %s: %d %s", method+" "+path, as.name, status, answer)
		}
	}
}

// routes are those of both APIs, as method and pattern.
func (w *tenants) routes() (all []string) {
	twilioAPI, callAPI := w.apis()
	for _, table := range []chi.Routes{twilioAPI.(interface{ Table() chi.Routes }).Table(), callAPI.(chi.Routes)} {
		err := chi.Walk(table, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			if slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, method) {
				all = append(all, method+" "+route)
			}
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

// Nobody reaches what another account has, by any endpoint; an account's own token, its parent's and its keys reach
// all of it that they may.
func TestTenantMatrix(t *testing.T) {
	s, err := Start(t.Context(), Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", Mode: Dev})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	defer s.Close(over)
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	w := &tenants{Server: s, t: t, deaf: "sip:" + deaf.LocalAddr().String()}

	rows := map[string]bool{}
	for _, e := range endpoints {
		rows[e.route] = true
	}
	for _, route := range w.routes() {
		if rows[route] || slices.Contains(open, route) {
			delete(rows, route)
			continue
		}
		// One that says that it is not there needs no row.
		method, path, _ := strings.Cut(route, " ")
		path = "/2010-04-01" + strings.NewReplacer("{AccountSid}", w.operator().of, "{", "", "}", "", "*", "x").Replace(path)
		if _, answer := w.do(w.operator(), method, path, ""); !strings.Contains(answer, "is not available in this version") {
			t.Errorf("%s has no row in endpoints: which account may ask what of it?", route)
		}
		if status, _ := w.do(credentials{}, method, path, ""); status != 401 {
			t.Errorf("%s without credentials: %d", route, status)
		}
	}
	for route := range rows {
		t.Errorf("there is no route %s", route)
	}

	parent := w.furnish(w.operator())
	mine, sibling := w.subaccount("mine"), w.subaccount("sibling")
	stranger := credentials{"a stranger", twilio.NewSID("AC"), "secret", ""}
	stranger.of = stranger.user
	account := &call.Account{SID: stranger.user, AuthToken: stranger.password, FriendlyName: "stranger", DateCreated: clock.System.Now()}
	if err := s.store.PutAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	key, secret := w.madeWith(stranger, "…/Keys.json", "")
	strangersKey := credentials{"a stranger's key", key, secret, stranger.of}
	nobody := []credentials{
		{name: "nobody"}, {name: "a wrong token", user: mine.token.user, password: "x"}, {name: "a wrong secret", user: mine.key.user, password: "x"},
		{name: "no token", user: mine.token.user}, {name: "an account that is not there", user: twilio.NewSID("AC"), password: "x"},
		{name: "another's token", user: mine.token.user, password: sibling.token.password},
	}
	w.foreign(mine, append(nobody, sibling.token, sibling.key, parent.key, stranger, strangersKey)...)
	w.foreign(parent, mine.token, mine.key, stranger)
	if event := w.firstEvent(sibling.key); !sibling.shows(event) { // those of the others are older
		t.Errorf("the events of an account begin with %s", event)
	}
	w.own(mine, mine.token, false)
	w.own(sibling, sibling.key, true)
	w.own(w.subaccount("child"), w.operator(), false)
	w.own(parent, parent.token, false)
}

// A parameter that names what another account has is refused, whoever that account is to the caller.
func TestParametersOfOtherTenants(t *testing.T) {
	s, err := Start(t.Context(), Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", Mode: Dev})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	defer s.Close(over)
	w := &tenants{Server: s, t: t, deaf: "sip:127.0.0.1:9"}
	parent, mine, sibling := w.furnish(w.operator()), w.subaccount("mine"), w.subaccount("sibling")
	for _, test := range []struct{ route, names, body string }{
		{"POST /Accounts/{AccountSid}/Calls", "", "To=%2B15005551001&From=%2B15005550006&Twiml=<Response/>&Byoc=$byoc"},
		{"POST /Accounts/{AccountSid}/Calls", "", "To=%2B15005551001&From=%2B15005550006&ApplicationSid=$application"},
		{"POST /Accounts/{AccountSid}/IncomingPhoneNumbers", "", "PhoneNumber=$phone&TrunkSid=$elastic"},
		{"POST /Accounts/{AccountSid}/IncomingPhoneNumbers", "", "PhoneNumber=$phone&VoiceApplicationSid=$application"},
		{"POST /Accounts/{AccountSid}/IncomingPhoneNumbers/{Sid}", "number", "VoiceApplicationSid=$application"},
		{"POST /Accounts/{AccountSid}/IncomingPhoneNumbers/{Sid}", "number", "TrunkSid=$elastic"},
		{"POST /Accounts/{AccountSid}/SIP/Domains", "", "DomainName=$word.example&ByocTrunkSid=$byoc"},
		{"POST /Accounts/{AccountSid}/SIP/Domains/{Sid}", "domain", "ByocTrunkSid=$byoc"},
		{"POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/CredentialListMappings", "domain", "CredentialListSid=$credentials"},
		{"POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/IpAccessControlListMappings", "domain", "IpAccessControlListSid=$addresses"},
		{"POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/CredentialListMappings", "domain", "CredentialListSid=$credentials"},
		{"POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Calls/IpAccessControlListMappings", "domain", "IpAccessControlListSid=$addresses"},
		{"POST /Accounts/{AccountSid}/SIP/Domains/{DomainSid}/Auth/Registrations/CredentialListMappings", "domain", "CredentialListSid=$credentials"},
		{"POST /v1/Trunks/{TrunkSid}/CredentialLists", "elastic", "CredentialListSid=$credentials"},
		{"POST /v1/Trunks/{TrunkSid}/IpAccessControlLists", "elastic", "IpAccessControlListSid=$addresses"},
		{"POST /v1/Trunks/{TrunkSid}/PhoneNumbers", "elastic", "PhoneNumberSid=$number"},
		{"POST /v1/ByocTrunks", "", "ConnectionPolicySid=$policy"},
		{"POST /v1/ByocTrunks/{Sid}", "byoc", "ConnectionPolicySid=$policy"},
		{"POST /v1/SourceIpMappings", "", "IpRecordSid=$record2&SipDomainSid=" + mine.sids["domain"]},
		{"POST /v1/SourceIpMappings", "", "SipDomainSid=$domain&IpRecordSid=" + mine.sids["record2"]},
		{"POST /v1/SourceIpMappings/{Sid}", "source", "SipDomainSid=$domain"},
		{"POST /v1/calls/{id}/stopRecording", "ended", `{"recordingId": "$recording"}`},
	} {
		for _, other := range []*tenant{parent, sibling} {
			method, path, _ := w.request(endpoint{route: test.route, names: test.names}, mine, mine.token.of)
			status, answer := w.do(mine.token, method, path, w.fill(test.body, other.sids))
			if status < 400 || status == 409 || status >= 500 {
				t.Errorf("%s with %s of %s: %d %s", test.route, test.body, other.token.name, status, answer)
			}
		}
		method, path, body := w.request(endpoint{route: test.route, names: test.names, body: test.body}, mine, mine.token.of)
		if status, answer := w.do(mine.token, method, path, body); status >= 400 && status != 409 {
			t.Errorf("%s with %s of one's own: %d %s", test.route, test.body, status, answer)
		}
	}
	// A filter selects of one's own alone.
	for path, list := range map[string]string{
		"/Calls.json?ParentCallSid=$live": "calls", "/Recordings.json?CallSid=$ended": "recordings",
	} {
		path = "/2010-04-01/Accounts/" + mine.token.of + w.fill(path, sibling.sids)
		status, answer := w.do(mine.token, "GET", path, "")
		var page map[string]any
		if err := json.Unmarshal([]byte(answer), &page); err != nil || status != 200 {
			t.Fatalf("%s: %d %s", path, status, answer)
		}
		if found, ok := page[list].([]any); !ok || len(found) != 0 {
			t.Errorf("%s: %s", path, url.PathEscape(answer))
		}
	}
}
