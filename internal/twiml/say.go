package twiml

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of the text of one Say in characters, SSML tags not counted (twiml section 3).
const (
	maxText        = 4096
	maxTextPolly   = 3000
	maxTextEncoded = 4500 // URL-encoded
)

func (p *parser) say(e *element) Verb {
	a := p.attributes(e, "voice", "language", "loop")
	s := &Say{
		at:       at{e.line},
		Voice:    a.voice(),
		Language: a.language("language", "", 13512),
		Loop:     a.integer("loop", 1, 0, 1000, 13510),
	}
	f := flattener{p: p}
	f.mixed(e, "Say")
	s.Parts = f.parts()
	return p.checkText(s)
}

// checkText drops a Say that has nothing to say, or more than Twilio would.
func (p *parser) checkText(s *Say) Verb {
	if len(s.Parts) == 0 {
		p.warn(13520, s.line, "Say: the text is empty.")
		return nil
	}
	limit, chars, encoded := maxText, 0, 0
	if strings.HasPrefix(s.Voice, "Polly.") {
		limit = maxTextPolly
	}
	for _, part := range s.Parts {
		chars += utf8.RuneCountInString(part.Text)
		encoded += len(url.QueryEscape(part.Text))
	}
	if chars > limit || encoded > maxTextEncoded {
		p.warn(13521, s.line, "Say: the text has %d characters (%d URL-encoded), more than %d (%d).", chars, encoded, limit, maxTextEncoded)
		return nil
	}
	return s
}

// voice is checked by its family; which voices of a family there are is the synthesizer's business.
func (a attributes) voice() string {
	s, ok := a.get("voice")
	if !ok {
		return ""
	}
	family, name, _ := strings.Cut(s, ".")
	switch family {
	case "man", "woman", "alice":
		ok = name == ""
	case "Polly", "Google":
		ok = name != ""
	default:
		ok = false
	}
	if !ok || len(s) > 100 || strings.ContainsFunc(s, unicode.IsSpace) {
		a.bad(13511, "voice", s)
		return ""
	}
	return s
}

// Pauses of SSML (design: W3C leaves the lengths to the voice).
const (
	sentencePause  = 400 * time.Millisecond
	paragraphPause = 800 * time.Millisecond
	maxBreak       = 10 * time.Second // Twilio: the longest <break time>
)

var breakStrength = map[string]time.Duration{
	"none": 0, "x-weak": 0, "weak": 150 * time.Millisecond, "medium": 250 * time.Millisecond,
	"strong": sentencePause, "x-strong": paragraphPause,
}

// ssml lists the tags allowed inside Say with their attributes and what may stand inside them
// (twiml section 3). Text may stand in all but break.
var ssml = map[string]struct{ attrs, children []string }{
	"Say":      {children: ssmlAll},
	"break":    {attrs: []string{"strength", "time"}},
	"emphasis": {attrs: []string{"level"}, children: ssmlInline},
	"lang":     {attrs: []string{"xml:lang"}, children: ssmlAll},
	"p":        {children: append([]string{"s"}, ssmlInline...)},
	"s":        {children: ssmlInline},
	"phoneme":  {attrs: []string{"alphabet", "ph"}},
	"prosody":  {attrs: []string{"volume", "rate", "pitch"}, children: ssmlAll},
	"say-as":   {attrs: []string{"interpret-as", "format"}},
	"sub":      {attrs: []string{"alias"}},
	"w":        {attrs: []string{"role"}, children: []string{"break", "emphasis", "phoneme", "prosody", "say-as", "sub"}},
}

var (
	ssmlInline = []string{"break", "emphasis", "lang", "phoneme", "prosody", "say-as", "sub", "w"}
	ssmlAll    = append([]string{"p", "s"}, ssmlInline...)
)

// flattener turns the mixed content of Say into text and pauses.
type flattener struct {
	p       *parser
	done    []Part
	text    strings.Builder
	spelled bool          // the text ends in spelled-out characters: a word after them needs a space
	gap     time.Duration // pause owed to a sentence or paragraph that ended, if anything follows
}

// mixed reads the children of e, which is Say or an SSML tag named parent.
func (f *flattener) mixed(e *element, parent string) {
	for _, n := range e.nodes {
		if n.el == nil {
			f.write(n.text)
			continue
		}
		if !slices.Contains(ssml[parent].children, n.el.name) {
			f.p.unexpected(12200, n.el, ssml[parent].children)
			if slices.Contains(verbNames, n.el.name) {
				continue // the text of a misplaced verb is not meant to be spoken: a URL, a number
			}
		}
		f.tag(n.el)
	}
}

