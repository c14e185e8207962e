package recording

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// crashEnv makes this program the process that is killed, and names its folder.
const crashEnv = "OFFHOOK_TEST_RECORDING_CRASH"

// crash records until it has spooled 3 s, as its recorder says, and kills itself in the middle of it.
func crash(dir string) {
	spooled := make(chan struct{}, 1000)
	r, err := newRecorder(Config{Dir: dir}, watched{
		before: func(*os.File, []byte, int64) error { return nil },
		after: func(_ *os.File, end int64) {
			if end >= headerSize+3*Rate {
				spooled <- struct{}{}
			}
		},
	})
	if err == nil {
		var w *Writer
		if w, err = r.Start(Spec{SID: testSID}); err == nil {
			send(w, 0, 0, tone(10*time.Second, 440))
			<-spooled
			self, _ := os.FindProcess(os.Getpid())
			if err = self.Kill(); err == nil {
				select {}
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// What was spooled outlives a kill -9, and is a WAV file before anybody repairs it.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := c.CombinedOutput()
	if err == nil || c.ProcessState.ExitCode() != -1 { // -1: by a signal
		t.Fatalf("the process was not killed: %v %s", err, out)
	}
	sent := tone(10*time.Second, 440)
	before := channelsOf(t, spoolPath(dir, testSID))[0]
	if !bytes.Equal(before, sent[:len(before)]) {
		t.Error("the spool does not play what was recorded")
	}
	got, err := Recover(dir)
	if err != nil || len(got) != 1 || got[0].Samples < 3*Rate {
		t.Fatalf("%+v, %v", got, err)
	}
	if after := channelsOf(t, got[0].Path)[0]; int64(len(after)) != got[0].Samples || !bytes.Equal(after, sent[:len(after)]) {
		t.Errorf("%d samples recovered of %d", len(after), got[0].Samples)
	}
}
