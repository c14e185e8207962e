package twilioapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// eventQuery is a list request.
type eventQuery struct{ page }

var eventForm = newForm(pageParams(func(l *eventQuery) *page { return &l.page }))

// eventPrefix is that of the names of events inside page tokens: the resource shows none.
const eventPrefix = "EV"

// listEvents serves what was requested for a call, in the order of the requests (related-resources, Call events and
// notifications).
func (a *api) listEvents(q *request) error {
	ctx := q.r.Context()
	sid, err := q.sid("CallSid", twilio.CallPrefix)
	if err != nil {
		return err
	}
	var l eventQuery
	given, err := eventForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, eventPrefix)
	}
	if err != nil {
		return err
	}
	if _, err := a.Store.Call(ctx, q.account.SID, sid); err != nil {
		return err
	}
	limit, offset, at := l.cursor()
	list, more, err := a.Store.Requests(ctx, sid, limit, offset, at)
	if err != nil {
		return err
	}
	q.list(&l.page, base+"/Accounts/"+q.account.SID+"/Calls/"+sid+"/Events", "events", len(list), more,
		func(i int) twilio.PageToken { return list[i].PageToken() },
		func(i int) { q.enc.event(&list[i]) })
	q.send(http.StatusOK)
	return nil
}

// event writes a request and its answer; the answer's fields are null when there was none.
func (e *enc) event(r *call.Request) {
	e.object("event", func() {
		e.child("request", func() {
			e.str("method", r.Method)
			e.str("url", r.URL)
			e.parameters(r.Params)
		})
		e.child("response", func() {
			if r.Status == 0 {
				for _, name := range [...]string{"response_code", "content_type", "content_length", "response_body"} {
					e.null(name)
				}
			} else {
				e.number("response_code", int64(r.Status))
				e.opt("content_type", r.ContentType)
				e.number("content_length", int64(r.Length))
				e.str("response_body", r.Body)
			}
			e.time("date_created", r.Time)
			e.number("request_duration", r.Duration.Milliseconds())
		})
	})
}

// parameters writes what a form has, by the names it has there. XML, whose names they need not be, has an attribute
// for them, CSV the form.
func (e *enc) parameters(form string) {
	if e.csv != nil {
		e.str("parameters", form)
		return
	}
	values, err := url.ParseQuery(form)
	if err != nil { // we made it
		values = nil
	}
	e.child("parameters", func() {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			value := values.Get(name)
			if !e.xml {
				e.comma()
				e.quote(name)
				e.b = append(e.b, ':')
				e.quote(value)
				continue
			}
			e.b = append(e.b, `<Parameter name="`...)
			e.escapeXML(name)
			e.b = append(e.b, '"', '>')
			e.quote(value)
			e.close("parameter")
		}
	})
}
