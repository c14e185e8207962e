//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	recordingSettles = 20 * time.Second // until all calls are up, and until all recordings are kept
	// recordingPeriod is that of the recorder's syncs: a window of whole periods holds as many of them, wherever it begins.
	recordingPeriod = 5 * time.Second
)

// w3 plays W2's prompt to calls that the API created, first without recording them and then with a recording of two channels
// from the first to the last second.
func (b *bench) w3(ctx context.Context) error {
	b.head("W3", "the prompt of W2 in calls that the API created; then the same with Record=true, RecordingChannels=dual")
	n := pick(b, 300, 500)
	plain, err := b.w3Calls(ctx, n, " not recorded")
	if err != nil {
		return err
	}
	recorded, err := b.w3Calls(ctx, n, " recorded", "Record", "true", "RecordingChannels", "dual")
	if err != nil {
		return err
	}
	at := fmt.Sprintf(" at %d", n)
	b.add("W3", "recording, CPU points per 100 calls"+at, recorded.per100()-plain.per100(), "points", most(3, 0), nil, "")
	b.add("W3", "packet gap p99 when recorded"+at, recorded.gaps.quantile(0.99), "ms", most(plain.gaps.quantile(0.99)+2, 0), nil, "the budget is 2 ms above that of calls that are not recorded")
	b.add("W3", "packet gap p99.9 when recorded"+at, recorded.gaps.quantile(0.999), "ms", most(plain.gaps.quantile(0.999)+4, 0), nil, "4 ms above")
	return ctx.Err()
}

// w3Calls measures n calls created with these parameters.
func (b *bench) w3Calls(ctx context.Context, n int, kind string, form ...string) (media, error) {
	s, err := b.serve(ctx)
	if err != nil {
		return media{}, err
	}
	defer s.close()
	var up atomic.Int64
	phone, err := newCallee(b.peer.sock.local, func(port int) { b.peer.add(port, nil); up.Add(1) })
	if err != nil {
		return media{}, err
	}
	defer phone.close()
	defer b.peer.clear()
	pause(ctx, time.Second)
	before := resident(s.pid())
	form = append([]string{"To", phone.uri(), "From", "+15005550006", "Url", b.app.url + "/loop"}, form...)
	var sids []string
	s.caller.place(ctx, 100, n, func() {
		c, failed := s.post(ctx, "Calls", form...)
		if err = cmp.Or(err, failed); failed == nil {
			sid, _ := c["sid"].(string)
			sids = append(sids, sid)
		}
	})
	if err != nil {
		return media{}, err
	}
	for deadline := time.Now().Add(recordingSettles); up.Load() < int64(n); pause(ctx, 50*time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(deadline) {
			return media{}, fmt.Errorf("%d of %d calls were set up in %s", up.Load(), n, recordingSettles)
		}
	}
	m := b.windowOf(ctx, s.pid(), n, pick(b, 2*recordingPeriod, 6*recordingPeriod))
	gained := resident(s.pid()) - before
	for _, sid := range sids {
		if _, err := s.post(ctx, "Calls/"+sid, "Status", "completed"); err != nil {
			return media{}, err
		}
	}
	at := fmt.Sprintf("%s at %d", kind, n)
	b.add("W3", "engine CPU per 100 calls"+at, m.per100(), "%", budget{}, &m.use, m.note())
	b.add("W3", "packet gap p99"+at, m.gaps.quantile(0.99), "ms", budget{}, nil, fmt.Sprintf("p99.9 %.1f ms", m.gaps.quantile(0.999)))
	b.add("W3", "packets lost"+at, float64(m.lost), "", budget{}, nil, "")
	b.add("W3", "memory per call"+at, 1024*gained/float64(n), "KiB", budget{}, nil, fmt.Sprintf("%.0f MiB to %.0f MiB", before, before+gained))
	if kind == " recorded" {
		kept, note, err := s.recordings(ctx, n, m.use.Seconds)
		if err != nil {
			return media{}, err
		}
		b.add("W3", "recordings kept, two channels of the whole call"+at, float64(kept), "", least(float64(n), 0), nil, note)
	}
	return m, ctx.Err()
}

// recordings waits until n recordings have ended, and counts those that are as they should be: two channels, not shorter than
// what was measured.
func (s *served) recordings(ctx context.Context, n int, seconds float64) (kept int, note string, err error) {
	for deadline := time.Now().Add(recordingSettles); ; pause(ctx, 200*time.Millisecond) {
		var page struct {
			Recordings []struct {
				Status   string `json:"status"`
				Duration string `json:"duration"`
				Channels int    `json:"channels"`
			} `json:"recordings"`
		}
		if err := s.get(ctx, "Recordings", "PageSize=1000", &page); err != nil {
			return 0, "", err
		}
		kept = 0
		shortest := -1
		for _, r := range page.Recordings {
			d, _ := strconv.Atoi(r.Duration) // none before it is completed
			if r.Status != "completed" || r.Channels != 2 || float64(d) < seconds {
				continue
			}
			if kept++; shortest < 0 || d < shortest {
				shortest = d
			}
		}
		if kept >= n || time.Now().After(deadline) || ctx.Err() != nil {
			return kept, fmt.Sprintf("%d recordings, the shortest %d s", len(page.Recordings), shortest), nil //nolint:nilerr // what there was by then is counted
		}
	}
}

// get decodes the JSON object that a resource is.
func (e *engine) get(ctx context.Context, resource, query string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.http+e.path(resource)+"?"+query, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(e.sid, e.token)
	res, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("GET %s: %s", resource, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
