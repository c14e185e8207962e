package apiclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/clock"
)

const (
	maxEvent        = 1 << 20 // bytes of one event
	resumeTries     = 5       // broken connections in a row before the stream is given up
	resumeWait      = time.Second
	eventStreamType = "text/event-stream"
)

// Event is one server-sent event.
type Event struct {
	ID   string // what Last-Event-ID resumes after; "" when the event cannot be resumed from
	Name string
	Data []byte
}

// Events streams the events of one call from its first on, with traces between them when asked for.
// A broken connection is resumed behind the last event. The sequence goes on until the consumer
// stops it, the server has nothing more to tell or cannot be reached, or ctx is done.
func (c *Client) Events(ctx context.Context, callSID string, trace bool) iter.Seq2[Event, error] {
	path := "/v1/calls/" + url.PathEscape(callSID) + "/events"
	if trace {
		path += "?trace=1"
	}
	return func(yield func(Event, error) bool) {
		last, failures := "", 0
		for {
			err := c.stream(ctx, path, last, func(e Event) bool {
				failures = 0
				if e.ID != "" {
					last = e.ID
				}
				return yield(e, nil)
			})
			var refused *Error
			switch failures++; {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				yield(Event{}, context.Cause(ctx))
				return
			case errors.As(err, &refused), failures > resumeTries:
				yield(Event{}, err)
				return
			}
			if err := clock.Sleep(ctx, c.cfg.Clock, resumeWait); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

var errStopped = errors.New("the sequence is over")

// stream reads one connection until it ends; the error is never nil.
func (c *Client) stream(ctx context.Context, path, last string, emit func(Event) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := http.Header{"Accept": {eventStreamType}}
	if last != "" {
		header.Set("Last-Event-ID", last)
	}
	res, err := c.send(ctx, http.MethodGet, path, "", nil, header)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNoContent { // the call is over, and we have seen all of it
		return errStopped
	}
	if t := res.Header.Get("Content-Type"); !strings.HasPrefix(t, eventStreamType) {
		return &Error{Status: res.StatusCode, Message: fmt.Sprintf("the server answered %q instead of events", t)}
	}
	events := newEventReader(res.Body)
	for {
		e, err := events.next()
		if err != nil {
			return fmt.Errorf("event stream of %s: %w", c.base, err)
		}
		if !emit(e) {
			return errStopped
		}
	}
}

// eventReader reads the text/event-stream format (WHATWG HTML, "Server-sent events", 9.2.6).
type eventReader struct{ lines *bufio.Scanner }

func newEventReader(r io.Reader) *eventReader {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxEvent)
	s.Split(scanEventLine)
	return &eventReader{s}
}

// next is the next event that carries data; comments and the retry field are passed over.
func (r *eventReader) next() (Event, error) {
	var e Event
	var data strings.Builder
	has := false
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" {
			if has {
				e.Data = []byte(strings.TrimSuffix(data.String(), "\n"))
				return e, nil
			}
			e = Event{ID: e.ID}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.Name = value
		case "id":
			e.ID = value
		case "data":
			if has = true; data.Len()+len(value) > maxEvent {
				return Event{}, bufio.ErrTooLong
			}
			data.WriteString(value)
			data.WriteByte('\n')
		}
	}
	if err := r.lines.Err(); err != nil {
		return Event{}, err
	}
	return Event{}, io.EOF
}

// scanEventLine splits at LF or CRLF. The format also allows a lone CR, which no server we talk to sends.
func scanEventLine(data []byte, atEOF bool) (advance int, token []byte, err error) {
	advance, token, err = bufio.ScanLines(data, atEOF)
	if atEOF && token != nil && advance == len(data) && data[len(data)-1] != '\n' {
		return advance, nil, nil // a line that the end cut off is not an event's
	}
	return advance, token, err
}
