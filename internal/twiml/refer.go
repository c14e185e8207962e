package twiml

// Refer asks the caller's own SIP phone to call somebody else instead of us.
type Refer struct {
	at
	Action  string            // URL requested when the transfer is over; "" goes on with the next verb
	Method  string            // GET or POST (the default)
	URI     string            // sip: or sips:, at most 254 characters, without headers, region and edge
	Headers map[string]string // of the URI: X-… and those in sipHeaderNames; together under 1024 characters
}

func (*Refer) verb() {}

// Name returns "Refer".
func (*Refer) Name() string { return "Refer" }

// refer skips a verb that names nobody.
func (p *parser) refer(e *element) Verb {
	a := p.attributes(e, "action", "method")
	v := &Refer{at: at{e.line}, Method: a.method("method", 12200)}
	v.Action, _ = a.get("action")
	headers := sipHeaders{p: p}
	count := 0
	for _, c := range p.children(e) {
		if (c.name != "Sip" && c.name != "ReferSip") || count > 0 {
			p.unexpected(12200, c, []string{"Sip"})
			continue
		}
		count++
		p.attributes(c)
		p.content(c) // holds text only
		v.URI, _ = p.sipURI(c, &headers)
	}
	v.Headers = headers.named
	if count == 0 {
		p.warn(12200, e.line, "The content of element 'Refer' is not complete. One of '{Sip}' is expected.")
	}
	if v.URI == "" {
		return nil
	}
	return v
}
