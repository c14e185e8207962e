// Package speech turns text into clips. Its own voice is flite as WebAssembly, embedded under the build tag
// "flite"; without it an installed flite or espeak-ng speaks. Synthesis runs in niced child processes of the same
// binary, because WebAssembly code cannot be preempted and a garbage collection waiting for it would
// delay the media clock. Text goes clause by clause, one ahead of the listener, and is cached as µ-law frames; what is
// new is heard while the rest of its clause is made.
//
// The package knows Twilio's voice names; it does not know TwiML (package twiml makes the parts) nor calls.
package speech

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os/exec"
	"runtime"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
	"github.com/offhook/offhook/internal/twilio"
)

// Engines, the values of Config.Engine.
const (
	EngineBuiltin = "builtin"   // flite as WebAssembly, English; see Builtin
	EngineFlite   = "flite"     // the installed program, English
	EngineEspeak  = "espeak-ng" // the installed program, many languages
	EngineTest    = "test"      // tones, see TestVoice
	engineNone    = "none"      // nothing found
)

// ErrNoVoice means that this binary has no voice built in and the machine has none installed.
var ErrNoVoice = errors.New("no voice: build with make (it fetches the built-in one), or install flite or espeak-ng")

// ErrBusy means that too many texts wait to be spoken.
var ErrBusy = errors.New("too many texts wait to be spoken")

// errClosed means that Close was called.
var errClosed = errors.New("speech: closed")

// Config is what Voices is made of; the zero value of each field but Executable is a working default.
type Config struct {
	// Engine is one of the Engine constants. Default "" or "auto": the built-in voice if the binary has it,
	// else an installed flite, else espeak-ng, else none: then Say fails with ErrNoVoice.
	Engine string
	// Dir holds the cache of spoken clauses and of compiled code. Default "": in memory only.
	Dir string
	// Workers is how many child processes speak. Default: one for two cores, 4 at most.
	Workers int
	// Executable is the command that runs RunChild, such as {"/usr/bin/offhook", "speech-worker"}. Every engine but
	// "test" needs it.
	Executable []string
	// MemoryBytes bounds the clips kept in memory. Default 32 MiB: about 70 minutes of speech.
	MemoryBytes int64
	// DiskBytes bounds the cache on disk. Default 256 MiB.
	DiskBytes int64
	// Clock is the time. Default the system's.
	Clock clock.Clock
	// Log takes what an operator should know. Default slog.Default().
	Log *slog.Logger
}

// Part is a stretch of text to be spoken, or else a pause.
type Part struct {
	Text  string
	Pause time.Duration
}

// Utterance is what one <Say> says.
type Utterance struct {
	Voice    string // as in TwiML: "man", "Polly.Joanna-Neural"; "" is man
	Language string // BCP 47; "" is the voice's own
	Parts    []Part
}

// Voices speaks. Its methods are safe for concurrent use.
type Voices struct {
	engine string
	espeak func() *espeakLanguages // nil result: not installed
	cache  *cache
	pool   *pool // nil for the engines test and none
	log    *slog.Logger
	warned sync.Map // primary languages already warned about: at most 26³
}

