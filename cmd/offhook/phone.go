package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/offhook/offhook/internal/apiclient"
	"github.com/offhook/offhook/internal/speech"
	"github.com/offhook/offhook/phone"
)

// What a phone does without --script: it listens until the far end hangs up.
const (
	answerScript = "ring 1s; answer; expect hangup within 4h"
	callScript   = "wait answer within 1m; expect hangup within 4h"
)

type phoneCommand struct {
	To string `arg:"" optional:"" name:"to" help:"Number or sip: URI to call; without one the phone waits for calls."`

	Script text `name:"script" short:"s" placeholder:"STEPS" help:"What to do on a call, or @FILE (default: answer, and listen until the other hangs up)."`
	Once   bool `name:"once" help:"End after the first call that comes in."`
	List   bool `name:"list" help:"List the simulated numbers."`

	Simulator bool `name:"simulator" help:"Answer every number, each in its own way (see --list)."`

	Listen    string   `name:"listen" default:"127.0.0.1:0" placeholder:"ADDR" help:"Address of SIP over UDP and TCP; port 0 is a free one (default ${default})." group:"Phone:"`
	Number    string   `name:"number" placeholder:"NUMBER" help:"The phone's own number, the caller of its calls." group:"Phone:"`
	Via       string   `name:"via" env:"OFFHOOK_SIP" default:"127.0.0.1:5060" placeholder:"ADDR" help:"Server through which bare numbers are called (default ${default})." group:"Phone:"`
	Transport string   `name:"transport" enum:"udp,tcp" default:"udp" placeholder:"udp|tcp" help:"How to call (default ${default})." group:"Phone:"`
	Username  string   `name:"username" placeholder:"NAME" help:"Answers a challenge to its calls." group:"Phone:"`
	Password  string   `name:"password" env:"OFFHOOK_PHONE_PASSWORD" placeholder:"PASSWORD" help:"Its password." group:"Phone:"`
	Codec     []string `name:"codec" enum:"PCMU,PCMA" default:"PCMU,PCMA" placeholder:"CODEC" help:"Codecs in order of preference (default ${default})." group:"Phone:"`
	Dir       string   `name:"dir" placeholder:"DIR" help:"Record what each answered call hears, as DIR/NUMBER/TIME.wav." group:"Phone:"`
	Voice     string   `name:"voice" default:"auto" placeholder:"ENGINE" help:"Speech engine of say and of simulated people: auto, builtin, flite, espeak-ng, test or babble (default ${default})." group:"Phone:"`
	Data      string   `name:"data" env:"OFFHOOK_DATA" default:"offhook-data" placeholder:"DIR" help:"A server's data folder, for speech it has cached (default ./${default})." group:"Phone:"`
	Verbose   bool     `name:"verbose" short:"v" help:"Log signalling to stderr." group:"Phone:"`
	output
}

func (phoneCommand) Help() string {
	return `The first line on stdout says where the phone listens; then come the calls. A script that fails makes the exit code 1.

    offhook phone --listen 127.0.0.1:5070 --script 'ring 1s; answer; hear 500ms; press 1; expect hangup'
    offhook phone +15557654321 --script 'wait answer; say "sales, please"; press 2#; wait 1s; hangup'
    offhook phone --list

Steps, separated by ; or new lines:

` + indent(phone.ScriptHelp())
}

// indent keeps lines as they are in help.
func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}

func (c *phoneCommand) Run(ctx context.Context, a *app) error {
	modes := 0
	for _, on := range []bool{c.List, c.Simulator, c.To != "", c.Once} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return usagef("choose one of a number to call, --simulator, --once and --list")
	case c.List:
		return c.list(a)
	case c.Simulator && c.Script != "":
		return usagef("--script is for a phone; simulated phones behave as --list says")
	}
	speak, closeVoice := c.speaker(a)
	defer closeVoice()
	cfg := phone.Config{
		Addr: c.Listen, Number: c.Number, Username: c.Username, Password: c.Password, Transport: c.Transport,
		Dir: c.Dir, Speak: speak, Log: c.logger(a),
	}
	for _, codec := range c.Codec {
		cfg.Codecs = append(cfg.Codecs, map[string]phone.Codec{"PCMU": phone.PCMU, "PCMA": phone.PCMA}[codec])
	}
	if c.Simulator {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		endWithParent(a.in, cancel)
		return phone.ServeSimulator(ctx, cfg, func(addr string) { fmt.Fprintf(a.out, "ready sip=%s\n", addr) })
	}
	source := c.Script
	if source == "" && c.To == "" {
		source = answerScript
	} else if source == "" {
		source = callScript
	}
	script, err := phone.ParseScript(string(source))
	if err != nil {
		return usageError{err}
	}
	if c.To != "" {
		return c.call(ctx, a, cfg, script)
	}
	return c.wait(ctx, a, cfg, script)
}

