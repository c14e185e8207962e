package twiliocall

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxEvent    = 1 << 20 // bytes
	resumeWait  = time.Second
	eventStream = "text/event-stream"
)

// Events streams the events of a call as they happen, from the first one on, or behind the one whose Event.Position
// is after. A connection that breaks is resumed behind the last event, so that none is lost and none comes twice;
// the stream ends behind the final event, when the consumer stops, with ctx, and when the server refuses.
func (c *Client) Events(ctx context.Context, id, after string) iter.Seq2[*Event, error] {
	return c.events(ctx, path(id)+"/events", after, nil)
}

// EventFilter selects events of an account; its zero value has all that happen from now on.
type EventFilter struct {
	Types  []string // such as completed or TwilioCall.completed; empty: all
	CallID string   // of one call
	// After is the Event.Position of the last event known, "0" for all that is stored.
	After string
	// Begun, if not nil, is told each time that the stream begins or goes on, and where.
	Begun func(position string)
}

// AccountEvents streams the events of all calls of the account in the order in which they were stored, resumed as
// Events is. It ends when the consumer stops, with ctx, and when the server refuses.
func (c *Client) AccountEvents(ctx context.Context, f EventFilter) iter.Seq2[*Event, error] {
	q := url.Values{}
	if len(f.Types) > 0 {
		q.Set("types", strings.Join(f.Types, ","))
	}
	if f.CallID != "" {
		q.Set("callId", f.CallID)
	}
	path := "/v1/events"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return c.events(ctx, path, f.After, f.Begun)
}

func (c *Client) events(ctx context.Context, path, after string, begun func(string)) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for f, err := range c.Stream(ctx, path, after, begun) {
			var e *Event
			if err == nil {
				e = &Event{}
				if err = json.Unmarshal(f.Data, e); err != nil {
					e, err = nil, fmt.Errorf("twiliocall: event: %w", err)
				} else {
					e.Position = f.ID
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Message is one server-sent event.
type Message struct {
	ID   string // what Last-Event-ID resumes after; "" when the message cannot be resumed from
	Name string
	Data []byte
}

// Stream reads a stream of server-sent events of this server, behind the message whose ID is after, and resumes it
// when its connection breaks. It is what Events and AccountEvents stand on, for paths that they have no method for. begun
// may be nil; see EventFilter.
func (c *Client) Stream(ctx context.Context, path, after string, begun func(position string)) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		last, failures := after, 0
		for {
			err := c.stream(ctx, path, last, func(m Message) bool {
				failures = 0
				if m.ID != "" {
					last = m.ID
				}
				switch {
				case m.Data != nil:
					return yield(m, nil)
				case begun != nil:
					begun(m.ID)
				}
				return true
			})
			failures++
			var refused *Problem
			switch {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				yield(Message{}, context.Cause(ctx))
				return
			case errors.As(err, &refused) && !away(refused.Status),
				c.cfg.Tries > 0 && failures > c.cfg.Tries:
				yield(Message{}, err)
				return
			}
			t := time.NewTimer(resumeWait) //nolint:forbidigo // a client waits by the clock of its machine
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				yield(Message{}, context.Cause(ctx))
				return
			}
		}
	}
}

// away reports whether a status says that the server, or a proxy's way to it, is not there for a moment.
func away(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// stream reads one connection until it ends; the error is never nil. A message without data is a place alone.
func (c *Client) stream(ctx context.Context, path, last string, emit func(Message) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := http.Header{"Accept": {eventStream}}
	if last != "" {
		header.Set("Last-Event-ID", last)
	}
	res, err := c.send(ctx, http.MethodGet, path, header, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNoContent { // the call is over, and we have seen all of it
		return errStopped
	}
	if t := res.Header.Get("Content-Type"); !strings.HasPrefix(t, eventStream) {
		return &Problem{Title: "no events", Status: res.StatusCode, Detail: fmt.Sprintf("the server answered %q instead of events", t)}
	}
	r := newReader(res.Body)
	for {
		m, err := r.next()
		if err != nil {
			return err
		}
		if !emit(m) {
			return errStopped
		}
	}
}

// reader reads the text/event-stream format (WHATWG HTML, "Server-sent events", 9.2.6).
type reader struct{ lines *bufio.Scanner }

func newReader(r io.Reader) *reader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	lines.Split(scanLine)
	return &reader{lines}
}

// next is the next message that has data or an ID; comments and the retry field are passed over.
func (r *reader) next() (Message, error) {
	var m Message
	size := 0
	for r.lines.Scan() {
		line := r.lines.Text()
		if line == "" {
			if m.Data != nil || m.ID != "" {
				m.Data = bytes.TrimSuffix(m.Data, []byte("\n"))
				return m, nil
			}
			m = Message{}
			continue
		}
		if size += len(line); size > maxEvent {
			return Message{}, fmt.Errorf("twiliocall: events: %w", bufio.ErrTooLong)
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			m.Name = value
		case "id":
			m.ID = value
		case "data":
			m.Data = append(append(m.Data, value...), '\n')
		default: // of a comment too, nothing is kept
			size -= len(line)
		}
	}
	if err := r.lines.Err(); err != nil {
		return Message{}, fmt.Errorf("twiliocall: events: %w", err)
	}
	return Message{}, fmt.Errorf("twiliocall: events: %w", io.ErrUnexpectedEOF)
}

// scanLine splits at LF or CRLF. The format also allows a lone CR, which no server of ours sends.
func scanLine(data []byte, atEOF bool) (advance int, token []byte, err error) {
	advance, token, err = bufio.ScanLines(data, atEOF)
	if atEOF && token != nil && advance == len(data) && data[len(data)-1] != '\n' {
		return advance, nil, nil // a line that the end cut off is not a message's
	}
	return advance, token, err
}

// Call is the call that the event tells of, after the change.
func (e *Event) Call() (*Call, error) {
	if strings.HasPrefix(e.Type, "TwilioCall.Recording.") {
		r, err := e.Recording()
		if err != nil {
			return nil, err
		}
		return &r.Call, nil
	}
	return decode[Call](e)
}

// Recording is what an event Recording.started or Recording.completed tells of.
func (e *Event) Recording() (*RecordingEvent, error) { return decode[RecordingEvent](e) }

func decode[T any](e *Event) (*T, error) {
	out := new(T)
	if err := json.Unmarshal(e.Data, out); err != nil {
		return nil, fmt.Errorf("twiliocall: %s: %w", e.Type, err)
	}
	return out, nil
}
