package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/offhook/offhook/internal/apiclient"
)

// numbersPath and numbersKey are the collection of own numbers and its array in a list.
const (
	numbersPath = "IncomingPhoneNumbers"
	numbersKey  = "incoming_phone_numbers"
)

type numbersCommand struct {
	Create numbersCreateCommand `cmd:"" help:"Claim a number and say what happens when it is called."`
	Get    numbersGetCommand    `cmd:"" help:"Show a number."`
	List   numbersListCommand   `cmd:"" help:"List the own numbers, newest first."`
	Update numbersUpdateCommand `cmd:"" help:"Change what happens when a number is called."`
	Delete numbersDeleteCommand `cmd:"" help:"Give a number up."`
}

func (numbersCommand) Help() string {
	return `A call that arrives for one of these numbers runs the TwiML of its voice URL.

    offhook numbers create +15557654321 --voice-url http://127.0.0.1:3000/voice
    offhook numbers list`
}

var (
	numberColumns = []column{
		{title: "sid", field: "sid"}, {title: "number", field: "phone_number"}, {title: "name", field: "friendly_name"},
		{title: "voice url", field: "voice_url"}, {title: "voice method", field: "voice_method"},
		{title: "fallback url", field: "voice_fallback_url"}, {title: "fallback method", field: "voice_fallback_method"},
		{title: "status callback", field: "status_callback"}, {title: "callback method", field: "status_callback_method"},
		{title: "caller id lookup", field: "voice_caller_id_lookup"},
		{title: "created", field: "date_created", form: shortTime},
	}
	listedNumberColumns = []column{
		{title: "sid", field: "sid"}, {title: "number", field: "phone_number"}, {title: "name", field: "friendly_name"},
		{title: "voice url", field: "voice_url"},
	}
)

// numberFields are what can be said about a number. A flag given as "" clears the field.
type numberFields struct {
	Name                 *string `name:"name" placeholder:"TEXT" help:"A name for people."`
	VoiceURL             *string `name:"voice-url" placeholder:"URL" help:"Fetch the TwiML of its calls there."`
	VoiceMethod          *string `name:"voice-method" placeholder:"GET|POST" help:"How (default POST)."`
	FallbackURL          *string `name:"fallback-url" placeholder:"URL" help:"Fetch this when the TwiML cannot be had or run."`
	FallbackMethod       *string `name:"fallback-method" placeholder:"GET|POST" help:"How (default POST)."`
	StatusCallback       *string `name:"status-callback" placeholder:"URL" help:"Tell this URL when a call ended."`
	StatusCallbackMethod *string `name:"status-callback-method" placeholder:"GET|POST" help:"How (default POST)."`
	CallerIDLookup       *bool   `name:"caller-id-lookup" negatable:"" help:"Send the caller's display name to --voice-url."`
}

func (f numberFields) form() url.Values {
	form := url.Values{}
	for name, value := range map[string]*string{
		"FriendlyName": f.Name, "VoiceUrl": f.VoiceURL, "VoiceMethod": f.VoiceMethod,
		"VoiceFallbackUrl": f.FallbackURL, "VoiceFallbackMethod": f.FallbackMethod,
		"StatusCallback": f.StatusCallback, "StatusCallbackMethod": f.StatusCallbackMethod,
	} {
		if value != nil {
			form.Set(name, *value)
		}
	}
	if f.CallerIDLookup != nil {
		form.Set("VoiceCallerIdLookup", strconv.FormatBool(*f.CallerIDLookup))
	}
	return form
}

type numbersCreateCommand struct {
	Number string `arg:"" name:"number" help:"Number in E.164 form."`
	numberFields
	output
	remote
}

func (numbersCreateCommand) Help() string {
	return `Calls to it, from a trunk, from a phone on this machine or from call create, run the TwiML of its voice URL.

    offhook numbers create +15557654321 --voice-url http://127.0.0.1:3000/voice --name Reception`
}

func (c *numbersCreateCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	form := c.form()
	form.Set("PhoneNumber", c.Number)
	number, err := client.Create(ctx, numbersPath, form)
	if err != nil {
		return err
	}
	return c.one(a.out, numberColumns, number)
}

type numbersGetCommand struct {
	Number string `arg:"" name:"number" help:"The number, or its SID PN…"`
	output
	remote
}

func (numbersGetCommand) Help() string {
	return `A number is named by its digits or by its SID.

    offhook numbers get +15557654321`
}

func (c *numbersGetCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	sid, err := numberSID(ctx, client, c.Number)
	if err != nil {
		return err
	}
	number, err := client.Fetch(ctx, numbersPath, sid)
	if err != nil {
		return err
	}
	return c.one(a.out, numberColumns, number)
}

type numbersListCommand struct {
	Number string `name:"number" placeholder:"PATTERN" help:"Only numbers that match; * stands for one digit."`
	Name   string `name:"name" placeholder:"TEXT" help:"Only numbers with that name."`
	Limit  atMost `name:"limit" default:"50" placeholder:"N" help:"At most so many (default ${default})."`
	output
	remote
}

func (numbersListCommand) Help() string {
	return `The pattern may be a part of the number; * in it stands for one digit.

    offhook numbers list --number '+155576543**'`
}

func (c *numbersListCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	filter := url.Values{}
	set(filter, "PhoneNumber", c.Number)
	set(filter, "FriendlyName", c.Name)
	numbers, err := client.List(ctx, numbersPath, numbersKey, filter, int(c.Limit))
	if err != nil {
		return err
	}
	return c.list(a.out, listedNumberColumns, numbers)
}

type numbersUpdateCommand struct {
	Number string `arg:"" name:"number" help:"The number, or its SID PN…"`
	numberFields
	output
	remote
}

func (numbersUpdateCommand) Help() string {
	return `An empty value clears a field.

    offhook numbers update +15557654321 --voice-url https://app.example.com/voice --status-callback ''`
}

func (c *numbersUpdateCommand) Run(ctx context.Context, a *app) error {
	form := c.form()
	if len(form) == 0 {
		return usagef("say what to change, such as --voice-url")
	}
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	sid, err := numberSID(ctx, client, c.Number)
	if err != nil {
		return err
	}
	number, err := client.Update(ctx, numbersPath, sid, form)
	if err != nil {
		return err
	}
	return c.one(a.out, numberColumns, number)
}

type numbersDeleteCommand struct {
	Number string `arg:"" name:"number" help:"The number, or its SID PN…"`
	remote
}

func (numbersDeleteCommand) Help() string {
	return `Calls that arrive for it are refused from then on.

    offhook numbers delete +15557654321`
}

func (c *numbersDeleteCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	sid, err := numberSID(ctx, client, c.Number)
	if err != nil {
		return err
	}
	return client.Delete(ctx, numbersPath, sid)
}

// numberSID is the SID of an own number, which people name by its digits.
func numberSID(ctx context.Context, client *apiclient.Client, number string) (string, error) {
	if strings.HasPrefix(number, "PN") {
		return number, nil
	}
	found, err := client.List(ctx, numbersPath, numbersKey, url.Values{"PhoneNumber": {number}}, 1000)
	if err != nil {
		return "", err
	}
	for _, n := range found { // the filter is a pattern; the argument is not
		if n.Text("phone_number") == number {
			return n.Text("sid"), nil
		}
	}
	return "", fmt.Errorf("%s is not one of the own numbers; see `offhook numbers list`", number)
}
