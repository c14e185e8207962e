package twilioapi

import (
	"strings"
	"testing"
)

func TestOutgoingCallerIDs(t *testing.T) {
	w := newWorld(t)
	sub := w.account(201, w.do(testSID, "POST", accountsPath+".json", ""))
	path := accountsPath + "/" + sub.Sid + "/OutgoingCallerIds"
	for name, test := range map[string]struct {
		answer
		status, code int
		says         string
	}{
		"a validation call":       {w.do(testSID, "POST", path+".json", "PhoneNumber=%2B14155550100"), 400, 20001, "not available"},
		"with a delay":            {w.do(testSID, "POST", path+".json", "PhoneNumber=%2B14155550100&Verified=true&CallDelay=5"), 400, 20001, "CallDelay"},
		"by the subaccount":       {w.as(sub.Sid, sub.AuthToken, "POST", path+".json", "PhoneNumber=%2B14155550100&Verified=true"), 403, 20006, ""},
		"no number":               {w.do(testSID, "POST", path+".json", "Verified=true"), 400, 20001, "PhoneNumber"},
		"what is no phone number": {w.do(testSID, "POST", path+".json", "PhoneNumber=12&Verified=true"), 400, 21211, ""},
	} {
		if test.answer.status != test.status || test.code != test.answer.code() || !strings.Contains(test.body, test.says) {
			t.Errorf("%s: %d %s", name, test.answer.status, test.body)
		}
	}
	made := w.want(200, "POST", path+".json", "PhoneNumber=%2B14155550100&Verified=True&CallDelay=0")
	if len(made) != 5 || made["account_sid"] != sub.Sid || made["phone_number"] != "+14155550100" || made["friendly_name"] != "+14155550100" || made["validation_code"] != nil {
		t.Errorf("made: %v", made)
	}
	if a := w.do(testSID, "POST", path+".json", "PhoneNumber=%2B14155550100&Verified=true"); a.status != 409 {
		t.Errorf("twice: %d %s", a.status, a.body)
	}
	w.want(200, "POST", path+".json", "PhoneNumber=%2B14155550101&FriendlyName=desk&Verified=true")
	sid := ""
	for filter, want := range map[string]string{"": "desk +14155550100 ", "?FriendlyName=desk": "desk ", "?PhoneNumber=%2B14155550100": "+14155550100 ", "?PhoneNumber=%2B1": ""} {
		var list struct {
			IDs []struct {
				Sid          string
				FriendlyName string `json:"friendly_name"`
			} `json:"outgoing_caller_ids"`
		}
		w.as(sub.Sid, sub.AuthToken, "GET", path+".json"+filter, "").decode(t, &list)
		names := ""
		for _, id := range list.IDs {
			names += id.FriendlyName + " "
			sid = id.Sid
		}
		if names != want {
			t.Errorf("%s: %q, want %q", filter, names, want)
		}
	}
	got := w.want(200, "POST", path+"/"+sid+".json", "FriendlyName=phone")
	if len(got) != 7 || got["friendly_name"] != "phone" || got["uri"] != path+"/"+sid+".json" {
		t.Errorf("renamed: %v", got)
	}
	w.want(204, "DELETE", path+"/"+sid+".json", "")
	w.want(404, "GET", path+"/"+sid+".json", "")
}
