package offhooktest_test

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/offhooktest"
)

func TestAPhoneThatFallsSilentIsHungUp(t *testing.T) {
	srv := offhooktest.Start(t, offhooktest.RTPTimeout(time.Second))
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Say loop="0">Anybody there</Say></Response>`)
	line := ph.Answers()
	line.Hears("Anybody there")
	line.StopRTP(true)
	line.HungUp()
	c.Is("completed")
	c.Notified(32014)
}

func TestATimeLimitCanBeChangedOnTheWay(t *testing.T) {
	srv := offhooktest.Start(t)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="600"/></Response>`)
	line := ph.Answers()
	c.Is("in-progress")
	if code, answer := c.Update("TimeLimit", "1"); code != http.StatusOK {
		t.Fatalf("update: %d %v", code, answer)
	}
	line.HungUp()
	took(t, c.Is("completed"), 1)
}

func TestARedirectMayBringAnotherStatusCallback(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/first", `<Response><Pause length="600"/></Response>`)
	app.On("/second", `<Response><Hangup/></Response>`)
	ph := srv.Phone(t, callee)
	c := srv.Call(t, "To", callee, "From", caller, "Url", app.URL("/first"), "StatusCallback", app.URL("/old"))
	line := ph.Answers()
	app.Got("/first")
	if code, answer := c.Update("StatusCallback", app.URL("/new")); code != http.StatusBadRequest {
		t.Errorf("StatusCallback without Url: %d %v, want 400", code, answer)
	}
	c.Update("Url", app.URL("/second"), "StatusCallback", app.URL("/new"), "StatusCallbackMethod", "GET")
	line.HungUp()
	if r := app.Got("/new", "CallStatus", "completed", "SequenceNumber", "0"); r.Method != "GET" {
		t.Errorf("by %s, want GET", r.Method)
	}
	if len(app.Requests("/old")) > 0 {
		t.Error("the old status callback was called")
	}
}

func TestQueuedCallsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	first := offhooktest.Start(t, offhooktest.Data(dir), offhooktest.SimulatorLimits(0, 1))
	ph := first.Phone(t, callee)
	live := first.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Pause length="600"/></Response>`)
	line := ph.Answers()
	waiting := first.Call(t, "To", callee, "From", caller, "Twiml", `<Response><Say>After the restart</Say></Response>`)
	first.Stop()
	if end := line.HungUp(); !end.Remote {
		t.Errorf("the live call ended as %v, want a BYE", end)
	}

	second := offhooktest.Start(t, offhooktest.Data(dir), offhooktest.Phones(first))
	if second.AccountSID != first.AccountSID {
		t.Fatal("another account after the restart")
	}
	line = ph.Answers()
	line.Hears("After the restart")
	line.HungUp()
	second.Find(t, waiting.SID).Is("completed")
	second.Find(t, live.SID).Is("completed")
}

func TestCallsAreDialledAtThePaceOfTheirQueue(t *testing.T) {
	srv := offhooktest.Start(t, offhooktest.SimulatorLimits(5, 0))
	app := srv.App(t)
	for i := range 6 {
		number := callee + strconv.Itoa(i)
		ph := srv.Phone(t, number)
		srv.Call(t, "To", number, "From", caller, "Twiml", "<Response/>",
			"StatusCallback", app.URL("/status"), "StatusCallbackEvent", "initiated")
		t.Cleanup(func() { _ = ph })
	}
	var times []time.Time
	for i := range 6 { // first in, first out
		times = append(times, app.Got("/status", "To", callee+strconv.Itoa(i)).Time)
	}
	for i := 2; i < len(times); i++ { // a disk that stalls has two of them told at once
		if !times[i].After(times[i-2]) {
			t.Errorf("call %d was dialled before call %d", i, i-2)
		}
	}
	if d := times[5].Sub(times[0]); d < 900*time.Millisecond {
		t.Errorf("six calls in %v at 5 calls a second", d)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Gather numDigits="1" action="/menu"><Say>Press one</Say></Gather></Response>`)
	app.On("/menu", `<Response><Say>Sales</Say></Response>`)
	const n = 20
	done := make(chan *offhooktest.Call, n)
	for i := range n {
		number := "+1555020" + strconv.Itoa(1000+i)
		ph := srv.Phone(t, number)
		c := srv.Call(t, append(allEvents(app), "To", number, "From", caller, "Url", app.URL("/voice"))...)
		go func() {
			defer func() { done <- c }()
			line := ph.Answers()
			line.Hears("Press one")
			line.Press("1")
			line.Hears("Sales")
			line.HungUp()
		}()
	}
	for range n {
		c := <-done
		app.Got("/menu", "CallSid", c.SID, "Digits", "1")
		app.Got("/status", "CallSid", c.SID, "CallStatus", "completed", "SequenceNumber", "3")
	}
}

func TestAPhoneThatIsGoneDoesNotHoldUpTheShutdown(t *testing.T) {
	srv := offhooktest.Start(t)
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	c := srv.Call(t, "To", "sip:gone@"+gone.LocalAddr().String(), "From", caller, "Twiml", `<Response><Pause length="60"/></Response>`)
	answerOnce(t, gone)
	c.Is("in-progress")
	began := clock.System.Now()
	srv.Stop()
	if took := clock.System.Now().Sub(began); took > 12*time.Second {
		t.Errorf("the shutdown took %v", took)
	}
}

// answerOnce answers the first INVITE with 200 and hears nothing after it.
func answerOnce(t *testing.T, conn net.PacketConn) {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, from, err := conn.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(buf[:n]), "\r\n\r\n")
	answer := "SIP/2.0 200 OK\r\n"
	for line := range strings.SplitSeq(head, "\r\n") {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Via", "From", "Call-ID", "CSeq":
			answer += line + "\r\n"
		case "To":
			answer += line + ";tag=gone\r\n"
		}
	}
	host, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	sdp := "v=0\r\no=- 1 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host + "\r\nt=0 0\r\nm=audio " + port + " RTP/AVP 0\r\n"
	answer += "Contact: <sip:gone@" + conn.LocalAddr().String() + ">\r\nContent-Type: application/sdp\r\n" +
		"Content-Length: " + strconv.Itoa(len(sdp)) + "\r\n\r\n" + sdp
	if _, err := conn.WriteTo([]byte(answer), from); err != nil {
		t.Fatal(err)
	}
}
