package twiml

import (
	"fmt"
	"slices"

	"github.com/offhook/offhook/internal/twilio"
)

// screeningVerbs may run for a called party before it is connected.
var screeningVerbs = []string{"Play", "Say", "Pause", "Gather", "Redirect", "Hangup"}

// Screening is d as it may run for the called party of a Dial, between its answer and the connection (the url
// of a noun): Play, Say, Pause, Gather, Redirect and Hangup. Any other verb is left out with warning 12200; a
// Dial is a *twilio.Error 13201. d itself does not change.
func (d *Document) Screening() (*Document, error) {
	s := *d
	s.Verbs = nil
	p := parser{warnings: slices.Clone(d.Warnings)}
	for _, v := range d.Verbs {
		switch {
		case v.Name() == "Dial":
			return nil, &twilio.Error{Code: 13201, Message: fmt.Sprintf(
				"Line %d: Dial: the document of a called party cannot dial. Leave that to the action of its <Dial>.", v.Line())}
		case slices.Contains(screeningVerbs, v.Name()):
			s.Verbs = append(s.Verbs, v)
		default:
			p.unexpected(12200, &element{name: v.Name(), line: v.Line()}, screeningVerbs)
		}
	}
	s.Warnings = inOrder(p.warnings)
	return &s, nil
}
