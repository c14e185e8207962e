package offhooktest_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

// fill makes every further write to the files of that name fail, as a full disk does.
func fill(t *testing.T, name string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, fd := range fds {
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		n, bad := strconv.Atoi(fd.Name())
		if err != nil || bad != nil || filepath.Base(target) != name {
			continue
		}
		if err := syscall.Dup3(int(full.Fd()), n, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		found = true
	}
	if !found {
		t.Fatalf("nobody writes %s", name)
	}
}

// A disk that is full ends a recording; the call goes on.
func TestARecordingOnAFullDisk(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	srv := offhooktest.Start(t, offhooktest.Data(data))
	app := srv.App(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Gather timeout="60"/><Pause length="60"/></Response>`)
	line := ph.Answers()
	c.Is("in-progress")
	sid := taped(t, srv, http.StatusCreated, c.SID, "", "RecordingStatusCallback", app.URL("/rec"))["sid"].(string)
	line.Whistles(time.Second, 440)
	fill(t, sid+".wav")
	app.Got("/rec", "RecordingStatus", "failed", "RecordingSid", sid, "ErrorCode", "12400")
	c.Notified(12400)
	_, r := srv.Request("GET", "/Recordings/"+sid+".json", nil)
	if r["status"] != "absent" || r["error_code"] != 12400.0 {
		t.Errorf("the recording is %v", r)
	}
	if c.Fetch()["status"] != "in-progress" {
		t.Error("the call ended with its recording")
	}
	// The next one is well.
	next := taped(t, srv, http.StatusCreated, c.SID, "", "RecordingStatusCallback", app.URL("/rec"))["sid"].(string)
	line.Whistles(500*time.Millisecond, 440)
	rest(t, line, 200*time.Millisecond)
	line.Hangup()
	app.Got("/rec", "RecordingStatus", "completed", "RecordingSid", next)
	if code, _ := srv.Request("GET", "/Recordings.json", url.Values{"CallSid": {c.SID}}); code != http.StatusOK {
		t.Errorf("list: %d", code)
	}
	if events := strings.Join(c.Events().Names(), " "); strings.Count(events, "Recording.started") != 2 {
		t.Errorf("events %s", events)
	}
}
