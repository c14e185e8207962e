package twilioapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

const (
	testSID   = "AC00000000000000000000000000000001"
	otherSID  = "AC00000000000000000000000000000002"
	testToken = "0123456789abcdef0123456789abcdef"
	callsPath = base + "/Accounts/" + testSID + "/Calls"
	pnPath    = base + "/Accounts/" + testSID + "/IncomingPhoneNumbers"
)

// testTime is when everything in these tests happens.
var testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

type fixedClock struct{ clock.Clock }

func (fixedClock) Now() time.Time { return testTime }

// fake is Calls and Store in memory. The zero value is ready but empty.
type fake struct {
	mu            sync.Mutex
	accounts      []*call.Account
	calls         []*call.Call // newest first
	numbers       []*call.Number
	notifications []call.Notification
	requests      []call.Request // first things first

	err     error // returned by everything but Account
	panics  any   // raised by Call
	created call.CreateParams
	updated call.UpdateParams
	filter  call.Filter
}

func newFake() *fake {
	return &fake{accounts: []*call.Account{
		{SID: testSID, AuthToken: testToken, FriendlyName: "Test", DateCreated: testTime, DateUpdated: testTime, OwnerSID: testSID, Status: call.AccountActive},
		{SID: otherSID, AuthToken: "f" + testToken[1:], FriendlyName: "Other", DateCreated: testTime, OwnerSID: otherSID, Status: call.AccountActive},
	}}
}

func (f *fake) Create(_ context.Context, accountSID string, p call.CreateParams) (*call.Call, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = p
	if f.err != nil {
		return nil, f.err
	}
	return &call.Call{
		SID: callSID(1), AccountSID: accountSID, To: p.To, From: p.From, Direction: call.OutboundAPI, Status: call.Queued,
		DateCreated: testTime, DateUpdated: testTime, PriceUnit: "USD", Options: p.Options,
	}, nil
}

func (f *fake) Update(ctx context.Context, accountSID, sid string, p call.UpdateParams) (*call.Call, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	f.updated = p
	return f.Call(ctx, accountSID, sid)
}

func (f *fake) Delete(ctx context.Context, accountSID, sid string) error {
	_, err := f.Call(ctx, accountSID, sid)
	return err
}

func (f *fake) Account(_ context.Context, sid string) (*call.Account, error) {
	for _, a := range f.accounts {
		if a.SID == sid {
			return a, nil
		}
	}
	return nil, call.ErrNotFound
}

func (f *fake) Key(context.Context, string) (*call.Key, error) { return nil, call.ErrNotFound }

func (f *fake) ListAccounts(_ context.Context, filter call.AccountFilter) ([]*call.Account, bool, error) {
	page, more := cut([]*call.Account{filter.Of}, (*call.Account).PageToken, filter.Limit, filter.Offset, filter.Cursor)
	return page, more, f.err
}

func (f *fake) CreateAccount(context.Context, *call.Account) error { return f.err }

func (f *fake) UpdateAccount(context.Context, *call.Account, call.AccountStatus) error { return f.err }

func (f *fake) EndCalls(context.Context, string) error { return f.err }

func (f *fake) Call(_ context.Context, accountSID, sid string) (*call.Call, error) {
	if f.panics != nil {
		panic(f.panics)
	}
	if f.err != nil {
		return nil, f.err
	}
	for _, c := range f.calls {
		if c.SID == sid && c.AccountSID == accountSID {
			return c, nil
		}
	}
	return nil, call.ErrNotFound
}

func (f *fake) ListCalls(_ context.Context, filter call.Filter) ([]*call.Call, bool, error) {
	f.filter = filter
	page, more := cut(f.calls, (*call.Call).PageToken, filter.Limit, filter.Offset, filter.Cursor)
	return page, more, f.err
}

// cut pages as package store does.
func cut[T any](all []T, place func(T) twilio.PageToken, limit, offset int, at twilio.PageToken) ([]T, bool) {
	newer := func(p twilio.PageToken) bool {
		return cmp.Or(cmp.Compare(p.Time, at.Time), cmp.Compare(p.Seq, at.Seq), cmp.Compare(p.SID, at.SID)) > 0
	}
	if at.SID != "" {
		offset = slices.IndexFunc(all, func(v T) bool { return !newer(place(v)) })
		if offset < 0 {
			offset = len(all)
		}
		if at.Before {
			from := max(offset-limit, 0)
			return all[from:offset], from > 0
		}
		if offset < len(all) && place(all[offset]) == at {
			offset++
		}
	}
	from := min(offset, len(all))
	to := min(from+limit, len(all))
	return all[from:to], to < len(all)
}

