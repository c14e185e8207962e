package twiliocall

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"
)

const (
	maxEvent   = 1 << 20 // bytes
	resumeWait = time.Second
)

// Events streams the events of a call as they happen, from the first one on, or behind the one whose Event.Position
// is after. A connection that breaks is resumed behind the last event, so that none is lost and none comes twice;
// the stream ends behind the final event, when the consumer stops, with ctx, and when the server refuses.
func (c *Client) Events(ctx context.Context, id, after string) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		last := after
		for {
			err := c.stream(ctx, path(id)+"/events", last, func(e *Event) bool {
				last = e.Position
				return yield(e, nil)
			})
			var refused *Problem
			switch {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				yield(nil, context.Cause(ctx))
				return
			case errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable:
				yield(nil, err)
				return
			}
			t := time.NewTimer(resumeWait) //nolint:forbidigo // a client waits by the clock of its machine
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				yield(nil, context.Cause(ctx))
				return
			}
		}
	}
}

// stream reads one connection until it ends; the error is never nil.
func (c *Client) stream(ctx context.Context, path, last string, emit func(*Event) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := http.Header{"Accept": {"text/event-stream"}}
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
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEvent)
	for {
		e, err := next(lines)
		if err != nil {
			return err
		}
		if !emit(e) {
			return errStopped
		}
	}
}

// next reads one event of the text/event-stream format (WHATWG HTML, "Server-sent events", 9.2.6); comments are
// passed over.
func next(lines *bufio.Scanner) (*Event, error) {
	id, data := "", ""
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if data == "" {
				continue
			}
			e := &Event{}
			if err := json.Unmarshal([]byte(data), e); err != nil {
				return nil, fmt.Errorf("twiliocall: event: %w", err)
			}
			e.Position = id
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "data":
			data += value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("twiliocall: events: %w", err)
	}
	return nil, fmt.Errorf("twiliocall: events: %w", io.ErrUnexpectedEOF)
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
