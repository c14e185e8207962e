package phone

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Heard is everything heard so far, 8 kHz, with silence where packets are missing; the beginning is
// forgotten beyond Config.MaxHeard.
func (c *Call) Heard() []int16 {
	c.media.mu.Lock()
	defer c.media.mu.Unlock()
	_, pcm := c.media.heard.since(0)
	return pcm
}

// PacketsHeard counts the audio packets received.
func (c *Call) PacketsHeard() int {
	c.media.mu.Lock()
	defer c.media.mu.Unlock()
	return c.media.packets
}

// Digits are the keys the far end pressed so far: its telephone-events, or when none were agreed on
// the tones in its audio.
func (c *Call) Digits() string {
	c.media.mu.Lock()
	defer c.media.mu.Unlock()
	if c.media.ready && c.media.agreed.recvEvents < 0 {
		_, pcm := c.media.heard.since(0)
		return DetectDTMF(pcm)
	}
	return string(c.media.digits.got)
}

// The waits below each go on where the last one of the call stopped listening, so a script hears one
// thing after the other and misses nothing in between.

// WaitDigits blocks until exactly these keys have come next; a different key is an error at once.
func (c *Call) WaitDigits(ctx context.Context, want string) error {
	what := "waiting for keys " + want
	return c.poll(ctx, what, func() (bool, error) {
		got := c.Digits()
		c.mu.Lock()
		defer c.mu.Unlock()
		got = got[min(c.keyCursor, len(got)):]
		switch {
		case strings.HasPrefix(got, want):
			c.keyCursor += len(want)
			return true, nil
		case !strings.HasPrefix(want, got):
			return false, fmt.Errorf("phone: %s: got %s", what, got)
		}
		return false, nil
	})
}

// poll looks again whenever something changed, and every frame time besides for what changes by
// waiting. It looks once more after the call's end.
func (c *Call) poll(ctx context.Context, what string, done func() (bool, error)) error {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for {
		changed := c.changed.wait()
		end, isOver := c.End()
		if ok, err := done(); ok || err != nil {
			return err
		}
		if isOver {
			return &EndError{what, end}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("phone: %s: %w (heard %s, keys %q)", what, ctx.Err(), describe(c.Heard()), c.Digits())
		}
	}
}

// describe says what there is to hear in pcm, for messages.
func describe(pcm []int16) string {
	if len(pcm) == 0 {
		return "nothing"
	}
	loud := 0
	for f := pcm; len(f) >= frameSamples; f = f[frameSamples:] {
		if isSound(f[:frameSamples]) {
			loud++
		}
	}
	d := func(n int) time.Duration { return time.Duration(n) * time.Second / sampleRate }
	return fmt.Sprintf("%v of which %v sound at %.0f dBFS", d(len(pcm)), d(loud*frameSamples),
		20*math.Log10(max(1, math.Sqrt(meanSquare(pcm)))/math.MaxInt16))
}

// scan looks through audio in pieces: pcm continues where the last call asked to continue. It
// returns how many samples it is done with.
type scan func(pcm []int16, idle time.Duration) (used int, found bool)

// listen feeds a scan with what is heard from the call's cursor on, and moves the cursor to where the
// scan found what it looked for.
func (c *Call) listen(ctx context.Context, what string, s scan) error {
	c.mu.Lock()
	at := c.cursor
	c.mu.Unlock()
	began := time.Now()
	return c.poll(ctx, what, func() (bool, error) {
		c.media.mu.Lock()
		from, pcm := c.media.heard.since(at)
		last := c.media.heard.last
		c.media.mu.Unlock()
		idle := time.Since(began)
		if !last.IsZero() {
			idle = min(idle, time.Since(last))
		}
		used, found := s(pcm, idle)
		at = from + used
		if found {
			c.mu.Lock()
			c.cursor = at
			c.mu.Unlock()
		}
		return found, nil
	})
}

// WaitTone blocks until 100 ms of a tone of these frequencies in Hz are heard, and little else.
func (c *Call) WaitTone(ctx context.Context, hz ...float64) error {
	if len(hz) == 0 {
		return errors.New("phone: a tone needs a frequency")
	}
	return c.listen(ctx, fmt.Sprintf("waiting for a tone of %v Hz", hz), func(pcm []int16, _ time.Duration) (int, bool) {
		const window = 5 * frameSamples
		i := 0
		for ; i+window <= len(pcm); i += frameSamples {
			if IsTone(pcm[i:i+window], hz...) {
				return i + window, true
			}
		}
		return i, false
	})
}

// WaitAudio blocks until d of sound, as opposed to silence, has been heard in sum.
func (c *Call) WaitAudio(ctx context.Context, d time.Duration) error {
	need := samples(d)
	return c.listen(ctx, fmt.Sprintf("waiting for %v of sound", d), func(pcm []int16, _ time.Duration) (int, bool) {
		i := 0
		for ; i+frameSamples <= len(pcm) && need > 0; i += frameSamples {
			if isSound(pcm[i : i+frameSamples]) {
				need -= frameSamples
			}
		}
		return i, need <= 0
	})
}

// WaitSilence blocks until nothing but silence has been heard for d; no packets at all are silence too.
func (c *Call) WaitSilence(ctx context.Context, d time.Duration) error {
	quiet := 0
	return c.listen(ctx, fmt.Sprintf("waiting for %v of silence", d), func(pcm []int16, idle time.Duration) (int, bool) {
		i := 0
		for ; i+frameSamples <= len(pcm) && quiet < samples(d); i += frameSamples {
			quiet += frameSamples
			if isSound(pcm[i : i+frameSamples]) {
				quiet = 0
			}
		}
		if idle < 5*frameTime { // packets are merely between two
			idle = 0
		}
		return i, quiet+samples(idle) >= samples(d)
	})
}

// WaitHeard blocks until match is true of what has been heard since the last wait; it is asked every
// 100 ms of new audio.
func (c *Call) WaitHeard(ctx context.Context, what string, match func(pcm []int16) bool) error {
	asked := 0
	return c.listen(ctx, "waiting to hear "+what, func(pcm []int16, idle time.Duration) (int, bool) {
		_, isOver := c.End()
		if news := len(pcm) - asked; news == 0 || news < 5*frameSamples && idle < 5*frameTime && !isOver {
			return 0, false
		}
		asked = len(pcm)
		if match(pcm) {
			return len(pcm), true
		}
		return 0, false
	})
}
