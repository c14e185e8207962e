package audio

import (
	"slices"
	"testing"
	"time"
)

// A network that stops for a moment makes no beep of a fax machine's tone.
func TestAFaxMachineThatIsCut(t *testing.T) {
	for rule, hz := range map[string]float64{RuleCED: 2100, RuleCNG: 1100} {
		a := NewAMD(AMDConfig{})
		v, ok := a.Write(slices.Concat(Tone(300*time.Millisecond, hz), make([]int16, 3200), Tone(600*time.Millisecond, hz)))
		if !ok || v.AnsweredBy != AnsweredFax || v.Rule != rule {
			t.Errorf("%g Hz: %+v", hz, v)
		}
	}
}
