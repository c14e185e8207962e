package twilioapi

import (
	"net/http"

	"github.com/offhook/offhook/internal/twilio"
)

// absentOfCall are the subresources of a call that Twilio has and this version has not: what can be asked of each
// there (related-resources, Call Streams, Siprec, Transcriptions, UserDefinedMessages, Payments). None has a list.
var absentOfCall = []struct {
	name     string
	instance string // method of the instance, "" without one
}{
	{"Payments", http.MethodPost},
	{"Siprec", http.MethodPost},
	{"Streams", http.MethodPost},
	{"Transcriptions", http.MethodPost},
	{"UserDefinedMessages", ""},
	{"UserDefinedMessageSubscriptions", http.MethodDelete},
}

func (a *api) routeAbsentOfCall() {
	for _, s := range absentOfCall {
		path := "/Accounts/{AccountSid}/Calls/{CallSid}/" + s.name
		refuse := a.handle(func(q *request) error {
			return twilio.Errf(20404, "%s of calls is not available in this version of offhook: %s %s did nothing", s.name, q.r.Method, q.r.URL.Path)
		})
		a.routes.Post(path, refuse)
		if s.instance != "" {
			a.routes.Method(s.instance, path+"/{Sid}", refuse)
		}
	}
}
