package server

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A hundred creates that come at once to an idle server are all taken.
func TestAHundredCallsAtOnce(t *testing.T) {
	s, err := Start(t.Context(), Config{HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: t.TempDir(), Voice: "test", Mode: Dev})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	defer s.Close(over)
	account, token := s.Credentials()
	form := url.Values{"To": {"+14155550100"}, "From": {"+14155550101"}, "Twiml": {"<Response/>"}}.Encode()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	begin := make(chan struct{})
	var customers sync.WaitGroup
	for range 100 {
		customers.Go(func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/2010-04-01/Accounts/"+account+"/Calls.json", strings.NewReader(form))
			if err != nil {
				t.Error(err)
				return
			}
			r.SetBasicAuth(account, token)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			<-begin
			res, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusCreated {
				t.Error(res.Status)
			}
		})
	}
	close(begin)
	customers.Wait()
}
