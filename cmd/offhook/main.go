// Command offhook is a voice server with Twilio's API, and the tools around it: the server itself,
// calls, numbers and trunks over its REST API, and a scripted SIP phone. Results go to stdout, logs
// and errors to stderr; it exits with 0, 1 when something failed, and 2 when it was asked wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/offhook/offhook/internal/clock"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// commands is the command line: one field a command, one file each.
type commands struct {
	Serve      serveCommand      `cmd:"" help:"Run the server."`
	Call       callCommand       `cmd:"" help:"Make, watch and steer calls."`
	Numbers    numbersCommand    `cmd:"" help:"Manage the numbers that can be called."`
	Trunks     trunksCommand     `cmd:"" help:"Manage the SIP carriers that calls leave through."`
	Recordings recordingsCommand `cmd:"" help:"List, save and delete what calls recorded."`
	Webhooks   webhooksCommand   `cmd:"" help:"Have the events of calls sent to a URL."`
	Rates      ratesCommand      `cmd:"" help:"Say what calls cost."`
	AMD        amdCommand        `cmd:"" name:"amd" help:"Tune answering-machine detection on recordings."`
	Phone      phoneCommand      `cmd:"" help:"Be a scripted SIP phone, or the simulated phones."`
	Env        envCommand        `cmd:"" help:"Print credentials and address for the SDKs."`
	Version    versionCommand    `cmd:"" help:"Print the version."`

	SpeechWorker speechWorkerCommand `cmd:"" hidden:"" help:"Speak for a server: started by it, never by hand."`
}

const description = "offhook answers and makes phone calls for applications written for Twilio's voice API, on your own machine."

// Help is what `offhook --help` says below the list of commands' usage.
func (commands) Help() string {
	return `A first call, to a simulated phone, needs no other software:

    offhook serve
    offhook call create --to +15551234567 --twiml '<Response><Say>Hello</Say></Response>' --watch

Every command explains itself with an example: offhook COMMAND --help.`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, clock: clock.System})
	stop()
	os.Exit(code)
}

// app is what a command may touch of the world.
type app struct {
	in       io.Reader
	out, err io.Writer
	clock    clock.Clock
}

// usageError is a mistake in what was asked, found after parsing; the exit code is 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exit ends the run of a command from inside kong, which ends --help that way.
type exit int

func newParser(a *app) (*kong.Kong, error) {
	return kong.New(&commands{},
		kong.Name("offhook"), kong.Description(description),
		kong.Writers(a.out, a.err),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Bind(a),
	)
}

// run is main without the process around it.
func run(ctx context.Context, args []string, a *app) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exit:
			code = int(r)
		default:
			panic(r)
		}
	}()
	parser, err := newParser(a)
	if err != nil {
		panic(err) // a mistake in the tags above, which every test would show
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		var p *kong.ParseError
		command := "offhook"
		if errors.As(err, &p) && p.Context != nil && p.Context.Selected() != nil {
			command = p.Context.Selected().FullPath()
		}
		fmt.Fprintf(a.err, "offhook: %v\nSee: %s --help\n", err, command)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run()
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(a.err, "offhook: %v\nSee: %s --help\n", err, parsed.Selected().FullPath())
		return exitUsage
	default:
		fmt.Fprintf(a.err, "offhook: %v\n", err)
		return exitFailed
	}
}
