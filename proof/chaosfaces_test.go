package proof

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/twiliocall"
)

// restCall is a call of the Calls API.
type restCall struct {
	SID             string            `json:"sid"`
	AccountSID      string            `json:"account_sid"`
	To              string            `json:"to"`
	ToFormatted     string            `json:"to_formatted"`
	From            string            `json:"from"`
	FromFormatted   string            `json:"from_formatted"`
	ParentCallSID   *string           `json:"parent_call_sid"`
	PhoneNumberSID  *string           `json:"phone_number_sid"`
	Status          string            `json:"status"`
	StartTime       *string           `json:"start_time"`
	EndTime         *string           `json:"end_time"`
	Duration        *string           `json:"duration"`
	Price           *string           `json:"price"`
	PriceUnit       string            `json:"price_unit"`
	Direction       string            `json:"direction"`
	AnsweredBy      *string           `json:"answered_by"`
	Annotation      *string           `json:"annotation"`
	APIVersion      string            `json:"api_version"`
	ForwardedFrom   *string           `json:"forwarded_from"`
	GroupSID        *string           `json:"group_sid"`
	CallerName      *string           `json:"caller_name"`
	QueueTime       string            `json:"queue_time"`
	TrunkSID        *string           `json:"trunk_sid"`
	URI             string            `json:"uri"`
	SubresourceURIs map[string]string `json:"subresource_uris"`
	DateCreated     *string           `json:"date_created"`
	DateUpdated     *string           `json:"date_updated"`
}

// agree compares all that both faces show of a call.
func (c *chaos) agree(a *twiliocall.Call, b restCall) {
	when := func(s *string) *int64 {
		if s == nil {
			return nil
		}
		at, err := time.Parse(time.RFC1123Z, *s)
		if err != nil {
			c.t.Errorf("%s: time %q: %v", a.ID, *s, err)
		}
		seconds := at.Unix()
		return &seconds
	}
	number := func(s *string) *float64 {
		if s == nil {
			return nil
		}
		f, err := strconv.ParseFloat(*s, 64)
		if err != nil {
			c.t.Errorf("%s: number %q", a.ID, *s)
		}
		return &f
	}
	price, duration := number(b.Price), number(b.Duration)
	if price != nil {
		*price = -*price
	}
	var lasted *int
	if duration != nil {
		n := int(*duration)
		lasted = &n
	}
	by := b.AnsweredBy
	if by != nil && strings.HasPrefix(*by, "machine") {
		machine := "machine"
		by = &machine
	}
	queued, _ := strconv.ParseInt(b.QueueTime, 10, 64)
	zero := func(p *int64) int64 { return *cmp.Or(p, new(int64)) }
	other := twiliocall.Call{
		ID: b.SID, AccountSID: b.AccountSID, From: b.From, To: b.To, FromFormatted: b.FromFormatted, ToFormatted: b.ToFormatted,
		ParentCallSID: b.ParentCallSID, PhoneNumberSID: b.PhoneNumberSID, Status: b.Status,
		StartTime: when(b.StartTime), EndTime: when(b.EndTime), Duration: lasted, Price: price, PriceUnit: b.PriceUnit,
		Direction: b.Direction, AnsweredBy: by, Annotation: b.Annotation, CallerName: b.CallerName, QueueTime: queued,
		ForwardedFrom: b.ForwardedFrom, GroupSID: b.GroupSID, TrunkSID: b.TrunkSID, URI: b.URI, SubresourceURIs: b.SubresourceURIs,
		DateCreated: zero(when(b.DateCreated)), DateUpdated: zero(when(b.DateUpdated)),
		Metadata: a.Metadata, Held: a.Held, Muted: a.Muted, // of one face alone
	}
	if !reflect.DeepEqual(*a, other) {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(other)
		c.t.Errorf("the faces of %s differ:\n%s\n%s", a.ID, x, y)
	}
}

// rest makes a request of the Calls API; a refusal is a *twiliocall.Problem with its code.
func (c *chaos) rest(method, path string, params url.Values, answer any) error {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(params.Encode())
	}
	if !strings.HasPrefix(path, "/2010") {
		path = apiBase + path
	}
	r, err := http.NewRequestWithContext(c.ctx, method, "http://"+c.engine.http+path, body)
	if err != nil {
		return err
	}
	r.SetBasicAuth(accountSID, authToken)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var e struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal(got, &e); err != nil {
			return fmt.Errorf("%s %q: %w", resp.Status, got, err)
		}
		return &twiliocall.Problem{Status: resp.StatusCode, Code: e.Code, Detail: e.Message}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(got, answer)
}
