package twilioapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The golden answers have exactly the keys of Twilio's OpenAPI description, when that is at hand
// beside the repository.
func TestKeysAreTheSchemas(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "spec", "twilio_api_v2010.voice.json"))
	if err != nil {
		t.Skip("no OpenAPI description beside the repository")
	}
	var spec struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]json.RawMessage
			}
		}
		Paths map[string]struct {
			Get struct {
				Responses map[string]struct {
					Content map[string]struct {
						Schema struct{ Properties map[string]json.RawMessage }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		t.Fatal(err)
	}
	keys := func(m map[string]json.RawMessage, but ...string) []string {
		var names []string
		for name := range m {
			if !slices.Contains(but, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	read := func(file string) map[string]json.RawMessage {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	check := func(name string, got, want []string) {
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %s\nwant %s", name, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
	for file, schema := range map[string]string{
		"call.json":              "api.v2010.account.call",
		"number.json":            "api.v2010.account.incoming_phone_number",
		"notification.json":      "api.v2010.account.notification-instance",
		"notification_call.json": "api.v2010.account.call.call_notification-instance",
		"account.json":           "api.v2010.account",
		"recording.json":         "api.v2010.account.recording",
		"recording_call.json":    "api.v2010.account.call.call_recording",
	} {
		// annotation left the schema but is still in payloads (calls-api section 5).
		check(file, keys(read(file), "annotation"), keys(spec.Components.Schemas[schema].Properties))
	}
	for file, path := range map[string]string{
		"calls.json":         "/Calls.json",
		"numbers.json":       "/IncomingPhoneNumbers.json",
		"notifications.json": "/Calls/{CallSid}/Notifications.json",
		"recordings.json":    "/Recordings.json",
		"events.json":        "/Calls/{CallSid}/Events.json",
	} {
		response := spec.Paths[base+"/Accounts/{AccountSid}"+path].Get.Responses["200"]
		check(file, keys(read(file)), keys(response.Content["application/json"].Schema.Properties))
	}
}