func (f *flattener) tag(e *element) {
	rule, known := ssml[e.name]
	if !known || e.name == "Say" {
		f.mixed(e, "Say")
		return
	}
	a := f.p.attributes(e, rule.attrs...)
	switch e.name {
	case "break":
		f.p.noChildren(e)
		f.pause(a.breakTime())
	case "p", "s":
		gap := sentencePause
		if e.name == "p" {
			gap = paragraphPause
		}
		f.boundary(gap)
		f.mixed(e, e.name)
		f.boundary(gap)
	case "sub":
		text := f.p.content(e)
		if alias, ok := a.get("alias"); ok {
			text = alias
		}
		f.write(text)
	case "say-as":
		f.sayAs(a, f.p.content(e))
	default:
		f.mixed(e, e.name)
	}
}

func (f *flattener) sayAs(a attributes, text string) {
	as, ok := a.get("interpret-as")
	switch as {
	case "characters", "spell-out":
		text = spaced(text, func(r rune) bool { return !unicode.IsSpace(r) })
	case "digits":
		text = spaced(text, unicode.IsDigit)
	case "telephone":
		// A comma is heard as the short pause between the groups of a number.
		groups := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsDigit(r) && !unicode.IsLetter(r) })
		for i, g := range groups {
			groups[i] = spaced(g, func(rune) bool { return true })
		}
		text = strings.Join(groups, ", ")
	case "expletive":
		f.pause(breakStrength["medium"])
		return
	case "cardinal", "number", "ordinal", "fraction", "unit", "date", "time", "address":
	default:
		if ok {
			a.bad(12200, "interpret-as", as)
		}
	}
	f.write(" " + text)
	f.spelled = true
}

// spaced is the runes of s that keep accepts, with a space between each two.
func spaced(s string, keep func(rune) bool) string {
	var b strings.Builder
	for _, r := range s {
		if keep(r) {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// breakTime is the length of <break>: time wins over strength, medium is the default of both.
func (a attributes) breakTime() time.Duration {
	if s, ok := a.get("time"); ok {
		if d, ok := parseBreak(s); ok {
			return min(d, maxBreak)
		}
		a.bad(12200, "time", s)
	}
	if s, ok := a.get("strength"); ok {
		if d, ok := breakStrength[s]; ok {
			return d
		}
		a.bad(12200, "strength", s)
	}
	return breakStrength["medium"]
}

// parseBreak reads 2s, 0.5s or 500ms.
func parseBreak(s string) (time.Duration, bool) {
	number, ok := strings.CutSuffix(s, "ms")
	unit := time.Millisecond
	if !ok {
		if number, ok = strings.CutSuffix(s, "s"); !ok {
			return 0, false
		}
		unit = time.Second
	}
	if number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(n*float64(unit), float64(maxBreak))), true
}

func (f *flattener) write(s string) {
	if strings.TrimSpace(s) != "" {
		f.settle()
	}
	if r, _ := utf8.DecodeRuneInString(s); f.spelled && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
		f.text.WriteByte(' ')
	}
	f.spelled = false
	f.text.WriteString(s)
}

// pause adds an explicit pause; neighbours become one, so that nobody has to count them.
func (f *flattener) pause(d time.Duration) {
	f.flush()
	d = max(d, f.gap)
	f.gap = 0
	if d > 0 {
		f.add(d)
	}
}

// boundary ends a sentence or paragraph: a pause follows if more text does.
func (f *flattener) boundary(d time.Duration) {
	f.flush()
	if len(f.done) > 0 {
		f.gap = max(f.gap, d)
	}
}

// settle pays the pause that is owed before text; an explicit one that stands there counts.
func (f *flattener) settle() {
	if n := len(f.done); n > 0 && f.done[n-1].Text == "" {
		f.done[n-1].Pause = max(f.done[n-1].Pause, f.gap)
	} else if f.gap > 0 {
		f.add(f.gap)
	}
	f.gap = 0
}

func (f *flattener) add(d time.Duration) {
	if n := len(f.done); n > 0 && f.done[n-1].Text == "" {
		f.done[n-1].Pause += d
		return
	}
	f.done = append(f.done, Part{Pause: d})
}

func (f *flattener) flush() {
	text := collapse(f.text.String())
	f.text.Reset()
	f.spelled = false
	// The full stop after a closing tag is no text of its own.
	if text != "" && (len(f.done) == 0 || strings.Trim(text, ".,;:!? ") != "") {
		f.done = append(f.done, Part{Text: text})
	}
}

func (f *flattener) parts() []Part {
	f.flush()
	return f.done
}

// collapse trims s and makes every run of white space one space.
func collapse(s string) string { return strings.Join(strings.Fields(s), " ") }
