package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/offhook/offhook/internal/apiclient"
)

type callCommand struct {
	Create   callCreateCommand   `cmd:"" help:"Call somebody."`
	Get      callGetCommand      `cmd:"" help:"Show a call."`
	List     callListCommand     `cmd:"" help:"List calls, newest first."`
	Update   callUpdateCommand   `cmd:"" help:"Change a live call: its document, status, limit or callbacks."`
	Delete   callDeleteCommand   `cmd:"" help:"Delete the record of a call that ended."`
	Redirect callRedirectCommand `cmd:"" help:"Give a live call a new TwiML document."`
	Hangup   callHangupCommand   `cmd:"" help:"End a call, or take it back while it is queued or rings."`
	Hold     callHoldCommand     `cmd:"" help:"Let the party wait, with music."`
	Unhold   callUnholdCommand   `cmd:"" help:"Go on where hold stopped."`
	Mute     callMuteCommand     `cmd:"" help:"Make what the party says silence."`
	Unmute   callUnmuteCommand   `cmd:"" help:"End mute."`
	Record   callRecordCommand   `cmd:"" help:"Record a live call."`

	StopRecording callStopRecordingCommand `cmd:"" help:"Stop recording a call."`

	Watch callWatchCommand `cmd:"" help:"Follow a call's events until it ends."`
}

func (callCommand) Help() string {
	return `A call is named by its SID, CA…, which create prints.

    offhook call create --to +15551234567 --twiml '<Response><Say>Hello</Say></Response>' --watch
    offhook call list --status in-progress`
}

// magicFrom is the caller number that is always valid (Twilio's test credentials page).
const magicFrom = "+15005550006"

// callColumns are a call in full, listedColumns what fits on a line.
var (
	callColumns = []column{
		{title: "sid", field: "sid"}, {title: "from", field: "from"}, {title: "to", field: "to"},
		{title: "status", field: "status"}, {title: "direction", field: "direction"},
		{title: "created", field: "date_created", form: shortTime},
		{title: "started", field: "start_time", form: shortTime}, {title: "ended", field: "end_time", form: shortTime},
		{title: "duration", field: "duration"}, {title: "queue ms", field: "queue_time"},
		{title: "answered by", field: "answered_by"}, {title: "caller", field: "caller_name"},
		{title: "forwarded from", field: "forwarded_from"}, {title: "parent", field: "parent_call_sid"},
		{title: "number", field: "phone_number_sid"}, {title: "trunk", field: "trunk_sid"},
		{title: "annotation", field: "annotation"},
	}
	listedColumns = []column{
		{title: "sid", field: "sid"}, {title: "from", field: "from"}, {title: "to", field: "to"},
		{title: "status", field: "status"}, {title: "direction", field: "direction"},
		{title: "created", field: "date_created", form: shortTime}, {title: "duration", field: "duration"},
	}
)

// document is how a call shall be handled: where its TwiML comes from.
type document struct {
	URL            string `name:"url" placeholder:"URL" help:"Fetch the TwiML there."`
	Method         string `name:"method" placeholder:"GET|POST" help:"How to fetch --url (default POST)."`
	Twiml          text   `name:"twiml" placeholder:"XML" help:"The TwiML itself, or @FILE."`
	FallbackURL    string `name:"fallback-url" placeholder:"URL" help:"Fetch this when the TwiML cannot be had or run."`
	FallbackMethod string `name:"fallback-method" placeholder:"GET|POST" help:"How to fetch --fallback-url (default POST)."`
}

func (d document) set(form url.Values) {
	set(form, "Url", d.URL)
	set(form, "Method", d.Method)
	set(form, "Twiml", string(d.Twiml))
	set(form, "FallbackUrl", d.FallbackURL)
	set(form, "FallbackMethod", d.FallbackMethod)
}

// check sees to it that there is exactly one source of TwiML.
func (d document) check() error {
	if (d.URL == "") == (d.Twiml == "") {
		return usagef("say what the call shall do with one of --url and --twiml")
	}
	return nil
}

// callback is where news of the call goes.
type callback struct {
	StatusCallback       string `name:"status-callback" placeholder:"URL" help:"Tell this URL how the call goes."`
	StatusCallbackMethod string `name:"status-callback-method" placeholder:"GET|POST" help:"How (default POST)."`
}

func (c callback) set(form url.Values) {
	set(form, "StatusCallback", c.StatusCallback)
	set(form, "StatusCallbackMethod", c.StatusCallbackMethod)
}

