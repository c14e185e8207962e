//go:build linux

package proof

import (
	"net/http"
	"syscall"
	"testing"
	"time"
)

// TestADrain ends the process with SIGTERM: what lives goes on until it ends or the time is over, nothing new is
// taken, and everything is stored and told.
func TestADrain(t *testing.T) {
	t.Parallel()
	const drain = 4 * time.Second
	e := &engine{t: t, bin: build(t), data: t.TempDir(), drain: drain.String()}
	s := newScene(t, e)
	defer e.kill()
	s.start()
	leaver, leaverIn := s.calls("ends by itself", stays, listens), s.callsIn("ends by itself", talks)
	stayer, stayerIn := s.calls("outlives the drain", stays, listens), s.callsIn("outlives the drain", talks)
	ringing := s.calls("rings", rings, listens)
	for _, p := range [...]*party{leaver, leaverIn, stayer, stayerIn} {
		s.is(p, "in-progress")
	}
	s.is(ringing, "ringing")

	began := time.Now()
	process := e.cmd
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !until(t.Context(), began.Add(time.Second), func() bool { return e.health("/readyz") == http.StatusServiceUnavailable }) {
		t.Error("/readyz is not 503 a second after SIGTERM")
	}
	s.refusesMeanwhile(stayer, true)
	if status := e.health("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d while live calls go on", status)
	}
	leaver.Hangup()
	leaverIn.Hangup()
	s.is(leaver, "completed")
	s.is(leaverIn, "completed")
	if _, over := stayer.End(); over || time.Since(began) > drain {
		t.Errorf("%v after SIGTERM the live call is over: %v", time.Since(began), over)
	}
	for _, p := range [...]*party{stayer, stayerIn, ringing} {
		s.told(p, began.Add(drain+3*time.Second))
	}
	if d := time.Since(began); d < drain {
		t.Errorf("live calls were hung up after %v, want %v", d, drain)
	}
	<-e.read
	err := process.Wait()
	e.cmd = nil
	if err != nil {
		t.Errorf("offhook ended with %v", err)
	}
	if d := time.Since(began); d > drain+10*time.Second {
		t.Errorf("offhook needed %v", d)
	}
	t.Logf("ended %v after SIGTERM, --drain %v", time.Since(began).Round(time.Millisecond), drain)

	e.start()
	for _, p := range [...]*party{stayer, stayerIn} {
		s.is(p, "completed")
	}
	s.is(ringing, "failed")
	s.nothingLost()
}
