package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/offhook/offhook/offhooktest"
)

const number = "+15557654321"

// call begins a call to the mailbox.
func call(t *testing.T) (*offhooktest.Server, *offhooktest.Line) {
	t.Helper()
	srv := offhooktest.Start(t)
	app := httptest.NewServer(newMailbox(srv.URL, srv.AccountSID, srv.AuthToken))
	t.Cleanup(app.Close)
	srv.Number(t, number, app.URL+"/voice")
	return srv, srv.Phone(t, "+15550100").Dial(number)
}

// leave leaves a message: a tone.
func leave(line *offhooktest.Line, hz float64) {
	line.Hears("Please leave a message after the beep. Press pound when you are done.")
	line.HearsTone(1000) // the beep
	line.Whistles(700*time.Millisecond, 0)
	line.Whistles(time.Second, hz)
	line.Press("#")
	line.Hears("You said")
	line.HearsTone(hz)
	line.Hears("Press one to keep it, two to say it again, three to delete it.")
}

// messages are the SIDs of what the mailbox has.
func messages(t *testing.T, srv *offhooktest.Server) (sids []string) {
	t.Helper()
	code, answer := srv.Request("GET", "/Recordings.json", url.Values{})
	if code != http.StatusOK {
		t.Fatalf("list: %d %v", code, answer)
	}
	for _, r := range answer["recordings"].([]any) {
		sids = append(sids, r.(map[string]any)["sid"].(string))
	}
	return sids
}

func TestAMessageIsHeardAndDeleted(t *testing.T) {
	t.Parallel()
	srv, line := call(t)
	leave(line, 440)
	if got := messages(t, srv); len(got) != 1 {
		t.Errorf("the mailbox has %v", got)
	}
	line.Press("3")
	line.Hears("Your message was deleted. Goodbye.")
	line.HungUp()
	if got := messages(t, srv); len(got) > 0 {
		t.Errorf("the mailbox has %v", got)
	}
}

func TestAMessageIsSaidAgainAndKept(t *testing.T) {
	t.Parallel()
	srv, line := call(t)
	leave(line, 440)
	line.Press("2")
	leave(line, 660)
	line.Press("1")
	line.Hears("Your message was kept. Goodbye.")
	line.HungUp()
	if got := messages(t, srv); len(got) != 1 {
		t.Errorf("the mailbox has %v", got)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	m := newMailbox("http://127.0.0.1:1", "AC1", "token")
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/voice", nil))
	if w.Code != http.StatusForbidden {
		t.Errorf("a request without a signature: %d", w.Code)
	}
}
