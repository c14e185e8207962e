//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

const (
	w1Number   = "+15550001000"
	loopNumber = "+15550002000"

	cleanLatency = 500 // ms; from timer T1 on a caller sends its INVITE again (RFC 3261 section 17.1.1.2)
	rateStep     = 200 // calls a second
	rateEnd      = 2400
)

// loaded is the server of W1, which stays up between the parts of a run: its memory is judged when it was
// idle for long enough, and other parts run meanwhile.
type loaded struct {
	*served
	calls          int
	clean, ceiling float64
	before         float64   // memory before the overload
	idle           time.Time // since when
}

const (
	// Every SIP transaction of the last calls is over: timers B, H and J are 32 s (RFC 3261 table 4). The
	// server then gives memory back 34 to 36 s after its last call.
	timersOver = 38 * time.Second
	// Go collects garbage every two minutes when nothing else asks for it (runtime, forcegcperiod).
	collected = 150 * time.Second
)

// rest waits until the server was idle for d.
func (s *loaded) rest(ctx context.Context, d time.Duration) { pause(ctx, time.Until(s.idle.Add(d))) }

// w1 is INVITE–200–ACK–BYE by the caller: every call is committed and its TwiML fetched before the 200.
func (b *bench) w1(ctx context.Context) error {
	b.head("W1", "INVITE–200–ACK–BYE by the caller, no RTP from it; each call durable and its TwiML fetched before the 200")
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	b.loaded = &loaded{served: s}
	if err := s.number(ctx, w1Number, b.app.url+"/wait"); err != nil {
		return err
	}
	pause(ctx, pick(b, 3*time.Second, 10*time.Second))
	b.add("W1", "memory, idle after start", resident(s.pid()), "MiB", most(80, 0), nil, "")

	s.caller.run(ctx, w1Number, 50, 100) // the first calls fill caches
	b.loaded.clean, b.loaded.ceiling, b.loaded.calls = b.w1Ladder(ctx, s)
	b.add("W1", "clean rate", b.loaded.clean, "/s", least(600, 1000), nil,
		fmt.Sprintf("every call answered and ended, p99 below %d ms, steps of %d/s", cleanLatency, rateStep))
	b.w1More(ctx, 10_000)
	return ctx.Err()
}

// w1More places calls, without haste, until there were total.
func (b *bench) w1More(ctx context.Context, total int) {
	s := b.loaded
	if n := total - s.calls; n > 0 {
		s.calls += s.caller.run(ctx, w1Number, 0.6*max(s.clean, rateStep), n).placed
	}
	s.idle = time.Now()
}

// w1Ladder raises the rate until it is no longer clean. The ceiling is the most calls completed a second.
// A rate that fails gets a second try, because the machine may be busy with something else.
func (b *bench) w1Ladder(ctx context.Context, s *served) (clean, ceiling float64, calls int) {
	retried := false
	for rate := float64(rateStep); rate <= rateEnd && ctx.Err() == nil; {
		pause(ctx, time.Second/2)
		m := start(s.pid())
		t := s.caller.run(ctx, w1Number, rate, int(rate)*pick(b, 3, 15))
		u := m.used()
		calls += t.placed
		q := t.latency.at(0.5, 0.99)
		done := float64(t.clean) / t.elapsed.Seconds()
		ceiling = max(ceiling, done)
		note := fmt.Sprintf("%d calls, %d failed, %d requests sent again, %.0f/s done", t.placed, t.failed(), t.resent, done)
		if t.failed() > 0 {
			note += ": " + t.why()
		}
		var cpu budget
		if rate == 600 {
			cpu = most(2.5, 1.5)
		}
		at := fmt.Sprintf(" at %.0f/s", rate)
		b.add("W1", "engine CPU per 1,000 calls"+at, 1000*u.EngineCPU/float64(max(t.answered, 1)), "s", cpu, &u, note)
		b.add("W1", "INVITE to 200, p50"+at, q[0], "ms", budget{}, nil, "")
		b.add("W1", "INVITE to 200, p99"+at, q[1], "ms", budget{}, nil, "")
		switch {
		case t.failed() == 0 && q[1] < cleanLatency && done > 0.9*rate:
			clean, retried = rate, false
			rate += rateStep
		case retried:
			return clean, ceiling, calls
		default:
			retried = true
		}
	}
	return clean, ceiling, calls
}

