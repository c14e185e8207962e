package apiclient

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/url"

	"github.com/offhook/offhook/twiliocall"
)

// resumeTries is how many broken connections in a row a stream survives.
const resumeTries = 5

// Event is one server-sent event.
type Event = twiliocall.Message

// Events streams the events of one call from its first on, with traces between them when asked for.
// A broken connection is resumed behind the last event. The sequence goes on until the consumer
// stops it, the server has nothing more to tell or cannot be reached, or ctx is done.
func (c *Client) Events(ctx context.Context, callSID string, trace bool) iter.Seq2[Event, error] {
	path := "/v1/calls/" + url.PathEscape(callSID) + "/events"
	if trace {
		path += "?trace=1"
	}
	return c.stream(ctx, path)
}

// AccountEvents streams the events of all calls of the account, from now on, as Events does.
func (c *Client) AccountEvents(ctx context.Context) iter.Seq2[Event, error] {
	return c.stream(ctx, "/v1/events")
}

func (c *Client) stream(ctx context.Context, path string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		client, err := c.TwilioCall()
		if err != nil {
			yield(Event{}, err)
			return
		}
		for e, err := range client.Stream(ctx, path, "", nil) {
			if !yield(e, c.Explain(err)) {
				return
			}
		}
	}
}

// TwilioCall is the client of /v1 for the same server and account.
func (c *Client) TwilioCall() (*twiliocall.Client, error) {
	return twiliocall.New(twiliocall.Config{
		URL: c.base.String(), AccountSID: c.cfg.AccountSID, AuthToken: c.cfg.AuthToken, HTTP: c.http, Tries: resumeTries,
	})
}

// Explain is an error of twiliocall as this package tells it.
func (c *Client) Explain(err error) error {
	var p *twiliocall.Problem
	var op *net.OpError
	switch {
	case errors.As(err, &p):
		return &Error{Status: p.Status, Code: p.Code, Message: p.Detail}
	case errors.As(err, &op) && op.Op == "dial":
		return &UnreachableError{URL: c.base.String(), Err: op.Err}
	}
	return err
}
