package twilioapi

import (
	"slices"
	"strings"
	"testing"
)

const accountsPath = base + "/Accounts"

// accountBody is an account as it is answered.
type accountBody struct {
	Sid, Status, Uri string
	FriendlyName     string            `json:"friendly_name"`
	OwnerAccountSid  string            `json:"owner_account_sid"`
	AuthToken        string            `json:"auth_token"`
	SubresourceUris  map[string]string `json:"subresource_uris"`
}

func (w *world) account(status int, a answer) (v accountBody) {
	w.t.Helper()
	if a.status != status {
		w.t.Fatalf("%d %s, want %d", a.status, a.body, status)
	}
	a.decode(w.t, &v)
	return v
}

func TestSubaccounts(t *testing.T) {
	w := newWorld(t)
	sub := w.account(201, w.do(testSID, "POST", accountsPath+".json", "FriendlyName=shop"))
	if sub.OwnerAccountSid != testSID || sub.Status != "active" || sub.FriendlyName != "shop" || len(sub.AuthToken) != 32 ||
		sub.Uri != accountsPath+"/"+sub.Sid+".json" || sub.SubresourceUris["keys"] != accountsPath+"/"+sub.Sid+"/Keys.json" {
		t.Errorf("made: %+v", sub)
	}
	if named := w.account(201, w.do(testSID, "POST", accountsPath+".json", "")); !strings.HasPrefix(named.FriendlyName, "SubAccount Created at 20") {
		t.Errorf("without a name: %q", named.FriendlyName)
	}
	if a := w.as(sub.Sid, sub.AuthToken, "POST", accountsPath+".json", ""); a.status != 400 || a.code() != 21101 {
		t.Errorf("a subaccount of a subaccount: %d %s", a.status, a.body)
	}

	path := accountsPath + "/" + sub.Sid
	for who, a := range map[string]answer{"its parent": w.do(testSID, "GET", path+".json", ""), "itself": w.as(sub.Sid, sub.AuthToken, "GET", path+".json", "")} {
		if got := w.account(200, a); got.AuthToken != sub.AuthToken || got.OwnerAccountSid != testSID {
			t.Errorf("%s sees %+v", who, got)
		}
	}
	for name, want := range map[string][]string{
		"?PageSize=1": nil, "?FriendlyName=shop": {sub.Sid}, "?Status=suspended": nil, "?FriendlyName=shop&Status=active": {sub.Sid},
	} {
		var list struct{ Accounts []accountBody }
		w.do(testSID, "GET", accountsPath+".json"+name, "").decode(t, &list)
		var sids []string
		for _, a := range list.Accounts {
			sids = append(sids, a.Sid)
		}
		if name == "?PageSize=1" {
			if len(sids) != 1 {
				t.Errorf("a page of one: %v", sids)
			}
		} else if !slices.Equal(sids, want) {
			t.Errorf("%s: %v", name, sids)
		}
	}

	number := w.as(sub.Sid, sub.AuthToken, "POST", path+"/IncomingPhoneNumbers.json", "PhoneNumber=%2B14155550177")
	if number.status != 201 {
		t.Fatal(number.body)
	}
	update := func(form string) answer { return w.do(testSID, "POST", path+".json", form) }
	if a := w.as(sub.Sid, sub.AuthToken, "POST", path+".json", "Status=suspended"); a.status != 403 || a.code() != 20006 {
		t.Errorf("a subaccount suspends itself: %d %s", a.status, a.body)
	}
	if got := w.account(200, w.as(sub.Sid, sub.AuthToken, "POST", path+".json", "FriendlyName=store")); got.FriendlyName != "store" {
		t.Errorf("renamed: %+v", got)
	}
	if got := w.account(200, update("Status=suspended")); got.Status != "suspended" || got.FriendlyName != "store" {
		t.Errorf("suspended: %+v", got)
	}
	// At once: its own credentials open nothing, its parent's still do, but make no calls.
	for what, test := range map[string]struct {
		answer
		status, code int
	}{
		"its token":           {w.as(sub.Sid, sub.AuthToken, "GET", path+"/Calls.json", ""), 403, 20005},
		"its token, under v1": {w.as(sub.Sid, sub.AuthToken, "GET", "/v1/Trunks", ""), 403, 20005},
		"a call":              {w.do(testSID, "POST", path+"/Calls.json", "To=%2B14155550100&From=%2B14155550101&Url=http://a.example/"), 403, 20005},
		"its parent":          {w.do(testSID, "GET", path+"/Calls.json", ""), 200, 0},
		"its numbers":         {w.do(testSID, "GET", path+"/IncomingPhoneNumbers.json", ""), 200, 0},
	} {
		if test.answer.status != test.status || test.answer.code() != test.code {
			t.Errorf("suspended, %s: %d %s", what, test.answer.status, test.body)
		}
	}
	w.account(200, update("Status=active"))
	if a := w.as(sub.Sid, sub.AuthToken, "GET", path+"/Calls.json", ""); a.status != 200 {
		t.Errorf("awake again: %d %s", a.status, a.body)
	}
	if len(w.calls.ended) != 0 {
		t.Errorf("calls of %v were ended", w.calls.ended)
	}
	if got := w.account(200, update("Status=closed")); got.Status != "closed" || !slices.Equal(w.calls.ended, []string{sub.Sid}) {
		t.Errorf("closed: %+v, the calls of %v were ended", got, w.calls.ended)
	}
	for what, a := range map[string]answer{
		"opened again": update("Status=active"), "renamed": update("FriendlyName=x"),
		"a number for it": w.do(testSID, "POST", path+"/IncomingPhoneNumbers.json", "PhoneNumber=%2B14155550178"),
		"its token":       w.as(sub.Sid, sub.AuthToken, "GET", path+".json", ""),
	} {
		if a.status != 403 || a.code() != 20005 {
			t.Errorf("closed, %s: %d %s", what, a.status, a.body)
		}
	}
	if a := w.do(testSID, "POST", pnPath+".json", "PhoneNumber=%2B14155550177"); a.status != 201 {
		t.Errorf("its number is not free: %s", a.body)
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	const path = accountsPath + "/" + testSID
	for collection, key := range map[string]string{"Keys": "keys", "SigningKeys": "signing_keys"} {
		at := path + "/" + collection
		made := w.want(201, "POST", at+".json", "FriendlyName=ci")
		sid, secret := made["sid"].(string), made["secret"].(string)
		if len(secret) != 32 || made["friendly_name"] != "ci" || len(made) != 5 {
			t.Errorf("made: %v", made)
		}
		got := w.want(200, "POST", at+"/"+sid+".json", "FriendlyName=build")
		if got["friendly_name"] != "build" || got["secret"] != nil || len(got) != 4 {
			t.Errorf("changed: %v", got)
		}
		if got := w.want(200, "GET", at+"/"+sid+".json", ""); got["friendly_name"] != "build" || got["secret"] != nil {
			t.Errorf("fetched: %v", got)
		}
		if list := w.want(200, "GET", at+".json", "")[key].([]any); len(list) != 1 || strings.Contains(w.do(testSID, "GET", at+".json", "").body, secret) {
			t.Errorf("listed: %v", list)
		}

		for _, test := range []struct {
			method, path string
			want         int
		}{
			{"GET", path + "/Calls.json", 200}, {"GET", "/v1/Trunks", 200}, {"POST", "/v1/ByocTrunks", 201},
			{"GET", accountsPath + ".json", 401}, {"POST", accountsPath + ".json", 401}, {"GET", path + ".json", 401},
			{"POST", path + ".json", 401}, {"GET", path + "/Keys.json", 401}, {"POST", path + "/SigningKeys.json", 401},
			{"DELETE", at + "/" + sid + ".json", 401}, {"GET", accountsPath + "/" + otherSID + "/Calls.json", 401},
		} {
			if a := w.as(sid, secret, test.method, test.path, ""); a.status != test.want {
				t.Errorf("%s %s with a key: %d, want %d: %s", test.method, test.path, a.status, test.want, a.body)
			}
		}
		w.want(204, "DELETE", at+"/"+sid+".json", "")
		if a := w.as(sid, secret, "GET", path+"/Calls.json", ""); a.status != 401 || a.code() != 20003 {
			t.Errorf("deleted: %d %s", a.status, a.body)
		}
		w.want(404, "GET", at+"/"+sid+".json", "")
	}
}
