package twiml

import "strings"

func (p *parser) play(e *element) Verb {
	a := p.attributes(e, "loop", "digits")
	v := &Play{
		at:   at{e.line},
		URL:  p.content(e),
		Loop: a.integer("loop", 1, 0, 1000, 13410),
	}
	if digits, ok := a.get("digits"); ok {
		if digits == "" || strings.Trim(digits, "0123456789ABCDwW#*") != "" {
			a.bad(13430, "digits", digits)
			return nil
		}
		v.Digits = digits
		return v
	}
	if v.URL == "" {
		p.fail(11100, e.line, "Play: the URL is empty.")
		return nil
	}
	if err := checkURL(v.URL); err != nil {
		p.fail(11100, e.line, "Play: the URL is not valid: %v", err)
		return nil
	}
	return v
}
