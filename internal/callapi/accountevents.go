package callapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/bus"
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

const (
	replayPage = 256 // events read from the store at once
	// maxReplays streams read from the store at once: there are connections left for others.
	maxReplays = 2
	// patience is how long a client may take to read writeChunk bytes; then its stream is cut, to be resumed.
	patience   = 30 * time.Second
	writeChunk = 32 << 10
)

// eventFilter is what a stream of an account's events is wanted for.
type eventFilter struct {
	names   []string // of events; nil: all
	callSID string   // "" all
}

func newEventFilter(q url.Values) (f eventFilter, err error) {
	for name, values := range q {
		switch name {
		case "types":
			for _, list := range values {
				names, err := eventNames(strings.Split(list, ","))
				if err != nil {
					return f, fmt.Errorf("types: %w", err)
				}
				f.names = append(f.names, names...)
			}
		case "callId":
			f.callSID = values[0]
			if len(values) > 1 || !twilio.IsSID(f.callSID, twilio.CallPrefix) {
				return f, errors.New("callId: the SID of one call")
			}
		default:
			return f, fmt.Errorf("%s is not a filter: types and callId are", name)
		}
	}
	return f, nil
}

// eventNames are names of events, given with or without the TwilioCall. of their types.
func eventNames(given []string) ([]string, error) {
	names := make([]string, len(given))
	for i, name := range given {
		names[i] = strings.TrimPrefix(name, "TwilioCall.")
		if !slices.Contains(call.EventNames, names[i]) {
			return nil, fmt.Errorf("%q is no event; there are %s", name, strings.Join(call.EventNames, ", "))
		}
	}
	return names, nil
}

func (f *eventFilter) wants(e *call.Event) bool {
	return (f.callSID == "" || e.CallSID == f.callSID) && (f.names == nil || slices.Contains(f.names, e.Name))
}

// accountEvents streams the events of all calls of an account as server-sent events, from the one after Last-Event-ID
// on, without it those that happen from now on. What the client has not read stays in the store: a slow one costs no
// memory.
func (a *api) accountEvents(w http.ResponseWriter, r *http.Request) {
	filter, err := newEventFilter(r.URL.Query())
	if err != nil {
		problem(w, http.StatusBadRequest, 20001, err.Error())
		return
	}
	of := account(r.Context())
	follower, err := a.Bus.Follow(of)
	if err != nil {
		problem(w, http.StatusTooManyRequests, 20429, err.Error())
		return
	}
	defer follower.Close()
	at := follower.Stored()
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || n < 0 || n > at {
			problem(w, http.StatusBadRequest, 20001, "Last-Event-ID is a number that this stream gave, or 0 for all that is stored")
			return
		}
		at = n
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	s := accountStream{api: a, account: of, filter: filter, follower: follower, at: at, told: -1}
	s.w = bufio.NewWriterSize(deadlines{w, control, a.Clock}, writeChunk)
	s.flush = control.Flush
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // of what comes next on this connection
	s.place()                                                    // where to resume, should the connection break before the first event
	asked := a.Clock.Now()
	for s.err == nil && s.step(r.Context()) && a.renewed(r, &asked) {
	}
}

// accountStream writes the events of an account to one client.
type accountStream struct {
	*api
	account  string
	filter   eventFilter
	follower *bus.Follower
	at       int64 // what is behind that is still to be written
	told     int64 // the last id that the client knows
	w        *bufio.Writer
	flush    func() error
	err      error
}

// step writes what there is and waits for more; false when the stream is over.
func (s *accountStream) step(ctx context.Context) bool {
	events, upTo, more, ok := s.follower.Next(s.at)
	if !ok {
		return s.replay(ctx, upTo)
	}
	for _, e := range events {
		if s.filter.wants(&e.Event) {
			s.write(e.Pos, e.Form(accountFrame))
		}
	}
	s.at = upTo
	s.send()
	idle := s.Clock.NewTimer(keepAlive)
	defer idle.Stop()
	select {
	case <-more:
		return true
	case <-idle.C():
		s.place()
		return true
	case <-ctx.Done():
	case <-s.Closing:
	}
	return false
}

// replay writes a page of what is in the store alone.
func (s *accountStream) replay(ctx context.Context, upTo int64) bool {
	select {
	case s.replays <- struct{}{}:
	case <-ctx.Done():
		return false
	case <-s.Closing:
		return false
	}
	page, err := s.Store.AccountEvents(ctx, s.account, s.filter.callSID, s.at, upTo, replayPage)
	<-s.replays
	if err != nil {
		return false // the client resumes
	}
	s.at = upTo
	for i := range page {
		if e := &page[i]; s.filter.wants(e) {
			s.write(e.Pos, accountFrame(e))
		}
		if len(page) == replayPage {
			s.at = page[i].Pos
		}
	}
	s.send()
	return true
}

func accountFrame(e *call.Event) []byte { return frame(e, e.Pos) }

func (s *accountStream) write(id int64, b []byte) {
	if s.err == nil {
		s.told = id
		_, s.err = s.w.Write(b)
	}
}

// place keeps the connection, and tells how far the stream has come though it had nothing to say.
func (s *accountStream) place() {
	if s.told == s.at {
		s.write(s.at, []byte(": still here\n\n"))
	} else {
		s.write(s.at, fmt.Appendf(nil, "id: %d\n\n", s.at))
	}
	s.send()
}

func (s *accountStream) send() {
	if s.err == nil && s.w.Buffered() > 0 {
		s.err = s.w.Flush()
	}
	if s.err == nil {
		s.err = s.flush()
	}
}

// deadlines gives up on a client that does not read what is written.
type deadlines struct {
	http.ResponseWriter
	control *http.ResponseController
	clock   clock.Clock
}

func (d deadlines) Write(b []byte) (int, error) {
	if err := d.control.SetWriteDeadline(d.clock.Now().Add(patience)); err != nil {
		return 0, err
	}
	return d.ResponseWriter.Write(b)
}
