package call

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/twiliocall"
)

func TestEventDataIsTheResource(t *testing.T) {
	c := &Call{
		SID: "CA00000000000000000000000000000001", AccountSID: "AC00000000000000000000000000000001",
		To: `sip:a@x,"uri":"","subresourceUris":null`, Status: Ringing, DateCreated: time.Unix(1, 0), DateUpdated: time.Unix(2, 0),
		Metadata: map[string]any{"subresourceUris": "null", "uri": ""},
	}
	recording := twiliocall.Recording{ID: "RE1", CallID: c.SID}
	for _, test := range []struct {
		name     string
		snapshot []byte
		want     any
	}{
		{"a call", Snapshot(c, nil), c.Resource()},
		{"a recording", Snapshot(c, &recording), twiliocall.RecordingEvent{Call: c.Resource(), Recording: recording}},
		{"one of an earlier version, with links", whole(t, c.Resource()), c.Resource()},
	} {
		e := Event{CallSID: c.SID, AccountSID: c.AccountSID, Snapshot: test.snapshot}
		if got, want := string(e.Data()), string(whole(t, test.want)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, want)
		}
	}
}

// What is old is removed some at a time, and the data of an event may go before it.
func TestAnEventWhoseDataIsGoneIsStillOne(t *testing.T) {
	e := Event{CallSID: "CA1", Snapshot: []byte("")}
	if got := string(whole(t, e.Resource())); !strings.Contains(got, `"data":null`) {
		t.Error(got)
	}
}

func whole(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