// New starts the voices. The child processes start and warm up in the background, so that the first Say is fast.
func New(cfg Config) (*Voices, error) {
	if cfg.Workers <= 0 {
		cfg.Workers = min(max(1, runtime.NumCPU()/2), 4)
	}
	if cfg.MemoryBytes <= 0 {
		cfg.MemoryBytes = 32 << 20
	}
	if cfg.DiskBytes <= 0 {
		cfg.DiskBytes = 256 << 20
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	engine, err := chooseEngine(cfg.Engine)
	if err != nil {
		return nil, err
	}
	v := &Voices{engine: engine, espeak: findEspeak(), log: cfg.Log}
	switch engine {
	case EngineTest:
		v.cache = newCache("", cfg.MemoryBytes, 0, cfg.Clock, cfg.Log)
		return v, nil
	case engineNone:
		cfg.Log.Warn("nothing can be spoken", "error", ErrNoVoice)
		v.cache = newCache("", cfg.MemoryBytes, 0, cfg.Clock, cfg.Log)
		return v, nil
	case EngineFlite, EngineEspeak:
		if !Builtin() {
			cfg.Log.Warn("this build has no voice of its own, the installed one speaks", "engine", engine)
		}
	}
	if len(cfg.Executable) == 0 {
		return nil, errors.New("speech: Config.Executable is needed: the command whose main is RunChild")
	}
	v.cache = newCache(cfg.Dir, cfg.MemoryBytes, cfg.DiskBytes, cfg.Clock, cfg.Log)
	v.pool = newPool(cfg, hello{Engine: engine, CacheDir: v.cache.compiled()}, v.cache)
	return v, nil
}

func chooseEngine(name string) (string, error) {
	installed := func(program string) bool { _, err := exec.LookPath(program); return err == nil }
	switch name {
	case "", "auto":
		switch {
		case Builtin():
			return EngineBuiltin, nil
		case installed(EngineFlite):
			return EngineFlite, nil
		case installed(EngineEspeak):
			return EngineEspeak, nil
		}
		return engineNone, nil
	case EngineTest:
		return name, nil
	case EngineBuiltin:
		if !Builtin() {
			return "", errors.New("speech: this binary was built without its voice (build tag flite)")
		}
		return name, nil
	case EngineFlite, EngineEspeak:
		if !installed(name) {
			return "", fmt.Errorf("speech: %s is not installed", name)
		}
		return name, nil
	}
	return "", fmt.Errorf("speech: no engine %q: builtin, flite, espeak-ng or test", name)
}

// Engine is the engine in use: one of the constants, or "none".
func (v *Voices) Engine() string { return v.engine }

// Close stops the child processes and waits for them. Running Says end with an error.
func (v *Voices) Close() error {
	if v.pool != nil {
		v.pool.close()
	}
	v.cache.close()
	return nil
}

// Say speaks u. It yields clips in order, each as soon as it is ready: for a text its clauses, one that is new in
// pieces as it is made; for a pause silence. The next clause is spoken while the caller has the one before. The sequence ends with the first error:
// ctx's cause; a *twilio.Error when Twilio's <Say> would fail and the document go on (a language that
// the voice does not speak, too long a text); or what the engine said.
func (v *Voices) Say(ctx context.Context, u Utterance) iter.Seq2[*audio.Clip, error] {
	return func(yield func(*audio.Clip, error) bool) {
		voice, _ := v.Resolve(u.Voice, u.Language)
		if err := v.check(voice, u); err != nil {
			yield(nil, err)
			return
		}
		script := plan(u.Parts)
		var ahead *order // the clause that is being spoken before it is needed
		defer func() { ahead.release() }()
		for i, line := range script {
			if line.text == "" {
				if !yieldSilence(ctx, line.pause, yield) {
					return
				}
				continue
			}
			now := ahead
			if now == nil {
				now = v.order(voice, line.text)
			}
			ahead = nil
			now.hurry()
			for clip, err := range now.clips(ctx) {
				if next := nextText(script[i+1:]); next != "" && ahead == nil && err == nil {
					ahead = v.order(voice, next)
				}
				if !yield(clip, err) || err != nil {
					return
				}
			}
		}
	}
}

// check finds what makes the whole <Say> fail on Twilio.
func (v *Voices) check(voice Voice, u Utterance) error {
	if voice.mismatch != nil {
		return voice.mismatch
	}
	n := 0
	for _, p := range u.Parts {
		n += utf8.RuneCountInString(p.Text)
	}
	if n > voice.MaxText {
		return twilio.Errf(13521, "Say: text of %d characters; voice %s takes %d", n, voice.Name, voice.MaxText)
	}
	return nil
}

func nextText(script []line) string {
	for _, l := range script {
		if l.text != "" {
			return l.text
		}
	}
	return ""
}

// oneSecond is what pauses are made of, so that a long one takes no memory.
var oneSecond = audio.Silence(time.Second)

func yieldSilence(ctx context.Context, d time.Duration, yield func(*audio.Clip, error) bool) bool {
	for ; d > 0; d -= time.Second {
		if ctx.Err() != nil {
			yield(nil, context.Cause(ctx))
			return false
		}
		clip := oneSecond
		if d < time.Second {
			clip = audio.Silence(d)
		}
		if !yield(clip, nil) {
			return false
		}
	}
	return true
}

// order has a clause spoken: at once from the cache, else by a worker.
func (v *Voices) order(voice Voice, text string) *order {
	key := cacheKey(voice.Engine, voice.ID, text)
	if clip := v.cache.get(key); clip != nil {
		return ready(clip, nil)
	}
	switch voice.Engine {
	case EngineTest:
		clip := testClause(text)
		v.cache.remember(key, clip)
		return ready(clip, nil)
	case engineNone:
		return ready(nil, fmt.Errorf("speech: %w", ErrNoVoice))
	}
	return v.pool.order(key, request{Engine: voice.Engine, Voice: voice.ID, Text: text})
}