// w1Memory is the memory after many calls, idle again.
func (b *bench) w1Memory(ctx context.Context) error {
	b.head("W1", "the same server, later")
	s := b.loaded
	for _, total := range pick(b, []int{10_000}, []int{10_000, 20_000, 30_000}) {
		b.w1More(ctx, total)
		s.rest(ctx, timersOver)
		b.add("W1", fmt.Sprintf("memory after %d calls, idle again", total), resident(s.pid()), "MiB", most(150, 0), nil,
			fmt.Sprintf("%d calls, idle for %.0f s", s.calls, time.Since(s.idle).Seconds()))
	}
	if b.full {
		s.rest(ctx, collected)
		b.add("W1", "memory, idle for longer", resident(s.pid()), "MiB", budget{}, nil, fmt.Sprintf("%.0f s", time.Since(s.idle).Seconds()))
	}
	b.w1Overload(ctx)
	return ctx.Err()
}

// w1Overload offers twice the ceiling.
func (b *bench) w1Overload(ctx context.Context) {
	s := b.loaded
	s.before = resident(s.pid())
	seconds := pick(b, 5.0, 20.0)
	var (
		ceiling = max(s.ceiling, 1)
		rate    float64
		u       usage
		t       *tally
		done    float64
	)
	for range 3 { // what beats the ceiling by far shows that it was taken on a busier machine
		rate = 2 * ceiling
		m := start(s.pid())
		t = s.caller.run(ctx, w1Number, rate, int(rate*seconds))
		u = m.used()
		done = float64(t.clean) / max(seconds, t.last.Sub(t.began).Seconds())
		if done <= 1.1*ceiling || ctx.Err() != nil {
			break
		}
		ceiling = done
	}
	q := t.latency.at(0.5, 0.99)
	b.add("W1", "twice the ceiling: still answered", 100*done/ceiling, "%", least(90, 0), &u,
		fmt.Sprintf("%.0f/s offered for %.0f s, over after %.0f s; %.0f/s done of %.0f/s; p50 %s ms, p99 %s ms; %d requests sent again",
			rate, seconds, t.elapsed.Seconds(), done, ceiling, figure(q[0]), figure(q[1]), t.resent))
	well := 100.0
	if t.failed() > 0 {
		well = 100 * float64(t.retryAfter) / float64(t.failed())
	}
	b.add("W1", "twice the ceiling: the rest refused with 503", well, "%", least(100, 0), nil, "with Retry-After; "+cmp.Or(t.why(), "none was refused"))
	b.add("W1", "twice the ceiling: memory at the end of it", resident(s.pid()), "MiB", budget{}, nil, "")
	left := s.caller.run(ctx, w1Number, 50, 100)
	b.add("W1", "twice the ceiling: clean calls of 100 afterwards", float64(left.clean), "", least(100, 0), nil, left.why())
	s.idle = time.Now()
}

// w1End is the memory that the overload left behind.
func (b *bench) w1End(ctx context.Context) error {
	b.head("W1", "the same server, idle after the overload")
	s := b.loaded
	s.rest(ctx, timersOver)
	b.add("W1", "twice the ceiling: memory gained, idle again", resident(s.pid())-s.before, "MiB", most(20, 0), nil,
		fmt.Sprintf("%.0f MiB before, idle for %.0f s; at most 20 MiB is called flat", s.before, time.Since(s.idle).Seconds()))
	return ctx.Err()
}

// starts is the time from the start of the process, with an existing database, to the first answered call.
func (b *bench) starts(ctx context.Context) error {
	b.head("start", "from the start of the process, with an existing database, to the first answered call")
	dir, err := b.folder()
	if err != nil {
		return err
	}
	var ready, answered millis
	for i := range pick(b, 4, 11) {
		s, err := b.serveOn(ctx, dir)
		if err != nil {
			return err
		}
		ready.add(time.Since(s.started))
		if i == 0 {
			err = s.number(ctx, w1Number, b.app.url+"/wait")
		} else if t := s.caller.run(ctx, w1Number, 1, 1); t.clean != 1 {
			err = fmt.Errorf("the first call after a start: %s", t.why())
		} else {
			answered.add(t.last.Sub(s.started))
		}
		s.close()
		if err != nil {
			return err
		}
	}
	v := answered.at(0.5, 1)
	b.add("start", "start to first answered call, median", v[0], "ms", most(400, 0), nil,
		fmt.Sprintf("slowest of %d %s ms; ready after %s ms", len(answered), figure(v[1]), figure(ready.at(0.5)[0])))
	return nil
}
