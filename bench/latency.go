//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	latencyNumber = "+15550003000"
	notHeard      = 5 * time.Second // until a sound counts as missing
)

// latencies are taken of one call at a time on an idle server.
func (b *bench) latencies(ctx context.Context) error {
	b.head("latency", "one call on an idle server; times of audio are the kernel's, packets come every 20 ms")
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	l := &listening{bench: b, s: s, sid: make(chan string, 1), answered: make(chan time.Time, 1), ended: make(chan time.Time, 1)}
	b.app.on("/listen", func(w http.ResponseWriter, r *http.Request) {
		l.sid <- r.PostFormValue("CallSid")
		writeDocument(w, []byte(waitDocument))
	})
	b.app.on("/ended", func(w http.ResponseWriter, _ *http.Request) {
		l.ended <- time.Now()
		w.WriteHeader(http.StatusNoContent)
	})
	if err := s.number(ctx, latencyNumber, b.app.url+"/listen", "StatusCallback", b.app.url+"/ended"); err != nil {
		return err
	}
	defer b.peer.clear()
	if err := l.call(ctx); err != nil {
		return err
	}
	for _, part := range [...]func(context.Context) error{l.redirects, l.speech, l.keys, l.callbacks} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// listening is a call whose audio is watched for a sound.
type listening struct {
	*bench
	s        *served
	current  string // SID of the call
	stream   *stream
	sid      chan string
	answered chan time.Time // when the application answered
	ended    chan time.Time // when the status callback came

	mu    sync.Mutex
	want  func(payload []byte) bool
	found chan time.Time
	last  time.Time // the last packet that was wanted
}

// call places the call that the others listen to.
func (l *listening) call(ctx context.Context) error {
	up := make(chan *stream, 1)
	l.s.caller.begin()
	l.s.caller.dial(latencyNumber, forever, func(p *placed) { up <- l.peer.add(p.rtpPort, l.hear) })
	var err error
	if l.current, err = await(ctx, l.sid, "the call's TwiML fetch"); err != nil {
		return err
	}
	l.stream, err = await(ctx, up, "the call's answer")
	return err
}

func (l *listening) hear(at time.Time, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.want != nil && l.want(payload) {
		l.last = at
		select {
		case l.found <- at:
		default:
		}
	}
}

// watch prepares to hear a sound; the channel gets the arrival of its first packet.
func (l *listening) watch(want func([]byte) bool) <-chan time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want, l.found = want, make(chan time.Time, 1)
	return l.found
}

