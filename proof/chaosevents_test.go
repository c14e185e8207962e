package proof

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/twiliocall"
)

// follower reads the events of a call. Its connections are cut again and again; it goes on behind the last event.
type follower struct {
	*chaos
	sid  string
	rand *rand.Rand

	got  []*twiliocall.Event
	cuts int
}

func (f *follower) run() {
	position := ""
	for over := false; !over && f.ctx.Err() == nil; {
		life, cut := context.WithTimeout(f.ctx, time.Duration(f.rand.Int64N(int64(600*time.Millisecond))))
		for e, err := range f.client.Events(life, f.sid, position) {
			var p *twiliocall.Problem
			switch {
			case errors.As(err, &p) && p.Code == 20404 && f.gone(f.sid):
				over = true
			case err != nil && life.Err() == nil:
				f.t.Errorf("events of %s: %v", f.sid, err)
				over = true
			case err == nil:
				if e.Sequence != len(f.got) {
					f.t.Errorf("%s: event %d comes as number %d, after %d cuts", f.sid, e.Sequence, len(f.got), f.cuts)
				}
				f.got, position = append(f.got, e), e.Position
				over = over || final(e)
			}
		}
		cut()
		f.cuts++
	}
}

func name(e *twiliocall.Event) string { return strings.TrimPrefix(e.Type, "TwilioCall.") }

func final(e *twiliocall.Event) bool { return resource{Status: name(e)}.final() }

// A listener reads the events of all calls, or those its query selects. It too is cut off again and again.
type listener struct {
	*chaos
	query string
	rand  *rand.Rand

	mu   sync.Mutex
	got  map[string][]*twiliocall.Event // by call SID
	ids  map[string]bool
	cuts int
}

func newListener(c *chaos, r *rand.Rand, query string) *listener {
	return &listener{chaos: c, rand: r, query: query, got: map[string][]*twiliocall.Event{}, ids: map[string]bool{}}
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) {
	for position := "0"; ctx.Err() == nil; {
		life, cut := context.WithTimeout(ctx, time.Duration(l.rand.Int64N(int64(600*time.Millisecond))))
		last, err := l.listen(life, position)
		if err != nil && life.Err() == nil {
			l.t.Errorf("events of the account behind %s: %v", position, err)
			cut()
			return
		}
		cut()
		l.mu.Lock()
		position = last
		l.cuts++
		l.mu.Unlock()
	}
}

// listen reads one connection, and returns where the next one goes on.
func (l *listener) listen(ctx context.Context, position string) (last string, err error) {
	last = position
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.engine.http+"/v1/events"+l.query, nil)
	if err != nil {
		return last, err
	}
	r.SetBasicAuth(accountSID, authToken)
	r.Header.Set("Last-Event-ID", last)
	resp, err := l.streams.Do(r)
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return last, errors.New(resp.Status)
	}
	id, data := last, ""
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if data != "" {
				e := &twiliocall.Event{}
				if err := json.Unmarshal([]byte(data), e); err != nil {
					return last, err
				}
				l.take(e)
			}
			last, data = id, ""
		}
	}
	return last, cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
}

func (l *listener) take(e *twiliocall.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.got[e.Subject]
	if n := len(of); l.ids[e.ID] || n > 0 && of[n-1].Sequence >= e.Sequence {
		l.t.Errorf("%s of %s, number %d, comes after %d others and number %d", e.Type, e.Subject, e.Sequence, n, of[max(n-1, 0)].Sequence)
	}
	l.ids[e.ID] = true
	l.got[e.Subject] = append(of, e)
}

// heard reports whether l got exactly these events of a call.
func (l *listener) heard(sid string, events []*twiliocall.Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.EqualFunc(l.got[sid], events, func(a, b *twiliocall.Event) bool {
		return reflect.DeepEqual(withoutPosition(a), withoutPosition(b))
	})
}

// stored are all events of a call that is over.
func (c *chaos) stored(sid string) ([]*twiliocall.Event, error) {
	r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://"+c.engine.http+"/v1/calls/"+sid+"/events", nil)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(accountSID, authToken)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var list []*twiliocall.Event
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			e := &twiliocall.Event{}
			if err := json.Unmarshal([]byte(data), e); err != nil {
				return nil, err
			}
			list = append(list, e)
		}
	}
	return list, lines.Err()
}

// whims is an application that answers as it likes, and keeps the status callbacks.
type whims struct {
	*httptest.Server

	mu    sync.Mutex
	rand  *rand.Rand
	got   map[string][2][]callback // by call SID, of its first URL and its second one
	wrong []string
}

func newWhims(t *testing.T, r *rand.Rand) *whims {
	w := &whims{rand: r, got: map[string][2][]callback{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *whims) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch form := r.PostForm; r.URL.Path {
	case "/status/0", "/status/1":
		seq, err := strconv.Atoi(form.Get("SequenceNumber"))
		cb := callback{form.Get("CallStatus"), r.Header.Get("I-Twilio-Idempotency-Token"), form.Encode(), seq}
		if err != nil || cb.token == "" {
			w.wrong = append(w.wrong, fmt.Sprintf("callback without sequence number or token: %v %v", r.Header, form))
		}
		all := w.got[form.Get("CallSid")]
		i := int(r.URL.Path[len(r.URL.Path)-1] - '0')
		all[i] = append(all[i], cb)
		w.got[form.Get("CallSid")] = all
		if w.rand.IntN(20) == 0 {
			rw.WriteHeader(http.StatusServiceUnavailable) // it comes again
		}
	case "/music.wav":
		rw.Header().Set("Content-Type", "audio/wav")
		_, _ = rw.Write(audio.EncodeWAV(audio.Tone(time.Second, 620), audio.SampleRate))
	default:
		rw.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(rw, "<Response>"+w.document()+"</Response>")
	}
}

func (w *whims) document() string {
	switch w.rand.IntN(8) {
	case 0:
		return fmt.Sprintf(`<Dial timeout="5" action="/voice">%s%c%06d</Dial>`, wide, does(w.rand), w.rand.IntN(1e6))
	case 1:
		return `<Say>Hello and good bye</Say>`
	case 2:
		return `<Record maxLength="1" playBeep="false" action="/voice"/>`
	case 3:
		return `<Gather timeout="1" action="/voice"><Say>Press one</Say></Gather><Redirect>/voice</Redirect>`
	case 4:
		return `<Say loop="0">On and on</Say>`
	}
	return `<Pause length="120"/>`
}

func (w *whims) callbacks(sid string) [2][]callback {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.got[sid]
	return [2][]callback{slices.Clone(all[0]), slices.Clone(all[1])}
}
