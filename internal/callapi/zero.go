package callapi

import (
	"encoding/json"

	"github.com/offhook/offhook/internal/twilio"
)

// createNumbers are the members of a create that are numbers from 1 on, and the code that refuses others: the
// struct cannot tell 0 from what was left out.
var createNumbers = map[string]int{
	"timeout": 21208, "timeLimit": 20001, "machineDetectionTimeout": 21234, "machineDetectionSpeechThreshold": 21234,
	"machineDetectionSpeechEndThreshold": 21234, "machineDetectionSilenceTimeout": 21234,
}

// refuseZero refuses a create, whose body has been decoded already, that gives one of its numbers as 0.
func refuseZero(body []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(body, &given); err != nil {
		return err
	}
	for name, code := range createNumbers {
		var n float64
		if raw, ok := given[name]; ok && json.Unmarshal(raw, &n) == nil && n == 0 && string(raw) != "null" {
			return twilio.Errf(code, "%s must be a whole number from 1 on: 0", name)
		}
	}
	return nil
}
