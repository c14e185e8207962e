package twilioapi

import (
	"strings"
	"testing"
)

const appPath = base + "/Accounts/" + testSID + "/Applications"

func TestApplicationErrors(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		form string
		code int
		says string
	}{
		{"FriendlyName=" + strings.Repeat("x", 65), 20001, "64"},
		{"VoiceUrl=ftp://a.example", 11100, "VoiceUrl"},
		{"VoiceMethod=PUT", 21209, "VoiceMethod"},
		{"VoiceFallbackUrl=a.example/f", 11100, "VoiceFallbackUrl"},
		{"VoiceFallbackMethod=X", 21209, "VoiceFallbackMethod"},
		{"StatusCallback=https://a_b.example", 21609, "StatusCallback"},
		{"StatusCallbackMethod=X", 21209, "StatusCallbackMethod"},
		{"VoiceCallerIdLookup=perhaps", 20001, "VoiceCallerIdLookup"},
		{"SmsUrl=https://a.example", 20001, "SmsUrl is not available"},
		{"SmsMethod=GET", 20001, "SmsMethod is not available"},
		{"MessageStatusCallback=https://a.example", 20001, "MessageStatusCallback is not available"},
		{"ApiVersion=2008-08-01", 20001, "ApiVersion is not available"},
	} {
		if a := w.do(testSID, "POST", appPath+".json", test.form); a.status != 400 || a.code() != test.code || !strings.Contains(a.body, test.says) {
			t.Errorf("%s: %d %s", test.form, a.status, a.body)
		}
	}
}

func TestApplicationsByName(t *testing.T) {
	w := newWorld(t)
	shop := w.make(appPath+".json", "FriendlyName=shop")
	w.make(appPath+".json", "FriendlyName=shop+2")
	list := w.want(200, "GET", appPath+".json?FriendlyName=shop", "")
	if items, _ := list["applications"].([]any); len(items) != 1 || items[0].(map[string]any)["sid"] != shop {
		t.Errorf("%v", list)
	}
	if want := appPath + ".json?FriendlyName=shop&PageSize=50&Page=0"; list["uri"] != want {
		t.Errorf("uri %v, want %s", list["uri"], want)
	}
	xml := w.do(testSID, "GET", appPath+"/"+shop, "").body
	if !strings.Contains(xml, "<Application><Sid>"+shop+"</Sid>") || !strings.Contains(xml, "<VoiceUrl/>") {
		t.Error(xml)
	}
}

// The calls of a number go to an application of its account; without it they go to the number's own URL again.
func TestANumberOfAnApplication(t *testing.T) {
	w := newWorld(t)
	app := w.make(appPath+".json", "VoiceUrl=https://a.example/v")
	other := w.do(otherSID, "POST", strings.Replace(appPath, testSID, otherSID, 1)+".json", "")
	var theirs struct{ SID string }
	other.decode(t, &theirs)
	number := pnPath + "/" + w.make(pnPath+".json", "PhoneNumber=%2B14155550100&VoiceUrl=https://a.example/own&VoiceApplicationSid="+app) + ".json"
	hasFields(t, w.want(200, "GET", number, ""), "voice_application_sid="+app+" voice_url=https://a.example/own")
	for sid, code := range map[string]int{theirs.SID: 20404, "AP" + strings.Repeat("0", 32): 20404, "PN" + strings.Repeat("0", 32): 20001} {
		if a := w.do(testSID, "POST", number, "VoiceApplicationSid="+sid); a.code() != code {
			t.Errorf("%s: %d %s", sid, a.status, a.body)
		}
	}
	hasFields(t, w.want(200, "POST", number, "VoiceApplicationSid="), "voice_application_sid=")
	w.want(200, "POST", number, "VoiceApplicationSid="+app)
	w.want(204, "DELETE", appPath+"/"+app+".json", "")
	hasFields(t, w.want(200, "GET", number, ""), "voice_application_sid= voice_url=https://a.example/own")
}
