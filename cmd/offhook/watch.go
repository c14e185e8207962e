package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/apiclient"
)

type callWatchCommand struct {
	SID string `arg:"" name:"sid" optional:"" help:"The call, CA…; without one all calls of the account."`
	output
	remote
}

func (callWatchCommand) Help() string {
	return `Shows what happened so far and then what happens, in seconds since the call was made: its statuses, and below them what it says, hears and fetches.

Without a call it shows the statuses of all calls from now on, until it is stopped.

    offhook call watch CA0123456789abcdef0123456789abcdef
    offhook call watch -o json`
}

func (c *callWatchCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	if c.SID == "" {
		return watchAll(ctx, a, client, c.Output)
	}
	_, err = watch(ctx, a, client, c.SID, c.Output)
	return err
}

// watchAll writes what happens to the calls of the account, until ctx is done.
func watchAll(ctx context.Context, a *app, client *apiclient.Client, form string) error {
	for e, err := range client.AccountEvents(ctx) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		entry, err := newEntry(e)
		if err != nil {
			return err
		}
		if err := entry.writeOf(a.out, form); err != nil {
			return err
		}
	}
	return nil
}

// finalStatuses end a call, and with it its event stream.
var finalStatuses = []string{"completed", "busy", "failed", "no-answer", "canceled"}

// watch writes the timeline of a call to a.out until the call ends, and returns its final status.
func watch(ctx context.Context, a *app, client *apiclient.Client, sid, form string) (status string, err error) {
	t := timeline{out: a.out, form: form}
	for e, err := range client.Events(ctx, sid, true) {
		switch {
		case errors.Is(err, context.Canceled):
			return "", fmt.Errorf("stopped watching; the call goes on: end it with `offhook call hangup %s`", sid)
		case err != nil:
			return "", err
		}
		entry, err := newEntry(e)
		if err != nil {
			return "", err
		}
		if err := t.write(entry); err != nil {
			return "", err
		}
		if slices.Contains(finalStatuses, entry.Event) {
			return entry.Event, nil
		}
	}
	return "", errors.New("the event stream ended before the call")
}

// entry is one line of a timeline, and its JSON form.
type entry struct {
	Time  time.Time       `json:"time"`
	Event string          `json:"event,omitempty"` // a status of the call, such as ringing
	Trace string          `json:"trace,omitempty"` // or what happens inside it
	Call  json.RawMessage `json:"call,omitempty"`  // the TwilioCall after the event
}

// newEntry reads an event of the stream: a CloudEvent named TwilioCall.…, or a trace.
func newEntry(e apiclient.Event) (entry, error) {
	var body struct {
		Time time.Time       `json:"time"`
		Text string          `json:"text"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(e.Data, &body); err != nil {
		return entry{}, fmt.Errorf("event %s: %w", e.Name, err)
	}
	if e.Name == "trace" {
		return entry{Time: body.Time, Trace: body.Text}, nil
	}
	return entry{Time: body.Time, Event: strings.TrimPrefix(e.Name, "TwilioCall."), Call: body.Data}, nil
}

// writeOf writes an entry of one call among many.
func (e entry) writeOf(w io.Writer, form string) error {
	if form == "json" {
		return json.NewEncoder(w).Encode(e)
	}
	var call struct {
		ID, From, To string
		Call         *struct{ ID, From, To string } // of an event about a recording
	}
	if err := json.Unmarshal(e.Call, &call); err != nil {
		return fmt.Errorf("event %s: %w", e.Event, err)
	}
	if c := call.Call; c != nil {
		call.ID, call.From, call.To = c.ID, c.From, c.To
	}
	line := "%s  %s  %-20s %s → %s\n"
	if form == "tsv" {
		line = "%s\t%s\t%s\t%s\t%s\n"
	}
	_, err := fmt.Fprintf(w, line, e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), call.ID, e.Event, call.From, call.To)
	return err
}

// timeline writes entries in the form asked for.
type timeline struct {
	out   io.Writer
	form  string
	start time.Time // of the first entry
}

func (t *timeline) write(e entry) error {
	switch t.form {
	case "json": // one object a line, as they come
		return json.NewEncoder(t.out).Encode(e)
	case "tsv":
		_, err := fmt.Fprintf(t.out, "%s\t%s\t%s\n", e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Event, oneLine(e.Trace))
		return err
	}
	var call struct {
		ID       string `json:"id"`
		From     string `json:"from"`
		To       string `json:"to"`
		Duration *int   `json:"duration"`
	}
	if e.Call != nil {
		if err := json.Unmarshal(e.Call, &call); err != nil {
			return fmt.Errorf("event %s: %w", e.Event, err)
		}
	}
	if t.start.IsZero() {
		t.start = e.Time
		if call.ID != "" {
			fmt.Fprintf(t.out, "%s  %s → %s\n", call.ID, call.From, call.To)
		}
	}
	what := e.Event
	switch {
	case e.Trace != "":
		what = "    " + oneLine(e.Trace)
	case e.Event == "completed" && call.Duration != nil:
		what += fmt.Sprintf(" after %d s", *call.Duration)
	}
	_, err := fmt.Fprintf(t.out, "%9.3f  %s\n", e.Time.Sub(t.start).Seconds(), what)
	return err
}