func (c *phoneCommand) list(a *app) error {
	type row struct {
		Number    string `json:"number"`
		Name      string `json:"name"`
		Behaviour string `json:"behaviour"`
	}
	var rows []row
	for _, n := range phone.Numbers() {
		rows = append(rows, row{n.Number, n.Name, n.Description})
	}
	b, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	list, err := apiclient.ParseList(b)
	if err != nil {
		return err
	}
	return c.output.list(a.out, []column{
		{title: "number", field: "number"}, {title: "name", field: "name"}, {title: "behaviour", field: "behaviour"},
	}, list)
}

// call makes one call and runs the script on it.
func (c *phoneCommand) call(ctx context.Context, a *app, cfg phone.Config, script *phone.Script) error {
	p, err := phone.Listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // the script has told what went wrong
	uri := c.To
	if !strings.HasPrefix(uri, "sip:") {
		via, _, _ := strings.Cut(c.Via, ",") // the first, when a server listens on several
		uri = "sip:" + uri + "@" + reachable(via)
	}
	fmt.Fprintf(a.out, "ready sip=%s\ncalling %s\n", p.Addr(), uri)
	call, err := p.Dial(ctx, uri)
	if err != nil {
		return err
	}
	err = call.Run(ctx, script)
	call.Hangup()
	if waitErr := call.WaitHungUp(context.WithoutCancel(ctx)); err == nil {
		err = waitErr
	}
	report(a.out, call)
	return err
}

// wait runs the script on every call that comes in, or on the first one only.
func (c *phoneCommand) wait(ctx context.Context, a *app, cfg phone.Config, script *phone.Script) error {
	var mu sync.Mutex // one report at a time
	first := make(chan error, 1)
	cfg.OnCall = func(call *phone.Call) {
		mu.Lock()
		fmt.Fprintf(a.out, "call from %s to %s\n", call.From(), call.To())
		mu.Unlock()
		err := call.Run(ctx, script)
		call.Hangup()
		err = errors.Join(err, call.WaitHungUp(context.WithoutCancel(ctx)))
		mu.Lock()
		defer mu.Unlock()
		report(a.out, call)
		if err != nil && !c.Once {
			fmt.Fprintf(a.err, "offhook: %v\n", err)
		}
		select {
		case first <- err:
		default:
		}
	}
	mu.Lock() // the address comes first
	p, err := phone.Listen(ctx, cfg)
	if err == nil {
		fmt.Fprintf(a.out, "ready sip=%s\n", p.Addr())
	}
	mu.Unlock()
	if err != nil {
		return err
	}
	if c.Once {
		select {
		case err = <-first:
		case <-ctx.Done():
			err = errors.New("stopped before a call came")
		}
	} else {
		<-ctx.Done()
	}
	return errors.Join(err, p.Close())
}

// report says what became of a call.
func report(w io.Writer, call *phone.Call) {
	if d := call.Digits(); d != "" {
		fmt.Fprintf(w, "digits %s\n", d)
	}
	if end, over := call.End(); over {
		fmt.Fprintln(w, end)
	}
	if name := call.Recording(); name != "" {
		fmt.Fprintf(w, "recorded %s\n", name)
	}
}

func (c *phoneCommand) logger(a *app) *slog.Logger {
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// speaker is the phone's voice. Its processes start with the first text, which most phones never have.
func (c *phoneCommand) speaker(a *app) (speak func(context.Context, string) ([]int16, error), stop func()) {
	if c.Voice == "babble" {
		return nil, func() {}
	}
	var started *speech.Voices
	voices := sync.OnceValues(func() (*speech.Voices, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cfg := speech.Config{Executable: []string{self, "speech-worker"}, Workers: 1, Clock: a.clock, Log: c.logger(a)}
		if cfg.Engine = c.Voice; c.Voice == "auto" {
			cfg.Engine = ""
		}
		if _, err := os.Stat(c.Data); err == nil {
			cfg.Dir = filepath.Join(c.Data, "speech")
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		started, err = speech.New(cfg)
		return started, err
	})
	speak = func(ctx context.Context, text string) ([]int16, error) {
		v, err := voices()
		if err != nil {
			return nil, err
		}
		var pcm []int16
		for clip, err := range v.Say(ctx, speech.Utterance{Parts: []speech.Part{{Text: text}}}) {
			if err != nil {
				return nil, err
			}
			pcm = append(pcm, clip.PCM()...)
		}
		return pcm, nil
	}
	return speak, func() {
		if started != nil {
			_ = started.Close() // its processes end with this one
		}
	}
}

// endWithParent calls end when in is a pipe and closes: the server that started this process is gone.
func endWithParent(in io.Reader, end func()) {
	f, ok := in.(*os.File)
	if !ok {
		return
	}
	if st, err := f.Stat(); err != nil || st.Mode()&fs.ModeNamedPipe == 0 {
		return
	}
	go func() { // it ends with the process
		_, _ = io.Copy(io.Discard, f)
		end()
	}()
}
