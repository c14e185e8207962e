// Command voicemail is a whole voice application in one file: callers leave a message after the beep, hear it, and
// keep it, record it again or delete it by a key. It uses nothing but Go's standard library and what Twilio's API
// gives, so it runs against Twilio as it does against offhook:
//
//	offhook serve &
//	eval "$(offhook env)"
//	go run ./examples/voicemail &
//	offhook numbers create +15557654321 --voice-url http://127.0.0.1:3000/voice
//	offhook phone +15557654321 --script 'hear tone 1000; say hello; press #; wait 5s; press 1; expect hangup'
//	offhook recordings list
package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// mailbox is the application: an http.Handler of the requests that the voice server makes.
type mailbox struct {
	http.ServeMux
	api       string // base URL of the API
	account   string
	authToken string
	client    http.Client
}

func newMailbox(api, account, authToken string) *mailbox {
	m := &mailbox{api: strings.TrimRight(api, "/"), account: account, authToken: authToken, client: http.Client{Timeout: 10 * time.Second}}
	m.HandleFunc("POST /voice", m.voice)
	m.HandleFunc("POST /recorded", m.recorded)
	m.HandleFunc("POST /choice", m.choice)
	return m
}

// ServeHTTP takes requests that are signed with the account's token, and no others.
func (m *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || !m.signed(r) {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	m.ServeMux.ServeHTTP(w, r)
}

// voice answers a call.
func (m *mailbox) voice(w http.ResponseWriter, _ *http.Request) {
	answer(w, `<Say>Please leave a message after the beep. Press pound when you are done.</Say>
		<Record action="/recorded" finishOnKey="#" maxLength="120" timeout="10"/>
		<Say>Nothing was recorded. Goodbye.</Say>`)
}

// recorded plays a message to who left it, unless he has hung up.
func (m *mailbox) recorded(w http.ResponseWriter, r *http.Request) {
	log.Printf("%s from %s: %s s", r.Form.Get("RecordingSid"), r.Form.Get("From"), r.Form.Get("RecordingDuration"))
	answer(w, `<Gather numDigits="1" timeout="5" action="/choice?recording=%s">
			<Say>You said</Say><Play>%s</Play><Say>Press one to keep it, two to say it again, three to delete it.</Say>
		</Gather>
		<Say>Your message was kept. Goodbye.</Say>`, r.Form.Get("RecordingSid"), r.Form.Get("RecordingUrl"))
}

// choice does what the key says that was pressed.
func (m *mailbox) choice(w http.ResponseWriter, r *http.Request) {
	key := r.Form.Get("Digits")
	if key == "2" || key == "3" {
		if err := m.remove(r, r.Form.Get("recording")); err != nil {
			log.Print(err)
			answer(w, `<Say>Your message could not be deleted.</Say>`)
			return
		}
	}
	switch key {
	case "2":
		answer(w, `<Redirect>/voice</Redirect>`)
	case "3":
		answer(w, `<Say>Your message was deleted. Goodbye.</Say>`)
	default:
		answer(w, `<Say>Your message was kept. Goodbye.</Say>`)
	}
}

// remove deletes a recording.
func (m *mailbox) remove(r *http.Request, sid string) error {
	target := m.api + "/2010-04-01/Accounts/" + m.account + "/Recordings/" + url.PathEscape(sid) + ".json"
	req, err := http.NewRequestWithContext(r.Context(), http.MethodDelete, target, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(m.account, m.authToken)
	resp, err := m.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("delete %s: %s", sid, resp.Status)
	}
	return nil
}

// answer writes a document, with its arguments escaped.
func answer(w http.ResponseWriter, verbs string, args ...any) {
	for i, a := range args {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(fmt.Sprint(a))) // a Builder takes everything
		args[i] = b.String()
	}
	w.Header().Set("Content-Type", "text/xml")
	if _, err := fmt.Fprintf(w, "<Response>"+verbs+"</Response>", args...); err != nil {
		log.Print(err)
	}
}

// signed checks X-Twilio-Signature: the URL and the parameters of the body, sorted, under the account's token.
func (m *mailbox) signed(r *http.Request) bool {
	text := "http://" + r.Host + r.URL.RequestURI()
	var names []string
	for name := range r.PostForm {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text += name + strings.Join(r.PostForm[name], "")
	}
	mac := hmac.New(sha1.New, []byte(m.authToken))
	mac.Write([]byte(text))
	got, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Twilio-Signature"))
	return err == nil && hmac.Equal(got, mac.Sum(nil))
}

func main() {
	setting := func(name, otherwise string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	m := newMailbox(setting("OFFHOOK_URL", "http://127.0.0.1:4600"), os.Getenv("TWILIO_ACCOUNT_SID"), os.Getenv("TWILIO_AUTH_TOKEN"))
	if m.account == "" || m.authToken == "" {
		log.Fatal(`no account: eval "$(offhook env)"`)
	}
	s := http.Server{Addr: setting("ADDR", "127.0.0.1:3000"), Handler: m, ReadHeaderTimeout: 10 * time.Second}
	log.Printf("voice URL http://%s/voice", s.Addr)
	log.Fatal(s.ListenAndServe())
}
