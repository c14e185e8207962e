package speech

import (
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
)

func TestTheSilenceBeforeSpeechIsTakenOff(t *testing.T) {
	speech := audio.EncodeULaw(audio.Tone(300*time.Millisecond, 440))
	silence := audio.Silence(120 * time.Millisecond).ULaw()
	got := trimStart(append(append([]byte{}, silence...), append(speech, silence...)...))
	want := len(speech) + len(silence) + onset
	if d := len(got) - want; d < -40 || d > 40 { // the tone fades in for 5 ms
		t.Errorf("%d samples are left, want about %d: the speech, what follows, and 20 ms before", len(got), want)
	}
	if got := trimStart(silence); len(got) != len(silence) {
		t.Error("silence alone was cut")
	}
}
