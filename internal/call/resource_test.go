package call

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every property of the TwilioCall resource, of a call that has all there is.
func TestEveryPropertyOfAResource(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 0) }
	c := &Call{
		SID: "CA1", AccountSID: "AC1", ParentSID: "CA0", To: "+14158675309", From: "sip:ann@shop.example", Direction: OutboundDial, Status: Completed,
		DateCreated: at(0), DateUpdated: at(9), DialedAt: at(1), AnsweredAt: at(3), EndedAt: at(8), QueueTime: 1500 * time.Millisecond,
		NumberSID: "PN1", TrunkSID: "TK1", GroupSID: "GP1", ForwardedFrom: "+14155550100", CallerName: "Ann", AnsweredBy: "machine_start",
		Annotation: "note", Metadata: map[string]any{"order": 7.0}, Price: "0.03000", PriceUnit: "USD",
	}
	shown := func() map[string]any {
		b, err := json.Marshal(c.Resource())
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	links := map[string]any{}
	for _, s := range subresources {
		links[s[0]] = "/2010-04-01/Accounts/AC1/Calls/CA1/" + s[1] + ".json"
	}
	want := map[string]any{
		"id": "CA1", "accountSid": "AC1", "parentCallSid": "CA0", "phoneNumberSid": "PN1", "groupSid": "GP1", "trunkSid": "TK1",
		"from": "sip:ann@shop.example", "fromFormatted": "sip:ann@shop.example", "to": "+14158675309", "toFormatted": "(415) 867-5309",
		"status": "completed", "direction": "outbound-dial", "startTime": 1_700_000_003.0, "endTime": 1_700_000_008.0, "duration": 5.0,
		"price": 0.03, "priceUnit": "USD", "answeredBy": "machine", "annotation": "note", "callerName": "Ann", "queueTime": 1500.0,
		"forwardedFrom": "+14155550100", "uri": "/2010-04-01/Accounts/AC1/Calls/CA1.json", "subresourceUris": links,
		"dateCreated": 1_700_000_000.0, "dateUpdated": 1_700_000_009.0, "metadata": map[string]any{"order": 7.0}, "held": false, "muted": false,
	}
	if diff := cmp.Diff(want, shown()); diff != "" {
		t.Error(diff)
	}

	c = &Call{SID: "CA1", AccountSID: "AC1", To: "client:bob", From: "+14158675309", Direction: TrunkingOriginating, Status: InProgress,
		DateCreated: at(0), DateUpdated: at(0), DialedAt: at(0), AnsweredAt: at(1), PriceUnit: "USD", Options: Options{Held: true, Muted: true}}
	got := shown()
	for _, name := range []string{"parentCallSid", "phoneNumberSid", "groupSid", "trunkSid", "endTime", "duration", "price", "answeredBy",
		"annotation", "callerName", "forwardedFrom"} {
		if value, there := got[name]; !there || value != nil {
			t.Errorf("%s of a live call is %v, want null", name, value)
		}
	}
	if got["held"] != true || got["muted"] != true || got["direction"] != "inbound" || got["toFormatted"] != "client:bob" || len(got) != len(want) {
		t.Errorf("a live call: %v", got)
	}
}
