package recording

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/offhook/offhook/internal/audio"
)

const (
	// trimStep is what is judged at once: 10 ms, so that a trimmed recording is right to ± 10 ms.
	trimStep = Rate / 100
	// trimLevel is the mean power of the quietest sound: -50 dBFS of a sine, between the noise of a quiet line
	// (about -65) and soft speech (about -40).
	trimLevel = math.MaxInt16 * math.MaxInt16 / 2 * 1e-5
)

// Trim finds the part of a spool between its first and its last sound, in samples; from == to when it is
// silent throughout.
func (r Result) Trim() (from, to int64, err error) {
	f, err := os.Open(r.Path)
	if err != nil {
		return 0, 0, fmt.Errorf("recording: trim: %w", err)
	}
	defer f.Close()
	if from, err = r.search(f, 0, 1); err != nil || from < 0 {
		return 0, 0, err
	}
	last := (r.Samples - 1) / trimStep * trimStep
	if to, err = r.search(f, last, -1); err != nil {
		return 0, 0, err
	}
	return from, min(to+trimStep, r.Samples), nil
}

// search looks for a sound from a step on, forwards or backwards; -1 when there is none.
func (r Result) search(f io.ReaderAt, at, direction int64) (int64, error) {
	const steps = 256 // read at once
	channels := int64(r.Channels)
	buf := make([]byte, steps*trimStep*channels)
	var pcm []int16
	for at >= 0 && at < r.Samples {
		low := at
		if direction < 0 {
			low = max(0, at-(steps-1)*trimStep)
		}
		n := min(int64(len(buf)), (r.Samples-low)*channels)
		if _, err := f.ReadAt(buf[:n], headerSize+low*channels); err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("recording: trim: %w", err)
		}
		for ; at >= low && (at-low)*channels < n; at += direction * trimStep {
			part := buf[(at-low)*channels : min(n, (at-low+trimStep)*channels)]
			pcm = audio.AppendDecodedULaw(pcm[:0], part)
			for c := range r.Channels {
				if channelPower(pcm, c, r.Channels) > trimLevel {
					return at, nil
				}
			}
		}
	}
	return -1, nil
}

func channelPower(pcm []int16, channel, channels int) float64 {
	if channels == 1 {
		return audio.Power(pcm)
	}
	one := make([]int16, 0, trimStep)
	for i := channel; i < len(pcm); i += channels {
		one = append(one, pcm[i])
	}
	return audio.Power(one)
}
