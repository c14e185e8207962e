package offhooktest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/offhook/offhook/offhooktest"
)

// v1 sends a request to the /v1 API of srv.
func v1(t *testing.T, srv *offhooktest.Server, method, path, contentType, body string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(srv.AccountSID, srv.AuthToken)
	r.Header.Set("Content-Type", contentType)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

// A caller is connected to somebody: each leg costs what its own number says, as both APIs tell.
func TestEachLegHasItsPrice(t *testing.T) {
	srv := offhooktest.Start(t)
	app := srv.App(t)
	app.On("/voice", `<Response><Dial><Number>`+callee+`</Number></Dial></Response>`)
	srv.Number(t, "+15550190", app.URL("/voice"))
	ph := srv.Phone(t, callee)
	deck := "direction,prefix,rate,currency\ninbound,+1555019,0.0085,USD\noutbound,+1,0.0130,EUR\n"
	if code, answer := v1(t, srv, "PUT", "/v1/rates", "text/csv", deck); code != http.StatusOK {
		t.Fatalf("import: %d %s", code, answer)
	}
	line := srv.Phone(t, caller).Dial("+15550190")
	called := ph.Answers()
	line.Answered()
	called.Hangup()
	line.HungUp()

	want := map[string][2]string{"inbound": {"-0.00850", "USD"}, "outbound-dial": {"-0.01300", "EUR"}}
	_, list := srv.Request("GET", "/Calls.json", url.Values{})
	for _, c := range list["calls"].([]any) {
		sid, direction := c.(map[string]any)["sid"].(string), c.(map[string]any)["direction"].(string)
		got := srv.Find(t, sid).Is("completed")
		if got["price"] != want[direction][0] || got["price_unit"] != want[direction][1] {
			t.Errorf("%s: %v %v, want %v", direction, got["price"], got["price_unit"], want[direction])
		}
		_, answer := v1(t, srv, "GET", "/v1/calls/"+sid, "", "")
		var same struct {
			Price     json.Number `json:"price"`
			PriceUnit string      `json:"priceUnit"`
		}
		if err := json.Unmarshal(answer, &same); err != nil {
			t.Fatal(err)
		}
		if short := strings.TrimRight(strings.TrimPrefix(want[direction][0], "-"), "0"); same.Price.String() != short || same.PriceUnit != want[direction][1] {
			t.Errorf("%s as a TwilioCall: %s, want %s", direction, answer, short)
		}
		delete(want, direction)
	}
	if len(want) != 0 {
		t.Errorf("no such calls: %v", want)
	}
}
