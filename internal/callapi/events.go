package callapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/twiliocall"
)

const (
	keepAlive = 15 * time.Second       // a comment line, so that proxies keep an idle stream
	linger    = 500 * time.Millisecond // trace lines of the last callbacks still come after the final event
)

// events streams a call's events as server-sent events, from the one after Last-Event-ID on, and with
// trace=1 its timeline between them. It is filtered as accountEvents is. It ends after the final event; behind that
// there is nothing to resume.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	sid := chi.URLParam(r, "sid")
	after := -1
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		n, err := strconv.Atoi(id)
		if err != nil || n < 0 {
			problem(w, http.StatusBadRequest, 20001, "Last-Event-ID is a number that this stream gave")
			return
		}
		after = n
	}
	query := r.URL.Query()
	wantTrace := query.Get("trace") == "1"
	if given := query.Get("trace"); given != "" && given != "0" && !wantTrace {
		problem(w, http.StatusBadRequest, 20001, "trace is 0 or 1")
		return
	}
	query.Del("trace")
	filter, err := newEventFilter(query)
	if err != nil {
		problem(w, http.StatusBadRequest, 20001, err.Error())
		return
	}

	sub, lines := a.Bus.Subscribe(sid)
	defer sub.Close()
	c, err := a.Store.Call(r.Context(), account(r.Context()), sid)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	stored, err := a.Store.Events(r.Context(), sid, after)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if len(stored) == 0 && c.Status.Ended() {
		w.WriteHeader(http.StatusNoContent) // nothing will come: clients stop asking (WHATWG HTML, 9.2.3)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // of what comes next on this connection
	s := stream{w: deadlines{w, control, a.Clock}, flush: control.Flush, filter: filter, next: after + 1}
	if !wantTrace {
		lines = nil
	}
	for _, e := range stored { // merged by time, so that the past reads like the present
		for len(lines) > 0 && lines[0].Time.Before(e.Time) {
			s.trace(lines[0])
			lines = lines[1:]
		}
		s.event(e)
	}
	for _, l := range lines {
		s.trace(l)
	}
	if s.err != nil || s.flush() != nil {
		return
	}
	s.final = s.final || c.Status.Ended() // what comes behind its end, as of a recording, is no end
	if s.final && !wantTrace {
		return
	}

	asked := a.Clock.Now()
	idle := a.Clock.NewTimer(keepAlive)
	defer idle.Stop()
	if s.final {
		idle.Reset(linger)
	}
	for s.err == nil {
		select {
		case m, ok := <-sub.C:
			if !ok {
				return // fell behind: the client resumes with Last-Event-ID
			}
			if m.Event != nil {
				s.event(*m.Event)
				if s.final && !wantTrace {
					_ = s.flush()
					return
				}
			} else if wantTrace {
				s.trace(m.Trace)
			}
			if s.final {
				idle.Reset(linger)
			}
		case <-idle.C():
			if s.final {
				return
			}
			_, s.err = io.WriteString(s.w, ": still here\n\n")
			idle.Reset(keepAlive)
		case <-r.Context().Done():
			return
		case <-a.Closing:
			return
		}
		if s.flush() != nil || !a.renewed(r, &asked) {
			return
		}
	}
}

// describeStreams adds what is no request and answer to the description.
func describeStreams(doc *huma.OpenAPI) {
	text := &huma.Schema{Type: huma.TypeString}
	types := &huma.Param{
		Name: "types", In: "query", Schema: text, Description: "Names of events, such as completed,busy or TwilioCall.completed; all when left out.",
	}
	event := doc.Components.Schemas.Schema(reflect.TypeFor[twiliocall.Event](), true, "Event")
	for _, op := range []*huma.Operation{
		{
			OperationID: "callEvents", Path: "/v1/calls/{id}/events", Summary: "Follow the events of a call, from the first one on",
			Parameters: []*huma.Param{
				{Name: "id", In: "path", Required: true, Schema: text, Description: "The call's SID."},
				{Name: "trace", In: "query", Schema: text, Description: "1: what the call does, between them, as events named trace."},
				types,
			},
		},
		{
			OperationID: "events", Path: "/v1/events", Summary: "Follow the events of all calls, from now on",
			Parameters: []*huma.Param{
				types,
				{Name: "callId", In: "query", Schema: text, Description: "The SID of one call."},
			},
		},
	} {
		op.Method, op.Tags, op.Security = http.MethodGet, []string{"events"}, []map[string][]string{{"basic": {}}}
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "Last-Event-ID", In: "header", Schema: text,
			Description: "The id that the stream gave with an event: it goes on behind that one. Of all calls, 0 is all that is stored.",
		})
		op.Responses = map[string]*huma.Response{
			"200": {Description: "Server-sent events, each a CloudEvent.", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: event}}},
		}
		doc.AddOperation(op)
	}
}

// stream writes one client's events; after an error it writes nothing more.
type stream struct {
	w      io.Writer
	flush  func() error
	filter eventFilter
	next   int // sequence wanted; what the store and the bus both told is written once
	final  bool
	err    error
}

func (s *stream) event(e call.Event) {
	if s.err != nil || e.Seq < s.next {
		return
	}
	s.next = e.Seq + 1
	s.final = s.final || call.Status(e.Name).Ended()
	switch {
	case s.filter.wants(&e):
		_, s.err = s.w.Write(frame(&e, int64(e.Seq)))
	case s.final: // whoever resumes behind it is told that nothing will come
		_, s.err = fmt.Fprintf(s.w, "id: %d\n\n", e.Seq)
	}
}

// frame is an event on a stream where id is its place.
func frame(e *call.Event, id int64) []byte {
	data, err := json.Marshal(e.Resource())
	if err != nil {
		panic("callapi: event: " + err.Error()) // its data was encoded by us
	}
	return fmt.Appendf(nil, "id: %d\nevent: TwilioCall.%s\ndata: %s\n\n", id, e.Name, data)
}

func (s *stream) trace(t bus.Trace) {
	if s.err != nil {
		return
	}
	data, err := json.Marshal(map[string]string{
		"time": t.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), "text": t.Text,
	})
	if err != nil {
		s.err = err
		return
	}
	_, s.err = fmt.Fprintf(s.w, "event: trace\ndata: %s\n\n", data)
}