// lastHeard is the arrival of the last packet of what is watched.
func (l *listening) lastHeard() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func await[T any](ctx context.Context, c <-chan T, what string) (v T, err error) {
	select {
	case v = <-c:
		return v, nil
	case <-time.After(notHeard):
		return v, fmt.Errorf("%s did not come in %s", what, notHeard)
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// serveOnce makes path answer with a document and note when.
func (l *listening) serveOnce(path, twiml string) {
	l.app.on(path, func(w http.ResponseWriter, _ *http.Request) {
		writeDocument(w, []byte(twiml))
		l.answered <- time.Now()
	})
}

// redirect gives the call a new document and returns when it was asked, when the application answered and
// when the sound was first heard.
func (l *listening) redirect(ctx context.Context, path string, want func([]byte) bool) (asked, answered, heard time.Time, err error) {
	found := l.watch(want)
	asked = time.Now()
	if _, err = l.s.post(ctx, "Calls/"+l.current, "Url", l.app.url+path); err != nil {
		return
	}
	if answered, err = await(ctx, l.answered, "the fetch of "+path); err != nil {
		return
	}
	heard, err = await(ctx, found, "the sound of "+path)
	return
}

func (l *listening) report(name string, m millis, must float64, note string) {
	v := m.at(0.5, 0.99, 1)
	if note != "" {
		note = "; " + note
	}
	l.add("latency", name+", p99", v[1], "ms", most(must, 0), nil, fmt.Sprintf("p50 %s ms, longest %s ms of %d%s", figure(v[0]), figure(v[2]), len(m), note))
}

// redirects switches between two cached prompts.
func (l *listening) redirects(ctx context.Context) error {
	l.serveOnce("/first", `<Response><Play loop="0">/first.wav</Play></Response>`)
	l.serveOnce("/second", `<Response><Play loop="0">/second.wav</Play></Response>`)
	var whole, sound millis
	for i := range pick(l.bench, 42, 202) {
		path, mark := "/first", byte(firstMark)
		if i%2 == 1 {
			path, mark = "/second", secondMark
		}
		asked, answered, heard, err := l.redirect(ctx, path, func(b []byte) bool { return isPrompt(b, mark) })
		if err != nil {
			return err
		}
		if i >= 2 { // both are cached
			whole.add(heard.Sub(asked))
			sound.add(heard.Sub(answered))
		}
		l.jitter(ctx)
	}
	l.report("redirect by API to first new audio", whole, 200, "prompt cached, the application answers at once")
	l.report("application's answer to first audio, cached <Play>", sound, 60, "")
	return nil
}

// jitter waits for a moment that has no relation to the frames.
func (l *listening) jitter(ctx context.Context) {
	pause(ctx, 60*time.Millisecond+time.Duration(time.Now().UnixNano()%int64(20*time.Millisecond)))
}

// speech says texts for the first time and again.
func (l *listening) speech(ctx context.Context) error {
	l.serveOnce("/quiet", `<Response><Pause length="3600"/></Response>`)
	var fresh, cached millis
	for i := range pick(l.bench, 8, 40) {
		text := fmt.Sprintf("Your order number %d left our house this morning, and the driver will ring at your door between two and four.", 7919*(i+11))
		l.serveOnce("/say", `<Response><Say>`+text+`</Say><Pause length="3600"/></Response>`)
		for _, m := range [...]*millis{&fresh, &cached} {
			if err := l.quiet(ctx); err != nil {
				return err
			}
			_, answered, heard, err := l.redirect(ctx, "/say", audible)
			if err != nil {
				return err
			}
			m.add(heard.Sub(answered))
		}
	}
	l.report("application's answer to first audio, new text", fresh, 250, "built-in voice")
	l.report("application's answer to first audio, cached text", cached, 60, "")
	return nil
}

// quiet gives the call a document without sound and waits until nothing is heard.
func (l *listening) quiet(ctx context.Context) error {
	l.watch(audible)
	if _, err := l.s.post(ctx, "Calls/"+l.current, "Url", l.app.url+"/quiet"); err != nil {
		return err
	}
	if _, err := await(ctx, l.answered, "the fetch of /quiet"); err != nil {
		return err
	}
	pause(ctx, 150*time.Millisecond)
	for time.Since(l.lastHeard()) < 100*time.Millisecond && ctx.Err() == nil {
		pause(ctx, 20*time.Millisecond)
	}
	return nil
}

// keys cuts a prompt with a key, at a random moment of the frame.
func (l *listening) keys(ctx context.Context) error {
	l.serveOnce("/gather", `<Response><Gather numDigits="1" action="/after"><Play loop="0">/first.wav</Play></Gather></Response>`)
	l.serveOnce("/after", `<Response><Pause length="3600"/></Response>`)
	first := func(b []byte) bool { return isPrompt(b, firstMark) }
	var cut millis
	for range pick(l.bench, 20, 150) {
		if err := l.quiet(ctx); err != nil {
			return err
		}
		if _, _, _, err := l.redirect(ctx, "/gather", first); err != nil {
			return err
		}
		l.jitter(ctx)
		l.stream.pressKey()
		if _, err := await(ctx, l.answered, "the action after the key"); err != nil {
			return err
		}
		pause(ctx, 100*time.Millisecond)
		cut.add(max(0, l.lastHeard().Sub(time.Unix(0, l.stream.pressed.Load()))))
	}
	l.report("key to prompt cut", cut, 40, "from the key's first packet to the last one of the prompt; 0 is a cut at the very next packet")
	return nil
}

// callbacks ends calls: the time from the BYE to the completed callback holds the commit and the sending.
func (l *listening) callbacks(ctx context.Context) error {
	var m millis
	for i := range pick(l.bench, 30, 150) {
		if i > 0 {
			if err := l.call(ctx); err != nil {
				return err
			}
			pause(ctx, 20*time.Millisecond)
		}
		asked := time.Now()
		l.s.caller.hangup(ctx, 0)
		came, err := await(ctx, l.ended, "the completed callback")
		if err != nil {
			return err
		}
		m.add(came.Sub(asked))
	}
	l.report("BYE to completed callback", m, 10, "the budget counts from the commit, which this contains")
	return nil
}
