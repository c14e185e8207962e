package main

import "context"

// Actions that the TwilioCall API has and the Calls API has not.

// sessionColumns are a call as TwilioCall has it, sessionRecordingColumns a recording.
var (
	sessionColumns = []column{
		{title: "sid", field: "id"}, {title: "from", field: "from"}, {title: "to", field: "to"}, {title: "status", field: "status"},
		{title: "direction", field: "direction"}, {title: "held", field: "held"}, {title: "muted", field: "muted"},
		{title: "annotation", field: "annotation"},
	}
	sessionRecordingColumns = []column{
		{title: "sid", field: "id"}, {title: "call", field: "callId"}, {title: "status", field: "status"},
		{title: "channels", field: "channels"}, {title: "track", field: "track"}, {title: "url", field: "url"},
	}
)

// act does one of the actions to a call and shows what it answered.
func act(ctx context.Context, a *app, r remote, o output, columns []column, sid, action string, body map[string]any) error {
	client, err := r.connect(a)
	if err != nil {
		return err
	}
	answer, err := client.Act(ctx, sid, action, body)
	if err != nil {
		return err
	}
	return o.one(a.out, columns, answer)
}

// oneCall is an action that needs nothing but its call.
type oneCall struct {
	SID string `arg:"" name:"sid" help:"The call, CA…"`
	output
	remote
}

func (c *oneCall) act(ctx context.Context, a *app, action string) error {
	return act(ctx, a, c.remote, c.output, sessionColumns, c.SID, action, nil)
}

type callHoldCommand struct {
	SID      string `arg:"" name:"sid" help:"The call, CA…"`
	MusicURL string `name:"music-url" placeholder:"URL" help:"Play this again and again (default: our own music)."`
	output
	remote
}

func (callHoldCommand) Help() string {
	return `The party hears music and nothing else, nobody hears it, its keys go nowhere, and what the call does waits. Its phone is not told.

    offhook call hold CA0123456789abcdef0123456789abcdef
    offhook call hold CA0123456789abcdef0123456789abcdef --music-url https://app.example.com/waltz.mp3`
}

func (c *callHoldCommand) Run(ctx context.Context, a *app) error {
	body := map[string]any{}
	if c.MusicURL != "" {
		body["musicUrl"] = c.MusicURL
	}
	return act(ctx, a, c.remote, c.output, sessionColumns, c.SID, "hold", body)
}

type callUnholdCommand struct{ oneCall }

func (callUnholdCommand) Help() string {
	return `A prompt goes on with its next word, and a Gather with the time it had left.

    offhook call unhold CA0123456789abcdef0123456789abcdef`
}

func (c *callUnholdCommand) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "unhold")
}

type callMuteCommand struct{ oneCall }

func (callMuteCommand) Help() string {
	return `What the party says is silence for everybody and for recordings. It hears all, and its keys count.

    offhook call mute CA0123456789abcdef0123456789abcdef`
}

func (c *callMuteCommand) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "mute")
}

type callUnmuteCommand struct{ oneCall }

func (callUnmuteCommand) Help() string {
	return `The party is heard again.

    offhook call unmute CA0123456789abcdef0123456789abcdef`
}

func (c *callUnmuteCommand) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "unmute")
}

type callRecordCommand struct {
	SID                  string `arg:"" name:"sid" help:"The call, CA…"`
	Channels             string `name:"channels" placeholder:"mono|dual" help:"One for both parties or one for each (default mono)."`
	Track                string `name:"track" placeholder:"TRACK" help:"inbound (what the party says), outbound or both (default)."`
	Trim                 string `name:"trim" placeholder:"TRIM" help:"trim-silence or do-not-trim (default)."`
	MaxLength            int    `name:"max-length" placeholder:"SECONDS" help:"End after so long (default: with the call)."`
	PlayBeep             bool   `name:"play-beep" help:"The party hears a beep first."`
	StatusCallback       string `name:"status-callback" placeholder:"URL" help:"Tell this URL how the recording goes."`
	StatusCallbackMethod string `name:"status-callback-method" placeholder:"GET|POST" help:"How (default POST)."`
	output
	remote
}

func (callRecordCommand) Help() string {
	return `It ends with the call, or with call stop-recording; several may run at once.

    offhook call record CA0123456789abcdef0123456789abcdef --channels dual`
}

func (c *callRecordCommand) Run(ctx context.Context, a *app) error {
	body := map[string]any{}
	for name, value := range map[string]string{
		"channels": c.Channels, "track": c.Track, "trim": c.Trim,
		"statusCallback": c.StatusCallback, "statusCallbackMethod": c.StatusCallbackMethod,
	} {
		if value != "" {
			body[name] = value
		}
	}
	if c.MaxLength != 0 {
		body["maxLength"] = c.MaxLength
	}
	if c.PlayBeep {
		body["playBeep"] = true
	}
	return act(ctx, a, c.remote, c.output, sessionRecordingColumns, c.SID, "record", body)
}

type callStopRecordingCommand struct {
	SID       string `arg:"" name:"sid" help:"The call, CA…"`
	Recording string `name:"recording" placeholder:"RE…" help:"That one alone (default: all that run)."`
	output
	remote
}

func (callStopRecordingCommand) Help() string {
	return `The recording can be downloaded a moment later (offhook recordings list).

    offhook call stop-recording CA0123456789abcdef0123456789abcdef`
}

func (c *callStopRecordingCommand) Run(ctx context.Context, a *app) error {
	body := map[string]any{}
	if c.Recording != "" {
		body["recordingId"] = c.Recording
	}
	return act(ctx, a, c.remote, c.output, sessionColumns, c.SID, "stopRecording", body)
}
