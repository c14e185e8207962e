package twiliocall_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"testing"

	"github.com/offhook/offhook/internal/server"
	"github.com/offhook/offhook/phone"
	"github.com/offhook/offhook/twiliocall"
)

// client talks to a server of its own, whose calls ring a phone that answers them all.
var (
	client *twiliocall.Client
	config twiliocall.Config
)

// clientWith is another client of the same account.
func clientWith(t *testing.T, transport *http.Client) *twiliocall.Client {
	t.Helper()
	cfg := config
	cfg.HTTP = transport
	c, err := twiliocall.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		ctx := context.Background()
		data, err := os.MkdirTemp("", "twiliocall")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(data) }()
		ph, err := phone.Listen(ctx, phone.Config{OnCall: func(c *phone.Call) {
			if c.Answer() == nil {
				<-c.HungUp()
			}
		}})
		if err != nil {
			panic(err)
		}
		defer func() { _ = ph.Close() }()
		srv, err := server.Start(ctx, server.Config{
			HTTP: "127.0.0.1:0", SIP: []string{"127.0.0.1:0"}, Data: data, Voice: "test", Simulator: ph.Addr(),
			Log: slog.New(slog.DiscardHandler), Version: "test",
		})
		if err != nil {
			panic(err)
		}
		defer srv.Close(ctx)
		sid, token := srv.Credentials()
		config = twiliocall.Config{URL: srv.URL(), AccountSID: sid, AuthToken: token}
		client, err = twiliocall.New(config)
		if err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// A call is made, followed to its end and hung up in between.
func Example() {
	ctx := context.Background()
	call, err := client.Create(ctx, twiliocall.CreateCall{
		From: "+15005550006", To: "+15551234567", Twiml: `<Response><Pause length="60"/></Response>`,
		Metadata: map[string]any{"order": 7},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for event, err := range client.Events(ctx, call.ID, "") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.Sequence, event.Type)
		if event.Type == "TwilioCall.in-progress" {
			if _, err := client.Hangup(ctx, call.ID); err != nil {
				fmt.Println(err)
			}
		}
	}
	// Output:
	// 0 TwilioCall.created
	// 1 TwilioCall.queued
	// 2 TwilioCall.answered
	// 3 TwilioCall.in-progress
	// 4 TwilioCall.completed
}

// A refusal has the code of Twilio's catalogue.
func ExampleProblem() {
	_, err := client.Create(context.Background(), twiliocall.CreateCall{From: "+15005550006", To: "+15551234567"})
	var p *twiliocall.Problem
	if errors.As(err, &p) {
		fmt.Println(p.Status, p.Code, p.Detail)
	}
	// Output: 400 21205 Url parameter is required.
}

// What is noted beside a call finds it again.
func ExampleClient_List() {
	ctx := context.Background()
	call, err := client.CreateOnce(ctx, "order 8", twiliocall.CreateCall{
		From: "+15005550006", To: "+15551234567", Twiml: "<Response/>", Metadata: map[string]any{"order": 8},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	note := "a test"
	if _, err := client.Update(ctx, call.ID, twiliocall.UpdateCall{Annotation: &note, Metadata: map[string]any{"paid": true}}); err != nil {
		fmt.Println(err)
		return
	}
	for call, err := range client.List(ctx, twiliocall.Filter{Metadata: map[string]string{"order": "8", "paid": "true"}}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(call.To, *call.Annotation, call.Metadata)
	}
	// Output: +15551234567 a test map[order:8 paid:true]
}
