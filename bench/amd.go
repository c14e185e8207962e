//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/phone"
)

const (
	amdSettles = 10 * time.Second // until every call is up
	amdVerdict = 15 * time.Second // until every verdict came, once nobody speaks
)

// amdSpeech is what every callee says without a pause that ends anything: machine detection works hardest then.
const amdSpeech = "You have reached the voice mail of the bench, which has much to say and never comes to an end, since " +
	"it begins again where it stopped, and whoever listens has to hear it out. "

// amd plays W2's prompt to callees who speak all the time, without machine detection and with.
func (b *bench) amd(ctx context.Context) error {
	b.head("AMD", "calls of the API to callees that speak all the time, a 30 s prompt played to them: without machine detection, and with")
	const n = 300
	speech := encodeULaw(phone.Babble(amdSpeech))
	plain, err := b.amdCalls(ctx, n, speech)
	if err != nil {
		return err
	}
	detecting, err := b.amdCalls(ctx, n, speech, "MachineDetection", "DetectMessageEnd", "MachineDetectionTimeout", "59",
		"AsyncAmd", "true", "AsyncAmdStatusCallback", b.app.url+"/amd")
	if err != nil {
		return err
	}
	at := fmt.Sprintf(" at %d", n)
	b.add("AMD", "CPU per 100 calls without detection"+at, plain.per100(), "%", budget{}, &plain.use, plain.note())
	b.add("AMD", "CPU per 100 detecting calls"+at, detecting.per100(), "%", budget{}, &detecting.use, detecting.note())
	b.add("AMD", "detection on top"+at, detecting.per100()-plain.per100(), "points", most(2, 0), nil, detecting.said)
	return ctx.Err()
}

// amdMedia is what one run measured.
type amdMedia struct {
	media
	said string // by the verdicts
}

// verdicts counts what the status callbacks of detections say.
type verdicts struct {
	mu   sync.Mutex
	said map[string]int
	n    int
}

func (v *verdicts) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.n
}

func (v *verdicts) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var parts []string
	for _, by := range slices.Sorted(maps.Keys(v.said)) {
		parts = append(parts, fmt.Sprintf("%d %s", v.said[by], by))
	}
	return strings.Join(parts, ", ")
}

func (b *bench) amdCalls(ctx context.Context, n int, speech []byte, params ...string) (m amdMedia, err error) {
	s, err := b.serve(ctx)
	if err != nil {
		return m, err
	}
	defer s.close()
	defer b.peer.clear()
	told := &verdicts{said: make(map[string]int)}
	b.app.on("/amd", func(w http.ResponseWriter, r *http.Request) {
		told.mu.Lock()
		defer told.mu.Unlock()
		told.said[r.PostFormValue("AnsweredBy")]++
		told.n++
		w.WriteHeader(http.StatusNoContent)
	})
	var mu sync.Mutex
	var up []*stream
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(up)
	}
	called, err := newCallee(b.peer.sock.local, func(port int) {
		mu.Lock()
		defer mu.Unlock()
		t := b.peer.add(port, nil)
		t.speaks(speech, len(up)*frame)
		up = append(up, t)
	})
	if err != nil {
		return m, err
	}
	defer called.close()
	for range n {
		form := append([]string{"To", called.uri(), "From", "+15005550006", "Url", b.app.url + "/loop"}, params...)
		if _, err := s.post(ctx, "Calls", form...); err != nil {
			return m, err
		}
		pause(ctx, 10*time.Millisecond)
	}
	for deadline := time.Now().Add(amdSettles); count() < n && time.Now().Before(deadline) && ctx.Err() == nil; {
		pause(ctx, 50*time.Millisecond)
	}
	if up := count(); up < n {
		return m, fmt.Errorf("%d of %d calls are up", up, n)
	}
	m.media = b.window(ctx, s.pid(), n)
	if len(params) == 0 {
		return m, ctx.Err()
	}
	early := told.count()
	mu.Lock()
	for _, t := range up {
		t.speaks(nil, 0)
	}
	mu.Unlock()
	for deadline := time.Now().Add(amdVerdict); told.count() < n && time.Now().Before(deadline) && ctx.Err() == nil; {
		pause(ctx, 50*time.Millisecond)
	}
	m.said = fmt.Sprintf("%d verdicts before the callees fell silent, then %d of %d: %s", early, told.count(), n, told)
	if early > 0 || told.count() < n {
		err = fmt.Errorf("not every call was detecting: %s", m.said)
	}
	return m, err
}

// encodeULaw is G.711 µ-law, ITU-T G.711 table 2a.
func encodeULaw(pcm []int16) []byte {
	const bias, clip = 132, 32635
	b := make([]byte, len(pcm))
	for i, s := range pcm {
		v, sign := int(s), byte(0)
		if v < 0 {
			v, sign = -v, 0x80
		}
		v = min(v, clip) + bias
		exponent := byte(7)
		for mask := 0x4000; v&mask == 0 && exponent > 0; mask >>= 1 {
			exponent--
		}
		b[i] = ^(sign | exponent<<4 | byte(v>>(exponent+3))&0x0f)
	}
	return b
}
