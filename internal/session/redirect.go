package session

import (
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twiml"
)

// redirect goes on with another document.
func (s *Session) redirect(doc *document, v *twiml.Redirect) (step, error) {
	return s.jump(doc, v.Method, v.URL, nil)
}

// jump is the step to the URL that a verb of doc names; empty means doc's own.
func (s *Session) jump(doc *document, method, ref string, params map[string][]string) (step, error) {
	target, err := s.resolve(doc, ref)
	if err != nil {
		return nextVerb, err
	}
	return step{jump: true, method: method, url: target, params: params}, nil
}

// resolve is the absolute form of a URL in doc.
func (s *Session) resolve(doc *document, ref string) (string, error) {
	base := doc.URL
	if base == "" {
		base = s.snapshot.Load().Options.URL // inline TwiML has no URL of its own
	}
	return twiml.Resolve(base, ref)
}

// reject refuses an unanswered inbound call; after any other verb it hangs up (twiml section 2).
func (s *Session) reject(v *twiml.Reject, first bool) error {
	r := result{reason: "<Reject>"}
	if first {
		r.reject = &rejection{404, "Not Found", call.NoAnswer}
		if v.Reason == "busy" {
			r.reject = &rejection{486, "Busy Here", call.Busy}
		}
	}
	return stopError{r}
}