// set adds a parameter that was given.
func set(form url.Values, name, value string) {
	if value != "" {
		form.Set(name, value)
	}
}

func setInt(form url.Values, name string, value int) {
	if value != 0 {
		form.Set(name, strconv.Itoa(value))
	}
}

type callCreateCommand struct {
	To   string `name:"to" required:"" placeholder:"NUMBER" help:"Number in E.164 form, or sip:user@host."`
	From string `name:"from" placeholder:"NUMBER" help:"Caller (default: the first own number, else +15005550006)."`
	document
	callback
	StatusCallbackEvent []string `name:"status-callback-event" placeholder:"EVENT" help:"initiated, ringing, answered, completed (default: completed); may be repeated."`
	Timeout             int      `name:"timeout" placeholder:"SECONDS" help:"Ring that long at most (default 60)."`
	TimeLimit           int      `name:"time-limit" placeholder:"SECONDS" help:"Hang up that long after the answer (default 14400)."`
	SendDigits          string   `name:"send-digits" placeholder:"KEYS" help:"Keys to press after the answer; w waits half a second, W a second."`
	CallerID            string   `name:"caller-id" placeholder:"NUMBER" help:"Present this caller instead of --from."`
	SIPUsername         string   `name:"sip-username" placeholder:"NAME" help:"Answers the challenge of a sip: URI's host."`
	SIPPassword         string   `name:"sip-password" env:"OFFHOOK_SIP_PASSWORD" placeholder:"PASSWORD" help:"Its password."`
	Watch               bool     `name:"watch" short:"w" help:"Follow the call until it ends; fail unless it completes."`
	output
	remote
}

func (callCreateCommand) Help() string {
	return `Without a trunk that serves the number, a simulated phone rings (offhook phone --list).

    offhook call create --to +15551234567 --twiml '<Response><Say>Hello</Say></Response>' --watch
    offhook call create --to sip:alice@192.0.2.10 --url https://app.example.com/voice --status-callback https://app.example.com/status`
}

func (c *callCreateCommand) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	if c.From == "" {
		if c.From, err = defaultFrom(ctx, client, c.To); err != nil {
			return err
		}
	}
	form := url.Values{"To": {c.To}, "From": {c.From}}
	c.document.set(form)
	c.callback.set(form)
	for _, e := range c.StatusCallbackEvent {
		form.Add("StatusCallbackEvent", e)
	}
	setInt(form, "Timeout", c.Timeout)
	setInt(form, "TimeLimit", c.TimeLimit)
	set(form, "SendDigits", c.SendDigits)
	set(form, "CallerId", c.CallerID)
	set(form, "SipAuthUsername", c.SIPUsername)
	set(form, "SipAuthPassword", c.SIPPassword)
	call, err := client.Create(ctx, "Calls", form)
	if err != nil {
		return err
	}
	if !c.Watch {
		return c.one(a.out, callColumns, call)
	}
	status, err := watch(ctx, a, client, call.Text("sid"), c.Output)
	if err == nil && status != "completed" {
		err = fmt.Errorf("the call ended as %s", status)
	}
	return err
}

// defaultFrom is the oldest own number that is not the one called.
func defaultFrom(ctx context.Context, client *apiclient.Client, to string) (string, error) {
	numbers, err := client.List(ctx, numbersPath, numbersKey, nil, 1000)
	if err != nil {
		return "", err
	}
	for i := range numbers {
		if n := numbers[len(numbers)-1-i].Text("phone_number"); n != to {
			return n, nil
		}
	}
	return magicFrom, nil
}

type callGetCommand struct {
	SID string `arg:"" name:"sid" help:"The call, CA…"`
	output
	remote
}

func (callGetCommand) Help() string {
	return `With -o json it is the call as the API gives it.

    offhook call get CA0123456789abcdef0123456789abcdef -o json`
}

func (c *callGetCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	call, err := client.Fetch(ctx, "Calls", c.SID)
	if err != nil {
		return err
	}
	return c.one(a.out, callColumns, call)
}

