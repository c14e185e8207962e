package session

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
)

// hastyClock makes everybody wait a hundredth of the time.
type hastyClock struct{ clock.Clock }

func (c hastyClock) NewTimer(d time.Duration) clock.Timer { return c.Clock.NewTimer(d / 100) }

// Waiting by Pause and Redirect is how applications poll; it goes in circles, but not in vain.
func TestWaitingByPauseAndRedirectIsNoCircle(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Clock = hastyClock{clock.System} })
	var asked atomic.Int32
	app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/xml")
		text := `<Response><Pause length="1"/><Redirect/></Response>`
		if asked.Add(1) > maxSilentRun+10 {
			text = `<Response><Say>At last</Say></Response>`
		}
		_, _ = rw.Write([]byte(text))
	}))
	defer app.Close()
	c := w.create("", func(p *call.CreateParams) { p.Options = call.Options{URL: app.URL} })
	leg := w.leg()
	leg.events <- call.LegAnswered{}
	if got := w.is(c.SID, call.Completed); got.Cause.Reason != "end of document" {
		t.Errorf("it ended after %d documents: %s", asked.Load(), got.Cause.Reason)
	}
}
