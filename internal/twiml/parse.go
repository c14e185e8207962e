package twiml

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/internal/twilio"
)

// maxWarnings bounds Document.Warnings: each becomes a notification.
const maxWarnings = 50

// maxWait is the longest any duration of a document can matter: the longest call, 24 h.
const maxWait = 24 * time.Hour

// verbNames are the children of Response in the order messages list them (spec: nesting table).
var verbNames = []string{
	"Play", "Say", "Pause", "Gather", "Record", "Dial", "Redirect", "Reject", "Hangup", "Enqueue",
	"Leave", "Refer", "Connect", "Start", "Stop", "Pay", "Prompt", "Sms", "Queue", "Echo",
}

// Parse reads a TwiML document. An error is a *twilio.Error with the code of call-lifecycle section 5:
// 12100 for what is not well-formed XML, 12101 and 12102 for a bad root, 13xxx for a verb. The document
// without content is not an error: it has no verbs and warning 11770.
func Parse(body []byte) (*Document, error) { return parse(body, false) }

// ParseInline reads a document given in a REST request. It has no URL, so the action of its verbs must be
// absolute: 15004.
func ParseInline(body []byte) (*Document, error) { return parse(body, true) }

func parse(body []byte, inline bool) (*Document, error) {
	p := &parser{inline: inline}
	if len(bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))) == 0 {
		p.warn(11770, 0, "The document is empty.")
		return &Document{Warnings: p.warnings, Inline: inline}, nil
	}
	root, err := decode(body)
	if err != nil {
		return nil, &twilio.Error{Code: 12100, Message: "Document parse failure. " + err.Error()}
	}
	if root.name != "Response" {
		return nil, &twilio.Error{Code: 12102, Message: fmt.Sprintf(
			"Document parse failure. Line %d: the root element is %q, it must be \"Response\".", root.line, root.name)}
	}
	d := &Document{Verbs: p.response(root), Inline: inline}
	if p.err != nil {
		return nil, p.err
	}
	d.Warnings = inOrder(p.warnings)
	return d, nil
}

// inOrder sorts warnings as the document has them.
func inOrder(list []Warning) []Warning {
	slices.SortStableFunc(list, func(a, b Warning) int { return a.Line - b.Line })
	return list
}

// parser collects what goes wrong on the way through one document.
type parser struct {
	inline   bool
	warnings []Warning
	err      error // the first fault of level error
}

func (p *parser) warn(code, line int, format string, args ...any) {
	if len(p.warnings) < maxWarnings {
		p.warnings = append(p.warnings, Warning{Code: code, Message: fmt.Sprintf(format, args...), Line: line})
	}
}

func (p *parser) fail(code, line int, format string, args ...any) {
	if p.err == nil {
		p.err = &twilio.Error{Code: code, Message: fmt.Sprintf("Line %d: ", line) + fmt.Sprintf(format, args...)}
	}
}

// response reads the verbs of the document.
func (p *parser) response(root *element) []Verb {
	a := p.attributes(root, "version")
	if v, ok := a.get("version"); ok && !validVersion(v) {
		p.fail(12101, root.line, "The value '%s' of attribute 'version' on element 'Response' is not a TwiML version.", v)
	}
	var list []Verb
	for _, c := range p.children(root) {
		if v := p.verb(c); v != nil {
			list = append(list, v)
		}
	}
	return list
}

// verb reads one child of Response; nil when it is skipped.
func (p *parser) verb(e *element) Verb {
	switch e.name {
	case "Play":
		return p.play(e)
	case "Say":
		return p.say(e)
	case "Pause":
		return p.pause(e)
	case "Gather":
		return p.gather(e)
	case "Dial":
		return p.dial(e)
	case "Redirect":
		return p.redirect(e)
	case "Reject":
		return p.reject(e)
	case "Hangup":
		return p.hangup(e)
	case "Refer":
		return p.refer(e)
	case "Record":
		return p.record(e)
	case "Start", "Stop":
		return p.background(e)
	}
	if slices.Contains(verbNames, e.name) {
		return p.unsupported(e)
	}
	p.unexpected(12200, e, verbNames)
	return nil
}

// validVersion accepts a number such as 1.0, or the date of an API version.
func validVersion(v string) bool {
	if _, err := time.Parse(time.DateOnly, v); err == nil {
		return true
	}
	_, err := strconv.ParseFloat(v, 32)
	return err == nil && strings.Trim(v, "0123456789.") == ""
}

// unsupported stands for a known verb that offhook cannot run yet.
func (p *parser) unsupported(e *element) Verb {
	if e.name == "Pay" {
		p.absoluteAction(e)
	}
	return &Unsupported{at: at{e.line}, Verb: e.name}
}

