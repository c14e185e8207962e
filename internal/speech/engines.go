package speech

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/clock"
)

// engines is what a speaking process can speak with.
type engines struct {
	cacheDir string
	clock    clock.Clock
	flite    *flite // started when first needed
}

// warm gets engine ready and speaks a word with it, so that its memory has been touched.
func (e *engines) warm(ctx context.Context, engine string) error {
	voices := map[string][]string{
		EngineBuiltin: {fliteFemale, fliteMale},
		EngineFlite:   {fliteMale},
		EngineEspeak:  {"en-us"},
	}[engine]
	for _, voice := range voices {
		unheard := newPieces(e.clock, func([]byte) error { return nil })
		if err := e.speak(ctx, request{Engine: engine, Voice: voice, Text: "hello"}, unheard); err != nil {
			return err
		}
	}
	return nil
}

// speak says one clause into p. Installed programs make it whole, the built-in voice as it goes.
func (e *engines) speak(ctx context.Context, req request, p *pieces) error {
	if req.Engine != EngineEspeak {
		if req.Text = toASCII(req.Text); !speakable(req.Text) {
			fmt.Fprintln(os.Stderr, "an English voice finds nothing to say in a text without Latin letters")
			return p.whole(audio.Silence(audio.FrameDuration))
		}
	}
	var wav []byte
	var err error
	switch req.Engine {
	case EngineBuiltin:
		if e.flite == nil {
			if e.flite, err = newFlite(ctx, fliteWASM, e.cacheDir); err != nil {
				return err
			}
		}
		if err := e.flite.speak(ctx, req.Voice, req.Text, p.play); err != nil {
			return err
		}
		return p.end()
	case EngineFlite:
		wav, err = runProgram(ctx, nil, "flite", "-voice", req.Voice, "-t", req.Text, "-o", "/dev/stdout")
	case EngineEspeak:
		wav, err = runProgram(ctx, []byte(req.Text), "espeak-ng", "-v", req.Voice, "--stdin", "--stdout")
	default:
		err = fmt.Errorf("no engine %q", req.Engine)
	}
	if err != nil {
		return err
	}
	clip, err := audio.Decode("audio/wav", wav)
	if err != nil {
		return fmt.Errorf("%s made no audio: %w", req.Engine, err)
	}
	return p.whole(clip)
}

// rest gives up what only the next clause needs.
func (e *engines) rest() {
	if e.flite != nil {
		e.flite.rest()
	}
}

// runProgram gives a program's standard output.
func runProgram(ctx context.Context, stdin []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	if stdout.Len() == 0 {
		return nil, errors.New(name + " wrote nothing: " + strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// spelled is what flite, which reads ASCII, should say for other characters. Letters lose their accents instead.
var spelled = map[rune]string{
	'‘': "'", '’': "'", '‚': ",", '“': `"`, '”': `"`, '„': `"`, '«': `"`, '»': `"`,
	'–': ", ", '—': ", ", '…': "...", '•': ", ", '·': " ",
	'€': " euros ", '£': " pounds ", '¥': " yen ", '°': " degrees ", '©': " copyright ", '®': "", '™': "",
	'×': " times ", '÷': " divided by ", '±': " plus or minus ", '½': " and a half ", '¼': " and a quarter ",
	'ß': "ss", 'æ': "ae", 'Æ': "Ae", 'ø': "o", 'Ø': "O", 'œ': "oe", 'Œ': "Oe", 'ł': "l", 'Ł': "L", 'đ': "d", 'ð': "th", 'þ': "th",
}

// toASCII is text as flite can read it.
func toASCII(text string) string {
	var b strings.Builder
	for _, r := range text {
		if s, ok := spelled[r]; ok {
			b.WriteString(s)
			continue
		}
		for _, d := range norm.NFKD.String(string(r)) {
			switch {
			case d < unicode.MaxASCII && d >= ' ':
				b.WriteRune(d)
			case unicode.IsLetter(d), unicode.IsNumber(d):
				b.WriteByte(' ')
			}
		}
	}
	return b.String()
}
