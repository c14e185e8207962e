package speech

import (
	"bytes"
	"context"
	_ "embed"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// Voice is what speaks for a voice name and a language.
type Voice struct {
	Name     string // as Twilio calls it, "man" when none was given
	Language string // BCP 47
	Female   bool
	Engine   string // one of the Engine constants
	ID       string // the engine's own name for it
	MaxText  int    // characters of one <Say>, 4096 for basic voices and 3000 for others (Twilio, <Say>)

	mismatch *twilio.Error // the voice does not speak the language: on Twilio that <Say> fails
}

// pollyTable lists Amazon's voices: name, f or m, languages (the first is the default), flite voice if not by gender.
//
//go:embed polly.tsv
var pollyTable string

type pollyVoice struct {
	female    bool
	languages []string
	flite     string
}

var pollyVoices = sync.OnceValue(func() map[string]pollyVoice {
	voices := map[string]pollyVoice{}
	for row := range strings.Lines(pollyTable) {
		f := strings.Split(strings.TrimSpace(row), "\t")
		if len(f) < 3 || strings.HasPrefix(row, "#") {
			continue
		}
		v := pollyVoice{female: f[1] == "f", languages: strings.Split(f[2], ",")}
		if len(f) > 3 {
			v.flite = f[3]
		}
		voices[strings.ToLower(f[0])] = v
	}
	return voices
})

// googleName is Google.{lang}-{kind}-{id}, as Google.en-US-Chirp3-HD-Aoede.
var googleName = regexp.MustCompile(`(?i)^google\.([a-z]{2,3}-[a-z]{2})-(standard|wavenet|neural2|chirp3-hd)-([a-z]+)$`)

// languageTag is the shape of the BCP 47 tags that voices have: language, script, region, variant.
var languageTag = regexp.MustCompile(`(?i)^[a-z]{2,3}(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?(-[a-z0-9]{3,8})*$`)

// named is what a voice's name says about it.
type named struct {
	female    bool
	languages []string // nil: any
	flite     string   // "" goes by gender and language
	maxText   int
}

// lookup finds a name in any case: Twilio's samples write Polly.joanna too.
func lookup(name string) (named, bool) {
	switch lower := strings.ToLower(name); lower {
	case "man":
		return named{maxText: 4096}, true
	case "woman", "alice":
		return named{female: true, maxText: 4096}, true
	default:
		if rest, ok := strings.CutPrefix(lower, "polly."); ok {
			for _, kind := range []string{"-neural", "-generative", "-long-form"} {
				rest = strings.TrimSuffix(rest, kind)
			}
			p, ok := pollyVoices()[toASCII(rest)]
			return named{p.female, p.languages, p.flite, 3000}, ok
		}
	}
	if m := googleName.FindStringSubmatch(name); m != nil {
		return named{female: googleFemale(m[1], m[3]), languages: []string{m[1]}, maxText: 3000}, true
	}
	return named{}, false
}

// googleFemale goes by Google's list of voices: Chirp3-HD have names of stars, older ones letters, where B
// and D are men in most languages.
func googleFemale(language, id string) bool {
	switch id = strings.ToUpper(id); {
	case strings.EqualFold(language, "en-US") && len(id) == 1:
		return strings.Contains("CEFGH", id)
	case strings.EqualFold(language, "en-IN") && len(id) == 1:
		return strings.Contains("ADE", id)
	case len(id) == 1:
		return !strings.Contains("BDIJO", id)
	}
	switch id {
	case "PUCK", "CHARON", "FENRIR", "ORUS":
		return false
	}
	return true // AOEDE, KORE, LEDA, ZEPHYR
}

// Resolve finds the voice for a name and a language of TwiML, either perhaps "". The warnings are for the debugger: a name or
// language that is none (the default is taken), or a language nothing here can speak (an English voice reads it).
func (v *Voices) Resolve(name, language string) (Voice, []*twilio.Error) {
	var warnings []*twilio.Error
	if name == "" {
		name = "man"
	}
	n, ok := lookup(name)
	if !ok {
		warnings = append(warnings, twilio.Errf(13511, "Say: there is no voice %q; man speaks", name))
		name = "man"
		n, _ = lookup(name)
	}
	if language != "" && !languageTag.MatchString(language) {
		warnings = append(warnings, twilio.Errf(13512, "Say: %q is no language; a tag such as en-US is", language))
		language = ""
	}
	voice := Voice{Name: name, Language: language, Female: n.female, MaxText: n.maxText}
	switch {
	case language == "" && n.languages != nil:
		voice.Language = n.languages[0]
	case language == "":
		voice.Language = "en-US"
	case n.languages != nil && !speaks(n.languages, language):
		voice.mismatch = twilio.Errf(13512, "Say: voice %s speaks %s, not %s", name, strings.Join(n.languages, " and "), language)
	}
	english := primary(voice.Language) == "en"
	switch {
	case v.engine == EngineTest || v.engine == engineNone:
		voice.Engine, voice.ID = v.engine, v.engine
		return voice, warnings
	case english && v.engine != EngineEspeak:
		voice.Engine, voice.ID = v.engine, fliteVoice(n, voice.Language)
		return voice, warnings
	}
	id, ok := v.espeak().voice(voice.Language, voice.Female)
	if ok {
		voice.Engine, voice.ID = EngineEspeak, id
		return voice, warnings
	}
	if _, again := v.warned.LoadOrStore(primary(voice.Language), true); !again {
		v.log.Warn("no voice for a language, an English one reads it; install espeak-ng for more languages", "language", voice.Language)
	}
	warnings = append(warnings, twilio.Errf(13512, "Say: nothing installed speaks %s; an English voice reads it", voice.Language))
	if voice.Engine, voice.ID = v.engine, fliteVoice(n, "en-US"); v.engine == EngineEspeak {
		voice.ID = "en-us"
	}
	return voice, warnings
}

func fliteVoice(n named, language string) string {
	switch {
	case n.flite != "":
		return n.flite
	case n.female:
		return fliteFemale
	case strings.HasPrefix(strings.ToLower(language), "en-gb"):
		return fliteScottish
	}
	return fliteMale
}

// speaks reports whether language is among languages; one without a region is any region's.
func speaks(languages []string, language string) bool {
	for _, l := range languages {
		if strings.EqualFold(canonical(l), canonical(language)) || !strings.Contains(language, "-") && primary(l) == primary(language) {
			return true
		}
	}
	return false
}

func primary(tag string) string {
	p, _, _ := strings.Cut(strings.ToLower(tag), "-")
	return p
}

// canonical is the tag with the codes for which Twilio has two spellings made one.
func canonical(tag string) string {
	tag = strings.ToLower(tag)
	for _, same := range [][2]string{{"zh-cn", "cmn-cn"}, {"zh-tw", "cmn-tw"}, {"zh-hk", "yue-hk"}, {"yue-cn", "yue-hk"}, {"ar-xa", "arb"}} {
		if tag == same[0] {
			return same[1]
		}
	}
	return tag
}

// espeakLanguages is what the installed espeak-ng speaks, by primary language.
type espeakLanguages map[string]bool

// findEspeak asks espeak-ng once, when a language is first needed.
func findEspeak() func() *espeakLanguages {
	return sync.OnceValue(func() *espeakLanguages {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, EngineEspeak, "--voices").Output()
		if err != nil {
			return nil
		}
		languages := espeakLanguages{}
		for row := range bytes.Lines(out) {
			if f := bytes.Fields(row); len(f) > 1 {
				languages[primary(string(f[1]))] = true
			}
		}
		return &languages
	})
}

// voice is espeak-ng's name for a voice: a language, which it matches loosely, and a variant.
func (l *espeakLanguages) voice(language string, female bool) (string, bool) {
	if l == nil {
		return "", false
	}
	tag := canonical(language)
	p := primary(tag)
	if p == "arb" {
		p, tag = "ar", "ar"
	}
	if !(*l)[p] {
		return "", false
	}
	switch p {
	case "cmn", "yue":
		tag = p
	case "es":
		if tag != "es-es" && tag != "es" {
			tag = "es-419"
		}
	}
	if female {
		tag += "+f3"
	}
	return tag, true
}