// unexpected notes an element that may not stand where it does. The wording is that of XML Schema
// validators, which Twilio's own notifications quote.
func (p *parser) unexpected(code int, e *element, expected []string) {
	if len(expected) == 0 {
		p.warn(code, e.line, "Invalid content was found starting with element '%s'. No child element is expected at this point.", e.name)
		return
	}
	p.warn(code, e.line, "Invalid content was found starting with element '%s'. One of '{%s}' is expected.", e.name, strings.Join(expected, ", "))
}

// children are e's child elements; text between them does not belong there.
func (p *parser) children(e *element) []*element {
	var list []*element
	for _, n := range e.nodes {
		if n.el != nil {
			list = append(list, n.el)
		} else if strings.TrimSpace(n.text) != "" {
			p.warn(12200, n.line, "Element '%s' cannot have character [children], because the type's content type is element-only.", e.name)
		}
	}
	return list
}

// noChildren skips whatever stands inside e except elements of the allowed names, which carry nothing here.
func (p *parser) noChildren(e *element, allowed ...string) {
	for _, c := range p.children(e) {
		if !slices.Contains(allowed, c.name) {
			p.unexpected(12200, c, allowed)
		}
	}
}

// content is e's text, trimmed; child elements do not belong there.
func (p *parser) content(e *element) string {
	for _, n := range e.nodes {
		if n.el != nil {
			p.unexpected(12200, n.el, nil)
		}
	}
	return strings.TrimSpace(e.text())
}

// absoluteAction refuses a relative action in a document that has no URL (twiml section 1).
func (p *parser) absoluteAction(e *element) {
	if !p.inline {
		return
	}
	for _, a := range e.attrs {
		if a.name == "action" && !isAbsolute(strings.TrimSpace(a.value)) {
			p.fail(15004, e.line, "The action '%s' of <%s> is relative, but the TwiML was given inline: write an absolute URL.", a.value, e.name)
		}
	}
}

// attributes is how verbs read e's attributes: each value is checked and a bad one replaced by its default.
type attributes struct {
	p *parser
	e *element
}

// attributes notes those of e's attributes that are not among known.
func (p *parser) attributes(e *element, known ...string) attributes {
	for _, a := range e.attrs {
		if !slices.Contains(known, a.name) {
			p.warn(12200, e.line, "Attribute '%s' is not allowed to appear in element '%s'.", a.name, e.name)
		}
	}
	return attributes{p, e}
}

// get is the attribute's value, trimmed.
func (a attributes) get(name string) (value string, ok bool) {
	for _, at := range a.e.attrs {
		if at.name == name {
			return strings.TrimSpace(at.value), true
		}
	}
	return "", false
}

func (a attributes) bad(code int, name, value string) {
	a.p.warn(code, a.e.line, "The value '%s' of attribute '%s' on element '%s' is not valid.", value, name, a.e.name)
}

// integer is a number from min to max; a larger one counts as max.
func (a attributes) integer(name string, def, min, max, code int) int {
	s, ok := a.get(name)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < min {
		a.bad(code, name, s)
		return def
	}
	if n > max {
		a.bad(code, name, s)
		return max
	}
	return n
}

// seconds is a duration in whole seconds of at least one; more than a call can last counts as that.
func (a attributes) seconds(name string, def time.Duration, code int) time.Duration {
	s, ok := a.get(name)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		a.bad(code, name, s)
		return def
	}
	return time.Duration(min(n, int(maxWait/time.Second))) * time.Second
}

// method is GET or POST, in any case.
func (a attributes) method(name string, code int) string {
	s, ok := a.get(name)
	if !ok {
		return "POST"
	}
	if m := strings.ToUpper(s); m == "GET" || m == "POST" {
		return m
	}
	a.bad(code, name, s)
	return "POST"
}

// boolean is true or false, in any case. ok is false for anything else, which it notes unless code is 0.
func (a attributes) boolean(name string, def bool, code int) (value, ok bool) {
	s, ok := a.get(name)
	switch {
	case !ok, strings.EqualFold(s, strconv.FormatBool(def)):
		return def, true
	case strings.EqualFold(s, strconv.FormatBool(!def)):
		return !def, true
	}
	if code != 0 {
		a.bad(code, name, s)
	}
	return def, false
}

// language is a BCP-47 tag, by its shape only: which ones can be spoken is not known here.
func (a attributes) language(name, def string, code int) string {
	s, ok := a.get(name)
	if !ok {
		return def
	}
	for i, sub := range strings.Split(s, "-") {
		if len(sub) == 0 || len(sub) > 8 || strings.Trim(strings.ToLower(sub), "abcdefghijklmnopqrstuvwxyz0123456789") != "" ||
			(i == 0 && (len(sub) < 2 || strings.ContainsAny(sub, "0123456789"))) {
			a.bad(code, name, s)
			return def
		}
	}
	return s
}
