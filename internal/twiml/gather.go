package twiml

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of Gather's hints (twiml section 3).
const (
	maxHints      = 500
	maxHintLength = 100
)

func (p *parser) gather(e *element) Verb {
	a := p.attributes(e, "input", "action", "method", "timeout", "finishOnKey", "numDigits", "actionOnEmptyResult",
		"speechTimeout", "maxSpeechTime", "language", "hints", "speechModel", "enhanced", "profanityFilter",
		"partialResultCallback", "partialResultCallbackMethod", "bargeIn", "debug")
	p.absoluteAction(e)
	g := &Gather{
		at:          at{e.line},
		Method:      a.method("method", 13312),
		Timeout:     a.timeout(),
		FinishOnKey: a.finishOnKey(),
		NumDigits:   a.integer("numDigits", 0, 1, maxDigits, 13314),
		Input:       a.input(),
	}
	g.Action, _ = a.get("action")
	empty, ok := a.boolean("actionOnEmptyResult", false, 0)
	if !ok {
		p.fail(13338, e.line, "Gather: actionOnEmptyResult must be true or false.")
	}
	g.ActionOnEmptyResult = empty
	a.speech(g)
	g.Prompts = p.prompts(e)
	if slices.Contains(g.Input, "speech") {
		return &Unsupported{at: g.at, Verb: "Gather", Feature: `input="` + strings.Join(g.Input, " ") + `"`}
	}
	return g
}

// maxDigits is more keys than fit in the longest call.
const maxDigits = 1_000_000

// prompts are the verbs nested in Gather.
func (p *parser) prompts(e *element) []Verb {
	var list []Verb
	for _, c := range p.children(e) {
		var v Verb
		switch c.name {
		case "Say":
			v = p.say(c)
		case "Play":
			if _, ok := (attributes{p, c}).get("digits"); ok {
				p.warn(13322, c.line, "Gather: a nested <Play> cannot send digits.")
				continue
			}
			v = p.play(c)
		case "Pause":
			v = p.pause(c)
		default:
			p.unexpected(13320, c, []string{"Play", "Say", "Pause"})
		}
		if v != nil {
			list = append(list, v)
		}
	}
	return list
}

func (a attributes) timeout() time.Duration {
	const def = 5 * time.Second
	if s, _ := a.get("timeout"); s == "auto" {
		return def
	}
	return a.seconds("timeout", def, 13313)
}

func (a attributes) finishOnKey() string {
	s, ok := a.get("finishOnKey")
	if !ok {
		return "#"
	}
	if len(s) > 1 || strings.Trim(s, "0123456789#*") != "" {
		a.bad(13310, "finishOnKey", s)
		return "#"
	}
	return s
}

func (a attributes) input() []string {
	s, ok := a.get("input")
	if !ok {
		return []string{"dtmf"}
	}
	var list []string
	for _, kind := range strings.Fields(s) {
		if kind != "dtmf" && kind != "speech" {
			a.bad(13326, "input", s)
			return []string{"dtmf"}
		}
		if !slices.Contains(list, kind) {
			list = append(list, kind)
		}
	}
	if list == nil {
		a.bad(13326, "input", s)
		return []string{"dtmf"}
	}
	return list
}

// speech reads what only matters for speech input.
func (a attributes) speech(g *Gather) {
	g.SpeechModel = a.speechModel()
	if s, ok := a.get("speechTimeout"); s == "auto" {
		g.SpeechTimeout = SpeechAuto
		if _, set := a.get("speechModel"); set {
			a.p.warn(13335, a.e.line, "Gather: with a speechModel, speechTimeout must be a number of seconds, not auto.")
		}
	} else if ok {
		g.SpeechTimeout = a.seconds("speechTimeout", 0, 13327)
	}
	g.MaxSpeechTime = min(a.seconds("maxSpeechTime", time.Minute, 13328), time.Minute)
	g.Language = a.language("language", "en-US", 13331)
	g.Hints = a.hints()
	g.Enhanced, _ = a.boolean("enhanced", false, 12200)
	g.ProfanityFilter, _ = a.boolean("profanityFilter", true, 12200)
	g.PartialResultCallback, _ = a.get("partialResultCallback")
	g.PartialResultMethod = a.method("partialResultCallbackMethod", 13312)
	g.BargeIn, _ = a.boolean("bargeIn", true, 13332)
	g.Debug, _ = a.boolean("debug", false, 12200)
}

func (a attributes) speechModel() string {
	s, ok := a.get("speechModel")
	switch s {
	case "default", "numbers_and_commands", "phone_call", "experimental_conversations", "experimental_utterances",
		"googlev2_long", "googlev2_short", "googlev2_telephony", "googlev2_telephony_short":
		return s
	}
	if strings.HasPrefix(s, "deepgram_") {
		return s
	}
	if ok {
		a.bad(13334, "speechModel", s)
	}
	return "default"
}

func (a attributes) hints() []string {
	s, ok := a.get("hints")
	if !ok || s == "" {
		return nil
	}
	var list []string
	for _, h := range strings.Split(s, ",") {
		if h = strings.TrimSpace(h); h == "" {
			continue
		}
		if utf8.RuneCountInString(h) > maxHintLength || len(list) == maxHints {
			a.p.warn(13330, a.e.line, "Gather: at most %d hints of %d characters each.", maxHints, maxHintLength)
			break
		}
		list = append(list, h)
	}
	return list
}
