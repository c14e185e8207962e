//go:build linux

package main

import (
	"context"
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

// api is the REST API under load, beside bare net/http.
func (b *bench) api(ctx context.Context) error {
	b.head("API", fmt.Sprintf("%d connections, keep-alive; the generator is net/http too, and the floor is a bare net/http server with answers of that size", connections))
	f, err := startFloor(ctx, "http")
	if err != nil {
		return err
	}
	defer f.stop()
	form := url.Values{"To": {ringer}, "From": {"+15005550006"}, "Url": {b.app.url + "/wait"}}.Encode()
	account := "/2010-04-01/Accounts/AC" + strings.Repeat("0", 32)
	d := pick(b, 4*time.Second, 12*time.Second)
	floorOf := func(method, path, body string) requests {
		m := start(f.pid())
		r := hammer(ctx, d/2, method, f.line+account+path, body, "", "")
		u := m.used()
		b.add("API", method+" of bare net/http", r.rate(), "/s", budget{}, &u, r.note())
		return r
	}
	floorOf(http.MethodPost, "/Calls.json", form)
	floorOf(http.MethodGet, "/Calls/CA.json", "")

	s, err := b.serve(ctx, "--sim-max-calls", "1")
	if err != nil {
		return err
	}
	defer s.close()
	hammer(ctx, d/4, http.MethodPost, s.http+s.path("Calls"), form, s.sid, s.token)
	m := start(s.pid())
	r := hammer(ctx, d, http.MethodPost, s.http+s.path("Calls"), form, s.sid, s.token)
	u := m.used()
	b.add("API", "POST Calls, durable", r.rate(), "/s", least(3000, 6000), &u, r.note())
	b.add("API", "POST Calls, p99", r.latency.at(0.99)[0], "ms", most(15, 0), nil, "")
	b.add("API", "POST Calls, engine CPU per 1,000", 1000*u.EngineCPU/max(r.ok, 1), "s", budget{}, nil, "")

	c, err := s.post(ctx, "Calls", "To", ringer, "From", "+15005550006", "Url", b.app.url+"/wait")
	if err != nil {
		return err
	}
	sid, _ := c["sid"].(string)
	m = start(s.pid())
	r = hammer(ctx, d, http.MethodGet, s.http+s.path("Calls/"+sid), "", s.sid, s.token)
	u = m.used()
	b.add("API", "GET a call", r.rate(), "/s", least(12000, 0), &u, r.note())
	b.add("API", "GET a call, p99", r.latency.at(0.99)[0], "ms", budget{}, nil, "")
	b.add("API", "GET a call, engine CPU per 1,000", 1000*u.EngineCPU/max(r.ok, 1), "s", budget{}, nil, "")
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

// hammer sends the same request over all connections for d.
func hammer(ctx context.Context, d time.Duration, method, url, body, user, password string) requests {
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var (
		mu  sync.Mutex
		sum = requests{others: make(map[int]int)}
		wg  sync.WaitGroup
	)
	began := time.Now()
	for range connections {
		wg.Go(func() {
			mine := requests{others: make(map[int]int)}
			for time.Since(began) < d && ctx.Err() == nil {
				at := time.Now()
				status, err := send(ctx, client, method, url, body, user, password)
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
			for status, n := range mine.others {
				sum.others[status] += n
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

func send(ctx context.Context, client *http.Client, method, url, body, user, password string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}