type callListCommand struct {
	To          string `name:"to" placeholder:"NUMBER" help:"Called number."`
	From        string `name:"from" placeholder:"NUMBER" help:"Caller."`
	Status      string `name:"status" placeholder:"STATUS" help:"queued, ringing, in-progress, completed, busy, failed, no-answer or canceled."`
	Parent      string `name:"parent" placeholder:"CA…" help:"The call whose Dial made them."`
	StartAfter  string `name:"start-after" placeholder:"TIME" help:"Started at that date or time or later: 2026-01-31, 2026-01-31T12:00:00Z."`
	StartBefore string `name:"start-before" placeholder:"TIME" help:"Started before."`
	EndAfter    string `name:"end-after" placeholder:"TIME" help:"Ended at that date or time or later."`
	EndBefore   string `name:"end-before" placeholder:"TIME" help:"Ended before."`
	Limit       atMost `name:"limit" default:"50" placeholder:"N" help:"At most so many (default ${default})."`
	output
	remote
}

func (callListCommand) Help() string {
	return `Each filter narrows the list. A date without a time is its midnight, UTC.

    offhook call list --status completed --start-after 2026-01-31
    offhook call list --to +15551234567 --limit 1000 -o tsv`
}

func (c *callListCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	filter := url.Values{}
	set(filter, "To", c.To)
	set(filter, "From", c.From)
	set(filter, "Status", c.Status)
	set(filter, "ParentCallSid", c.Parent)
	set(filter, "StartTime>", c.StartAfter)
	set(filter, "StartTime<", c.StartBefore)
	set(filter, "EndTime>", c.EndAfter)
	set(filter, "EndTime<", c.EndBefore)
	calls, err := client.List(ctx, "Calls", "calls", filter, int(c.Limit))
	if err != nil {
		return err
	}
	return c.list(a.out, listedColumns, calls)
}

type callUpdateCommand struct {
	SID string `arg:"" name:"sid" help:"The call, CA…"`
	document
	callback
	Status    string `name:"status" placeholder:"STATUS" help:"canceled takes back a call that is not answered, completed ends any."`
	TimeLimit int    `name:"time-limit" placeholder:"SECONDS" help:"Hang up that long after the answer."`
	output
	remote
}

func (callUpdateCommand) Help() string {
	return `A new document runs at once, as with call redirect.

    offhook call update CA0123456789abcdef0123456789abcdef --time-limit 600
    offhook call update CA0123456789abcdef0123456789abcdef --status canceled`
}

func (c *callUpdateCommand) Run(ctx context.Context, a *app) error {
	form := url.Values{}
	c.document.set(form)
	c.callback.set(form)
	set(form, "Status", c.Status)
	setInt(form, "TimeLimit", c.TimeLimit)
	if len(form) == 0 {
		return usagef("say what to change, such as --time-limit 600")
	}
	return updateCall(ctx, a, c.remote, c.output, c.SID, form)
}

type callRedirectCommand struct {
	SID string `arg:"" name:"sid" help:"The call, CA…"`
	document
	output
	remote
}

func (callRedirectCommand) Help() string {
	return `What the call was doing stops at once.

    offhook call redirect CA0123456789abcdef0123456789abcdef --twiml '<Response><Say>Something else</Say></Response>'
    offhook call redirect CA0123456789abcdef0123456789abcdef --url https://app.example.com/other`
}

func (c *callRedirectCommand) Run(ctx context.Context, a *app) error {
	if err := c.document.check(); err != nil {
		return err
	}
	form := url.Values{}
	c.document.set(form)
	return updateCall(ctx, a, c.remote, c.output, c.SID, form)
}

type callHangupCommand struct {
	SID string `arg:"" name:"sid" help:"The call, CA…"`
	output
	remote
}

func (callHangupCommand) Help() string {
	return `An answered call ends as completed, one that is not as canceled.

    offhook call hangup CA0123456789abcdef0123456789abcdef`
}

func (c *callHangupCommand) Run(ctx context.Context, a *app) error {
	return updateCall(ctx, a, c.remote, c.output, c.SID, url.Values{"Status": {"completed"}})
}

func updateCall(ctx context.Context, a *app, r remote, o output, sid string, form url.Values) error {
	client, err := r.connect(a)
	if err != nil {
		return err
	}
	call, err := client.Update(ctx, "Calls", sid, form)
	if err != nil {
		return err
	}
	return o.one(a.out, callColumns, call)
}

type callDeleteCommand struct {
	SID string `arg:"" name:"sid" help:"The call, CA…"`
	remote
}

func (callDeleteCommand) Help() string {
	return `Its events and notifications go with it. A call that has not ended is refused.

    offhook call delete CA0123456789abcdef0123456789abcdef`
}

func (c *callDeleteCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	return client.Delete(ctx, "Calls", c.SID)
}
