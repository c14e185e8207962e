package offhooktest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Events is the live stream of a call's events and timeline.
type Events struct {
	lines  *bufio.Scanner
	cancel context.CancelFunc
	close  func() error
}

// Events opens the stream of the call; Close it.
func (c *Call) Events() *Events {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.srv.URL+"/v1/calls/"+c.SID+"/events?trace=1", nil)
	if err != nil {
		cancel()
		c.t.Fatal(err)
	}
	req.SetBasicAuth(c.srv.AccountSID, c.srv.AuthToken)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		c.t.Fatalf("events of %s: %v", c.SID, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		cancel()
		c.t.Fatalf("events of %s: %s", c.SID, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return &Events{lines: lines, cancel: cancel, close: resp.Body.Close}
}

// Close ends the stream.
func (e *Events) Close() {
	e.cancel()
	_ = e.close() // it was cut
}

// next waits for the next message; false at the end of the stream.
func (e *Events) next() bool {
	for e.lines.Scan() {
		if strings.HasPrefix(e.lines.Text(), "data: ") {
			return true
		}
	}
	return false
}

// Names reads the stream to its end, which is the final event, and returns the names of the call's
// events in order, such as created, queued, ringing.
func (e *Events) Names() []string {
	var names []string
	for e.lines.Scan() {
		if name, ok := strings.CutPrefix(e.lines.Text(), "event: TwilioCall."); ok {
			names = append(names, name)
		}
	}
	return names
}

// Timeline is what happened to the call so far, a line each, for a failing test to show.
func (c *Call) Timeline() string {
	c.t.Helper()
	events := c.Events()
	defer events.Close()
	// The stream of a live call does not end, so only what has happened already is read: everything
	// that is there before the first pause.
	var out strings.Builder
	name := ""
	done := make(chan struct{})
	go func() {
		defer close(done)
		for events.lines.Scan() {
			line := events.lines.Text()
			if n, ok := strings.CutPrefix(line, "event: "); ok {
				name = n
			}
			data, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				continue
			}
			var m struct{ Time, Text string }
			if json.Unmarshal([]byte(data), &m) != nil {
				continue
			}
			if name != "trace" {
				m.Text = name
			}
			fmt.Fprintf(&out, "  %s %s\n", m.Time, m.Text)
		}
	}()
	select {
	case <-done:
	case <-after(timelinePause):
		events.cancel()
		<-done
	}
	return out.String()
}
