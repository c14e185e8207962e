//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	connections = 16
	ringer      = "+15005551408" // the simulated phone that never answers: the calls behind it stay queued
)

// face is one of the two APIs, with the names of its requests in the report.
type face struct {
	post, get string
	create    func(*engine, string) ask    // of a call whose document is at the URL
	call      func(*engine, string) string // path of a call
	post99    budget
	rate, had budget // of creates and of calls read
}

var faces = [...]face{
	{
		post: "POST Calls", get: "GET a call", create: (*engine).create, call: func(e *engine, sid string) string { return e.path("Calls/" + sid) },
		post99: most(15, 0), rate: least(3000, 6000), had: least(12000, 0),
	},
	{
		post: "POST /v1/calls", get: "GET /v1/calls/{id}", create: (*engine).createV1, call: func(_ *engine, sid string) string { return "/v1/calls/" + sid },
	},
}

// create asks for a call to the phone that never answers, through the Calls API.
func (e *engine) create(document string) ask {
	form := url.Values{"To": {ringer}, "From": {"+15005550006"}, "Url": {document}}.Encode()
	return e.ask(http.MethodPost, e.path("Calls"), formType, form)
}

// createV1 asks for the same through the TwilioCall API.
func (e *engine) createV1(document string) ask {
	body, _ := json.Marshal(map[string]string{"to": ringer, "from": "+15005550006", "url": document}) // strings can be marshalled
	return e.ask(http.MethodPost, "/v1/calls", "application/json", string(body))
}

// api is both APIs under load, beside bare net/http, and lists from a large table.
func (b *bench) api(ctx context.Context) error {
	b.head("API", fmt.Sprintf("%d connections, keep-alive; the generator is net/http too, and the floor is a bare net/http server with answers of that size", connections))
	posts, gets, err := b.floorAPI(ctx)
	if err != nil {
		return err
	}
	for _, f := range faces {
		if err := b.face(ctx, f, posts, gets); err != nil {
			return err
		}
	}
	return b.lists(ctx)
}

// floorAPI is how many requests a second bare net/http answers.
func (b *bench) floorAPI(ctx context.Context) (posts, gets float64, err error) {
	f, err := startFloor(ctx, "http")
	if err != nil {
		return 0, 0, err
	}
	defer f.stop()
	bare := &engine{http: f.line, sid: "AC" + strings.Repeat("0", 32)}
	rate := func(a ask) float64 {
		m := start(f.pid())
		r := hammer(ctx, connections, pick(b, 2*time.Second, 6*time.Second), a)
		u := m.used()
		b.add("API", a.method+" of bare net/http", r.rate(), "/s", budget{}, &u, r.note())
		return r.rate()
	}
	posts = rate(bare.create(b.app.url + "/wait"))
	return posts, rate(bare.ask(http.MethodGet, bare.path("Calls/CA"), "", "")), nil
}

// face measures creates and reads through one API, on a fresh server; posts and gets are what bare net/http does.
func (b *bench) face(ctx context.Context, f face, posts, gets float64) error {
	s, err := b.serve(ctx, "--sim-max-calls", "1")
	if err != nil {
		return err
	}
	defer s.close()
	d := pick(b, 4*time.Second, 12*time.Second)
	create := f.create(s.engine, b.app.url+"/wait")
	hammer(ctx, connections, d/4, create)
	m := start(s.pid())
	r := hammer(ctx, connections, d, create)
	u := m.used()
	b.add("API", f.post+", durable", r.rate(), "/s", f.rate, &u, fmt.Sprintf("%.0f %% of bare net/http; %s", 100*r.rate()/max(posts, 1), r.note()))
	b.add("API", f.post+", p99", r.latency.at(0.99)[0], "ms", f.post99, nil, "")
	b.add("API", f.post+", engine CPU per 1,000", 1000*u.EngineCPU/max(r.ok, 1), "s", budget{}, nil, "")

	c, err := s.post(ctx, "Calls", "To", ringer, "From", "+15005550006", "Url", b.app.url+"/wait")
	if err != nil {
		return err
	}
	sid, _ := c["sid"].(string)
	m = start(s.pid())
	r = hammer(ctx, connections, d, s.ask(http.MethodGet, f.call(s.engine, sid), "", ""))
	u = m.used()
	b.add("API", f.get, r.rate(), "/s", f.had, &u, fmt.Sprintf("%.0f %% of bare net/http; %s", 100*r.rate()/max(gets, 1), r.note()))
	b.add("API", f.get+", p99", r.latency.at(0.99)[0], "ms", budget{}, nil, "")
	b.add("API", f.get+", engine CPU per 1,000", 1000*u.EngineCPU/max(r.ok, 1), "s", budget{}, nil, "")
	return ctx.Err()
}

// requests is what became of the requests of one run.
type requests struct {
	ok      float64 // 2xx
	others  map[int]int
	err     error // the first that is no answer
	seconds float64
	latency millis
}

func (r requests) rate() float64 { return r.ok / r.seconds }

func (r requests) note() string {
	v := r.latency.at(0.5, 0.99)
	s := fmt.Sprintf("%.0f answers, p50 %s ms, p99 %s ms", r.ok, figure(v[0]), figure(v[1]))
	for status, n := range r.others {
		s += fmt.Sprintf(", %d × %d", n, status)
	}
	if r.err != nil {
		s += ", " + r.err.Error()
	}
	return s
}

const formType = "application/x-www-form-urlencoded"

// ask is a request to be sent again and again.
type ask struct {
	method, url       string
	contentType, body string // "" none
	user, password    string
}

// ask is a request with the account's credentials.
func (e *engine) ask(method, path, contentType, body string) ask {
	return ask{method, e.http + path, contentType, body, e.sid, e.token}
}

// hammer sends the same request over n connections for d.
func hammer(ctx context.Context, n int, d time.Duration, a ask) requests {
	transport := &http.Transport{MaxIdleConnsPerHost: n, MaxConnsPerHost: n, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var (
		mu  sync.Mutex
		sum = requests{others: make(map[int]int)}
		wg  sync.WaitGroup
	)
	began := time.Now()
	for range n {
		wg.Go(func() {
			mine := requests{others: make(map[int]int)}
			for time.Since(began) < d && ctx.Err() == nil {
				at := time.Now()
				status, err := a.send(ctx, client)
				switch {
				case err != nil:
					mine.err = errors.Join(mine.err, err)
				case status < 300:
					mine.ok++
					mine.latency.add(time.Since(at))
				default:
					mine.others[status]++
				}
				if err != nil {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum.ok += mine.ok
			sum.latency = append(sum.latency, mine.latency...)
			for status, count := range mine.others {
				sum.others[status] += count
			}
			if sum.err == nil {
				sum.err = mine.err
			}
		})
	}
	wg.Wait()
	sum.seconds = time.Since(began).Seconds()
	return sum
}

func (a ask) send(ctx context.Context, client *http.Client) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, a.method, a.url, strings.NewReader(a.body))
	if err != nil {
		return 0, err
	}
	req.SetBasicAuth(a.user, a.password)
	if a.body != "" {
		req.Header.Set("Content-Type", a.contentType)
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}