func (f *fake) ListNotifications(_ context.Context, filter call.NotificationFilter) ([]call.Notification, bool, error) {
	var list []call.Notification
	for _, n := range f.notifications {
		if n.AccountSID == filter.AccountSID && (filter.CallSID == "" || n.CallSID == filter.CallSID) &&
			(filter.Level == nil || n.Level == *filter.Level) && !n.Time.Before(filter.After) &&
			(filter.Before.IsZero() || n.Time.Before(filter.Before)) {
			list = append(list, n)
		}
	}
	page, more := cut(list, func(n call.Notification) twilio.PageToken { return n.PageToken() }, filter.Limit, filter.Offset, filter.Cursor)
	return page, more, f.err
}

func (f *fake) Requests(_ context.Context, sid string, limit, offset int, at twilio.PageToken) ([]call.Request, bool, error) {
	list := slices.DeleteFunc(slices.Clone(f.requests), func(r call.Request) bool { return r.CallSID != sid })
	if at.SID != "" {
		i, found := slices.BinarySearchFunc(list, at, func(r call.Request, at twilio.PageToken) int {
			return cmp.Or(cmp.Compare(r.Time.UnixMicro(), at.Time), cmp.Compare(r.ID, at.SID))
		})
		if at.Before {
			from := max(i-limit, 0)
			return list[from:i], from > 0, f.err
		}
		if offset = i; found {
			offset++
		}
	}
	from := min(offset, len(list))
	to := min(from+limit, len(list))
	return list[from:to], to < len(list), f.err
}

func (f *fake) Notification(_ context.Context, accountSID, sid string) (call.Notification, error) {
	for _, n := range f.notifications {
		if n.SID == sid && n.AccountSID == accountSID {
			return n, f.err
		}
	}
	return call.Notification{}, call.ErrNotFound
}

func (f *fake) Number(_ context.Context, accountSID, sid string) (*call.Number, error) {
	for _, n := range f.numbers {
		if n.SID == sid && n.AccountSID == accountSID {
			return n, f.err
		}
	}
	return nil, call.ErrNotFound
}

func (f *fake) ListNumbers(_ context.Context, filter call.NumberFilter) ([]*call.Number, bool, error) {
	var all []*call.Number
	for _, n := range f.numbers {
		if (filter.PhoneNumber == "" || strings.Contains(n.PhoneNumber, filter.PhoneNumber)) &&
			(filter.FriendlyName == "" || filter.FriendlyName == n.FriendlyName) {
			all = append(all, n)
		}
	}
	page, more := cut(all, (*call.Number).PageToken, filter.Limit, filter.Offset, filter.Cursor)
	return page, more, f.err
}

func (f *fake) CreateNumber(_ context.Context, n *call.Number) error {
	for _, have := range f.numbers {
		if have.PhoneNumber == n.PhoneNumber {
			return call.ErrConflict
		}
	}
	f.numbers = append(f.numbers, n)
	return f.err
}

func (f *fake) UpdateNumber(_ context.Context, n *call.Number) error {
	for i, have := range f.numbers {
		if have.SID == n.SID {
			f.numbers[i] = n
			return f.err
		}
	}
	return call.ErrNotFound
}

func (f *fake) DeleteNumber(_ context.Context, accountSID, sid string) error {
	for i, have := range f.numbers {
		if have.SID == sid && have.AccountSID == accountSID {
			f.numbers = slices.Delete(f.numbers, i, i+1)
			return f.err
		}
	}
	return call.ErrNotFound
}

func callSID(n int) string { return fmt.Sprintf("CA%032x", n) }

// addCalls gives f n calls, the newest having the highest number.
func (f *fake) addCalls(n int) {
	for i := n; i > 0; i-- {
		f.calls = append(f.calls, &call.Call{
			SID: callSID(i), AccountSID: testSID, To: "+14158675309", From: "+15557654321",
			Direction: call.OutboundAPI, Status: call.Queued, DateCreated: testTime, DateUpdated: testTime,
		})
	}
}

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the Twilio error code in the answer, 0 when there is none.
func (a answer) code() int {
	var e struct{ Code int }
	_ = json.Unmarshal([]byte(a.body), &e)
	return e.Code
}

func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// ask sends a request as the test account; body is nil, url.Values or text.
func ask(t testing.TB, f *fake, method, path string, body any, headers ...string) answer {
	t.Helper()
	return askConfig(t, Config{Calls: f, Store: f, Clock: fixedClock{}}, method, path, body, headers...)
}

func askConfig(t testing.TB, cfg Config, method, path string, body any, headers ...string) answer {
	t.Helper()
	var r io.Reader
	contentType := ""
	switch b := body.(type) {
	case url.Values:
		r, contentType = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	case string:
		r, contentType = strings.NewReader(b), "application/x-www-form-urlencoded"
	}
	req := httptest.NewRequest(method, "http://example.com"+path, r)
	req.SetBasicAuth(testSID, testToken)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	New(cfg).ServeHTTP(w, req)
	return answer{w.Code, w.Header(), w.Body.String()}
}
