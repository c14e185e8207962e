package call

import (
	"encoding/json"
	"strings"
	"testing"
)

// What was delivered of a call that is gone can still be listed, without what it said.
func TestADeliveryOfADeletedCallHasNoEvent(t *testing.T) {
	d := Delivery{Callback: Callback{ID: "EV1", CallSID: "CA1", WebhookSID: "WH1", Body: []byte("")}, State: "delivered"}
	b, err := json.Marshal(d.Resource())
	if err != nil || !strings.Contains(string(b), `"event":null`) {
		t.Errorf("%s %v", b, err)
	}
}
